//! The ledger as files: what an auditor gets. Written after the store, from the same bytes.

use crate::engine::Engine;
use crate::store::StoreError;
use countermand_ledger::leaf::Leaf;
use countermand_ledger::segment::{self, SEGMENT_LEAVES};
use countermand_ledger::text;
use countermand_ledger::tree::{Hash, Tree};
use jiff::SignedDuration;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a checkpoint is published, by the engine's clock.
const EVERY: SignedDuration = SignedDuration::from_secs(60);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Writes ledger files, one at a time.
pub(crate) struct Publisher {
    folder: PathBuf,
    state: Mutex<Published>,
    /// The key at hand is one that the ledger has retired.
    halted: AtomicBool,
}

/// What is in the files.
#[derive(Default)]
pub(crate) struct Published {
    /// The tree over what was read; rebuilt from the store at the first use.
    tree: Tree,
    /// Entries that were written; behind the tree after a write that failed.
    written: u64,
    /// Segments of whose texts some were erased since they were written. After a start everything is
    /// written anew.
    outdated: BTreeSet<u64>,
}

impl Published {
    /// The tree over what was published.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Publisher {
    pub(crate) fn new(folder: PathBuf) -> Publisher {
        Publisher { folder, state: Mutex::default(), halted: AtomicBool::new(false) }
    }

    /// Signs nothing more before the next start, which finds the right key.
    pub(crate) fn halt(&self) {
        self.halted.store(true, Ordering::SeqCst);
    }

    /// Has the texts of these entries' segments written again with the next checkpoint.
    pub(crate) fn outdate(&self, entries: impl Iterator<Item = u64>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outdated.extend(entries.map(segment::first_index));
    }

    /// Keeps everybody from signing until what this gives is dropped: while the key is replaced.
    pub(crate) fn still(&self) -> MutexGuard<'_, Published> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Publishes a checkpoint every minute, until told to stop.
    pub(crate) async fn keep_publishing(self) {
        let mut stopping = self.0.stopping.subscribe();
        // Where a minute is shorter it is a demonstration's, or a test's.
        let every = EVERY * self.0.clock.speed().max(1);
        loop {
            let began = self.0.clock.now();
            if let Err(error) = self.publish_checkpoint().await {
                tracing::error!(%error, "the checkpoint could not be published");
            }
            while self.0.clock.now().duration_since(began) < every {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
            }
        }
    }

    /// Signs and publishes what the ledger has now. Gives the note.
    pub(crate) async fn publish_checkpoint(&self) -> Result<String, StoreError> {
        self.flush_batch().await;
        let engine = self.clone();
        let written = tokio::task::spawn_blocking(move || engine.write_files()).await;
        let (size, note) = written.map_err(|_| StoreError::Stopped)??;
        let kept = note.clone();
        self.0.store.write(move |tx| tx.put_checkpoint(size, &kept)).await?;
        self.0.metrics.published(size, self.0.clock.now());
        Ok(note)
    }

    fn write_files(&self) -> Result<(u64, String), StoreError> {
        let publisher = &self.0.publisher;
        let mut state = publisher.state.lock().unwrap_or_else(PoisonError::into_inner);
        if publisher.halted.load(Ordering::SeqCst) {
            let why = "the key of checkpoints is not in its place: start the gateway anew";
            return Err(StoreError::Refused(why.to_owned()));
        }
        let Published { tree, written, outdated } = &mut *state;
        let lines = self.0.store.read(|rows| rows.leaves(tree.size(), u64::MAX))?;
        let folder = &publisher.folder;
        for name in ["segments", "texts", "checkpoints"] {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder.join(name)).map_err(failed)?;
        }
        for line in &lines {
            tree.append(Hash::of_leaf(line.as_bytes()));
        }
        self.write_segments(folder, *written, tree.size())?;
        *written = tree.size();
        while let Some(first) = outdated.first().copied() {
            self.write_texts(folder, first, (first + SEGMENT_LEAVES).min(tree.size()))?;
            outdated.remove(&first);
        }
        let at = lines.last().and_then(|line| Leaf::parse(line.as_bytes()).ok());
        let at = at.map_or_else(|| self.0.clock.now(), |leaf| leaf.at().max(self.0.clock.now()));
        let signing = self.0.keys.signing();
        let note = signing.sign(tree.size(), tree.root(), at);
        let note = note.map_err(|error| StoreError::Leaf(error.to_string()))?;
        let vkey = format!("{}\n", signing.verifying_key().vkey());
        replace(&folder.join("ledger.pub"), vkey.as_bytes())?;
        replace(&folder.join(format!("checkpoints/{:012}", tree.size())), note.as_bytes())?;
        replace(&folder.join("checkpoint"), note.as_bytes())?;
        Ok((tree.size(), note))
    }

    /// Writes every segment that has an entry in `from..to`, whole: a torn file of an earlier
    /// stop is mended by the way it is always written.
    fn write_segments(&self, folder: &Path, from: u64, to: u64) -> Result<(), StoreError> {
        let mut first = segment::first_index(from);
        while first < to {
            let end = (first + SEGMENT_LEAVES).min(to);
            let name = segment::file_name(first);
            // One that is full may have been moved away: what is in it lies there.
            let full = end - first == SEGMENT_LEAVES;
            if !full || !folder.join(segment::moved_name(&name)).exists() {
                self.write_segment(folder, first, end)?;
            }
            self.write_texts(folder, first, end)?;
            first += SEGMENT_LEAVES;
        }
        Ok(())
    }

    fn write_segment(&self, folder: &Path, first: u64, end: u64) -> Result<(), StoreError> {
        let lines = self.0.store.read(|rows| rows.leaves(first, end - first))?;
        replace(&folder.join(segment::file_name(first)), joined(&lines).as_bytes())
    }

    fn write_texts(&self, folder: &Path, first: u64, end: u64) -> Result<(), StoreError> {
        let texts = self.0.store.read(|rows| rows.texts(first, end))?;
        replace(&folder.join(text::file_name(first)), joined(&texts).as_bytes())
    }
}

fn joined(lines: &[String]) -> String {
    let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Writes a file beside its place, syncs it, and moves it there.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(&beside).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn failed(error: std::io::Error) -> StoreError {
    StoreError::Leaf(format!("the ledger's files cannot be written: {error}"))
}
