//! What was signed counts once, in its time, for what was asked, and by nobody who answers for it.

use super::configured::{applied, key_of};
use super::story::{carried, held, standing, subject};
use super::{BEGAN, Ledger, unsigned};
use countermand_core::statement::{Act, ReviewSubject, Statement};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// With change 1 held.
fn asked() -> Ledger {
    let mut ledger = Ledger::let_in_under(&PEOPLE);
    ledger.tell("change.held", &held(1)).unwrap();
    ledger
}

#[test]
fn what_was_signed_counts_once() {
    let mut ledger = asked();
    let thaw = ledger.thaw("bob");
    ledger.tell("freeze.off", &thaw).unwrap();
    assert!(ledger.tell("freeze.off", &thaw).unwrap_err().contains("counts once"));
    // Nor with another signature, over another act.
    ledger.nonce -= 1;
    let again = ledger.approved_change("bob", subject(1, None));
    assert!(ledger.tell("change.approved", &again).unwrap_err().contains("counts once"));
}

#[test]
fn what_was_signed_counts_up_to_its_end() {
    for (minutes, holds) in [(30, true), (31, false)] {
        let mut ledger = asked();
        let thaw = ledger.thaw("bob");
        assert_eq!(ledger.later(minutes).tell("freeze.off", &thaw).is_ok(), holds);
    }
}

/// One key, two installations: what was signed in one lets nothing happen in the other.
#[test]
fn what_was_signed_for_another_installation_counts_nowhere() {
    let elsewhere = |ledger: &mut Ledger| -> Value {
        let act = Act::Thaw { what: "everything".to_owned() };
        let body = json!({ "scope": "everything", "by": "bob" });
        let mut signed = ledger.signed("bob", act, body);
        let text = signed["statement"].as_str().unwrap();
        let statement: Statement = serde_json::from_str(text).unwrap();
        let other = Statement { installation: "other".parse().unwrap(), ..statement };
        let text = String::from_utf8(other.to_bytes()).unwrap();
        let hand = super::Hand::of("bob");
        signed["signature"] = hand.signs(&text, countermand_core::statement::NAMESPACE).into();
        signed["statement"] = text.into();
        signed
    };
    let mut ledger = asked();
    let thaw = elsewhere(&mut ledger);
    assert!(ledger.tell("freeze.off", &thaw).unwrap_err().contains("installation `other`"));
    // It may be called otherwise until somebody is let in.
    let mut ledger = Ledger::default();
    ledger.tell("config.applied", &unsigned(&PEOPLE)).unwrap();
    let thaw = elsewhere(&mut ledger);
    ledger.tell("freeze.off", &thaw).unwrap();
    ledger.tell("config.applied", &unsigned(&PEOPLE)).unwrap();
    let thaw = ledger.thaw("bob");
    ledger.tell("freeze.off", &thaw).unwrap();
}

#[test]
fn what_is_signed_is_what_was_asked_and_by_all_the_same() {
    let mut ledger = asked();
    let why = |told: Result<(), String>| told.unwrap_err();
    let mut other = subject(1, None);
    other.identity.payload = super::digest(9).parse().unwrap();
    let approved = ledger.approved_change("bob", other);
    assert!(why(ledger.tell("change.approved", &approved)).contains("payload is"));
    let unknown = ledger.approved_change("bob", subject(2, None));
    assert!(why(ledger.tell("change.approved", &unknown)).contains("who asked for change 2"));
    assert!(why(ledger.tell("change.held", &held(1))).contains("asked for before"));

    let mut ledger = asked();
    let approved = ledger.approved_change("bob", subject(1, None));
    ledger.tell("change.approved", &approved).unwrap();
    let mut wider = subject(1, None);
    wider.ceiling.rows.get_mut("t").unwrap().limit = 1000;
    let approved = ledger.approved_change("carol", wider);
    assert!(why(ledger.tell("change.approved", &approved)).contains("another signed something"));
    // It is another after it was measured anew.
    ledger.tell("change.voided", &json!({ "change": 1, "event": {} })).unwrap();
    ledger.nonce += 1;
    let mut wider = subject(1, None);
    wider.ceiling.rows.get_mut("t").unwrap().limit = 1000;
    let approved = ledger.approved_change("carol", wider);
    ledger.tell("change.approved", &approved).unwrap();
}

/// Else who answers for a change would be whoever the gateway says.
#[test]
fn who_asks_was_let_in_by_the_sponsor_who_is_told() {
    let asks = |agent: &str, sponsor: &str| {
        let mut body = held(1);
        body["event"]["request"]["agent"] = agent.into();
        body["event"]["request"]["sponsor"] = sponsor.into();
        Ledger::let_in_under(&PEOPLE).tell("change.held", &body)
    };
    asks("bot", "alice").unwrap();
    asks("human:bob", "bob").unwrap();
    for (agent, sponsor) in [("bot", "bob"), ("other", "alice"), ("human:bob", "alice")] {
        let why = asks(agent, sponsor).unwrap_err();
        assert!(why.contains("was not let in by"), "{why}");
    }
}

#[test]
fn a_commit_is_within_what_everybody_signed() {
    let committing = |rows: Value| json!({ "change": 1, "event": { "measured": rows } });
    for (rows, holds) in [
        (json!({ "t": 3 }), true),
        (json!({}), true),
        (json!({ "t": 4 }), false),
        (json!({ "other": 1 }), false),
    ] {
        let mut ledger = asked();
        let approved = ledger.approved_change("bob", subject(1, None));
        ledger.tell("change.approved", &approved).unwrap();
        let told = ledger.tell("change.committing", &committing(rows.clone()));
        assert_eq!(told.is_ok(), holds, "{rows}: {told:?}");
    }
}

