//! What observed targets said that they are.

use super::rows::Rows;
use super::{StoreError, Tx};
use countermand_core::name::TargetName;
use jiff::Timestamp;
use rusqlite::params;

impl Rows<'_> {
    /// Each with the target and when its observation was turned on.
    pub(crate) fn observed_as(&self) -> Result<Vec<(String, Timestamp, String)>, StoreError> {
        let sql = "SELECT target, since, said FROM observed_as";
        let mut statement = self.connection().prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.map(|row| {
            let (target, since, said) = row?;
            let since = Timestamp::from_millisecond(since);
            Ok((target, since.map_err(|e| StoreError::Unreadable(e.to_string()))?, said))
        })
        .collect()
    }
}

impl Tx<'_> {
    /// Keeps what a target said.
    pub(crate) fn put_observed_as(
        &mut self,
        target: &TargetName,
        since: Timestamp,
        said: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO observed_as (target, since, said) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![target.as_str(), since.as_millisecond(), said]).map(drop)
    }
}
