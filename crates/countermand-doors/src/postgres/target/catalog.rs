//! What the server's catalogue says: addresses, dependencies, definitions, tables.
//!
//! Every text runs under `search_path = pg_catalog, pg_temp` and names what it reads with its
//! schema, so that nothing a unit has created can stand in for it.

use super::client::{Client, ClientError, Row};
use crate::postgres::quoting::quoted;
use countermand_core::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `pg_class`, in which relations are.
pub(super) const RELATION: u32 = 1259;
/// `pg_attrdef`.
pub(super) const DEFAULT: u32 = 2604;
/// `pg_constraint`.
pub(super) const CONSTRAINT: u32 = 2606;
/// `pg_trigger`.
pub(super) const TRIGGER: u32 = 2620;
/// `pg_proc`.
pub(super) const FUNCTION: u32 = 1255;

/// An object's place in the catalogue, as `pg_depend` names it. Never reused while a transaction
/// that saw it is open, unlike a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Address {
    /// The catalogue.
    pub(super) class: u32,
    /// The row.
    pub(super) object: u32,
    /// The column, for a part of a relation; otherwise 0.
    pub(super) part: i32,
}

impl Address {
    /// A relation as a whole.
    pub(super) fn relation(oid: u32) -> Address {
        Address { class: RELATION, object: oid, part: 0 }
    }

    /// What it is a part of, or itself.
    pub(super) fn whole(self) -> Address {
        Address { part: 0, ..self }
    }
}

/// An object as people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Where it is.
    pub(super) address: Address,
    /// The server's word for its kind.
    pub(super) kind: String,
    /// Its name, qualified and quoted where needed, as SQL reads it.
    pub(super) name: String,
    /// The relation it belongs to and goes with.
    pub(super) parent: Option<u32>,
    /// An implementation detail of something else, that nobody names.
    pub(super) internal: bool,
}

/// One line of `pg_depend` between two objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    /// What is depended on.
    pub(super) on: Address,
    /// What depends.
    pub(super) by: Address,
    /// `n` normal, `a` automatic, `i` internal, `P`/`S` partition.
    pub(super) kind: char,
}

/// A table, or another relation that holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Its row in `pg_class`.
    pub(super) oid: u32,
    /// Qualified and quoted where needed, as the radius names it.
    pub(super) name: String,
    /// `r`, `p`, `v`, `m`, `f`, `S`, …
    pub(super) kind: char,
    /// Columns that COPY reads and writes: all that are not generated.
    pub(super) columns: Vec<String>,
    /// The columns of its primary key, or of a unique index without nulls; empty where it has
    /// neither.
    pub(super) key: Vec<String>,
    /// On disk, with its indexes.
    pub(super) bytes: u64,
    /// Whether it holds its rows only as long as a session.
    pub(super) temporary: bool,
}

impl Table {
    /// Whether it holds rows of its own.
    pub(super) fn has_rows(&self) -> bool {
        self.kind == 'r'
    }

    /// Its columns as SQL lists them.
    pub(super) fn column_list(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quoted(column)).collect();
        columns.join(", ")
    }
}

/// A foreign key that refers to one of the tables asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignKey {
    /// The table that refers.
    pub(super) from: u32,
    /// The table referred to.
    pub(super) to: u32,
    /// The referring columns.
    pub(super) columns: Vec<String>,
    /// The columns referred to, in the same order.
    pub(super) referred: Vec<String>,
    /// On delete: `c` cascades, `n` and `d` change rows, `a` and `r` refuse.
    pub(super) on_delete: char,
    /// On update, likewise.
    pub(super) on_update: char,
}

const ROOTS: &str = "SELECT r.* FROM ROWS FROM (
    pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.oid[]),
    pg_catalog.unnest($3::pg_catalog.int4[])) r(classid, objid, objsubid)";

