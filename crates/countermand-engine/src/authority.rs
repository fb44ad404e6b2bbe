//! Who may do what now: agents with their credentials, and the policy compiled from them.

use crate::engine::Engine;
use crate::installation::Installation;
use crate::store::{AgentRow, StoreError};
use countermand_core::action::Action;
use countermand_core::change::{Change, facts_of};
use countermand_core::digest::Digest;
use countermand_core::effect::Effect;
use countermand_core::evidence::{Evidence, Facts};
use countermand_core::limits::Beyond;
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::{Decision, Measured, Policy, PolicyError, Question, World};
use countermand_core::preview::Preview;
use countermand_core::radius::Fate;
use countermand_core::verb::Verb;
use countermand_core::verb::postgres::{
    ADVANCE_SEQUENCE, ASSIGN_TRANSACTION_ID, LOCK_ADVISORY, LOCK_ROWS, NOTIFY,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::target::tags_of;

/// Writes that leave no row different: there is nothing to take back.
const LEAVES_NOTHING: [Verb; 5] =
    [ADVANCE_SEQUENCE, ASSIGN_TRANSACTION_ID, LOCK_ADVISORY, LOCK_ROWS, NOTIFY];

/// As many answers are remembered.
const MOST_ANSWERS: usize = 4096;

/// What an answer without evidence depends on, beside the policy and the installation.
type Known = (AgentName, TargetName, Vec<Action>, Measured, u32, (bool, bool));

/// Agents and the policy that is in force for them.
pub(crate) struct Authority {
    agents: BTreeMap<AgentName, AgentRow>,
    pub(crate) policy: Policy,
    /// Units that may run without any evidence: most of what an agent asks it has asked before.
    allowed: Mutex<HashMap<Known, Decision>>,
}

impl AgentRow {
    /// Tells this credential's sessions from those of one before it under the same name.
    pub(crate) fn generation(&self) -> String {
        Digest::of_bytes(&self.verifier.stored_key).short()
    }

    /// Whether the credential is good at this time.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        !self.revoked && now < self.expires
    }
}

impl Authority {
    pub(crate) fn new(
        installation: &Installation,
        agents: Vec<AgentRow>,
    ) -> Result<Authority, PolicyError> {
        let humans = || installation.humans.iter();
        let sponsors: BTreeMap<_, _> = humans()
            .filter_map(|(name, human)| Some((name.clone(), human.sponsors.clone()?)))
            .collect();
        let in_force = agents.iter().filter(|row| !row.revoked);
        let in_force = in_force.filter(|row| sponsors.contains_key(&row.sponsor));
        let world = World {
            groups: humans().flat_map(|(_, human)| human.groups.clone()).collect(),
            agents: in_force
                .map(|row| (row.name.clone(), (row.sponsor.clone(), row.grant.clone())))
                .collect(),
            sponsors,
        };
        let policy = Policy::load(&world, &installation.policies)?;
        let agents = agents.into_iter().map(|row| (row.name.clone(), row)).collect();
        Ok(Authority { agents, policy, allowed: Mutex::default() })
    }

    pub(crate) fn agent(&self, name: &AgentName) -> Option<&AgentRow> {
        self.agents.get(name)
    }

    pub(crate) fn agent_named(&self, name: &str) -> Option<&AgentRow> {
        self.agents.get(&AgentName::new(name).ok()?)
    }

    pub(crate) fn agents(&self) -> impl Iterator<Item = &AgentRow> {
        self.agents.values()
    }
}

/// Who asks what of which target: the part of a question that does not change.
pub(crate) struct Asked<'a> {
    pub(crate) agent: &'a AgentName,
    pub(crate) sponsor: &'a HumanName,
    pub(crate) target: &'a TargetName,
}

