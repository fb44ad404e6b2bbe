//! The writes that are taken back: those whose transaction committed, sorted by table.

use super::super::super::images::{ChangedRows, Images};
use super::super::catalog;
use super::super::client::{Client, ClientError};
use super::table::Table;
use countermand_engine::target::{KeptWrite, TargetError};
use std::collections::{BTreeMap, BTreeSet};

/// What an agent did within a time, as far as it was committed.
#[derive(Debug, Default)]
pub(super) struct Span {
    /// What `xmin` shows of each transaction's rows, in the order of the writes.
    numbers: Vec<Vec<u32>>,
    /// Rows that were changed, with the place of their transaction in `numbers`, in order.
    changed: Vec<(usize, ChangedRows)>,
    /// Rows added, by table.
    inserted: BTreeMap<u32, (String, u64)>,
    /// Transactions of which the server no longer knows how they ended.
    pub(super) forgotten: usize,
}

/// What of a span happened in one table.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// As in the span.
    pub(super) changed: Vec<(usize, ChangedRows)>,
    /// Rows added.
    pub(super) inserted: u64,
}

impl Portion {
    /// How many rows were changed or added.
    pub(super) fn rows(&self) -> u64 {
        let changed: usize = self.changed.iter().map(|(_, changed)| changed.rows.len()).sum();
        self.inserted.saturating_add(changed as u64)
    }
}

impl Span {
    /// The writes that were committed.
    ///
    /// One that the server no longer knows is taken for committed: the ledger forgets what it
    /// knows to have been rolled back, and no row shows the number of a transaction that was.
    pub(super) async fn of_committed(
        client: &mut Client,
        writes: &[KeptWrite],
    ) -> Result<Span, TargetError> {
        let mut span = Span::default();
        for write in writes {
            let images = Images::from_body(&write.images).map_err(TargetError::Local)?;
            match status(client, images.transaction).await?.as_deref() {
                Some("committed") => span.add(images),
                Some("aborted") => {}
                Some(_) => {
                    let words = "a write of this agent has not ended yet: freeze the agent, and \
                                 take back when it has";
                    return Err(TargetError::CannotJudge(words.into()));
                }
                None => {
                    span.forgotten += 1;
                    span.add(images);
                }
            }
        }
        Ok(span)
    }

    fn add(&mut self, images: Images) {
        let place = self.numbers.len();
        self.numbers.push(images.numbers);
        self.changed.extend(images.changed.into_iter().map(|changed| (place, changed)));
        for (table, (name, rows)) in images.inserted {
            let known = self.inserted.entry(table).or_insert((name, 0));
            known.1 = known.1.saturating_add(rows);
        }
    }

    /// The tables that were written, partitions by themselves.
    pub(super) fn tables(&self) -> BTreeSet<u32> {
        let changed = self.changed.iter().map(|(_, changed)| changed.table);
        changed.chain(self.inserted.keys().copied()).collect()
    }

    /// Puts the transactions' numbers where questions can ask for them.
    pub(super) async fn put_numbers(&self, client: &mut Client) -> Result<(), ClientError> {
        client
            .batch(
                "CREATE TEMPORARY TABLE countermand_numbers
                   (nth pg_catalog.int4, number pg_catalog.xid) ON COMMIT DROP",
            )
            .await?;
        let numbers = self.numbers.iter().enumerate();
        let pairs = numbers.flat_map(|(nth, numbers)| numbers.iter().map(move |n| (nth, *n)));
        let (nths, numbers): (Vec<usize>, Vec<u32>) = pairs.unzip();
        let sql = "INSERT INTO pg_temp.countermand_numbers
            SELECT * FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.int4[]),
              pg_catalog.unnest($2::pg_catalog.xid[])) n";
        client.query(sql, &[&list(&nths), &list(&numbers)]).await?;
        Ok(())
    }

    /// Takes out what happened in one table.
    pub(super) fn portion_of(&mut self, table: &Table) -> Portion {
        let all = std::mem::take(&mut self.changed);
        let (changed, rest) =
            all.into_iter().partition(|(_, changed)| table.named.contains(&changed.table));
        self.changed = rest;
        let inserted = table.named.iter().filter_map(|oid| self.inserted.remove(oid));
        Portion { changed, inserted: inserted.map(|(_, rows)| rows).sum() }
    }

    /// What no table was found for: the name then, and how many rows.
    pub(super) fn rest(self) -> BTreeMap<String, u64> {
        let changed = self.changed.into_iter();
        let changed = changed.map(|(_, changed)| (changed.name, changed.rows.len() as u64));
        let mut rest = BTreeMap::new();
        for (name, rows) in changed.chain(self.inserted.into_values()) {
            *rest.entry(name).or_insert(0) += rows;
        }
        rest
    }
}

/// How a transaction ended; none where that is too long ago.
async fn status(client: &mut Client, transaction: u64) -> Result<Option<String>, TargetError> {
    let sql = "SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8)";
    let rows = client.query(sql, &[&transaction.to_string()]).await.map_err(|error| {
        match error.code() {
            // In the future.
            Some(code) if code.starts_with("22") => TargetError::CannotJudge(format!(
                "the server does not know transaction {transaction}: it is not the one that was \
                 written to, or was itself taken back to an earlier time"
            )),
            _ => error.into(),
        }
    })?;
    Ok(rows.first().map(|row| catalog::text(row, 0).to_owned()).filter(|text| !text.is_empty()))
}

/// Numbers as the server reads an array.
pub(super) fn list<T: ToString>(numbers: &[T]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}
