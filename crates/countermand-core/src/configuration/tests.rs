use super::*;
use proptest::prelude::*;
use serde_json::json;

fn configuration(settings: Value) -> Configuration {
    let Value::Object(settings) = settings else { panic!("{settings}") };
    Configuration { settings, policies: BTreeMap::new() }
}

fn base() -> Value {
    json!({
        "installation": "shop",
        "people": { "alice": { "keys": ["ssh-ed25519 AAAA alice"] },
                    "bob": { "keys": ["ssh-ed25519 BBBB bob"] } },
        "reviewers": { "alice": { "groups": [] }, "bob": { "groups": ["dba"] } },
        "sponsors": { "alice": { "targets": ["prod"], "effects": ["read", "write"] } },
        "targets": { "prod": { "kind": "postgres", "environment": "production", "host": "db",
            "tags": ["pci"], "object_tags": { "billing.*": ["critical"] },
            "writes": { "rows": 100 } } },
    })
}

/// Sets, or with null removes, what stands at a path.
fn with(path: &str, value: Value) -> Configuration {
    let mut whole = base();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let table = whole.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => table.remove(name),
        value => table.insert(name.to_owned(), value),
    };
    configuration(whole)
}

fn found(path: &str, value: Value) -> Vec<(bool, String)> {
    let difference = difference(&configuration(base()), &with(path, value));
    difference.into_iter().map(|one| (one.loosens, one.words)).collect()
}

#[test]
fn what_takes_away_tightens_and_everything_else_loosens() {
    let tightens = [
        ("/sponsors/alice/effects", json!(["read"])),
        ("/sponsors/alice", Value::Null),
        ("/targets/prod/tags", json!(["pci", "critical"])),
        ("/targets/prod/object_tags/audit.*", json!(["critical"])),
        ("/targets/prod/writes/rows", json!(10)),
        ("/targets/prod/disposable", json!(false)),
    ];
    for (path, value) in tightens {
        let found = found(path, value);
        assert!(!found.is_empty() && found.iter().all(|(loosens, _)| !loosens), "{path} {found:?}");
    }
    let loosens = [
        ("/sponsors/alice/effects", json!(["read", "write", "grant"])),
        ("/sponsors/bob", json!({ "targets": ["prod"], "effects": ["read"] })),
        ("/people/mallory", json!({ "keys": ["ssh-ed25519 MMMM"] })),
        ("/people/alice/keys", json!(["ssh-ed25519 AAAA", "ssh-ed25519 MMMM"])),
        ("/people/bob", Value::Null),
        ("/reviewers/bob", Value::Null),
        ("/reviewers/alice/groups", json!(["dba"])),
        ("/targets/prod/environment", json!("staging")),
        ("/targets/prod/disposable", json!(true)),
        ("/targets/prod/host", json!("other")),
        ("/targets/prod/tags", json!([])),
        ("/targets/prod/tags", json!(["pci", "safe"])),
        ("/targets/prod/object_tags/billing.*", json!([])),
        ("/targets/prod/object_tags", Value::Null),
        ("/targets/prod/writes/rows", json!(101)),
        ("/targets/prod/writes", Value::Null),
        ("/targets/prod/writes/roots", json!(1)),
        ("/targets/prod/probation", json!({ "days": 7, "share": 4 })),
        ("/targets/prod/what_nobody_knows", json!(1)),
        ("/targets/second", json!({ "host": "db" })),
        ("/targets/prod", Value::Null),
        ("/what_nobody_knows", json!({})),
    ];
    for (path, value) in loosens {
        let found = found(path, value);
        assert!(found.iter().any(|(loosens, _)| *loosens), "{path} {found:?}");
    }
}

