//! Nobody's key counts, and no configuration is in force, because the gateway says so.

use super::{Hand, Ledger, digest, signers, unsigned};
use countermand_core::statement::{Act, ConfigurationSubject};
use serde_json::{Value, json};

/// What is signed of a configuration that is to replace the one before it.
fn subject(of: u8, differences: &[String]) -> ConfigurationSubject {
    let loosens = differences.iter().any(|words| words.starts_with("loosens"));
    ConfigurationSubject {
        digest: digest(of).parse().unwrap(),
        replaces: digest(of - 1).parse().unwrap(),
        loosens,
        differences: differences.to_vec(),
        observed: Vec::new(),
    }
}

/// Something that loosens, and nothing about people.
fn more() -> Vec<String> {
    vec!["loosens: more".to_owned()]
}

/// Something that tightens.
fn less() -> Vec<String> {
    vec!["tightens: less".to_owned()]
}

/// That this human's key comes or goes.
pub(super) fn key_of(human: &str) -> String {
    format!("loosens: `people.{human}.keys`: [\"{} of {human}\"] is set", Hand::of(human).line())
}

impl Ledger {
    /// A ledger in which an agent was let in under the first configuration.
    pub(super) fn let_in_under(people: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.tell("config.applied", &unsigned(people)).unwrap();
        let added = ledger.let_in(people[0]);
        ledger.tell("agent.added", &added).unwrap();
        ledger
    }

    pub(super) fn proposed(&mut self, human: &str, of: u8, differences: &[String]) -> Value {
        let subject = subject(of, differences);
        let body = json!({
            "digest": subject.digest, "replaces": subject.replaces, "loosens": subject.loosens,
            "editor": human, "key": Hand::of(human).key(),
        });
        self.signed(human, Act::ProposeConfiguration(subject), body)
    }

    /// Another human's word on what `editor` proposed.
    pub(super) fn approved(
        &mut self,
        human: &str,
        editor: &str,
        of: u8,
        differences: &[String],
    ) -> Value {
        let (subject, number) = (subject(of, differences), u64::from(of) + 1);
        let body = json!({
            "configuration": number, "editor": editor, "human": human, "key": Hand::of(human).key(),
            "digest": subject.digest, "replaces": subject.replaces, "loosens": true,
        });
        let act = Act::ApproveConfiguration { number, editor: editor.parse().unwrap(), subject };
        self.signed(human, act, body)
    }
}

pub(super) fn applied(of: u8, editor: &str, human: Option<&str>, people: &[&str]) -> Value {
    json!({
        "configuration": of + 1, "digest": digest(of), "replaces": digest(of - 1),
        "editor": editor, "human": human, "signers": signers(people),
    })
}

#[test]
fn one_unsigned_entry_makes_no_key_count_once_an_agent_is_there() {
    let mut ledger = Ledger::let_in_under(&["alice", "bob"]);
    let mut mine = unsigned(&["alice"]);
    mine["signers"]["bob"] = json!([Hand::of("gateway").line()]);
    let why = ledger.tell("config.applied", &mine).unwrap_err();
    assert!(why.contains("nobody signed it"), "{why}");
    // Nor does one that says that it was signed, or by whom, or nothing.
    for unsigned in [json!(false), json!(null), json!("true")] {
        let mut ledger = Ledger::let_in_under(&["alice", "bob"]);
        mine["unsigned"] = unsigned;
        let why = ledger.tell("config.applied", &mine).unwrap_err();
        assert!(why.contains("nobody proposed it"), "{why}");
    }
    // Before the first agent the file is what is in force, however often it is another.
    let mut ledger = Ledger::default();
    ledger.tell("config.applied", &unsigned(&["alice"])).unwrap();
    ledger.tell("config.applied", &unsigned(&["alice", "bob"])).unwrap();
}

/// A gateway from before there were configurations has agents and none: its file is in force, once.
#[test]
fn an_upgrade_tells_once_whose_keys_count() {
    let mut ledger = Ledger::default();
    let added = ledger.let_in("alice");
    ledger.tell("agent.added", &added).unwrap();
    ledger.tell("config.applied", &unsigned(&["alice", "bob"])).unwrap();
    let thaw = ledger.thaw("bob");
    ledger.tell("freeze.off", &thaw).unwrap();
    assert!(ledger.tell("config.applied", &unsigned(&["bob"])).is_err());
}

