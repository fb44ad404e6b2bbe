//! The tables, and how the file is opened.

use super::StoreError;
use rusqlite::Connection;
use std::path::Path;

const VERSION: i64 = 7;

const TABLES: &str = "
CREATE TABLE leaf (idx INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT;
CREATE TABLE text (
    idx INTEGER NOT NULL, name TEXT NOT NULL, sealed TEXT NOT NULL,
    PRIMARY KEY (idx, name)) STRICT, WITHOUT ROWID;
CREATE TABLE change (
    number INTEGER PRIMARY KEY, version INTEGER NOT NULL, open INTEGER NOT NULL,
    key TEXT NOT NULL, agent TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
    text TEXT NOT NULL, said TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX change_open_key ON change (key) WHERE open = 1;
CREATE INDEX change_key ON change (key, number);
CREATE TABLE event (
    number INTEGER NOT NULL, version INTEGER NOT NULL, idx INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY (number, version)) STRICT, WITHOUT ROWID;
CREATE TABLE agent (
    name TEXT PRIMARY KEY, sponsor TEXT NOT NULL, granted TEXT NOT NULL, salt BLOB NOT NULL,
    iterations INTEGER NOT NULL, stored_key BLOB NOT NULL, server_key BLOB NOT NULL,
    expires INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE nonce (nonce TEXT PRIMARY KEY, statement TEXT NOT NULL, expires INTEGER NOT NULL) STRICT;
CREATE TABLE frozen (scope TEXT PRIMARY KEY, why TEXT NOT NULL) STRICT;
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
";

/// Writes that flowed: how much, and under which entry their before-images lie.
const FLOWS: &str = "
CREATE TABLE flow (
    idx INTEGER PRIMARY KEY, at INTEGER NOT NULL, agent TEXT NOT NULL, target TEXT NOT NULL,
    session TEXT NOT NULL, changed INTEGER NOT NULL, inserted INTEGER NOT NULL)
    STRICT;
CREATE INDEX flow_agent ON flow (agent, target, at);
";

/// How much each agent changed in each target, minute by minute: what its window is summed from,
/// however many writes there were.
const MINUTES: &str = "
CREATE TABLE flow_minute (
    agent TEXT NOT NULL, target TEXT NOT NULL, minute INTEGER NOT NULL, changed INTEGER NOT NULL,
    PRIMARY KEY (agent, target, minute)) STRICT, WITHOUT ROWID;
INSERT INTO flow_minute
    SELECT agent, target, at / 60000, sum(changed) FROM flow GROUP BY agent, target, at / 60000;
CREATE TRIGGER flow_counts AFTER INSERT ON flow BEGIN
    INSERT INTO flow_minute VALUES (new.agent, new.target, new.at / 60000, new.changed)
    ON CONFLICT DO UPDATE SET changed = changed + excluded.changed;
END;
CREATE TRIGGER flow_forgets AFTER DELETE ON flow BEGIN
    UPDATE flow_minute SET changed = changed - old.changed
    WHERE agent = old.agent AND target = old.target AND minute = old.at / 60000;
END;
";

/// Approvals given beforehand, and the changes that each has carried.
const STANDINGS: &str = "
CREATE TABLE standing (
    number INTEGER PRIMARY KEY, agent TEXT NOT NULL, target TEXT NOT NULL, signed INTEGER NOT NULL,
    statement TEXT NOT NULL, signature TEXT NOT NULL, ended TEXT) STRICT;
CREATE INDEX standing_agent ON standing (agent, target);
CREATE TABLE standing_run (
    standing INTEGER NOT NULL, change INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (standing, change)) STRICT, WITHOUT ROWID;
";

/// Configurations: those that were in force, and those that wait or did. One waits at most. What each
/// target said last that it is.
const CONFIGURATIONS: &str = "
CREATE TABLE configuration (
    number INTEGER PRIMARY KEY, document TEXT NOT NULL, editor TEXT, proposed INTEGER,
    loosens INTEGER NOT NULL, approver TEXT, approved INTEGER, applied INTEGER, ended TEXT,
    idx INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX configuration_waits ON configuration ((1))
    WHERE applied IS NULL AND ended IS NULL;
CREATE TABLE fingerprint (target TEXT PRIMARY KEY, said TEXT NOT NULL) STRICT;
";

/// Since when each agent has been without fault: first seen under its sponsor, or last told no.
const CONDUCT: &str = "
CREATE TABLE conduct (
    agent TEXT PRIMARY KEY, sponsor TEXT NOT NULL, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// What the server of an observed target said that it is, in the observation that was turned on then.
const IDENTITIES: &str = "
CREATE TABLE observed_as (
    target TEXT NOT NULL, since INTEGER NOT NULL, said TEXT NOT NULL,
    PRIMARY KEY (target, since, said)) STRICT, WITHOUT ROWID;
";

/// Opens the writing connection: durable commits, and nobody else writes.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    if is_copy(&connection)? {
        let words =
            "this is a copy of a gateway's store: `countermand gateway restore` goes on from it";
        return Err(StoreError::Unreadable(words.to_owned()));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // What is deleted is overwritten, and not in the log of an earlier run either.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // What each version added to the one before it.
    let added = [TABLES, FLOWS, MINUTES, STANDINGS, CONFIGURATIONS, CONDUCT, IDENTITIES];
    let missing = usize::try_from(version).ok().and_then(|known| added.get(known..));
    match missing {
        Some([]) => {}
        Some(missing) => {
            let missing = missing.concat();
            let made = format!("BEGIN; {missing} PRAGMA user_version = {VERSION}; COMMIT;");
            connection.execute_batch(&made)?;
        }
        None => {
            let words = format!("the store is of version {version}, this gateway knows {VERSION}");
            return Err(StoreError::Unreadable(words));
        }
    }
    connection.execute_batch(super::find::INDEXES)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// What a copy bears in its header: nobody runs under one by pointing at it.
const COPY: i64 = 0x636d_6370;

/// Marks a store as a copy, or as one that a gateway may go on from.
pub(super) fn mark(path: &Path, copy: bool) -> Result<(), StoreError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "application_id", if copy { COPY } else { 0 })?;
    Ok(())
}

pub(super) fn is_copy(connection: &Connection) -> Result<bool, StoreError> {
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(id == COPY)
}
