//! Policy: ordinary Cedar, asked with the evidence at hand.
//!
//! What an agent may do at all comes from two grants, its own and its sponsor's, compiled to
//! Cedar. The floor and the site's policies are forbids on top: they take away, and evidence
//! gives back. So there are three answers, and the middle one has a meaning: *held* is what is
//! not permitted yet and would be with more evidence.
//!
//! - `world`: grants, and the Cedar they compile to
//! - `schema`: the words that policies may use
//! - `source` and `rule`: what makes a text a policy that may be in force
//! - `ask`: a question in Cedar's terms
//! - `judge`: from the answers for each action to the decision for the unit
//! - `shown`: the order of evidence, and the search for what is missing
//! - `decision`: the answer in words
//! - `proof`: what policies promise, as claims for a solver, and its answers put to the test
//! - `cases`: questions and expected answers as data, for `policy test`

mod ask;
mod cases;
mod decision;
mod judge;
pub mod proof;
mod rule;
mod schema;
mod shown;
mod source;
mod world;

pub use cases::{CaseError, CaseResult, floor_cases, run_cases};
pub use decision::{Decision, Missing, Reason};
pub use rule::Fault;
pub use source::PolicyError;
pub use world::{Grant, World};

use crate::action::Action;
use crate::digest::Digest;
use crate::evidence::{Evidence, Facts};
use crate::name::{AgentName, EnvironmentName, HumanName, TargetName};
use ask::Vocabulary;
use cedar_policy::{Authorizer, PolicySet, Schema};
use judge::Judge;
use serde::{Deserialize, Serialize};
use source::{Author, Rule, Rules};
use std::collections::{BTreeMap, BTreeSet};

/// The text of the floor, always in force.
pub const FLOOR: &str = include_str!("../../../policies/floor.cedar");

/// The policies in force: floor, site and grants, validated. Cheap to share between threads.
pub struct Policy {
    world: World,
    digest: Digest,
    schema_text: String,
    schema: Schema,
    vocabulary: Vocabulary,
    rules: BTreeMap<String, Standing>,
    agents: BTreeMap<AgentName, Bound>,
    adopters: BTreeMap<HumanName, Bound>,
    authorizer: Authorizer,
}

/// A forbid in force, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forbid {
    /// Its `@id`.
    pub id: String,
    /// Its `@reason`.
    pub reason: String,
    /// The file that it is from.
    pub file: String,
}

/// A forbid, and a set with nothing else in it: whether it stands in the way of a request is
/// whether that set names it.
struct Standing {
    rule: Rule,
    alone: PolicySet,
}

/// All policies that bind one agent, or one human who adopts.
struct Bound {
    set: PolicySet,
    /// The permit among them, alone; nothing where the grant is empty.
    permit: PolicySet,
}

/// May this unit run? One question for all its actions, since a unit is never judged in part.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asked.
    pub agent: &'a AgentName,
    /// For whom; for an adopted change, the human who adopted it.
    pub sponsor: &'a HumanName,
    /// Where.
    pub target: &'a TargetName,
    /// The target's environment.
    pub environment: &'a EnvironmentName,
    /// Whether that environment is declared disposable: the floor does not bind there.
    pub disposable: bool,
    /// The target's tags.
    pub tags: &'a BTreeSet<String>,
    /// What it would do, each with the tags of the resource it touches.
    pub actions: &'a [(Action, BTreeSet<String>)],
    /// What was found when the unit's effect was measured.
    pub measured: Measured,
    /// What is true of the unit.
    pub facts: &'a Facts,
    /// What has been shown for it.
    pub evidence: &'a Evidence,
}

/// A unit's measured effect, against the limits of its target. Measurement raises what a unit is
/// judged as, with one exception: rows deleted under a condition, few enough, and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Not yet: each verb has the effect of its catalogue.
    #[default]
    NotYet,
    /// Within the limits, and the before-images are kept: a DELETE with a condition is a write,
    /// with the Cedar action `postgres:DeleteWithinLimits`.
    Within,
    /// Beyond the limits: the whole unit is judged as what destroys.
    Beyond,
}

impl Policy {
    /// Loads the floor, the site's policies as `(file name, text)`, and the grants of `world`.
    ///
    /// # Errors
    /// [`PolicyError`] for the first policy that cannot be in force. Nothing is loaded in part.
    pub fn load(world: &World, site: &[(String, String)]) -> Result<Policy, PolicyError> {
        let mut rules = Rules::new();
        source::read(&mut rules, (Author::Countermand, "floor.cedar", FLOOR), &world.groups)?;
        for (file, text) in site {
            source::read(&mut rules, (Author::Site, file, text), &world.groups)?;
        }
        let schema_text = schema::text(&world.groups);
        let schema =
            Schema::from_cedarschema_str(&schema_text).expect("the generated schema is one").0;
        let compiled = Compiled::new(world, &rules)?;
        source::validate(&schema, compiled.everything(&rules))?;
        Ok(Policy {
            world: world.clone(),
            digest: digest(world, site),
            vocabulary: Vocabulary::new(&schema, &world.groups),
            schema_text,
            schema,
            rules: rules.into_iter().map(|(id, rule)| (id, Standing::new(rule))).collect(),
            agents: compiled.agents,
            adopters: compiled.adopters,
            authorizer: Authorizer::new(),
        })
    }

