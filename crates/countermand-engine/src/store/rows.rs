//! What is in the store, as the engine's own types.

use super::{StoreError, Tx};
use crate::keys::TEXTS_KEY_CHANGED;
use countermand_core::change::{Change, Recorded, State};
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::Grant;
use countermand_core::request::{ChangeNumber, Payload, RequestKey};
use countermand_ledger::frontier::Frontier;
use countermand_ledger::keyring;
use countermand_ledger::leaf::Leaf;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// A payload with what its client said of itself.
pub(crate) struct StoredPayload {
    pub(crate) payload: Payload,
    pub(crate) said: String,
}

/// An agent with its verifier.
#[derive(Clone)]
pub(crate) struct AgentRow {
    pub(crate) name: AgentName,
    pub(crate) sponsor: HumanName,
    pub(crate) grant: Grant,
    pub(crate) verifier: crate::agents::ScramVerifier,
    pub(crate) expires: Timestamp,
    pub(crate) revoked: bool,
}

/// Something frozen: its scope in words and why.
pub(crate) struct Frozen {
    pub(crate) scope: String,
    pub(crate) why: String,
}

/// What a ledger's entries come to.
#[derive(Default)]
pub(crate) struct Begun {
    /// The Merkle tree's edge over all of them.
    pub(crate) frontier: Frontier,
    /// The time of the last.
    pub(crate) last: Option<Timestamp>,
    /// The keys they named last.
    pub(crate) named: NamedKeys,
}

/// The keys that the ledger named last.
#[derive(Clone, Default)]
pub(crate) struct NamedKeys {
    /// The vkey of the one that signs checkpoints.
    pub(crate) signing: Option<String>,
    /// The id of the one that seals texts.
    pub(crate) texts: Option<String>,
}

impl NamedKeys {
    fn read(&mut self, leaf: &Leaf) {
        let text = |name| leaf.body().get(name).and_then(|v| v.as_str()).map(str::to_owned);
        let (signing, texts) = match leaf.kind() {
            keyring::CHANGED => (text("to"), None),
            TEXTS_KEY_CHANGED => (None, text("to")),
            "gateway.started" => (text("ledger_key"), text("texts_key")),
            _ => return,
        };
        self.signing = signing.or(self.signing.take());
        self.texts = texts.or(self.texts.take());
    }
}

/// Read access to the store.
pub(crate) struct Rows<'a>(&'a Connection);

impl<'a> Rows<'a> {
    pub(super) fn new(connection: &'a Connection) -> Rows<'a> {
        Rows(connection)
    }

    pub(super) fn connection(&self) -> &Connection {
        self.0
    }

    /// What the entries so far come to.
    pub(super) fn begun(&self) -> Result<Begun, StoreError> {
        let mut begun = Begun::default();
        let mut statement = self.0.prepare("SELECT line FROM leaf ORDER BY idx")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            let leaf = Leaf::parse(line.as_bytes()).map_err(|e| unreadable(&e))?;
            let size = begun.frontier.size();
            if leaf.index() != size {
                return Err(StoreError::Unreadable(format!("entry {size} is missing")));
            }
            begun.named.read(&leaf);
            begun.last = Some(leaf.at());
            begun.frontier.append(leaf.hash());
        }
        Ok(begun)
    }

    /// The newest checkpoint that was published.
    pub(crate) fn newest_checkpoint(&self) -> Result<Option<String>, StoreError> {
        let sql = "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1";
        Ok(self.0.query_row(sql, [], |row| row.get(0)).optional()?)
    }

    /// Entries from `from`, at most `limit`, in order.
    pub(crate) fn leaves(&self, from: u64, limit: u64) -> Result<Vec<String>, StoreError> {
        let mut statement =
            self.0.prepare_cached("SELECT line FROM leaf WHERE idx >= ?1 ORDER BY idx LIMIT ?2")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let lines = statement.query_map(params![from, limit], |row| row.get(0))?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// Sealed texts of entries `from..to`, as lines of a texts file.
    pub(crate) fn texts(&self, from: u64, to: u64) -> Result<Vec<String>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT sealed FROM text WHERE idx >= ?1 AND idx < ?2 ORDER BY idx, name",
        )?;
        let lines = statement.query_map(params![from, to], |row| row.get(0))?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// Every event of a change.
    pub(crate) fn events(&self, number: ChangeNumber) -> Result<Vec<Recorded>, StoreError> {
        let mut statement =
            self.0.prepare_cached("SELECT event FROM event WHERE number = ?1 ORDER BY version")?;
        let rows = statement.query_map([number.0], |row| row.get::<_, String>(0))?;
        rows.map(|row| serde_json::from_str(&row?).map_err(|e| unreadable(&e))).collect()
    }

    /// A change: the fold of its events.
    pub(crate) fn change(&self, number: ChangeNumber) -> Result<Change, StoreError> {
        let events = self.events(number)?;
        let folded = Change::fold(&events).ok_or(StoreError::NoChange(number))?;
        folded.map_err(|e| unreadable(&e))
    }

