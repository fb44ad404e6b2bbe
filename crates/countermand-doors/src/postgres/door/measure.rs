//! What the open transaction has done, asked of the server itself.
//!
//! Rows: the counters that the server keeps for this transaction, of every relation that it has
//! locked for writing, and of every catalogue. Every name and operator is qualified: a schema of
//! the agent's choosing shadows nothing here.

use super::kept::{Kept, OWN, Place, SYSTEM, number, once, version, versions, words};
use super::step::Step;
use crate::postgres::images::{ChangedRows, ImageColumn, Images, KeptRow, Value};
use bytes::Bytes;
use countermand_core::limits::{Tally, Written};
use std::collections::{BTreeMap, BTreeSet};

/// Makes what was deferred happen now.
const NOW: &str = "SET CONSTRAINTS ALL IMMEDIATE";
/// Objects with a lower OID came with the server.
const FIRST_NORMAL: u32 = 16384;

/// One row about the transaction, then one for each relation that it changed, with what its rows
/// can be read from and whether row security may hide some of them. The last column of
/// the first row makes the server forget these counters at the next end of a transaction.
const MEASURE: &str = "\
WITH countermand_locks AS MATERIALIZED (
  SELECT k.locktype, k.relation, k.transactionid, k.mode
  FROM pg_catalog.pg_locks k
  WHERE k.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND k.granted)
SELECT NULL::pg_catalog.text,
  pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text,
  (SELECT pg_catalog.json_agg(k.transactionid::pg_catalog.text)::pg_catalog.text
   FROM countermand_locks k
   WHERE k.locktype OPERATOR(pg_catalog.=) 'transactionid'
     AND k.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'),
  pg_catalog.current_setting('track_counts'),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursors c WHERE c.is_holdable)::pg_catalog.text,
  pg_catalog.current_setting('transaction_isolation'), NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  pg_catalog.pg_stat_force_next_flush()::pg_catalog.text
UNION ALL
SELECT r.oid::pg_catalog.text,
  pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)),
  c.relkind::pg_catalog.text, c.relpersistence::pg_catalog.text,
  r.inserted::pg_catalog.text, r.updated::pg_catalog.text, r.deleted::pg_catalog.text,
  (SELECT pg_catalog.json_agg(a.attname)::pg_catalog.text FROM pg_catalog.pg_index i
   JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
     AND a.attnum OPERATOR(pg_catalog.=) ANY (i.indkey::pg_catalog.int2[])
   WHERE i.indrelid OPERATOR(pg_catalog.=) COALESCE(r.root, r.oid) AND i.indisprimary),
  (SELECT pg_catalog.json_agg(a.attname)::pg_catalog.text FROM pg_catalog.pg_attribute a
   WHERE a.attrelid OPERATOR(pg_catalog.=) r.oid AND a.attgenerated OPERATOR(pg_catalog.<>) ''),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits h
   WHERE h.inhrelid OPERATOR(pg_catalog.=) r.oid AND NOT c.relispartition)::pg_catalog.text,
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger t
   WHERE t.tgrelid OPERATOR(pg_catalog.=) r.oid AND t.tgdeferrable AND NOT t.tgisinternal)
   ::pg_catalog.text,
  CASE WHEN pg_catalog.has_table_privilege(r.oid, 'SELECT')
    THEN pg_catalog.concat('ONLY ', pg_catalog.quote_ident(n.nspname), '.',
      pg_catalog.quote_ident(c.relname))
    ELSE (SELECT pg_catalog.concat(pg_catalog.quote_ident(w.nspname), '.',
        pg_catalog.quote_ident(v.relname))
      FROM pg_catalog.pg_class v
      JOIN pg_catalog.pg_namespace w ON w.oid OPERATOR(pg_catalog.=) v.relnamespace
      WHERE v.oid OPERATOR(pg_catalog.=) r.root
        AND pg_catalog.has_table_privilege(v.oid, 'SELECT')) END,
  (pg_catalog.row_security_active(r.oid) OR pg_catalog.row_security_active(r.root))
   ::pg_catalog.text,
  pg_catalog.pg_relation_size(r.oid)::pg_catalog.text