    /// The digest of floor, site and world, which the ledger names.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Who there is and what they were granted.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The file of a rule by its `@id`; none for what was compiled from a grant.
    pub fn file(&self, rule: &str) -> Option<&str> {
        self.rules.get(rule).map(|standing| standing.rule.file.as_str())
    }

    /// The forbids in force, by their ids: the floor's and the site's.
    pub fn forbids(&self) -> Vec<Forbid> {
        let forbid = |(id, Standing { rule, .. }): (&String, &Standing)| Forbid {
            id: id.clone(),
            reason: rule.reason.clone(),
            file: rule.file.clone(),
        };
        self.rules.iter().map(forbid).collect()
    }

    /// The Cedar schema that site policies are written against.
    pub fn schema(&self) -> &str {
        &self.schema_text
    }

    /// Judges a unit. Total: whatever goes wrong is [`Decision::Forbid`].
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        match self.bound(question) {
            Ok(bound) => Judge::new(self, question, bound)
                .and_then(Judge::decide)
                .unwrap_or_else(|error| forbid("countermand/internal", error.to_string())),
            Err(reason) => Decision::Forbid { reasons: vec![reason] },
        }
    }

    /// The policies that bind this question: everybody's, and the grants of those who ask.
    fn bound(&self, question: &Question<'_>) -> Result<&Bound, Reason> {
        let Question { agent, sponsor, .. } = question;
        let refused = |policy: String, reason: String| Reason { policy, reason };
        let own = question.facts.adopted && agent.human().as_ref() == Some(*sponsor);
        let known = self.world.agents.get(*agent).map(|(sponsor, _)| sponsor);
        let Some(own_sponsor) = known.or(own.then_some(*sponsor)) else {
            let reason = format!("agent `{agent}` is not known");
            return Err(refused(world::agent_id(agent), reason));
        };
        if question.actions.is_empty() {
            let reason = String::from("a unit without actions is not judged");
            return Err(refused(String::from("countermand/empty"), reason));
        }
        let (bound, id) = if question.facts.adopted {
            (self.adopters.get(*sponsor), world::adopted_id(sponsor))
        } else if own_sponsor == *sponsor {
            (self.agents.get(*agent), world::sponsor_id(sponsor))
        } else {
            let reason = format!("agent `{agent}` does not act for `{sponsor}`");
            return Err(refused(world::agent_id(agent), reason));
        };
        bound.ok_or_else(|| refused(id, format!("`{sponsor}` is not known")))
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({})", self.digest.short())
    }
}

/// The policy sets that questions are put to. Each has one agent's grants or one human's, so
/// that a decision does not get slower with the number of agents.
struct Compiled {
    agents: BTreeMap<AgentName, Bound>,
    adopters: BTreeMap<HumanName, Bound>,
}

impl Compiled {
    fn new(world: &World, rules: &Rules) -> Result<Compiled, PolicyError> {
        let everybody = rules.values().map(|rule| rule.policy.clone());
        let everybody = PolicySet::from_policies(everybody).expect("ids of rules are different");
        let bound = |permit: Option<String>, ceiling: Option<String>| {
            let own = |text: String| source::own(&text);
            let (permit, ceiling) = (permit.map(own), ceiling.map(own));
            let mut set = everybody.clone();
            for policy in permit.iter().chain(&ceiling) {
                set.add(policy.clone()).expect("no rule has an id that starts with `grant/`");
            }
            let permit = PolicySet::from_policies(permit).expect("one id is different");
            Bound { set, permit }
        };
        let mut agents = BTreeMap::new();
        for (agent, (sponsor, grant)) in &world.agents {
            let Some(most) = world.sponsors.get(sponsor) else {
                let (agent, sponsor) = (agent.clone(), sponsor.clone());
                return Err(PolicyError::UnknownSponsor { agent, sponsor });
            };
            let ceiling = world::sponsor_ceiling(sponsor, most);
            agents.insert(agent.clone(), bound(world::agent_permit(agent, grant), Some(ceiling)));
        }
        let adopters = world.sponsors.iter().map(|(human, grant)| {
            (human.clone(), bound(world::adopted_permit(human, grant), None))
        });
        Ok(Compiled { adopters: adopters.collect(), agents })
    }

    /// Every policy once.
    fn everything(&self, rules: &Rules) -> Vec<cedar_policy::Policy> {
        let sets = self.agents.values().chain(self.adopters.values());
        let own = sets.flat_map(|bound| bound.set.policies());
        let all = rules.values().map(|rule| &rule.policy).chain(own);
        let by_id: BTreeMap<String, _> =
            all.map(|policy| (policy.id().to_string(), policy.clone())).collect();
        by_id.into_values().collect()
    }
}

impl Standing {
    fn new(rule: Rule) -> Standing {
        let alone = PolicySet::from_policies([rule.policy.clone()]).expect("one id is different");
        Standing { rule, alone }
    }
}

fn digest(world: &World, site: &[(String, String)]) -> Digest {
    let mut site: Vec<_> = site.iter().collect();
    site.sort();
    Digest::of(&serde_json::json!({ "floor": FLOOR, "site": site, "world": world }))
}

fn forbid(policy: &str, reason: String) -> Decision {
    Decision::Forbid { reasons: vec![Reason { policy: policy.to_owned(), reason }] }
}
