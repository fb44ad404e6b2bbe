//! One ledger with every kind of entry that people sign for. Whatever else a gateway makes of any of
//! it is found.

use super::configured::{applied, key_of};
use super::{Hand, Ledger, digest};
use countermand_core::digest::Digest;
use countermand_core::standing::StandingSubject;
use countermand_core::statement::{Act, LedgerKey, ReviewSubject, TextsOf};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A change, as it was asked.
pub(super) fn held(number: u64) -> Value {
    json!({ "change": number, "event": { "request": {
        "agent": "bot", "sponsor": "alice", "target": "prod", "payload": digest(7),
        "shape": digest(8),
    } } })
}

/// What is signed of it.
pub(super) fn subject(number: u64, adopted: Option<&str>) -> ReviewSubject {
    let subject = json!({
        "change": number, "requester": "bot", "sponsor": "alice", "seat": null,
        "identity": {
            "target": "prod", "fingerprint": "f", "payload": digest(7), "verbs": [],
            "objects": {}, "reads": {}, "tags": {},
        },
        "ceiling": { "rows": { "t": { "measured": 2, "limit": 3 } } },
        "reversibility": "restorable",
    });
    let adopted = adopted.map(|human| human.parse().unwrap());
    ReviewSubject { adopted, ..serde_json::from_value(subject).unwrap() }
}

/// What is signed of changes that are like this one.
pub(super) fn standing(example: u64, until: Timestamp) -> StandingSubject {
    serde_json::from_value(json!({
        "example": example, "requester": "bot", "sponsor": "alice", "shape": digest(8),
        "scene": {
            "target": "prod", "fingerprint": "f", "verbs": [], "objects": {}, "reads": {}, "tags": {},
        },
        "ceiling": { "t": 3 }, "reversibility": "restorable", "runs": 2, "apart": 60,
        "until": until, "seat": null,
    }))
    .unwrap()
}

impl Ledger {
    pub(super) fn approved_change(&mut self, human: &str, subject: ReviewSubject) -> Value {
        let own = subject.sponsor.as_str() == human
            || subject.adopted.as_ref().is_some_and(|adopter| adopter.as_str() == human);
        let body = json!({ "change": subject.change, "event": { "approval": {
            "human": human, "seat": null, "subject": Digest::of(&subject), "confirms": own,
            "key": Hand::of(human).key(), "user_verified": false,
        } } });
        self.signed(human, Act::Approve(subject), body)
    }

    pub(super) fn adopted_change(&mut self, human: &str, number: u64) -> Value {
        let subject = subject(number, None);
        let body = json!({ "change": number, "event": { "adoption": {
            "human": human, "subject": Digest::of(&subject), "key": Hand::of(human).key(),
            "user_verified": false,
        } } });
        self.signed(human, Act::Adopt(subject), body)
    }

    pub(super) fn rejected(&mut self, human: &str, number: u64) -> Value {
        let key = Hand::of(human).key();
        let body = json!({ "change": number, "event": { "human": human, "key": key } });
        let act = Act::Reject { subject: subject(number, None), reason: "no".to_owned() };
        self.signed(human, act, body)
    }

    pub(super) fn resolved(&mut self, human: &str, number: u64) -> Value {
        let body = json!({ "change": number, "event": {
            "committed": true, "human": human, "confirms": human == "alice",
            "key": Hand::of(human).key(),
        } });
        let (change, reason) = (countermand_core::request::ChangeNumber(number), "seen".to_owned());
        self.signed(human, Act::Resolve { change, committed: true, reason }, body)
    }

    fn restores(&mut self, human: &str, number: u64) -> Value {
        let body = json!({
            "change": number, "event": { "human": human, "overwrite": false },
        });
        let change = countermand_core::request::ChangeNumber(number);
        self.signed(human, Act::Restore { change, overwrite: false }, body)
    }

    pub(super) fn stands(&mut self, human: &str, subject: StandingSubject) -> Value {
        let body = json!({
            "standing": 1, "example": subject.example, "agent": "bot", "target": "prod",
            "human": human, "until": subject.until, "runs": subject.runs,
            "key": Hand::of(human).key(), "user_verified": false,
        });
        self.signed(human, Act::ApproveStanding(subject), body)
    }

