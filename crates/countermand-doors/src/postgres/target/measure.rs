//! What a transaction really did, read from inside it before its commit.
//!
//! Rows: the counters that the server keeps for this transaction, of every relation it has locked
//! more than for reading. Objects: everything in the catalogue before and after; our snapshot is
//! one, so the difference is our own doing.

use super::catalog::{self, Address};
use super::client::{Client, ClientError};
use super::survey::Survey;
use countermand_core::preview::Counts;
use std::collections::{BTreeMap, BTreeSet};

/// Catalogues of what can be dropped.
const CATALOGUES: [(&str, u32); 26] = [
    ("pg_class", 1259),
    ("pg_proc", 1255),
    ("pg_type", 1247),
    ("pg_attrdef", 2604),
    ("pg_constraint", 2606),
    ("pg_namespace", 2615),
    ("pg_rewrite", 2618),
    ("pg_trigger", 2620),
    ("pg_policy", 3256),
    ("pg_statistic_ext", 3381),
    ("pg_operator", 2617),
    ("pg_conversion", 2607),
    ("pg_cast", 2605),
    ("pg_collation", 3456),
    ("pg_opclass", 2616),
    ("pg_opfamily", 2753),
    ("pg_language", 2612),
    ("pg_extension", 3079),
    ("pg_event_trigger", 3466),
    ("pg_publication", 6104),
    ("pg_publication_rel", 6106),
    ("pg_default_acl", 826),
    ("pg_foreign_server", 1417),
    ("pg_foreign_data_wrapper", 2328),
    ("pg_ts_config", 3602),
    ("pg_ts_dict", 3600),
];
/// Objects with a lower OID came with the server.
const FIRST_NORMAL: u32 = 16384;
/// Deferred work may defer more of it; after as many passes it counts as hiding.
const PASSES: usize = 3;

/// Rows written and removed in each catalogue by this transaction.
type Turnover = BTreeMap<u32, (u64, u64)>;

/// The catalogue at one moment.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    objects: BTreeSet<Address>,
    /// Tables with the files that their rows are in.
    files: BTreeMap<u32, (String, u32)>,
    /// Where long values are: a table that is written anew gets another one.
    overflow: BTreeSet<Address>,
    turnover: Turnover,
}

/// Why what happened cannot be accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deviation {
    /// The server, or the connection.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something happened that nobody signed for, in words.
    #[error("{0}")]
    Unsigned(String),
    /// What happened cannot be known.
    #[error("{0}")]
    Hidden(String),
}

/// Everything in the catalogue now.
pub(super) async fn catalogue(client: &mut Client) -> Result<Catalogue, ClientError> {
    let each: Vec<String> = (CATALOGUES.iter())
        .map(|(name, class)| {
            format!(
                "SELECT {class}, o.oid, 0 FROM pg_catalog.{name} o
                 WHERE o.oid OPERATOR(pg_catalog.>=) {FIRST_NORMAL}::pg_catalog.oid"
            )
        })
        .collect();
    let columns = format!(
        "SELECT 1259, a.attrelid, a.attnum FROM pg_catalog.pg_attribute a
         WHERE a.attrelid OPERATOR(pg_catalog.>=) {FIRST_NORMAL}::pg_catalog.oid
           AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped"
    );
    let sql = format!("{} UNION ALL {columns}", each.join(" UNION ALL "));
    let rows = client.query(&sql, &[]).await?;
    let address = |row: &super::client::Row| {
        Some(Address {
            class: catalog::number(row, 0)?,
            object: catalog::number(row, 1)?,
            part: catalog::number(row, 2)?,
        })
    };
    let objects: BTreeSet<Address> = rows.iter().filter_map(address).collect();
    let sql = format!(
        "SELECT c.oid, pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.',
           pg_catalog.quote_ident(c.relname)), c.relfilenode
         FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
         WHERE c.relkind OPERATOR(pg_catalog.=) 'r'
           AND c.oid OPERATOR(pg_catalog.>=) {FIRST_NORMAL}::pg_catalog.oid"
    );
    let rows = client.query(&sql, &[]).await?;
    let file = |row: &super::client::Row| {
        let name = catalog::text(row, 1).to_owned();
        Some((catalog::number(row, 0)?, (name, catalog::number(row, 2)?)))
    };
    let files = rows.iter().filter_map(file).collect();
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE n.nspname OPERATOR(pg_catalog.=) 'pg_toast'";
    let rows = client.query(sql, &[]).await?;
    let overflow = rows.iter().filter_map(|row| catalog::number(row, 0)).map(Address::relation);
    let overflow = overflow.collect();
    Ok(Catalogue { objects, files, overflow, turnover: turnover(client).await? })
}

