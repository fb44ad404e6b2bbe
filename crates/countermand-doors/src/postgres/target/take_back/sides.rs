//! Every row that was written, on both sides: as it was before, and as it is now.
//!
//! A row's images are a chain: each shows who wrote what the next write of the agent found. Where
//! a link was written by somebody else, or the row as it is now was, it is not ours to put back.

use super::super::super::images::{ChangedRows, ImageColumn, KeptRow};
use super::super::super::quoting::quoted;
use super::super::super::refuse::escape;
use super::super::catalog;
use super::super::client::{Client, ClientError};
use super::span::Portion;
use super::table::Table;

/// What stands in `why` where nothing is to be done.
const AS_BEFORE: &str = "as before";
/// Characters of a key that are shown.
const SHOWN: usize = 80;
/// How a binary copy begins: its signature, no flags, no further header.
const COPY_BEGIN: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// How it ends.
const COPY_END: [u8; 2] = [0xff; 2];
/// Columns that a kept row has beside its values.
const BESIDE: usize = 5;

/// One table's rows, on both sides, in a temporary table: a row for each that was written, with
/// its values before in `c0`, `c1`, …; what is to be done (`act`); and why not (`why`, empty where
/// nothing speaks against it).
pub(super) struct Sides {
    /// The table.
    pub(super) table: Table,
    /// The names of the kept columns, in the order of `c0`, `c1`, ….
    pub(super) columns: Vec<String>,
    /// The temporary table.
    pub(super) name: String,
    inserted: u64,
}

impl Sides {
    /// Loads and compares. Inside: why this table's rows cannot be told apart; then the
    /// transaction has to go back to where it was.
    pub(super) async fn load(
        client: &mut Client,
        number: usize,
        table: Table,
        portion: Portion,
    ) -> Result<Result<Sides, String>, ClientError> {
        let columns = match kept_columns(&table, &portion) {
            Ok(columns) => columns,
            Err(why) => return Ok(Err(why)),
        };
        let images = format!("pg_temp.countermand_images_{number}");
        let name = format!("pg_temp.countermand_sides_{number}");
        let sides = Sides { table, columns, name, inserted: portion.inserted };
        let done = sides.fill(client, &images, &portion).await;
        match done {
            Ok(()) => Ok(Ok(sides)),
            Err(ClientError::Server { code, message }) if !is_of_the_connection(&code) => {
                Ok(Err(format!("its rows cannot be compared ({message})")))
            }
            Err(error) => Err(error),
        }
    }

    async fn fill(
        &self,
        client: &mut Client,
        images: &str,
        portion: &Portion,
    ) -> Result<(), ClientError> {
        client.batch(&self.room_for_images(images)).await?;
        let mut order = 0;
        for (transaction, changed) in &portion.changed {
            let place = |column: &ImageColumn| {
                self.columns.iter().position(|name| *name == column.name).unwrap_or_default()
            };
            let list: Vec<String> =
                changed.columns.iter().map(|column| format!("c{}", place(column))).collect();
            let list =
                [&["ord", "tx", "place", "gone", "by"].map(String::from)[..], &list].concat();
            let copy = copy(*transaction, changed, &mut order)?;
            let sql = format!("COPY {images} ({}) FROM STDIN (FORMAT binary)", list.join(", "));
            client.copy_in(&sql, &mut copy.as_slice()).await?;
        }
        // Where rows were only added there is no image whose key could be compared.
        let compare = match self.table.key.is_empty() || self.columns.is_empty() {
            true => self.without_key(images),
            false => self.by_key(images),
        };
        client
            .batch(&format!("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {compare}", self.name))
            .await?;
        if portion.inserted > 0 {
            client.batch(&self.added()).await?;
        }
        Ok(())
    }

    fn room_for_images(&self, images: &str) -> String {
        let columns = self.columns.iter().enumerate();
        let columns = columns.map(|(n, name)| format!("t.{} AS c{n}, ", quoted(name)));
        format!(
            "CREATE TEMPORARY TABLE {images} ON COMMIT DROP AS
             SELECT {}0::pg_catalog.int8 AS ord, 0::pg_catalog.int4 AS tx,
               0::pg_catalog.oid AS place, false AS gone, '0'::pg_catalog.xid AS by
             FROM {} t WITH NO DATA",
            columns.collect::<String>(),
            self.table.from()
        )
    }

    /// The kept columns, as `of` calls them.
    pub(super) fn values(&self, of: impl Fn(usize, &str) -> String) -> String {
        let each = self.columns.iter().enumerate().map(|(n, name)| of(n, name));
        each.collect::<Vec<_>>().join(", ")
    }

