//! Rows back, in an order that the server accepts: bulk first, and what a constraint refuses in
//! ever smaller parts, over and over, until nothing moves any more.

use super::super::super::quoting::quoted;
use super::super::catalog;
use super::super::client::{Client, ClientError};
use super::sides::{Sides, to_do};
use super::span::list;
use countermand_engine::target::TargetError;
use std::collections::BTreeMap;

/// What is done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Insert,
    Update,
    Delete,
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Act::Insert => "insert",
            Act::Update => "update",
            Act::Delete => "delete",
        }
    }
}

/// Puts rows back. Returns, in words, those that could not be.
pub(super) async fn undo(
    client: &mut Client,
    all: &[Sides],
    overwrite: bool,
) -> Result<Vec<String>, TargetError> {
    let mut awake = Vec::new();
    for sides in all {
        if sides.ready(client, overwrite).await? != (0, 0) {
            awake.extend(send_to_sleep(client, sides).await?);
        }
    }
    // What fails, fails at its own statement.
    client.batch("SET CONSTRAINTS ALL IMMEDIATE").await?;
    let mut undo = Undo { client, overwrite, refused: BTreeMap::new() };
    while undo.pass(all).await? {}
    let left = undo.left(all).await?;
    for sql in awake.iter().rev() {
        client.batch(sql).await?;
    }
    nobody_elses(client, all).await?;
    Ok(left)
}

struct Undo<'a> {
    client: &'a mut Client,
    overwrite: bool,
    /// The server's words, by table and row.
    refused: BTreeMap<(u32, i64), String>,
}

impl Undo<'_> {
    /// Every table once; whether anything moved.
    async fn pass(&mut self, all: &[Sides]) -> Result<bool, TargetError> {
        let mut moved = false;
        for sides in all {
            moved |= self.each(sides, Act::Insert).await?;
            moved |= self.each(sides, Act::Update).await?;
        }
        for sides in all.iter().rev() {
            moved |= self.each(sides, Act::Delete).await?;
        }
        Ok(moved)
    }

    /// Rows of one table that wait for the same act.
    async fn each(&mut self, sides: &Sides, act: Act) -> Result<bool, TargetError> {
        let sql = format!(
            "SELECT s.n FROM {} s WHERE s.act = '{}' AND NOT s.done AND {} ORDER BY s.n",
            sides.name,
            act.word(),
            to_do(self.overwrite)
        );
        let rows = self.client.query(&sql, &[]).await?;
        let waiting: Vec<i64> = rows.iter().filter_map(|row| catalog::number(row, 0)).collect();
        let mut parts = vec![waiting.as_slice()];
        let mut moved = false;
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.try_part(sides, act, part).await? {
                Ok(some) => moved |= some,
                Err(message) if part.len() == 1 => {
                    self.refused.insert((sides.table.oid, part[0]), message);
                }
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(moved)
    }

    /// One statement; inside, whether it moved anything or what the server has against it.
    async fn try_part(
        &mut self,
        sides: &Sides,
        act: Act,
        part: &[i64],
    ) -> Result<Result<bool, String>, ClientError> {
        let sql = statement(sides, act);
        self.client.batch("SAVEPOINT countermand_part").await?;
        let done = self.client.query(&sql, &[&list(part)]).await;
        match done {
            Ok(rows) => {
                self.client.batch("RELEASE SAVEPOINT countermand_part").await?;
                Ok(Ok(rows.first().map(|row| catalog::text(row, 0)) != Some("0")))
            }
            Err(ClientError::Server { code, message }) if is_of_a_row(&code) => {
                let sql = "ROLLBACK TO SAVEPOINT countermand_part;
                    RELEASE SAVEPOINT countermand_part";
                self.client.batch(sql).await?;
                Ok(Err(message))
            }
            Err(error) => Err(error),
        }
    }

    /// In words, rows that still wait.
    async fn left(&mut self, all: &[Sides]) -> Result<Vec<String>, TargetError> {
        let mut words = Vec::new();
        for sides in all {
            let sql = format!(
                "SELECT s.n, s.shown FROM {} s WHERE NOT s.done AND {} ORDER BY s.n",
                sides.name,
                to_do(self.overwrite)
            );
            for row in self.client.query(&sql, &[]).await? {
                let known = catalog::number(&row, 0).map(|n| (sides.table.oid, n));
                let why = known.and_then(|known| self.refused.get(&known));
                let why = why.map_or("other rows refer to it", String::as_str);
                words.push(sides.words(catalog::text(&row, 1), why));
            }
        }
        Ok(words)
    }
}