FROM (
  SELECT l.oid, pg_catalog.pg_partition_root(l.oid)::pg_catalog.oid AS root,
    pg_catalog.pg_stat_get_xact_tuples_inserted(l.oid) AS inserted,
    pg_catalog.pg_stat_get_xact_tuples_updated(l.oid) AS updated,
    pg_catalog.pg_stat_get_xact_tuples_deleted(l.oid) AS deleted
  FROM (
    SELECT k.relation AS oid FROM countermand_locks k
    WHERE k.locktype OPERATOR(pg_catalog.=) 'relation' AND k.mode OPERATOR(pg_catalog.<>)
      ALL (ARRAY['AccessShareLock', 'RowShareLock']::pg_catalog.text[])
    UNION SELECT c.oid FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
      AND c.relkind OPERATOR(pg_catalog.=) 'r'
      AND c.oid OPERATOR(pg_catalog.<>) 2619::pg_catalog.oid) l) r
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE r.inserted OPERATOR(pg_catalog.>) 0 OR r.updated OPERATOR(pg_catalog.>) 0
  OR r.deleted OPERATOR(pg_catalog.>) 0 OR c.relkind OPERATOR(pg_catalog.=) 'f'";

/// What the measuring statement is called on the server.
const NAME: &str = "countermand_measure";

/// The steps whose answer is a [`Measure`]; `known` where the session has asked before.
pub(super) fn steps(known: bool) -> [Step; 2] {
    [Step::own(NOW), Step::planned(NAME, MEASURE, &[], known)]
}

/// The step whose answer is a [`Measure`] of what was counted so far, with nothing brought forward.
pub(super) fn so_far() -> Step {
    Step::own(MEASURE)
}

/// Makes the server forget the counters of transactions that have ended: outside of any.
pub(super) fn forget() -> Step {
    Step::query("SELECT pg_catalog.pg_stat_force_next_flush()")
}

/// What a transaction has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Its full number; none where it has written nothing.
    transaction: Option<u64>,
    numbers: Vec<u32>,
    relations: BTreeMap<u32, Relation>,
    odd: Vec<String>,
    /// Something deferred may defer more.
    pub(super) defers: bool,
    /// It does not see what was committed since it began.
    fixed_snapshot: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Relation {
    name: String,
    tally: Tally,
    key: Vec<String>,
    generated: Vec<String>,
    /// Its rows have columns that its parent has not.
    inherits: bool,
    /// What its rows can be read from, if this role may at all: itself, or what it is part of.
    readable: Option<String>,
    /// Row security may hide some of its rows.
    secured: bool,
    /// In bytes.
    size: u64,
    /// All that was changed of it was found, whoever changed it.
    found: bool,
}

/// A table whose rows as they were are to be searched for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its OID.
    pub(super) oid: u32,
    /// Its qualified and quoted name.
    pub(super) name: String,
    /// What its rows can be read from.
    pub(super) readable: String,
    /// The columns of its primary key.
    pub(super) key: Vec<String>,
    /// What was done to it.
    pub(super) tally: Tally,
    /// In bytes.
    pub(super) size: u64,
}

impl Wanted {
    /// Whether its rows can be read without those of other parts of what it is a part of.
    pub(super) fn is_read_alone(&self) -> bool {
        self.readable.starts_with("ONLY ")
    }
}

/// The answer is not of the form that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the server's counters cannot be read")]
pub(super) struct Unreadable;

impl Measure {
    /// Of the rows of [`MEASURE`].
    pub(super) fn of(rows: Vec<Vec<Option<String>>>) -> Result<Measure, Unreadable> {
        let mut measure = Measure::default();
        let mut seen = false;
        for row in rows {
            let row = <[Option<String>; 14]>::try_from(row).map_err(|_| Unreadable)?;
            match &row[0] {
                None => {
                    seen = true;
                    measure.transaction(row)?;
                }
                Some(_) => measure.relation(row)?,
            }
        }
        if seen { Ok(measure) } else { Err(Unreadable) }
    }

    fn transaction(&mut self, row: [Option<String>; 14]) -> Result<(), Unreadable> {
        let [_, number, numbers, counts, holdable, isolation, ..] = row;
        self.fixed_snapshot = isolation.as_deref() != Some("read committed");
        let number = number.map(|number| number.parse()).transpose();
        self.transaction = number.map_err(|_| Unreadable)?;
        for number in strings(numbers)? {
            self.numbers.push(number.parse().map_err(|_| Unreadable)?);
        }
        if counts.as_deref() != Some("on") {
            self.odd.push("`track_counts` is off: nothing can be measured".into());
        }
        if holdable.as_deref() != Some("0") {
            let why = "it leaves a cursor WITH HOLD, whose query would run inside the commit";
            self.odd.push(why.into());
        }
        Ok(())
    }