#[test]
fn what_loosens_is_in_force_by_two_humans_and_has_cooled() {
    let people = ["alice", "bob"];
    // Both, and after a minute.
    let story = |second: Option<&str>, minutes: i64| {
        let mut ledger = Ledger::let_in_under(&people);
        let proposed = ledger.proposed("alice", 1, &more());
        ledger.tell("config.proposed", &proposed)?;
        if let Some(human) = second {
            let approved = ledger.approved(human, "alice", 1, &more());
            ledger.tell("config.approved", &approved)?;
        }
        ledger.later(minutes).tell("config.applied", &applied(1, "alice", second, &people))
    };
    story(Some("bob"), 1).unwrap();
    for (second, minutes) in [(None, 1), (None, 61), (Some("alice"), 1), (Some("bob"), 0)] {
        let why = story(second, minutes).unwrap_err();
        assert!(why.contains("no other human let it be in force"), "{second:?} {minutes}: {why}");
    }
    assert!(story(Some("mallory"), 1).unwrap_err().contains("not enrolled"));
}

#[test]
fn what_tightens_is_in_force_by_whoever_wrote_it() {
    let mut ledger = Ledger::let_in_under(&["alice", "bob"]);
    let proposed = ledger.proposed("alice", 1, &less());
    ledger.tell("config.proposed", &proposed).unwrap();
    ledger.tell("config.applied", &applied(1, "alice", None, &["alice", "bob"])).unwrap();
    // That it tightens is what the words that were signed say, too.
    let mut ledger = Ledger::let_in_under(&["alice", "bob"]);
    let lies = ConfigurationSubject { loosens: false, ..subject(1, &more()) };
    let mut body = ledger.proposed("alice", 1, &less());
    body = ledger.signed("alice", Act::ProposeConfiguration(lies), body);
    assert!(ledger.tell("config.proposed", &body).unwrap_err().contains("`loosens` is false"));
}

#[test]
fn whoever_is_alone_waits_an_hour() {
    for (minutes, holds) in [(59, false), (60, true)] {
        let mut ledger = Ledger::let_in_under(&["alice"]);
        let proposed = ledger.proposed("alice", 1, &[key_of("bob")]);
        ledger.tell("config.proposed", &proposed).unwrap();
        let applied = applied(1, "alice", None, &["alice", "bob"]);
        assert_eq!(ledger.later(minutes).tell("config.applied", &applied).is_ok(), holds);
    }
}

#[test]
fn what_is_in_force_is_what_was_signed_and_nothing_else() {
    let people = ["alice", "bob"];
    let begun = || {
        let mut ledger = Ledger::let_in_under(&people);
        let proposed = ledger.proposed("alice", 1, &more());
        ledger.tell("config.proposed", &proposed).unwrap();
        ledger
    };
    let good = applied(1, "alice", Some("bob"), &people);
    for (name, other) in [
        ("digest", json!(digest(2))),
        ("replaces", json!(digest(2))),
        ("configuration", json!(3)),
        ("editor", json!("bob")),
        ("human", json!("carol")),
        ("human", json!(null)),
    ] {
        let mut ledger = begun();
        let approved = ledger.approved("bob", "alice", 1, &more());
        ledger.tell("config.approved", &approved).unwrap();
        let mut body = good.clone();
        body[name] = other;
        assert!(ledger.later(1).tell("config.applied", &body).is_err(), "{name}");
    }
    // What was stopped is signed anew.
    let mut ledger = begun();
    let approved = ledger.approved("bob", "alice", 1, &more());
    ledger.tell("config.approved", &approved).unwrap();
    ledger.tell("config.stopped", &json!({ "configuration": 2, "why": "bob" })).unwrap();
    assert!(ledger.later(1).tell("config.applied", &good).unwrap_err().contains("nobody proposed"));
    // Another's is not what was approved.
    let approved = begun().approved("bob", "carol", 1, &more());
    assert!(
        begun().tell("config.approved", &approved).unwrap_err().contains("another human wrote")
    );
    // One waits at a time, and replaces what is in force.
    let mut ledger = begun();
    let another = ledger.proposed("bob", 1, &more());
    assert!(ledger.tell("config.proposed", &another).unwrap_err().contains("another"));
    let mut ledger = Ledger::let_in_under(&people);
    let later = ledger.proposed("alice", 2, &more());
    assert!(ledger.tell("config.proposed", &later).unwrap_err().contains("not in force"));
}