async fn turnover(client: &mut Client) -> Result<Turnover, ClientError> {
    let classes = CATALOGUES.iter().map(|(_, class)| *class).collect();
    let sql = "SELECT c.oid, pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid),
          pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)
        FROM pg_catalog.unnest($1::pg_catalog.oid[]) c(oid)";
    let rows = client.query(sql, &[&catalog::oids(&classes)]).await?;
    let counts = |row: &super::client::Row| {
        let counts = (catalog::number(row, 1)?, catalog::number(row, 2)?);
        Some((catalog::number(row, 0)?, counts))
    };
    Ok(rows.iter().filter_map(counts).collect())
}

/// Counters of this transaction: rows deleted or updated, by relation.
pub(super) type Counters = BTreeMap<u32, u64>;

/// The counters as they are now.
pub(super) async fn counters(client: &mut Client) -> Result<Counters, ClientError> {
    let sql = "SELECT l.relation,
          pg_catalog.int8pl(pg_catalog.pg_stat_get_xact_tuples_updated(l.relation),
            pg_catalog.pg_stat_get_xact_tuples_deleted(l.relation))
        FROM (SELECT DISTINCT k.relation FROM pg_catalog.pg_locks k
          WHERE k.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
            AND k.relation IS NOT NULL AND k.locktype OPERATOR(pg_catalog.=) 'relation'
            AND k.mode OPERATOR(pg_catalog.<>)
              ALL (ARRAY['AccessShareLock', 'RowShareLock']::pg_catalog.text[])) l
        UNION ALL
        SELECT 2613, pg_catalog.int8pl(pg_catalog.pg_stat_get_xact_tuples_updated(2613),
            pg_catalog.pg_stat_get_xact_tuples_deleted(2613))";
    let rows = client.query(sql, &[]).await?;
    let pair = |row: &super::client::Row| {
        Some((catalog::number::<u32>(row, 0)?, catalog::number::<u64>(row, 1)?))
    };
    let mut counters = Counters::new();
    for (relation, changed) in rows.iter().filter_map(pair) {
        let known = counters.entry(relation).or_insert(0_u64);
        *known = changed.max(*known);
    }
    Ok(counters)
}

/// Relations that this transaction holds a lock on as readers do, by OID, with their names.
pub(super) async fn read(client: &mut Client) -> Result<BTreeMap<u32, String>, ClientError> {
    let sql = "SELECT DISTINCT k.relation, pg_catalog.concat(pg_catalog.quote_ident(n.nspname),
          '.', pg_catalog.quote_ident(c.relname))
        FROM pg_catalog.pg_locks k
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.relation
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE k.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
          AND k.locktype OPERATOR(pg_catalog.=) 'relation'
          AND c.relkind OPERATOR(pg_catalog.<>) ALL (ARRAY['i', 'I', 't']::pg_catalog.\"char\"[])
          AND k.mode OPERATOR(pg_catalog.=)
            ANY (ARRAY['AccessShareLock', 'RowShareLock']::pg_catalog.text[])";
    let rows = client.query(sql, &[]).await?;
    let relation = |row: &super::client::Row| {
        Some((catalog::number(row, 0)?, catalog::text(row, 1).to_owned()))
    };
    Ok(rows.iter().filter_map(relation).collect())
}

/// Whether a relation was there before the unit ran.
pub(super) fn was_there(before: &Catalogue, relation: u32) -> bool {
    relation < FIRST_NORMAL || before.objects.contains(&Address::relation(relation))
}

/// Refuses what would blind the counters.
pub(super) async fn sighted(client: &mut Client) -> Result<(), Deviation> {
    let sql = "SELECT pg_catalog.current_setting('track_counts')";
    let rows = client.query(sql, &[]).await?;
    match rows.first().map(|row| catalog::text(row, 0)) {
        Some("on") => Ok(()),
        _ => Err(Deviation::Hidden("`track_counts` is off: nothing can be measured".to_owned())),
    }
}

/// Makes everything deferred happen now, until nothing more comes of it.
pub(super) async fn settle(client: &mut Client) -> Result<Counters, Deviation> {
    let sql = "SELECT c.name FROM pg_catalog.pg_cursors c WHERE c.is_holdable";
    if !client.query(sql, &[]).await?.is_empty() {
        let why = "it leaves a cursor WITH HOLD, whose query would run inside the commit";
        return Err(Deviation::Hidden(why.to_owned()));
    }
    let sql = "SELECT c.oid FROM pg_catalog.pg_locks k
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.relation
        WHERE k.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
          AND c.relkind OPERATOR(pg_catalog.=) 'f'
          AND k.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock'";
    if !client.query(sql, &[]).await?.is_empty() {
        let why = "it writes to a foreign table, and what that does elsewhere cannot be measured";
        return Err(Deviation::Hidden(why.to_owned()));
    }
    let mut last = None;
    for _ in 0..PASSES {
        client.batch("SET CONSTRAINTS ALL IMMEDIATE").await?;
        sighted(client).await?;
        let now = counters(client).await?;
        if last.as_ref() == Some(&now) {
            return Ok(now);
        }
        last = Some(now);
    }
    Err(Deviation::Hidden("its deferred triggers defer more each time they run".to_owned()))
}

