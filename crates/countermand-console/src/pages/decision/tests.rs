use super::*;
use countermand_core::action::Object;
use countermand_core::change::Outcome;
use countermand_core::digest::Digest;
use countermand_core::policy::Decision;
use countermand_core::preview::{Ceiling, Counts, Estimates, Identity, Preview};
use countermand_core::radius::{BlastRadius, Edge, Fate, Node};
use countermand_core::request::ChangeNumber;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Hostile, wherever an agent or a target may say something.
const EVIL: &str = "</td><script>alert(1)</script>\u{202e}\u{1b}[2J";

fn when() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// A schema with so many tables.
fn preview(tables: u64) -> Preview {
    let object = |nth: u64| match nth {
        0 => Object::new("schema", "billing"),
        nth => Object::new("table", format!("billing.part_{nth:04}")),
    };
    let node = |nth: u64| Node {
        object: object(nth),
        fate: Fate::Lost,
        root: nth == 0,
        rows: (nth > 0).then_some(nth * 1000),
        bytes: (nth > 0).then_some(nth * 65_536),
        tags: BTreeSet::new(),
        definition: Digest::of(&nth),
    };
    let counts: Counts = (1..=tables).map(|nth| (object(nth).name, nth * 1000)).collect();
    let edge = |to: u64| Edge { from: 0, to: to as usize, why: "contains".to_owned() };
    Preview {
        identity: Identity {
            target: "prod".parse().unwrap(),
            fingerprint: "memory".to_owned(),
            payload: Digest::of_bytes(b""),
            verbs: BTreeSet::new(),
            objects: (0..=tables).map(|nth| (object(nth).to_string(), Digest::of(&nth))).collect(),
            reads: BTreeMap::new(),
            tags: BTreeMap::new(),
        },
        ceiling: Ceiling::over(&counts, false),
        estimates: Estimates::default(),
        radius: BlastRadius {
            nodes: (0..=tables).map(node).collect(),
            edges: (1..=tables).map(edge).collect(),
            locks: Vec::new(),
        },
        reversibility: Reversibility::Restorable,
        undone_by_rollback: true,
        unavailable: false,
    }
}

fn change(preview: Preview, evil: &str) -> ChangeView {
    ChangeView {
        line: ChangeLine {
            number: ChangeNumber(7),
            state: "executed".to_owned(),
            agent: "bot".parse().unwrap(),
            sponsor: "alice".parse().unwrap(),
            adopted: None,
            target: "prod".parse().unwrap(),
            summary: format!("destroy {evil}"),
            opened: when(),
            missing: vec![evil.to_owned()],
            not_peer_reviewed: true,
            watch: Some(evil.to_owned()),
            observed: None,
        },
        version: 3,
        environment: "production".parse().unwrap(),
        payload: evil.to_owned(),
        body: evil.to_owned(),
        kind: evil.to_owned(),
        said: evil.to_owned(),
        session: evil.to_owned(),
        rehearsed: Some(preview.ceiling.rows.keys().map(|table| (table.clone(), 5)).collect()),
        preview,
        reasons: vec![evil.to_owned()],
        approvals: vec![evil.to_owned()],
        trial: None,
        rehearsal: evil.to_owned(),
        cools_until: Some(when()),
        starts_by_itself: true,
        forbidden_now: false,
        outcome: Some(Outcome { said: vec![evil.to_owned()], measured: Counts::new() }),
        restore_point: None,
        ended: Some(evil.to_owned()),
        executions: 1,
        subject: Digest::of_bytes(b"subject"),
        target_tags: BTreeSet::from([evil.to_owned()]),
        history: vec![(when(), evil.to_owned())],
    }
}

fn explanation(evil: &str) -> Explanation {
    use countermand_engine::explain::{RuleLine, Step};
    let own = || evil.to_owned();
    Explanation {
        change: None,
        agent: "bot".parse().unwrap(),
        sponsor: "alice".parse().unwrap(),
        target: "prod".parse().unwrap(),
        environment: "production".parse().unwrap(),
        does: vec![own()],
        decision: Decision::Allow { by: Vec::new() },
        rules: vec![RuleLine { policy: own(), reason: own(), from: own(), remedy: Some(own()) }],
        ways: vec![vec![Step { missing: own(), from: vec![own()] }]],
        notes: vec![own()],
    }
}

