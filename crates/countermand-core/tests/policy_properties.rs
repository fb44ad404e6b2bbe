//! What holds for every question, every piece of evidence, and every site policy that loads.
#![allow(clippy::unwrap_used)]

use countermand_core::action::{Action, Object};
use countermand_core::effect::Effect;
use countermand_core::evidence::{Evidence, Facts};
use countermand_core::name::{AgentName, EnvironmentName, GroupName, HumanName, TargetName};
use countermand_core::policy::{Decision, Grant, Measured, Missing, Policy, Question, World};
use countermand_core::verb::Verb;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

const SITE: &str = r#"
@id("site/dba") @reason("a database administrator approves what destroys")
forbid (principal, action in Action::"Destroy", resource)
unless { context.evidence.approvals.groups.dba >= 1 || resource.kind == "index" };

@id("site/two-ways") @reason("a payroll change needs two of sre, or one and an hour")
forbid (principal, action, resource)
when { resource.name like "payroll*" && !(action in Action::"Read") }
unless {
  context.evidence.approvals.groups.sre >= 2 ||
  (context.evidence.approvals.peers >= 1 && context.evidence.cooled_seconds >= 3600) ||
  (context.solo && context.evidence.confirmed && context.evidence.cooled_seconds >= 7200)
};

@id("site/never") @reason("ledger is nobody's")
forbid (principal, action, resource)
when { resource.name == "ledger" } unless { action in Action::"Read" };

@id("site/rehearse-all") @reason("a view is rehearsed")
forbid (principal, action in Action::"Write", resource)
when { resource.kind == "view" } unless { context.evidence.rehearsed };
"#;

fn name<N: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

fn world() -> World {
    let grant = Grant { targets: [name::<TargetName>("db")].into(), effects: Effect::ALL.into() };
    World {
        groups: [name("dba"), name("sre")].into(),
        sponsors: [(name("alice"), grant.clone())].into(),
        agents: [(name("bot"), (name("alice"), grant))].into(),
    }
}

static FLOOR: LazyLock<Policy> = LazyLock::new(|| Policy::load(&world(), &[]).unwrap());
static STRICT: LazyLock<Policy> =
    LazyLock::new(|| Policy::load(&world(), &[("site.cedar".into(), SITE.into())]).unwrap());

/// Everything of a question but the evidence.
#[derive(Clone, Debug)]
struct Unit {
    actions: Vec<(Action, BTreeSet<String>)>,
    facts: Facts,
    measured: Measured,
    disposable: bool,
}

impl Unit {
    fn is_opaque(&self) -> bool {
        self.actions.iter().any(|(action, _)| action.effect() == Effect::Opaque)
    }

    /// Without the evidence that the facts of the unit rule out.
    fn attainable(&self, mut evidence: Evidence) -> Evidence {
        if self.facts.solo {
            evidence.peers = 0;
            evidence.groups.clear();
        }
        evidence.confirmed &= self.facts.solo;
        evidence.trial &= self.facts.reversible;
        evidence.verified &= self.facts.reversible;
        evidence.rehearsed &= self.facts.rehearsable && !self.is_opaque();
        evidence.backup_fresh &= self.facts.backups;
        evidence
    }

    fn decide(&self, policy: &Policy, evidence: &Evidence) -> Decision {
        policy.decide(&Question {
            agent: &name::<AgentName>("bot"),
            sponsor: &name::<HumanName>("alice"),
            target: &name::<TargetName>("db"),
            environment: &name::<EnvironmentName>("production"),
            disposable: self.disposable,
            tags: &BTreeSet::new(),
            actions: &self.actions,
            measured: self.measured,
            facts: &self.facts,
            evidence,
        })
    }
}

