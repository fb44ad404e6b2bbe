//! The right edge of the tree: all that a writer needs to append and to sign.

use serde::{Deserialize, Serialize};

use crate::tree::Hash;

/// A tree of which only the roots of its whole subtrees are kept, at most 64 hashes however many
/// leaves it has. Appending is constant work on average, and a copy costs next to nothing: append to
/// a copy, and put it in the original's place once the leaf is durable. It can be stored and read
/// back, so that a writer need not read its whole ledger to go on. It gives no proofs; for those,
/// build a [`Tree`](crate::tree::Tree) from the leaf hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Frontier {
    size: u64,
    /// One root per set bit of `size`, the largest subtree first.
    edge: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a leaf and returns its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.size;
        let mut node = leaf;
        // Each trailing one bit of the size is a whole subtree that the new leaf makes part of a
        // larger one.
        for _ in 0..index.trailing_ones() {
            let left = self.edge.pop().expect("there is one root per set bit of the size");
            node = Hash::of_children(left, node);
        }
        self.edge.push(node);
        self.size += 1;
        index
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let smallest_first = self.edge.iter().rev().copied();
        smallest_first
            .reduce(|right, left| Hash::of_children(left, right))
            .unwrap_or(Hash::EMPTY_ROOT)
    }
}

impl FromIterator<Hash> for Frontier {
    /// The frontier of the tree with these leaf hashes, in order.
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut frontier = Self::new();
        for leaf in leaves {
            frontier.append(leaf);
        }
        frontier
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    size: u64,
    edge: Vec<Hash>,
}

impl TryFrom<Stored> for Frontier {
    type Error = &'static str;

    fn try_from(Stored { size, edge }: Stored) -> Result<Self, Self::Error> {
        if edge.len() == size.count_ones() as usize {
            Ok(Self { size, edge })
        } else {
            Err("a frontier has one hash per set bit of its size: rebuild it from the leaves")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::Tree;

    #[test]
    fn agrees_with_the_tree_at_every_size() {
        let (mut frontier, mut tree) = (Frontier::new(), Tree::new());
        for size in 0..600_u64 {
            assert_eq!((frontier.size(), frontier.root()), (size, tree.root()));
            let leaf = Hash::of_leaf(&size.to_be_bytes());
            assert_eq!(frontier.append(leaf), tree.append(leaf));
        }
    }

    proptest! {
        #[test]
        fn goes_on_where_it_was_stored(before in 0_u64..300, after in 0_u64..300) {
            let leaf = |i: u64| Hash::of_leaf(&i.to_be_bytes());
            let frontier: Frontier = (0..before).map(leaf).collect();
            let stored = serde_json::to_string(&frontier).unwrap();
            let mut read: Frontier = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(&read, &frontier);
            for index in before..before + after {
                prop_assert_eq!(read.append(leaf(index)), index);
            }
            prop_assert_eq!(read, (0..before + after).map(leaf).collect());
        }
    }

    #[test]
    fn what_cannot_be_a_frontier_is_refused() {
        for stored in [
            r#"{"size":1,"edge":[]}"#,
            r#"{"size":0,"edge":["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]}"#,
            r#"{"size":18446744073709551615,"edge":[]}"#,
        ] {
            let error = serde_json::from_str::<Frontier>(stored).unwrap_err().to_string();
            assert!(error.contains("one hash per set bit"), "{error}");
        }
    }
}