const DESCRIBE: &str = "SELECT a.classid, a.objid, a.objsubid, i.type, i.identity,
  CASE a.classid
    WHEN 1259 THEN CASE
      WHEN a.objsubid <> 0 THEN a.objid
      WHEN c.relkind IN ('i', 'I')
        THEN (SELECT x.indrelid FROM pg_catalog.pg_index x WHERE x.indexrelid = c.oid)
      WHEN c.relkind = 't'
        THEN (SELECT r.oid FROM pg_catalog.pg_class r WHERE r.reltoastrelid = c.oid) END
    WHEN 2604 THEN (SELECT d.adrelid FROM pg_catalog.pg_attrdef d WHERE d.oid = a.objid)
    WHEN 2606 THEN
      (SELECT NULLIF(k.conrelid, 0) FROM pg_catalog.pg_constraint k WHERE k.oid = a.objid)
    WHEN 2618 THEN (SELECT w.ev_class FROM pg_catalog.pg_rewrite w WHERE w.oid = a.objid)
    WHEN 2620 THEN (SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE t.oid = a.objid)
    WHEN 3256 THEN (SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE p.oid = a.objid)
    WHEN 6106 THEN (SELECT p.prrelid FROM pg_catalog.pg_publication_rel p WHERE p.oid = a.objid)
    WHEN 3381 THEN (SELECT s.stxrelid FROM pg_catalog.pg_statistic_ext s WHERE s.oid = a.objid)
    WHEN 1247 THEN (SELECT r.oid FROM pg_catalog.pg_type t
      LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
      JOIN pg_catalog.pg_class r ON r.oid IN (t.typrelid, e.typrelid) AND r.relkind <> 'c'
      WHERE t.oid = a.objid)
  END,
  CASE a.classid
    WHEN 1247 THEN (SELECT t.typcategory = 'A' AND t.typelem <> 0
      FROM pg_catalog.pg_type t WHERE t.oid = a.objid)
    WHEN 2606 THEN (SELECT k.contypid <> 0 FROM pg_catalog.pg_constraint k WHERE k.oid = a.objid)
    WHEN 2618 THEN (SELECT w.rulename = '_RETURN' FROM pg_catalog.pg_rewrite w WHERE w.oid = a.objid)
    WHEN 2620 THEN (SELECT t.tgisinternal FROM pg_catalog.pg_trigger t WHERE t.oid = a.objid)
    WHEN 1259 THEN c.relkind = 't'
    ELSE false
  END
  FROM walk a
  LEFT JOIN pg_catalog.pg_class c ON a.classid = 1259 AND c.oid = a.objid
  CROSS JOIN LATERAL pg_catalog.pg_identify_object(a.classid, a.objid, a.objsubid) i";

/// The exact set that `DROP … CASCADE` of these takes, tried against the server's own
/// (`sql_drop`): what depends on a member, and what a member is an internal part of.
pub(super) async fn cascade(
    client: &mut Client,
    roots: &[Address],
) -> Result<Vec<Described>, ClientError> {
    let sql = format!(
        "WITH RECURSIVE walk(classid, objid, objsubid) AS ({ROOTS} UNION
         SELECT n.* FROM walk w CROSS JOIN LATERAL (
           SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
           WHERE d.refclassid = w.classid AND d.refobjid = w.objid
             AND (w.objsubid = 0 OR d.refobjsubid = w.objsubid)
           UNION ALL
           SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend d
           WHERE d.classid = w.classid AND d.objid = w.objid AND d.deptype = 'i'
             AND (w.objsubid = 0 OR d.objsubid = w.objsubid)) n)
         {DESCRIBE}"
    );
    let found = ask(client, &sql, roots).await?;
    let found: Vec<Described> = found.into_iter().filter_map(described).collect();
    let members: BTreeSet<Address> = found.iter().map(|object| object.address).collect();
    // A part of what goes whole is not an object of its own.
    let own = |at: Address| at.part == 0 || !members.contains(&at.whole());
    Ok(found.into_iter().filter(|object| own(object.address)).collect())
}

/// What these are called.
pub(super) async fn describe(
    client: &mut Client,
    addresses: &[Address],
) -> Result<Vec<Described>, ClientError> {
    let sql = format!("WITH walk(classid, objid, objsubid) AS ({ROOTS}) {DESCRIBE}");
    Ok(ask(client, &sql, addresses).await?.into_iter().filter_map(described).collect())
}

