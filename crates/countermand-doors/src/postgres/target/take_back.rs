//! Taking back what an agent wrote: rows as they were before the first of its writes, where nobody
//! has touched them since.
//!
//! ```text
//! writes → span     those whose transaction committed, by the numbers that `xmin` shows
//!          table    the tables as they are now, found by OID; partitions as one table
//!          sides    every row before, and now: ours to put back, as before already, or touched since
//!          undo     rows back, in an order that the server accepts
//! ```
//!
//! The tables are locked against writers before anything is compared, as a run and a restore do:
//! what was compared is then what is written, also under READ COMMITTED, whose statements see what
//! was committed up to the lock. A stricter isolation would fix its snapshot before the lock, when
//! the catalogue is asked for names, and then fail on every row that a writer was at.

use super::PostgresTarget;
use super::client::{Client, ClientError};
use countermand_engine::target::{KeptWrite, RestorePlan, Restored, TakeBack, TargetError};
use sides::Sides;
use span::Span;
use std::collections::BTreeSet;
use table::Table;

mod sides;
mod span;
mod table;
mod undo;

/// Things that are named one by one; of more, how many.
const NAMED: usize = 20;

/// The writes against the tables as they are now.
struct Work {
    client: Client,
    /// Tables whose rows can be told apart, those that are referred to first.
    sides: Vec<Sides>,
    /// In words, what cannot be told apart and stays as it is.
    stays: Vec<String>,
    /// Transactions of which the server no longer knows how they ended.
    forgotten: usize,
}

/// What taking these writes back would do. Rolled back; it locks what a question locks.
pub(super) async fn plan(
    target: &PostgresTarget,
    writes: &[KeptWrite],
) -> Result<RestorePlan, TargetError> {
    let mut client = target.connect().await?;
    client.batch("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let mut work = Work::open(client, writes, false).await?;
    let plan = work.plan().await;
    work.client.batch("ROLLBACK").await?;
    plan
}

/// Takes writes back, in one transaction.
pub(super) async fn take_back(
    target: &PostgresTarget,
    act: TakeBack,
) -> Result<Restored, TargetError> {
    let TakeBack { writes, overwrite, mut halt } = act;
    // Dropped on an error or halted, the connection ends, and the transaction with it.
    let ready = halt.unless(async {
        let mut client = target.connect().await?;
        client.batch("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        let mut work = Work::open(client, &writes, true).await?;
        let restored = work.take_back(overwrite).await?;
        Ok::<_, TargetError>((work, restored))
    });
    let (mut work, restored) = ready.await.unwrap_or_else(|why| Err(TargetError::Halted(why)))?;
    let tag = work.client.batch("COMMIT").await.map_err(|error| match error {
        ClientError::Lost(why) => TargetError::Local(format!(
            "whether it was taken back is not known ({why}): look with --plan"
        )),
        error => error.into(),
    })?;
    if tag == "COMMIT" {
        return Ok(restored);
    }
    Err(TargetError::CannotJudge(format!("the server answered {tag} to COMMIT")))
}

impl Work {
    async fn open(
        mut client: Client,
        writes: &[KeptWrite],
        lock: bool,
    ) -> Result<Work, TargetError> {
        let span = Span::of_committed(&mut client, writes).await?;
        let named: BTreeSet<u32> = span.tables();
        let mut tables = table::find(&mut client, &named).await?;
        if lock && !tables.is_empty() {
            let names: Vec<String> = tables.iter().map(Table::from).collect();
            let sql = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.join(", "));
            client.batch(&sql).await?;
            let locked = table::find(&mut client, &named).await?;
            if locked != tables {
                let words = "a table was changed at the same time; nothing was taken back: again";
                return Err(TargetError::CannotJudge(words.into()));
            }
            tables = locked;
        }
        let forgotten = span.forgotten;
        let mut work = Work { client, sides: Vec::new(), stays: Vec::new(), forgotten };
        work.sort(span, table::parents_first(tables)).await?;
        Ok(work)
    }

    /// Sorts the writes by table, and looks at each row on both sides.
    async fn sort(&mut self, mut span: Span, tables: Vec<Table>) -> Result<(), TargetError> {
        span.put_numbers(&mut self.client).await?;
        for (number, table) in tables.into_iter().enumerate() {
            let portion = span.portion_of(&table);
            let name = table.name.clone();
            let count = portion.rows();
            self.client.batch("SAVEPOINT countermand_sides").await?;
            match Sides::load(&mut self.client, number, table, portion).await? {
                Ok(sides) => self.sides.push(sides),
                Err(why) => {
                    self.client.batch("ROLLBACK TO SAVEPOINT countermand_sides").await?;
                    self.stays.push(format!("{name}: {why}; its {count} rows stay as they are"));
                }
            }
            self.client.batch("RELEASE SAVEPOINT countermand_sides").await?;
        }
        for (name, rows) in span.rest() {
            self.stays.push(format!("{name} is gone, and {rows} rows of it with it"));
        }
        Ok(())
    }

    async fn plan(&mut self) -> Result<RestorePlan, TargetError> {
        let mut plan = RestorePlan::default();
        let mut conflicts = self.stays.clone();
        for sides in &self.sides {
            let (back, gone) = sides.ready(&mut self.client, false).await?;
            for (to, rows) in [(&mut plan.rows, back), (&mut plan.removed, gone)] {
                if rows > 0 {
                    to.insert(sides.table.name.clone(), rows);
                }
            }
            conflicts.extend(sides.lost_sight_of(&mut self.client).await?);
            conflicts.extend(sides.touched(&mut self.client).await?);
        }
        plan.conflicts = listed(conflicts);
        if self.forgotten > 0 {
            plan.missing.push(format!(
                "{} of these writes are so old that the server no longer knows whether they were \
                 committed; they are taken for committed, as the ledger has them",
                self.forgotten
            ));
        }
        Ok(plan)
    }

    async fn take_back(&mut self, overwrite: bool) -> Result<Restored, TargetError> {
        let mut restored = Restored { equal: true, ..Restored::default() };
        let (mut left, mut overwritten) = (self.stays.clone(), Vec::new());
        for sides in &self.sides {
            left.extend(sides.lost_sight_of(&mut self.client).await?);
            let touched = sides.touched(&mut self.client).await?;
            if overwrite { &mut overwritten } else { &mut left }.extend(touched);
        }
        left.extend(undo::undo(&mut self.client, &self.sides, overwrite).await?);
        for sides in &self.sides {
            let (rows, equal) = sides.read_back(&mut self.client).await?;
            if rows > 0 {
                restored.rows.insert(sides.table.name.clone(), rows);
            }
            restored.equal &= equal;
        }
        restored.left = listed(left);
        restored.overwritten = listed(overwritten);
        Ok(restored)
    }
}

/// The first of many, and how many more there are.
fn listed(mut words: Vec<String>) -> Vec<String> {
    if words.len() > NAMED {
        let more = words.len() - NAMED;
        words.truncate(NAMED);
        words.push(format!("and {more} more"));
    }
    words
}
