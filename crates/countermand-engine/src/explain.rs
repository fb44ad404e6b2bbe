//! Why policy says what it says, and what would make it say something else.

use crate::authority::Asked;
use crate::engine::Engine;
use crate::review::ReviewError;
use countermand_core::action::Action;
use countermand_core::change::{Change, State};
use countermand_core::effect::Effect;
use countermand_core::evidence::Evidence;
use countermand_core::name::{AgentName, EnvironmentName, GroupName, HumanName, TargetName};
use countermand_core::policy::{Decision, Measured, Missing, Reason};
use countermand_core::request::ChangeNumber;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What policy is to be explained of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explained {
    /// A change as it stands, open or ended.
    Change(ChangeNumber),
    /// A request by what its text says. Nothing is measured, and nothing is held.
    Request {
        /// Who would ask.
        agent: AgentName,
        /// Of what.
        target: TargetName,
        /// What it would do.
        actions: Vec<Action>,
    },
}

/// What policy says, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The change and its state, where it is one.
    pub change: Option<(ChangeNumber, String)>,
    /// Who asks.
    pub agent: AgentName,
    /// On whose behalf.
    pub sponsor: HumanName,
    /// Of what.
    pub target: TargetName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// What it would do: verb, effect and object. Hostile text.
    pub does: Vec<String>,
    /// The answer.
    pub decision: Decision,
    /// The policies that make it, each with where it is from.
    pub rules: Vec<RuleLine>,
    /// What would make it pass: alternatives, the easiest first; each is enough.
    pub ways: Vec<Vec<Step>>,
    /// What else matters here.
    pub notes: Vec<String>,
}

impl Explanation {
    /// The groups whose seats this human could fill in the easiest way. An approval names its seat
    /// where there are several.
    pub fn seats(&self, human: &str) -> Vec<GroupName> {
        let Decision::Hold { missing, .. } = &self.decision else { return Vec::new() };
        let (Some(lacks), Some(way)) = (missing.first(), self.ways.first()) else {
            return Vec::new();
        };
        let theirs =
            lacks.iter().zip(way).filter(|(_, step)| step.from.iter().any(|it| it == human));
        let seat = |(missing, _): (&Missing, &Step)| match missing {
            Missing::Group { group, .. } => Some(group.clone()),
            _ => None,
        };
        theirs.filter_map(seat).collect()
    }
}

/// A policy that makes an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleLine {
    /// Its id.
    pub policy: String,
    /// Its reason, or what it grants.
    pub reason: String,
    /// Its file, or what it was compiled from.
    pub from: String,
    /// What could be done about it where no evidence helps.
    pub remedy: Option<String>,
}

/// A piece of evidence that is missing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub missing: String,
    /// Who could give it. Empty: nobody here.
    pub from: Vec<String>,
}

impl Engine {
    /// What policy says, and why. Reads only.
    pub(crate) fn explain(&self, what: &Explained) -> Result<Explanation, ReviewError> {
        match what {
            Explained::Change(number) => {
                let change = self.0.store.read(|rows| rows.change(*number))?;
                let decision = self.judge(&change, &change.preview, &self.evidence(&change));
                Ok(self.explain_change(&change, decision))
            }
            Explained::Request { agent, target, actions } => {
                self.explain_request(agent, target, actions)
            }
        }
    }

    /// Why policy says this of a change.
    pub(crate) fn explain_change(&self, change: &Change, decision: Decision) -> Explanation {
        let request = &change.request;
        let gone = change.approvals.iter().map(|(_, approval)| &approval.human);
        let gone: BTreeSet<&HumanName> = gone.chain([&request.sponsor]).collect();
        let mut notes: Vec<String> = request.beyond.iter().map(ToString::to_string).collect();
        if change.state != State::Held {
            notes.push(format!(
                "the change is {}: this is what policy would say of it now",
                change.state.word()
            ));
        }
        let asked =
            Asked { agent: &request.agent, sponsor: change.responsible(), target: &request.target };
        let actions = self.measured(&request.target, &request.actions, &change.preview);
        Explanation {
            change: Some((request.number, change.state.word().to_owned())),
            does: does(&actions),
            notes,
            ..self.explanation(&asked, &request.environment, decision, &gone)
        }
    }

    fn explain_request(
        &self,
        agent: &AgentName,
        target: &TargetName,
        actions: &[Action],
    ) -> Result<Explanation, ReviewError> {
        let refused = |why: String| ReviewError::No(why);
        let authority = self.authority();
        let row = authority.agent(agent).filter(|row| row.is_valid(self.0.clock.now()));
        let row = row.ok_or_else(|| {
            refused(format!(
                "agent `{agent}` has no credential that is valid now: `countermand agent list`"
            ))
        })?;
        let Some(placement) = self.0.installation.targets.get(target) else {
            return Err(refused(format!("there is no target `{target}`")));
        };
        let asked = Asked { agent, sponsor: &row.sponsor, target };
        let tagged = self.tagged(target, actions);
        let facts = self.facts_by_name(&tagged);
        let ask = |measured| self.ask(&asked, &tagged, measured, &facts, &Evidence::default());
        let decision = ask(Measured::NotYet);
        let mut notes = vec![String::from(
            "by its text alone: what it really does is measured before anything is committed",
        )];
        let worst = Effect::worst(actions.iter().map(Action::effect));
        let flows = |decision: &Decision| matches!(decision, Decision::Allow { .. });
        let limits = self.limits(agent, target);
        let within = format!(
            "{} rows in a transaction and {} in an hour",
            limits.rows, limits.rows_per_hour
        );
        if flows(&decision) && worst == Effect::Write {
            notes.push(format!("beyond its limits ({within}), or not kept, it would be held"));
        } else if !flows(&decision) && flows(&ask(Measured::Within)) {
            notes.push(format!("within its limits ({within}), and kept, it would flow"));
        }
        Ok(Explanation {
            does: does(&tagged),
            notes,
            ..self.explanation(&asked, &placement.environment, decision, &BTreeSet::new())
        })
    }

