//! The store: a change's state and its ledger leaf, in one transaction.
//!
//! One thread writes. It takes whatever waits, runs each job in a savepoint of its own, and
//! commits them together, so that durability costs one sync for many. What a job returns is
//! given out only after that commit.

mod conduct;
mod configuration;
mod find;
mod flows;
mod identities;
mod news;
mod rows;
mod schema;
mod standing;
mod texts;
mod writer;

pub(crate) use configuration::{ConfigurationRow, binding};
pub(crate) use flows::FlowRow;
pub(crate) use rows::{AgentRow, Frozen, NamedKeys, Rows};
pub(crate) use standing::StandingRow;
pub(crate) use texts::{ERASED, TextRow};
pub(crate) use writer::{Hook, Tx};

use crate::clock::Clock;
use crate::keys::Keys;
use crate::metrics::Metrics;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};
use writer::{Job, Writer};

/// Why the store did not do what it was asked. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own error.
    #[error("the store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A record in the store cannot be read: written by a newer version, or damaged.
    #[error("the store holds what this version cannot read: {0}")]
    Unreadable(String),
    /// The ledger refused an entry.
    #[error("the ledger refused an entry: {0}")]
    Leaf(String),
    /// An event cannot follow a change's state.
    #[error(transparent)]
    Transition(#[from] countermand_core::change::InvalidTransition),
    /// Somebody else moved the change first.
    #[error("change {0} moved meanwhile: look at it again")]
    Moved(countermand_core::request::ChangeNumber),
    /// There is no such change.
    #[error("there is no change {0}")]
    NoChange(countermand_core::request::ChangeNumber),
    /// The writer has stopped after a failed commit, or at shutdown.
    #[error("the store has stopped; see the gateway's log")]
    Stopped,
    /// Asked for something the rules do not give; in words.
    #[error("{0}")]
    Refused(String),
}

/// The store of one gateway.
pub(crate) struct Store {
    jobs: std::sync::mpsc::Sender<Job>,
    reading: Mutex<Connection>,
    size: watch::Receiver<u64>,
    named: NamedKeys,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens the store at `path`, or one in memory, and starts its writer.
    pub(crate) fn open(
        path: &Path,
        clock: Clock,
        keys: Arc<Keys>,
        hook: Option<Hook>,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Store, StoreError> {
        let connection = schema::open(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reading = Connection::open_with_flags(path, flags)?;
        let begun = Rows::new(&connection).begun()?;
        let named = begun.named.clone();
        let (writer, size) = Writer::new(connection, clock, keys, hook, begun, metrics);
        let (jobs, queue) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("countermand-store".into())
            .spawn(move || writer.run(&queue))
            .map_err(|e| StoreError::Unreadable(e.to_string()))?;
        let thread = Mutex::new(Some(thread));
        Ok(Store { jobs, reading: Mutex::new(reading), size, named, thread })
    }

    /// Runs `job` in a transaction; its result is given once it is durable.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let result = job(tx);
            let keep = result.is_ok();
            let after: writer::After = Box::new(move |committed| {
                let result = if committed { result } else { Err(StoreError::Stopped) };
                // The caller may be gone; what was done stays done.
                let _ = answer.send(result);
            });
            (keep, after)
        });
        self.jobs.send(job).map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }

    /// Reads what is durable.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&rows::Rows<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&rows::Rows::new(&connection))
    }

    /// Reads what was durable at one moment, whatever is written meanwhile.
    pub(crate) fn read_at_once<T>(
        &self,
        look: impl FnOnce(&rows::Rows<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let moment = connection.unchecked_transaction()?;
        look(&rows::Rows::new(&moment))
    }

    /// Reads what is durable on a connection of its own: who reads for long keeps nobody waiting.
    pub(crate) fn read_apart<T>(
        &self,
        look: impl FnOnce(&rows::Rows<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let from = {
            let reading = self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            reading.path().unwrap_or_default().to_owned()
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(from, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let moment = connection.unchecked_transaction()?;
        look(&rows::Rows::new(&moment))
    }

    /// Copies what is durable at one moment into a new file.
    pub(crate) fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let from = {
            let reading = self.reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            reading.path().unwrap_or_default().to_owned()
        };
        let connection = Connection::open(from)?;
        connection.busy_timeout(std::time::Duration::from_secs(30))?;
        connection.execute("VACUUM INTO ?1", [file.to_string_lossy()])?;
        schema::mark(file, true)?;
        std::fs::File::open(file)
            .and_then(|file| file.sync_all())
            .map_err(|error| StoreError::Unreadable(format!("the copy was not synced: {error}")))
    }

    /// Lets a gateway go on from this copy.
    pub(crate) fn unmark(path: &Path) -> Result<(), StoreError> {
        schema::mark(path, false)
    }

    /// Writes what lies beside a store into the file itself, and empties that: nothing of what was
    /// erased is left in it.
    pub(crate) fn fold_log(path: &Path) -> Result<(), StoreError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let busy: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err(StoreError::Unreadable("it is in use".to_owned())) }
    }

    /// Reads a store that no gateway has open.
    pub(crate) fn look_into<T>(
        path: &Path,
        look: impl FnOnce(&rows::Rows<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if whole != "ok" {
            return Err(StoreError::Unreadable(format!("it is damaged: {whole}")));
        }
        look(&rows::Rows::new(&connection))
    }

    /// The keys that the ledger named last, when the store was opened.
    pub(crate) fn named_keys(&self) -> &NamedKeys {
        &self.named
    }

    /// How many entries the ledger has; changes as entries become durable.
    pub(crate) fn size(&self) -> watch::Receiver<u64> {
        self.size.clone()
    }

    /// Waits until everything that was asked for is durable, and ends the writer.
    pub(crate) fn stop(&self) {
        let stop: Job = Box::new(|tx| {
            tx.stop();
            (true, Box::new(|_| {}))
        });
        let _ = self.jobs.send(stop);
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
