//! Adoption: what is forbidden to an agent and not to a human waits for one to make it their own.
//!
//! A refusal stays a refusal: whatever the agent asks again, it is told the same. What a human
//! adopts is a change like any other from then on, judged as that human's.

use crate::admission::{Admission, Kept, Proposal, Refusal};
use crate::authority::{Asked, unmeasured};
use crate::control::Reply;
use crate::engine::Engine;
use crate::key::Signed;
use crate::review::{ReviewError, no};
use countermand_core::action::Action;
use countermand_core::change::{Adoption, Change, Event, State};
use countermand_core::evidence::{Evidence, Facts};
use countermand_core::limits::Beyond;
use countermand_core::name::HumanName;
use countermand_core::policy::{Decision, Measured, Reason};
use countermand_core::preview::Preview;
use countermand_core::request::RequestKey;
use countermand_core::statement::{ReviewSubject, Statement};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::SystemTime;

/// Forbidden requests that one agent may leave at a time: each is something for humans to read.
pub(crate) const MAX_KEPT: u64 = 5;

impl Engine {
    /// Refuses what policy forbids by its names. Where a human may adopt it, it is measured and
    /// kept. What somebody adopted and had executed is told once, like every outcome.
    pub(crate) async fn forbid<T>(
        &self,
        proposal: &Proposal,
        reasons: Vec<Reason>,
    ) -> Result<Admission<T>, Refusal> {
        // Who is no longer let in is told no outcome of somebody who was.
        let known = match self.valid(&proposal.caller) {
            true => self.kept_before(proposal)?,
            false => None,
        };
        if let Some(change) = known {
            match self.told(&change, &proposal.caller).await {
                Ok(Some(admission)) => return Ok(admission),
                Ok(None) => {}
                Err(refusal) => return Err(self.refused(proposal, refusal).await),
            }
        }
        let actions = self.tagged(&proposal.target, &proposal.actions);
        let facts = self.facts_by_name(&actions);
        let measured = unmeasured(&proposal.actions, &[]);
        let may = self.may_keep(proposal, &reasons)
            && self.is_adoptable(proposal, &actions, measured, &facts);
        // It is refused either way: nobody waits to have it measured, with their transaction open.
        if may && let Some(preview) = self.preview_at_once(proposal).await {
            let measured = self.decide_measured(proposal, &preview, &[]);
            let reasons = with_those_of(reasons, measured);
            return Err(self.forbid_measured(proposal, reasons, preview, &[]).await);
        }
        Err(self.refused(proposal, Refusal::Forbidden { reasons, kept: None }).await)
    }

    /// Refuses what policy forbids by its measured effect, and keeps it where a human may adopt
    /// it. What cannot be kept is refused all the same.
    pub(crate) async fn forbid_measured(
        &self,
        proposal: &Proposal,
        reasons: Vec<Reason>,
        preview: Preview,
        beyond: &[Beyond],
    ) -> Refusal {
        let actions = self.measured(&proposal.target, &proposal.actions, &preview);
        let facts = self.facts(&proposal.target, &preview);
        let measured = unmeasured(&proposal.actions, beyond);
        let may = self.may_keep(proposal, &reasons)
            && self.is_adoptable(proposal, &actions, measured, &facts);
        let mut kept = None;
        if may {
            let key = RequestKey::of(&proposal.caller.agent, &proposal.target, &proposal.payload);
            let began = SystemTime::now();
            let opened = self.open_change(proposal, key, preview, beyond, reasons.clone()).await;
            // It may become somebody's: what is done for it then has a root.
            if let Ok(change) = &opened {
                self.proposed_since(began, &change.request, &proposal.caller);
            }
            // What somebody else opened meanwhile may have been held under another policy.
            kept = opened.ok().filter(|change| !change.forbidden.is_empty()).map(|c| kept_as(&c));
        }
        self.refused(proposal, Refusal::Forbidden { reasons, kept }).await
    }

    /// This request, where it was forbidden and kept before.
    fn kept_before(&self, proposal: &Proposal) -> Result<Option<Change>, Refusal> {
        if !proposal.approvable {
            return Ok(None);
        }
        let key = RequestKey::of(&proposal.caller.agent, &proposal.target, &proposal.payload);
        let known = self.0.store.read(|rows| rows.latest_of(key));
        let known = known.map_err(|error| crate::admit::unavailable(&error))?;
        Ok(known.filter(|change| !change.forbidden.is_empty()))
    }

    /// Whether production is asked about a forbidden request at all: only for a whole unit that a
    /// rule forbids, not for what the agent was never granted; and not for one that asks too much.
    fn may_keep(&self, proposal: &Proposal, reasons: &[Reason]) -> bool {
        let agent = &proposal.caller.agent;
        let is_rule = |reason: &Reason| {
            !reason.policy.starts_with("grant/") && !reason.policy.starts_with("countermand/")
        };
        let left = self.0.store.read(|rows| rows.kept_of(agent));
        proposal.approvable
            && reasons.iter().any(is_rule)
            && self.circuit(proposal).is_none()
            && self.may_open_more(proposal).is_ok()
            && left.is_ok_and(|left| left < MAX_KEPT)
    }

