//! Since when each agent has been without fault.

use super::{Rows, StoreError, Tx};
use countermand_core::name::{AgentName, HumanName};
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

impl Rows<'_> {
    /// When an agent was first seen, or last at fault; none for one that was never seen.
    pub(crate) fn clean_since(&self, agent: &AgentName) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT since FROM conduct WHERE agent = ?1";
        let mut statement = self.connection().prepare_cached(sql)?;
        let since = statement.query_row([agent.as_str()], |row| row.get(0)).optional()?;
        let read = |since| Timestamp::from_millisecond(since);
        since.map(read).transpose().map_err(|e| StoreError::Unreadable(e.to_string()))
    }
}

impl Tx<'_> {
    /// Notes that an agent was seen. Says whether for the first time under this sponsor.
    pub(crate) fn seen(&mut self, agent: &AgentName, by: &HumanName) -> Result<bool, StoreError> {
        let sql = "INSERT INTO conduct (agent, sponsor, since) VALUES (?1, ?2, ?3)
                   ON CONFLICT (agent) DO UPDATE
                   SET sponsor = excluded.sponsor, since = excluded.since
                   WHERE sponsor <> excluded.sponsor";
        let now = self.now().as_millisecond();
        Ok(self.execute(sql, params![agent.as_str(), by.as_str(), now])? > 0)
    }

    /// Notes that an agent was at fault: its days count from now again.
    pub(crate) fn at_fault(&mut self, agent: &AgentName) -> Result<(), StoreError> {
        let now = self.now().as_millisecond();
        let sql = "UPDATE conduct SET since = ?2 WHERE agent = ?1";
        self.execute(sql, params![agent.as_str(), now]).map(drop)
    }

    /// Forgets an agent: whoever comes under its name is new.
    pub(crate) fn forget_conduct(&mut self, agent: &AgentName) -> Result<(), StoreError> {
        self.execute("DELETE FROM conduct WHERE agent = ?1", [agent.as_str()]).map(drop)
    }
}
