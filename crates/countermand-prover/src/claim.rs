//! From a claim to questions for the solver, one for each kind of request it is about.

use crate::kind::Kinds;
use crate::solver::{self, Compiler, Question, Solver};
use cedar_policy::{
    EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, RequestEnv, Schema,
};
use cedar_policy_symcc::{CompiledPolicy, CompiledPolicySet, Env};
use countermand_core::policy::proof::{Bound, Claim, Counterexample, Holds, Proof, Verdict};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Why claims cannot be put to a solver at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimFault {
    /// A text that is not Cedar.
    #[error("`{what}`: {why}")]
    Text {
        /// The policy's id, or `schema`.
        what: String,
        /// What Cedar says.
        why: String,
    },
    /// A claim about a policy that is not there.
    #[error("claim `{claim}` is about policy `{policy}`, which is not there")]
    Policy {
        /// The claim.
        claim: String,
        /// The policy.
        policy: String,
    },
}

/// Claims, ready to be put to a solver.
pub(crate) struct Prover<'a> {
    claims: &'a [Claim],
    schema: Schema,
    policies: BTreeMap<&'a str, Policy>,
    kinds: Kinds,
    solver: Solver,
}

/// A bound of one of several claims.
struct Limit<'a> {
    claim: usize,
    bound: &'a Bound,
    forbid: Policy,
}