    /// Numbers of changes, newest first.
    pub(crate) fn numbers(&self, open_only: bool) -> Result<Vec<ChangeNumber>, StoreError> {
        let sql = match open_only {
            true => "SELECT number FROM change WHERE open = 1 ORDER BY number DESC",
            false => "SELECT number FROM change ORDER BY number DESC",
        };
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| row.get(0).map(ChangeNumber))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Changes whose target is being watched, or whose watch ended otherwise than well.
    pub(crate) fn watched(&self) -> Result<Vec<Change>, StoreError> {
        let mut statement = self.0.prepare(
            "SELECT DISTINCT b.number FROM event b
             WHERE b.event ->> '$.event' = 'watch_begun' AND NOT EXISTS (
               SELECT 1 FROM event e WHERE e.number = b.number AND e.version > b.version
                 AND e.event ->> '$.event' IN ('watch_passed', 'restored'))",
        )?;
        let numbers = statement.query_map([], |row| row.get(0).map(ChangeNumber))?;
        numbers.map(|number| self.change(number?)).collect()
    }

    /// Changes that were being taken back when the gateway stopped: at most the agent's being
    /// told the outcome and the end of its watch can have come after.
    pub(crate) fn restoring(&self) -> Result<Vec<Change>, StoreError> {
        let mut statement = self.0.prepare(
            "SELECT DISTINCT c.number FROM change c
             JOIN event e ON e.number = c.number AND e.version >= c.version - 2
             WHERE c.open = 0 AND e.event ->> '$.event' = 'restore_begun'",
        )?;
        let numbers = statement.query_map([], |row| row.get(0).map(ChangeNumber))?;
        let changes = numbers.map(|number| self.change(number?)).collect::<Result<Vec<_>, _>>()?;
        Ok(changes.into_iter().filter(|change| change.restoring.is_some()).collect())
    }

    /// Numbers of an agent's changes, newest first.
    pub(crate) fn numbers_of(
        &self,
        agent: &AgentName,
        limit: u64,
    ) -> Result<Vec<ChangeNumber>, StoreError> {
        let sql = "SELECT number FROM change WHERE agent = ?1 ORDER BY number DESC LIMIT ?2";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement
            .query_map(params![agent.as_str(), limit], |row| row.get(0).map(ChangeNumber))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many open changes an agent has.
    pub(crate) fn open_of(&self, agent: &AgentName) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM change WHERE open = 1 AND agent = ?1";
        Ok(self.0.query_row(sql, [agent.as_str()], |row| row.get(0))?)
    }

    /// How many forbidden requests of an agent wait for a human to adopt them.
    pub(crate) fn kept_of(&self, agent: &AgentName) -> Result<u64, StoreError> {
        let sql = "SELECT number FROM change WHERE open = 1 AND agent = ?1";
        let mut statement = self.0.prepare_cached(sql)?;
        let open = statement.query_map([agent.as_str()], |row| row.get(0).map(ChangeNumber))?;
        let mut kept = 0;
        for number in open.collect::<Result<Vec<_>, _>>()? {
            kept += u64::from(self.change(number)?.state == State::Forbidden);
        }
        Ok(kept)
    }

    /// The number the next change gets.
    pub(crate) fn next_number(&self) -> Result<ChangeNumber, StoreError> {
        let sql = "SELECT coalesce(max(number), 0) + 1 FROM change";
        Ok(ChangeNumber(self.0.query_row(sql, [], |row| row.get(0))?))
    }

    /// What runs for a change.
    pub(crate) fn payload(&self, number: ChangeNumber) -> Result<StoredPayload, StoreError> {
        let sql = "SELECT kind, body, text, said FROM change WHERE number = ?1";
        let stored = self.0.query_row(sql, [number.0], |row| {
            let payload = Payload::exact(
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
            );
            Ok(StoredPayload { payload, said: row.get(3)? })
        });
        stored.optional()?.ok_or(StoreError::NoChange(number))
    }

    /// The version that the change's row says, beside the fold.
    pub(crate) fn version(&self, number: ChangeNumber) -> Result<(u64, bool), StoreError> {
        let sql = "SELECT version, open FROM change WHERE number = ?1";
        let row = self.0.query_row(sql, [number.0], |row| Ok((row.get(0)?, row.get(1)?)));
        row.optional()?.ok_or(StoreError::NoChange(number))
    }

    /// The latest change that was asked for with this key.
    pub(crate) fn latest_of(&self, key: RequestKey) -> Result<Option<Change>, StoreError> {
        let sql = "SELECT number FROM change WHERE key = ?1 ORDER BY number DESC LIMIT 1";
        let number = self.0.query_row(sql, [key.to_string()], |row| row.get(0)).optional()?;
        number.map(|n| self.change(ChangeNumber(n))).transpose()
    }