fn actions() -> impl Strategy<Value = Vec<(Action, BTreeSet<String>)>> {
    let verbs = ["Select", "Insert", "Update", "Delete", "DropTable", "Truncate", "NotUnderstood"];
    let usual = proptest::sample::select(verbs.to_vec());
    let verb = prop_oneof![12 => usual, 1 => Just("Grant"), 1 => Just("DefineForeign")];
    let names = proptest::sample::select(vec!["orders", "payroll", "payroll_old", "ledger", "x"]);
    let kind = proptest::sample::select(vec!["table", "view", "index"]);
    let tags = prop_oneof![9 => Just(None), 1 => Just(Some("critical"))];
    let action = (verb, kind, names, tags).prop_map(|(verb, kind, object, tag)| {
        let verb = Verb::named(&format!("postgres:{verb}")).unwrap();
        let tags = tag.into_iter().map(str::to_owned).collect();
        (Action::new(verb, Object::new(kind, object)), tags)
    });
    proptest::collection::vec(action, 1..4)
}

fn facts() -> impl Strategy<Value = Facts> {
    let mostly = || proptest::bool::weighted(0.8);
    let rarely = || proptest::bool::weighted(0.15);
    let recovery = proptest::sample::select(vec![0, 900, 901, u64::MAX]);
    let flags = (mostly(), mostly(), mostly(), rarely(), rarely(), rarely());
    (0_u32..12, recovery, flags).prop_map(|(roots, recovery_seconds, flags)| {
        let (reversible, rehearsable, backups, unavailable, solo, adopted) = flags;
        Facts {
            roots,
            reversible,
            recovery_seconds,
            rehearsable,
            unavailable,
            solo,
            adopted,
            backups,
        }
    })
}

fn unit() -> impl Strategy<Value = Unit> {
    let measured =
        proptest::sample::select(vec![Measured::NotYet, Measured::Within, Measured::Beyond]);
    (actions(), facts(), measured, proptest::bool::weighted(0.1)).prop_map(
        |(actions, facts, measured, disposable)| Unit { actions, facts, measured, disposable },
    )
}

/// Evidence as humans make it: an approval in a group is an approval.
fn evidence() -> impl Strategy<Value = Evidence> {
    let cooled = proptest::sample::select(vec![0, 59, 60, 599, 600, 3600, 7200, u64::MAX]);
    let counts = (0_u32..4, 0_u32..3, 0_u32..11);
    (counts, cooled, any::<[bool; 5]>()).prop_map(|((dba, sre, others), cooled_seconds, flags)| {
        let [trial, verified, rehearsed, confirmed, backup_fresh] = flags;
        Evidence {
            peers: dba.max(sre) + others,
            groups: [(name("dba"), dba), (name("sre"), sre)].into(),
            cooled_seconds,
            trial,
            verified,
            rehearsed,
            confirmed,
            backup_fresh,
        }
    })
}

/// Both, one after the other: other people, more time.
fn more(evidence: &Evidence, extra: &Evidence) -> Evidence {
    let mut more = evidence.clone();
    more.peers += extra.peers;
    for (group, count) in &extra.groups {
        *more.groups.entry(group.clone()).or_default() += count;
    }
    more.cooled_seconds = more.cooled_seconds.saturating_add(extra.cooled_seconds);
    more.trial |= extra.trial;
    more.verified |= extra.verified;
    more.rehearsed |= extra.rehearsed;
    more.confirmed |= extra.confirmed;
    more.backup_fresh |= extra.backup_fresh;
    more
}

/// The evidence after exactly this was added.
fn with(evidence: &Evidence, missing: &[Missing]) -> Evidence {
    let mut after = evidence.clone();
    let mut peers = evidence.peers;
    for piece in missing {
        match piece {
            Missing::Peers { need, .. } => peers = peers.max(*need),
            Missing::Group { group, have, need } => {
                peers = peers.max(evidence.peers + (need - have));
                after.groups.insert(group.clone(), *need);
            }
            Missing::Cooling { need, .. } => after.cooled_seconds = *need,
            Missing::Trial => after.trial = true,
            Missing::Verified => after.verified = true,
            Missing::Rehearsal => after.rehearsed = true,
            Missing::Confirmation => after.confirmed = true,
            Missing::FreshBackup => after.backup_fresh = true,
        }
    }
    after.peers = peers;
    after
}

