//! What is measured before anyone decides: identity, ceiling, estimates.

use crate::digest::Digest;
use crate::name::TargetName;
use crate::radius::{BlastRadius, Fate, Reversibility};
use crate::verb::Verb;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Rows per table, by the table's qualified name.
pub type Counts = BTreeMap<String, u64>;

/// What must be equal when a change starts, or its approvals are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The target, by its configured name.
    pub target: TargetName,
    /// What tells this server and database from every other, as the server itself says.
    pub fingerprint: String,
    /// Digest of the exact payload: statements, parameters and settings.
    pub payload: Digest,
    /// What the payload does.
    pub verbs: BTreeSet<Verb>,
    /// Every object and dependent in the radius with the digest of its definition.
    pub objects: BTreeMap<String, Digest>,
    /// What it only reads to decide what it does, with a digest of definition and rows: whoever
    /// changed a row there would change what was signed.
    #[serde(default)]
    pub reads: BTreeMap<String, Digest>,
    /// The site's tags on those objects, where they have any.
    pub tags: BTreeMap<String, BTreeSet<String>>,
}

impl Identity {
    /// What differs from `other`, in words, for a person who asks why approvals are void.
    /// Empty exactly when the two are equal.
    pub fn differences(&self, other: &Identity) -> Vec<String> {
        let mut words = Vec::new();
        if self.target != other.target || self.fingerprint != other.fingerprint {
            words.push("the target is another server or database".to_owned());
        }
        if self.payload != other.payload {
            words.push("the payload differs".to_owned());
        }
        if self.verbs != other.verbs {
            words.push("what the payload does differs".to_owned());
        }
        words.extend(between(&self.objects, &other.objects, "was altered"));
        words.extend(between(
            &self.reads,
            &other.reads,
            "is read, and was altered or holds other rows",
        ));
        if self.tags != other.tags {
            words.push("tags differ".to_owned());
        }
        words
    }
}

/// What was added, changed or taken away, in words.
fn between(
    before: &BTreeMap<String, Digest>,
    after: &BTreeMap<String, Digest>,
    differs: &str,
) -> Vec<String> {
    let new = after.iter().filter_map(|(object, digest)| match before.get(object) {
        None => Some(format!("{object} was added")),
        Some(known) => (known != digest).then(|| format!("{object} {differs}")),
    });
    let gone = before.keys().filter(|object| !after.contains_key(*object));
    new.chain(gone.map(|object| format!("{object} is gone"))).collect()
}

/// The most rows a unit may lose or change in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLimit {
    /// Rows as measured at the preview.
    pub measured: u64,
    /// Rows that are signed for; never below `measured`.
    pub limit: u64,
}

/// What neither a fresh count nor the real effect may exceed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// By qualified table name. A table that is not here may not lose or change a row.
    pub rows: BTreeMap<String, RowLimit>,
}

/// A count that is above what was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}: {actual} rows, {limit} were signed for")]
pub struct Exceeded {
    /// The table.
    pub table: String,
    /// What was signed.
    pub limit: u64,
    /// What was measured.
    pub actual: u64,
}

impl Ceiling {
    /// The ceiling over these counts. Headroom is none where the unit names its rows by key,
    /// else the larger of 100 rows and 5 %.
    pub fn over(counts: &Counts, by_key: bool) -> Ceiling {
        let limit = |measured: u64| match by_key {
            true => measured,
            false => measured.saturating_add(100.max(measured.div_ceil(20))),
        };
        let rows = counts
            .iter()
            .map(|(table, &n)| (table.clone(), RowLimit { measured: n, limit: limit(n) }))
            .collect();
        Ceiling { rows }
    }

    /// Whether these counts are within the ceiling.
    ///
    /// # Errors
    /// [`Exceeded`] for the first table that is above it.
    pub fn admits(&self, counts: &Counts) -> Result<(), Exceeded> {
        for (table, &actual) in counts {
            let limit = self.rows.get(table).map_or(0, |row| row.limit);
            if actual > limit {
                return Err(Exceeded { table: table.clone(), limit, actual });
            }
        }
        Ok(())
    }

    /// The largest count that was measured: what a reviewer types back. What is signed is more, by
    /// the headroom; who reads only that has not seen what is there.
    pub fn largest_measured(&self) -> u64 {
        self.rows.values().map(|row| row.measured).max().unwrap_or(0)
    }
}

/// Shown, never compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimates {
    /// Bytes on disk of what goes.
    pub bytes: u64,
    /// Seconds until the restore point is taken and read back.
    pub backup_seconds: u64,
    /// Seconds to take the change back.
    pub recovery_seconds: u64,
}

/// Everything measured of a unit before anyone decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Must be equal at the start.
    pub identity: Identity,
    /// Must not be exceeded.
    pub ceiling: Ceiling,
    /// Shown.
    pub estimates: Estimates,
    /// What would be lost, changed or made unavailable.
    pub radius: BlastRadius,
    /// Whether it can be taken back.
    pub reversibility: Reversibility,
    /// Whether running and rolling back leaves nothing behind, so that it can be rehearsed.
    pub undone_by_rollback: bool,
    /// A lock stronger than row locks would be held for longer than its budget.
    pub unavailable: bool,
}

impl Preview {
    /// Whether it loses nothing and changes no row: a restore has nothing to bring back then, and
    /// does not remove what it makes.
    pub fn takes_nothing(&self) -> bool {
        let lost = self.radius.nodes.iter().any(|node| node.fate == Fate::Lost);
        !lost && self.ceiling.rows.values().all(|row| row.measured == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_is_the_larger_of_100_rows_and_5_percent_and_none_by_key() {
        let counts = Counts::from([("a".into(), 10), ("b".into(), 1_000_000), ("c".into(), 2_001)]);
        let ceiling = Ceiling::over(&counts, false);
        assert_eq!(ceiling.rows["a"].limit, 110);
        assert_eq!(ceiling.rows["b"].limit, 1_050_000);
        assert_eq!(ceiling.rows["c"].limit, 2_102);
        assert_eq!(Ceiling::over(&counts, true).rows["a"].limit, 10);
        assert_eq!(ceiling.largest_measured(), 1_000_000);
    }

    #[test]
    fn a_table_nobody_signed_for_may_not_lose_a_row() {
        let ceiling = Ceiling::over(&Counts::from([("a".into(), 1)]), true);
        assert!(ceiling.admits(&Counts::from([("a".into(), 1), ("b".into(), 0)])).is_ok());
        assert!(ceiling.admits(&Counts::from([("b".into(), 1)])).is_err());
        assert!(ceiling.admits(&Counts::from([("a".into(), 2)])).is_err());
    }
}
