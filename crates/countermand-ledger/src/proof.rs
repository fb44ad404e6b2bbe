//! One entry, proven to someone who has nothing of the ledger but its public key.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError, VerifyingKey};
use crate::leaf::{Leaf, LeafError};
use crate::tree::{Hash, Tree, TreeError, check_inclusion};

/// An entry with the proof that a signed checkpoint covers it. Written as one JSON object, so that it
/// can be sent by mail and verified offline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// The entry's position, counted from 0.
    pub index: u64,
    /// The number of entries that the checkpoint covers.
    pub size: u64,
    /// The entry's line, without a newline.
    pub leaf: String,
    /// The RFC 6962 audit path, from the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// Why an inclusion proof was not made, or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The checkpoint does not hold.
    #[error("the proof's checkpoint does not hold: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not an entry.
    #[error("the proof's entry does not hold: {0}")]
    Leaf(#[from] LeafError),
    /// The hashes do not lead from the entry to the checkpoint.
    #[error("entry {index} is not proven: {source}")]
    Tree {
        /// The index that the proof claims.
        index: u64,
        /// What does not hold.
        source: TreeError,
    },
    /// The proof says one thing about itself, its entry or its checkpoint another.
    #[error(
        "the proof claims {member} {claimed}, and carries {found}: it was put together wrongly or altered"
    )]
    Contradiction {
        /// `index` or `size`.
        member: &'static str,
        /// What the proof claims.
        claimed: u64,
        /// What the entry or the checkpoint says.
        found: u64,
    },
}

impl InclusionProof {
    /// Proves `leaf` under the signed `checkpoint`. `tree` is the ledger's, as it was when the
    /// checkpoint was signed, or later.
    pub fn new(
        tree: &Tree,
        leaf: &Leaf,
        checkpoint: &str,
        key: &VerifyingKey,
    ) -> Result<Self, ProofError> {
        let (index, size) = (leaf.index(), key.open(checkpoint)?.size);
        let hashes =
            tree.inclusion(index, size).map_err(|source| ProofError::Tree { index, source })?;
        let leaf = leaf.line().to_owned();
        let proof = Self { index, size, leaf, hashes, checkpoint: checkpoint.to_owned() };
        // A tree of other leaves gives hashes too: what does not verify is not handed out.
        proof.verify(key)?;
        Ok(proof)
    }

    /// Verifies the proof with nothing but the public key, and returns the entry that it proves and
    /// the checkpoint that covers it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(Leaf, Checkpoint), ProofError> {
        let checkpoint = key.open(&self.checkpoint)?;
        agree("size", self.size, checkpoint.size)?;
        let leaf = Leaf::parse(self.leaf.as_bytes())?;
        agree("index", self.index, leaf.index())?;
        check_inclusion(&self.hashes, self.size, checkpoint.root, self.index, leaf.hash())
            .map_err(|source| ProofError::Tree { index: self.index, source })?;
        Ok((leaf, checkpoint))
    }
}

fn agree(member: &'static str, claimed: u64, found: u64) -> Result<(), ProofError> {
    if claimed == found {
        Ok(())
    } else {
        Err(ProofError::Contradiction { member, claimed, found })
    }
}