/// What a constraint, a domain or a check says of one row.
fn is_of_a_row(code: &str) -> bool {
    ["22", "23", "44"].iter().any(|class| code.starts_with(class))
}

/// The act as SQL, of the rows in `$1`; answers with how many it was done to.
fn statement(sides: &Sides, act: Act) -> String {
    let (name, table) = (&sides.name, sides.table.from());
    let did = match act {
        Act::Insert => format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM part s RETURNING 1",
            sides.table.name,
            sides.values(|_, name| quoted(name)),
            sides.values(|n, _| format!("s.c{n}"))
        ),
        Act::Update => format!(
            "UPDATE {table} t SET {} FROM part s WHERE {} RETURNING 1",
            sets(sides),
            sides.same("s")
        ),
        // Not what others refer to: their rows would go with it, or lose what they refer to.
        Act::Delete => format!(
            "DELETE FROM {table} t USING part s
             WHERE t.ctid = s.now_at AND t.tableoid = s.now_place{} RETURNING s.n",
            sides.table.unreferred("t")
        ),
    };
    let marked = match act {
        Act::Delete => format!(
            "UPDATE {name} s SET done = true WHERE s.n IN (SELECT d.n FROM did d) RETURNING 1"
        ),
        Act::Insert | Act::Update => format!(
            "UPDATE {name} s SET done = true WHERE s.n = ANY ($1::pg_catalog.int8[]) RETURNING 1"
        ),
    };
    format!(
        "WITH part AS (SELECT * FROM {name} s WHERE s.n = ANY ($1::pg_catalog.int8[])),
         did AS ({did}), marked AS ({marked})
         SELECT pg_catalog.count(*) FROM marked"
    )
}

/// Every column that UPDATE may set: not the key, which is equal.
fn sets(sides: &Sides) -> String {
    let own = |name: &str| {
        let key = sides.table.key.iter().any(|key| key.name == name);
        let always = sides.table.columns.iter().any(|c| c.name == name && c.always);
        !key && !always
    };
    let names = sides.columns.iter().filter(|name| own(name));
    let sets = names.map(|name| format!("{} = s.{}", quoted(name), sides.at(name)));
    sets.collect::<Vec<_>>().join(", ")
}

/// Switches off the triggers and rules of a table and its partitions. Returns what switches each
/// back to what it was, to be run from the last to the first: what is done to the whole is done
/// to its partitions.
async fn send_to_sleep(client: &mut Client, sides: &Sides) -> Result<Vec<String>, ClientError> {
    let mut awake = Vec::new();
    for (_, name) in sides.table.tree.iter().rev() {
        awake.extend(super::super::restore::send_to_sleep(client, name).await?);
    }
    Ok(awake)
}

/// Refuses where rows of any other table were written: a cascade, a rule.
async fn nobody_elses(client: &mut Client, all: &[Sides]) -> Result<(), TargetError> {
    let own = all.iter().flat_map(|sides| sides.table.tree.iter().map(|(oid, _)| *oid)).collect();
    let sql = "SELECT DISTINCT pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.',
          pg_catalog.quote_ident(c.relname))
        FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'
          AND c.oid >= 16384 AND c.relkind = 'r' AND c.relpersistence <> 't'
          AND c.oid <> ALL ($1::pg_catalog.oid[])
          AND pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
            + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
            + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) > 0";
    let rows = client.query(sql, &[&catalog::oids(&own)]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = rows.iter().map(|row| catalog::text(row, 0)).collect();
    Err(TargetError::CannotJudge(format!(
        "nothing was taken back: it would have written to {} as well",
        names.join(", ")
    )))
}
