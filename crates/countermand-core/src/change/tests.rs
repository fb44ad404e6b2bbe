use super::*;
use crate::action::{Action, Object};
use crate::preview::{Ceiling, Estimates, Identity};
use crate::radius::BlastRadius;
use crate::request::{Payload, RequestKey};
use crate::standing::{Standing, StandingNumber};
use crate::verb::postgres;
use proptest::prelude::*;

fn human(name: &str) -> HumanName {
    HumanName::new(name).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn preview(rows: u64) -> Preview {
    Preview {
        identity: Identity {
            target: "prod".parse().unwrap(),
            fingerprint: "f".into(),
            payload: Digest::of_bytes(b"drop"),
            verbs: [postgres::DROP_TABLE].into(),
            objects: BTreeMap::new(),
            reads: Default::default(),
            tags: BTreeMap::new(),
        },
        ceiling: Ceiling::over(&Counts::from([("a".into(), rows)]), true),
        estimates: Estimates::default(),
        radius: BlastRadius::default(),
        reversibility: Reversibility::Restorable,
        undone_by_rollback: true,
        unavailable: false,
    }
}

fn held() -> Recorded {
    let agent: crate::name::AgentName = "bot".parse().unwrap();
    let target: crate::name::TargetName = "prod".parse().unwrap();
    let payload = Payload::exact("postgres", "drop", "drop");
    let request = Request {
        number: ChangeNumber(1),
        key: RequestKey::of(&agent, &target, &payload),
        agent,
        sponsor: human("alice"),
        target,
        environment: "production".parse().unwrap(),
        payload: payload.digest(),
        shape: None,
        actions: vec![Action::new(postgres::DROP_TABLE, Object::new("table", "a"))],
        session: "s".into(),
        beyond: Vec::new(),
    };
    let event = Event::Held { request: Box::new(request), preview: Box::new(preview(10)) };
    Recorded { at: at(0), event }
}

/// The same request, forbidden to its agent.
fn kept() -> Recorded {
    let Recorded { at, event: Event::Held { request, preview } } = held() else { unreachable!() };
    let reasons = vec![Reason { policy: "floor/critical".into(), reason: "never".into() }];
    Recorded { at, event: Event::Forbidden { request, preview, reasons } }
}

fn adoption(change: &Change, by: &str) -> Event {
    let subject = change.subject_digest();
    let adoption = Adoption { human: human(by), subject, key: "k".into(), user_verified: true };
    Event::Adopted { adoption }
}

fn approval(change: &Change, by: &str) -> Event {
    Event::Approved {
        approval: Approval {
            human: human(by),
            seat: None,
            subject: change.subject_digest(),
            key: "k".into(),
            user_verified: true,
            confirms: false,
            standing: None,
        },
    }
}

/// Given beforehand: signed at 0, good until 50,000.
fn standing(change: &Change, by: &str) -> Event {
    let Event::Approved { mut approval } = approval(change, by) else { unreachable!() };
    approval.standing =
        Some(Standing { number: StandingNumber(3), signed: at(0), until: at(50_000) });
    Event::Approved { approval }
}

fn step(change: Change, seconds: i64, event: Event) -> Change {
    change.apply(&Recorded { at: at(seconds), event }).expect("the event may follow")
}

fn refused(change: &Change, event: Event) -> bool {
    change.clone().apply(&Recorded { at: at(9), event }).is_err()
}

fn seats() -> Seats {
    Seats::from([
        (human("bob"), ["dba".parse().unwrap(), "security".parse().unwrap()].into()),
        (human("carol"), BTreeSet::new()),
    ])
}

fn token() -> CommitToken {
    CommitToken { fingerprint: "f".into(), transaction: "7".into() }
}

fn committing(attempt: u32) -> Event {
    Event::Committing { attempt, measured: Counts::new(), restore_point: None, token: token() }
}

#[test]
fn the_sponsor_cannot_approve_and_nobody_twice() {
    let change = Change::open(&held()).unwrap();
    assert!(refused(&change, approval(&change, "alice")));
    let change = step(change.clone(), 1, approval(&change, "bob"));
    assert!(refused(&change, approval(&change, "bob")));
    assert!(!refused(&change, approval(&change, "carol")));
}

#[test]
fn an_approval_of_something_else_does_not_count() {
    let change = Change::open(&held()).unwrap();
    let old = approval(&change, "bob");
    let change = step(change, 1, Event::Voided { why: vec![], preview: Box::new(preview(11)) });
    assert!(refused(&change, old));
}

#[test]
fn evidence_counts_people_who_are_reviewers_now_and_cools_from_the_last_approval() {
    let change = Change::open(&held()).unwrap();
    let change = step(change.clone(), 10, approval(&change, "bob"));
    let change = step(change.clone(), 20, approval(&change, "mallory"));
    let evidence = change.evidence(at(50), &seats());
    assert_eq!(evidence.peers, 1, "mallory is no reviewer");
    assert_eq!(evidence.cooled_seconds, 30);
    assert_eq!(change.evidence(at(5 * 3600), &seats()).peers, 0, "approvals end after 4 h");
}

#[test]
fn an_approval_given_beforehand_counts_until_its_own_end_and_has_cooled_since_it_was_signed() {
    let change = Change::open(&held()).unwrap();
    let change = step(change.clone(), 40_000, standing(&change, "carol"));
    assert!(refused(&change, approval(&change, "carol")), "one human, one seat");
    let seen = |seconds| change.evidence(at(seconds), &seats());
    assert_eq!((seen(40_001).peers, seen(40_001).cooled_seconds), (1, 40_001));
    assert_eq!((seen(49_999).peers, seen(50_000).peers), (1, 0));
    let bob = approval(&change, "bob");
    let change = step(change, 40_002, bob);
    let evidence = change.evidence(at(40_003), &seats());
    assert_eq!((evidence.peers, evidence.cooled_seconds), (2, 1), "the last of both counts");
    let ended = |standing| Event::StandingEnded { standing, why: String::new() };
    let other = step(change.clone(), 40_004, ended(StandingNumber(4)));
    assert_eq!(other.approvals, change.approvals);
    let change = step(change, 40_004, ended(StandingNumber(3)));
    assert_eq!(change.evidence(at(40_005), &seats()).peers, 1);
    let start = Event::Started { attempt: 1, preview: Box::new(preview(10)) };
    let running = step(change, 40_006, start);
    let running = step(running, 40_007, ended(StandingNumber(3)));
    assert!(refused(&step(running, 40_008, committing(1)), ended(StandingNumber(3))));
}

#[test]
fn one_human_in_two_groups_fills_one_seat() {
    let change = Change::open(&held()).unwrap();
    let mut event = approval(&change, "bob");
    if let Event::Approved { approval } = &mut event {
        approval.seat = Some("dba".parse().unwrap());
    }
    let change = step(change, 1, event);
    let evidence = change.evidence(at(2), &seats());
    assert_eq!(evidence.peers, 1);
    assert_eq!(evidence.groups.values().sum::<u32>(), 1);
}

#[test]
fn a_restart_cools_again_and_voiding_forgets_approvals() {
    let change = Change::open(&held()).unwrap();
    let change = step(change.clone(), 1, approval(&change, "bob"));
    let change = step(change, 100, Event::CoolingRestarted { why: "down".into() });
    assert_eq!(change.evidence(at(101), &seats()).cooled_seconds, 1);
    let change = step(change, 102, Event::Voided { why: vec![], preview: Box::new(preview(1)) });
    assert_eq!(change.evidence(at(103), &seats()).peers, 0);
}

#[test]
fn it_is_executed_once_and_only_through_committing() {
    let change = Change::open(&held()).unwrap();
    let done = Event::Executed { outcome: Outcome::default(), recovered: false };
    assert!(refused(&change, done.clone()));
    let start = Event::Started { attempt: 1, preview: Box::new(preview(10)) };
    let change = step(change, 1, start.clone());
    assert!(refused(&change, start));
    assert!(refused(&change, done.clone()));
    let change = step(change, 2, committing(1));
    let change = step(change, 3, done.clone());
    assert!(refused(&change, done));
    assert!(refused(&change, committing(1)));
}

#[test]
fn more_rows_within_the_signed_ceiling_leave_the_approval_valid() {
    let change = Change::open(&held()).unwrap();
    let signed = change.subject_digest();
    let fresh = preview(11);
    let change = step(change, 1, Event::Started { attempt: 1, preview: Box::new(fresh) });
    assert_eq!(change.subject_digest(), signed);
}

#[test]
fn an_adoption_is_of_what_was_shown_and_ends_with_it() {
    let change = Change::open(&kept()).unwrap();
    assert!(refused(&change, approval(&change, "bob")), "nobody approves what nobody adopted");
    let start = Event::Started { attempt: 1, preview: Box::new(preview(10)) };
    assert!(refused(&change, start.clone()));
    let seen = adoption(&change, "carol");
    let moved = || Event::Voided { why: vec![], preview: Box::new(preview(11)) };
    let change = step(change, 1, moved());
    assert!(refused(&change, seen), "it is no longer what carol saw");
    let own = step(change.clone(), 2, adoption(&change, "carol"));
    assert!(refused(&own, adoption(&own, "dave")), "it is carol's");
    assert_eq!(own.subject().adopted, Some(human("carol")), "whose it is, is signed too");
    for peer in ["alice", "carol"] {
        assert!(refused(&own, approval(&own, peer)), "{peer} is no peer");
    }
    let own = step(own.clone(), 3, approval(&own, "bob"));
    assert_eq!(own.evidence(at(4), &seats()).peers, 1);
    let back = step(own, 5, Event::Voided { why: vec![], preview: Box::new(preview(12)) });
    assert_eq!((&back.state, back.adopter(), back.approvals.len()), (&State::Forbidden, None, 0));
    assert!(refused(&back, start));
    assert!(!back.is_overdue(at(24 * 3600 - 1)) && back.is_overdue(at(24 * 3600)));
    let held = Change::open(&held()).unwrap();
    assert!(refused(&held, adoption(&held, "carol")), "what is held needs nobody to adopt it");
}

fn any_event() -> impl Strategy<Value = u8> {
    0u8..21
}

fn event_of(code: u8, change: &Change) -> Event {
    match code {
        0 => approval(change, "bob"),
        1 => approval(change, "alice"),
        2 => Event::Voided { why: vec![], preview: Box::new(preview(3)) },
        3 => Event::Started { attempt: change.attempts + 1, preview: Box::new(preview(10)) },
        4 => committing(change.attempts),
        5 => Event::Executed { outcome: Outcome::default(), recovered: false },
        6 => Event::RolledBack {
            attempt: change.attempts,
            abort: Abort::LockNotGranted,
            why: String::new(),
        },
        7 => Event::RolledBack {
            attempt: change.attempts,
            abort: Abort::CeilingExceeded,
            why: String::new(),
        },
        8 => Event::Rejected { human: human("bob"), reason: String::new(), key: String::new() },
        9 => Event::InDoubt { why: String::new(), stale: false },
        10 => Event::Delivered { session: String::new() },
        11 => Event::Withdrawn { by: String::new() },
        12 => Event::Expired,
        13 => Event::CoolingStopped { by: String::new(), reason: String::new() },
        14 => Event::Restored {
            human: human("bob"),
            rows: Counts::new(),
            equal: true,
            overwritten: vec![],
        },
        15 => Event::RestoreBegun { human: human("bob"), overwrite: false },
        16 => Event::RestoreInDoubt { human: human("bob"), why: String::new() },
        17 => standing(change, "carol"),
        20 => adoption(change, "carol"),
        18 => Event::StandingEnded { standing: StandingNumber(3), why: String::new() },
        _ => Event::CoolingRestarted { why: String::new() },
    }
}

proptest! {
    /// Whatever happens in whatever order: never executed twice, never executed without the
    /// intent recorded before, never moved after it was rejected.
    /// Nor does anything run that is forbidden to its agent and nobody's own.
    #[test]
    fn any_history_executes_at_most_once(
        codes in prop::collection::vec(any_event(), 0..60),
        forbidden: bool,
    ) {
        let first = if forbidden { kept() } else { held() };
        let mut change = Change::open(&first).unwrap();
        let mut history = vec![first];
        for code in codes {
            let recorded = Recorded { at: at(history.len() as i64), event: event_of(code, &change) };
            let before = change.clone();
            match change.clone().apply(&recorded) {
                Ok(after) => {
                    if after.executions > before.executions {
                        let intended = matches!(before.state, State::Committing { .. });
                        prop_assert!(intended);
                    }
                    let rejected = matches!(before.state, State::Rejected { .. });
                    if rejected {
                        let told = matches!(recorded.event, Event::Delivered { .. });
                        prop_assert!(told);
                    }
                    history.push(recorded);
                    change = after;
                }
                Err(_) => prop_assert_eq!(&before, &change),
            }
            prop_assert!(change.executions <= 1);
            let waits = matches!(change.state, State::Forbidden);
            prop_assert!(!waits || (change.adopted.is_none() && change.approvals.is_empty()));
            let ran = change.attempts > before.attempts;
            prop_assert!(!ran || !forbidden || change.adopted.is_some());
            let taken_back = matches!(change.state, State::Executed(_) | State::Restored(_));
            prop_assert!(change.restoring.is_none() || taken_back);
        }
        let folded = Change::fold(&history).unwrap().unwrap();
        prop_assert_eq!(folded, change);
    }
}

/// A change that is executed; its target is to be watched for 300 seconds.
fn watched() -> Change {
    let token = CommitToken { fingerprint: "f".into(), transaction: "7".into() };
    let events = [
        held(),
        Recorded {
            at: at(1),
            event: Event::Started { attempt: 1, preview: Box::new(preview(10)) },
        },
        Recorded {
            at: at(2),
            event: Event::Committing {
                attempt: 1,
                measured: Counts::new(),
                restore_point: None,
                token,
            },
        },
    ];
    Change::fold(&events).unwrap().unwrap()
}

#[test]
fn a_watch_begins_after_the_end_ends_once_and_changes_nothing_else() {
    let begun = || Event::WatchBegun { until: [("orders".parse().unwrap(), at(303))].into() };
    let failed = || Event::WatchFailed { probe: "orders".parse().unwrap(), why: "0".into() };
    let happens = |change: &Change, event| change.clone().apply(&Recorded { at: at(3), event });
    let committing = watched();
    for event in [begun(), failed(), Event::WatchPassed] {
        happens(&committing, event).unwrap_err();
    }
    let executed = Event::Executed { outcome: Outcome::default(), recovered: false };
    let executed = happens(&committing, executed).unwrap();
    happens(&executed, Event::WatchPassed).unwrap_err();
    let open = happens(&executed, begun()).unwrap();
    assert!(open.is_watched() && open.watch.as_ref().unwrap().ends() == at(303));
    happens(&open, begun()).unwrap_err();
    let waits = Event::WatchNotReady { probe: "orders".parse().unwrap(), why: "0".into() };
    happens(&open, waits).unwrap_err();
    let unfinished = || Event::WatchUnfinished { why: "down".into() };
    for end in [Event::WatchPassed, failed(), unfinished()] {
        let ended = happens(&open, end).unwrap();
        assert_eq!((&ended.state, ended.executions), (&open.state, 1));
        assert!(!ended.is_watched());
        for event in [Event::WatchPassed, failed(), unfinished(), begun()] {
            happens(&ended, event).unwrap_err();
        }
        // What is there after it was taken back is watched anew.
        let begins = Event::RestoreBegun { human: human("bob"), overwrite: false };
        let rows = Counts::new();
        let (human, overwritten) = (human("bob"), Vec::new());
        let restored = Event::Restored { human, rows, equal: true, overwritten };
        happens(&ended, restored.clone()).unwrap_err();
        let restored = happens(&happens(&ended, begins).unwrap(), restored).unwrap();
        assert_eq!(restored.watch, None);
        assert!(happens(&restored, begun()).unwrap().is_watched());
    }
}

#[test]
fn a_doubt_is_ended_by_a_peer_once() {
    let resolved = |human_name: &str, committed: bool, confirms: bool| Event::Resolved {
        committed,
        human: human(human_name),
        reason: "seen".into(),
        key: "k".into(),
        confirms,
    };
    let change = Change::open(&held()).unwrap();
    assert!(refused(&change, resolved("bob", true, false)), "nobody doubts");
    let change = step(change, 1, Event::Started { attempt: 1, preview: Box::new(preview(10)) });
    let measured = Counts::from([("a".into(), 10)]);
    let (restore_point, token) = (None, token());
    let committing =
        Event::Committing { attempt: 1, measured: measured.clone(), restore_point, token };
    let change = step(change, 2, committing);
    let change = step(change, 3, Event::InDoubt { why: "forgotten".into(), stale: false });
    for (who, confirms) in [("alice", false), ("bob", true)] {
        assert!(refused(&change, resolved(who, true, confirms)), "{who}");
    }
    let done = step(change.clone(), 4, resolved("bob", true, false));
    assert_eq!(done.state, State::Executed(Outcome { said: Vec::new(), measured }));
    assert_eq!((done.executions, done.ended), (1, Some(at(4))));
    assert!(refused(&done, resolved("bob", false, false)));
    let failed = step(change.clone(), 4, resolved("bob", false, false));
    assert!(matches!(failed.state, State::Failed(_)) && failed.executions == 0);
    // Alone there is nobody else, and it says so.
    assert_eq!(step(change, 4, resolved("alice", true, true)).executions, 1);
}
