//! What is claimed. The floor's promises are said once more here, independently of its text: by
//! the effect that the catalogue gives each verb, not by the groups of the schema, so that a rule
//! that forgets a group, or a schema that does, is found.

use super::{ANY_GRANT, Bound, Claim, Holds, Text};
use crate::effect::Effect;
use crate::policy::{Grant, World, schema, world};
use crate::verb::Verb;
use std::collections::{BTreeMap, BTreeSet};

/// How a resource stands to its target and its environment in every question.
const IN_PLACE: &str = "resource in resource.target && resource.target in resource.environment";
/// What makes a unit one that destroys, whatever its verbs are.
const RAISED: &str = "(context.unavailable || context.beyond_limits || context.adopted)";
/// A sponsor alone in the installation has confirmed.
const CONFIRMED: &str = "(context.solo && context.evidence.confirmed)";

const HARD_STOP: &str = "context.evidence.approvals.peers >= 1";
const COOLING: &str = "(!context.solo && context.evidence.cooled_seconds >= 60) || \
                       (context.solo && context.evidence.cooled_seconds >= 600)";
const RESTORE_POINT: &str = "if context.reversible \
     then context.evidence.restore_point.trial && context.evidence.restore_point.verified \
     else context.evidence.approvals.peers >= 2 || (context.solo && context.evidence.confirmed)";
const REHEARSED: &str = "if context.rehearsable then context.evidence.rehearsed \
     else context.evidence.approvals.peers >= 2 || (context.solo && context.evidence.confirmed)";
const ONE_RESOURCE: &str = "context.roots <= context.evidence.approvals.peers";
const TEN_RESOURCES: &str = "context.roots <= 10";
const RECOVERY: &str = "context.recovery_seconds <= 900 || context.evidence.approvals.peers >= 2";
const NOT_CRITICAL: &str = "context.adopted || !(resource.tags.contains(\"critical\") || \
                            resource.target.tags.contains(\"critical\"))";

/// Every claim about these policies.
pub(super) fn all(world: &World, policies: &BTreeMap<String, Text>) -> Vec<Claim> {
    let rules: BTreeSet<String> =
        policies.keys().filter(|id| !is_grant(id) && *id != ANY_GRANT).cloned().collect();
    let mut claims = floor(&with(&rules, [ANY_GRANT.to_owned()]));
    claims.extend(world.agents.iter().flat_map(|(agent, (sponsor, grant))| {
        let (own, ceiling) = (world::agent_id(agent), world::sponsor_id(sponsor));
        let about = with(&rules, [own.clone(), ceiling].into_iter().filter(in_force(policies)));
        let most = world.sponsors.get(sponsor).cloned().unwrap_or_default();
        let is = format!("principal == Agent::\"{agent}\" && principal in Sponsor::\"{sponsor}\"");
        let granted = format!("agent `{agent}` may do nothing that its own grant does not say");
        let within = format!("agent `{agent}` may do nothing that its sponsor `{sponsor}` may not");
        [
            claim(own, &granted, &about, within_grant(&is, grant, "true")),
            claim(format!("grant/sponsor/{sponsor}/{agent}"), &within, &about, {
                within_grant(&is, &most, "true")
            }),
        ]
    }));
    claims.extend(world.sponsors.iter().map(|(human, grant)| {
        let id = world::adopted_id(human);
        let about = with(&rules, Some(id.clone()).into_iter().filter(in_force(policies)));
        let says = format!("what `{human}` adopts is theirs to do, and nothing else becomes so");
        claim(id, &says, &about, within_grant("true", grant, "context.adopted"))
    }));
    claims.extend(policies.keys().filter(|id| *id != ANY_GRANT).map(|id| Claim {
        id: format!("answers/{id}"),
        says: format!("policy `{id}` has an answer for every request"),
        about: BTreeSet::from([id.clone()]),
        holds: Holds::Answers(actions(|_| true)),
    }));
    claims
}

fn is_grant(id: &str) -> bool {
    id.starts_with("grant/")
}

fn in_force(policies: &BTreeMap<String, Text>) -> impl Fn(&String) -> bool {
    |id| policies.contains_key(id)
}

fn with(rules: &BTreeSet<String>, more: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    rules.iter().cloned().chain(more).collect()
}

fn claim(id: String, says: &str, about: &BTreeSet<String>, bounds: Vec<Bound>) -> Claim {
    Claim { id, says: says.to_owned(), about: about.clone(), holds: Holds::Within(bounds) }
}

