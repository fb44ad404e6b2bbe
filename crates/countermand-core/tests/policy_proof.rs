//! What is claimed of policies, and counter-examples put to the authorizer: without a solver.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use countermand_core::effect::Effect;
use countermand_core::policy::proof::{
    Answer, Counterexample, Finding, Holds, Outcome, Proof, Text, Verdict,
};
use countermand_core::policy::{Grant, Policy, World};
use countermand_core::verb::Verb;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn world() -> World {
    let grant = Grant {
        targets: ["db".parse().unwrap()].into(),
        effects: Effect::ALL.into_iter().collect(),
    };
    World {
        groups: BTreeSet::new(),
        sponsors: [("alice".parse().unwrap(), grant.clone())].into(),
        agents: [("builder".parse().unwrap(), ("alice".parse().unwrap(), grant))].into(),
    }
}

fn shipped() -> Proof {
    Policy::load(&world(), &[]).unwrap().proof()
}

/// The floor where cooling asks for a tag of the resource, not for the environment.
fn broken() -> Proof {
    let mut policies = shipped().policies;
    let cooling = policies.get_mut("floor/cooling").unwrap();
    let text = cooling
        .text
        .replace("resource.environment.disposable", "resource.tags.contains(\"scratch\")");
    assert_ne!(text, cooling.text);
    *cooling = Text { text, ..cooling.clone() };
    Proof::of(&world(), policies)
}

/// A DROP of something that is tagged, uncooled, with everything else shown and much that does
/// not matter.
fn uncooled() -> Counterexample {
    let entity = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    let refers = |kind: &str, id: &str| json!({ "__entity": entity(kind, id) });
    let exists = |kind: &str, id: &str, attrs: Value, parents: Value| json!({ "uid": entity(kind, id), "attrs": attrs, "parents": parents });
    let resource = json!({
        "kind": "?", "name": "?\u{1b}", "environment": refers("Environment", "e"),
        "target": refers("Target", "t"), "tags": ["scratch"],
    });
    let environment = json!({ "name": "?", "disposable": false });
    let target = json!({ "name": "t", "tags": ["a", "b"] });
    Counterexample {
        principal: entity("Agent", "builder"),
        action: entity("Action", "postgres:DropTable"),
        resource: entity("Resource", "r"),
        context: json!({
            "solo": false, "roots": -7, "reversible": true, "recovery_seconds": -9,
            "rehearsable": true, "unavailable": true, "beyond_limits": true, "adopted": true,
            "evidence": {
                "approvals": { "peers": 9, "groups": {} }, "cooled_seconds": 0,
                "restore_point": { "trial": true, "verified": true },
                "rehearsed": true, "confirmed": true, "backup_fresh": true,
            },
        }),
        entities: json!([
            exists("Agent", "builder", json!({}), json!([entity("Sponsor", "alice")])),
            exists("Sponsor", "alice", json!({}), json!([])),
            exists("Environment", "e", environment, json!([])),
            exists("Target", "t", target, json!([entity("Environment", "e")])),
            exists("Resource", "r", resource, json!([entity("Target", "t")])),
        ]),
    }
}

/// What is read of this verdict on cooling, with everything else proved.
fn read(proof: &Proof, verdict: Verdict) -> Finding {
    let proved = proof.claims.iter().map(|claim| (claim.id.clone(), Verdict::Proved));
    let verdicts = proved.chain([("floor/cooling".to_owned(), verdict)]).collect();
    let answer = Answer { solver: String::new(), questions: 0, verdicts };
    let mut found = proof.read(&answer).into_iter();
    found.find(|finding| finding.claim == "floor/cooling").unwrap()
}

#[test]
fn a_counterexample_that_holds_is_told_by_what_matters() {
    let found = read(&broken(), Verdict::Refuted(Box::new(uncooled())));
    let Outcome::Refuted(told) = found.outcome else { panic!("{:?}", found.outcome) };
    assert_eq!(told.who, "any agent whose grant reaches it");
    assert_eq!(told.action, "postgres:DropTable (destroy)");
    assert_eq!(told.resource, "table `orders`, tagged scratch");
    assert_eq!(
        (told.target.as_str(), told.environment.as_str()),
        ("`t`", "`production`, not disposable")
    );
    assert!(told.facts.is_empty() && told.permitted_by.is_empty() && told.failed.is_empty());
    let shown = [
        "1 approval by a peer",
        "a trial restore point",
        "a verified restore point",
        "a rehearsal",
    ];
    assert_eq!(told.evidence, shown);
}

#[test]
fn a_counterexample_that_does_not_hold_is_none() {
    let not_proved = |proof: &Proof, found: Counterexample| {
        let found = read(proof, Verdict::Refuted(Box::new(found)));
        let Outcome::NotProved { why } = found.outcome else { panic!("{:?}", found.outcome) };
        assert!(why.contains("does not replay"), "{why}");
        why
    };
    // The floor that ships forbids it; and the claim permits what is disposable, or cooled.
    not_proved(&shipped(), uncooled());
    let mut disposable = uncooled();
    disposable.entities[2]["attrs"]["disposable"] = json!(true);
    not_proved(&broken(), disposable);
    let mut cooled = uncooled();
    cooled.context["evidence"]["cooled_seconds"] = json!(60);
    not_proved(&broken(), cooled);
    // What does not fit the schema is no request.
    let mut strange = uncooled();
    strange.context["roots"] = json!("many");
    not_proved(&broken(), strange);
    let mut unknown = uncooled();
    unknown.action["id"] = json!("postgres:Frobnicate");
    not_proved(&broken(), unknown);
}

#[test]
fn no_verdict_is_no_proof() {
    let proof = shipped();
    let answer = Answer { solver: String::new(), questions: 0, verdicts: [].into() };
    let findings = proof.read(&answer);
    assert_eq!(findings.len(), proof.claims.len());
    assert!(findings.iter().all(|one| matches!(one.outcome, Outcome::NotProved { .. })));
}

#[test]
fn every_verb_is_in_every_claim_that_is_for_its_effect() {
    let proof = shipped();
    let actions_of = |id: &str| -> BTreeSet<String> {
        let claim = proof.claims.iter().find(|claim| claim.id == id).unwrap();
        match &claim.holds {
            Holds::Within(bounds) => bounds.iter().flat_map(|b| b.actions.clone()).collect(),
            Holds::Answers(actions) => actions.clone(),
        }
    };
    for verb in Verb::all() {
        for id in ["floor/hard-stop", "floor/cooling", "grant/agent/builder", "answers/floor/grant"]
        {
            assert!(actions_of(id).contains(verb.name()), "{id}: {verb}");
        }
        let changes = verb.effect() != Effect::Read;
        assert_eq!(actions_of("floor/critical").contains(verb.name()), changes, "{verb}");
        let grants = verb.effect() == Effect::Grant;
        assert_eq!(actions_of("floor/grant").contains(verb.name()), grants, "{verb}");
    }
    // Every policy is in some claim, and has to have an answer.
    for id in proof.policies.keys().filter(|id| *id != "countermand/any-grant") {
        assert!(proof.claims.iter().any(|claim| claim.id == format!("answers/{id}")), "{id}");
    }
}