/// The dependencies between members of a set.
pub(super) async fn dependencies(
    client: &mut Client,
    members: &[Address],
) -> Result<Vec<Dependency>, ClientError> {
    let sql = format!(
        "WITH walk(classid, objid, objsubid) AS ({ROOTS})
         SELECT d.refclassid, d.refobjid, d.refobjsubid, d.classid, d.objid, d.objsubid, d.deptype
         FROM pg_catalog.pg_depend d
         WHERE (d.classid, d.objid) IN (SELECT w.classid, w.objid FROM walk w)
           AND (d.refclassid, d.refobjid) IN (SELECT w.classid, w.objid FROM walk w)"
    );
    let dependency = |row: Row| {
        let kind = text(&row, 6).chars().next().unwrap_or('n');
        Some(Dependency { on: address(&row, 0)?, by: address(&row, 3)?, kind })
    };
    Ok(ask(client, &sql, members).await?.into_iter().filter_map(dependency).collect())
}

/// Digests of everything that defines these objects: a change of any of it voids approvals.
pub(super) async fn definitions(
    client: &mut Client,
    addresses: &[Address],
) -> Result<BTreeMap<Address, Digest>, ClientError> {
    let sql = format!(
        "WITH walk(classid, objid, objsubid) AS ({ROOTS}) {}",
        include_str!("catalog/definitions.sql")
    );
    let digest = |row: Row| Some((address(&row, 0)?, Digest::of_bytes(text(&row, 3).as_bytes())));
    Ok(ask(client, &sql, addresses).await?.into_iter().filter_map(digest).collect())
}

/// These relations, as far as they exist, in the order of their names.
pub(super) async fn tables(
    client: &mut Client,
    relations: &BTreeSet<u32>,
) -> Result<Vec<Table>, ClientError> {
    let sql = "SELECT c.oid,
        pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.relkind,
        CASE WHEN c.relkind IN ('r', 'm', 'p', 'S')
          THEN pg_catalog.pg_total_relation_size(c.oid) ELSE 0 END,
        c.relpersistence,
        (SELECT pg_catalog.to_json(pg_catalog.array_agg(a.attname ORDER BY a.attnum))
         FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
        (SELECT pg_catalog.to_json(pg_catalog.array_agg(a.attname ORDER BY a.attnum))
         FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum = ANY (
           (SELECT x.indkey::pg_catalog.int2[] FROM pg_catalog.pg_index x
            WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL
              AND x.indexprs IS NULL AND x.indimmediate AND NOT EXISTS (
                SELECT 1 FROM pg_catalog.pg_attribute k WHERE k.attrelid = c.oid
                AND k.attnum = ANY (x.indkey) AND (NOT k.attnotnull OR k.attgenerated <> ''))
            ORDER BY x.indisprimary DESC, x.indexrelid LIMIT 1)::pg_catalog.int2[]))
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::pg_catalog.oid[]) ORDER BY 2";
    let rows = client.query(sql, &[&oids(relations)]).await?;
    let names = |row: &Row, at: usize| serde_json::from_str(text(row, at)).unwrap_or_default();
    let table = |row: Row| {
        Some(Table {
            oid: number(&row, 0)?,
            name: text(&row, 1).to_owned(),
            kind: text(&row, 2).chars().next()?,
            bytes: number(&row, 3)?,
            temporary: text(&row, 4) == "t",
            columns: names(&row, 5),
            key: names(&row, 6),
        })
    };
    Ok(rows.into_iter().filter_map(table).collect())
}

/// These tables with all their partitions and heirs.
pub(super) async fn descendants(
    client: &mut Client,
    tables: &BTreeSet<u32>,
) -> Result<BTreeSet<u32>, ClientError> {
    let sql = "WITH RECURSIVE walk(oid) AS (SELECT pg_catalog.unnest($1::pg_catalog.oid[]) UNION
        SELECT i.inhrelid FROM walk w JOIN pg_catalog.pg_inherits i ON i.inhparent = w.oid)
        SELECT w.oid FROM walk w JOIN pg_catalog.pg_class c ON c.oid = w.oid
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')";
    let rows = client.query(sql, &[&oids(tables)]).await?;
    Ok(rows.iter().filter_map(|row| number(row, 0)).collect())
}