/// Else any key would count again from there on.
#[test]
fn whose_keys_count_is_told_each_time_once_it_was() {
    let mut ledger = Ledger::default();
    let silent = json!({ "digest": digest(0), "unsigned": true });
    ledger.tell("config.applied", &silent).unwrap();
    ledger.tell("config.applied", &unsigned(&["bob"])).unwrap();
    let why = ledger.tell("config.applied", &silent).unwrap_err();
    assert!(why.contains("does not say whose keys count"), "{why}");
}

#[test]
fn a_key_that_is_new_or_comes_back_counts_after_a_day() {
    let mut ledger = Ledger::let_in_under(&["alice", "bob", "carol"]);
    let mut next = |of: u8, people: &[&str]| {
        let words = [key_of("carol")];
        let proposed = ledger.proposed("alice", of, &words);
        ledger.tell("config.proposed", &proposed).unwrap();
        let approved = ledger.approved("bob", "alice", of, &words);
        ledger.tell("config.approved", &approved).unwrap();
        let applied = applied(of, "alice", Some("bob"), people);
        ledger.later(1).tell("config.applied", &applied).unwrap();
    };
    next(1, &["alice", "bob"]);
    next(2, &["alice", "bob", "carol"]);
    for (minutes, holds) in [(24 * 60 - 1, false), (1, true)] {
        let thaw = ledger.later(minutes).thaw("carol");
        assert_eq!(ledger.tell("freeze.off", &thaw).is_ok(), holds);
    }
}

/// The digest is signed, and the text lies sealed: the entry may name other keys than that does.
#[test]
fn no_key_comes_or_goes_unless_all_who_signed_read_it() {
    let told = |first: &[String], second: &[String], people: &Value| {
        let mut ledger = Ledger::let_in_under(&["alice", "bob", "carol"]);
        let proposed = ledger.proposed("alice", 1, first);
        ledger.tell("config.proposed", &proposed).unwrap();
        let approved = ledger.approved("bob", "alice", 1, second);
        ledger.tell("config.approved", &approved).unwrap();
        let mut body = applied(1, "alice", Some("bob"), &[]);
        body["signers"] = people.clone();
        ledger.later(1).tell("config.applied", &body)
    };
    let dave = signers(&["alice", "bob", "carol", "dave"]);
    let words = [key_of("dave")];
    told(&words, &words, &dave).unwrap();
    for (first, second) in [(more(), more()), (words.to_vec(), more()), (more(), words.to_vec())] {
        let why = told(&first, &second, &dave).unwrap_err();
        assert!(why.contains("nobody signed that"), "{why}");
    }
    // His key is no other's, and one who is left out is missed: else alice would soon be alone.
    let mut other = signers(&["alice", "bob", "carol"]);
    other["carol"] = dave["dave"].clone();
    let fewer = signers(&["alice", "bob"]);
    let mut eve = signers(&["alice", "bob", "carol"]);
    eve["eve"] = dave["dave"].clone();
    for people in [other, fewer, eve] {
        assert!(told(&words, &words, &people).is_err(), "{people}");
    }
    // A passkey is one of a page's.
    let mut page = dave.clone();
    page["dave"] = json!(["passkey http://localhost:6480 AQ"]);
    for (read, holds) in [("http://localhost:6480", true), ("http://localhost:6481", false)] {
        let words = [format!("loosens: `people.dave.keys`: [\"passkey {read} AQ\"] is set")];
        assert_eq!(told(&words, &words, &page).is_ok(), holds);
    }
}

/// Where a ledger is older than that, whoever is in it when it is told first may be in it for long.
#[test]
fn whose_keys_count_may_be_told_first_by_what_people_signed() {
    let mut ledger = Ledger::default();
    let silent = json!({ "digest": digest(0), "unsigned": true });
    ledger.tell("config.applied", &silent).unwrap();
    let added = ledger.let_in("alice");
    ledger.tell("agent.added", &added).unwrap();
    let proposed = ledger.proposed("alice", 1, &less());
    ledger.tell("config.proposed", &proposed).unwrap();
    ledger.tell("config.applied", &applied(1, "alice", None, &["alice", "bob"])).unwrap();
    let thaw = ledger.thaw("bob");
    ledger.tell("freeze.off", &thaw).unwrap();
}