#[test]
fn turning_observation_on_loosens_and_turning_it_off_or_down_tightens() {
    let days = |days: u8, own: bool| json!({ "days": days, "session_may_own": own });
    let of = |old: Value, new: Value| {
        let (old, new) = (with("/targets/prod/observe", old), with("/targets/prod/observe", new));
        new.subject(&old)
    };
    for (old, new, loosens) in [
        (Value::Null, days(1, false), true),
        (days(7, false), days(8, false), true),
        (days(7, false), days(7, true), true),
        (days(7, true), days(6, false), false),
        (days(7, true), Value::Null, false),
        (days(7, true), json!({ "days": 7 }), false),
        (days(7, false), json!({ "days": -1 }), true),
    ] {
        let subject = of(old.clone(), new.clone());
        assert_eq!(subject.loosens, loosens, "{old} to {new}: {:?}", subject.differences);
        assert!(!subject.differences.is_empty());
    }
    let told = of(Value::Null, days(14, false)).differences;
    assert!(told.iter().any(|words| words.contains("OBSERVED: nothing is held")), "{told:?}");
}

#[test]
fn differences_are_told_in_words() {
    assert_eq!(
        found("/people/alice/keys", json!(["ssh-ed25519 MMMM"]))[0].1,
        "`people.alice.keys`: also \"ssh-ed25519 MMMM\"; no longer \"ssh-ed25519 AAAA alice\"; \
         a key that is new counts after 24 hours"
    );
    assert_eq!(
        found("/targets/prod/disposable", json!(true))[0].1,
        "`targets.prod.disposable`: true is set; the floor does not bind there"
    );
    assert_eq!(
        found("/targets/prod/object_tags/billing.*", json!([]))[0].1,
        "`targets.prod.object_tags.\"billing.*\"`: no longer \"critical\""
    );
    let alone = found("/people/bob", Value::Null);
    assert!(alone.iter().any(|(_, words)| words.contains("one human is left")), "{alone:?}");
    assert_eq!(found("/targets/prod/tags", json!(["pci"])), []);
}

#[test]
fn policies_that_are_added_tighten_and_others_loosen() {
    let with = |texts: &[(&str, &str)]| Configuration {
        settings: Map::new(),
        policies: texts.iter().map(|(file, text)| ((*file).into(), (*text).into())).collect(),
    };
    let loosens =
        |old: &[(&str, &str)], new: &[(&str, &str)]| with(new).subject(&with(old)).loosens;
    assert!(!loosens(&[("a.cedar", "x")], &[("a.cedar", "x"), ("b.cedar", "y")]));
    assert!(loosens(&[("a.cedar", "x")], &[("a.cedar", "y")]));
    assert!(loosens(&[("a.cedar", "x")], &[]));
    let told = with(&[("a.cedar", "one\nthree\n")]).subject(&with(&[("a.cedar", "one\ntwo\n")]));
    assert_eq!(
        told.differences,
        [
            "loosens: policies \"a.cedar\" is another text",
            "loosens: policies \"a.cedar\" line 2 no longer: two",
            "loosens: policies \"a.cedar\" line 2 now: three",
        ]
    );
}

#[test]
fn what_is_new_counts_after_a_day_and_what_stays_stays() {
    let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
    let alice = Claim::key("alice", "ssh-ed25519 AAAA another comment");
    let mallory = Claim::key("mallory", "ssh-ed25519 MMMM");
    let mut enrolment = Enrolment::default();
    let counts = |enrolment: &Enrolment, claim, now| enrolment.counts_from(claim) <= now;
    enrolment.apply(&configuration(base()), at(0), true);
    assert!(counts(&enrolment, &alice, at(0)) && !counts(&enrolment, &mallory, at(99)));
    let more = with("/people/mallory", json!({ "keys": ["ssh-ed25519 MMMM m"] }));
    enrolment.apply(&more, at(1), false);
    enrolment.apply(&more, at(20), false);
    assert!(counts(&enrolment, &alice, at(1)));
    assert!(!counts(&enrolment, &mallory, at(24)) && counts(&enrolment, &mallory, at(25)));
    enrolment.apply(&configuration(base()), at(30), false);
    enrolment.apply(&more, at(31), false);
    assert!(!counts(&enrolment, &mallory, at(54)), "who comes back is new");
    assert_eq!(enrolment.keys_of("mallory", at(54)).count(), 0);
    assert_eq!(enrolment.keys_of("mallory", at(55)).collect::<Vec<_>>(), ["ssh-ed25519 MMMM"]);
    let seat = Claim::Seat { human: "bob".into(), group: "dba".into() };
    let reviewer = Claim::Reviewer { human: "mallory".into() };
    assert!(counts(&enrolment, &seat, at(31)) && !counts(&enrolment, &reviewer, at(99)));
}