    fn takes_back(&mut self, human: &str, writes: &[u64]) -> Value {
        let (since, until) = (self.now(), self.now());
        let act = Act::TakeBack {
            agent: serde_json::from_value(json!("bot")).unwrap(),
            target: "prod".parse().unwrap(),
            since,
            until,
            overwrite: false,
        };
        self.signed(human, act, json!({ "writes": writes }))
    }

    fn erases(&mut self, human: &str) -> Value {
        let texts = vec![TextsOf { entry: 2, names: ["payload".to_owned()].into() }];
        let body = json!({ "because": "signed", "by": human, "texts": texts });
        self.signed(human, Act::EraseTexts { texts, reason: "law".to_owned() }, body)
    }

    pub(super) fn replaces(&mut self, human: &str, key: LedgerKey) -> Value {
        let (from, to) = ("old".to_owned(), "new".to_owned());
        let body = json!({ "from": from, "to": to });
        self.signed(human, Act::RotateKey { key, from, to }, body)
    }
}

/// A run of the first standing approval, which `stands` told of at this time.
pub(super) fn carried(number: u64, stands: &Value, signed: Timestamp) -> Value {
    json!({
        "change": number, "statement": stands["statement"], "signature": stands["signature"],
        "event": { "approval": {
            "human": stands["human"], "seat": null, "subject": Digest::of(&subject(number, None)),
            "confirms": false, "key": stands["key"], "user_verified": false,
            "standing": { "number": 1, "signed": signed, "until": stands["until"] },
        } },
    })
}

/// An entry: after how many minutes, of which kind, what it says.
type Entry = (i64, &'static str, Value);

/// What an honest gateway writes.
fn story() -> Vec<Entry> {
    let mut made = Made { ledger: Ledger::default(), told: Vec::new() };
    let people = ["alice", "bob", "carol"];
    made.tell("config.applied", |_| super::unsigned(&people));
    made.tell("agent.added", |ledger| ledger.let_in("alice"));
    made.tell("change.held", |_| held(1));
    made.tell("change.approved", |ledger| ledger.approved_change("bob", subject(1, None)));
    made.tell("change.committing", |_| json!({ "change": 1, "event": { "measured": { "t": 3 } } }));
    made.tell("change.restore_begun", |ledger| ledger.restores("bob", 1));
    made.tell("change.restored", |_| json!({ "change": 1, "event": { "human": "bob" } }));
    let signed = made.ledger.now();
    let until = signed + SignedDuration::from_hours(1);
    let stands = made.tell("standing.approved", |ledger| ledger.stands("bob", standing(1, until)));
    made.tell("change.held", |_| held(2));
    made.tell("change.approved", |_| carried(2, &stands, signed));
    made.tell("change.forbidden", |_| held(3));
    made.tell("change.adopted", |ledger| ledger.adopted_change("alice", 3));
    made.tell("change.approved", |ledger| ledger.approved_change("bob", subject(3, Some("alice"))));
    made.tell("change.held", |_| held(4));
    made.tell("change.rejected", |ledger| ledger.rejected("carol", 4));
    made.tell("change.held", |_| held(5));
    made.tell("change.resolved", |ledger| ledger.resolved("bob", 5));
    made.tell("freeze.off", |ledger| ledger.thaw("bob"));
    let flow = made.told.len() as u64;
    made.tell("flow.intent", |_| json!({ "agent": "bot", "target": "prod" }));
    made.tell("take_back.intended", |ledger| ledger.takes_back("bob", &[flow]));
    made.tell("take_back.done", |_| json!({ "wish": flow + 1, "by": "bob" }));
    made.tell("texts.erased", |ledger| ledger.erases("bob"));
    made.tell("ledger.key_changed", |ledger| ledger.replaces("bob", LedgerKey::Checkpoints));
    made.tell("ledger.key_vouched", |_| json!({ "checkpoint": "note" }));
    made.tell("ledger.texts_key_changed", |ledger| ledger.replaces("bob", LedgerKey::Texts));
    let words = [key_of("alice"), key_of("carol")];
    made.tell("config.proposed", |ledger| ledger.proposed("alice", 1, &words));
    made.tell("config.approved", |ledger| ledger.approved("bob", "alice", 1, &words));
    made.ledger.later(1);
    made.tell("config.applied", |_| applied(1, "alice", Some("bob"), &["bob"]));
    made.tell("freeze.off", |ledger| ledger.thaw("bob"));
    made.told
}

struct Made {
    ledger: Ledger,
    told: Vec<Entry>,
}

impl Made {
    fn tell(&mut self, kind: &'static str, body: impl FnOnce(&mut Ledger) -> Value) -> Value {
        let body = body(&mut self.ledger);
        self.told.push((self.ledger.minute, kind, body.clone()));
        body
    }
}

/// Where it is refused, and why.
fn read(story: &[Entry]) -> Result<(), String> {
    let mut ledger = Ledger::default();
    for (minute, kind, body) in story {
        ledger.minute = *minute;
        ledger.tell(kind, body)?;
    }
    Ok(())
}

/// Every value in it that is no table and no list, as a JSON pointer.
fn leaves(value: &Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), into));
        }
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.for_each(|(nth, value)| leaves(value, &format!("{at}/{nth}"), into));
        }
        _ => into.push(at.to_owned()),
    }
}

