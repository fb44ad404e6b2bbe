//! The Merkle tree of RFC 6962 over leaf hashes, with both of its proofs.
//!
//! Hashing and proofs are those of `tlog_tiles`; this module owns the storage and makes every
//! input total: nothing a stranger sends makes it panic.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};

/// A SHA-256 hash of a leaf or of a tree. Written in standard base64, as in a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// The root of the tree without leaves: SHA-256 of nothing.
    pub const EMPTY_ROOT: Self = Self(tlog_tiles::EMPTY_HASH.0);

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The RFC 6962 leaf hash: SHA-256 of 0x00 followed by `line`.
    pub fn of_leaf(line: &[u8]) -> Self {
        Self(tlog_tiles::record_hash(line).0)
    }

    /// The RFC 6962 hash of an inner node: SHA-256 of 0x01 followed by both children.
    pub(crate) fn of_children(left: Self, right: Self) -> Self {
        Self(tlog_tiles::node_hash(stored(left), stored(right)).0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| "a hash is not standard base64")?;
        bytes.try_into().map(Self).map_err(|_| "a hash does not have 32 bytes")
    }
}

/// Why a proof was not made, or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The tree has fewer leaves than were asked about.
    #[error("the tree has {size} leaves, and {asked} were asked for")]
    TooSmall {
        /// Leaves in the tree (or in the part of it that the proof is about).
        size: u64,
        /// Leaves it would need to have.
        asked: u64,
    },
    /// The hashes of a proof do not lead to the root: one of the inputs was altered.
    #[error("the proof does not lead to the root: the entry, the proof or the root was altered")]
    Proof,
}

/// A tree that grows by one leaf at a time. It keeps every node in memory, 64 bytes per leaf, and so
/// gives proofs for the present and for every earlier size. To append and sign only, a
/// [`Frontier`](crate::frontier::Frontier) needs next to nothing.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    nodes: Nodes,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a leaf and returns its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size;
        let nodes = tlog_tiles::stored_hashes_for_record_hash(index, stored(leaf), &self.nodes)
            .expect(COMPLETE);
        self.nodes.0.extend(nodes.into_iter().map(|node| Hash(node.0)));
        self.size += 1;
        index
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        self.root_of(self.size)
    }

    /// The root as it was when the tree had `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash, TreeError> {
        self.covers(size)?;
        Ok(self.root_of(size))
    }

    /// The proof that the tree of `size` leaves (this one, or an earlier one) contains leaf `index`.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        self.covers(size)?;
        within(index, size)?;
        let proof = tlog_tiles::prove_record(size, index, &self.nodes).expect(COMPLETE);
        Ok(proof.into_iter().map(|node| Hash(node.0)).collect())
    }

    /// The proof that the tree of `size` leaves begins with the tree of `old` leaves. Empty when
    /// `old` is 0 or `size`.
    pub fn consistency(&self, old: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
        self.covers(size)?;
        if old > size {
            return Err(TreeError::TooSmall { size, asked: old });
        }
        if old == 0 {
            return Ok(Vec::new());
        }
        let proof = tlog_tiles::prove_tree(size, old, &self.nodes).expect(COMPLETE);
        Ok(proof.into_iter().map(|node| Hash(node.0)).collect())
    }

    fn root_of(&self, size: u64) -> Hash {
        Hash(tlog_tiles::tree_hash(size, &self.nodes).expect(COMPLETE).0)
    }

    fn covers(&self, size: u64) -> Result<(), TreeError> {
        if size <= self.size {
            Ok(())
        } else {
            Err(TreeError::TooSmall { size: self.size, asked: size })
        }
    }
}

impl FromIterator<Hash> for Tree {
    /// Rebuilds a tree from its leaf hashes, in order.
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::new();
        for leaf in leaves {
            tree.append(leaf);
        }
        tree
    }
}

/// Checks the proof that the tree of `size` leaves with `root` has `leaf` at `index`.
pub fn check_inclusion(
    proof: &[Hash],
    size: u64,
    root: Hash,
    index: u64,
    leaf: Hash,
) -> Result<(), TreeError> {
    within(index, size)?;
    tlog_tiles::check_record(&stored_proof(proof)?, size, stored(root), index, stored(leaf))
        .map_err(|_| TreeError::Proof)
}