    /// The kept columns of one side, for a list that goes on behind them.
    fn listed(&self, side: &str) -> String {
        (0..self.columns.len()).map(|n| format!("{side}.c{n}, ")).collect()
    }

    /// What a column of the table is called among the sides.
    pub(super) fn at(&self, name: &str) -> String {
        let at = self.columns.iter().position(|column| column == name);
        format!("c{}", at.unwrap_or_default())
    }

    /// The condition that `t` and the side have the same key.
    pub(super) fn same(&self, side: &str) -> String {
        self.table.same_key("t", |name| format!("{side}.{}", self.at(name)))
    }

    fn by_key(&self, images: &str) -> String {
        let key: Vec<String> = self.table.key.iter().map(|key| self.at(&key.name)).collect();
        let key = key.join(", ");
        let (mine_by, mine_now) = (mine("l.by"), mine("b.now_by"));
        let (link, end) = (written_by("l.tx_before", "l.by"), written_by("b.last_tx", "b.now_by"));
        format!(
            "WITH linked AS (
               SELECT i.*, pg_catalog.row_number() OVER o AS nth,
                 pg_catalog.lag(i.gone) OVER o AS gone_before,
                 pg_catalog.lag(i.tx) OVER o AS tx_before
               FROM {images} i WINDOW o AS (PARTITION BY {key} ORDER BY i.ord)),
             judged AS (
               SELECT l.*, CASE WHEN l.nth = 1 THEN true WHEN l.gone_before THEN {mine_by}
                   ELSE {link} END AS whole,
                 (l.nth = 1 OR l.gone_before) AND {mine_by} AS added
               FROM linked l),
             folded AS (
               SELECT DISTINCT ON ({key}) j.*, pg_catalog.bool_and(j.whole) OVER a AS unbroken,
                 pg_catalog.last_value(j.gone) OVER a AS last_gone,
                 pg_catalog.last_value(j.tx) OVER a AS last_tx,
                 pg_catalog.last_value(j.place) OVER a AS last_place,
                 pg_catalog.count(*) FILTER (WHERE j.added) OVER a AS additions
               FROM judged j
               WINDOW a AS (PARTITION BY {key} ORDER BY j.ord
                 ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
               ORDER BY {key}, j.ord),
             both_sides AS (
               SELECT f.*, t.ctid AS now_at, t.tableoid AS now_place, t.xmin AS now_by,
                 ROW({now})::pg_catalog.text AS now, ROW({before})::pg_catalog.text AS before
               FROM folded f LEFT JOIN {table} t ON {same})
             SELECT pg_catalog.row_number() OVER (ORDER BY b.ord) AS n, {values}
               b.now_at, b.now_place, b.before, {shown} AS shown, false AS done,
               CASE WHEN b.added THEN 'delete' WHEN b.now_at IS NULL THEN 'insert'
                 ELSE 'update' END AS act,
               b.additions
                 + CASE WHEN b.now_at IS NULL THEN 0
                     WHEN b.last_gone AND {mine_now} THEN 1
                     WHEN NOT b.last_gone AND b.now_place <> b.last_place AND {end} THEN 1
                     ELSE 0 END AS additions,
               CASE WHEN b.added AND b.now_at IS NULL THEN '{AS_BEFORE}'
                 WHEN NOT b.added AND b.now_at IS NOT NULL AND b.now = b.before
                   THEN '{AS_BEFORE}'
                 WHEN NOT b.unbroken THEN 'changed by somebody else in between'
                 WHEN b.last_gone AND (b.now_at IS NULL OR {mine_now}) THEN ''
                 WHEN b.last_gone THEN 'its key was taken since'
                 WHEN b.now_at IS NULL THEN 'deleted since'
                 WHEN {end} THEN ''
                 ELSE 'changed since' END AS why
             FROM both_sides b",
            now = self.values(|_, name| format!("t.{}", quoted(name))),
            before = self.values(|n, _| format!("f.c{n}")),
            values = self.listed("b"),
            table = self.table.from(),
            same = self.same("f"),
            shown = self.shown(|name| format!("b.{}", self.at(name))),
        )
    }