fn another(value: &Value) -> Value {
    match value {
        Value::Bool(is) => json!(!is),
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(text) if text.len() == 64 => json!(digest(99)),
        Value::String(text) if text.parse::<Timestamp>().is_ok() => json!("2027-01-01T00:00:00Z"),
        _ => json!("mallory"),
    }
}

/// What this story does not hold against anything that was signed.
fn is_elsewhere(kind: &str, path: &str, change: Option<u64>) -> bool {
    match (kind, path, change) {
        // Held against the tree.
        ("ledger.key_vouched", ..) => true,
        // What is asked under a standing approval differs in which rows, and is no other's subject.
        (_, "/event/request/payload" | "/event/approval/subject", Some(2)) => true,
        // Of these nobody signed a shape, and of the last only its number.
        (_, "/event/request/shape", Some(3..=5)) => true,
        (_, "/event/request/payload" | "/event/request/target", Some(5)) => true,
        _ => false,
    }
}

#[test]
fn whatever_else_an_entry_tells_is_found() {
    let story = story();
    read(&story).unwrap();
    for (nth, (_, kind, body)) in story.iter().enumerate() {
        let mut paths = Vec::new();
        leaves(body, "", &mut paths);
        for path in paths {
            let elsewhere = is_elsewhere(kind, &path, body["change"].as_u64());
            let mut lies = story.clone();
            let value = lies[nth].2.pointer_mut(&path).unwrap();
            *value = another(value);
            assert_eq!(read(&lies).is_ok(), elsewhere, "{kind} {path}: {}", lies[nth].2);
        }
    }
}

#[test]
fn a_statement_is_missed_where_one_must_be_and_stands_nowhere_else() {
    let story = story();
    for (nth, (minute, kind, body)) in story.iter().enumerate() {
        let mut lies = story.clone();
        let members = lies[nth].2.as_object_mut().unwrap();
        let was_signed = members.remove("statement").is_some();
        members.remove("signature");
        if was_signed {
            assert!(read(&lies).is_err(), "{kind} holds though nobody signed it");
        }
        // A true statement of another act, fresh.
        let mut hand = Ledger { minute: *minute, nonce: 1000, ..Ledger::default() };
        let change = countermand_core::request::ChangeNumber(1);
        let act = match *kind {
            "change.restore_begun" => Act::Thaw { what: "everything".to_owned() },
            _ => Act::Restore { change, overwrite: false },
        };
        lies[nth].2 = hand.signed("bob", act, body.clone());
        let why = read(&lies).unwrap_err();
        assert!(why.contains("is no statement for it"), "{kind}: {why}");
    }
}

#[test]
fn what_is_old_is_erased_and_a_lost_key_replaced_by_no_human() {
    let mut ledger = Ledger::let_in_under(&["alice", "bob"]);
    let texts = json!([{ "entry": 0, "names": ["configuration"] }]);
    let erased = |because: &str| json!({ "because": because, "texts": texts });
    ledger.tell("texts.erased", &erased("retention")).unwrap();
    for because in ["signed", "law"] {
        let why = ledger.tell("texts.erased", &erased(because)).unwrap_err();
        assert!(why.contains("nobody signed it"), "{why}");
    }
    let lost = json!({ "from": null, "to": "mine" });
    ledger.entries = Ledger::let_in_under(&["alice", "bob"]).entries;
    ledger.tell("ledger.key_changed", &lost).unwrap();
    let why = ledger.tell("ledger.key_vouched", &json!({ "checkpoint": "note" })).unwrap_err();
    assert!(why.contains("nobody signed for that"), "{why}");
    assert!(ledger.tell("ledger.texts_key_changed", &lost).is_err());
}
