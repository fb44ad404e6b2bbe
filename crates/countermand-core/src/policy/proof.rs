//! What policies promise, as claims that a solver can prove for every request there could be.
//!
//! [`Policy::proof`] writes one document: the schema, the policies in force as they were compiled,
//! and claims about them. `countermand-policy-prover` answers it with a verdict for each claim.
//! Nothing here trusts that program with a counter-example: [`Proof::read`] puts it to the ordinary
//! authorizer first, and what does not replay is not shown and not proved.
//!
//! - `claims`: what is claimed, from the catalogue of verbs and the world, not from the floor's text
//! - `replay`: a counter-example put to the authorizer again, made as plain as it can be
//! - `words`: a counter-example for people

mod claims;
mod replay;
mod words;

pub use words::Refutation;

use super::{Policy, World, schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A permit for everything: what the floor promises, it promises whatever was granted to whom.
const ANY_GRANT: &str = "countermand/any-grant";

/// What is to be proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The Cedar schema.
    pub schema: String,
    /// Every policy that a claim speaks of, by its id.
    pub policies: BTreeMap<String, Text>,
    /// What is claimed of them.
    pub claims: Vec<Claim>,
}

/// A policy as Cedar writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Where it is from: a file, or nothing where it was compiled from a grant.
    pub file: Option<String>,
    /// The policy.
    pub text: String,
}

/// One claim, for every request, every entity and every evidence that fits the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its name: `floor/hard-stop`, `grant/agent/builder`, `answers/site/dba`.
    pub id: String,
    /// What it says, in words.
    pub says: String,
    /// The ids of the policies it is about.
    pub about: BTreeSet<String>,
    /// What must hold.
    pub holds: Holds,
}

/// What must hold of policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Together they permit nothing that one of these bounds forbids.
    Within(Vec<Bound>),
    /// None of them fails for a request with one of these actions: Cedar would skip it.
    Answers(BTreeSet<String>),
}

/// A forbid that policies are measured against, for requests with one of these actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The Cedar actions.
    pub actions: BTreeSet<String>,
    /// A Cedar policy.
    pub forbids: String,
}

/// What the prover answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The solver, as it names itself.
    pub solver: String,
    /// Questions that were put to it.
    pub questions: u64,
    /// A verdict for each claim, by the claim's id.
    pub verdicts: BTreeMap<String, Verdict>,
}

/// What the solver says of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds for everything.
    Proved,
    /// It does not hold for this.
    Refuted(Box<Counterexample>),
    /// Nobody knows: a limit, an error.
    NotProved(String),
}

/// A request with everything around it, as Cedar's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counterexample {
    /// Who asks.
    pub principal: Value,
    /// What they ask.
    pub action: Value,
    /// Of what.
    pub resource: Value,
    /// Facts and evidence.
    pub context: Value,
    /// Everything that exists.
    pub entities: Value,
}

/// A claim and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The claim's name.
    pub claim: String,
    /// What it says.
    pub says: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It holds for everything.
    Proved,
    /// It does not: this was put to the authorizer, which permits it.
    Refuted(Box<Refutation>),
    /// Nobody knows.
    NotProved {
        /// Why not.
        why: String,
    },
}

impl Policy {
    /// The policies in force as they were compiled, and what is claimed of them.
    pub fn proof(&self) -> Proof {
        let rules = self.rules.iter().map(|(id, standing)| (id.clone(), standing.rule.text()));
        let mut policies: BTreeMap<String, Text> = rules.collect();
        let sets = self.agents.values().chain(self.adopters.values());
        for policy in sets.flat_map(|bound| bound.set.policies()) {
            let text = || Text { file: None, text: policy.to_string() };
            policies.entry(policy.id().to_string()).or_insert_with(text);
        }
        Proof::of(&self.world, policies)
    }
}

impl Proof {
    /// What is claimed of these policies in this world, whether they could be loaded or not.
    pub fn of(world: &World, mut policies: BTreeMap<String, Text>) -> Proof {
        let any = Text { file: None, text: String::from("permit (principal, action, resource);") };
        policies.insert(ANY_GRANT.to_owned(), any);
        let claims = claims::all(world, &policies);
        Proof { schema: schema::text(&world.groups), policies, claims }
    }

    /// What came of each claim. A claim without a verdict is not proved, and neither is one whose
    /// counter-example does not replay.
    pub fn read(&self, answer: &Answer) -> Vec<Finding> {
        let outcome = |claim: &Claim| match answer.verdicts.get(&claim.id) {
            Some(Verdict::Proved) => Outcome::Proved,
            Some(Verdict::Refuted(found)) => match replay::replay(self, claim, found) {
                Ok(refutation) => Outcome::Refuted(Box::new(refutation)),
                Err(why) => Outcome::NotProved {
                    why: format!("the solver's counter-example does not replay: {why}"),
                },
            },
            Some(Verdict::NotProved(why)) => Outcome::NotProved { why: why.clone() },
            None => Outcome::NotProved { why: String::from("the prover gave no verdict") },
        };
        let finding = |claim: &Claim| Finding {
            claim: claim.id.clone(),
            says: claim.says.clone(),
            outcome: outcome(claim),
        };
        self.claims.iter().map(finding).collect()
    }
}
