//! Limits of what flows: how much an agent may change without asking, and what is beyond.
//!
//! A unit within them is small and can be taken back. Windows are counted over what was
//! committed, so that ten small steps are not one large one.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How much an agent may change in one target without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Rows updated or deleted in one transaction.
    pub rows: u64,
    /// Rows updated or deleted within an hour.
    pub rows_per_hour: u64,
    /// Bytes of before-images in one transaction.
    pub kept_bytes: u64,
    /// Resources that one transaction names to take rows from.
    pub roots: u64,
    /// Rows inserted in one transaction.
    pub inserted: u64,
    /// The size in bytes of a table that is searched for rows that a cascade or a trigger changed.
    pub searched_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows: 100,
            rows_per_hour: 1_000,
            kept_bytes: 8 * 1024 * 1024,
            roots: 1,
            inserted: 10_000,
            searched_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What a transaction did to one table, as the target counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows added.
    pub inserted: u64,
    /// Rows changed.
    pub updated: u64,
    /// Rows removed.
    pub deleted: u64,
    /// Rows whose before-image is kept.
    pub kept: u64,
}

impl Tally {
    /// Rows that were there before and are not any more as they were.
    pub fn changed(&self) -> u64 {
        self.updated.saturating_add(self.deleted)
    }
}

/// What a transaction did that waits for its commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// By table, in the target's own words.
    pub tables: BTreeMap<String, Tally>,
    /// Resources that it names to take rows from; what cascades from them is none.
    pub roots: u64,
    /// Bytes of its before-images.
    pub kept_bytes: u64,
    /// What it did that cannot be taken back or was not to be expected, in words.
    pub odd: Vec<String>,
}

impl Written {
    /// Rows updated or deleted in all.
    pub fn changed(&self) -> u64 {
        self.tables.values().map(Tally::changed).fold(0, u64::saturating_add)
    }

    /// Rows added in all.
    pub fn inserted(&self) -> u64 {
        self.tables.values().map(|tally| tally.inserted).fold(0, u64::saturating_add)
    }
}

