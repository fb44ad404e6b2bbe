//! A table as it is now. What is partitioned is one table: a row that changed its partition is
//! still the same row.

use super::super::super::quoting::quoted;
use super::super::catalog;
use super::super::client::{Client, ClientError, Row};
use serde::Deserialize;
use std::collections::BTreeSet;

/// A table that an agent wrote to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Its OID, or that of the table that it is a partition of.
    pub(super) oid: u32,
    /// Its qualified and quoted name.
    pub(super) name: String,
    /// Which of the tables that were asked for it stands for.
    pub(super) named: BTreeSet<u32>,
    /// Its columns, without those that are computed from others.
    pub(super) columns: Vec<Column>,
    /// Its primary key; empty where it has none.
    pub(super) key: Vec<KeyColumn>,
    /// Itself and its partitions by their names, itself first.
    pub(super) tree: Vec<(u32, String)>,
    /// The foreign keys that refer to it.
    pub(super) references: Vec<Reference>,
    partitioned: bool,
}

/// A column as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Column {
    /// Its name.
    pub(super) name: String,
    /// Its type's OID.
    pub(super) kind: u32,
    /// Whether only the server sets it: an identity ALWAYS.
    pub(super) always: bool,
}

/// A column of the primary key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct KeyColumn {
    /// Its name.
    pub(super) name: String,
    /// The operator by which the key's index tells values apart, as SQL.
    equals: String,
}

/// A foreign key that refers to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The table that refers, or the one that it is a partition of.
    from: u32,
    /// As a question asks for its rows.
    rows: String,
    pairs: Vec<Pair>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Pair {
    from: String,
    to: String,
    equals: String,
}

impl Table {
    /// As a statement names its rows: its own, and those of its partitions.
    pub(super) fn from(&self) -> String {
        if self.partitioned { self.name.clone() } else { format!("ONLY {}", self.name) }
    }

    /// The condition that `left` and `right` have the same key. `right_of` names a key column on
    /// the right.
    pub(super) fn same_key(&self, left: &str, right_of: impl Fn(&str) -> String) -> String {
        let each = self.key.iter().map(|column| {
            format!("{left}.{} {} {}", quoted(&column.name), column.equals, right_of(&column.name))
        });
        each.collect::<Vec<_>>().join(" AND ")
    }

    /// The condition that no other row refers to `row`.
    pub(super) fn unreferred(&self, row: &str) -> String {
        let each = self.references.iter().map(|reference| {
            let pairs = reference.pairs.iter().map(|pair| {
                format!("{row}.{} {} r.{}", quoted(&pair.to), pair.equals, quoted(&pair.from))
            });
            let itself = match reference.from == self.oid {
                true => format!(" AND NOT (r.tableoid = {row}.tableoid AND r.ctid = {row}.ctid)"),
                false => String::new(),
            };
            format!(
                " AND NOT EXISTS (SELECT FROM {} r WHERE {}{itself})",
                reference.rows,
                pairs.collect::<Vec<_>>().join(" AND ")
            )
        });
        each.collect()
    }
}

