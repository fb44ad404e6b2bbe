//! Standing approvals: the signed statements, and which changes they have carried.

use super::{Rows, StoreError, Tx};
use countermand_core::name::{AgentName, TargetName};
use countermand_core::request::ChangeNumber;
use countermand_core::standing::{StandingNumber, StandingSubject};
use countermand_core::statement::{Act, Statement};
use jiff::Timestamp;
use rusqlite::{Row, params};

/// A standing approval as it was signed.
#[derive(Clone)]
pub(crate) struct StandingRow {
    pub(crate) number: StandingNumber,
    /// When it was recorded.
    pub(crate) signed: Timestamp,
    pub(crate) statement: Statement,
    pub(crate) subject: StandingSubject,
    /// SSHSIG over the statement.
    pub(crate) signature: String,
    /// Why it ended before its time, if it did.
    pub(crate) ended: Option<String>,
    /// How many changes it has carried.
    pub(crate) used: u64,
    /// When it carried the last of them.
    pub(crate) last: Option<Timestamp>,
}

impl StandingRow {
    /// Whether it may carry one more change now.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        let since = self.last.map(|last| now.duration_since(last).as_secs());
        let apart = i64::try_from(self.subject.apart).unwrap_or(i64::MAX);
        let rested = since.is_none_or(|seconds| seconds >= apart);
        self.ended.is_none() && now < self.subject.until && !self.is_used_up() && rested
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.subject.runs.is_some_and(|runs| self.used >= u64::from(runs))
    }
}

const COLUMNS: &str = "SELECT s.number, s.signed, s.statement, s.signature, s.ended, \
    (SELECT count(*) FROM standing_run r WHERE r.standing = s.number), \
    (SELECT max(r.at) FROM standing_run r WHERE r.standing = s.number) FROM standing s";

impl Rows<'_> {
    /// Every standing approval there ever was, newest first.
    pub(crate) fn standings(&self) -> Result<Vec<StandingRow>, StoreError> {
        let mut statement =
            self.connection().prepare_cached(&format!("{COLUMNS} ORDER BY number DESC"))?;
        let mut rows = statement.query([])?;
        let mut standings = Vec::new();
        while let Some(row) = rows.next()? {
            standings.push(read(row)?);
        }
        Ok(standings)
    }

    /// Those for this agent in this target that were not ended, oldest first.
    pub(crate) fn standings_for(
        &self,
        agent: &AgentName,
        target: &TargetName,
    ) -> Result<Vec<StandingRow>, StoreError> {
        let sql = format!(
            "{COLUMNS} WHERE s.agent = ?1 AND s.target = ?2 AND s.ended IS NULL ORDER BY number"
        );
        let mut statement = self.connection().prepare_cached(&sql)?;
        let mut rows = statement.query(params![agent.as_str(), target.as_str()])?;
        let mut standings = Vec::new();
        while let Some(row) = rows.next()? {
            standings.push(read(row)?);
        }
        Ok(standings)
    }

    /// One of them.
    pub(crate) fn standing(&self, number: StandingNumber) -> Result<StandingRow, StoreError> {
        let mut statement =
            self.connection().prepare_cached(&format!("{COLUMNS} WHERE s.number = ?1"))?;
        let mut rows = statement.query([number.0])?;
        match rows.next()? {
            Some(row) => read(row),
            None => Err(StoreError::Refused(format!("there is no standing approval {number}"))),
        }
    }

    /// Whether it has carried this change already: once is all there is.
    pub(crate) fn has_carried(
        &self,
        standing: StandingNumber,
        change: ChangeNumber,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM standing_run WHERE standing = ?1 AND change = ?2";
        let mut statement = self.connection().prepare_cached(sql)?;
        Ok(statement.query_row(params![standing.0, change.0], |row| row.get::<_, u64>(0))? > 0)
    }

    /// Which standing approvals have carried which changes, in order.
    pub(crate) fn carried(&self) -> Result<Vec<(StandingNumber, ChangeNumber)>, StoreError> {
        let sql = "SELECT standing, change FROM standing_run ORDER BY standing, change";
        let mut statement = self.connection().prepare_cached(sql)?;
        let rows = statement
            .query_map([], |row| Ok((StandingNumber(row.get(0)?), ChangeNumber(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn read(row: &Row<'_>) -> Result<StandingRow, StoreError> {
    let unreadable =
        |why: &dyn std::fmt::Display| StoreError::Unreadable(format!("a standing approval: {why}"));
    let text: String = row.get(2)?;
    let statement: Statement = serde_json::from_str(&text).map_err(|e| unreadable(&e))?;
    let Act::ApproveStanding(subject) = statement.act.clone() else {
        return Err(unreadable(&"its statement is of another act"));
    };
    let last = row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millisecond).transpose();
    Ok(StandingRow {
        number: StandingNumber(row.get(0)?),
        signed: Timestamp::from_millisecond(row.get(1)?).map_err(|e| unreadable(&e))?,
        statement,
        subject,
        signature: row.get(3)?,
        ended: row.get(4)?,
        used: row.get(5)?,
        last: last.map_err(|e| unreadable(&e))?,
    })
}

impl Tx<'_> {
    /// Keeps a standing approval, and gives its number.
    pub(crate) fn put_standing(
        &mut self,
        statement: &Statement,
        subject: &StandingSubject,
        signature: &str,
    ) -> Result<StandingNumber, StoreError> {
        let text = String::from_utf8(statement.to_bytes()).unwrap_or_default();
        self.execute(
            "INSERT INTO standing (number, agent, target, signed, statement, signature) \
             VALUES ((SELECT coalesce(max(number), 0) + 1 FROM standing), ?1, ?2, ?3, ?4, ?5)",
            params![
                subject.requester.as_str(),
                subject.scene.target.as_str(),
                self.now().as_millisecond(),
                text,
                signature
            ],
        )?;
        let sql = "SELECT max(number) FROM standing";
        Ok(StandingNumber(self.rows().connection().query_row(sql, [], |row| row.get(0))?))
    }

    /// Ends one that has not ended. Says whether there was one.
    pub(crate) fn end_standing(
        &mut self,
        standing: StandingNumber,
        why: &str,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE standing SET ended = ?2 WHERE number = ?1 AND ended IS NULL";
        Ok(self.execute(sql, params![standing.0, why])? > 0)
    }

    /// Counts a run. A change counts once.
    pub(crate) fn put_run(
        &mut self,
        standing: StandingNumber,
        change: ChangeNumber,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO standing_run (standing, change, at) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![standing.0, change.0, self.now().as_millisecond()])?;
        Ok(())
    }
}