/// One way in which a transaction is more than may flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "beyond", rename_all = "snake_case")]
pub enum Beyond {
    /// Too many rows updated or deleted.
    Rows {
        /// As many; at least, where it was stopped there.
        changed: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many within the hour.
    Hour {
        /// Rows of this transaction.
        changed: u64,
        /// Rows that the agent changed in the hour before.
        before: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many rows added.
    Inserted {
        /// As many.
        inserted: u64,
        /// The limit.
        limit: u64,
    },
    /// Too large before-images.
    Bytes {
        /// Their size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It names too many resources to take rows from.
    Roots {
        /// As many.
        #[serde(alias = "tables")]
        named: u64,
        /// The limit.
        limit: u64,
    },
    /// Rows of this table were changed whose before-images are not kept.
    NotKept {
        /// The table.
        table: String,
        /// Rows changed.
        changed: u64,
        /// Rows kept.
        kept: u64,
    },
    /// It did something else that nobody could take back.
    Odd {
        /// In words.
        what: String,
    },
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Beyond::Rows { changed, limit } => {
                write!(f, "it changes {changed} rows, and {limit} may flow in one transaction")
            }
            Beyond::Hour { changed, before, limit } => write!(
                f,
                "it changes {changed} rows after {before} within the hour, and {limit} may flow in an hour"
            ),
            Beyond::Inserted { inserted, limit } => {
                write!(f, "it adds {inserted} rows, and {limit} may flow in one transaction")
            }
            Beyond::Bytes { bytes, limit } => write!(
                f,
                "the rows as they were take {bytes} bytes, and {limit} are kept for one transaction"
            ),
            Beyond::Roots { named, limit } => {
                write!(f, "it takes rows from {named} tables, and one transaction may from {limit}")
            }
            Beyond::NotKept { table, changed, kept } => write!(
                f,
                "it changes {changed} rows of {table}, of which {kept} are kept to take them back"
            ),
            Beyond::Odd { what } => f.write_str(what),
        }
    }
}

impl Limits {
    /// In which ways a transaction is more than may flow; none where it may. `before`: rows that
    /// the agent changed in the target in the hour before.
    pub fn judge(&self, written: &Written, before: u64) -> Vec<Beyond> {
        let mut beyond: Vec<Beyond> =
            written.odd.iter().map(|what| Beyond::Odd { what: what.clone() }).collect();
        for (table, tally) in &written.tables {
            if tally.changed() != tally.kept {
                let (table, changed, kept) = (table.clone(), tally.changed(), tally.kept);
                beyond.push(Beyond::NotKept { table, changed, kept });
            }
        }
        let (changed, inserted) = (written.changed(), written.inserted());
        if changed > self.rows {
            beyond.push(Beyond::Rows { changed, limit: self.rows });
        } else if changed > 0 && before.saturating_add(changed) > self.rows_per_hour {
            beyond.push(Beyond::Hour { changed, before, limit: self.rows_per_hour });
        }
        if inserted > self.inserted {
            beyond.push(Beyond::Inserted { inserted, limit: self.inserted });
        }
        if written.kept_bytes > self.kept_bytes {
            beyond.push(Beyond::Bytes { bytes: written.kept_bytes, limit: self.kept_bytes });
        }
        let losing = written.tables.values().filter(|tally| tally.deleted > 0).count() as u64;
        // What was named and lost nothing, as object mappers do it, is no root.
        let named = written.roots.min(losing);
        if named > self.roots {
            beyond.push(Beyond::Roots { named, limit: self.roots });
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tables: &[(&str, Tally)]) -> Written {
        let tables = tables.iter().map(|(name, tally)| ((*name).to_owned(), *tally)).collect();
        Written { tables, ..Written::default() }
    }

    fn updated(rows: u64) -> Tally {
        Tally { updated: rows, kept: rows, ..Tally::default() }
    }

    fn deleted(rows: u64) -> Tally {
        Tally { deleted: rows, kept: rows, ..Tally::default() }
    }

    #[test]
    fn what_is_at_a_limit_flows_and_one_more_does_not() {
        let limits = Limits::default();
        let cases = [
            (written(&[("t", updated(100))]), 900, 0),
            (written(&[("t", updated(101))]), 0, 1),
            (written(&[("t", updated(60)), ("u", updated(41))]), 0, 1),
            (written(&[("t", updated(1))]), 1_000, 1),
            (written(&[("t", Tally { inserted: 10_000, ..Tally::default() })]), 1_000, 0),
            (written(&[("t", Tally { inserted: 10_001, ..Tally::default() })]), 0, 1),
            (written(&[("t", deleted(1)), ("u", updated(1))]), 0, 0),
            (written(&[("t", deleted(1)), ("u", deleted(1))]), 0, 0),
            (Written { roots: 1, ..written(&[("t", deleted(1))]) }, 0, 0),
            (Written { roots: 2, ..written(&[("t", deleted(1))]) }, 0, 0),
            (Written { roots: 2, ..written(&[("t", deleted(1)), ("u", deleted(1))]) }, 0, 1),
            (Written { roots: 2, ..written(&[("t", deleted(1)), ("u", updated(1))]) }, 0, 0),
        ];
        for (written, before, expected) in cases {
            let beyond = limits.judge(&written, before);
            assert_eq!(beyond.len(), expected, "{written:?} after {before}: {beyond:?}");
        }
    }

    #[test]
    fn what_is_not_kept_exactly_does_not_flow() {
        let limits = Limits::default();
        for kept in [0, 1, 3] {
            let tally = Tally { updated: 2, kept, ..Tally::default() };
            let beyond = limits.judge(&written(&[("t", tally)]), 0);
            assert!(matches!(beyond.as_slice(), [Beyond::NotKept { .. }]), "{kept}");
        }
    }

    #[test]
    fn no_count_is_too_large_to_be_judged() {
        let tally = Tally { updated: u64::MAX, deleted: u64::MAX, kept: u64::MAX, inserted: 0 };
        let all = written(&[("t", tally), ("u", tally)]);
        assert!(!Limits::default().judge(&all, u64::MAX).is_empty());
    }

    #[test]
    fn what_is_odd_or_too_large_to_keep_does_not_flow() {
        let odd = Written { odd: vec!["it changed the catalogue".into()], ..Written::default() };
        assert_eq!(Limits::default().judge(&odd, 0).len(), 1);
        let large = Written { kept_bytes: 8 * 1024 * 1024 + 1, ..Written::default() };
        assert_eq!(Limits::default().judge(&large, 0).len(), 1);
    }
}
