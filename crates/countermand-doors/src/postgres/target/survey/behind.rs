//! What stands behind a unit: the relations that its conditions and sources only read, down to
//! the tables behind views and policies, each with a digest of what it is and holds. It is part
//! of a change's identity: who may write there would otherwise say what the signed statement
//! means.

use super::super::catalog::{self, Address, Table};
use super::super::client::{Client, ClientError};
use super::super::reads::Reads;
use super::super::steps::{Name, Named};
use super::resolve::{self, Resolved};
use super::{Depth, Walk, kind_of};
use countermand_core::digest::Digest;
use countermand_engine::target::TargetError;
use std::collections::BTreeSet;

/// Relations with a lower OID are the server's own.
const FIRST_NORMAL: u32 = 16384;

/// A relation that is read, and what it was found to be.
#[derive(Clone, Debug)]
pub(in super::super) struct Read {
    /// Which.
    pub(in super::super) table: Table,
    /// Of its definition and, where rows are counted, of its rows.
    pub(in super::super) digest: Digest,
}

/// As an object is called: its kind and name.
impl std::fmt::Display for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", kind_of(&self.table), self.table.name)
    }
}

impl Walk<'_> {
    /// Finds all that is read, and what it is. Comes after the steps: it wants to know what they
    /// make, and whose policies and rules speak.
    pub(super) async fn read(&mut self, reads: &Reads) -> Result<(), TargetError> {
        let mut named = BTreeSet::new();
        let made = |name: &Name| self.made.iter().any(|made| made.may_be(&name.parts()));
        let through_own_views = reads.rows.iter().any(made);
        let views = reads.views.iter().filter(|_| through_own_views);
        for name in reads.rows.iter().chain(views) {
            named.extend(self.read_from(name).await?);
        }
        let changed = self.found.rows.keys().copied().collect();
        let behind = relations(self.client, &named, &changed).await?;
        for table in catalog::tables(self.client, &behind).await? {
            let digest = self.digest(&table).await?;
            self.found.reads.insert(table.oid, Read { table, digest });
        }
        Ok(())
    }

    /// What a name means before the unit runs; none where only the unit makes it.
    async fn read_from(&mut self, name: &Name) -> Result<Option<u32>, TargetError> {
        let named = Named { name: name.parts(), arguments: Some(Vec::new()) };
        match resolve::resolve(self.client, self.unit, "relation", &named).await? {
            Resolved::At(at) => Ok(Some(at.object)),
            Resolved::Missing { .. } if self.made.iter().any(|m| m.may_be(&named.name)) => Ok(None),
            Resolved::Missing { code, message } => Err(TargetError::Refused { code, message }),
        }
    }

    async fn digest(&mut self, table: &Table) -> Result<Digest, TargetError> {
        if let Some(why) = unsteady(table) {
            return Err(TargetError::CannotJudge(format!(
                "a statement reads `{}`, {why}: what it means cannot be signed; write the values \
                 themselves instead",
                table.name
            )));
        }
        let at = Address::relation(table.oid);
        let definitions = catalog::definitions(self.client, &[at]).await?;
        let mut whole = definitions.get(&at).map(Digest::to_string).unwrap_or_default();
        if matches!(table.kind, 'r' | 'm') && self.depth == Depth::Counted {
            let content = content(self.client, &table.name).await;
            whole.push_str(&content.map_err(|error| too_large(table, error))?);
        }
        Ok(Digest::of_bytes(whole.as_bytes()))
    }
}

/// Why nobody can say that a relation holds what it held.
fn unsteady(table: &Table) -> Option<&'static str> {
    match table.kind {
        _ if table.oid < FIRST_NORMAL => Some("which is the server's own and changes all the time"),
        'r' | 'p' | 'v' | 'm' => None,
        'S' => Some("a sequence, which no transaction holds"),
        'f' => Some("which lies elsewhere"),
        _ => Some("which is no table"),
    }
}

fn too_large(table: &Table, error: ClientError) -> TargetError {
    match error.code() {
        Some("57014") => TargetError::CannotJudge(format!(
            "a statement reads `{}`, which is too large to be looked through in time, so that \
             nobody could sign what it holds; write the values themselves instead, or read a \
             smaller table",
            table.name
        )),
        _ => error.into(),
    }
}

/// The rows of a relation, whatever their order: counts and digests of 256 parts of them, each
/// over the sorted digests of its rows, so that the server holds a part at a time.
async fn content(client: &mut Client, name: &str) -> Result<String, ClientError> {
    let sql = format!(
        "SELECT pg_catalog.get_byte(x.row, 0), pg_catalog.count(*), pg_catalog.encode(
            pg_catalog.sha256(pg_catalog.string_agg(x.row, ''::pg_catalog.bytea ORDER BY x.row)),
            'hex')
          FROM (SELECT pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat(r.*), 'UTF8'))
            FROM ONLY {name} r) x(row)
          GROUP BY 1 ORDER BY 1"
    );
    let rows = client.query(&sql, &[]).await?;
    let line = |row: &super::super::client::Row| {
        let values: Vec<&str> = (0..row.len()).map(|at| catalog::text(row, at)).collect();
        format!("\n{}", values.join(" "))
    };
    Ok(rows.iter().map(line).collect())
}

/// These relations with all that is read through them, and what the policies and rules of
/// relations that change read.
async fn relations(
    client: &mut Client,
    named: &BTreeSet<u32>,
    changed: &BTreeSet<u32>,
) -> Result<BTreeSet<u32>, ClientError> {
    // The catalogue keeps no dependency on the server's own relations; the stored tree names them.
    let sql = "WITH RECURSIVE walk(oid, read) AS (
          (SELECT pg_catalog.unnest($1::pg_catalog.oid[]), true
           UNION SELECT pg_catalog.unnest($2::pg_catalog.oid[]), false)
          UNION
          SELECT n.oid, true FROM walk w CROSS JOIN LATERAL (
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = w.oid AND w.read
            UNION ALL
            SELECT m.oid FROM (
              SELECT 2618::pg_catalog.oid, r.oid, r.ev_action::pg_catalog.text
                FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
                WHERE r.ev_class = w.oid AND (c.relkind = 'v' OR NOT w.read)
              UNION ALL
              SELECT 3256::pg_catalog.oid, p.oid, pg_catalog.concat(p.polqual, p.polwithcheck)
                FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
                WHERE p.polrelid = w.oid AND c.relrowsecurity) code(class, oid, tree)
            CROSS JOIN LATERAL (
              SELECT d.refobjid FROM pg_catalog.pg_depend d
                WHERE d.classid = code.class AND d.objid = code.oid AND d.refclassid = 1259
                  AND d.deptype = 'n' AND d.refobjid <> w.oid
              UNION ALL
              SELECT t.found[1]::pg_catalog.oid
                FROM pg_catalog.regexp_matches(code.tree, ':relid ([0-9]+)', 'g') t(found)
                WHERE t.found[1]::pg_catalog.int8 BETWEEN 1 AND 16383) m(oid)) n(oid))
        SELECT DISTINCT w.oid FROM walk w WHERE w.read";
    let rows = client.query(sql, &[&catalog::oids(named), &catalog::oids(changed)]).await?;
    Ok(rows.iter().filter_map(|row| catalog::number(row, 0)).collect())
}