    /// The answer with its rules, and the ways to another.
    fn explanation(
        &self,
        asked: &Asked<'_>,
        environment: &EnvironmentName,
        decision: Decision,
        gone: &BTreeSet<&HumanName>,
    ) -> Explanation {
        let (rules, missing) = match &decision {
            Decision::Allow { by } => {
                let line = |id: &String| self.rule(id, "grants this", None);
                (by.iter().map(line).collect(), Vec::new())
            }
            Decision::Hold { missing, reasons } => {
                let line = |reason: &Reason| self.rule(&reason.policy, &reason.reason, None);
                (reasons.iter().map(line).collect(), missing.clone())
            }
            Decision::Forbid { reasons } => {
                let line = |reason: &Reason| {
                    self.rule(&reason.policy, &reason.reason, Some(remedy(&reason.policy)))
                };
                (reasons.iter().map(line).collect(), Vec::new())
            }
        };
        let step = |missing: &Missing| Step {
            missing: missing.to_string(),
            from: self.givers(asked, missing, gone),
        };
        Explanation {
            change: None,
            agent: asked.agent.clone(),
            sponsor: asked.sponsor.clone(),
            target: asked.target.clone(),
            environment: environment.clone(),
            does: Vec::new(),
            decision,
            rules,
            ways: missing.iter().map(|set| set.iter().map(step).collect()).collect(),
            notes: Vec::new(),
        }
    }

    fn rule(&self, policy: &str, reason: &str, remedy: Option<String>) -> RuleLine {
        let authority = self.authority();
        let file = authority.policy.file(policy);
        let from = match (file, policy.split_once('/')) {
            (Some(file), Some(("floor", _))) => format!("{file}, which is built in"),
            (Some(file), _) => file.to_owned(),
            (None, Some(("grant", rest))) => match rest.split_once('/') {
                Some(("sponsor" | "adopted", name)) => format!("[sponsors.{name}]"),
                Some((_, name)) => format!("the grant of agent {name}"),
                None => String::from("a grant"),
            },
            (None, _) => String::from("the gateway itself"),
        };
        RuleLine { policy: policy.to_owned(), reason: reason.to_owned(), from, remedy }
    }

    /// Who could give this evidence, beside those who have.
    fn givers(
        &self,
        asked: &Asked<'_>,
        missing: &Missing,
        gone: &BTreeSet<&HumanName>,
    ) -> Vec<String> {
        let peers = |group: Option<&GroupName>| {
            let seats = self.people().seats();
            let free = seats.into_iter().filter(|(human, groups)| {
                human != asked.sponsor
                    && !gone.contains(human)
                    && group.is_none_or(|group| groups.contains(group))
            });
            free.map(|(human, _)| human.to_string()).collect()
        };
        let partner = || self.0.installation.targets.get(asked.target)?.partner.clone();
        match missing {
            Missing::Peers { .. } => peers(None),
            Missing::Group { group, .. } => peers(Some(group)),
            Missing::Cooling { .. } => vec!["time, after the last approval".into()],
            Missing::Trial | Missing::Verified => vec!["the gateway".into()],
            Missing::Rehearsal => {
                partner().map(|partner| format!("the gateway, in {partner}")).into_iter().collect()
            }
            Missing::Confirmation => vec![asked.sponsor.to_string()],
            Missing::FreshBackup => vec!["whoever makes the target's own backups".into()],
        }
    }
}

fn does(actions: &[(Action, BTreeSet<String>)]) -> Vec<String> {
    let line = |(action, tags): &(Action, BTreeSet<String>)| {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let tagged =
            if tags.is_empty() { String::new() } else { format!(", tagged {}", tags.join(", ")) };
        format!("{} ({}) on {}{tagged}", action.verb, action.effect(), action.object)
    };
    actions.iter().map(line).collect()
}

/// What could be done where no evidence helps.
fn remedy(policy: &str) -> String {
    let words = match policy.split('/').collect::<Vec<_>>()[..] {
        ["grant", "agent", _] => {
            "its sponsor may let it in again with more: `countermand agent add`"
        }
        ["grant", "sponsor" | "adopted", _] => {
            "whoever keeps the configuration may widen what this sponsor's agents may do"
        }
        ["floor", "critical" | "grant" | "network"] => {
            "a human may adopt it, once it was asked for: `countermand adopt N`"
        }
        ["floor", "ten-resources"] => "propose it as several changes",
        ["floor", _] => "nothing that could be shown for it",
        ["countermand", _] => "let the agent in again, or mend what the reason says",
        _ => "whoever keeps this policy may change it; no approval lifts it",
    };
    words.to_owned()
}
