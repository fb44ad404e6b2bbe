//! What a gateway that lies could write: it has the key of the ledger, and makes any entry it likes.

mod configured;
mod story;
mod told;

use super::entries::{Entries, own_key};
use countermand_core::statement::{Act, NAMESPACE, Statement};
use countermand_ledger::leaf::Leaf;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::collections::BTreeMap;

/// What bob signs in the fixture of a passkey, at [`BEGAN`].
const STATEMENT: &str = concat!(
    r#"{"act":"thaw","expires":"2026-01-01T00:30:00Z","installation":"acme","#,
    r#""issued":"2026-01-01T00:00:00Z","nonce":"00","signer":"bob","#,
    r#""subject":{"what":"everything"}}"#
);
/// 2026-01-01T00:00:00Z.
const BEGAN: i64 = 1_767_225_600;

/// An SSH key of somebody's.
struct Hand(PrivateKey);

impl Hand {
    fn of(person: &str) -> Hand {
        let mut seed = [0; 32];
        seed[..person.len()].copy_from_slice(person.as_bytes());
        Hand(PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), "").unwrap())
    }

    fn line(&self) -> String {
        self.0.public_key().to_openssh().unwrap().trim().to_owned()
    }

    fn key(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    fn signs(&self, text: &str, namespace: &str) -> String {
        let signature = self.0.sign(namespace, HashAlg::Sha512, text.as_bytes()).unwrap();
        signature.to_pem(LineEnding::LF).unwrap()
    }
}

/// A ledger that grows, and the time of its next entry.
#[derive(Default)]
struct Ledger {
    entries: Entries,
    minute: i64,
    nonce: u64,
}

impl Ledger {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(BEGAN + self.minute * 60).unwrap()
    }

    fn later(&mut self, minutes: i64) -> &mut Ledger {
        self.minute += minutes;
        self
    }

    /// One more entry; why it is refused.
    fn tell(&mut self, kind: &str, body: &Value) -> Result<(), String> {
        let index = self.entries.tree.size();
        let leaf = Leaf::new(index, self.now(), kind, body, &BTreeMap::new()).unwrap();
        self.entries.add(leaf.line().as_bytes()).map_err(|failure| failure.why)
    }

    /// What this human signs now, as entries carry it, in a body with these members.
    fn signed(&mut self, human: &str, act: Act, mut body: Value) -> Value {
        self.nonce += 1;
        let (issued, nonce) = (self.now(), format!("{:032x}", self.nonce));
        let expires = issued + SignedDuration::from_mins(30);
        let installation = "acme".parse().unwrap();
        let signer = human.parse().unwrap();
        let statement = Statement { installation, act, signer, nonce, issued, expires };
        let text = String::from_utf8(statement.to_bytes()).unwrap();
        body["signature"] = Hand::of(human).signs(&text, NAMESPACE).into();
        body["statement"] = text.into();
        body
    }

    fn thaw(&mut self, human: &str) -> Value {
        let act = Act::Thaw { what: "everything".to_owned() };
        self.signed(human, act, json!({ "scope": "everything", "by": human }))
    }

    fn let_in(&mut self, sponsor: &str) -> Value {
        let now = self.now();
        let (agent, grant) = ("bot", json!({ "targets": ["prod"], "effects": ["read"] }));
        let body = json!({
            "agent": agent, "sponsor": sponsor, "grant": grant, "expires": now,
            "key": Hand::of(sponsor).key(),
        });
        let act = Act::AddAgent {
            agent: serde_json::from_value(json!(agent)).unwrap(),
            sponsor: sponsor.parse().unwrap(),
            grant,
            expires: now,
        };
        self.signed(sponsor, act, body)
    }
}

/// The keys of these people, as an entry says whose count.
fn signers(people: &[&str]) -> Value {
    people.iter().map(|person| (*person, json!([Hand::of(person).line()]))).collect()
}

/// The configuration of a gateway before its first agent.
fn unsigned(people: &[&str]) -> Value {
    json!({ "digest": digest(0), "unsigned": true, "signers": signers(people) })
}

