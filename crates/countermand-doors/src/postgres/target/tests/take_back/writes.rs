//! An agent's transactions with their before-images, kept as a door keeps them: the rows that a
//! statement is about to change are locked and read in binary, then it runs.

use super::super::*;
use crate::postgres::images::{ChangedRows, ImageColumn, Images, KeptRow, Value};
use crate::postgres::target::catalog::text;
use crate::postgres::target::client::Client;
use countermand_engine::target::KeptWrite;
use std::collections::BTreeSet;

/// One statement of an agent.
#[derive(Clone, Debug)]
pub(super) struct Step {
    sql: String,
    /// The table and the condition of what it changes.
    changes: Option<(String, String)>,
    /// The table and the number of what it adds.
    adds: Option<(String, u64)>,
}

pub(super) fn change(table: &str, condition: &str, sql: &str) -> Step {
    Step { sql: sql.into(), changes: Some((table.into(), condition.into())), adds: None }
}

pub(super) fn add(table: &str, rows: u64, sql: &str) -> Step {
    Step { sql: sql.into(), changes: None, adds: Some((table.into(), rows)) }
}

pub(super) fn run(sql: &str) -> Step {
    Step { sql: sql.into(), changes: None, adds: None }
}

/// An open transaction of the agent.
pub(super) struct Open {
    client: Client,
    images: Images,
    tables: BTreeSet<String>,
}

impl Site {
    pub(super) async fn begin(&self) -> Open {
        let mut setup = self.target.setup().clone();
        setup.lock_wait = Duration::from_secs(30);
        let mut client = PostgresTarget::new(setup).connect().await.unwrap();
        client.batch("BEGIN").await.unwrap();
        Open { client, images: Images::default(), tables: BTreeSet::new() }
    }

    /// One transaction, committed.
    pub(super) async fn writes(&self, steps: &[Step]) -> KeptWrite {
        let mut open = self.begin().await;
        let kept = open.all(steps).await;
        open.end("COMMIT").await;
        kept
    }
}

impl Open {
    pub(super) async fn all(&mut self, steps: &[Step]) -> KeptWrite {
        for step in steps {
            self.step(step).await;
        }
        self.kept().await
    }

    pub(super) async fn end(mut self, how: &str) {
        assert_eq!(self.client.batch(how).await.unwrap(), how);
    }

    async fn step(&mut self, step: &Step) {
        if let Some((table, condition)) = &step.changes {
            let sql = format!(
                "SELECT DISTINCT tableoid::oid, tableoid::regclass FROM {table} WHERE {condition}"
            );
            for row in self.client.query(&sql, &[]).await.unwrap() {
                let changed = self.before(&row, condition, step.sql.starts_with("DELETE")).await;
                self.images.changed.push(changed);
            }
            self.tables.insert(table.clone());
        }
        if let Some((table, rows)) = &step.adds {
            let sql = "SELECT $1::pg_catalog.regclass::pg_catalog.oid";
            let oid = text(&self.client.query(sql, &[table]).await.unwrap()[0], 0).parse().unwrap();
            self.images.inserted.entry(oid).or_insert((table.clone(), 0)).1 += rows;
            self.tables.insert(table.clone());
        }
        self.client.batch(&step.sql).await.unwrap();
    }

    async fn before(
        &mut self,
        table: &[Option<String>],
        condition: &str,
        deleted: bool,
    ) -> ChangedRows {
        let (oid, name) = (table[0].clone().unwrap(), table[1].clone().unwrap());
        let sql = "SELECT attname, atttypid FROM pg_attribute
            WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum";
        let columns = self.client.query(sql, &[&oid]).await.unwrap();
        let columns: Vec<ImageColumn> = columns
            .iter()
            .map(|row| ImageColumn {
                name: text(row, 0).into(),
                kind: text(row, 1).parse().unwrap(),
            })
            .collect();
        let sql = "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = $1::oid AND i.indisprimary";
        let key = self.client.query(sql, &[&oid]).await.unwrap();
        let key = key.iter().map(|row| text(row, 0).to_owned()).collect();
        let list: Vec<String> =
            columns.iter().map(|c| format!("\"{}\"", c.name.replace('"', "\"\""))).collect();
        let mut binary = Vec::new();
        let sql = format!(
            "COPY (SELECT xmin, {} FROM ONLY {name} WHERE {condition} FOR UPDATE) TO STDOUT (FORMAT binary)",
            list.join(", ")
        );
        self.client.copy_out(&sql, &mut binary).await.unwrap();
        let rows = rows(&binary);
        ChangedRows { table: oid.parse().unwrap(), name, columns, key, deleted, rows }
    }

    async fn kept(&mut self) -> KeptWrite {
        let own = &self.client.query("SELECT pg_current_xact_id()", &[]).await.unwrap()[0];
        self.images.transaction = text(own, 0).parse().unwrap();
        let mut numbers = BTreeSet::from([u32::try_from(self.images.transaction).unwrap()]);
        for table in &self.tables {
            let sql = format!(
                "SELECT DISTINCT xmin FROM {table} WHERE xmin::text::int8 >= $1::int8
                 AND pg_xact_status(xmin::text::xid8) = 'in progress'"
            );
            let transaction = self.images.transaction.to_string();
            let found = self.client.query(&sql, &[&transaction]).await.unwrap();
            numbers.extend(found.iter().map(|row| text(row, 0).parse::<u32>().unwrap()));
        }
        self.images.numbers = numbers.into_iter().collect();
        let images = std::mem::take(&mut self.images);
        KeptWrite { index: images.transaction, images: images.to_body() }
    }
}

/// The rows of a binary copy.
fn rows(mut copy: &[u8]) -> Vec<KeptRow> {
    fn take<const N: usize>(from: &mut &[u8]) -> [u8; N] {
        let (first, rest) = from.split_at(N);
        *from = rest;
        first.try_into().unwrap()
    }
    take::<19>(&mut copy);
    let mut rows = Vec::new();
    loop {
        let count = i16::from_be_bytes(take(&mut copy));
        if count < 0 {
            return rows;
        }
        assert_eq!(i32::from_be_bytes(take(&mut copy)), 4);
        let xmin = u32::from_be_bytes(take(&mut copy));
        let values = (1..count).map(|_| {
            let length = usize::try_from(i32::from_be_bytes(take(&mut copy)));
            Value(length.ok().map(|length| {
                let (value, rest) = copy.split_at(length);
                copy = rest;
                value.to_vec()
            }))
        });
        let values = values.collect();
        rows.push(KeptRow { xmin, values });
    }
}
