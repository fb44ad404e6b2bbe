//! What a transaction did, by numbers, as a case says it: weighed against limits as the engine does.

use crate::limits::{Beyond, Limits, Tally, Written};
use serde::Deserialize;

/// As many tables of a case are told apart.
const MOST_TABLES: u64 = 1024;

/// Numbers of a transaction that ran up to its commit. What is left out is none; and all rows are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Counted {
    /// Rows updated or deleted.
    rows: u64,
    /// Of those, as many are kept as they were.
    kept: Option<u64>,
    /// Tables that it names to take rows from; each loses one of the rows at least.
    takes_from: u64,
    /// Rows inserted.
    inserted: u64,
    /// Bytes of before-images.
    kept_bytes: u64,
    /// Rows that the agent changed in the hour before.
    hour_before: u64,
}

impl Counted {
    /// In which ways it is more than may flow; none where it may.
    pub(super) fn judge(&self, limits: &Limits) -> Result<Vec<Beyond>, String> {
        let Counted { rows, takes_from, inserted, kept_bytes, .. } = *self;
        let kept = self.kept.unwrap_or(rows);
        if takes_from > rows || kept > rows {
            return Err(format!("no more than its {rows} `rows` are kept, or taken from tables"));
        }
        // Tables of one row each that is gone; the rest of the rows is changed in another.
        let gone =
            |table| (format!("taken {table}"), Tally { deleted: 1, kept: 1, ..Tally::default() });
        // One more than a limit is beyond it; nobody counts a billion tables.
        let tables = takes_from.min(limits.roots.saturating_add(1)).min(MOST_TABLES);
        let (updated, lost) = (rows - tables, rows - kept);
        let rest = Tally { inserted, updated, kept: updated.saturating_sub(lost), deleted: 0 };
        let mut written = Written { roots: takes_from, kept_bytes, ..Written::default() };
        written.tables = (0..tables).map(gone).collect();
        written.tables.insert("changed".to_owned(), rest);
        Ok(limits.judge(&written, self.hour_before))
    }
}