fn digest(of: u8) -> String {
    format!("{of:02x}").repeat(32)
}

/// [`STATEMENT`] as the entry that tells of it.
fn thawed(signature: &str) -> Value {
    json!({
        "statement": STATEMENT, "signature": signature, "scope": "everything", "by": "bob",
    })
}

#[test]
fn every_signature_in_the_entries_is_verified() {
    let told = |body: &Value| {
        let mut ledger = Ledger::default();
        ledger.tell("freeze.off", body).map(|()| ledger.entries.signers)
    };
    let good = Hand::of("bob").signs(STATEMENT, NAMESPACE);
    let signers = told(&thawed(&good)).unwrap();
    assert_eq!(signers, BTreeMap::from([(format!("bob {}", Hand::of("bob").key()), 1)]));
    let with = |name: &str, value: Value| {
        let mut body = thawed(&good);
        body[name] = value;
        body
    };
    for bad in [
        with("statement", STATEMENT.replace("bob", "eve").into()),
        with("statement", STATEMENT.replace(":{", ": {").into()),
        with("signature", Hand::of("bob").signs(STATEMENT, "file").into()),
        with("signature", "".into()),
    ] {
        let why = told(&bad).unwrap_err();
        assert!(why.starts_with("entry 0 (freeze.off): its signature does not hold"), "{why}");
    }
    let mut half = thawed(&good);
    half.as_object_mut().unwrap().remove("signature");
    assert!(told(&half).unwrap_err().contains("one of statement and signature is missing"));
    assert!(told(&with("statement", 1.into())).unwrap_err().contains("no texts"));
}

/// A passkey that signed [`STATEMENT`], once, elsewhere: nothing of a server is needed.
const PASSKEY: &str = include_str!("passkey.txt");
const ASSERTION: &str = include_str!("assertion.json");

#[test]
fn a_passkey_is_held_against_the_keys_that_counted_then() {
    let signed = thawed(ASSERTION.trim());
    let of = |whose: &str| json!({ "digest": "", "unsigned": true, "signers": { whose: [PASSKEY.trim()] } });
    let why = Ledger::default().tell("freeze.off", &signed).unwrap_err();
    assert!(why.contains("its signature does not hold"), "nobody has said whose: {why}");

    let mut ledger = Ledger::default();
    ledger.tell("config.applied", &of("bob")).unwrap();
    // Another statement under the same assertion.
    let mut other = signed.clone();
    other["statement"] = STATEMENT.replace("everything", "target prod").into();
    let why = ledger.tell("freeze.off", &other).unwrap_err();
    assert!(why.contains("did not sign this statement"), "{why}");
    ledger.tell("freeze.off", &signed).unwrap();
    assert_eq!((ledger.entries.enrolled, ledger.entries.signers.len()), (1, 1));
    // Where it is another's, it is not bob's.
    let mut ledger = Ledger::default();
    ledger.tell("config.applied", &of("bob")).unwrap();
    ledger.tell("config.applied", &of("alice")).unwrap();
    let why = ledger.tell("freeze.off", &signed).unwrap_err();
    assert!(why.contains("not enrolled for this person"), "{why}");
}

#[test]
fn an_ssh_key_is_held_against_the_keys_that_counted_then() {
    let mut ledger = Ledger::default();
    let signed = ledger.thaw("bob");
    let line = own_key(signed["signature"].as_str().unwrap()).unwrap().line();
    assert_eq!(line, Hand::of("bob").line());
    ledger.tell("freeze.off", &signed).unwrap();
    assert_eq!(ledger.entries.enrolled, 0, "the ledger does not tell yet");
    ledger.tell("config.applied", &unsigned(&["bob"])).unwrap();
    let signed = ledger.thaw("bob");
    ledger.tell("freeze.off", &signed).unwrap();
    assert_eq!(ledger.entries.enrolled, 1);
    ledger.tell("config.applied", &unsigned(&["alice"])).unwrap();
    let signed = ledger.thaw("bob");
    assert!(ledger.tell("freeze.off", &signed).is_err());
}
