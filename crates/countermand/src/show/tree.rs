//! The blast radius as a tree: what the request names, and under it what goes with it, and why.

use super::{Page, Tone, escape};
use countermand_core::radius::{BlastRadius, Fate, Node, human_bytes};
use std::collections::BTreeSet;

/// Deeper than this a line would have no room left; the order still tells what is under what.
const DEEPEST: usize = 8;

/// Puts the radius on the page. Each object stands once, under the first that pulls it in.
pub fn tree(page: &mut Page, radius: &BlastRadius) {
    let mut shown = BTreeSet::new();
    let roots = (0..radius.nodes.len()).filter(|&index| radius.nodes[index].root);
    // What no edge leads to is shown all the same: nothing of a radius may be left out.
    for start in roots.chain(0..radius.nodes.len()) {
        let mut waiting = vec![(start, 0, None)];
        while let Some((index, depth, why)) = waiting.pop() {
            let Some(node) = radius.nodes.get(index).filter(|_| shown.insert(index)) else {
                continue;
            };
            let mark = match depth {
                0 => "  ".to_owned(),
                depth => format!("  {}└─ ", "   ".repeat(DEEPEST.min(depth) - 1)),
            };
            let words = words(page, node, why);
            page.item(&mark, &words);
            let below = radius.edges.iter().rev().filter(|edge| edge.from == index);
            waiting.extend(below.map(|edge| (edge.to, depth + 1, Some(edge.why.as_str()))));
        }
    }
}

fn words(page: &Page, node: &Node, why: Option<&str>) -> String {
    let tone = match node.fate {
        Fate::Lost => Tone::Danger,
        Fate::Changed | Fate::Unavailable => Tone::Warning,
        Fate::Dangling => Tone::Plain,
    };
    let object = escape::line(&node.object.to_string());
    let mut words = format!("{object}  {}", page.paint(tone, &node.fate.to_string()));
    if let Some(rows) = node.rows {
        words.push_str(&format!(", {rows} row{}", if rows == 1 { "" } else { "s" }));
    }
    if let Some(bytes) = node.bytes {
        words.push_str(&format!(", {}", human_bytes(bytes)));
    }
    if !node.tags.is_empty() {
        let tags: Vec<&str> = node.tags.iter().map(String::as_str).collect();
        let tags = format!(" [{}]", escape::line(&tags.join(", ")));
        words.push_str(&page.paint(Tone::Danger, &tags));
    }
    if let Some(why) = why {
        words.push_str(&page.paint(Tone::Dim, &format!("  ({})", escape::line(why))));
    }
    words
}