#[test]
fn a_passkey_made_elsewhere_is_another_key() {
    let claim = |line| Claim::key("bob", line);
    let here = claim("passkey https://gate.example AAAA bob's laptop");
    assert_eq!(here, claim("passkey  https://gate.example\tAAAA"));
    assert_ne!(here, claim("passkey https://gate.example BBBB"));
    assert_ne!(here, claim("passkey https://gate.example:8443 AAAA"));
}

#[test]
fn whose_key_counts_is_told_by_the_keys_alone() {
    let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
    let more = with("/people/mallory", json!({ "keys": ["ssh-ed25519 MMMM m"] }));
    let (mut whole, mut alone) = (Enrolment::default(), Enrolment::default());
    let steps = [(configuration(base()), 0, true), (more.clone(), 1, false), (more, 9, false)];
    for (configuration, hours, first) in steps {
        whole.apply(&configuration, at(hours), first);
        // As it is read back from an entry.
        let said = serde_json::to_value(configuration.signers()).unwrap();
        assert!(!said.to_string().contains(" m\""), "a comment may name somebody: {said}");
        alone.apply_signers(&serde_json::from_value(said).unwrap(), at(hours), first);
        for human in ["alice", "bob", "mallory", "nobody"] {
            for now in [0, 1, 24, 25, 99] {
                let keys = |of: &Enrolment| {
                    of.keys_of(human, at(now)).map(str::to_owned).collect::<Vec<_>>()
                };
                assert_eq!(keys(&whole), keys(&alone), "{human} at {now}");
            }
        }
    }
    assert_eq!(alone.keys_of("mallory", at(24)).count(), 0);
    assert_eq!(alone.keys_of("mallory", at(25)).count(), 1);
}

fn person(name: u8) -> HumanName {
    ["alice", "bob", "carol"][usize::from(name % 3)].parse().unwrap()
}

proptest! {
    /// Whoever signs whatever when: nothing that loosens is applied without another human's
    /// signature and its cooling, or an hour alone.
    #[test]
    fn nothing_that_loosens_is_in_force_without_another_human(
        editor in 0u8..3, by in proptest::option::of((0u8..3, 0i64..200_000)),
        loosens: bool, solo: bool, reviewers in proptest::collection::vec(0u8..3, 0..3),
        asked in 0i64..400_000, began in 0i64..400_000,
    ) {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let approval = by.map(|(human, second)| (person(human), at(second)));
        let editor = person(editor);
        let proposed = Proposed { editor: editor.clone(), at: at(0), loosens, approval: approval.clone() };
        let reviews = |human: &HumanName| reviewers.iter().any(|one| person(*one) == *human);
        let waits = proposed.waits(at(asked), at(began), solo, reviews);
        let applied = matches!(waits, Waits::Until(then) if then <= at(asked));
        if applied && loosens {
            let alone = solo && asked >= 3600 && asked - began >= 3600;
            let peer = approval.is_some_and(|(human, when)| {
                human != editor && reviews(&human) && at(asked).duration_since(when) >= COOLING && asked - began >= 60
            });
            prop_assert!(alone || peer);
        }
        prop_assert!(loosens || applied, "what tightens is in force at once");
    }
}