fn frame(evil: &str) -> Frame {
    Frame {
        title: "Change 7".to_owned(),
        tab: "changes",
        installation: "test".to_owned(),
        human: "bob".to_owned(),
        proven: true,
        until: When::seen_from(when(), when()),
        frozen: Text::each([evil]),
        demo: false,
        now: 0,
    }
}

#[test]
fn whatever_is_hostile_is_only_text() {
    let mut preview = preview(2);
    preview.radius.nodes[1].object = Object::new(EVIL, EVIL);
    preview.radius.nodes[1].tags.insert(EVIL.to_owned());
    preview.radius.edges[0].why = EVIL.to_owned();
    preview.identity.reads.insert(EVIL.to_owned(), Digest::of_bytes(b""));
    preview.ceiling.rows.extend(Ceiling::over(&Counts::from([(EVIL.into(), 1)]), true).rows);
    let change = change(preview, EVIL);
    let others = [change.line.clone()];
    let page = build(frame(EVIL), &change, &explanation(EVIL), &others, "bob", when());
    let page = page.render().unwrap();
    assert!(page.matches("alert(1)").count() > 25, "it is shown wherever it was said");
    for wrong in ["<script>a", "</td><s", "\u{202e}", "\u{1b}"] {
        assert!(!page.contains(wrong), "{wrong:?}");
    }
}

#[test]
fn five_thousand_objects_are_a_page_that_is_drawn_at_once() {
    let change = change(preview(5000), "drop schema billing cascade");
    let began = Instant::now();
    let page = build(frame(""), &change, &explanation(""), &[], "bob", when()).render().unwrap();
    let took = began.elapsed();
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(took < Duration::from_secs(1), "{took:?}");
    for nth in 1..=5000 {
        assert!(page.contains(&format!("billing.part_{nth:04}<td")), "{nth} is left out");
    }
}

fn drawn(change: &ChangeView) -> String {
    build(frame(""), change, &explanation(""), &[], "bob", when()).render().unwrap()
}

fn held() -> ChangeView {
    let mut change = change(preview(2), "drop schema billing cascade");
    change.line.state = "held".to_owned();
    change.ended = None;
    change
}

#[test]
fn what_policy_forbids_now_is_not_offered_and_lacks_more_than_nothing() {
    let page = drawn(&ChangeView { forbidden_now: true, ..held() });
    assert!(page.contains("Forbidden by") && !page.contains("countermand approve"), "{page}");
    assert!(page.contains("countermand reject"));
    assert!(drawn(&held()).contains("countermand approve"));
    let mut ended = held();
    ended.line.state = "expired".to_owned();
    ended.line.missing.clear();
    assert!(!drawn(&ended).contains("nothing</b>"), "an ended change lacks nothing any more");
}

#[test]
fn what_forbade_it_stays_to_be_read_whatever_is_so_today() {
    let mut kept = held();
    kept.line.state = "forbidden".to_owned();
    kept.reasons = vec!["only humans change what is critical (floor/critical)".to_owned()];
    assert!(drawn(&kept).contains("only humans change what is critical"));
}

#[test]
fn a_start_is_said_only_of_what_starts() {
    assert!(drawn(&held()).contains("it starts by itself"));
    let page = drawn(&ChangeView { starts_by_itself: false, ..held() });
    assert!(!page.contains("it starts by itself") && page.contains("does not start before"));
}

#[test]
fn a_table_that_only_the_rehearsal_changed_is_seen() {
    let mut change = held();
    change.rehearsed = Some(Counts::from([("audit.log".to_owned(), 1234)]));
    let page = drawn(&change);
    assert!(page.contains("audit.log<td") && page.contains("not signed for"), "{page}");
    assert!(page.contains("1,234"));
}

#[test]
fn a_critical_target_and_what_is_done_stand_on_the_page() {
    let change = ChangeView { target_tags: BTreeSet::from(["critical".to_owned()]), ..held() };
    let mut explanation = explanation("");
    explanation.does = vec!["postgres:Delete on table orders: destroy".to_owned()];
    let page = build(frame(""), &change, &explanation, &[], "bob", when()).render().unwrap();
    assert!(page.contains("\u{2691} critical"), "{page}");
    assert!(page.contains("postgres:Delete on table orders"));
}

#[test]
fn a_doubt_is_ended_by_a_human_and_the_page_says_how() {
    let mut change = held();
    change.line.state = "in doubt".to_owned();
    let page = drawn(&change);
    for found in ["committed", "rolled-back"] {
        assert!(page.contains(&format!("countermand resolve 7 --{found}")), "{page}");
    }
}