/// Checks the proof that the tree of `size` leaves with `root` begins with the tree of `old` leaves
/// with `old_root`.
pub fn check_consistency(
    proof: &[Hash],
    old: u64,
    old_root: Hash,
    size: u64,
    root: Hash,
) -> Result<(), TreeError> {
    if old > size {
        return Err(TreeError::TooSmall { size, asked: old });
    }
    if old == 0 {
        // Every tree begins with the empty one, so there is nothing to prove.
        let holds = proof.is_empty()
            && old_root == Hash::EMPTY_ROOT
            && (size != 0 || root == Hash::EMPTY_ROOT);
        return if holds { Ok(()) } else { Err(TreeError::Proof) };
    }
    tlog_tiles::check_tree(&stored_proof(proof)?, size, stored(root), old, stored(old_root))
        .map_err(|_| TreeError::Proof)
}

const COMPLETE: &str = "a tree holds every node of every size it ever had";

/// More than any tree needs (64 levels, and one more hash for consistency). The library copies the
/// proof on every level, so a stranger's proof is bounded before it gets there.
const MAX_PROOF_HASHES: usize = 65;

fn within(index: u64, size: u64) -> Result<(), TreeError> {
    if index < size {
        Ok(())
    } else {
        Err(TreeError::TooSmall { size, asked: index.saturating_add(1) })
    }
}

