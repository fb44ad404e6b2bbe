use super::*;
use countermand_core::action::Object;
use countermand_core::digest::Digest;
use countermand_core::radius::{Edge, Lock, Node};
use std::collections::BTreeSet;

fn node(kind: &str, name: &str, rows: u64) -> Node {
    Node {
        object: Object::new(kind, name),
        fate: Fate::Lost,
        root: false,
        rows: (rows > 0).then_some(rows),
        bytes: (rows > 0).then_some(rows * 100),
        tags: BTreeSet::new(),
        definition: Digest::of_bytes(b""),
    }
}

/// A schema with so many tables, every hundredth of them critical.
fn schema(tables: usize) -> BlastRadius {
    let mut nodes = vec![Node { root: true, ..node("schema", "billing", 0) }];
    for nth in 1..=tables {
        let mut table = node("table", &format!("billing.t{nth}"), nth as u64);
        if nth % 100 == 0 {
            table.tags.insert("critical".to_owned());
        }
        nodes.push(table);
    }
    let edge = |to| Edge { from: 0, to, why: "contains".to_owned() };
    BlastRadius { edges: (1..=tables).map(edge).collect(), nodes, locks: Vec::new() }
}

#[test]
fn one_object_is_one_line_with_its_size() {
    let mut radius = schema(1);
    let object = radius.nodes[1].object.clone();
    let (mode, blocks) = ("AccessExclusiveLock".to_owned(), "reads and writes".to_owned());
    radius.locks.push(Lock { object, mode, blocks, millis: 40 });
    let svg = draw(&radius).to_string();
    assert_eq!(svg.matches("<circle").count(), 2);
    assert!(svg.contains("schema billing") && svg.contains("table billing.t1"), "{svg}");
    assert!(
        svg.contains("lost · 1 row · 100 bytes · reads and writes wait 40 ms · contains"),
        "{svg}"
    );
    assert!(draw(&BlastRadius::default()).to_string().is_empty());
}

#[test]
fn five_thousand_objects_are_a_few_lines_that_count_them_all() {
    let radius = schema(5000);
    let lines = things(&radius);
    assert!(lines.len() <= SINGLE, "{}", lines.len());
    assert_eq!(lines.iter().map(|line| line.rows).sum::<u64>(), radius.rows());
    assert_eq!(lines.iter().map(|line| line.bytes).sum::<u64>(), radius.bytes());
    let names: Vec<String> = lines.iter().map(|line| line.name.to_string()).collect();
    assert_eq!(names[0], "schema billing");
    assert!(names.contains(&"table billing.t5000".to_owned()), "the largest stands alone");
    assert!(names.contains(&"39 × table".to_owned()), "critical ones stand together: {names:?}");
    let critical = lines.iter().filter(|line| line.critical).count();
    assert_eq!(critical, 12, "ten, the largest, and the others together");
    assert!(draw(&radius).to_string().len() < 30_000);
}

#[test]
fn what_no_tie_leads_to_and_what_goes_in_circles_is_drawn_once() {
    let mut radius = schema(3);
    radius.edges = [(1, 2), (2, 1), (7, 9)]
        .map(|(from, to)| Edge { from, to, why: "foreign key".to_owned() })
        .to_vec();
    let lines = things(&radius);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2].under, Some(1));
}

#[test]
fn more_kinds_than_there_is_room_for_are_one_line_more() {
    let mut radius = schema(0);
    radius
        .nodes
        .extend((0..600).map(|nth| node(&format!("kind {}", nth % 200), &format!("n{nth}"), 0)));
    let lines = things(&radius);
    assert!(lines.len() <= SINGLE, "{}", lines.len());
    assert!(lines.iter().any(|line| line.name.to_string().contains("567 × others")));
}

#[test]
fn a_hostile_name_is_only_a_name() {
    let mut radius = schema(1);
    radius.nodes[1].object.name = "</title><script>alert(1)</script>\u{202e}".to_owned();
    radius.edges[0].why = "\"><script>".to_owned();
    let svg = draw(&radius).to_string();
    assert!(!svg.contains("<script") && !svg.contains('\u{202e}'), "{svg}");
}
