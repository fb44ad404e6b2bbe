//! What a reviewer sees, of a change in which everything that can be hostile is.

use super::*;
use countermand_core::action::Object;
use countermand_core::digest::Digest;
use countermand_core::preview::{Ceiling, Estimates, Identity, Preview};
use countermand_core::radius::{BlastRadius, Edge, Fate, Lock, Node};
use countermand_core::request::ChangeNumber;
use countermand_core::verb::postgres::DROP_SCHEMA;
use countermand_doors::postgres::unit::{Unit, UnitStatement};
use std::collections::BTreeSet;

const EVIL: &str = "x\u{1b}[2J\u{202e}\u{200b}\r\nApproved by bob";

/// A change that destroys a schema with a table of 1 000 000 rows.
pub(crate) fn sample() -> ChangeView {
    let node = |kind: &str, name: &str, root: bool, rows: Option<u64>| Node {
        object: Object::new(kind, name),
        fate: Fate::Lost,
        root,
        rows,
        bytes: rows.map(|rows| rows * 100),
        tags: BTreeSet::from(["critical".to_owned()]),
        definition: Digest::of_bytes(b""),
    };
    let edge = |from, to, why: &str| Edge { from, to, why: why.to_owned() };
    let radius = BlastRadius {
        nodes: vec![
            node("schema", "billing", true, None),
            node("table", "billing.invoices", false, Some(1_000_000)),
            node("view", "reports.totals", false, None),
            node("table", EVIL, false, Some(1)),
        ],
        edges: vec![edge(0, 1, "contains"), edge(1, 2, "view of"), edge(2, 0, "a cycle")],
        locks: vec![Lock {
            object: Object::new("table", "billing.invoices"),
            mode: "ACCESS EXCLUSIVE".to_owned(),
            blocks: "reads and writes".to_owned(),
            millis: 40,
        }],
    };
    let counts = Counts::from([("billing.invoices".to_owned(), 1_000_000)]);
    let preview = Preview {
        identity: Identity {
            target: "shop".parse().unwrap(),
            fingerprint: "7".to_owned(),
            payload: Digest::of_bytes(b"payload"),
            verbs: BTreeSet::from([DROP_SCHEMA]),
            objects: [("schema billing".to_owned(), Digest::of_bytes(b""))].into(),
            reads: Default::default(),
            tags: std::collections::BTreeMap::new(),
        },
        ceiling: Ceiling::over(&counts, false),
        estimates: Estimates { bytes: 100_000_000, backup_seconds: 3, recovery_seconds: 9 },
        radius,
        reversibility: Reversibility::CannotBeTakenBack(EVIL.to_owned()),
        undone_by_rollback: true,
        unavailable: true,
    };
    let unit = Unit {
        statements: vec![UnitStatement::new(
            format!("DROP SCHEMA billing CASCADE;\n-- {EVIL}\n"),
            Vec::new(),
        )],
        ..Unit::default()
    };
    let payload = unit.to_payload();
    let mut preview = preview;
    preview.identity.payload = payload.digest();
    let opened = "2026-01-02T03:04:05Z".parse().unwrap();
    ChangeView {
        line: ChangeLine {
            observed: None,
            number: ChangeNumber(7),
            state: "held".to_owned(),
            agent: "bot".parse().unwrap(),
            sponsor: "alice".parse().unwrap(),
            adopted: None,
            target: "shop".parse().unwrap(),
            summary: preview.radius.summary(),
            opened,
            missing: vec!["1 approval (dba)".to_owned(), EVIL.to_owned()],
            not_peer_reviewed: false,
            watch: Some(EVIL.to_owned()),
        },
        version: 3,
        environment: "staging".parse().unwrap(),
        payload: payload.text,
        body: payload.body,
        kind: payload.kind,
        said: EVIL.to_owned(),
        session: "1.0".to_owned(),
        preview,
        reasons: vec![EVIL.to_owned()],
        approvals: vec!["carol (dba)".to_owned()],
        trial: None,
        rehearsal: EVIL.to_owned(),
        rehearsed: Some(counts),
        cools_until: Some(opened),
        outcome: Some(Outcome { said: vec![EVIL.to_owned()], measured: Counts::new() }),
        restore_point: None,
        ended: Some(EVIL.to_owned()),
        starts_by_itself: false,
        forbidden_now: false,
        subject: Digest::of_bytes(b"subject"),
        target_tags: BTreeSet::new(),
        executions: 0,
        history: vec![(opened, EVIL.to_owned())],
    }
}

fn shown(width: usize) -> String {
    let mut page = Page::plain(width);
    view(&mut page, &sample());
    list(&mut page, &[sample().line]);
    page.text().to_owned()
}

#[test]
fn nothing_hostile_reaches_the_terminal() {
    for width in [40, 80, 200] {
        let text = shown(width);
        let hidden = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{200b}".contains(c);
        assert!(!text.contains(hidden), "{text}");
        let forged = text.lines().find(|line| line.starts_with("Approved by bob"));
        assert_eq!(forged, None);
    }
}

#[test]
fn everything_that_is_signed_is_shown() {
    let text = shown(200);
    for part in [
        "Change 7",
        "shop (staging)",
        "agent bot for alice",
        "schema billing  lost [critical]",
        "  └─ table billing.invoices  lost, 1000000 rows",
        "     └─ view reports.totals  lost [critical]  (view of)",
        "ACCESS EXCLUSIVE on table billing.invoices: reads and writes wait, about 40 ms",
        "1000000     1050000    1000000  billing.invoices",
        "cannot be taken back",
        "written by the agent: untrusted",
        "  │ DROP SCHEMA billing CASCADE;",
        "1 approval (dba)",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let rows = text.lines().filter(|line| line.contains("table x\\u{1b}")).count();
    assert_eq!(rows, 1, "a node that no edge leads to is shown once:\n{text}");
}