    /// Whether some human's own grant covers it, and nothing that adoption does not lift forbids
    /// it.
    fn is_adoptable(
        &self,
        proposal: &Proposal,
        actions: &[(Action, BTreeSet<String>)],
        measured: Measured,
        facts: &Facts,
    ) -> bool {
        let facts = Facts { adopted: true, ..facts.clone() };
        let authority = self.authority();
        let mut humans = authority.policy.world().sponsors.keys();
        humans.any(|human| {
            let (agent, target) = (&proposal.caller.agent, &proposal.target);
            let asked = Asked { agent, sponsor: human, target };
            let decision = self.ask(&asked, actions, measured, &facts, &Evidence::default());
            self.people().get(human).is_some() && !matches!(decision, Decision::Forbid { .. })
        })
    }

    /// What this human would sign to make it their own.
    pub(crate) fn adoption_subject(
        &self,
        change: &Change,
        signer: &HumanName,
    ) -> Result<ReviewSubject, ReviewError> {
        self.may_adopt(change, &change.preview, signer)?;
        Ok(change.subject())
    }

    /// Whether this human may make it their own, as it is measured.
    fn may_adopt(
        &self,
        change: &Change,
        preview: &Preview,
        human: &HumanName,
    ) -> Result<(), ReviewError> {
        let number = change.request.number;
        if let Some(adopter) = change.adopter() {
            return no(format!("`{adopter}` has adopted change {number}"));
        }
        if change.is_overdue(self.0.clock.now()) {
            return no(format!(
                "change {number} was not adopted in time: it expires after 24 hours"
            ));
        }
        if change.state != State::Forbidden {
            return no(format!(
                "change {number} is {}: only what was forbidden to an agent can be adopted",
                change.state.word()
            ));
        }
        if let Some(own) = change.request.agent.human().filter(|own| own != human) {
            return no(format!("change {number} is `{own}`'s own request: only they sign it"));
        }
        if self.people().get(human).is_none_or(|person| person.sponsors.is_none()) {
            return no(format!(
                "`{human}` is no sponsor: who adopts a change needs a grant of their own, under \
                 [sponsors.{human}]"
            ));
        }
        let evidence = Evidence::default();
        if let Decision::Forbid { reasons } = self.judge_as(change, preview, &evidence, Some(human))
        {
            let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            return no(format!(
                "change {number} would be forbidden to `{human}` too: {}",
                words.join("; ")
            ));
        }
        self.has_peer(change, human)
    }

    /// Nobody adopts what nobody could approve then.
    fn has_peer(&self, change: &Change, adopter: &HumanName) -> Result<(), ReviewError> {
        let people = self.people();
        let peer = |human: &HumanName| human != adopter && !change.is_own_of(human);
        if people.is_solo() || people.seats().keys().any(peer) {
            return Ok(());
        }
        no(format!(
            "nobody could approve it then: neither `{adopter}` nor `{}`, on whose behalf it was \
             asked for, may",
            change.request.sponsor
        ))
    }

    /// Makes what was forbidden to an agent the signer's own change, if it is still what they saw.
    pub(crate) async fn adopt(
        &self,
        statement: &Statement,
        subject: ReviewSubject,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let number = subject.change;
        let human = statement.signer.clone();
        let change = self.0.store.read(|rows| rows.change(number))?;
        self.key_counts(std::iter::once(&change.request.target), &signed)?;
        self.may_adopt(&change, &change.preview, &human)?;
        if subject != change.subject() {
            return no(format!(
                "change {number} is no longer what this statement says: look again"
            ));
        }
        let fresh = self.fresh_preview(&change).await;
        let fresh = fresh.map_err(|error| {
            ReviewError::No(format!("change {number} cannot be measured now: {error}"))
        })?;
        let differences = self.differences(&change, &fresh);
        if !differences.is_empty() {
            let words = differences.join("; ");
            let event = Event::Voided { why: differences, preview: Box::new(fresh) };
            self.record(number, event).await?;
            return no(format!("change {number} is no longer what you saw: {words}; look again"));
        }
        self.may_adopt(&change, &fresh, &human)?;
        let adoption = Adoption {
            human: human.clone(),
            subject: change.subject_digest(),
            key: signed.key,
            user_verified: signed.user_verified,
        };
        self.spend(statement, number, Event::Adopted { adoption }, proof).await?;
        self.prepare(number);
        let words = match self.people().is_solo() {
            true => format!(
                "change {number} is {human}'s own: they confirm it with `countermand approve \
                 {number}`, and it cools for ten times as long; it is not peer-reviewed"
            ),
            false => format!(
                "change {number} is {human}'s own: another human approves it with `countermand \
                 approve {number}`"
            ),
        };
        Ok(Reply::Done { words, credential: None })
    }

    /// How a request that was forbidden and kept is told to its agent, whoever adopted it.
    pub(crate) fn forbidden(&self, change: &Change) -> Refusal {
        Refusal::Forbidden { reasons: change.forbidden.clone(), kept: Some(kept_as(change)) }
    }
}

/// What forbids it by its names, and what does by its measured effect.
fn with_those_of(mut reasons: Vec<Reason>, measured: Decision) -> Vec<Reason> {
    if let Decision::Forbid { reasons: more } = measured {
        reasons.extend(more);
        reasons.sort();
        reasons.dedup();
    }
    reasons
}

fn kept_as(change: &Change) -> Kept {
    Kept {
        change: change.request.number,
        summary: change.preview.radius.summary(),
        adopted: change.adopter().cloned(),
    }
}
