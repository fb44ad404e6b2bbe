//! Questions with their expected answers, as data: what `policy test` runs.
//!
//! A file is a JSON list of cases. Facts and evidence are written as differences from a unit of
//! one root that can be taken back and rehearsed, with nothing shown. A decision is written as
//! `"allow"`, `{"hold": [[…missing evidence in words…], …]}` or `{"forbid": [policy ids]}`. What was
//! counted of a unit is weighed against limits first: the case's own, or those of the target.

mod counted;

use super::{Decision, Grant, Measured, Policy, PolicyError, Question, World};
use crate::action::{Action, Object};
use crate::effect::Effect;
use crate::evidence::{Evidence, Facts};
use crate::limits::{Beyond, Limits};
use crate::name::{AgentName, EnvironmentName, HumanName, TargetName};
use crate::verb::Verb;
use counted::Counted;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const FLOOR: &str = include_str!("../../../../policies/floor.cases.json");

/// Why cases could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// The file is not a list of cases.
    #[error("the cases cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A case states facts or evidence that do not exist.
    #[error("case `{case}`: {message}")]
    Unknown {
        /// The name of the case.
        case: String,
        /// What is wrong with it.
        message: String,
    },
    /// The floor alone does not load.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// How one case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The name of the case.
    pub name: String,
    /// Expected and actual decision, where they differ.
    pub failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    agent: AgentName,
    #[serde(default)]
    adopted_by: Option<HumanName>,
    target: TargetName,
    environment: EnvironmentName,
    #[serde(default)]
    disposable: bool,
    #[serde(default)]
    tags: BTreeSet<String>,
    actions: Vec<CaseAction>,
    #[serde(default)]
    measured: Option<Measured>,
    /// What it did, by numbers, in the place of `measured`.
    #[serde(default)]
    counted: Option<Counted>,
    /// What that is weighed against, where not against what the target has.
    #[serde(default)]
    limits: Option<Limits>,
    #[serde(default)]
    facts: Map<String, Value>,
    #[serde(default)]
    evidence: Map<String, Value>,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseAction {
    verb: Verb,
    /// Kind and name: `table billing.invoices`.
    object: String,
    #[serde(default)]
    tags: BTreeSet<String>,
}

/// A decision without the words that people may want to change.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Hold(Vec<Vec<String>>),
    Forbid(Vec<String>),
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expected::Allow => f.write_str("allow"),
            Expected::Forbid(policies) => write!(f, "forbid by {}", policies.join(", ")),
            Expected::Hold(sets) => {
                let sets: Vec<String> = sets.iter().map(|set| set.join(" + ")).collect();
                write!(f, "hold for {}", sets.join(", or "))
            }
        }
    }
}

/// Runs the cases of a file against these policies, and against the limits of an agent in a target.
///
/// # Errors
/// [`CaseError`] where a case is not a question; a wrong answer is a [`CaseResult`].
pub fn run_cases(
    policy: &Policy,
    limits: impl Fn(&TargetName, &AgentName) -> Limits,
    text: &str,
) -> Result<Vec<CaseResult>, CaseError> {
    let cases: Vec<Case> = serde_json::from_str(text)?;
    cases.into_iter().map(|case| run(policy, &limits, case)).collect()
}

/// Runs the floor's own cases against the floor alone.
///
/// # Errors
/// As [`run_cases`].
pub fn floor_cases() -> Result<Vec<CaseResult>, CaseError> {
    let usual = |_: &_, _: &_| Limits::default();
    run_cases(&Policy::load(&floor_world(), &[])?, usual, FLOOR)
}

/// The world of the floor's cases: `alice` may do everything on `db`, and so may her agent
/// `builder`; her agent `writer` may read and write, her agent `wide` may do everything on
/// `elsewhere` too, where she may nothing.
fn floor_world() -> World {
    let grant = |targets: &[&str], effects: &[Effect]| Grant {
        targets: targets.iter().map(|name| name_of(name)).collect(),
        effects: effects.iter().copied().collect(),
    };
    let alice: HumanName = name_of("alice");
    let agents = [
        ("builder", grant(&["db"], &Effect::ALL)),
        ("writer", grant(&["db"], &[Effect::Read, Effect::Write])),
        ("wide", grant(&["db", "elsewhere"], &Effect::ALL)),
    ];
    World {
        groups: BTreeSet::new(),
        sponsors: [(alice.clone(), grant(&["db"], &Effect::ALL))].into(),
        agents: agents
            .into_iter()
            .map(|(agent, grant)| (name_of(agent), (alice.clone(), grant)))
            .collect(),
    }
}