    /// Rows that nothing tells apart but all of their values. Only deleted ones are kept. Where
    /// an equal one is there, nobody can tell whether it is this one.
    fn without_key(&self, images: &str) -> String {
        format!(
            "WITH kept AS (
               SELECT i.*, {mine_by} AS added, ROW({before})::pg_catalog.text AS before
               FROM {images} i),
             counted AS (
               SELECT k.*, pg_catalog.row_number() OVER
                 (PARTITION BY k.before, k.added ORDER BY k.ord) AS nth FROM kept k),
             present AS (
               SELECT ROW({now})::pg_catalog.text AS now, pg_catalog.count(*) AS times
               FROM {table} t WHERE NOT {mine_now} GROUP BY 1)
             SELECT pg_catalog.row_number() OVER (ORDER BY k.ord) AS n, {values}
               NULL::pg_catalog.tid AS now_at, NULL::pg_catalog.oid AS now_place, k.before,
               k.before AS shown, false AS done, 'insert' AS act,
               CASE WHEN k.added THEN 1 ELSE 0 END::pg_catalog.int8 AS additions,
               CASE WHEN k.added THEN '{AS_BEFORE}'
                 WHEN k.nth <= p.times THEN 'an equal row is there'
                 ELSE '' END AS why
             FROM counted k LEFT JOIN present p ON p.now = k.before",
            mine_by = mine("i.by"),
            mine_now = mine("t.xmin"),
            before = self.values(|n, _| format!("i.c{n}")),
            now = self.values(|_, name| format!("t.{}", quoted(name))),
            values = self.listed("k"),
            table = self.table.from(),
        )
    }

    /// Adds the rows that the agent added and that have no image.
    fn added(&self) -> String {
        let unknown = match self.table.key.is_empty() || self.columns.is_empty() {
            true => String::new(),
            false => {
                format!(" AND NOT EXISTS (SELECT FROM {} s WHERE {})", self.name, self.same("s"))
            }
        };
        format!(
            "INSERT INTO {name} (n, now_at, now_place, shown, done, act, additions, why)
             SELECT (SELECT pg_catalog.count(*) FROM {name}) + pg_catalog.row_number() OVER (),
               t.ctid, t.tableoid, {shown}, false, 'delete', 1, ''
             FROM {table} t WHERE {mine}{unknown}",
            name = self.name,
            shown = self.shown(|name| format!("t.{}", quoted(name))),
            table = self.table.from(),
            mine = mine("t.xmin"),
        )
    }

    /// The key's values as people read them.
    fn shown(&self, of: impl Fn(&str) -> String) -> String {
        let each = self.table.key.iter().map(|key| format!("{}::pg_catalog.text", of(&key.name)));
        match self.table.key.is_empty() {
            true => "''".to_owned(),
            false => format!("pg_catalog.concat_ws(', ', {})", each.collect::<Vec<_>>().join(", ")),
        }
    }

    /// How many rows can be put back, and how many that the agent added can be removed.
    pub(super) async fn ready(
        &self,
        client: &mut Client,
        overwrite: bool,
    ) -> Result<(u64, u64), ClientError> {
        let sql = format!(
            "SELECT pg_catalog.count(*) FILTER (WHERE s.act <> 'delete'),
               pg_catalog.count(*) FILTER (WHERE s.act = 'delete') FROM {} s WHERE {}",
            self.name,
            to_do(overwrite)
        );
        let rows = client.query(&sql, &[]).await?;
        let count = |at| rows.first().and_then(|row| catalog::number(row, at)).unwrap_or_default();
        Ok((count(0), count(1)))
    }

    /// In words, rows that are not the agent's any more.
    pub(super) async fn touched(&self, client: &mut Client) -> Result<Vec<String>, ClientError> {
        let sql = format!(
            "SELECT s.shown, s.why FROM {} s WHERE s.why NOT IN ('', '{AS_BEFORE}') ORDER BY s.n",
            self.name
        );
        let rows = client.query(&sql, &[]).await?;
        let words = rows.iter();
        let words = words.map(|row| self.words(catalog::text(row, 0), catalog::text(row, 1)));
        Ok(words.collect())
    }

    /// One row and what is to be said of it.
    pub(super) fn words(&self, shown: &str, why: &str) -> String {
        let short: String = shown.chars().take(SHOWN).collect();
        let dots = if short.len() < shown.len() { "…" } else { "" };
        let key: Vec<&str> = self.table.key.iter().map(|key| key.name.as_str()).collect();
        let key = if key.is_empty() { String::new() } else { format!("({})=", key.join(", ")) };
        escape(&format!("{} {key}({short}{dots}): {why}", self.table.name))
    }

    /// In words, rows that the agent added and that nothing shows any more as its own.
    pub(super) async fn lost_sight_of(
        &self,
        client: &mut Client,
    ) -> Result<Option<String>, ClientError> {
        let sql = format!("SELECT COALESCE(pg_catalog.sum(s.additions), 0) FROM {} s", self.name);
        let rows = client.query(&sql, &[]).await?;
        let seen: u64 = rows.first().and_then(|row| catalog::number(row, 0)).unwrap_or_default();
        let lost = self.inserted.saturating_sub(seen);
        let words = || {
            let name = &self.table.name;
            escape(&format!("{name}: up to {lost} rows that were added are changed or gone since"))
        };
        Ok((lost > 0).then(words))
    }

    /// How many rows were put back, and whether they are read as they were kept.
    pub(super) async fn read_back(&self, client: &mut Client) -> Result<(u64, bool), ClientError> {
        let differs = match self.table.key.is_empty() || self.columns.is_empty() {
            true => "false".to_owned(),
            false => format!(
                "CASE WHEN s.act = 'delete'
                   THEN s.before IS NOT NULL AND EXISTS (SELECT FROM {table} t WHERE {same})
                   ELSE NOT EXISTS (SELECT FROM {table} t
                     WHERE {same} AND ROW({now})::pg_catalog.text = s.before) END",
                table = self.table.from(),
                same = self.same("s"),
                now = self.values(|_, name| format!("t.{}", quoted(name))),
            ),
        };
        let sql = format!(
            "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {differs})
             FROM {} s WHERE s.done",
            self.name
        );
        let rows = client.query(&sql, &[]).await?;
        let count = |at| rows.first().and_then(|row| catalog::number(row, at)).unwrap_or(u64::MAX);
        Ok((count(0), count(1) == 0))
    }
}

