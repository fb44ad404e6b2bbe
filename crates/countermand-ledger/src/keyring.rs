//! Which keys may have signed a ledger's checkpoints: a key that is replaced vouches for the next.
//!
//! The ledger itself tells the story. An entry [`CHANGED`] names the old and the new key; the entry
//! after it, [`VOUCHED`], carries a checkpoint over all entries up to that one, signed by both. So
//! the old key has signed a tree in which the new key stands, and whoever trusts either follows the
//! other. A key that was lost vouches for nothing: then the second entry is missing, and it is said.
//!
//! A retired key counts no further than the entry that retires it. Otherwise whoever finds an old key
//! could write on.

use serde::Serialize;

use crate::checkpoint::{Checkpoint, CheckpointError, VerifyingKey};
use crate::leaf::Leaf;
use crate::tree::Tree;

/// The kind of the entry that names the old and the new key: `{"from", "to"}`, each a vkey. `from` is
/// null where nobody knows it any more.
pub const CHANGED: &str = "ledger.key_changed";

/// The kind of the entry after it, `{"checkpoint"}`: signed by both keys, over all entries up to
/// [`CHANGED`]. There is none where the old key was lost.
pub const VOUCHED: &str = "ledger.key_vouched";

/// That the ledger's key was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    /// The entry that says so.
    pub index: u64,
    /// The vkey until then, where it is known.
    pub from: Option<String>,
    /// The vkey from then on.
    pub to: String,
    /// Whether the old key signed for the new one. If not, only whoever says so vouches for it.
    pub vouched: bool,
    #[serde(skip)]
    handover: Option<String>,
}

/// Why entries about keys are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeError {
    /// An entry does not say what such an entry says.
    #[error("entry {0} is about the ledger's key, and does not say what such an entry says")]
    Malformed(u64),
    /// The checkpoint that both keys should have signed does not hold.
    #[error("entry {index}: the old key does not vouch for the new one: {source}")]
    Handover {
        /// The entry that names both.
        index: u64,
        /// What is wrong with the checkpoint.
        source: CheckpointError,
    },
    /// It holds, and is about other entries.
    #[error("entry {0}: what both keys signed are not the entries that are here")]
    Elsewhere(u64),
}

/// The changes of a ledger's key, read entry by entry.
#[derive(Debug, Default)]
pub struct KeyChanges(Vec<KeyChange>);

impl KeyChanges {
    /// Takes in what the next entry says.
    ///
    /// # Errors
    /// [`KeyChangeError::Malformed`] for an entry about keys that says something else.
    pub fn read(&mut self, leaf: &Leaf) -> Result<(), KeyChangeError> {
        let index = leaf.index();
        let malformed = KeyChangeError::Malformed(index);
        let text = |name| leaf.body().get(name).and_then(|value| value.as_str()).map(str::to_owned);
        match leaf.kind() {
            CHANGED => {
                let (from, to) = (text("from"), text("to").ok_or(malformed)?);
                self.0.push(KeyChange { index, from, to, vouched: false, handover: None });
            }
            VOUCHED => {
                let last = self.0.last_mut().filter(|last| last.index + 1 == index);
                let (last, note) = last.zip(text("checkpoint")).ok_or(malformed)?;
                (last.vouched, last.handover) = (true, Some(note));
            }
            _ => {}
        }
        Ok(())
    }

    /// Them, in order.
    pub fn all(&self) -> &[KeyChange] {
        &self.0
    }

    /// The keys to believe, for someone who trusts this one. `tree` is over all entries read.
    ///
    /// # Errors
    /// [`KeyChangeError`] where a key is said to be vouched for and is not.
    pub fn keyring(&self, trusted: &VerifyingKey, tree: &Tree) -> Result<Keyring, KeyChangeError> {
        for change in self.0.iter().filter(|change| change.vouched) {
            change.check(tree)?;
        }
        let mut ring = Keyring {
            keys: vec![Held { key: trusted.clone(), until: None }],
            unvouched: None,
            trusted: trusted.clone(),
        };
        let begun = self.0.iter().rposition(|change| change.to == trusted.vkey());
        let (before, after) = self.0.split_at(begun.map_or(0, |at| at + 1));
        ring.reach_back(before);
        ring.reach_on(after);
        Ok(ring)
    }
}

impl KeyChange {
    /// How many entries the old key may have signed for: with the one that retires it, where it did.
    fn reach(&self) -> u64 {
        self.index + u64::from(self.vouched)
    }

    fn check(&self, tree: &Tree) -> Result<(), KeyChangeError> {
        let index = self.index;
        let refused = |source| KeyChangeError::Handover { index, source };
        let from = self.from.as_deref().ok_or(KeyChangeError::Malformed(index))?;
        for vkey in [from, &self.to] {
            let key = VerifyingKey::parse(vkey).map_err(refused)?;
            let note = self.handover.as_deref().unwrap_or_default();
            let said = key.open(note).map_err(refused)?;
            if said.size != index + 1 || tree.root_at(said.size) != Ok(said.root) {
                return Err(KeyChangeError::Elsewhere(index));
            }
        }
        Ok(())
    }
}

/// Keys that may have signed a ledger's checkpoints, each up to a size.
#[derive(Debug, Clone)]
pub struct Keyring {
    trusted: VerifyingKey,
    keys: Vec<Held>,
    /// The entry that puts another key in the place of a trusted one, which did not vouch for it.
    unvouched: Option<u64>,
}

#[derive(Debug, Clone)]
struct Held {
    key: VerifyingKey,
    /// The largest size that it may have signed.
    until: Option<u64>,
}

impl Keyring {
    /// Opens a checkpoint that one of the keys signed while it counted.
    ///
    /// # Errors
    /// [`CheckpointError`], of the key that fits best.
    pub fn open(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let mut refused = CheckpointError::NotSigned(self.trusted.vkey().to_owned());
        if let Some(index) = self.unvouched {
            refused = CheckpointError::Replaced { vkey: self.trusted.vkey().to_owned(), index };
        }
        for Held { key, until } in &self.keys {
            match (key.open(note), until) {
                (Ok(said), Some(until)) if said.size > *until => {
                    let vkey = key.vkey().to_owned();
                    refused = CheckpointError::Retired { vkey, until: *until, size: said.size };
                }
                (Err(CheckpointError::NotSigned(_)), _) => {}
                (opened, _) => return opened,
            }
        }
        Err(refused)
    }

    /// A trusted key says which one was before it.
    fn reach_back(&mut self, changes: &[KeyChange]) {
        let mut next = self.trusted.vkey().to_owned();
        for change in changes.iter().rev() {
            let from = change.from.as_deref().filter(|_| change.to == next);
            let Some(key) = from.and_then(|from| VerifyingKey::parse(from).ok()) else { return };
            next = key.vkey().to_owned();
            self.keys.push(Held { key, until: Some(change.reach()) });
        }
    }

    /// A trusted key signed for the one after it, and is retired with that.
    fn reach_on(&mut self, changes: &[KeyChange]) {
        for change in changes {
            let Some(now) = self.keys.first_mut() else { return };
            if change.from.as_deref().is_some_and(|from| from != now.key.vkey()) {
                return;
            }
            now.until = Some(change.reach());
            let to = VerifyingKey::parse(&change.to).ok().filter(|_| change.vouched);
            let Some(key) = to else {
                self.unvouched = Some(change.index);
                return;
            };
            self.keys.insert(0, Held { key, until: None });
        }
    }
}