    /// Every agent there ever was.
    pub(crate) fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        let mut statement = self.0.prepare_cached(
            "SELECT name, sponsor, granted, salt, iterations, stored_key, server_key, expires, \
             revoked FROM agent ORDER BY name",
        )?;
        let mut rows = statement.query([])?;
        let mut agents = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, sponsor): (String, String) = (row.get(0)?, row.get(1)?);
            let granted: String = row.get(2)?;
            let expires = Timestamp::from_millisecond(row.get(7)?).map_err(|e| unreadable(&e))?;
            agents.push(AgentRow {
                name: AgentName::new(name).map_err(|e| unreadable(&e))?,
                sponsor: HumanName::new(sponsor).map_err(|e| unreadable(&e))?,
                grant: serde_json::from_str(&granted).map_err(|e| unreadable(&e))?,
                verifier: crate::agents::ScramVerifier {
                    salt: row.get(3)?,
                    iterations: row.get(4)?,
                    stored_key: row.get(5)?,
                    server_key: row.get(6)?,
                },
                expires,
                revoked: row.get(8)?,
            });
        }
        Ok(agents)
    }

    /// What is frozen.
    pub(crate) fn frozen(&self) -> Result<Vec<Frozen>, StoreError> {
        let mut statement =
            self.0.prepare_cached("SELECT scope, why FROM frozen ORDER BY scope")?;
        let rows =
            statement.query_map([], |row| Ok(Frozen { scope: row.get(0)?, why: row.get(1)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Rows<'_> {
    /// What each target said last that it is.
    pub(crate) fn fingerprints(&self) -> Result<BTreeMap<TargetName, String>, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT target, said FROM fingerprint")?;
        let mut rows = statement.query([])?;
        let mut said = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let name = TargetName::new(row.get::<_, String>(0)?).map_err(|e| unreadable(&e))?;
            said.insert(name, row.get(1)?);
        }
        Ok(said)
    }
}

impl Tx<'_> {
    /// Remembers what a target says that it is.
    pub(crate) fn put_fingerprint(
        &mut self,
        target: &TargetName,
        said: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO fingerprint (target, said) VALUES (?1, ?2)";
        self.execute(sql, params![target.as_str(), said])?;
        Ok(())
    }

    /// Lets an agent in, or back in with a new credential.
    pub(crate) fn put_agent(&mut self, agent: &AgentRow) -> Result<(), StoreError> {
        let granted = serde_json::to_string(&agent.grant).map_err(|e| unreadable(&e))?;
        self.execute(
            "INSERT OR REPLACE INTO agent (name, sponsor, granted, salt, iterations, stored_key, \
             server_key, expires, revoked) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                agent.name.as_str(),
                agent.sponsor.as_str(),
                granted,
                agent.verifier.salt,
                agent.verifier.iterations,
                agent.verifier.stored_key,
                agent.verifier.server_key,
                agent.expires.as_millisecond(),
                agent.revoked
            ],
        )?;
        Ok(())
    }

    /// Ends an agent's credential. Says whether there was one.
    pub(crate) fn revoke_agent(&mut self, agent: &AgentName) -> Result<bool, StoreError> {
        let n = self.execute("UPDATE agent SET revoked = 1 WHERE name = ?1", [agent.as_str()])?;
        Ok(n > 0)
    }

    /// Gives out a nonce with the exact statement that it is for.
    pub(crate) fn put_nonce(
        &mut self,
        nonce: &str,
        statement: &str,
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        let now = self.now().as_millisecond();
        self.execute("DELETE FROM nonce WHERE expires < ?1", [now])?;
        self.execute(
            "INSERT INTO nonce (nonce, statement, expires) VALUES (?1, ?2, ?3)",
            params![nonce, statement, expires.as_millisecond()],
        )?;
        Ok(())
    }

    /// Takes a nonce back; true exactly once, and only for the statement it was given for.
    pub(crate) fn spend_nonce(&mut self, nonce: &str, statement: &str) -> Result<bool, StoreError> {
        let now = self.now().as_millisecond();
        let n = self.execute(
            "DELETE FROM nonce WHERE nonce = ?1 AND statement = ?2 AND expires >= ?3",
            params![nonce, statement, now],
        )?;
        Ok(n == 1)
    }

    /// What was prepared for a signature is good for nothing any more.
    pub(crate) fn forget_nonces(&mut self) -> Result<(), StoreError> {
        self.execute("DELETE FROM nonce", []).map(drop)
    }

    /// Remembers that something is frozen. Who prepared to let it run again had not seen this: their
    /// statements are good for nothing any more.
    pub(crate) fn put_frozen(&mut self, scope: &str, why: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM nonce WHERE statement ->> '$.act' = 'thaw' \
                   AND statement ->> '$.subject.what' = ?1";
        self.execute(sql, [scope])?;
        let sql = "INSERT OR REPLACE INTO frozen (scope, why) VALUES (?1, ?2)";
        self.execute(sql, params![scope, why])?;
        Ok(())
    }

    /// Remembers that it no longer is. Says whether it was.
    pub(crate) fn remove_frozen(&mut self, scope: &str) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM frozen WHERE scope = ?1", [scope])? > 0)
    }

    /// Keeps a published checkpoint.
    pub(crate) fn put_checkpoint(&mut self, size: u64, note: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO checkpoint (size, note) VALUES (?1, ?2)";
        self.execute(sql, params![size, note])?;
        Ok(())
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable(error.to_string())
}
