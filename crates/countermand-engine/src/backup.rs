//! A copy of the gateway's memory, and how a gateway goes on from one.
//!
//! A copy is older than what was lost. Whatever was open in it may have been executed since, whoever
//! was let in may have been put out since, and what was signed may have been used. So nothing of
//! that counts after it was brought back: humans begin again, and nothing flows before they say so.

use crate::clock::Clock;
use crate::control::{Reply, Scope};
use crate::engine::Engine;
use crate::home::{Home, HomeError};
use crate::kind::Kind;
use crate::standing;
use crate::store::{Store, StoreError, Tx};
use countermand_core::change::{Event, State};
use countermand_ledger::checkpoint::CheckpointError;
use countermand_ledger::keyring::{KeyChangeError, KeyChanges};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::tree::{Hash, Tree};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Why a copy is not used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Its keys.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A checkpoint of another ledger, or an altered one.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// What it says of its keys does not hold.
    #[error(transparent)]
    KeyChange(#[from] KeyChangeError),
    /// It is not what its checkpoint says.
    #[error(
        "the copy does not fit its own checkpoint: it was altered or damaged; take another copy"
    )]
    Altered,
    /// It tells another history than a checkpoint that was kept elsewhere.
    #[error(
        "the copy's first {0} entries are not those of the checkpoint that was kept: somebody rewrote \
         one of them; keep both, and find out who"
    )]
    Rewritten(u64),
}

/// What is in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Entries of its ledger.
    pub entries: u64,
    /// When it was made.
    pub made: Timestamp,
    /// The number of its last change.
    pub last_change: u64,
    /// Entries that a checkpoint kept elsewhere covers and the copy does not have.
    pub lost: u64,
}

/// Reads a copy back: every entry, against the checkpoint that was signed over the copy, and against
/// one that was `kept` elsewhere.
///
/// # Errors
/// [`BackupError`] where it is not whole.
pub fn read_back(home: &Home, note: &str, kept: Option<&str>) -> Result<Contents, BackupError> {
    let keys = home.keys()?;
    let (lines, last_change) = Store::look_into(&home.store(), |rows| {
        Ok((rows.leaves(0, u64::MAX)?, rows.next_number()?.0.saturating_sub(1)))
    })?;
    let (mut tree, mut changes) = (Tree::new(), KeyChanges::default());
    for line in lines {
        let leaf = Leaf::parse(line.as_bytes()).map_err(|_| BackupError::Altered)?;
        changes.read(&leaf)?;
        tree.append(leaf.hash());
    }
    let signing = keys.signing();
    let ring = changes.keyring(signing.verifying_key(), &tree)?;
    let own = ring.open(note)?;
    if tree.size() != own.size || tree.root() != own.root {
        return Err(BackupError::Altered);
    }
    let mut lost = 0;
    if let Some(kept) = kept {
        let kept = ring.open(kept)?;
        lost = kept.size.saturating_sub(own.size);
        if lost == 0 && tree.root_at(kept.size) != Ok(kept.root) {
            return Err(BackupError::Rewritten(kept.size));
        }
    }
    Ok(Contents { entries: own.size, made: own.at, last_change, lost })
}

/// What became of what was open in a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Revived {
    /// Changes that waited: withdrawn.
    pub withdrawn: Vec<u64>,
    /// Changes that ran: nobody knows how they ended.
    pub in_doubt: Vec<u64>,
    /// Agents whose credential has ended.
    pub revoked: Vec<String>,
    /// Standing approvals that have ended.
    pub standings: u64,
}

/// Makes a copy fit to go on from, in one transaction: everything frozen, nothing open, nobody let in,
/// nothing signed beforehand.
///
/// # Errors
/// [`BackupError`]; the copy is as it was.
pub async fn revive(home: &Home, contents: &Contents) -> Result<Revived, BackupError> {
    let lock = home.lock()?;
    Store::unmark(&home.store())?;
    let store = Store::open(&home.store(), Clock::system(), Arc::new(home.keys()?), None, None)?;
    let contents = *contents;
    let revived = store.write(move |tx| begin_again(tx, &contents)).await;
    store.stop();
    drop(store);
    // All of it in the one file, which is what is moved to its place.
    Store::fold_log(&home.store())?;
    drop(lock);
    Ok(revived?)
}

