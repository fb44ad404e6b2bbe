//! A counter-example is believed when the ordinary authorizer says the same.

use super::words::Refutation;
use super::{ANY_GRANT, Claim, Counterexample, Holds, Proof};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, Policy, PolicyId, PolicySet, Request,
    Response, Schema,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Puts it to the authorizer, as plain as it can be, and says what that found.
pub(super) fn replay(
    proof: &Proof,
    claim: &Claim,
    found: &Counterexample,
) -> Result<Refutation, String> {
    let stage = Stage::new(proof, claim, found)?;
    let Some(first) = stage.refutes(found)? else {
        return Err(String::from("the authorizer refuses it"));
    };
    let plain = plainest(found.clone(), |other| matches!(stage.refutes(other), Ok(Some(_))));
    let refuted = stage.refutes(&plain)?.unwrap_or(first);
    Ok(Refutation::new(proof, claim, &plain, refuted))
}

/// What the authorizer said of a counter-example that holds.
pub(super) struct Refuted {
    /// The permits that let it through.
    pub(super) by: Vec<String>,
    /// The policies that failed, and were skipped.
    pub(super) failed: Vec<String>,
}

struct Stage<'a> {
    claim: &'a Claim,
    schema: Schema,
    set: PolicySet,
    bounds: Vec<PolicySet>,
}