/// The tables that these are, or are partitions of, as far as they exist; by OID.
pub(super) async fn find(
    client: &mut Client,
    named: &BTreeSet<u32>,
) -> Result<Vec<Table>, ClientError> {
    let sql = "SELECT r.root,
          pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.',
            pg_catalog.quote_ident(c.relname)),
          r.named, c.relkind = 'p',
          (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname,
             'kind', a.atttypid::pg_catalog.int8, 'always', a.attidentity = 'a') ORDER BY a.attnum)
           FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             AND a.attgenerated = ''),
          (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'equals',
             pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname)) ORDER BY k.n)
           FROM pg_catalog.pg_index x
           CROSS JOIN ROWS FROM (pg_catalog.unnest(x.indkey::pg_catalog.int2[]),
             pg_catalog.unnest(x.indclass::pg_catalog.oid[])) WITH ORDINALITY k(attnum, class, n)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
           JOIN pg_catalog.pg_opclass f ON f.oid = k.class
           JOIN pg_catalog.pg_amop e ON e.amopfamily = f.opcfamily AND e.amopstrategy = 3
             AND e.amoplefttype = f.opcintype AND e.amoprighttype = f.opcintype
           JOIN pg_catalog.pg_operator o ON o.oid = e.amopopr
           JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
           WHERE x.indrelid = c.oid AND x.indisprimary),
          (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(p.oid::pg_catalog.int8,
             pg_catalog.concat(pg_catalog.quote_ident(m.nspname), '.',
               pg_catalog.quote_ident(p.relname))) ORDER BY p.oid <> c.oid, p.oid)
           FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace
           WHERE p.oid = c.oid
             OR p.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t))
        FROM (SELECT COALESCE(pg_catalog.pg_partition_root(o.oid)::pg_catalog.oid, o.oid) AS root,
                pg_catalog.json_agg(o.oid::pg_catalog.int8) AS named
              FROM pg_catalog.unnest($1::pg_catalog.oid[]) o(oid)
              JOIN pg_catalog.pg_class c ON c.oid = o.oid AND c.relkind IN ('r', 'p')
              GROUP BY 1) r
        JOIN pg_catalog.pg_class c ON c.oid = r.root
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        ORDER BY 1";
    let rows = client.query(sql, &[&catalog::oids(named)]).await?;
    let mut tables: Vec<Table> = rows.iter().filter_map(table).collect();
    for table in &mut tables {
        table.references = references(client, table).await?;
    }
    Ok(tables)
}

fn table(row: &Row) -> Option<Table> {
    Some(Table {
        oid: catalog::number(row, 0)?,
        name: catalog::text(row, 1).to_owned(),
        named: serde_json::from_str(catalog::text(row, 2)).ok()?,
        partitioned: catalog::text(row, 3) == "t",
        columns: serde_json::from_str(catalog::text(row, 4)).unwrap_or_default(),
        key: serde_json::from_str(catalog::text(row, 5)).unwrap_or_default(),
        tree: serde_json::from_str(catalog::text(row, 6)).ok()?,
        references: Vec::new(),
    })
}

/// The foreign keys that refer to a table or a partition of it. Those that partitions have only
/// because what they are a part of has one say nothing more.
async fn references(client: &mut Client, table: &Table) -> Result<Vec<Reference>, ClientError> {
    let sql =
        "SELECT COALESCE(pg_catalog.pg_partition_root(k.conrelid)::pg_catalog.oid, k.conrelid),
          pg_catalog.concat(CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END,
            pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)),
          (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('from', f.attname,
             'to', t.attname,
             'equals', pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname)))
           FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey),
             pg_catalog.unnest(k.conpfeqop)) u(conkey, confkey, operator)
           JOIN pg_catalog.pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = u.conkey
           JOIN pg_catalog.pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = u.confkey
           JOIN pg_catalog.pg_operator o ON o.oid = u.operator
           JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace)
        FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE k.contype = 'f' AND k.conparentid = 0
          AND k.confrelid = ANY ($1::pg_catalog.oid[])
        ORDER BY k.oid";
    let tree = table.tree.iter().map(|(oid, _)| *oid).collect();
    let rows = client.query(sql, &[&catalog::oids(&tree)]).await?;
    let reference = |row: &Row| {
        Some(Reference {
            from: catalog::number(row, 0)?,
            rows: catalog::text(row, 1).to_owned(),
            pairs: serde_json::from_str(catalog::text(row, 2)).ok()?,
        })
    };
    Ok(rows.iter().filter_map(reference).collect())
}

/// Those that are referred to first. Tables that refer to each other in a ring come as they come.
pub(super) fn parents_first(tables: Vec<Table>) -> Vec<Table> {
    let (mut left, mut order): (Vec<Table>, Vec<Table>) = (tables, Vec::new());
    while !left.is_empty() {
        let waits = |table: &Table| {
            let refers = |other: &Table| {
                other.oid != table.oid && other.references.iter().any(|key| key.from == table.oid)
            };
            left.iter().any(refers)
        };
        let next = left.iter().position(|table| !waits(table)).unwrap_or(0);
        order.push(left.remove(next));
    }
    order
}
