//! Configurations: those that wait, and every one that was in force.

use super::{Rows, StoreError, Tx};
use countermand_core::configuration::{Configuration, Proposed};
use countermand_core::name::HumanName;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Row, params};
use std::path::Path;

/// A configuration, with what became of it so far.
#[derive(Clone, Debug)]
pub(crate) struct ConfigurationRow {
    pub(crate) number: u64,
    pub(crate) configuration: Configuration,
    /// Nobody, where it was in force before any agent was let in.
    pub(crate) proposed: Option<Proposed>,
    /// When it came into force.
    pub(crate) applied: Option<Timestamp>,
    /// Why it never will, if so.
    pub(crate) ended: Option<String>,
    /// The ledger's entry about it that came last.
    pub(crate) idx: u64,
}

impl ConfigurationRow {
    /// Whether it may still come into force.
    pub(crate) fn is_open(&self) -> bool {
        self.applied.is_none() && self.ended.is_none()
    }
}

const COLUMNS: &str = "SELECT number, document, editor, proposed, loosens, approver, approved, \
    applied, ended, idx FROM configuration";

impl Rows<'_> {
    /// Those that were in force, in order.
    pub(crate) fn applied_configurations(&self) -> Result<Vec<ConfigurationRow>, StoreError> {
        self.configurations(&format!("{COLUMNS} WHERE applied IS NOT NULL ORDER BY number"))
    }

    /// The one that waits; there is one at most.
    pub(crate) fn waiting_configuration(&self) -> Result<Option<ConfigurationRow>, StoreError> {
        let sql = format!("{COLUMNS} WHERE applied IS NULL AND ended IS NULL");
        Ok(self.configurations(&sql)?.pop())
    }

    /// Whether an agent was ever let in. The ledger remembers what the store could forget.
    pub(crate) fn has_let_in(&self) -> Result<bool, StoreError> {
        if !self.agents()?.is_empty() {
            return Ok(true);
        }
        let sql = "SELECT count(*) FROM leaf WHERE line LIKE '%\"kind\":\"agent.added\"%'";
        Ok(self.connection().query_row(sql, [], |row| row.get::<_, u64>(0))? > 0)
    }

    /// All of them, in order.
    pub(crate) fn all_configurations(&self) -> Result<Vec<ConfigurationRow>, StoreError> {
        self.configurations(&format!("{COLUMNS} ORDER BY number"))
    }

    fn configurations(&self, sql: &str) -> Result<Vec<ConfigurationRow>, StoreError> {
        let mut statement = self.connection().prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut configurations = Vec::new();
        while let Some(row) = rows.next()? {
            configurations.push(read(row)?);
        }
        Ok(configurations)
    }
}

fn read(row: &Row<'_>) -> Result<ConfigurationRow, StoreError> {
    let unreadable =
        |why: &dyn std::fmt::Display| StoreError::Unreadable(format!("a configuration: {why}"));
    let time = |column| -> Result<Option<Timestamp>, StoreError> {
        let millis = row.get::<_, Option<i64>>(column)?;
        millis.map(Timestamp::from_millisecond).transpose().map_err(|e| unreadable(&e))
    };
    let human = |column| -> Result<Option<HumanName>, StoreError> {
        let name = row.get::<_, Option<String>>(column)?;
        name.map(HumanName::new).transpose().map_err(|e| unreadable(&e))
    };
    let document: String = row.get(1)?;
    let proposed = human(2)?.zip(time(3)?);
    let (loosens, approval) = (row.get(4)?, human(5)?.zip(time(6)?));
    Ok(ConfigurationRow {
        number: row.get(0)?,
        configuration: serde_json::from_str(&document).map_err(|e| unreadable(&e))?,
        proposed: proposed.map(|(editor, at)| Proposed { editor, at, loosens, approval }),
        applied: time(7)?,
        ended: row.get(8)?,
        idx: row.get(9)?,
    })
}

impl Tx<'_> {
    /// Keeps a new one under the next number; the caller has appended entry `idx` about it.
    pub(crate) fn put_configuration(
        &mut self,
        configuration: &Configuration,
        proposed: Option<&Proposed>,
        idx: u64,
    ) -> Result<u64, StoreError> {
        let number = self.rows().all_configurations()?.last().map_or(1, |last| last.number + 1);
        let document = serde_json::to_string(configuration)
            .map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let at = self.now().as_millisecond();
        let (editor, proposed_at, loosens, applied) = match proposed {
            Some(proposed) => (Some(proposed.editor.as_str()), Some(at), proposed.loosens, None),
            None => (None, None, false, Some(at)),
        };
        self.execute(
            "INSERT INTO configuration (number, document, editor, proposed, loosens, applied, idx) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![number, document, editor, proposed_at, loosens, applied, idx],
        )?;
        Ok(number)
    }

    /// Another human has signed it.
    pub(crate) fn approve_configuration(
        &mut self,
        number: u64,
        human: &HumanName,
        idx: u64,
    ) -> Result<(), StoreError> {
        let at = self.now().as_millisecond();
        let sql = "UPDATE configuration SET approver = ?2, approved = ?3, idx = ?4 \
            WHERE number = ?1 AND applied IS NULL AND ended IS NULL AND approver IS NULL";
        let changed = self.execute(sql, params![number, human.as_str(), at, idx])?;
        if changed == 1 { Ok(()) } else { Err(moved(number)) }
    }

    /// It is in force from now on.
    pub(crate) fn apply_configuration(&mut self, number: u64, idx: u64) -> Result<(), StoreError> {
        let at = self.now().as_millisecond();
        let sql = "UPDATE configuration SET applied = ?2, idx = ?3 \
            WHERE number = ?1 AND applied IS NULL AND ended IS NULL";
        if self.execute(sql, params![number, at, idx])? == 1 { Ok(()) } else { Err(moved(number)) }
    }

    /// It never will be.
    pub(crate) fn end_configuration(
        &mut self,
        number: u64,
        why: &str,
        idx: u64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE configuration SET ended = ?2, idx = ?3 \
            WHERE number = ?1 AND applied IS NULL AND ended IS NULL";
        if self.execute(sql, params![number, why, idx])? == 1 { Ok(()) } else { Err(moved(number)) }
    }
}

fn moved(number: u64) -> StoreError {
    StoreError::Refused(format!("configuration {number} does not wait, or was signed before"))
}

/// The configuration that binds the store at `path`, which nobody need have open: the last that
/// came into force, once an agent was let in.
pub(crate) fn binding(path: &Path) -> Result<Option<Configuration>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let known = "SELECT count(*) FROM sqlite_master WHERE name = 'configuration'";
    if connection.query_row(known, [], |row| row.get::<_, u64>(0))? == 0 {
        return Ok(None);
    }
    let rows = Rows::new(&connection);
    let last = rows.applied_configurations()?.pop();
    let binds = rows.has_let_in()?;
    Ok(last.filter(|_| binds).map(|row| row.configuration))
}