    fn relation(&mut self, row: [Option<String>; 14]) -> Result<(), Unreadable> {
        let [
            oid,
            name,
            kind,
            persistence,
            inserted,
            updated,
            deleted,
            key,
            generated,
            parents,
            late,
            readable,
            secured,
            size,
        ] = row;
        let number = |text: Option<String>| text?.parse::<u64>().ok();
        let oid: u32 = oid.ok_or(Unreadable)?.parse().map_err(|_| Unreadable)?;
        let count = |text| number(text).ok_or(Unreadable);
        let tally = Tally {
            inserted: count(inserted)?,
            updated: count(updated)?,
            deleted: count(deleted)?,
            kept: 0,
        };
        self.defers |= number(late) != Some(0);
        match (kind.as_deref(), persistence.as_deref()) {
            _ if oid < FIRST_NORMAL => {
                let name = name.unwrap_or_default();
                self.odd.push(format!("it changed the catalogue {name}, not only rows"));
            }
            (Some("f"), _) => {
                let name = name.unwrap_or_default();
                let why = format!(
                    "it writes to the foreign table {name}, and what that does elsewhere cannot \
                     be measured"
                );
                self.odd.push(why);
            }
            // Overflow of rows that are counted themselves; tables that are this session's alone.
            (Some("t"), _) | (_, Some("t")) => {}
            (Some(_), _) => {
                let relation = Relation {
                    name: name.ok_or(Unreadable)?,
                    tally,
                    key: strings(key)?,
                    generated: strings(generated)?,
                    inherits: number(parents) != Some(0),
                    readable,
                    secured: secured.as_deref() == Some("true"),
                    size: number(size).unwrap_or(u64::MAX),
                    found: false,
                };
                self.relations.insert(oid, relation);
            }
            (None, _) => self.odd.push("it dropped a table".into()),
        }
        Ok(())
    }

    /// What was counted, table by table.
    pub(super) fn counts(&self) -> Counts {
        self.relations.iter().map(|(table, relation)| (*table, relation.tally)).collect()
    }

    /// Takes off what was counted and then undone: the server counts it all the same.
    pub(super) fn take_off(&mut self, undone: &Counts) {
        for (table, relation) in &mut self.relations {
            if let Some(undone) = undone.get(table) {
                relation.tally = less(relation.tally, *undone);
            }
        }
    }

    /// Whether rows were changed or added at all.
    pub(super) fn is_empty(&self) -> bool {
        self.relations.is_empty() && self.odd.is_empty()
    }

    /// What it did, weighed against what is kept of it. `several`: in more than one statement.
    pub(super) fn written(&self, kept: &[Kept], several: bool) -> Written {
        let mut written = Written { odd: self.odd.clone(), ..Written::default() };
        written.kept_bytes = kept.iter().map(|kept| kept.bytes).fold(0, u64::saturating_add);
        let versions = versions(kept);
        for (oid, relation) in &self.relations {
            let of = |gone: bool| {
                let own = |((table, _), deletes): &(&(u32, Place), &bool)| {
                    table == oid && **deletes == gone
                };
                versions.iter().filter(own).count() as u64
            };
            let (updated, deleted) = (of(false), of(true));
            let known = if relation.found { relation.tally.changed() } else { updated + deleted };
            let tally = Tally { kept: known, ..relation.tally };
            written.tables.insert(relation.name.clone(), tally);
            if tally.changed() > 0 {
                if relation.readable.is_none() {
                    let name = &relation.name;
                    let why = format!(
                        "the session role may not read {name}, so what is kept of it cannot be checked"
                    );
                    written.odd.push(why);
                }
                written.odd.extend(relation.irrevocable(*oid, kept));
                if several && relation.secured {
                    written.odd.push(relation.is_secured());
                }
            }
            if tally.changed() == tally.kept && tally.deleted != deleted {
                let name = &relation.name;
                written.odd.push(format!("rows of {name} were moved, not changed in their place"));
            }
        }
        written
    }

    /// Which versions of rows that were kept to look for again.
    pub(super) fn remains(&self, kept: &[Kept]) -> Remains {
        Remains::of(kept, |table| self.relations.get(&table)?.readable.as_ref())
    }