impl<'a> Stage<'a> {
    fn new(proof: &Proof, claim: &'a Claim, found: &Counterexample) -> Result<Self, String> {
        let (schema, _) = Schema::from_cedarschema_str(&proof.schema).map_err(words)?;
        let parse = |id: &str, text: &str| {
            Policy::parse(Some(PolicyId::new(id)), text).map_err(|error| error.to_string())
        };
        let set = claim.about.iter().map(|id| {
            let policy = proof.policies.get(id).ok_or_else(|| format!("no policy `{id}`"))?;
            parse(id, &policy.text)
        });
        let set = set.collect::<Result<Vec<_>, _>>()?;
        let set = PolicySet::from_policies(set).map_err(words)?;
        let action = uid(&found.action)?.id().unescaped().to_owned();
        let bounds = match &claim.holds {
            Holds::Answers(actions) if actions.contains(&action) => Vec::new(),
            Holds::Answers(_) => return Err(format!("the claim is not about `{action}`")),
            Holds::Within(bounds) => bounds
                .iter()
                .filter(|bound| bound.actions.contains(&action))
                .map(|bound| {
                    let forbid = parse("bound", &bound.forbids)?;
                    PolicySet::from_policies([forbid]).map_err(words)
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(Stage { claim, schema, set, bounds })
    }

    /// What the authorizer says of it, where it is against the claim.
    fn refutes(&self, found: &Counterexample) -> Result<Option<Refuted>, String> {
        let (request, entities) = self.question(found)?;
        let ask = |set: &PolicySet| Authorizer::new().is_authorized(&request, set, &entities);
        let answer = ask(&self.set);
        let failed = failed(&answer);
        let against = match &self.claim.holds {
            Holds::Answers(_) => !failed.is_empty(),
            Holds::Within(_) => {
                let named = |set: &PolicySet| ask(set).diagnostics().reason().next().is_some();
                answer.decision() == Decision::Allow && self.bounds.iter().any(named)
            }
        };
        let by = answer.diagnostics().reason().map(ToString::to_string);
        Ok(against.then(|| Refuted { by: by.filter(|id| id != ANY_GRANT).collect(), failed }))
    }

    fn question(&self, found: &Counterexample) -> Result<(Request, Entities), String> {
        let schema = Some(&self.schema);
        let action = uid(&found.action)?;
        let context =
            Context::from_json_value(found.context.clone(), Some((&self.schema, &action)))
                .map_err(words)?;
        let (principal, resource) = (uid(&found.principal)?, uid(&found.resource)?);
        let request = Request::new(principal, action, resource, context, schema).map_err(words)?;
        let entities = Entities::from_json_value(found.entities.clone(), schema).map_err(words)?;
        Ok((request, entities))
    }
}

fn failed(answer: &Response) -> Vec<String> {
    let failed: BTreeSet<String> = answer
        .diagnostics()
        .errors()
        .map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => {
                error.policy_id().to_string()
            }
        })
        .collect();
    failed.into_iter().collect()
}

fn uid(value: &Value) -> Result<EntityUid, String> {
    EntityUid::from_json(value.clone()).map_err(words)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The same counter-example with everything ordinary that may be: what is left is what matters.
/// Each value is changed alone, to the first that still refutes.
fn plainest(
    mut found: Counterexample,
    refutes: impl Fn(&Counterexample) -> bool,
) -> Counterexample {
    let mut attempt = |change: &dyn Fn(&mut Counterexample) -> Option<()>| {
        let mut other = found.clone();
        let better = change(&mut other).is_some() && refutes(&other);
        if better {
            found = other;
        }
        better
    };
    // The schema has the actions.
    attempt(&|other| {
        let is_action = |entity: &Value| entity["uid"]["type"] == "Action";
        other.entities.as_array_mut()?.retain(|entity| !is_action(entity));
        Some(())
    });
    let facts = ordinary_context();
    MISSING.iter().any(|missing| {
        attempt(&|other| {
            for (path, values) in &facts {
                let shown = path.starts_with("/evidence") && path != missing && !missing.is_empty();
                let most = values.last().filter(|_| shown);
                *other.context.pointer_mut(path)? = most.or(values.first())?.clone();
            }
            Some(())
        })
    });
    for (path, values) in &facts {
        values.iter().any(|value| {
            attempt(&|other| {
                *other.context.pointer_mut(path)? = value.clone();
                Some(())
            })
        });
    }
    for (kind, attribute, values) in ordinary_attributes() {
        values.iter().any(|value| {
            attempt(&|other| {
                let all = other.entities.as_array_mut()?.iter_mut();
                for entity in all.filter(|entity| entity["uid"]["type"] == kind) {
                    *entity.get_mut("attrs")?.get_mut(attribute)? = value.clone();
                }
                Some(())
            })
        });
    }
    found
}

/// The one piece of evidence that is missing in a plain counter-example; the first is for all.
const MISSING: [&str; 6] = [
    "",
    "/evidence/approvals/peers",
    "/evidence/cooled_seconds",
    "/evidence/restore_point/trial",
    "/evidence/restore_point/verified",
    "/evidence/rehearsed",
];

/// Facts and evidence of an ordinary unit, from nothing shown to enough of everything.
fn ordinary_context() -> Vec<(&'static str, Vec<Value>)> {
    let no = || vec![json!(false)];
    let shown = || vec![json!(false), json!(true)];
    vec![
        ("/solo", no()),
        ("/adopted", no()),
        ("/unavailable", no()),
        ("/beyond_limits", no()),
        ("/reversible", vec![json!(true)]),
        ("/rehearsable", vec![json!(true)]),
        ("/recovery_seconds", vec![json!(0)]),
        ("/roots", vec![json!(1)]),
        ("/evidence/confirmed", no()),
        ("/evidence/backup_fresh", no()),
        ("/evidence/rehearsed", shown()),
        ("/evidence/restore_point/verified", shown()),
        ("/evidence/restore_point/trial", shown()),
        ("/evidence/cooled_seconds", vec![json!(0), json!(60), json!(600)]),
        ("/evidence/approvals/peers", vec![json!(0), json!(1), json!(2)]),
    ]
}

/// The same for what exists, by its type.
fn ordinary_attributes() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    let tags = || vec![json!([]), json!(["critical"])];
    vec![
        ("Environment", "disposable", vec![json!(false)]),
        ("Environment", "name", vec![json!("production")]),
        ("Target", "tags", tags()),
        ("Resource", "tags", tags()),
        ("Resource", "kind", vec![json!("table")]),
        ("Resource", "name", vec![json!("orders")]),
    ]
}
