//! What is drawn: objects, and groups of them, each under what pulls it in.

use super::SINGLE;
use crate::radius::CRITICAL;
use crate::text::{Text, digits};
use countermand_core::action::Object;
use countermand_core::radius::{BlastRadius, Fate, Lock, Node};
use std::collections::{BTreeMap, BTreeSet};

/// Of a large radius these stand alone: named by the request, tagged, and largest by rows and bytes.
const ALONE: [usize; 3] = [10, 10, 4];
/// And so many groups; what is of yet other kinds is one more.
const GROUPS: usize = 11;

/// A line of the picture.
pub(super) struct Thing {
    pub(super) name: Text,
    pub(super) fate: Fate,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) critical: bool,
    /// Why it is here.
    pub(super) why: Option<Text>,
    pub(super) lock: Option<Lock>,
    pub(super) depth: usize,
    /// The line of what pulls it in.
    pub(super) under: Option<usize>,
}

/// The lines, top down: each below the one that pulls it in.
pub(super) fn things(radius: &BlastRadius) -> Vec<Thing> {
    let grouping = Grouping::of(radius);
    let ties = grouping.ties(radius);
    let mut drawn: Vec<Thing> = Vec::new();
    let mut seen = BTreeSet::new();
    let roots = (0..grouping.members.len()).filter(|&group| grouping.is_root(radius, group));
    // What no tie leads to is drawn all the same: nothing of a radius is left out.
    for start in roots.chain(0..grouping.members.len()) {
        let mut waiting = vec![(start, None, None)];
        while let Some((group, under, why)) = waiting.pop() {
            if !seen.insert(group) {
                continue;
            }
            let here = drawn.len();
            let depth = under.map_or(0, |under: usize| drawn[under].depth + 1);
            let thing = grouping.thing(radius, group);
            drawn.push(Thing { depth, under, why, ..thing });
            let below = ties.range((group, 0)..(group + 1, 0)).rev();
            waiting.extend(below.map(|((_, to), why)| (*to, Some(here), Some(Text::of(why)))));
        }
    }
    drawn
}

/// Which objects are drawn together.
struct Grouping {
    /// The objects of each group.
    members: Vec<Vec<usize>>,
    /// The group of each object.
    group_of: Vec<usize>,
}

impl Grouping {
    fn of(radius: &BlastRadius) -> Grouping {
        let nodes = &radius.nodes;
        let alone = if nodes.len() <= SINGLE { (0..nodes.len()).collect() } else { alone(nodes) };
        let mut members: Vec<Vec<usize>> = alone.iter().map(|&index| vec![index]).collect();
        type Key<'a> = (&'a str, Fate, bool);
        let mut kinds: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate().filter(|(index, _)| !alone.contains(index)) {
            let key = (node.object.kind.as_str(), node.fate, node.tags.contains(CRITICAL));
            kinds.entry(key).or_default().push(index);
        }
        let mut kinds: Vec<Vec<usize>> = kinds.into_values().collect();
        // What is critical is never among the rest.
        kinds
            .sort_by_key(|kind| (!nodes[kind[0]].tags.contains(CRITICAL), usize::MAX - kind.len()));
        let rest: Vec<usize> = kinds.drain(GROUPS.min(kinds.len())..).flatten().collect();
        members.extend(kinds);
        members.extend((!rest.is_empty()).then_some(rest));
        let mut group_of = vec![0; nodes.len()];
        for (group, indices) in members.iter().enumerate() {
            indices.iter().for_each(|&index| group_of[index] = group);
        }
        Grouping { members, group_of }
    }

    fn is_root(&self, radius: &BlastRadius, group: usize) -> bool {
        self.members[group].iter().any(|&index| radius.nodes[index].root)
    }

    /// Why one group pulls in another; each pair once.
    fn ties<'a>(&self, radius: &'a BlastRadius) -> BTreeMap<(usize, usize), &'a str> {
        let mut ties = BTreeMap::new();
        for edge in &radius.edges {
            let ends = (self.group_of.get(edge.from), self.group_of.get(edge.to));
            if let (Some(&from), Some(&to)) = ends
                && from != to
            {
                ties.entry((from, to)).or_insert(edge.why.as_str());
            }
        }
        ties
    }

    fn thing(&self, radius: &BlastRadius, group: usize) -> Thing {
        let members = &self.members[group];
        let nodes = || members.iter().map(|&index| &radius.nodes[index]);
        let first = &radius.nodes[members[0]];
        let objects: BTreeSet<&Object> = nodes().map(|node| &node.object).collect();
        let locks = radius.locks.iter().filter(|lock| objects.contains(&lock.object));
        let lock = locks.max_by_key(|lock| (strength(&lock.mode), lock.millis));
        let sum =
            |of: fn(&Node) -> Option<u64>| nodes().filter_map(of).fold(0, u64::saturating_add);
        Thing {
            name: self.name(radius, group),
            // Of several, the worst: what is lost comes first.
            fate: nodes().map(|node| node.fate).min().unwrap_or(first.fate),
            rows: sum(|node| node.rows),
            bytes: sum(|node| node.bytes),
            critical: nodes().any(|node| node.tags.contains(CRITICAL)),
            why: None,
            lock: lock.cloned(),
            depth: 0,
            under: None,
        }
    }

    fn name(&self, radius: &BlastRadius, group: usize) -> Text {
        let members = &self.members[group];
        let first = &radius.nodes[members[0]];
        if let [_] = members[..] {
            return Text::of(first.object.to_string());
        }
        let kinds: BTreeSet<&str> =
            members.iter().map(|&index| radius.nodes[index].object.kind.as_str()).collect();
        let kind =
            if kinds.len() == 1 { first.object.kind.as_str() } else { "others of more kinds" };
        Text::of(format!("{} × {kind}", digits(members.len() as u64)))
    }
}

/// Of PostgreSQL's locks, the one that more wait for is the stronger. A mode that is not known comes
/// first: nothing is made to look weaker than it is.
fn strength(mode: &str) -> usize {
    const WEAKEST_FIRST: [&str; 8] = [
        "ACCESS SHARE",
        "ROW SHARE",
        "ROW EXCLUSIVE",
        "SHARE UPDATE EXCLUSIVE",
        "SHARE",
        "SHARE ROW EXCLUSIVE",
        "EXCLUSIVE",
        "ACCESS EXCLUSIVE",
    ];
    let known = WEAKEST_FIRST.iter().position(|known| *known == mode);
    known.unwrap_or(WEAKEST_FIRST.len())
}

/// Those that stand alone though there are many.
fn alone(nodes: &[Node]) -> BTreeSet<usize> {
    let mut alone = BTreeSet::new();
    let all = || nodes.iter().enumerate();
    alone.extend(all().filter(|(_, node)| node.root).map(|(index, _)| index).take(ALONE[0]));
    let mut tagged: Vec<(usize, &Node)> = all().filter(|(_, node)| !node.tags.is_empty()).collect();
    tagged.sort_by_key(|(_, node)| !node.tags.contains(CRITICAL));
    alone.extend(tagged.into_iter().map(|(index, _)| index).take(ALONE[1]));
    for size in [|node: &Node| node.rows, |node: &Node| node.bytes] {
        let mut sized: Vec<(u64, usize)> = all()
            .filter_map(|(index, node)| Some((size(node).filter(|&n| n > 0)?, index)))
            .collect();
        sized.sort_unstable_by(|a, b| b.cmp(a));
        alone.extend(sized.into_iter().map(|(_, index)| index).take(ALONE[2]));
    }
    alone
}