impl Engine {
    /// Loads agents again, and the policy with them.
    pub(crate) fn reload_authority(&self) -> Result<(), StoreError> {
        let agents = self.0.store.read(|rows| rows.agents())?;
        let authority = Authority::new(&self.0.installation, agents)
            .map_err(|e| StoreError::Refused(e.to_string()))?;
        *self.0.authority.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authority);
        self.begin_counting();
        Ok(())
    }

    /// Has what can be counted of those who are here begin at 0.
    pub(crate) fn begin_counting(&self) {
        let authority = self.authority();
        let targets: Vec<_> = self.0.installation.targets.keys().collect();
        let here = authority.agents().filter(|row| row.is_valid(self.0.clock.now()));
        let reached = |row: &'_ AgentRow| {
            let granted = targets.iter().filter(|target| row.grant.targets.contains(**target));
            granted.map(|target| (row.name.clone(), (*target).clone())).collect::<Vec<_>>()
        };
        let agents: Vec<_> = here.flat_map(reached).collect();
        let agents: Vec<_> = agents.iter().map(|(agent, target)| (agent, target)).collect();
        self.0.metrics.begin(&targets, &agents);
    }

    /// Puts actions to policy.
    pub(crate) fn ask(
        &self,
        asked: &Asked<'_>,
        actions: &[(Action, BTreeSet<String>)],
        measured: Measured,
        facts: &Facts,
        evidence: &Evidence,
    ) -> Decision {
        let fresh = self.is_backup_fresh(asked.target);
        let evidence = Evidence { backup_fresh: fresh, ..evidence.clone() };
        self.put(asked, actions, measured, facts, &evidence)
    }

    /// Puts actions to policy with this evidence and no other.
    fn put(
        &self,
        asked: &Asked<'_>,
        actions: &[(Action, BTreeSet<String>)],
        measured: Measured,
        facts: &Facts,
        evidence: &Evidence,
    ) -> Decision {
        let Some(placement) = self.0.installation.targets.get(asked.target) else {
            return forbid(format!("there is no target `{}`", asked.target));
        };
        self.authority().policy.decide(&Question {
            agent: asked.agent,
            sponsor: asked.sponsor,
            target: asked.target,
            environment: &placement.environment,
            disposable: placement.disposable,
            tags: &placement.tags,
            actions,
            measured,
            facts: &Facts { backups: placement.backups.is_some(), ..facts.clone() },
            evidence,
        })
    }

    /// Puts actions to policy without evidence of their own. A yes is remembered for as long as this policy and
    /// these agents are in force.
    pub(crate) fn ask_again(
        &self,
        asked: &Asked<'_>,
        actions: &[(Action, BTreeSet<String>)],
        measured: Measured,
        facts: &Facts,
    ) -> Decision {
        let authority = self.authority();
        let named = actions.iter().map(|(action, _)| action.clone()).collect();
        // Asked once: what is remembered is remembered of this very evidence.
        let backup_fresh = self.is_backup_fresh(asked.target);
        let shown = (facts.solo, backup_fresh);
        let known =
            (asked.agent.clone(), asked.target.clone(), named, measured, facts.roots, shown);
        let remembered = || authority.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decision) = remembered().get(&known) {
            return decision.clone();
        }
        let evidence = Evidence { backup_fresh, ..Evidence::default() };
        let decision = self.put(asked, actions, measured, facts, &evidence);
        if matches!(decision, Decision::Allow { .. }) {
            let mut allowed = remembered();
            if allowed.len() >= MOST_ANSWERS {
                allowed.clear();
            }
            allowed.insert(known, decision.clone());
        }
        decision
    }

    /// The actions of a request with their resources' tags, as far as names alone tell.
    pub(crate) fn tagged(
        &self,
        target: &TargetName,
        actions: &[Action],
    ) -> Vec<(Action, BTreeSet<String>)> {
        let Some(placement) = self.0.installation.targets.get(target) else { return Vec::new() };
        let tags = |action: &Action| {
            let name = &action.object.name;
            let mut tags = tags_of(&placement.object_tags, name);
            // A name without its schema could be any schema's: it carries the tags of all.
            if !name.contains('.') {
                for (pattern, more) in &placement.object_tags {
                    let last = pattern.rsplit('.').next().unwrap_or(pattern);
                    let matches = last == name || (last == "*" && pattern != "*");
                    tags.extend(more.iter().filter(|_| matches).cloned());
                }
            }
            tags
        };
        actions.iter().map(|action| (action.clone(), tags(action))).collect()
    }

    /// The actions of a measured unit: those the request names, and the worst of its verbs on
    /// everything in its radius.
    pub(crate) fn measured(
        &self,
        target: &TargetName,
        actions: &[Action],
        preview: &Preview,
    ) -> Vec<(Action, BTreeSet<String>)> {
        let mut all: BTreeMap<Action, BTreeSet<String>> =
            self.tagged(target, actions).into_iter().collect();
        let worst = actions.iter().max_by_key(|action| action.effect());
        let touched = preview.radius.nodes.iter().filter(|node| node.fate != Fate::Dangling);
        for (node, worst) in touched.filter_map(|node| Some((node, worst?))) {
            let action = Action::new(worst.verb, node.object.clone());
            // What was measured knows the resource; what the name alone suggested gives way.
            all.insert(action, node.tags.clone());
        }
        all.into_iter().collect()
    }

    /// What policy says of a change now.
    pub(crate) fn judge(
        &self,
        change: &Change,
        preview: &Preview,
        evidence: &Evidence,
    ) -> Decision {
        let own = change.request.agent.human();
        self.judge_as(change, preview, evidence, change.adopter().or(own.as_ref()))
    }

    /// What policy says of a change now, as its agent's or as this human's own.
    pub(crate) fn judge_as(
        &self,
        change: &Change,
        preview: &Preview,
        evidence: &Evidence,
        adopter: Option<&HumanName>,
    ) -> Decision {
        let request = &change.request;
        let sponsor = adopter.unwrap_or(&request.sponsor);
        let asked = Asked { agent: &request.agent, sponsor, target: &request.target };
        let valid = |row: &AgentRow| {
            row.is_valid(self.0.clock.now()) && request.session.starts_with(&row.generation())
        };
        // A human's own change does not end with the agent's credential; with its agent's
        // revocation it does, since policy knows no such agent then.
        if adopter.is_none() && !self.authority().agent(&request.agent).is_some_and(valid) {
            return forbid(format!("the credential of agent `{}` has ended", request.agent));
        }
        let actions = self.measured(&request.target, &request.actions, preview);
        let facts = Facts { adopted: adopter.is_some(), ..self.facts(&request.target, preview) };
        let measured = unmeasured(&request.actions, &request.beyond);
        self.ask(&asked, &actions, measured, &facts, evidence)
    }

    /// What is true of a measured unit here.
    pub(crate) fn facts(&self, target: &TargetName, preview: &Preview) -> Facts {
        let placement = self.0.installation.targets.get(target);
        let partner = placement.is_some_and(|placement| placement.partner.is_some());
        facts_of(preview, partner, self.people().is_solo())
    }

    /// What has been shown for a change by now.
    pub(crate) fn evidence(&self, change: &Change) -> Evidence {
        change.evidence(self.0.clock.now(), &self.people().seats())
    }
}

/// How a unit is weighed whose effect was not measured, or was found to be too much. Verbs that
/// only lock and announce are what they say; any other write could do anything, and is weighed as
/// beyond every limit.
pub(crate) fn unmeasured(actions: &[Action], beyond: &[Beyond]) -> Measured {
    let writes = |action: &Action| {
        action.effect() == Effect::Write && !LEAVES_NOTHING.contains(&action.verb)
    };
    match !beyond.is_empty() || actions.iter().any(writes) {
        true => Measured::Beyond,
        false => Measured::NotYet,
    }
}

fn forbid(reason: String) -> Decision {
    let policy = "countermand/known".to_owned();
    Decision::Forbid { reasons: vec![countermand_core::policy::Reason { policy, reason }] }
}