fn begin_again(tx: &mut Tx<'_>, contents: &Contents) -> Result<Revived, StoreError> {
    let why = format!("the gateway was restored from a copy of {}", contents.made);
    let body = json!({ "entries": contents.entries, "made": contents.made, "lost": contents.lost });
    tx.append(Kind::GatewayRestored, &body, &[])?;
    let scope = Scope::Everything.to_string();
    tx.put_frozen(&scope, &why)?;
    tx.append(
        Kind::FreezeOn,
        &json!({ "scope": scope, "by": "restore" }),
        &[("reason", why.as_bytes())],
    )?;
    let mut revived = Revived::default();
    for number in tx.rows().numbers(true)? {
        // Its token would tell how this attempt ended, and nothing of those that came after it.
        let event = match tx.rows().change(number)?.state {
            State::Held | State::Forbidden => {
                revived.withdrawn.push(number.0);
                Event::Withdrawn { by: why.clone() }
            }
            _ => {
                revived.in_doubt.push(number.0);
                let why = format!("{why}, in which it was running; a human must look");
                Event::InDoubt { why, stale: true }
            }
        };
        tx.record(number, event, &Value::Null)?;
    }
    for agent in tx.rows().agents()?.into_iter().filter(|agent| !agent.revoked) {
        tx.revoke_agent(&agent.name)?;
        tx.forget_conduct(&agent.name)?;
        tx.append(Kind::AgentRevoked, &json!({ "agent": agent.name, "by": "restore" }), &[])?;
        revived.revoked.push(agent.name.to_string());
    }
    for standing in tx.rows().standings()? {
        revived.standings += u64::from(standing::end(tx, standing.number, &why)?);
    }
    if let Some(waiting) = tx.rows().waiting_configuration()? {
        let body = json!({ "configuration": waiting.number, "why": why });
        let idx = tx.append(Kind::ConfigStopped, &body, &[])?;
        tx.end_configuration(waiting.number, &why, idx)?;
    }
    tx.forget_nonces()?;
    Ok(revived)
}

/// Removes copies that nobody took away: whoever asked for them is gone.
pub(crate) fn clear_left_over(home: &Home) {
    for entry in std::fs::read_dir(&home.path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("backup-") && name.ends_with(".sqlite") {
            // One that stays is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Engine {
    /// Copies the store as it is at one moment into a new file of the state directory, and signs a
    /// checkpoint over exactly that.
    pub(crate) async fn backup(&self, by: String) -> Result<Reply, StoreError> {
        self.flush_batch().await;
        let body = json!({ "by": by });
        self.0.store.write(move |tx| tx.append(Kind::GatewayBackedUp, &body, &[])).await?;
        let engine = self.clone();
        let copied = tokio::task::spawn_blocking(move || engine.copy_store()).await;
        copied.map_err(|_| StoreError::Stopped)?
    }

    fn copy_store(&self) -> Result<Reply, StoreError> {
        let _still = self.0.publisher.still();
        let name = format!("backup-{:016x}.sqlite", rand::random::<u64>());
        let file = self.0.home.path.join(name);
        self.0.store.copy_to(&file)?;
        let tree = Store::look_into(&file, |rows| {
            let mut tree = Tree::new();
            for line in rows.leaves(0, u64::MAX)? {
                tree.append(Hash::of_leaf(line.as_bytes()));
            }
            Ok(tree)
        })?;
        let note = self.0.keys.signing().sign(tree.size(), tree.root(), self.0.clock.now());
        let checkpoint = note.map_err(|error| StoreError::Leaf(error.to_string()))?;
        Ok(Reply::Backup { store: file, checkpoint })
    }
}
