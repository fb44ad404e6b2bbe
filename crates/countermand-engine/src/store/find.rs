//! Finding changes, and their entries, without reading all of them.

use super::{Rows, StoreError};
use crate::control::ChangesWanted;
use countermand_core::request::ChangeNumber;
use rusqlite::named_params;

/// What is made where it is missing, whatever the store's version: indexes change no answer.
pub(super) const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS change_open ON change (number) WHERE open = 1;
CREATE INDEX IF NOT EXISTS change_agent ON change (agent, number);
CREATE INDEX IF NOT EXISTS event_kind ON event (number, event ->> '$.event');
CREATE INDEX IF NOT EXISTS event_target ON event (number, event ->> '$.request.target')
    WHERE version = 1;
CREATE INDEX IF NOT EXISTS event_doubt ON event (number, version)
    WHERE event ->> '$.event' = 'in_doubt';
CREATE INDEX IF NOT EXISTS event_restore_doubt ON event (number, version)
    WHERE event ->> '$.event' = 'restore_in_doubt';
";

/// The event without which no change is in this state. None where one event does not tell: the
/// state of one that is open.
fn told_by(state: &str) -> Option<&'static str> {
    Some(match state {
        "executed" => "executed",
        "restored" => "restored",
        "rejected" => "rejected",
        "failed" => "rolled_back",
        "withdrawn" => "withdrawn",
        "expired" => "expired",
        "in doubt" => "in_doubt",
        _ => return None,
    })
}

impl Rows<'_> {
    /// How many changes are open.
    pub(crate) fn open_changes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM change WHERE open = 1";
        Ok(self.connection().query_row(sql, [], |row| row.get(0))?)
    }

    /// How many changes nobody knows the end of.
    pub(crate) fn in_doubt(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM event e INDEXED BY event_doubt CROSS JOIN change c
                ON c.number = e.number AND c.version = e.version
            WHERE c.open = 0 AND e.event ->> '$.event' = 'in_doubt'";
        Ok(self.connection().query_row(sql, [], |row| row.get(0))?)
    }

    /// How many changes nobody knows of whether they were taken back: until somebody has tried again,
    /// and it is known how that ended.
    pub(crate) fn restores_in_doubt(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(DISTINCT e.number) FROM event e INDEXED BY event_restore_doubt
            WHERE e.event ->> '$.event' = 'restore_in_doubt' AND NOT EXISTS (
                SELECT 1 FROM event l WHERE l.number = e.number AND l.version > e.version
                AND l.event ->> '$.event' IN ('restored', 'restore_failed'))";
        Ok(self.connection().query_row(sql, [], |row| row.get(0))?)
    }

    /// Changes that may be as wanted, newest first, at most `most` of them before `before`. Whether
    /// one is in the wanted state only its events tell.
    pub(crate) fn likely(
        &self,
        open: bool,
        wanted: &ChangesWanted,
        before: Option<ChangeNumber>,
        most: u64,
    ) -> Result<Vec<ChangeNumber>, StoreError> {
        let told_by = wanted.state.as_deref().and_then(told_by);
        let open = open || (wanted.state.is_some() && told_by.is_none());
        let sql = "SELECT number FROM change WHERE number < :before
             AND (:open = 0 OR open = 1) AND (:agent IS NULL OR agent = :agent)
             AND (:kind IS NULL OR EXISTS (SELECT 1 FROM event e
                 WHERE e.number = change.number AND e.event ->> '$.event' = :kind))
             AND (:target IS NULL OR EXISTS (SELECT 1 FROM event e
                 WHERE e.number = change.number AND e.version = 1
                 AND e.event ->> '$.request.target' = :target))
             ORDER BY number DESC LIMIT :most";
        let mut statement = self.connection().prepare_cached(sql)?;
        let values = named_params! {
            ":open": open,
            ":before": before.map_or(i64::MAX, |number| i64::try_from(number.0).unwrap_or(i64::MAX)),
            ":agent": wanted.agent, ":kind": told_by, ":target": wanted.target,
            ":most": i64::try_from(most).unwrap_or(i64::MAX),
        };
        let rows = statement.query_map(values, |row| row.get(0).map(ChangeNumber))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
