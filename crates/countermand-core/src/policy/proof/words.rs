//! A counter-example in words.

use super::claims::effect_of;
use super::replay::Refuted;
use super::{ANY_GRANT, Claim, Counterexample, Proof};
use serde::Serialize;
use serde_json::Value;

/// A request that policies let through against a claim; the authorizer said so. Texts come from
/// a solver's model and from policies: escape what is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refutation {
    /// Who asks.
    pub who: String,
    /// The Cedar action, with its effect.
    pub action: String,
    /// Of what, with its tags.
    pub resource: String,
    /// In which target, with its tags.
    pub target: String,
    /// In which environment.
    pub environment: String,
    /// What is not as in an ordinary unit: one root, restored and rehearsed at will.
    pub facts: Vec<String>,
    /// The evidence that was shown. Empty: none.
    pub evidence: Vec<String>,
    /// Policies that fail on it, with their files: Cedar skips those.
    pub failed: Vec<String>,
    /// Permits that let it through, with their files, beside a grant.
    pub permitted_by: Vec<String>,
    /// The whole of it, as Cedar's JSON.
    pub question: Box<Counterexample>,
}

impl Refutation {
    pub(super) fn new(
        proof: &Proof,
        claim: &Claim,
        found: &Counterexample,
        refuted: Refuted,
    ) -> Refutation {
        let entities = Existing(&found.entities);
        let resource = entities.named(&found.resource);
        let target = entities.named(&resource["target"]);
        let environment = entities.named(&resource["environment"]);
        let action = id_of(&found.action);
        let effect = effect_of(action).map_or("unknown", |effect| effect.as_str());
        let disposable = match &environment["disposable"] {
            Value::Bool(true) => "disposable",
            _ => "not disposable",
        };
        let (kind, name) = (text(&resource["kind"]), text(&resource["name"]));
        let from = |ids: Vec<String>| ids.iter().map(|id| sourced(proof, id)).collect();
        Refutation {
            who: match claim.about.contains(ANY_GRANT) {
                true => String::from("any agent whose grant reaches it"),
                false => format!("agent `{}`", id_of(&found.principal)),
            },
            action: format!("{action} ({effect})"),
            resource: format!("{kind} `{name}`{}", tagged(&resource["tags"])),
            target: format!("`{}`{}", id_of(&resource["target"]), tagged(&target["tags"])),
            environment: format!("`{}`, {disposable}", text(&environment["name"])),
            facts: facts(&found.context),
            evidence: evidence(&found.context["evidence"]),
            failed: from(refuted.failed),
            permitted_by: from(refuted.by),
            question: Box::new(found.clone()),
        }
    }
}

/// The entities of a counter-example.
struct Existing<'a>(&'a Value);

impl Existing<'_> {
    /// The attributes of one of them.
    fn named(&self, uid: &Value) -> Value {
        let all = self.0.as_array().into_iter().flatten();
        let mut same = all.filter(|entity| id_and_type(&entity["uid"]) == id_and_type(uid));
        same.next().map_or(Value::Null, |entity| entity["attrs"].clone())
    }
}

/// An entity's type and id, however Cedar's JSON wraps them.
fn id_and_type(uid: &Value) -> (&str, &str) {
    let uid = uid.get("__entity").unwrap_or(uid);
    (uid["type"].as_str().unwrap_or(""), uid["id"].as_str().unwrap_or(""))
}

fn id_of(uid: &Value) -> &str {
    id_and_type(uid).1
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn tagged(tags: &Value) -> String {
    let tags: Vec<&str> = tags.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if tags.is_empty() { String::new() } else { format!(", tagged {}", tags.join(", ")) }
}

/// The policy, and where it stands.
fn sourced(proof: &Proof, id: &str) -> String {
    match proof.policies.get(id).and_then(|policy| policy.file.as_ref()) {
        Some(file) => format!("{id} ({file})"),
        None => id.to_owned(),
    }
}

fn facts(context: &Value) -> Vec<String> {
    let is = |field: &str, ordinary: bool, words: &str| {
        (context[field] == Value::Bool(!ordinary)).then(|| words.to_owned())
    };
    let number = |field: &str| context[field].as_i64().unwrap_or(0);
    let (roots, recovery) = (number("roots"), number("recovery_seconds"));
    let all = [
        is("adopted", false, "a human adopted it"),
        is("solo", false, "the installation has one human"),
        is("unavailable", false, "it would make a resource unavailable"),
        is("beyond_limits", false, "its effect is beyond its target's limits"),
        is("reversible", true, "it cannot be taken back"),
        is("rehearsable", true, "it cannot be rehearsed"),
        (roots != 1).then(|| format!("it names {roots} resources")),
        (recovery != 0).then(|| format!("it takes {recovery} s to recover")),
    ];
    all.into_iter().flatten().collect()
}

fn evidence(shown: &Value) -> Vec<String> {
    let flag = |path: &str, words: &str| {
        (shown.pointer(path) == Some(&Value::Bool(true))).then(|| words.to_owned())
    };
    let count = |path: &str| shown.pointer(path).and_then(Value::as_i64).filter(|n| *n > 0);
    let groups = shown["approvals"]["groups"].as_object().into_iter().flatten();
    let groups = groups.filter_map(|(group, number)| {
        let number = number.as_i64().filter(|n| *n > 0)?;
        Some(format!("{number} of them by group `{group}`"))
    });
    let all = [
        count("/approvals/peers").map(|n| match n {
            1 => String::from("1 approval by a peer"),
            _ => format!("{n} approvals by peers"),
        }),
        count("/cooled_seconds").map(|n| format!("{n} s cooled")),
        flag("/restore_point/trial", "a trial restore point"),
        flag("/restore_point/verified", "a verified restore point"),
        flag("/rehearsed", "a rehearsal"),
        flag("/confirmed", "its sponsor's confirmation"),
        flag("/backup_fresh", "a fresh backup of the target's own"),
    ];
    all.into_iter().flatten().chain(groups).collect()
}
