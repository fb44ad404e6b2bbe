//! The blast radius as rows of a table: every object, with what is signed for it.

use crate::text::{Text, digits};
use countermand_core::preview::{Counts, Preview};
use countermand_core::radius::{Fate, Node, human_bytes};
use std::collections::BTreeMap;

/// A tag that marks what only humans change.
pub(crate) const CRITICAL: &str = "critical";

/// One object.
pub(crate) struct Row {
    pub(crate) kind: Text,
    pub(crate) name: Text,
    pub(crate) named: bool,
    pub(crate) fate: &'static str,
    pub(crate) critical: bool,
    pub(crate) tags: String,
    /// As measured.
    pub(crate) rows: String,
    /// The most that is signed for.
    pub(crate) limit: String,
    /// The rehearsal changed it, and nobody signs for it.
    pub(crate) unsigned: bool,
    /// What the rehearsal lost or changed in the partner.
    pub(crate) rehearsed: String,
    pub(crate) bytes: String,
    pub(crate) why: Text,
}

/// Every object of the radius, what the request names first, then by rows; and whatever has a
/// ceiling without being in the radius.
pub(crate) fn rows(preview: &Preview, rehearsed: Option<&Counts>) -> Vec<Row> {
    let radius = &preview.radius;
    let mut why: BTreeMap<usize, &str> = BTreeMap::new();
    for edge in &radius.edges {
        why.entry(edge.to).or_insert(&edge.why);
    }
    let mut limits = preview.ceiling.rows.clone();
    let mut order: Vec<(usize, &Node)> = radius.nodes.iter().enumerate().collect();
    let rank = |node: &Node| {
        (!node.root, !node.tags.contains(CRITICAL), u64::MAX - node.rows.unwrap_or(0))
    };
    order.sort_by_key(|(index, node)| (rank(node), *index));
    let mut rows = Vec::with_capacity(order.len());
    for (index, node) in order {
        let limit = node.rows.and_then(|_| limits.remove(&node.object.name));
        let rehearsed = rehearsed.filter(|_| limit.is_some());
        let seen = rehearsed.map(|counts| counts.get(&node.object.name).copied().unwrap_or(0));
        rows.push(Row {
            kind: Text::of(&node.object.kind),
            name: Text::of(&node.object.name),
            named: node.root,
            fate: word(node.fate),
            critical: node.tags.contains(CRITICAL),
            tags: Text::each(node.tags.iter().filter(|tag| *tag != CRITICAL))
                .iter()
                .map(Text::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            rows: node.rows.map(digits).unwrap_or_default(),
            unsigned: false,
            limit: limit.map(|limit| digits(limit.limit)).unwrap_or_default(),
            rehearsed: seen.map(digits).unwrap_or_default(),
            bytes: node.bytes.map(human_bytes).unwrap_or_default(),
            why: Text::of(why.get(&index).copied().unwrap_or_default()),
        });
    }
    rows.extend(limits.iter().map(|(table, limit)| {
        Row {
            rows: digits(limit.measured),
            limit: digits(limit.limit),
            rehearsed: rehearsed
                .map(|counts| digits(counts.get(table).copied().unwrap_or(0)))
                .unwrap_or_default(),
            ..Row::of_table(table)
        }
    }));
    rows.extend(unsigned(preview, rehearsed));
    rows
}

/// Tables that the rehearsal changed and that have no ceiling: the gravest that it can tell.
fn unsigned(preview: &Preview, rehearsed: Option<&Counts>) -> Vec<Row> {
    let signed = |table: &String| preview.ceiling.rows.contains_key(table);
    let more = rehearsed.into_iter().flatten().filter(|(table, rows)| **rows > 0 && !signed(table));
    let row = |(table, rows): (&String, &u64)| Row {
        limit: digits(0),
        unsigned: true,
        rehearsed: digits(*rows),
        why: Text::of("changed in the rehearsal, and not signed for: here it would be rolled back"),
        ..Row::of_table(table)
    };
    more.map(row).collect()
}

impl Row {
    /// A table that is not in the radius, and changed all the same.
    fn of_table(table: &str) -> Row {
        Row {
            kind: Text::of("table"),
            name: Text::of(table),
            named: false,
            fate: "changed",
            critical: false,
            tags: String::new(),
            rows: String::new(),
            limit: String::new(),
            unsigned: false,
            rehearsed: String::new(),
            bytes: String::new(),
            why: Text::of(""),
        }
    }
}

/// What becomes of an object, in a word that is a class of the style sheet too.
pub(crate) fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Lost => "lost",
        Fate::Changed => "changed",
        Fate::Unavailable => "blocked",
        Fate::Dangling => "dangling",
    }
}
