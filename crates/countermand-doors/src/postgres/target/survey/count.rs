//! Exact counts of what a unit would delete or change. A condition is counted only where reading
//! it is all that counting does; otherwise any row of the table may be meant.

use super::super::super::interpret::{self, interpret};
use super::super::super::unit::UnitStatement;
use super::super::catalog::{self, ForeignKey, Table};
use super::super::client::{Client, ClientError};
use super::super::steps::{Change, Matching, RowStep};
use super::{Depth, Walk};
use crate::postgres::quoting::quoted;
use countermand_core::effect::Effect;
use countermand_core::radius::Fate;
use countermand_engine::target::TargetError;
use std::collections::{BTreeMap, BTreeSet};

/// Rows that are meant, as the end of a query: `FROM … WHERE …`.
#[derive(Clone, Debug)]
pub(in super::super) struct Meant {
    /// `FROM "shop"."orders" "o" WHERE (…)`
    clause: String,
    /// The statement of the unit whose parameters it uses.
    statement: Option<usize>,
}

impl Walk<'_> {
    /// All rows of a table; 0 where nobody wants to know.
    pub(super) async fn count_all(&mut self, table: &Table) -> Result<u64, TargetError> {
        if self.depth == Depth::Objects {
            return Ok(0);
        }
        Ok(count_all(self.client, table).await?)
    }

    /// A statement that deletes or changes rows, with what foreign keys make of it.
    pub(super) async fn rows(&mut self, step: &RowStep) -> Result<(), TargetError> {
        let Some(at) = self.relation(&step.table, false).await? else { return Ok(()) };
        let named = catalog::tables(self.client, &[at.object].into()).await?;
        let Some(named) = named.into_iter().next() else { return Ok(()) };
        if !matches!(named.kind, 'r' | 'p') {
            return Err(TargetError::CannotJudge(format!(
                "`{}` is no table: which rows change through it cannot be measured; name the \
                 table itself",
                named.name
            )));
        }
        if !self.found.roots.contains(&at) {
            self.found.roots.push(at);
        }
        let mut family = BTreeSet::from([at.object]);
        if step.inherit {
            family = catalog::descendants(self.client, &family).await?;
            self.connect(at.object, &family, "partition or heir of");
        }
        let by_key = step.matching.as_ref().is_some_and(|matching| {
            !named.key.is_empty()
                && named.key.iter().all(|column| matching.equated.contains(column))
        });
        let meant = self.meant(&named, step).await?;
        let fate = if step.change == Change::Update { Fate::Changed } else { Fate::Lost };
        let counts = self.counts(&family, meant.as_ref()).await?;
        for table in catalog::tables(self.client, &family).await? {
            let rows = counts.get(&table.oid).copied().unwrap_or(0);
            self.losing(table, rows, by_key && meant.is_some(), fate, false);
        }
        self.rows_meant(&family, meant.as_ref(), step.every);
        let all = Meant { clause: format!("FROM {}", named.name), statement: None };
        let mut path = BTreeSet::new();
        self.follow(&family, &meant.unwrap_or(all), step.change, &step.sets, &mut path).await
    }

    /// The rows that a statement means, where counting them is a mere read.
    async fn meant(&mut self, table: &Table, step: &RowStep) -> Result<Option<Meant>, ClientError> {
        let Some(Matching { alias, condition, statement, .. }) = &step.matching else {
            return Ok(None);
        };
        let only = if step.inherit { "" } else { "ONLY " };
        let alias = quoted(alias);
        let clause = format!("FROM {only}{} AS {alias} WHERE ({condition})", table.name);
        let settings = interpret::Settings { standard_conforming_strings: true };
        if interpret(&format!("SELECT 1 {clause}"), settings).effect() != Effect::Read {
            return Ok(None);
        }
        let meant = Meant { clause, statement: Some(*statement) };
        // Names outside pg_catalog do not resolve here; then any row may be meant.
        let readable = self.tolerant(&format!("SELECT 1 {} LIMIT 0", meant.clause), &meant).await?;
        Ok(readable.map(|_| meant))
    }

    /// Keeps which rows of these tables are meant, where one condition says all of them.
    fn rows_meant(&mut self, family: &BTreeSet<u32>, meant: Option<&Meant>, every: bool) {
        for oid in family {
            let Some(losing) = self.found.rows.get_mut(oid) else { continue };
            losing.every |= every;
            losing.meant = match (losing.meant.take(), meant) {
                (None, Some(meant)) => Some(Some(meant.clone())),
                (None, None) | (Some(_), _) => Some(None),
            };
        }
    }

    /// The places of some of the rows of this table that one condition means; none where that cannot
    /// be told.
    pub(super) async fn places(
        &mut self,
        oid: u32,
        meant: &Meant,
        most: usize,
    ) -> Result<Option<Vec<String>>, ClientError> {
        let sql = format!("SELECT ctid {} AND tableoid = {oid} LIMIT {most}", meant.clause);
        let found = self.tolerant(&sql, meant).await?;
        Ok(found.map(|rows| rows.iter().map(|row| catalog::text(row, 0).to_owned()).collect()))
    }

    /// Counts by table.
    async fn counts(
        &mut self,
        family: &BTreeSet<u32>,
        meant: Option<&Meant>,
    ) -> Result<BTreeMap<u32, u64>, ClientError> {
        if self.depth == Depth::Objects {
            return Ok(BTreeMap::new());
        }
        if let Some(meant) = meant {
            let sql = format!("SELECT tableoid, pg_catalog.count(*) {} GROUP BY 1", meant.clause);
            if let Some(rows) = self.tolerant(&sql, meant).await? {
                let pair = |row: &super::super::client::Row| {
                    Some((catalog::number(row, 0)?, catalog::number(row, 1)?))
                };
                return Ok(rows.iter().filter_map(pair).collect());
            }
        }
        let mut counts = BTreeMap::new();
        for table in catalog::tables(self.client, family).await? {
            if table.has_rows() {
                counts.insert(table.oid, count_all(self.client, &table).await?);
            }
        }
        Ok(counts)
    }

    /// Follows foreign keys to the rows that go or change along.
    async fn follow(
        &mut self,
        tables: &BTreeSet<u32>,
        meant: &Meant,
        change: Change,
        sets: &Option<BTreeSet<String>>,
        path: &mut BTreeSet<(u32, u32)>,
    ) -> Result<(), TargetError> {
        for key in catalog::foreign_keys(self.client, tables).await? {
            let Some(next) = acts(&key, change, sets) else { continue };
            if !path.insert((key.from, key.to)) {
                continue;
            }
            let child = catalog::tables(self.client, &[key.from].into()).await?;
            let Some(child) = child.into_iter().next() else { continue };
            let family = catalog::descendants(self.client, &[key.from].into()).await?;
            self.connect(key.to, &family, "foreign key");
            // A table that refers to itself goes on until nothing refers: any row may be meant.
            let itself = tables.contains(&key.from);
            let along = (!itself).then(|| through(&child, &key, meant));
            let counts = self.counts(&family, along.as_ref()).await?;
            let fate = if next == Change::Update { Fate::Changed } else { Fate::Lost };
            for table in catalog::tables(self.client, &family).await? {
                let rows = counts.get(&table.oid).copied().unwrap_or(0);
                self.losing(table, rows, false, fate, false);
            }
            self.rows_meant(&family, along.as_ref(), false);
            let all = Meant { clause: format!("FROM {}", child.name), statement: None };
            let along = along.unwrap_or(all);
            let sets = (next == Change::Update).then(|| key.columns.iter().cloned().collect());
            Box::pin(self.follow(&family, &along, next, &sets, path)).await?;
        }
        Ok(())
    }

    /// Asks a question that holds a condition of the unit; none where the server refuses it.
    async fn tolerant(
        &mut self,
        sql: &str,
        meant: &Meant,
    ) -> Result<Option<Vec<super::super::client::Row>>, ClientError> {
        let parameters = meant.statement.and_then(|index| self.unit.statements.get(index));
        let parameters = parameters.map(|s| s.parameters.clone()).unwrap_or_default();
        let question = UnitStatement::new(sql, parameters);
        self.client.batch("SAVEPOINT counting").await?;
        let answer = match self.as_the_agents().await {
            Ok(()) => self.client.ask(&question).await,
            Err(error) => Err(error),
        };
        self.client.batch("ROLLBACK TO SAVEPOINT counting; RELEASE SAVEPOINT counting").await?;
        match answer {
            Ok(rows) => Ok(Some(rows)),
            Err(ClientError::Server { code, .. }) if code != "57014" => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Walk<'_> {
    /// Until the savepoint is rolled back, sees what agents' sessions see. The counts of a
    /// condition are told to the agent: as the executor they would tell it of rows that it must
    /// not read.
    async fn as_the_agents(&mut self) -> Result<(), ClientError> {
        let Some(role) = &self.client.counts_as else { return Ok(()) };
        let sql = format!("SET LOCAL ROLE {}", quoted(role));
        self.client.batch(&sql).await.map(drop)
    }
}

/// The rows of a table that refer to the rows that are meant.
fn through(child: &Table, key: &ForeignKey, meant: &Meant) -> Meant {
    let list = |names: &[String]| names.iter().map(|n| quoted(n)).collect::<Vec<_>>().join(", ");
    let clause = format!(
        "FROM {} WHERE ({}) IN (SELECT {} {})",
        child.name,
        list(&key.columns),
        list(&key.referred),
        meant.clause
    );
    Meant { clause, statement: meant.statement }
}

/// What a foreign key does to the rows that refer; none where it refuses or does nothing.
fn acts(key: &ForeignKey, change: Change, sets: &Option<BTreeSet<String>>) -> Option<Change> {
    let by_delete = match key.on_delete {
        'c' => Some(Change::Delete),
        'n' | 'd' => Some(Change::Update),
        _ => None,
    };
    let referred = |sets: &BTreeSet<String>| key.referred.iter().any(|c| sets.contains(c));
    let moves = sets.as_ref().is_none_or(referred);
    let by_update = (moves && matches!(key.on_update, 'c' | 'n' | 'd')).then_some(Change::Update);
    match change {
        Change::Delete => by_delete,
        Change::Update => by_update,
        Change::Merge => by_delete.or(by_update),
    }
}

async fn count_all(client: &mut Client, table: &Table) -> Result<u64, ClientError> {
    let sql = format!("SELECT pg_catalog.count(*) FROM ONLY {}", table.name);
    let rows = client.query(&sql, &[]).await?;
    Ok(rows.first().and_then(|row| catalog::number(row, 0)).unwrap_or(u64::MAX))
}