impl<'a> Limit<'a> {
    fn all(claims: &[(&Claim, &'a [Bound])]) -> Result<Vec<Limit<'a>>, ClaimFault> {
        let bounds = claims
            .iter()
            .enumerate()
            .flat_map(|(claim, (_, bounds))| bounds.iter().map(move |bound| (claim, bound)));
        let limit = |(nth, (claim, bound)): (usize, (usize, &'a Bound))| {
            let forbid = parse(&format!("bound/{nth}"), &bound.forbids)?;
            Ok(Limit { claim, bound, forbid })
        };
        bounds.enumerate().map(limit).collect()
    }

    fn actions(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.bound.actions.iter().map(String::as_str)
    }
}

/// Do these policies permit what those bounds forbid?
struct Exceeds<'a> {
    about: &'a CompiledPolicySet,
    bounds: &'a CompiledPolicySet,
}

impl Question for Exceeds<'_> {
    async fn put(&self, compiler: &mut Compiler) -> Result<Option<Env>, String> {
        let found = compiler.check_implies_with_counterexample_opt(self.about, self.bounds).await;
        found.map_err(|error| solver::with_causes(&error))
    }
}

/// Does this policy fail?
struct Fails(CompiledPolicy);

impl Question for Fails {
    async fn put(&self, compiler: &mut Compiler) -> Result<Option<Env>, String> {
        let found = compiler.check_never_errors_with_counterexample_opt(&self.0).await;
        found.map_err(|error| solver::with_causes(&error))
    }
}

impl<'a> Prover<'a> {
    pub(crate) fn new(proof: &'a Proof) -> Result<Prover<'a>, ClaimFault> {
        let (schema, _) =
            Schema::from_cedarschema_str(&proof.schema).map_err(|error| fault("schema", &error))?;
        let policies =
            proof.policies.iter().map(|(id, text)| Ok((id.as_str(), parse(id, &text.text)?)));
        let policies: BTreeMap<_, _> = policies.collect::<Result<_, ClaimFault>>()?;
        for claim in &proof.claims {
            let missing = claim.about.iter().find(|id| !policies.contains_key(id.as_str()));
            if let Some(policy) = missing {
                let (claim, policy) = (claim.id.clone(), policy.clone());
                return Err(ClaimFault::Policy { claim, policy });
            }
        }
        let kinds = Kinds::of_schema(&schema)?;
        Ok(Prover { claims: &proof.claims, schema, policies, kinds, solver: Solver::default() })
    }

    /// Questions put so far.
    pub(crate) fn questions(&self) -> u64 {
        self.solver.questions
    }

    /// A verdict for each claim. Claims about the same policies are tried together first: most
    /// hold, and one question then shows all of them.
    pub(crate) async fn verdicts(&mut self) -> Result<BTreeMap<String, Verdict>, ClaimFault> {
        let mut verdicts = BTreeMap::new();
        let mut together: BTreeMap<&BTreeSet<String>, Vec<(&Claim, &[Bound])>> = BTreeMap::new();
        for claim in self.claims {
            match &claim.holds {
                Holds::Within(bounds) => {
                    together.entry(&claim.about).or_default().push((claim, bounds));
                }
                Holds::Answers(actions) => {
                    let verdict = self.answers(&claim.about, actions).await;
                    verdicts.insert(claim.id.clone(), verdict);
                }
            }
        }
        for (about, claims) in together {
            let found = self.within(about, &claims).await?;
            let ids = claims.iter().map(|(claim, _)| claim.id.clone());
            verdicts.extend(ids.zip(found));
        }
        Ok(verdicts)
    }

    async fn within(
        &mut self,
        about: &BTreeSet<String>,
        claims: &[(&Claim, &[Bound])],
    ) -> Result<Vec<Verdict>, ClaimFault> {
        let about = about.iter().map(|id| self.policies[id.as_str()].clone());
        let about = set("about", about.collect())?;
        let limits = Limit::all(claims)?;
        let mut verdicts = vec![Verdict::Proved; claims.len()];
        let actions: BTreeSet<&str> = limits.iter().flat_map(Limit::actions).collect();
        let policies = about.policies().chain(limits.iter().map(|limit| &limit.forbid));
        // Where one bound is for an action and another is not, the two are not alike. What the first
        // bounds are for comes first.
        let apart = |action: &str| -> Vec<bool> {
            limits.iter().map(|limit| !limit.bound.actions.contains(action)).collect()
        };
        for action in self.kinds.of(policies, actions.into_iter(), apart) {
            let here = |claim: Option<usize>| {
                let of = |limit: &&Limit| claim.is_none_or(|index| limit.claim == index);
                let here = limits.iter().filter(|limit| limit.bound.actions.contains(action));
                here.filter(of).map(|limit| limit.forbid.clone()).collect()
            };
            if self.exceeds(&about, here(None), action).await? == Verdict::Proved {
                continue;
            }
            for (index, verdict) in verdicts.iter_mut().enumerate() {
                if !matches!(verdict, Verdict::Refuted(_)) {
                    let found = self.exceeds(&about, here(Some(index)), action).await?;
                    *verdict = worse(std::mem::replace(verdict, Verdict::Proved), found);
                }
            }
        }
        Ok(verdicts)
    }

    async fn exceeds(
        &mut self,
        about: &PolicySet,
        mut forbids: Vec<Policy>,
        action: &str,
    ) -> Result<Verdict, ClaimFault> {
        if forbids.is_empty() {
            return Ok(Verdict::Proved);
        }
        forbids.push(parse("bound/rest", "permit (principal, action, resource);")?);
        let bounds = set("bounds", forbids)?;
        let env = request(action);
        let compile = |set: &PolicySet| {
            CompiledPolicySet::compile(set, &env, &self.schema).map_err(|e| solver::with_causes(&e))
        };
        Ok(match (compile(about), compile(&bounds)) {
            (Ok(about), Ok(bounds)) => {
                let question = Exceeds { about: &about, bounds: &bounds };
                verdict(action, self.solver.ask(&question).await)
            }
            (Err(why), _) | (_, Err(why)) => verdict(action, Err(why)),
        })
    }

    async fn answers(&mut self, about: &BTreeSet<String>, actions: &BTreeSet<String>) -> Verdict {
        let mut so_far = Verdict::Proved;
        let policies: Vec<&Policy> = about.iter().map(|id| &self.policies[id.as_str()]).collect();
        let actions = actions.iter().map(String::as_str);
        let actions = self.kinds.of(policies.iter().copied(), actions, |_| ());
        for (policy, action) in policies.iter().flat_map(|p| actions.iter().map(move |a| (p, a))) {
            let compiled = CompiledPolicy::compile(policy, &request(action), &self.schema);
            let found = match compiled {
                Ok(policy) => verdict(action, self.solver.ask(&Fails(policy)).await),
                Err(error) => verdict(action, Err(solver::with_causes(&error))),
            };
            so_far = worse(so_far, found);
            if matches!(so_far, Verdict::Refuted(_)) {
                break;
            }
        }
        so_far
    }
}

/// What is known after both: a refutation stands whatever is proved of other requests, and what
/// is not proved of some is not proved.
fn worse(one: Verdict, other: Verdict) -> Verdict {
    match (&one, &other) {
        (Verdict::Refuted(_), _) | (_, Verdict::Proved) => one,
        (_, Verdict::Refuted(_)) | (Verdict::Proved, _) => other,
        (Verdict::NotProved(_), Verdict::NotProved(_)) => one,
    }
}

fn verdict(action: &str, answer: Result<Option<Env>, String>) -> Verdict {
    let not_proved = |why: String| Verdict::NotProved(format!("`{action}`: {why}"));
    match answer {
        Ok(None) => Verdict::Proved,
        Ok(Some(env)) => {
            counterexample(&env).map_or_else(not_proved, |found| Verdict::Refuted(Box::new(found)))
        }
        Err(why) => not_proved(why),
    }
}

fn counterexample(env: &Env) -> Result<Counterexample, String> {
    let missing = || String::from("the solver's counter-example is not a whole request");
    let words = |error: &dyn std::error::Error| solver::with_causes(error);
    let uid = |uid: Option<&EntityUid>| {
        let uid = uid.ok_or_else(missing)?;
        Ok::<_, String>(json!({
            "type": uid.type_name().to_string(),
            "id": uid.id().unescaped(),
        }))
    };
    let context = env.request.context().ok_or_else(missing)?;
    Ok(Counterexample {
        principal: uid(env.request.principal())?,
        action: uid(env.request.action())?,
        resource: uid(env.request.resource())?,
        context: context.to_json_value().map_err(|error| words(&error))?,
        entities: env.entities.to_json_value().map_err(|error| words(&error))?,
    })
}

/// The kind of request that this action is asked in.
fn request(action: &str) -> RequestEnv {
    let kind = |name: &str| -> EntityTypeName { name.parse().expect("an identifier is a type") };
    let action = EntityUid::from_type_name_and_id(kind("Action"), EntityId::new(action));
    RequestEnv::new(kind("Agent"), action, kind("Resource"))
}

fn parse(id: &str, text: &str) -> Result<Policy, ClaimFault> {
    Policy::parse(Some(PolicyId::new(id)), text).map_err(|error| fault(id, &error))
}

fn set(what: &str, policies: Vec<Policy>) -> Result<PolicySet, ClaimFault> {
    PolicySet::from_policies(policies).map_err(|error| fault(what, &error))
}

/// A text that is not what it should be.
pub(crate) fn fault(what: &str, error: &dyn std::error::Error) -> ClaimFault {
    ClaimFault::Text { what: what.to_owned(), why: solver::with_causes(error) }
}
