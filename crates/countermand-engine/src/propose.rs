//! A human's own request: read and measured like an agent's, and theirs alone to sign.
//!
//! Until it is signed nothing can come of it, so anybody at the socket may ask in their name, within
//! the limits of an agent; signed, it is a change that its human adopted before anybody else had
//! it. Another human approves it.

use crate::admission::{Caller, Proposal, Refusal};
use crate::admit::MAX_OPEN;
use crate::adopt::MAX_KEPT;
use crate::authority::{Asked, unmeasured};
use crate::control::Reply;
use crate::engine::Engine;
use crate::review::{ReviewError, no};
use crate::trace::{Timed, What};
use countermand_core::action::Action;
use countermand_core::change::{Change, REJECTION_LIFETIME, State};
use countermand_core::effect::Effect;
use countermand_core::evidence::{Evidence, Facts};
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::{Decision, Reason};
use countermand_core::request::RequestKey;
use std::time::SystemTime;

impl Engine {
    /// Keeps what this human asks for until they sign it. The same request is the same change.
    pub(crate) async fn propose(
        &self,
        human: &HumanName,
        target: &TargetName,
        text: &str,
        by: &str,
    ) -> Result<Reply, ReviewError> {
        let mut proposal = self.own_proposal(human, target, text).await?;
        by.clone_into(&mut proposal.caller.said);
        let key = RequestKey::of(&proposal.caller.agent, target, &proposal.payload);
        if let Some(known) = self.0.store.read(|rows| rows.latest_of(key))? {
            let same = known.request.payload == proposal.payload.digest();
            if known.state.is_open() && (same || known.adopted.is_some()) {
                return Ok(Reply::Change(Box::new(self.view(&known)?)));
            }
            if known.state.is_open() {
                // Asked in another spelling, by whom nobody knows: what is signed is this one.
                self.withdraw(known.request.number, by.to_owned()).await?;
            }
            self.is_open_again(&known)?;
        }
        self.may_be_theirs(&proposal)?;
        let (mut timed, began) = (Timed::default(), SystemTime::now());
        let measured = self.preview(&proposal).await.map_err(refused)?;
        timed.took(What::Preview, began);
        let policy = "countermand/unsigned".to_owned();
        let reason = format!("`{human}` has not signed it");
        let unsigned = vec![Reason { policy, reason }];
        let opened = self.open_change(&proposal, key, measured, &[], unsigned).await;
        let change = opened.map_err(refused)?;
        timed.took(What::Propose, began);
        self.proposed(&change.request, &proposal.caller, timed);
        Ok(Reply::Change(Box::new(self.view(&change)?)))
    }

    async fn own_proposal(
        &self,
        human: &HumanName,
        target: &TargetName,
        text: &str,
    ) -> Result<Proposal, ReviewError> {
        if self.people().get(human).is_none_or(|person| person.sponsors.is_none()) {
            return no(format!(
                "`{human}` is no sponsor: who proposes a change needs a grant of their own, under \
                 [sponsors.{human}]"
            ));
        }
        let agent = AgentName::of_human(human);
        if let Some(why) = self.0.freezer.stops(&agent, target).or_else(|| self.0.disks.stops()) {
            return no(why);
        }
        self.may_ask_more(human, &agent, target)?;
        let Some(place) = self.0.targets.get(target) else {
            return no(format!("there is no target `{target}`"));
        };
        if let Err(why) = self.is_itself(target).await {
            return no(why);
        }
        let read = place.read(text).await;
        let (payload, actions) = read.map_err(|error| ReviewError::No(error.to_string()))?;
        if Effect::worst(actions.iter().map(Action::effect)) == Effect::Read {
            return no("it changes nothing: there is nothing to sign".to_owned());
        }
        let session = format!("{agent}/{:016x}", rand::random::<u64>());
        Ok(Proposal {
            caller: Caller {
                agent,
                sponsor: human.clone(),
                session,
                said: String::new(),
                observed: None,
            },
            target: target.clone(),
            actions,
            payload,
            measurable: false,
            transactional: true,
            approvable: true,
        })
    }

    /// Each costs production a measurement: as many as an agent may leave, and as often as one may
    /// be refused.
    fn may_ask_more(
        &self,
        human: &HumanName,
        agent: &AgentName,
        target: &TargetName,
    ) -> Result<(), ReviewError> {
        let now = self.0.clock.now();
        if self.0.circuits.open(agent, target, now).is_some() {
            return no(format!(
                "too much was asked in the name of `{human}` within ten minutes: wait for ten more"
            ));
        }
        let (kept, open) =
            self.0.store.read(|rows| Ok((rows.kept_of(agent)?, rows.open_of(agent)?)))?;
        if kept >= MAX_KEPT || open >= MAX_OPEN {
            return no(format!(
                "{open} requests of `{human}` wait, {kept} of them unsigned: sign some, or take \
                 them back with `countermand changes withdraw`"
            ));
        }
        let _opens = self.0.circuits.refused(agent, target, now);
        Ok(())
    }

    /// Whether it could be their change at all, by what it names. Nothing is measured for others.
    fn may_be_theirs(&self, proposal: &Proposal) -> Result<(), ReviewError> {
        let Caller { agent, sponsor, .. } = &proposal.caller;
        let actions = self.tagged(&proposal.target, &proposal.actions);
        let facts = Facts { adopted: true, ..self.facts_by_name(&actions) };
        let measured = unmeasured(&proposal.actions, &[]);
        let asked = Asked { agent, sponsor, target: &proposal.target };
        match self.ask(&asked, &actions, measured, &facts, &Evidence::default()) {
            Decision::Forbid { reasons } => {
                let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                no(format!("it is forbidden to `{sponsor}`: {}", words.join("; ")))
            }
            Decision::Allow { .. } | Decision::Hold { .. } => Ok(()),
        }
    }

    /// Whether what ended like this may be asked again: a rejection stands for a day, for humans
    /// too, and a doubt until somebody resolves it.
    fn is_open_again(&self, change: &Change) -> Result<(), ReviewError> {
        if let State::InDoubt { why, .. } = &change.state {
            let number = change.request.number;
            return no(format!("nobody knows whether this ran as change {number}: {why}"));
        }
        let State::Rejected { human, reason } = &change.state else { return Ok(()) };
        let now = self.0.clock.now();
        let since = change.ended.unwrap_or(now);
        if now.duration_since(since) >= REJECTION_LIFETIME {
            return Ok(());
        }
        let number = change.request.number;
        no(format!("{human} rejected it as change {number}: {reason}"))
    }
}

fn refused(refusal: Refusal) -> ReviewError {
    match refusal {
        Refusal::CannotJudge { why } | Refusal::Unavailable { why } | Refusal::LowDisk { why } => {
            ReviewError::No(why)
        }
        // Nothing else is said of what is neither judged by name nor weighed.
        _ => ReviewError::No("it cannot be measured now; try again later".to_owned()),
    }
}