fn shows(evidence: &Evidence, piece: &Missing) -> bool {
    let group = |group: &GroupName| evidence.groups.get(group).copied().unwrap_or(0);
    match piece {
        Missing::Peers { need, .. } => evidence.peers >= *need,
        Missing::Group { group: name, need, .. } => group(name) >= *need,
        Missing::Cooling { need, .. } => evidence.cooled_seconds >= *need,
        Missing::Trial => evidence.trial,
        Missing::Verified => evidence.verified,
        Missing::Rehearsal => evidence.rehearsed,
        Missing::Confirmation => evidence.confirmed,
        Missing::FreshBackup => evidence.backup_fresh,
    }
}

fn rank(decision: &Decision) -> u8 {
    match decision {
        Decision::Forbid { .. } => 0,
        Decision::Hold { .. } => 1,
        Decision::Allow { .. } => 2,
    }
}

fn allowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allow { .. })
}

/// Site policies, most of which break one rule or another.
fn site() -> impl Strategy<Value = String> {
    let atom = proptest::sample::select(vec![
        "context.evidence.approvals.peers >= 1",
        "context.evidence.approvals.peers >= 3",
        "context.evidence.approvals.groups.dba >= 2",
        "context.evidence.approvals.groups[\"sre\"] >= 1",
        "context.evidence.cooled_seconds >= 900",
        "context.evidence.restore_point.trial",
        "context.evidence.rehearsed",
        "context.evidence.confirmed",
        "context.evidence.backup_fresh",
        "context.solo",
        "context.roots < 3",
        "resource.kind == \"table\"",
        "resource.name like \"pay*\"",
        "resource.environment.disposable",
        "action in Action::\"Read\"",
        "context.evidence.approvals.peers < 2",
        "context.evidence.approvals.peers == 0",
        "context.roots + 1 > 2",
        "context.evidence has rehearsed",
    ]);
    let atom = atom.prop_map(str::to_owned);
    let expression = atom.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            4 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    });
    let effect = prop_oneof![5 => Just("forbid"), 1 => Just("permit")];
    let scope = proptest::sample::select(vec![
        "principal, action, resource",
        "principal, action in Action::\"Destroy\", resource",
        "principal in Sponsor::\"alice\", action in [Action::\"Write\", Action::\"Grant\"], resource",
    ]);
    let clause = prop_oneof![1 => Just("when"), 6 => Just("unless")];
    let clauses = proptest::collection::vec((clause, expression), 0..3);
    (effect, scope, clauses).prop_map(|(effect, scope, clauses)| {
        let clauses: Vec<String> =
            clauses.iter().map(|(clause, body)| format!("{clause} {{ {body} }}")).collect();
        format!("@id(\"s\") @reason(\"r\") {effect} ({scope}) {};", clauses.join(" "))
    })
}