fn name_of<N: std::str::FromStr>(text: &str) -> N
where
    N::Err: std::fmt::Debug,
{
    text.parse().expect("the names of the floor's world are names")
}

fn run(
    policy: &Policy,
    limits: &impl Fn(&TargetName, &AgentName) -> Limits,
    case: Case,
) -> Result<CaseResult, CaseError> {
    let (measured, beyond) = case.weighed(limits)?;
    let usual = Facts {
        roots: 1,
        reversible: true,
        recovery_seconds: 0,
        rehearsable: true,
        unavailable: false,
        solo: false,
        adopted: case.adopted_by.is_some(),
        backups: false,
    };
    let facts: Facts = differing(&case.name, usual, case.facts)?;
    let evidence: Evidence = differing(&case.name, Evidence::default(), case.evidence)?;
    let actions: Vec<_> = case.actions.into_iter().map(CaseAction::into_action).collect();
    let own = policy.world.agents.get(&case.agent).map(|(sponsor, _)| sponsor);
    let nobody: HumanName = name_of("nobody");
    let decision = policy.decide(&Question {
        agent: &case.agent,
        sponsor: case.adopted_by.as_ref().or(own).unwrap_or(&nobody),
        target: &case.target,
        environment: &case.environment,
        disposable: case.disposable,
        tags: &case.tags,
        actions: &actions,
        measured,
        facts: &facts,
        evidence: &evidence,
    });
    let actual = summary(&decision);
    let beyond: String = beyond.iter().map(|beyond| format!("; {beyond}")).collect();
    let failure = (actual != case.expect)
        .then(|| format!("expected {}; it is {actual}{beyond}", case.expect));
    Ok(CaseResult { name: case.name, failure })
}

impl Case {
    /// How it is measured, and in which ways it is more than may flow.
    fn weighed(
        &self,
        limits: &impl Fn(&TargetName, &AgentName) -> Limits,
    ) -> Result<(Measured, Vec<Beyond>), CaseError> {
        let wrong = |message: String| CaseError::Unknown { case: self.name.clone(), message };
        match (&self.counted, self.measured) {
            (Some(_), Some(_)) => {
                Err(wrong("say what was `counted`, or how it was `measured`, not both".to_owned()))
            }
            (None, _) if self.limits.is_some() => {
                Err(wrong("`limits` are for what was `counted`: say that too".to_owned()))
            }
            (None, measured) => Ok((measured.unwrap_or_default(), Vec::new())),
            (Some(counted), None) => {
                let own = || limits(&self.target, &self.agent);
                let beyond = counted.judge(&self.limits.unwrap_or_else(own)).map_err(wrong)?;
                let within = beyond.is_empty();
                Ok((if within { Measured::Within } else { Measured::Beyond }, beyond))
            }
        }
    }
}

impl CaseAction {
    fn into_action(self) -> (Action, BTreeSet<String>) {
        let (kind, name) = self.object.split_once(' ').unwrap_or((&self.object, ""));
        (Action::new(self.verb, Object::new(kind, name)), self.tags)
    }
}

/// `usual` with some fields changed. A field that it does not have is a mistake in the case.
fn differing<T: Serialize + DeserializeOwned>(
    case: &str,
    usual: T,
    changes: Map<String, Value>,
) -> Result<T, CaseError> {
    let unknown = |message| CaseError::Unknown { case: case.to_owned(), message };
    let mut value = serde_json::to_value(usual)?;
    for (field, change) in changes {
        match value.get_mut(&field) {
            Some(place) => *place = change,
            None => return Err(unknown(format!("there is no `{field}` to state"))),
        }
    }
    serde_json::from_value(value).map_err(|error| unknown(error.to_string()))
}

fn summary(decision: &Decision) -> Expected {
    match decision {
        Decision::Allow { .. } => Expected::Allow,
        Decision::Hold { missing, .. } => {
            let words = |set: &Vec<_>| set.iter().map(super::Missing::to_string).collect();
            Expected::Hold(missing.iter().map(words).collect())
        }
        Decision::Forbid { reasons } => {
            Expected::Forbid(reasons.iter().map(|reason| reason.policy.clone()).collect())
        }
    }
}

#[cfg(test)]
mod tests;