/// The foreign keys that refer to these tables.
pub(super) async fn foreign_keys(
    client: &mut Client,
    tables: &BTreeSet<u32>,
) -> Result<Vec<ForeignKey>, ClientError> {
    let sql = "SELECT k.conrelid, k.confrelid, k.confdeltype, k.confupdtype,
        (SELECT pg_catalog.to_json(pg_catalog.array_agg(a.attname ORDER BY u.n))
         FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u(attnum, n)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum),
        (SELECT pg_catalog.to_json(pg_catalog.array_agg(a.attname ORDER BY u.n))
         FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u(attnum, n)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum)
      FROM pg_catalog.pg_constraint k
      WHERE k.contype = 'f' AND k.confrelid = ANY ($1::pg_catalog.oid[]) ORDER BY k.oid";
    let rows = client.query(sql, &[&oids(tables)]).await?;
    let names = |row: &Row, at: usize| serde_json::from_str(text(row, at)).unwrap_or_default();
    let key = |row: Row| {
        Some(ForeignKey {
            from: number(&row, 0)?,
            to: number(&row, 1)?,
            on_delete: text(&row, 2).chars().next()?,
            on_update: text(&row, 3).chars().next()?,
            columns: names(&row, 4),
            referred: names(&row, 5),
        })
    };
    Ok(rows.into_iter().filter_map(key).collect())
}

/// Functions whose bodies are texts in which one of these names occurs as a word, and that do
/// not go themselves: nothing in the catalogue ties the two, so they are left dangling.
pub(super) async fn mentioning(
    client: &mut Client,
    names: &BTreeSet<String>,
) -> Result<Vec<(u32, String)>, ClientError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = names.iter().cloned().collect();
    let sql = "SELECT DISTINCT ON (p.oid) p.oid, m.name FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c')
        JOIN pg_catalog.unnest($1::pg_catalog.text[]) m(name)
          ON pg_catalog.regexp_split_to_array(p.prosrc, '[^[:alnum:]_$]+') @> ARRAY[m.name]
        WHERE p.prosqlbody IS NULL AND p.oid >= 16384 ORDER BY p.oid, m.name";
    let rows = client.query(sql, &[&array(&names)]).await?;
    let found = |row: &Row| Some((number(row, 0)?, text(row, 1).to_owned()));
    Ok(rows.iter().filter_map(found).collect())
}

async fn ask(
    client: &mut Client,
    sql: &str,
    addresses: &[Address],
) -> Result<Vec<Row>, ClientError> {
    let list = |number: &dyn Fn(&Address) -> String| {
        let numbers: Vec<String> = addresses.iter().map(number).collect();
        format!("{{{}}}", numbers.join(","))
    };
    let classes = list(&|at| at.class.to_string());
    let objects = list(&|at| at.object.to_string());
    let parts = list(&|at| at.part.to_string());
    client.query(sql, &[&classes, &objects, &parts]).await
}

fn described(row: Row) -> Option<Described> {
    Some(Described {
        address: address(&row, 0)?,
        kind: row.get(3)?.clone()?,
        name: text(&row, 4).to_owned(),
        parent: number(&row, 5),
        internal: text(&row, 6) == "t",
    })
}

fn address(row: &Row, at: usize) -> Option<Address> {
    Some(Address {
        class: number(row, at)?,
        object: number(row, at + 1)?,
        part: number(row, at + 2)?,
    })
}

/// A column's text; empty for NULL.
pub(super) fn text(row: &Row, at: usize) -> &str {
    row.get(at).and_then(|value| value.as_deref()).unwrap_or_default()
}

/// A column's number; none for NULL.
pub(super) fn number<T: std::str::FromStr>(row: &Row, at: usize) -> Option<T> {
    text(row, at).parse().ok()
}

/// A set of OIDs as the server reads an array.
pub(super) fn oids(set: &BTreeSet<u32>) -> String {
    let numbers: Vec<String> = set.iter().map(u32::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

/// Texts as the server reads an array.
pub(super) fn array(texts: &[String]) -> String {
    let quote = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    format!("{{{}}}", texts.iter().map(quote).collect::<Vec<_>>().join(","))
}