/// The condition that a row is to be put back.
pub(super) fn to_do(overwrite: bool) -> String {
    match overwrite {
        true => format!("s.why <> '{AS_BEFORE}'"),
        false => "s.why = ''".to_owned(),
    }
}

/// The condition that one of the agent's transactions wrote a row.
fn mine(by: &str) -> String {
    format!("{by} IN (SELECT w.number FROM pg_temp.countermand_numbers w)")
}

/// The condition that this one of them did.
fn written_by(transaction: &str, by: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_temp.countermand_numbers w
         WHERE w.nth = {transaction} AND w.number = {by})"
    )
}

/// Errors that are no table's own: a lock, a deadline, a server that stops.
fn is_of_the_connection(code: &str) -> bool {
    ["08", "40", "53", "55", "57", "58", "XX"].iter().any(|class| code.starts_with(class))
}

/// The columns that were kept, where the table still has them, its key is what it was, and it was
/// the same in all writes.
fn kept_columns(table: &Table, portion: &Portion) -> Result<Vec<String>, String> {
    let key: Vec<&String> = table.key.iter().map(|key| &key.name).collect();
    let Some((_, first)) = portion.changed.first() else {
        return Ok(Vec::new());
    };
    for (_, changed) in &portion.changed {
        for column in &changed.columns {
            let now = table.columns.iter().find(|now| now.name == column.name);
            let what = match now {
                None => "is gone",
                Some(now) if now.kind != column.kind => "has another type now",
                _ if !first.columns.contains(column) => "was not always there",
                _ => continue,
            };
            return Err(escape(&format!("its column `{}` {what}", column.name)));
        }
        if changed.columns.len() != first.columns.len() {
            return Err("it got another column between two of the writes".into());
        }
        let same = key.len() == changed.key.len() && key.iter().all(|k| changed.key.contains(k));
        if !same {
            return Err("its primary key is not what it was".into());
        }
        if key.is_empty() && !changed.deleted {
            return Err("rows of it were changed, and no key tells them apart".into());
        }
        if changed.rows.iter().any(|row| row.values.len() != changed.columns.len()) {
            return Err("its before-images are not whole".into());
        }
    }
    Ok(first.columns.iter().map(|column| column.name.clone()).collect())
}

/// Kept rows as a binary copy.
fn copy(
    transaction: usize,
    changed: &ChangedRows,
    order: &mut i64,
) -> Result<Vec<u8>, ClientError> {
    let too_long = |_| ClientError::Local("a kept row is too long".to_owned());
    let count = i16::try_from(changed.columns.len() + BESIDE).map_err(too_long)?;
    let transaction = i32::try_from(transaction).map_err(too_long)?;
    let mut out = COPY_BEGIN.to_vec();
    for KeptRow { xmin, values } in &changed.rows {
        *order += 1;
        out.extend(count.to_be_bytes());
        let gone = [u8::from(changed.deleted)];
        let (order, transaction) = (order.to_be_bytes(), transaction.to_be_bytes());
        let (place, by) = (changed.table.to_be_bytes(), xmin.to_be_bytes());
        let beside: [&[u8]; BESIDE] = [&order, &transaction, &place, &gone, &by];
        let values = values.iter().map(|value| value.0.as_deref());
        for value in beside.into_iter().map(Some).chain(values) {
            let length = value.map_or(Ok(-1), |value| i32::try_from(value.len()));
            out.extend(length.map_err(too_long)?.to_be_bytes());
            out.extend(value.unwrap_or_default());
        }
    }
    out.extend(COPY_END);
    Ok(out)
}