/// Rows lost or changed, by table. What is gone or was emptied counts with all it had.
pub(super) async fn rows(
    client: &mut Client,
    survey: &Survey,
    before: &Catalogue,
    after: &Catalogue,
    baseline: &Counters,
    counters: &Counters,
) -> Result<Counts, Deviation> {
    let mut measured = Counts::new();
    for (relation, changed) in counters {
        let changed = changed.saturating_sub(baseline.get(relation).copied().unwrap_or(0));
        let name = match (before.files.get(relation), relation) {
            (Some((name, _)), _) => name.clone(),
            (None, 2613) => "pg_catalog.pg_largeobject".to_owned(),
            // Made by the unit itself, or not a table.
            (None, _) => continue,
        };
        if changed > 0 {
            measured.insert(name, changed);
        }
    }
    for losing in survey.rows.values().filter(|losing| losing.wholly && losing.rows > 0) {
        let known = measured.entry(losing.table.name.clone()).or_insert(0);
        *known = losing.rows.max(*known);
    }
    for (oid, (name, file)) in &before.files {
        let rewritten = after.files.get(oid).is_some_and(|(_, now)| now != file);
        let expected = survey.rows.get(oid).is_some_and(|losing| losing.wholly);
        // What alters a table may write it anew, as long as every row is there again.
        let kept = match survey.altered.get(oid) {
            Some(rows) if rewritten => count(client, name).await? >= *rows,
            _ => false,
        };
        if rewritten && !expected && !kept {
            let why = format!("table {name} was emptied or written anew, which was not foreseen");
            return Err(Deviation::Unsigned(why));
        }
    }
    Ok(measured)
}

async fn count(client: &mut Client, table: &str) -> Result<u64, ClientError> {
    let sql = format!("SELECT pg_catalog.count(*) FROM ONLY {table}");
    let rows = client.query(&sql, &[]).await?;
    Ok(rows.first().and_then(|row| catalog::number(row, 0)).unwrap_or(0))
}

/// Refuses unless exactly what was foreseen is gone.
pub(super) fn objects(
    survey: &Survey,
    before: &Catalogue,
    after: &Catalogue,
) -> Result<(), Deviation> {
    let classes: BTreeSet<u32> = CATALOGUES.iter().map(|(_, class)| *class).collect();
    let whole = |set: &BTreeSet<Address>, at: &Address| at.part == 0 || !set.contains(&at.whole());
    let gone: BTreeSet<Address> = before.objects.difference(&after.objects).copied().collect();
    let counts = |at: &&Address| !before.overflow.contains(&at.whole());
    let gone: BTreeSet<Address> =
        gone.iter().filter(|at| whole(&gone, at)).filter(counts).copied().collect();
    let foreseen: BTreeSet<Address> = survey
        .lost
        .iter()
        .filter(|at| classes.contains(&at.class) && at.object >= FIRST_NORMAL)
        .filter(|at| whole(&survey.lost, at))
        .filter(counts)
        .copied()
        .collect();
    let words = |at: &Address| match survey.objects.get(at) {
        Some(seen) => format!("{} {}", seen.kind, seen.name),
        None => match before.files.get(&at.object) {
            Some((name, _)) if at.class == catalog::RELATION => format!("table {name}"),
            _ => format!("the object {at:?}"),
        },
    };
    let is_table =
        |at: &&Address| at.class == catalog::RELATION && before.files.contains_key(&at.object);
    if let Some(at) = gone.difference(&foreseen).max_by_key(is_table) {
        let why = format!("{} is gone, which was not foreseen", words(at));
        return Err(Deviation::Unsigned(why));
    }
    if let Some(at) = foreseen.difference(&gone).next() {
        let why = format!("{} is still there, which was not foreseen", words(at));
        return Err(Deviation::Unsigned(why));
    }
    unseen(before, after)
}

/// Refuses where more was removed from a catalogue than we saw there: something that somebody
/// made after our snapshot went along, such as a view of a table that was dropped.
fn unseen(before: &Catalogue, after: &Catalogue) -> Result<(), Deviation> {
    for (class, (inserted, deleted)) in &after.turnover {
        let (old_inserted, old_deleted) = before.turnover.get(class).copied().unwrap_or_default();
        let of_class = |set: &BTreeSet<Address>, other: &BTreeSet<Address>| {
            let own = |at: &&Address| at.class == *class && at.part == 0;
            set.difference(other).filter(own).count() as u64
        };
        let gone = of_class(&before.objects, &after.objects);
        let made = of_class(&after.objects, &before.objects);
        let (inserted, deleted) =
            (inserted.saturating_sub(old_inserted), deleted.saturating_sub(old_deleted));
        // What the transaction made and removed again was nobody else's.
        let passing = inserted.saturating_sub(made);
        if deleted > gone.saturating_add(passing) {
            let why = "something that was made since this run began went along with the rest";
            return Err(Deviation::Unsigned(why.to_owned()));
        }
    }
    Ok(())
}