#[test]
fn nobody_signs_what_they_answer_for_unless_they_are_alone() {
    let mut ledger = asked();
    let own = ledger.approved_change("alice", subject(1, None));
    let why = ledger.tell("change.approved", &own).unwrap_err();
    assert!(why.contains("answers for the change"), "{why}");
    let own = ledger.resolved("alice", 1);
    assert!(ledger.tell("change.resolved", &own).unwrap_err().contains("answers for"));
    let until = ledger.now() + SignedDuration::from_hours(1);
    let own = ledger.stands("alice", standing(1, until));
    assert!(ledger.tell("standing.approved", &own).unwrap_err().contains("answers for"));
    // Who adopted it answers for it too; whoever did not is told to have.
    let mut ledger = Ledger::let_in_under(&PEOPLE);
    ledger.tell("change.forbidden", &held(1)).unwrap();
    let adopted = ledger.adopted_change("carol", 1);
    ledger.tell("change.adopted", &adopted).unwrap();
    let own = ledger.approved_change("carol", subject(1, Some("carol")));
    assert!(ledger.tell("change.approved", &own).unwrap_err().contains("answers for"));
    for adopter in [None, Some("bob")] {
        let other = ledger.approved_change("carol", subject(1, adopter));
        assert!(ledger.tell("change.approved", &other).unwrap_err().contains("adopted by"));
    }

    let mut ledger = Ledger::let_in_under(&["alice"]);
    ledger.tell("change.held", &held(1)).unwrap();
    let own = ledger.approved_change("alice", subject(1, None));
    ledger.tell("change.approved", &own).unwrap();
    // Who is new is nobody yet, for a day.
    let mut ledger = Ledger::let_in_under(&["alice"]);
    let proposed = ledger.proposed("alice", 1, &[key_of("bob")]);
    ledger.tell("config.proposed", &proposed).unwrap();
    let both = applied(1, "alice", None, &["alice", "bob"]);
    ledger.later(60).tell("config.applied", &both).unwrap();
    for (number, minutes, holds) in [(1, 24 * 60, true), (2, 2, false)] {
        ledger.later(minutes).tell("change.held", &held(number)).unwrap();
        let own = ledger.approved_change("alice", subject(number, None));
        assert_eq!(ledger.tell("change.approved", &own).is_ok(), holds);
    }
}

/// A ledger with a standing approval by bob, from change 1, for an hour, two runs, a minute apart.
fn stood() -> (Ledger, Value, Timestamp) {
    let mut ledger = asked();
    let signed = ledger.now();
    let stands = ledger.stands("bob", standing(1, signed + SignedDuration::from_hours(1)));
    ledger.tell("standing.approved", &stands).unwrap();
    for number in 2..=4 {
        ledger.tell("change.held", &held(number)).unwrap();
    }
    (ledger, stands, signed)
}

#[test]
fn a_standing_approval_carries_what_it_was_signed_for() {
    let (mut ledger, stands, signed) = stood();
    let mut run = |minutes: i64, number: u64| {
        ledger.later(minutes).tell("change.approved", &carried(number, &stands, signed)).is_ok()
    };
    assert!(!run(0, 1), "its example");
    assert!(run(0, 2));
    assert!(!run(1, 2), "twice for one change");
    let (mut ledger, stands, signed) = stood();
    let mut run = |minutes: i64, number: u64| {
        ledger.later(minutes).tell("change.approved", &carried(number, &stands, signed)).is_ok()
    };
    assert!(run(0, 2));
    assert!(!run(0, 3), "too soon after another");
    assert!(run(1, 3));
    assert!(!run(1, 4), "more than its runs");
}

#[test]
fn a_standing_approval_carries_nothing_after_its_end_and_is_what_was_signed() {
    let (mut ledger, stands, signed) = stood();
    assert!(ledger.later(59).tell("change.approved", &carried(2, &stands, signed)).is_ok());
    assert!(ledger.later(1).tell("change.approved", &carried(3, &stands, signed)).is_err());

    let (mut ledger, stands, signed) = stood();
    ledger.tell("standing.ended", &json!({ "standing": 1 })).unwrap();
    assert!(ledger.tell("change.approved", &carried(2, &stands, signed)).is_err());

    // Another one that bob signed, and that no entry says stands.
    let (mut ledger, stands, signed) = stood();
    let until = stands["until"].as_str().unwrap().parse().unwrap();
    let other = ledger.stands("bob", standing(1, until));
    let why = ledger.tell("change.approved", &carried(2, &other, signed)).unwrap_err();
    assert!(why.contains("something else was signed"), "{why}");
    assert_eq!(signed, Timestamp::from_second(BEGAN).unwrap());

    // And it is no approval of one change alone.
    let (mut ledger, stands, signed) = stood();
    let mut body = carried(2, &stands, signed);
    body["event"]["approval"]["standing"] = Value::Null;
    assert!(ledger.tell("change.approved", &body).is_err());
}

#[test]
fn what_a_seat_and_a_reversibility_are_is_signed() {
    let mut ledger = asked();
    let seated = ReviewSubject { seat: Some("dba".parse().unwrap()), ..subject(1, None) };
    let mut approved = ledger.approved_change("bob", subject(1, None));
    let signed = ledger.signed("bob", Act::Approve(seated), approved.clone());
    (approved["statement"], approved["signature"]) =
        (signed["statement"].clone(), signed["signature"].clone());
    let why = ledger.tell("change.approved", &approved).unwrap_err();
    assert!(why.contains("approval.seat` is null"), "{why}");
    approved["event"]["approval"]["seat"] = json!("dba");
    ledger.tell("change.approved", &approved).unwrap();
}