    /// Adds numbers that were seen before a savepoint was released: the server forgets them then.
    pub(super) fn wrote_as(&mut self, numbers: &BTreeSet<u32>) {
        self.numbers.extend(numbers);
        self.numbers.sort_unstable();
        self.numbers.dedup();
    }

    /// Its full number; none where it has written nothing.
    pub(super) fn number(&self) -> Option<u64> {
        self.transaction
    }

    /// Rows updated or deleted in all.
    pub(super) fn changed(&self) -> u64 {
        self.relations.values().map(|r| r.tally.changed()).fold(0, u64::saturating_add)
    }

    /// Whether it did anything that is never small.
    pub(super) fn is_odd(&self) -> bool {
        !self.odd.is_empty()
    }

    /// Whether it does not see what was committed since it began.
    pub(super) fn fixed_snapshot(&self) -> bool {
        self.fixed_snapshot
    }

    /// Tables that were changed otherwise than what is kept of them says.
    pub(super) fn wanted(&self, kept: &[Kept]) -> Vec<Wanted> {
        let versions = versions(kept);
        let wanted = |(oid, relation): (&u32, &Relation)| {
            let known = versions.keys().filter(|(table, _)| table == oid).count() as u64;
            let Relation { name, tally, key, size, .. } = relation;
            let changed = tally.changed();
            (changed > 0 && changed != known).then_some(())?;
            Some(Wanted {
                oid: *oid,
                name: name.clone(),
                readable: relation.readable.clone()?,
                key: key.clone(),
                tally: *tally,
                size: *size,
            })
        };
        self.relations.iter().filter_map(wanted).collect()
    }

    /// All that was changed of this table is found.
    pub(super) fn is_found(&mut self, table: u32) {
        if let Some(relation) = self.relations.get_mut(&table) {
            relation.found = true;
        }
    }

    /// Its numbers so far.
    pub(super) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// What takes it back.
    pub(super) fn images(&self, mut kept: Vec<Kept>) -> Option<Images> {
        let transaction = self.transaction?;
        once(&mut kept);
        let inserted = self.relations.iter().filter(|(_, relation)| relation.tally.inserted > 0);
        let inserted = inserted
            .map(|(oid, relation)| (*oid, (relation.name.clone(), relation.tally.inserted)));
        Some(Images {
            transaction,
            numbers: self.numbers.clone(),
            inserted: inserted.collect(),
            changed: kept.into_iter().flat_map(|kept| self.changed_rows(kept)).collect(),
        })
    }

    /// Rows of one statement, table by table.
    fn changed_rows(&self, kept: Kept) -> Vec<ChangedRows> {
        let mut tables: BTreeMap<u32, Vec<Vec<Option<Bytes>>>> = BTreeMap::new();
        for row in kept.rows {
            if let Some((table, _)) = version(&row) {
                tables.entry(table).or_default().push(row);
            }
        }
        let last = kept.columns.len().saturating_sub(OWN);
        let columns = kept.columns.get(SYSTEM..last).unwrap_or_default();
        let rows_of = |(table, rows): (u32, Vec<Vec<Option<Bytes>>>)| {
            let relation = self.relations.get(&table)?;
            let own = |name: &String| !relation.generated.contains(name);
            let kept_columns = columns.iter().filter(|column| own(&column.name));
            let row = |values: Vec<Option<Bytes>>| {
                let own = columns.iter().zip(&values[SYSTEM..]);
                let own = own.filter(|(column, _)| !relation.generated.contains(&column.name));
                let values =
                    own.map(|(_, value)| Value(value.as_ref().map(|bytes| bytes.to_vec())));
                KeptRow { xmin: 0, values: values.collect() }
            };
            Some(ChangedRows {
                table,
                name: relation.name.clone(),
                columns: kept_columns
                    .map(|column| ImageColumn { name: column.name.clone(), kind: column.kind })
                    .collect(),
                key: relation.key.clone(),
                deleted: kept.asked.deletes,
                rows: rows
                    .into_iter()
                    .map(|values| KeptRow {
                        xmin: number(values.get(2)).unwrap_or(0),
                        ..row(values)
                    })
                    .collect(),
            })
        };
        tables.into_iter().filter_map(rows_of).collect()
    }
}

/// Questions for versions of rows that were kept and are still to be seen: those were not changed.
/// What is left is what was changed, exactly, if there is as much of it as the server counted:
/// each change supersedes one version. By table: what its rows can be read from, and where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remains(BTreeMap<u32, (String, BTreeSet<Place>)>);

