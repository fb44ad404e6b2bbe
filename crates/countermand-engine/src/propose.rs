//! A human's own request: read and measured like an agent's, and theirs alone to sign.
//!
//! Until it is signed nothing can come of it, so anybody at the socket may ask; signed, it is a
//! change that its human adopted before anybody else had it. Another human approves it.

use crate::admission::{Caller, Proposal, Refusal};
use crate::control::Reply;
use crate::engine::Engine;
use crate::review::{ReviewError, no};
use countermand_core::action::Action;
use countermand_core::change::{Change, REJECTION_LIFETIME, State};
use countermand_core::effect::Effect;
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::Reason;
use countermand_core::request::RequestKey;

impl Engine {
    /// Keeps what this human asks for until they sign it. The same request is the same change.
    pub(crate) async fn propose(
        &self,
        human: &HumanName,
        target: &TargetName,
        text: &str,
    ) -> Result<Reply, ReviewError> {
        let proposal = self.own_proposal(human, target, text).await?;
        let key = RequestKey::of(&proposal.caller.agent, target, &proposal.payload);
        if let Some(known) = self.0.store.read(|rows| rows.latest_of(key))? {
            if known.state.is_open() {
                return Ok(Reply::Change(Box::new(self.view(&known)?)));
            }
            self.is_not_rejected(&known)?;
        }
        let measured = self.preview(&proposal).await.map_err(refused)?;
        let policy = "countermand/unsigned".to_owned();
        let reason = format!("`{human}` has not signed it");
        let unsigned = vec![Reason { policy, reason }];
        let opened = self.open_change(&proposal, key, measured, &[], unsigned).await;
        let change = opened.map_err(refused)?;
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
        let Some(place) = self.0.targets.get(target) else {
            return no(format!("there is no target `{target}`"));
        };
        let read = place.read(text).await;
        let (payload, actions) = read.map_err(|error| ReviewError::No(error.to_string()))?;
        if Effect::worst(actions.iter().map(Action::effect)) == Effect::Read {
            return no("it changes nothing: there is nothing to sign".to_owned());
        }
        let session = format!("{agent}/{:016x}", rand::random::<u64>());
        let caller = Caller { agent, sponsor: human.clone(), session, said: String::new() };
        let target = target.clone();
        Ok(Proposal { caller, target, actions, payload, measurable: false, approvable: true })
    }

    /// A rejection stands for a day, for humans too.
    fn is_not_rejected(&self, change: &Change) -> Result<(), ReviewError> {
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
        other => ReviewError::No(format!("{other:?}")),
    }
}
