//! The one thread that writes, and what a job can do inside its transaction.

use super::StoreError;
use super::news::News;
use super::rows::{Begun, Rows};
use crate::clock::Clock;
use crate::keys::Keys;
use crate::kind::Kind;
use crate::metrics::Metrics;
use crate::record;
use countermand_core::change::{Change, Event, Recorded};
use countermand_core::request::{ChangeNumber, Payload};
use countermand_ledger::frontier::Frontier;
use countermand_ledger::leaf::Leaf;
use countermand_ledger::text::{Digest, SealedText};
use countermand_ledger::tree::Hash;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use tokio::sync::watch;

/// Called with the number of a commit before (`false`) and after (`true`) it is made: where
/// tests kill the process.
pub(crate) type Hook = Arc<dyn Fn(u64, bool) + Send + Sync>;

/// Told whether the commit was made.
pub(super) type After = Box<dyn FnOnce(bool) + Send>;
/// Says whether its work is kept, and what follows the commit.
pub(super) type Job = Box<dyn FnOnce(&mut Tx<'_>) -> (bool, After) + Send>;

/// How many jobs one commit takes at most.
const BATCH: usize = 256;

pub(super) struct Writer {
    connection: Connection,
    clock: Clock,
    keys: Arc<Keys>,
    hook: Option<Hook>,
    frontier: Frontier,
    last: Timestamp,
    commits: u64,
    size: watch::Sender<u64>,
    metrics: Option<Arc<Metrics>>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        clock: Clock,
        keys: Arc<Keys>,
        hook: Option<Hook>,
        begun: Begun,
        metrics: Option<Arc<Metrics>>,
    ) -> (Writer, watch::Receiver<u64>) {
        let Begun { frontier, last, .. } = begun;
        clock.begin_after(last);
        let (size, seen) = watch::channel(frontier.size());
        let last = last.unwrap_or(Timestamp::UNIX_EPOCH);
        (Writer { connection, clock, keys, hook, frontier, last, commits: 0, size, metrics }, seen)
    }

    /// Runs until told to stop, the queue closes, or a commit fails: after that nothing is
    /// known of the store's state, so nothing more is written.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let jobs = std::iter::once(first).chain(queue.try_iter().take(BATCH - 1)).collect();
            match self.commit(jobs) {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    tracing::error!(%error, "the store stops");
                    return;
                }
            }
        }
    }

    /// Runs these jobs and commits them together. Says whether one asked to stop.
    fn commit(&mut self, jobs: Vec<Job>) -> Result<bool, StoreError> {
        let now = self.clock.now().max(self.last);
        let (mut after, mut news) = (Vec::new(), Vec::new());
        let outcome = self.in_transaction(now, jobs, &mut after, &mut news);
        let committed = outcome.is_ok();
        if let Ok((leaves, _)) = &outcome {
            for leaf in leaves {
                self.frontier.append(leaf.hash());
            }
            self.last = now;
            self.size.send_replace(self.frontier.size());
            self.count(leaves, &news);
            news.into_iter().for_each(News::tell);
        }
        for told in after {
            told(committed);
        }
        outcome.map(|(_, stop)| stop)
    }

    /// What is durable is counted, and nothing before that.
    fn count(&self, leaves: &[Leaf], news: &[News]) {
        let Some(metrics) = &self.metrics else { return };
        leaves.iter().for_each(|leaf| metrics.recorded(leaf));
        news.iter().for_each(|news| news.count(metrics));
    }

    fn in_transaction(
        &mut self,
        now: Timestamp,
        jobs: Vec<Job>,
        after: &mut Vec<After>,
        news: &mut Vec<News>,
    ) -> Result<(Vec<Leaf>, bool), StoreError> {
        let transaction = self.connection.transaction()?;
        let mut leaves = Vec::new();
        let mut stop = false;
        for job in jobs {
            transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
            let (before, told_before) = (leaves.len(), news.len());
            let mut tx = Tx {
                connection: &transaction,
                now,
                keys: &self.keys,
                frontier: &self.frontier,
                leaves: &mut leaves,
                news,
                stop: &mut stop,
            };
            let (keep, told) = job(&mut tx);
            after.push(told);
            if !keep {
                leaves.truncate(before);
                news.truncate(told_before);
                transaction.prepare_cached("ROLLBACK TO job")?.execute([])?;
            }
            transaction.prepare_cached("RELEASE job")?.execute([])?;
        }
        self.commits += 1;
        if let Some(hook) = &self.hook {
            hook(self.commits, false);
        }
        transaction.commit()?;
        if let Some(hook) = &self.hook {
            hook(self.commits, true);
        }
        Ok((leaves, stop))
    }
}

/// One job's transaction: everything it writes is kept, or nothing.
pub(crate) struct Tx<'a> {
    connection: &'a Connection,
    now: Timestamp,
    keys: &'a Keys,
    frontier: &'a Frontier,
    leaves: &'a mut Vec<Leaf>,
    news: &'a mut Vec<News>,
    stop: &'a mut bool,
}

