//! Some of the rows that a unit would delete or change, for a human who decides.
//!
//! Where a condition says which, it is asked as agents' sessions ask; the rows themselves are read as the
//! executor. What is sensitive is not read at all.

use super::super::super::unit::Unit;
use super::super::catalog;
use super::super::client::{Client, ClientError, Row};
use super::super::steps::Step;
use super::{Depth, Losing, Survey, Walk};
use crate::postgres::quoting::quoted;
use countermand_core::action::Action;
use countermand_engine::target::{Cell, SENSITIVE, Sample, Tags, TargetError, Which, tags_of};

/// Rows of one table.
const MOST_ROWS: usize = 5;
/// Tables; those that lose most come first.
const MOST_TABLES: usize = 20;
/// Columns of one table.
const MOST_COLUMNS: usize = 40;
/// Of a value, in characters.
const LONGEST: usize = 120;
/// What is stored in more bytes is not read.
const LARGEST: u64 = 64 * 1024;
/// What in a column's name says that it must not be shown, whether it is tagged or not. Of the name its
/// letters and digits are looked at.
const TELLING: [&str; 13] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "iban",
    "cardnumber",
    "cvv",
];
/// The same as the whole name.
const WORDS: [&str; 4] = ["pin", "otp", "ssn", "salt"];

/// Finds what the unit would do, and reads some rows of each table.
pub(in super::super) async fn sample(
    client: &mut Client,
    unit: &Unit,
    steps: &[Step],
    actions: &[Action],
    tags: &Tags,
) -> Result<Vec<Sample>, TargetError> {
    let found = super::survey(client, unit, steps, actions, Depth::Counted).await?;
    let mut losing: Vec<Losing> = found.rows.into_values().filter(|it| it.rows > 0).collect();
    losing.sort_by_key(|losing| std::cmp::Reverse(losing.rows));
    losing.truncate(MOST_TABLES);
    let mut walk =
        Walk { client, unit, depth: Depth::Counted, made: Vec::new(), found: Survey::default() };
    let mut samples = Vec::new();
    for losing in losing {
        samples.push(walk.sample(&losing, tags).await?);
    }
    Ok(samples)
}

/// A column, and whether its values are nobody's to see.
struct Column {
    name: String,
    masked: bool,
}

impl Walk<'_> {
    async fn sample(&mut self, losing: &Losing, tags: &Tags) -> Result<Sample, TargetError> {
        let columns = self.columns(losing, tags).await?;
        let all = losing.wholly || losing.gone || losing.every;
        let one = losing.meant.clone().flatten();
        let places = match one.filter(|_| !all) {
            Some(meant) => self.places(losing.table.oid, &meant, MOST_ROWS).await?,
            None => None,
        };
        let which = match &places {
            _ if all => Which::All,
            Some(_) => Which::Found,
            None => Which::Any,
        };
        let rows = self.read_rows(losing, &columns, places.as_deref()).await?;
        Ok(Sample {
            table: losing.table.name.clone(),
            which,
            columns: columns.iter().map(|column| column.name.clone()).collect(),
            rows: rows.iter().map(|row| cells(row, &columns)).collect(),
        })
    }

    async fn columns(&mut self, losing: &Losing, tags: &Tags) -> Result<Vec<Column>, ClientError> {
        let sql = format!(
            "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = {} AND a.attnum > 0
             AND NOT a.attisdropped ORDER BY a.attnum LIMIT {MOST_COLUMNS}",
            losing.table.oid
        );
        let rows = self.client.query(&sql, &[]).await?;
        // A column is also what the table's ancestors say of it.
        let mut tables = self.ancestors(losing.table.oid).await?;
        tables.push(losing.table.name.clone());
        let column = |row: &Row| {
            let name = catalog::text(row, 0).to_owned();
            let masked = tables.iter().any(|table| is_masked(tags, table, &name));
            Column { name, masked }
        };
        Ok(rows.iter().map(column).collect())
    }

    async fn ancestors(&mut self, oid: u32) -> Result<Vec<String>, ClientError> {
        let sql = format!(
            "WITH RECURSIVE up (oid) AS (
               SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = {oid}
               UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN up ON i.inhrelid = up.oid)
             SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
             FROM up JOIN pg_catalog.pg_class c ON c.oid = up.oid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        );
        let rows = self.client.query(&sql, &[]).await?;
        Ok(rows.iter().map(|row| catalog::text(row, 0).to_owned()).collect())
    }

    /// Each column takes two values: its text, and its size where that is too large.
    async fn read_rows(
        &mut self,
        losing: &Losing,
        columns: &[Column],
        places: Option<&[String]>,
    ) -> Result<Vec<Row>, ClientError> {
        let read: Vec<String> = columns.iter().map(selected).collect();
        let (table, read) = (&losing.table.name, read.join(", "));
        if read.is_empty() {
            return Ok(Vec::new());
        }
        let Some(places) = places else {
            let sql = format!("SELECT {read} FROM ONLY {table} LIMIT {MOST_ROWS}");
            return self.client.query(&sql, &[]).await;
        };
        let sql =
            format!("SELECT {read} FROM ONLY {table} WHERE ctid = ANY ($1::pg_catalog.tid[])");
        self.client.query(&sql, &[&catalog::array(places)]).await
    }
}

/// Whether the site has tagged it, or its name says so.
fn is_masked(tags: &Tags, table: &str, column: &str) -> bool {
    let plain: String = column.chars().filter(|c| c.is_alphanumeric()).collect();
    let plain = plain.to_lowercase();
    let tagged = |name: &str| tags_of(tags, name).contains(SENSITIVE);
    let of = |column: &str| tagged(&format!("{table}.{column}"));
    TELLING.iter().any(|word| plain.contains(word))
        || WORDS.contains(&plain.as_str())
        || tagged(table)
        || of(column)
        || of(&quoted(column))
}

/// By the output function of its type: a cast may be somebody else's function.
fn selected(column: &Column) -> String {
    if column.masked {
        return "NULL, NULL".to_owned();
    }
    let name = quoted(&column.name);
    let size = format!("pg_catalog.pg_column_size({name})");
    format!(
        "CASE WHEN {size} <= {LARGEST} THEN pg_catalog.left(pg_catalog.format('%s', {name}), {}) END, \
         {size}",
        LONGEST + 1
    )
}

fn cells(row: &Row, columns: &[Column]) -> Vec<Cell> {
    let cell = |(at, column): (usize, &Column)| {
        let size: Option<u64> = catalog::number(row, 2 * at + 1);
        match size {
            _ if column.masked => Cell::Masked,
            None => Cell::Null,
            Some(size) if size > LARGEST => Cell::Large(size),
            Some(_) => cut(catalog::text(row, 2 * at)),
        }
    };
    columns.iter().enumerate().map(cell).collect()
}

fn cut(text: &str) -> Cell {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cell::Cut(text[..end].to_owned()),
        None => Cell::Text(text.to_owned()),
    }
}