fn stored(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

fn stored_proof(proof: &[Hash]) -> Result<Vec<tlog_tiles::Hash>, TreeError> {
    if proof.len() > MAX_PROOF_HASHES {
        return Err(TreeError::Proof);
    }
    Ok(proof.iter().copied().map(stored).collect())
}

/// All nodes, leaves and inner, in the order in which appending completes them.
#[derive(Debug, Clone, Default)]
struct Nodes(Vec<Hash>);

impl tlog_tiles::HashReader for Nodes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let node = |&at: &u64| {
            let node = usize::try_from(at).ok().and_then(|at| self.0.get(at));
            node.copied().map(stored).ok_or(tlog_tiles::Error::IndexesNotInTree)
        };
        indexes.iter().map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// The definition of RFC 6962, section 2.1, word for word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash(Sha256::digest([]).into()),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let mut hasher = Sha256::new_with_prefix([1]);
                hasher.update(naive_root(&leaves[..split]).0);
                hasher.update(naive_root(&leaves[split..]).0);
                Hash(hasher.finalize().into())
            }
        }
    }

    fn hashes(n: u64) -> Vec<Hash> {
        (0..n).map(|i| Hash::of_leaf(&i.to_be_bytes())).collect()
    }

    fn hash(hex: &str) -> Hash {
        Hash(hex::decode(hex).unwrap().try_into().unwrap())
    }

    /// The eight leaves, roots and paths with which the Certificate Transparency code tests itself.
    fn published() -> Tree {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        leaves.iter().map(|leaf| Hash::of_leaf(&hex::decode(leaf).unwrap())).collect()
    }

    #[test]
    fn published_roots() {
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let tree = published();
        for (size, root) in roots.iter().enumerate() {
            assert_eq!(tree.root_at(size as u64), Ok(hash(root)), "size {size}");
        }
    }

    #[test]
    fn published_proofs() {
        let tree = published();
        let first = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        let sixth = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        let six_to_eight = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(tree.inclusion(0, 8).unwrap(), first.map(hash));
        assert_eq!(tree.inclusion(5, 8).unwrap(), sixth.map(hash));
        assert_eq!(tree.consistency(6, 8).unwrap(), six_to_eight.map(hash));
    }

    #[test]
    fn strangers_numbers_are_refused_not_fatal() {
        let any = Hash::EMPTY_ROOT;
        for (index, size) in [(0, 0), (8, 8), (u64::MAX, u64::MAX), (0, u64::MAX)] {
            for length in [0, 1, 63, 64, 65, 100_000] {
                let proof = vec![any; length];
                assert!(check_inclusion(&proof, size, any, index, any).is_err());
            }
        }
        for (old, size) in [(1, 0), (1, u64::MAX), (u64::MAX - 1, u64::MAX)] {
            for length in [0, 1, 64, 65, 100_000] {
                let proof = vec![any; length];
                assert!(check_consistency(&proof, old, any, size, any).is_err());
            }
        }
        let tree = published();
        assert_eq!(tree.inclusion(8, 8), Err(TreeError::TooSmall { size: 8, asked: 9 }));
        assert_eq!(tree.inclusion(0, 9), Err(TreeError::TooSmall { size: 8, asked: 9 }));
        assert_eq!(tree.consistency(8, 9), Err(TreeError::TooSmall { size: 8, asked: 9 }));
        assert_eq!(tree.consistency(8, 7), Err(TreeError::TooSmall { size: 7, asked: 8 }));
        assert_eq!(tree.root_at(9), Err(TreeError::TooSmall { size: 8, asked: 9 }));
    }

    #[test]
    fn the_empty_tree_begins_every_tree() {
        let tree = published();
        let root = tree.root();
        assert_eq!(tree.consistency(0, 8), Ok(vec![]));
        assert_eq!(check_consistency(&[], 0, Hash::EMPTY_ROOT, 8, root), Ok(()));
        assert_eq!(check_consistency(&[], 0, root, 8, root), Err(TreeError::Proof));
        assert_eq!(check_consistency(&[root], 0, Hash::EMPTY_ROOT, 8, root), Err(TreeError::Proof));
        assert_eq!(check_consistency(&[], 0, Hash::EMPTY_ROOT, 0, root), Err(TreeError::Proof));
    }

    #[test]
    fn hash_text_round_trips_and_is_strict() {
        let text = serde_json::to_string(&Hash::EMPTY_ROOT).unwrap();
        assert_eq!(text, "\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"");
        assert_eq!(serde_json::from_str::<Hash>(&text).unwrap(), Hash::EMPTY_ROOT);
        for bad in ["\"\"", "\"47DE\"", "\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\"", "7"] {
            assert!(serde_json::from_str::<Hash>(bad).is_err(), "accepted {bad}");
        }
    }

    proptest! {
        #[test]
        fn roots_are_those_of_the_definition(size in 0_u64..200) {
            let leaves = hashes(size);
            let tree: Tree = leaves.iter().copied().collect();
            prop_assert_eq!(tree.size(), size);
            prop_assert_eq!(tree.root(), naive_root(&leaves));
            for earlier in 0..=size {
                let leaves = &leaves[..earlier as usize];
                prop_assert_eq!(tree.root_at(earlier).unwrap(), naive_root(leaves));
            }
        }

        #[test]
        fn inclusion_holds_for_its_leaf_only(size in 1_u64..200, pick: u64, other: u64, at: usize) {
            let (leaves, index) = (hashes(200), pick % size);
            let tree: Tree = leaves.iter().copied().collect();
            let (root, leaf) = (tree.root_at(size).unwrap(), leaves[index as usize]);
            let mut proof = tree.inclusion(index, size).unwrap();
            prop_assert_eq!(check_inclusion(&proof, size, root, index, leaf), Ok(()));

            let wrong = leaves[((index + 1 + other % 199) % 200) as usize];
            prop_assert!(check_inclusion(&proof, size, root, index, wrong).is_err());
            prop_assert!(check_inclusion(&proof, size, wrong, index, leaf).is_err());
            let elsewhere = (index + 1 + other % size) % size;
            if elsewhere != index {
                prop_assert!(check_inclusion(&proof, size, root, elsewhere, leaf).is_err());
            }
            if !proof.is_empty() {
                let at = at % proof.len();
                proof[at].0[0] ^= 1;
                prop_assert!(check_inclusion(&proof, size, root, index, leaf).is_err());
                proof.remove(at);
                prop_assert!(check_inclusion(&proof, size, root, index, leaf).is_err());
            }
        }

        #[test]
        fn consistency_holds_for_its_prefix_only(size in 1_u64..200, pick: u64, at: usize) {
            let old = 1 + pick % size;
            let tree: Tree = hashes(200).into_iter().collect();
            let (old_root, root) = (tree.root_at(old).unwrap(), tree.root_at(size).unwrap());
            let mut proof = tree.consistency(old, size).unwrap();
            prop_assert_eq!(check_consistency(&proof, old, old_root, size, root), Ok(()));

            let forked: Tree = (0..old).map(|i| Hash::of_leaf(&[i as u8])).collect();
            prop_assert!(check_consistency(&proof, old, forked.root(), size, root).is_err());
            if !proof.is_empty() {
                let at = at % proof.len();
                proof[at].0[31] ^= 1;
                prop_assert!(check_consistency(&proof, old, old_root, size, root).is_err());
                proof.remove(at);
                prop_assert!(check_consistency(&proof, old, old_root, size, root).is_err());
            }
        }
    }
}