/// The floor's promises.
fn floor(about: &BTreeSet<String>) -> Vec<Claim> {
    let human = |needs: &str| format!("{needs} || {CONFIRMED}");
    let destroying = [
        (
            "hard-stop",
            "nothing destroys without a peer's approval, or the confirmation of a sponsor alone",
            human(HARD_STOP),
        ),
        (
            "cooling",
            "nothing destroys before it has cooled for 60 s, alone for 600 s",
            COOLING.to_owned(),
        ),
        (
            "restore-point",
            "nothing destroys without a restore point that was read back twice; what cannot have \
             one, without two peers",
            RESTORE_POINT.to_owned(),
        ),
        (
            "rehearsed",
            "nothing destroys that was not rehearsed; what cannot be, without two peers",
            REHEARSED.to_owned(),
        ),
        (
            "one-resource",
            "nothing destroys more resources than peers have approved it",
            human(ONE_RESOURCE),
        ),
        ("ten-resources", "nothing destroys more than ten resources", TEN_RESOURCES.to_owned()),
    ];
    let named = |name: &str| format!("floor/{name}");
    let mut claims: Vec<Claim> = destroying
        .into_iter()
        .map(|(name, says, needs)| claim(named(name), says, about, destroys(&needs)))
        .collect();
    claims.push(claim(
        named("recovery-time"),
        "nothing that takes over 15 minutes to recover runs without two peers",
        about,
        vec![bound(actions(changes), "true", &human(RECOVERY))],
    ));
    claims.push(claim(
        named("critical"),
        "nothing changes what is critical unless a human adopted it",
        about,
        vec![bound(actions(changes), "true", NOT_CRITICAL)],
    ));
    for (name, effect, what) in [
        ("grant", Effect::Grant, "changes identities or permissions"),
        ("network", Effect::Network, "connects to other machines"),
    ] {
        let says = format!("nothing {what} unless a human adopted it");
        let bounds = vec![bound(actions(|one| one == effect), "true", "context.adopted")];
        claims.push(claim(named(name), &says, about, bounds));
    }
    claims
}

fn changes(effect: Effect) -> bool {
    effect != Effect::Read
}

/// What this needs, needs every action that destroys, and every other in a unit that does.
fn destroys(needs: &str) -> Vec<Bound> {
    let destroying = |effect| matches!(effect, Effect::Destroy | Effect::Opaque);
    vec![
        bound(actions(destroying), "true", needs),
        bound(actions(|effect| !destroying(effect)), RAISED, needs),
    ]
}

/// A bound of the floor, which does not bind in disposable environments.
fn bound(actions: BTreeSet<String>, when: &str, needs: &str) -> Bound {
    let forbids = format!(
        "forbid (principal, action, resource) when {{ {IN_PLACE} && {when} }}\n\
         unless {{ resource.environment.disposable || ({needs}) }};"
    );
    Bound { actions, forbids }
}

/// Where this is so of the principal, it does no more than the grant says, and only if.
fn within_grant(is: &str, grant: &Grant, only_if: &str) -> Vec<Bound> {
    let has = |effect| {
        grant.effects.contains(&effect)
            || (effect == Effect::Opaque && grant.effects.contains(&Effect::Destroy))
    };
    let targets: Vec<String> =
        grant.targets.iter().map(|target| format!("resource in Target::\"{target}\"")).collect();
    let place = if targets.is_empty() { String::from("false") } else { targets.join(" || ") };
    let forbids = |within: &str| {
        format!(
            "forbid (principal, action, resource) when {{ {IN_PLACE} && {is} }}\n\
             unless {{ {only_if} && ({within}) }};"
        )
    };
    vec![
        Bound { actions: actions(has), forbids: forbids(&place) },
        Bound { actions: actions(|effect| !has(effect)), forbids: forbids("false") },
    ]
}

/// The Cedar actions that questions are asked with, by the effect of their verb.
fn actions(of: impl Fn(Effect) -> bool) -> BTreeSet<String> {
    let verbs = Verb::all().map(|verb| (verb.name(), verb.effect()));
    let lowered = Verb::all().filter_map(schema::within_limits);
    let all = verbs.chain(lowered).filter(|(_, effect)| of(*effect));
    all.map(|(name, _)| name.to_owned()).collect()
}

/// The effect of a Cedar action, by the catalogue.
pub(super) fn effect_of(action: &str) -> Option<Effect> {
    let lowered = Verb::all().filter_map(schema::within_limits);
    let verbs = Verb::all().map(|verb| (verb.name(), verb.effect()));
    verbs.chain(lowered).find(|(name, _)| *name == action).map(|(_, effect)| effect)
}
