//! What agents and reviewers read.
#![allow(clippy::unwrap_used)]

use countermand_core::action::{Action, Object};
use countermand_core::effect::Effect;
use countermand_core::evidence::{Evidence, Facts};
use countermand_core::name::{AgentName, EnvironmentName, HumanName, TargetName};
use countermand_core::policy::{Decision, Grant, Measured, Missing, Policy, Question, World};
use countermand_core::verb::{Verb, postgres};
use std::collections::BTreeSet;

const USUAL: Facts = Facts {
    roots: 1,
    reversible: true,
    recovery_seconds: 0,
    rehearsable: true,
    unavailable: false,
    solo: false,
    adopted: false,
    backups: false,
};

fn policy(site: &str) -> Policy {
    let grant = |effects: &[Effect]| Grant {
        targets: ["db".parse().unwrap()].into(),
        effects: effects.iter().copied().collect(),
    };
    let world = World {
        groups: ["dba".parse().unwrap()].into(),
        sponsors: [
            ("alice".parse().unwrap(), grant(&[Effect::Read, Effect::Write, Effect::Destroy])),
            ("bob".parse().unwrap(), grant(&[Effect::Read])),
        ]
        .into(),
        agents: [
            ("bot".parse().unwrap(), ("alice".parse().unwrap(), grant(&Effect::ALL))),
            ("reader".parse().unwrap(), ("bob".parse().unwrap(), grant(&[Effect::Read]))),
        ]
        .into(),
    };
    Policy::load(&world, &[("site.cedar".to_owned(), site.to_owned())]).unwrap()
}

fn decide(
    policy: &Policy,
    who: (&str, &str),
    verb: Verb,
    facts: &Facts,
    evidence: &Evidence,
) -> Decision {
    policy.decide(&Question {
        agent: &who.0.parse::<AgentName>().unwrap(),
        sponsor: &who.1.parse::<HumanName>().unwrap(),
        target: &"db".parse::<TargetName>().unwrap(),
        environment: &"production".parse::<EnvironmentName>().unwrap(),
        disposable: false,
        tags: &BTreeSet::new(),
        actions: &[(Action::new(verb, Object::new("table", "a \"b\"\n\\ 'c'")), BTreeSet::new())],
        measured: Measured::NotYet,
        facts,
        evidence,
    })
}

fn words(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Allow { by } => by.clone(),
        Decision::Hold { missing, .. } => missing
            .iter()
            .map(|set| set.iter().map(Missing::to_string).collect::<Vec<_>>().join(", "))
            .collect(),
        Decision::Forbid { reasons } => reasons.iter().map(ToString::to_string).collect(),
    }
}

const BOT: (&str, &str) = ("bot", "alice");

#[test]
fn a_permit_is_named() {
    let decision = decide(&policy(""), BOT, postgres::SELECT, &USUAL, &Evidence::default());
    assert_eq!(words(&decision), ["grant/agent/bot"]);
}

#[test]
fn an_approval_of_a_group_is_an_approval() {
    let policy = policy(
        "@id(\"dba\") @reason(\"a dba approves\")
         forbid (principal, action in Action::\"Destroy\", resource)
         unless { context.evidence.approvals.groups.dba >= 1 };",
    );
    let drop = |evidence: &Evidence| decide(&policy, BOT, postgres::DROP_TABLE, &USUAL, evidence);
    let mut evidence = Evidence { trial: true, rehearsed: true, ..Evidence::default() };
    assert_eq!(
        words(&drop(&evidence)),
        ["1 approval (dba), 60 s cooling, a verified restore point"],
    );
    // A peer who is no dba: the dba is still missing, and nothing more.
    evidence.peers = 1;
    evidence.cooled_seconds = 20;
    let held = drop(&evidence);
    assert_eq!(words(&held), ["1 approval (dba), 40 s more cooling, a verified restore point"],);
    assert!(!held.waits_only_for_verification());
    evidence.groups.insert("dba".parse().unwrap(), 1);
    evidence.cooled_seconds = 60;
    assert!(drop(&evidence).waits_only_for_verification());
    evidence.verified = true;
    assert_eq!(words(&drop(&evidence)), ["grant/agent/bot"]);
}

#[test]
fn alternatives_come_with_the_easiest_first() {
    let policy = policy(
        "@id(\"either\") @reason(\"either\") forbid (principal, action in Action::\"Write\", resource)
         unless { context.evidence.approvals.peers >= 3 || context.evidence.approvals.groups.dba >= 1
               || (context.evidence.rehearsed && context.evidence.cooled_seconds >= 5) };",
    );
    let decision = decide(&policy, BOT, postgres::INSERT, &USUAL, &Evidence::default());
    assert_eq!(
        words(&decision),
        ["1 approval (dba)", "3 approvals", "5 s cooling, a rehearsal in staging"],
    );
}

#[test]
fn grants_say_what_they_lack() {
    let ask = |who, verb, facts: &Facts| {
        words(&decide(&policy(""), who, verb, facts, &Evidence::default()))
    };
    assert_eq!(
        ask(("reader", "bob"), postgres::DROP_TABLE, &USUAL),
        [
            "agent `reader` has no grant for destroy on target `db` (grant/agent/reader)",
            "sponsor `bob` has no grant for destroy on target `db` (grant/sponsor/bob)",
        ],
    );
    assert_eq!(
        ask(("bot", "bob"), postgres::SELECT, &USUAL),
        ["agent `bot` does not act for `bob` (grant/agent/bot)"],
    );
    assert_eq!(
        ask(("ghost", "alice"), postgres::SELECT, &USUAL),
        ["agent `ghost` is not known (grant/agent/ghost)"],
    );
    let adopted = Facts { adopted: true, ..USUAL };
    assert_eq!(
        ask(("bot", "bob"), postgres::INSERT, &adopted),
        ["`bob` has no grant for write on target `db` (grant/adopted/bob)"],
    );
    assert_eq!(
        ask(("bot", "carol"), postgres::INSERT, &adopted),
        ["`carol` is not known (grant/adopted/carol)"],
    );
}

#[test]
fn evidence_that_cannot_come_is_not_waited_for() {
    let policy = policy(
        "@id(\"rehearse\") @reason(\"writes are rehearsed\")
         forbid (principal, action in Action::\"Write\", resource)
         unless { context.evidence.rehearsed && context.evidence.approvals.groups.dba >= 2 };",
    );
    let no_partner = Facts { rehearsable: false, ..USUAL };
    let decision = decide(&policy, BOT, postgres::INSERT, &no_partner, &Evidence::default());
    assert_eq!(
        words(&decision),
        [
            "writes are rehearsed (cannot be shown for this change: a rehearsal in staging) (rehearse)"
        ],
    );
    let solo = Facts { solo: true, ..USUAL };
    let decision = decide(&policy, BOT, postgres::INSERT, &solo, &Evidence::default());
    assert_eq!(
        words(&decision),
        ["writes are rehearsed (cannot be shown for this change: 2 approvals (dba)) (rehearse)"],
    );
}
