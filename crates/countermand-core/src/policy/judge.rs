//! One question, judged action by action and answered for the unit.

use super::ask::{Subject, Unaskable, judged_as};
use super::decision::{Decision, Reason};
use super::shown::{self, Shown};
use super::{Bound, Policy, Question, Standing, world};
use crate::action::Action;
use crate::effect::Effect;
use crate::evidence::Facts;
use cedar_policy::{Context, Decision as Answer, PolicySet, Response};
use std::collections::BTreeSet;

pub(super) struct Judge<'a> {
    policy: &'a Policy,
    question: &'a Question<'a>,
    bound: &'a Bound,
    facts: Facts,
    /// What has been shown.
    have: Shown,
    /// What could be shown at most.
    top: Shown,
    now: Context,
}

/// What is known of the unit after some of its actions.
struct Tally {
    by: BTreeSet<String>,
    held: BTreeSet<Reason>,
    forbidden: BTreeSet<Reason>,
    /// The lowest places of evidence at which every action so far is permitted.
    places: Vec<Shown>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        question: &'a Question<'a>,
        bound: &'a Bound,
    ) -> Result<Judge<'a>, Unaskable> {
        let mut facts = question.facts.clone();
        // What is not understood is never run just to be measured.
        let opaque = |(action, _): &(Action, _)| action.effect() == Effect::Opaque;
        facts.rehearsable &= !question.actions.iter().any(opaque);
        let have = Shown::of(question.evidence);
        let top = have.attainable(&facts, &policy.world.groups);
        let now = policy.vocabulary.context(&facts, question.measured, &have)?;
        Ok(Judge { policy, question, bound, facts, have, top, now })
    }

    pub(super) fn decide(self) -> Result<Decision, Unaskable> {
        let mut tally = Tally {
            by: BTreeSet::new(),
            held: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            places: vec![self.have.clone()],
        };
        let actions: BTreeSet<_> = self.question.actions.iter().collect();
        for (action, tags) in actions {
            let subject = self.policy.vocabulary.subject(self.question, action, tags)?;
            self.judge(action, &subject, &mut tally)?;
        }
        Ok(if !tally.forbidden.is_empty() {
            Decision::Forbid { reasons: tally.forbidden.into_iter().collect() }
        } else if !tally.held.is_empty() {
            let missing = shown::alternatives(&self.have, &tally.places);
            Decision::Hold { missing, reasons: tally.held.into_iter().collect() }
        } else {
            Decision::Allow { by: tally.by.into_iter().collect() }
        })
    }

    /// Adds one action to what is known.
    fn judge(
        &self,
        action: &Action,
        subject: &Subject,
        tally: &mut Tally,
    ) -> Result<(), Unaskable> {
        let now = self.ask(&self.bound.set, subject, self.now.clone())?;
        if now.decision() == Answer::Allow {
            tally.by.extend(named(&now));
            return Ok(());
        }
        let full = self.ask(&self.bound.set, subject, self.context(&self.top)?)?;
        if full.decision() == Answer::Deny {
            tally.forbidden.extend(self.forbidden(action, subject, &full)?);
            return Ok(());
        }
        tally.held.extend(named(&now).filter_map(|id| self.reason(&id, action)));
        if tally.forbidden.is_empty() && !self.enough(subject, &tally.places)? {
            self.climb(subject, named(&now), &mut tally.places)?;
        }
        Ok(())
    }

    /// Raises the places until none of these policies stands in the way of the action.
    fn climb(
        &self,
        subject: &Subject,
        blocking: impl Iterator<Item = String>,
        places: &mut Vec<Shown>,
    ) -> Result<(), Unaskable> {
        for standing in blocking.filter_map(|id| self.policy.rules.get(&id)) {
            let thresholds = &standing.rule.thresholds;
            let gone = |place: &Shown| Ok(!self.blocks(standing, subject, place)?);
            let lowest = shown::lowest(&self.have, &self.top, thresholds, gone)?;
            *places = shown::both(&self.have, places, &lowest);
        }
        // Permitted with full evidence, so every policy in the way gives in somewhere below it.
        if places.is_empty() { Err(Unaskable::contradiction()) } else { Ok(()) }
    }

    /// Whether the action is permitted at every one of these places already.
    fn enough(&self, subject: &Subject, places: &[Shown]) -> Result<bool, Unaskable> {
        if places.contains(&self.have) {
            return Ok(false);
        }
        for place in places {
            let answer = self.ask(&self.bound.set, subject, self.context(place)?)?;
            if answer.decision() == Answer::Deny {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn blocks(
        &self,
        standing: &Standing,
        subject: &Subject,
        place: &Shown,
    ) -> Result<bool, Unaskable> {
        let answer = self.ask(&standing.alone, subject, self.context(place)?)?;
        Ok(named(&answer).next().is_some())
    }

    /// Cedar's answer. A policy that fails is one that Cedar skips, so it must not be an answer.
    fn ask(
        &self,
        set: &PolicySet,
        subject: &Subject,
        context: Context,
    ) -> Result<Response, Unaskable> {
        let request = subject.request(context, &self.policy.schema)?;
        let answer = self.policy.authorizer.is_authorized(&request, set, &subject.entities);
        if let Some(error) = answer.diagnostics().errors().next() {
            return Err(Unaskable::failed(error));
        }
        Ok(answer)
    }

    fn context(&self, place: &Shown) -> Result<Context, Unaskable> {
        self.policy.vocabulary.context(&self.facts, self.question.measured, place)
    }

    /// Why an action is denied with all evidence that there can be.
    fn forbidden(
        &self,
        action: &Action,
        subject: &Subject,
        full: &Response,
    ) -> Result<Vec<Reason>, Unaskable> {
        let mut reasons = Vec::new();
        for id in named(full) {
            let Some(mut reason) = self.reason(&id, action) else { continue };
            if let Some(words) = self.unattainable(&id, subject)? {
                reason.reason.push_str(&format!(" (cannot be shown for this change: {words})"));
            }
            reasons.push(reason);
        }
        let granted = self.ask(&self.bound.permit, subject, self.now.clone())?;
        if granted.decision() == Answer::Deny {
            reasons.push(self.no_permit(action));
        }
        Ok(reasons)
    }

    /// What this policy would accept, were it not for a partner, a group or a restore point that
    /// does not exist here.
    fn unattainable(&self, id: &str, subject: &Subject) -> Result<Option<String>, Unaskable> {
        let Some(standing) = self.policy.rules.get(id) else { return Ok(None) };
        let all = Shown::everything(&self.policy.world.groups);
        let gone = |place: &Shown| Ok(!self.blocks(standing, subject, place)?);
        let places = shown::lowest(&self.top, &all, &standing.rule.thresholds, gone)?;
        let sets = shown::alternatives(&self.top, &places);
        Ok(sets
            .first()
            .map(|set| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
    }

    fn reason(&self, id: &str, action: &Action) -> Option<Reason> {
        let Question { sponsor, target, .. } = self.question;
        let reason = if id == world::sponsor_id(sponsor) {
            let effect = self.effect(action);
            format!("sponsor `{sponsor}` has no grant for {effect} on target `{target}`")
        } else {
            self.policy.rules.get(id)?.rule.reason.clone()
        };
        Some(Reason { policy: id.to_owned(), reason })
    }

    /// No grant permits it, whatever else forbids it.
    fn no_permit(&self, action: &Action) -> Reason {
        let Question { agent, sponsor, target, .. } = self.question;
        let (policy, who) = if self.facts.adopted {
            (world::adopted_id(sponsor), format!("`{sponsor}`"))
        } else {
            (world::agent_id(agent), format!("agent `{agent}`"))
        };
        let effect = self.effect(action);
        Reason { policy, reason: format!("{who} has no grant for {effect} on target `{target}`") }
    }

    fn effect(&self, action: &Action) -> Effect {
        judged_as(action.verb, self.question.measured).1
    }
}

fn named(response: &Response) -> impl Iterator<Item = String> + '_ {
    response.diagnostics().reason().map(ToString::to_string)
}