fn generated(text: &str) -> Option<Policy> {
    Policy::load(&world(), &[("site.cedar".to_owned(), text.to_owned())]).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn more_evidence_never_hurts(unit in unit(), some in evidence(), extra in evidence()) {
        let before = unit.decide(&STRICT, &some);
        let after = unit.decide(&STRICT, &more(&some, &extra));
        prop_assert!(rank(&before) <= rank(&after), "{before:?} became {after:?}");
    }

    #[test]
    fn a_site_only_tightens(unit in unit(), some in evidence()) {
        let floor = unit.decide(&FLOOR, &some);
        let strict = unit.decide(&STRICT, &some);
        prop_assert!(rank(&strict) <= rank(&floor), "{floor:?} became {strict:?}");
    }

    #[test]
    fn what_is_missing_is_enough_and_no_part_of_it_is(unit in unit(), some in evidence()) {
        let decision = unit.decide(&STRICT, &some);
        if let Decision::Hold { missing, reasons } = &decision {
            prop_assert!(!missing.is_empty() && !reasons.is_empty());
            for set in missing {
                prop_assert!(!set.is_empty());
                prop_assert!(allowed(&unit.decide(&STRICT, &with(&some, set))), "{set:?}");
                for left_out in 0..set.len() {
                    let mut part = set.clone();
                    part.remove(left_out);
                    let answer = unit.decide(&STRICT, &with(&some, &part));
                    prop_assert!(!allowed(&answer), "{part:?} of {set:?} is enough");
                }
            }
        }
    }

    #[test]
    fn every_way_out_is_listed(unit in unit(), some in evidence(), extra in evidence()) {
        let after = more(&some, &unit.attainable(extra));
        if allowed(&unit.decide(&STRICT, &after)) {
            match unit.decide(&STRICT, &some) {
                Decision::Allow { .. } => {}
                Decision::Hold { missing, .. } => {
                    let taken = |set: &Vec<Missing>| set.iter().all(|piece| shows(&after, piece));
                    prop_assert!(missing.iter().any(taken), "{missing:?} to {after:?}");
                }
                Decision::Forbid { reasons } => prop_assert!(false, "{reasons:?}"),
            }
        }
    }

    #[test]
    fn a_unit_is_no_better_than_its_worst_action(unit in unit(), some in evidence()) {
        let whole = rank(&unit.decide(&STRICT, &some));
        for action in &unit.actions {
            let mut part = Unit { actions: vec![action.clone()], ..unit.clone() };
            part.facts.rehearsable &= !unit.is_opaque();
            prop_assert!(whole <= rank(&part.decide(&STRICT, &some)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_site_policy_that_loads_loosens_the_floor(
        text in site(),
        questions in proptest::collection::vec((unit(), evidence(), evidence()), 4),
    ) {
        let Some(policy) = generated(&text) else { return Ok(()) };
        for (unit, some, extra) in questions {
            let floor = unit.decide(&FLOOR, &some);
            let site = unit.decide(&policy, &some);
            prop_assert!(rank(&site) <= rank(&floor), "{text}: {floor:?} became {site:?}");
            let after = unit.decide(&policy, &more(&some, &extra));
            prop_assert!(rank(&site) <= rank(&after), "{text}: {site:?} became {after:?}");
        }
    }

    #[test]
    fn an_agent_does_no_more_than_both_grants_say(
        own in proptest::sample::subsequence(Effect::ALL.to_vec(), 0..=6),
        sponsors in proptest::sample::subsequence(Effect::ALL.to_vec(), 0..=6),
        unit in unit(),
        some in evidence(),
    ) {
        let grant = |effects: &[Effect]| Grant {
            targets: [name::<TargetName>("db")].into(),
            effects: effects.iter().copied().collect(),
        };
        let mut world = world();
        world.sponsors.insert(name("alice"), grant(&sponsors));
        world.agents.insert(name("bot"), (name("alice"), grant(&own)));
        let policy = Policy::load(&world, &[]).unwrap();
        let unit = Unit { disposable: true, measured: Measured::NotYet, ..unit };
        let covers = |effects: &[Effect], effect: Effect| effects.contains(&effect)
            || effect == Effect::Opaque && effects.contains(&Effect::Destroy);
        let expected = unit.actions.iter().all(|(action, _)| {
            let effect = action.effect();
            covers(&sponsors, effect) && (unit.facts.adopted || covers(&own, effect))
        });
        prop_assert_eq!(allowed(&unit.decide(&policy, &some)), expected);
    }
}

/// The generator of site policies makes some that load and some that do not; otherwise the
/// property above would say nothing.
#[test]
fn generated_site_policies_load_and_do_not() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let loads = (0..60).filter(|_| {
        let text = site().new_tree(&mut runner).unwrap().current();
        generated(&text).is_some()
    });
    let loads = loads.count();
    assert!((10..50).contains(&loads), "{loads} of 60 load");
}
