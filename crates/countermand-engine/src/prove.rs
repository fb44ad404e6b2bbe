//! One entry, proven to someone who trusts nothing here.

use crate::control::EntryProof;
use crate::engine::Engine;
use crate::store::StoreError;
use countermand_ledger::leaf::Leaf;
use countermand_ledger::proof::InclusionProof;

impl Engine {
    /// The proof that the newest checkpoint covers this entry.
    ///
    /// # Errors
    /// In words, where it does not: it is newer, or there is no such entry.
    pub(crate) fn prove(&self, index: u64) -> Result<EntryProof, StoreError> {
        let size = *self.0.store.size().borrow();
        if index >= size {
            let words = format!("there is no entry {index}: the ledger has {size}, from 0 on");
            return Err(StoreError::Refused(words));
        }
        let newer = || {
            StoreError::Refused(format!(
                "entry {index} is newer than the last checkpoint: ask again within a minute, or \
                 publish one with `countermand ledger prove {index}`"
            ))
        };
        let (checkpoint, lines) =
            self.0.store.read(|rows| Ok((rows.newest_checkpoint()?, rows.leaves(index, 1)?)))?;
        let (checkpoint, line) = (checkpoint.ok_or_else(newer)?, lines.first().ok_or_else(newer)?);
        let unreadable = |error: &dyn std::fmt::Display| StoreError::Unreadable(error.to_string());
        let leaf = Leaf::parse(line.as_bytes()).map_err(|error| unreadable(&error))?;
        let key = self.0.keys.signing().verifying_key().clone();
        // One that another key signed proves nothing under this one: the next is signed with it.
        let covers = key.open(&checkpoint).map_err(|_| newer())?.size;
        if index >= covers {
            return Err(newer());
        }
        let tree = self.0.publisher.still();
        let proof = InclusionProof::new(tree.tree(), &leaf, &checkpoint, &key)
            .map_err(|error| unreadable(&error))?;
        drop(tree);
        let document = serde_json::to_string(&proof).map_err(|error| unreadable(&error))?;
        Ok(EntryProof {
            index,
            size: proof.size,
            hash: leaf.hash().to_string(),
            path: proof.hashes.iter().map(ToString::to_string).collect(),
            checkpoint: proof.checkpoint,
            document,
        })
    }
}