impl Tx<'_> {
    /// The ledger's time of everything this job records.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// What is in the store, this job's own writes included.
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows::new(self.connection)
    }

    pub(super) fn stop(&mut self) {
        *self.stop = true;
    }

    /// Appends an entry to the ledger, its texts sealed beside it.
    pub(crate) fn append(
        &mut self,
        kind: Kind,
        body: &serde_json::Value,
        texts: &[(&str, &[u8])],
    ) -> Result<u64, StoreError> {
        let index = self.frontier.size() + self.leaves.len() as u64;
        let keys = self.keys.texts();
        let refused = |error: String| StoreError::Leaf(error);
        let mut digests = BTreeMap::new();
        for (name, text) in texts {
            let salt = rand::random();
            digests.insert((*name).to_owned(), Digest::of(&salt, text));
            let nonce = rand::random();
            let sealed = SealedText::seal(keys.current(), index, name, &salt, nonce, text)
                .map_err(|e| refused(e.to_string()))?;
            self.execute(
                "INSERT INTO text (idx, name, sealed) VALUES (?1, ?2, ?3)",
                params![index, name, sealed.line()],
            )?;
        }
        let leaf = Leaf::new(index, self.now, kind.name(), body, &digests)
            .map_err(|e| refused(e.to_string()))?;
        self.execute("INSERT INTO leaf (idx, line) VALUES (?1, ?2)", params![index, leaf.line()])?;
        self.leaves.push(leaf);
        Ok(index)
    }

    /// How many entries the ledger has, this job's own included, and their root.
    pub(crate) fn head(&self) -> (u64, Hash) {
        let mut frontier = self.frontier.clone();
        for leaf in self.leaves.iter() {
            frontier.append(leaf.hash());
        }
        (frontier.size(), frontier.root())
    }

    /// Opens a change with its first event.
    pub(crate) fn open_change(
        &mut self,
        event: Event,
        payload: &Payload,
        said: &str,
    ) -> Result<Change, StoreError> {
        let recorded = Recorded { at: self.now, event };
        let change = Change::open(&recorded).ok_or_else(|| {
            StoreError::Unreadable("a change opens with `held` or `forbidden`".into())
        })?;
        let texts: [(&str, &[u8]); 2] =
            [("payload", payload.body.as_bytes()), ("said", said.as_bytes())];
        let request = &change.request;
        self.execute(
            "INSERT INTO change (number, version, open, key, agent, kind, body, text, said) \
             VALUES (?1, 0, 1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                request.number.0,
                request.key.to_string(),
                request.agent.as_str(),
                payload.kind,
                payload.body,
                payload.text,
                said
            ],
        )?;
        self.keep(&change, &recorded, &serde_json::Value::Null, &texts)?;
        Ok(change)
    }

    /// Records what happened to a change, if it may follow, and gives the change after it.
    /// `proof` goes into the entry beside the event: a signed statement, say.
    pub(crate) fn record(
        &mut self,
        number: ChangeNumber,
        event: Event,
        proof: &serde_json::Value,
    ) -> Result<Change, StoreError> {
        let change = self.rows().change(number)?;
        self.record_after(change, event, proof)
    }

    /// As [`Tx::record`], but only if nothing happened since the caller looked.
    pub(crate) fn record_at(
        &mut self,
        number: ChangeNumber,
        version: u64,
        event: Event,
    ) -> Result<Change, StoreError> {
        let change = self.rows().change(number)?;
        if change.version != version {
            return Err(StoreError::Moved(number));
        }
        self.record_after(change, event, &serde_json::Value::Null)
    }

    fn record_after(
        &mut self,
        change: Change,
        event: Event,
        proof: &serde_json::Value,
    ) -> Result<Change, StoreError> {
        let recorded = Recorded { at: self.now, event };
        let after = change.apply(&recorded)?;
        self.keep(&after, &recorded, proof, &[])?;
        Ok(after)
    }

    /// Writes an event of a change: leaf, event row and the change's own row, which must still
    /// be at the version that was folded.
    fn keep(
        &mut self,
        after: &Change,
        recorded: &Recorded,
        proof: &serde_json::Value,
        texts: &[(&str, &[u8])],
    ) -> Result<(), StoreError> {
        let number = after.request.number;
        let entry = record::entry_of(number, after.version, recorded, proof)?;
        let mut all: Vec<(&str, &[u8])> = texts.to_vec();
        all.extend(entry.texts.iter().map(|(name, text)| (*name, text.as_slice())));
        let index = self.append(entry.kind, &entry.body, &all)?;
        self.execute(
            "INSERT INTO event (number, version, idx, event) VALUES (?1, ?2, ?3, ?4)",
            params![number.0, after.version, index, entry.event],
        )?;
        self.news.push(News::of(after, &recorded.event));
        let moved = self.execute(
            "UPDATE change SET version = ?2, open = ?3 WHERE number = ?1 AND version = ?2 - 1",
            params![number.0, after.version, after.state.is_open()],
        )?;
        if moved == 1 { Ok(()) } else { Err(StoreError::Moved(number)) }
    }

    /// Any other statement; for `store::rows`' writers.
    pub(super) fn execute(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<usize, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.execute(values)?)
    }
}
