//! Writes that flowed: for the windows of limits, and to find what is to be taken back.

use super::{Rows, StoreError, Tx};
use countermand_core::name::{AgentName, TargetName};
use jiff::Timestamp;
use rusqlite::params;

/// A write that flowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowRow {
    /// Its entry in the ledger, beside which its before-images lie.
    pub(crate) index: u64,
    /// When its intent was durable.
    pub(crate) at: Timestamp,
    /// Over which connection.
    pub(crate) session: String,
    /// Rows updated or deleted.
    pub(crate) changed: u64,
    /// Rows added.
    pub(crate) inserted: u64,
}

impl Rows<'_> {
    /// Rows that an agent changed in a target from the minute of `since` on.
    pub(crate) fn changed_since(
        &self,
        agent: &AgentName,
        target: &TargetName,
        since: Timestamp,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(changed), 0) FROM flow_minute \
                   WHERE agent = ?1 AND target = ?2 AND minute >= ?3";
        let mut statement = self.connection().prepare_cached(sql)?;
        let since = since.as_second().div_euclid(60);
        Ok(statement
            .query_row(params![agent.as_str(), target.as_str(), since], |row| row.get(0))?)
    }

    /// What an agent wrote in a target in this time, in order.
    pub(crate) fn flows(
        &self,
        agent: &AgentName,
        target: &TargetName,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<FlowRow>, StoreError> {
        let sql = "SELECT idx, at, session, changed, inserted FROM flow \
                   WHERE agent = ?1 AND target = ?2 AND at >= ?3 AND at <= ?4 ORDER BY idx";
        let mut statement = self.connection().prepare_cached(sql)?;
        let (since, until) = (since.as_millisecond(), until.as_millisecond());
        let mut rows = statement.query(params![agent.as_str(), target.as_str(), since, until])?;
        let mut flows = Vec::new();
        while let Some(row) = rows.next()? {
            let at = Timestamp::from_millisecond(row.get(1)?);
            flows.push(FlowRow {
                index: row.get(0)?,
                at: at.map_err(|e| StoreError::Unreadable(e.to_string()))?,
                session: row.get(2)?,
                changed: row.get(3)?,
                inserted: row.get(4)?,
            });
        }
        Ok(flows)
    }

    /// Where an agent wrote in this time.
    pub(crate) fn written_targets(
        &self,
        agent: &AgentName,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<TargetName>, StoreError> {
        let sql = "SELECT DISTINCT target FROM flow \
                   WHERE agent = ?1 AND at >= ?2 AND at <= ?3 ORDER BY target";
        let mut statement = self.connection().prepare_cached(sql)?;
        let (since, until) = (since.as_millisecond(), until.as_millisecond());
        let names = statement
            .query_map(params![agent.as_str(), since, until], |row| row.get::<_, String>(0))?;
        let read = |name: Result<String, rusqlite::Error>| {
            TargetName::new(name?).map_err(|e| StoreError::Unreadable(e.to_string()))
        };
        names.map(read).collect()
    }

    /// One sealed text of an entry, as a line of a texts file.
    pub(crate) fn text(&self, index: u64, name: &str) -> Result<Option<String>, StoreError> {
        use rusqlite::OptionalExtension as _;
        let sql = "SELECT sealed FROM text WHERE idx = ?1 AND name = ?2";
        let mut statement = self.connection().prepare_cached(sql)?;
        Ok(statement.query_row(params![index, name], |row| row.get(0)).optional()?)
    }
}

impl Tx<'_> {
    /// Remembers a write that is about to be committed.
    pub(crate) fn put_flow(
        &mut self,
        agent: &AgentName,
        target: &TargetName,
        flow: &FlowRow,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO flow (idx, at, agent, target, session, changed, inserted) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                flow.index,
                flow.at.as_millisecond(),
                agent.as_str(),
                target.as_str(),
                flow.session,
                flow.changed,
                flow.inserted
            ],
        )?;
        Ok(())
    }

    /// It did not commit: it counts in no window, and there is nothing to take back.
    pub(crate) fn remove_flow(&mut self, index: u64) -> Result<(), StoreError> {
        self.execute("DELETE FROM flow WHERE idx = ?1", [index])?;
        Ok(())
    }
}
