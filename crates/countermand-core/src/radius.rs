//! The blast radius: a graph of what would be lost, changed or made unavailable.

use crate::action::Object;
use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is gone afterwards, or its rows are.
    Lost,
    /// It stays, changed.
    Changed,
    /// It stays, but nobody can use it for a while.
    Unavailable,
    /// It stays, but what it refers to by name is gone.
    Dangling,
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fate::Lost => "lost",
            Fate::Changed => "changed",
            Fate::Unavailable => "unavailable",
            Fate::Dangling => "left dangling",
        })
    }
}

/// One object in the radius.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub object: Object,
    /// What becomes of it.
    pub fate: Fate,
    /// Whether the request names it; otherwise it was reached over an edge.
    pub root: bool,
    /// Rows that would be lost or changed, where the object has rows.
    pub rows: Option<u64>,
    /// Bytes it takes on disk, where it takes any.
    pub bytes: Option<u64>,
    /// The site's tags on it.
    pub tags: BTreeSet<String>,
    /// Digest of its definition as the target describes it.
    pub definition: Digest,
}

/// Why one object of the radius pulls in another. Indices into [`BlastRadius::nodes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The object that goes first.
    pub from: usize,
    /// The object that goes with it.
    pub to: usize,
    /// In the target's words: `contains`, `foreign key`, `view of`, ….
    pub why: String,
}

/// A lock that would be held, and what waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// On what.
    pub object: Object,
    /// The target's name for the mode.
    pub mode: String,
    /// Who waits, in words: `reads and writes`, `writes`.
    pub blocks: String,
    /// How long, in milliseconds; an estimate.
    pub millis: u64,
}

/// What would be lost, changed or made unavailable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlastRadius {
    /// Every object touched; those the request names come first.
    pub nodes: Vec<Node>,
    /// Why each of the others is here.
    pub edges: Vec<Edge>,
    /// What would be locked.
    pub locks: Vec<Lock>,
}

impl BlastRadius {
    /// The objects the request names. What cascades from them is radius.
    pub fn roots(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.root)
    }

    /// Rows lost or changed, over all objects.
    pub fn rows(&self) -> u64 {
        self.nodes.iter().filter_map(|node| node.rows).fold(0, u64::saturating_add)
    }

    /// Bytes on disk of what is lost or changed.
    pub fn bytes(&self) -> u64 {
        self.nodes.iter().filter_map(|node| node.bytes).fold(0, u64::saturating_add)
    }

    /// Counts by kind of the objects with this fate: `3 tables, 1 view`.
    fn census(&self, fate: Fate) -> String {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.fate == fate) {
            *kinds.entry(&node.object.kind).or_default() += 1;
        }
        let shown = ["database", "schema", "table", "view", "materialized view", "function"];
        let rank = |kind: &str| shown.iter().position(|k| *k == kind).unwrap_or(shown.len());
        let mut counts: Vec<_> = kinds.into_iter().collect();
        counts.sort_by_key(|(kind, _)| (rank(kind), *kind));
        let words: Vec<String> = counts.iter().map(|(kind, n)| plural(*n, kind)).collect();
        words.join(", ")
    }

    /// One line for a refusal: `destroy schema billing: 1 schema, 3 tables, 1204331 rows, 412 MB`.
    pub fn summary(&self) -> String {
        let names: Vec<String> = self.roots().map(|node| node.object.to_string()).collect();
        let named = match names.len() {
            0 => "nothing it names by itself".to_owned(),
            1..=3 => names.join(", "),
            n => format!("{} and {} more", names[..2].join(", "), n - 2),
        };
        let lost = self.nodes.iter().any(|node| node.fate == Fate::Lost);
        let (does, fate) = if lost { ("destroy", Fate::Lost) } else { ("change", Fate::Changed) };
        let mut parts = vec![self.census(fate)];
        parts.push(plural(self.rows(), "row"));
        parts.push(human_bytes(self.bytes()));
        parts.retain(|part| !part.is_empty());
        format!("{does} {named}: {}", parts.join(", "))
    }
}

fn plural(n: u64, word: &str) -> String {
    match (n, word) {
        (1, _) => format!("1 {word}"),
        (_, "index") => format!("{n} indexes"),
        (_, "policy") => format!("{n} policies"),
        _ => format!("{n} {word}s"),
    }
}

/// A size for people: `412 MB`, in powers of 1024 as the target's own tools show it.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut size = bytes;
    let mut unit = 0;
    while size >= 10 * 1024 && unit + 1 < UNITS.len() {
        size = (size + 512) / 1024;
        unit += 1;
    }
    format!("{size} {}", UNITS[unit])
}

/// Whether what a unit does can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// A restore point of everything lost can be taken, and brought back.
    Restorable,
    /// It cannot; these words say why and stand in what reviewers sign.
    CannotBeTakenBack(String),
}

impl std::fmt::Display for Reversibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reversibility::Restorable => f.write_str("can be taken back from a restore point"),
            Reversibility::CannotBeTakenBack(why) => write!(f, "cannot be taken back: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: &str, name: &str, root: bool, rows: Option<u64>) -> Node {
        Node {
            object: Object::new(kind, name),
            fate: Fate::Lost,
            root,
            rows,
            bytes: rows.map(|r| r * 100),
            tags: BTreeSet::new(),
            definition: Digest::of_bytes(b""),
        }
    }

    #[test]
    fn a_summary_names_the_roots_and_counts_the_rest() {
        let radius = BlastRadius {
            nodes: vec![
                node("schema", "billing", true, None),
                node("view", "billing.totals", false, None),
                node("table", "billing.a", false, Some(1_000_000)),
                node("table", "billing.b", false, Some(1)),
            ],
            ..BlastRadius::default()
        };
        assert_eq!(
            radius.summary(),
            "destroy schema billing: 1 schema, 2 tables, 1 view, 1000001 rows, 95 MB"
        );
    }
}