impl Remains {
    /// Its answers have as many columns: table, and place.
    pub(super) const COLUMNS: usize = 2;

    /// `readable`: what a table's rows can be read from; a table of which that is not known is left
    /// out.
    pub(super) fn of<'a>(kept: &[Kept], readable: impl Fn(u32) -> Option<&'a String>) -> Remains {
        let mut remains = Remains::default();
        for (table, place) in versions(kept).into_keys() {
            if let Some(readable) = readable(table) {
                let known = remains.0.entry(table);
                known.or_insert_with(|| (readable.clone(), BTreeSet::new())).1.insert(place);
            }
        }
        remains
    }

    /// What is asked of which table.
    pub(super) fn tables(&self) -> impl Iterator<Item = (u32, &String)> {
        self.0.iter().map(|(table, (readable, _))| (*table, readable))
    }

    /// The steps whose answer [`let_go`] takes; `prepared`: those that the server knows.
    pub(super) fn steps(&self, prepared: &BTreeMap<u32, String>) -> Vec<Step> {
        let step = |(table, (readable, places)): (&u32, &(String, BTreeSet<Place>))| {
            let sql = format!(
                "SELECT x.tableoid::pg_catalog.text, x.ctid::pg_catalog.text FROM {readable} x \
                 WHERE x.tableoid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 AND x.ctid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.tid[])"
            );
            let places: Vec<String> =
                places.iter().map(|place| format!("\"{}\"", words(*place))).collect();
            let values = [table.to_string(), format!("{{{}}}", places.join(","))];
            let known = prepared.get(table) == Some(readable);
            Step::planned(&format!("countermand_remains_{table}"), &sql, &values, known)
        };
        self.0.iter().map(step).collect()
    }
}

impl Relation {
    /// Hidden is not gone, once something else has run.
    fn is_secured(&self) -> String {
        let name = &self.name;
        format!("row security on {name} may hide what it did not change; one statement would flow")
    }

    /// Why its rows could not be brought back as they were.
    fn irrevocable(&self, oid: u32, kept: &[Kept]) -> Vec<String> {
        let mut why = Vec::new();
        let name = &self.name;
        if self.inherits {
            why.push(format!(
                "{name} inherits from another table, and its rows are not kept whole"
            ));
        }
        if self.tally.updated > 0 && self.key.is_empty() {
            why.push(format!("{name} has no primary key by which its rows could be found again"));
        }
        if self.tally.updated > 0 && self.key.iter().any(|column| self.generated.contains(column)) {
            why.push(format!("the key of {name} is computed from what may have changed"));
        }
        let of = |kept: &&Kept| {
            kept.rows.iter().any(|row| version(row).is_some_and(|(table, _)| table == oid))
        };
        let sets: BTreeSet<&String> =
            kept.iter().filter(of).flat_map(|kept| &kept.asked.sets).collect();
        if let Some(column) = self.key.iter().find(|column| sets.contains(column)) {
            why.push(format!("it changes `{column}`, by which the rows of {name} are found again"));
        }
        why
    }
}

/// What was counted, by table.
pub(super) type Counts = BTreeMap<u32, Tally>;

/// `undone`, and what was counted between `before` and `after`.
pub(super) fn and_between(undone: &Counts, before: &Counts, after: &Counts) -> Counts {
    let none = Tally::default();
    let mut sum = undone.clone();
    for (table, after) in after {
        let since = less(*after, before.get(table).copied().unwrap_or(none));
        let sum = sum.entry(*table).or_default();
        sum.inserted = sum.inserted.saturating_add(since.inserted);
        sum.updated = sum.updated.saturating_add(since.updated);
        sum.deleted = sum.deleted.saturating_add(since.deleted);
    }
    sum
}

fn less(tally: Tally, other: Tally) -> Tally {
    Tally {
        inserted: tally.inserted.saturating_sub(other.inserted),
        updated: tally.updated.saturating_sub(other.updated),
        deleted: tally.deleted.saturating_sub(other.deleted),
        kept: tally.kept,
    }
}

fn strings(json: Option<String>) -> Result<Vec<String>, Unreadable> {
    match json {
        None => Ok(Vec::new()),
        Some(json) => serde_json::from_str(&json).map_err(|_| Unreadable),
    }
}
