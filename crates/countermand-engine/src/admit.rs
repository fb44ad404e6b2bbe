//! Admission: what flows gets its permit, what is held becomes a change, everything else stops.

use crate::admission::{Admission, Caller, Proposal, Refusal};
use crate::adopt::MAX_KEPT;
use crate::authority::{Asked, unmeasured};
use crate::batch::Flowed;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::metrics::Counted;
use crate::observe::Would;
use crate::permit::Permit;
use crate::probation;
use crate::store::StoreError;
use crate::trace::{Timed, What};
use crate::weigh::Receipt;
use countermand_core::action::Action;
use countermand_core::change::{Change, DELIVERY_WINDOW, Event, REJECTION_LIFETIME, State};
use countermand_core::digest::Digest;
use countermand_core::effect::Effect;
use countermand_core::evidence::{Evidence, Facts};
use countermand_core::limits::Beyond;
use countermand_core::policy::{Decision, Measured, Missing, Reason};
use countermand_core::preview::Preview;
use countermand_core::request::{Request, RequestKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The longest text, in bytes, that is recorded whole of what flows.
const RECORDED: usize = 64 * 1024;

/// Open changes that one agent may have: each costs a backup and a rehearsal.
pub(crate) const MAX_OPEN: u64 = 20;

impl Engine {
    /// Judges a unit. A permit comes only after the intent is durable, for reads within 50 ms; a
    /// permit to run up to the commit comes before, and what was done is weighed then. Whatever
    /// else happens, production has seen nothing.
    pub async fn admit<T: Send>(&self, proposal: Proposal, act: T) -> (Admission<T>, Receipt) {
        let (asked, began) = (Counted::of(&proposal), Instant::now());
        let told = self.judged(proposal, act).await;
        self.0.metrics.admitted(&asked, &told.0, began.elapsed());
        told
    }

    async fn judged<T: Send>(&self, proposal: Proposal, act: T) -> (Admission<T>, Receipt) {
        let none = Receipt::none();
        let frozen = self.is_frozen(&proposal.caller.agent, &proposal.target);
        if let Some(why) = frozen.or_else(|| self.lapsed(&proposal.caller)) {
            return (Admission::Refused(Refusal::Frozen { why }), none);
        }
        if !self.is_read(&proposal)
            && let Some(why) = self.0.disks.stops()
        {
            return (Admission::Refused(Refusal::LowDisk { why }), none);
        }
        // What looks harmless is measured too: a view's function can write.
        let weighs =
            proposal.measurable && !self.is_read(&proposal) && !self.is_disposable(&proposal);
        let by_name = || self.decide_by_name(&proposal, unmeasured(&proposal.actions, &[]));
        let destroys = proposal.actions.iter().any(|action| action.effect() > Effect::Write);
        let decision = match weighs {
            // However small it turns out to be, what is never allowed is not run to find out.
            true if destroys && matches!(by_name(), Decision::Forbid { .. }) => by_name(),
            true => self.decide_by_name(&proposal, Measured::Within),
            false => by_name(),
        };
        if weighs && matches!(decision, Decision::Allow { .. }) {
            let told = self.let_run(&proposal, act).await;
            return told.unwrap_or_else(|no| (Admission::Refused(no), none));
        }
        match decision {
            Decision::Allow { .. } => self.let_flow(&proposal, act).await,
            Decision::Forbid { reasons } => {
                let admission = self.forbid(&proposal, reasons).await;
                (admission.unwrap_or_else(Admission::Refused), none)
            }
            Decision::Hold { missing, reasons } if self.observation(&proposal.target).is_some() => {
                let mut would = Would::default();
                would.held(&missing, &reasons);
                let told = self.let_through(&proposal, act, would).await;
                told.unwrap_or_else(|no| (Admission::Refused(no), none))
            }
            // What comes by itself, no human is asked for.
            hold if weighs && hold.waits_only_for_backup() => {
                let why = "the target's own backups are too old: nothing is written before the \
                           next; ask again then, or ask your sponsor";
                let refusal = Refusal::CannotJudge { why: why.to_owned() };
                (Admission::Refused(self.refused(&proposal, refusal).await), none)
            }
            Decision::Hold { .. } => {
                let admission = self.hold(&proposal, &[]).await;
                (admission.unwrap_or_else(Admission::Refused), none)
            }
        }
    }

    fn is_read(&self, proposal: &Proposal) -> bool {
        Effect::worst(proposal.actions.iter().map(Action::effect)) == Effect::Read
    }

    fn is_disposable(&self, proposal: &Proposal) -> bool {
        let placement = self.0.installation.targets.get(&proposal.target);
        placement.is_some_and(|placement| placement.disposable)
    }

    /// Nothing is durable yet, and nothing needs to be: what runs is not committed. What was
    /// asked before is not run again to find that out.
    async fn let_run<T: Send>(
        &self,
        proposal: &Proposal,
        act: T,
    ) -> Result<(Admission<T>, Receipt), Refusal> {
        if let Some(admission) = self.asked_before(proposal).await? {
            return Ok((admission, Receipt::none()));
        }
        if let Some(observed) = self.up_to_commit(proposal) {
            return Ok(observed.granting(proposal, act, Would::default()));
        }
        if let Some(why) = self.circuit(proposal) {
            return Err(Refusal::CircuitOpen { why });
        }
        let limits = self.limits(&proposal.caller.agent, &proposal.target);
        let (what, text) = (described(proposal), recorded(&proposal.payload.text));
        let receipt = Receipt::unweighed(what, text, Would::default());
        let permit = Permit::grant(act);
        Ok((Admission::UpToCommit { permit, limits, observed: false }, receipt))
    }

    /// What a request is told that was made before. Inside a transaction only the whole has a key:
    /// what cannot be approved is told no other request's outcome.
    pub(crate) async fn asked_before<T>(
        &self,
        proposal: &Proposal,
    ) -> Result<Option<Admission<T>>, Refusal> {
        if !proposal.approvable {
            return Ok(None);
        }
        let key = RequestKey::of(&proposal.caller.agent, &proposal.target, &proposal.payload);
        let known = self.0.store.read(|rows| rows.latest_of(key));
        match known.map_err(|error| unavailable(&error))? {
            Some(change) => self.told(&change, &proposal.caller).await,
            None => Ok(None),
        }
    }

    /// What policy says by what the request names, before anything is measured.
    fn decide_by_name(&self, proposal: &Proposal, measured: Measured) -> Decision {
        if !self.valid(&proposal.caller) {
            let policy = "countermand/credential".to_owned();
            let reason = "the agent's credential has ended".to_owned();
            return Decision::Forbid { reasons: vec![Reason { policy, reason }] };
        }
        self.decide_on(proposal, &proposal.actions, measured)
    }

    /// What policy says of these actions in the place of the proposal's.
    pub(crate) fn decide_on(
        &self,
        proposal: &Proposal,
        actions: &[Action],
        measured: Measured,
    ) -> Decision {
        let actions = self.tagged(&proposal.target, actions);
        let facts = self.facts_by_name(&actions);
        self.ask_again(&asked(proposal), &actions, measured, &facts)
    }

    /// What is taken for true of a unit before anything is measured.
    pub(crate) fn facts_by_name(&self, actions: &[(Action, BTreeSet<String>)]) -> Facts {
        let roots = actions.iter().filter(|(action, _)| action.effect() > Effect::Write);
        Facts {
            roots: u32::try_from(roots.count()).unwrap_or(u32::MAX).min(10),
            reversible: true,
            recovery_seconds: 0,
            rehearsable: true,
            unavailable: false,
            solo: self.people().is_solo(),
            adopted: false,
            backups: false,
        }
    }

    /// Reads are recorded with what else flows within 50 ms; a write's intent is durable first.
    async fn let_flow<T: Send>(&self, proposal: &Proposal, act: T) -> (Admission<T>, Receipt) {
        let what = described(proposal);
        if Effect::worst(proposal.actions.iter().map(|action| action.effect())) == Effect::Read {
            self.0.batch.push(Flowed { what, text: recorded(&proposal.payload.text) });
            return (Admission::Allowed(Permit::grant(act)), Receipt::none());
        }
        if self.observation(&proposal.target).is_none()
            && let Some(why) = self.circuit(proposal)
        {
            return (Admission::Refused(Refusal::CircuitOpen { why }), Receipt::none());
        }
        let (body, text) = (what.clone(), proposal.payload.body.clone());
        let intent = self
            .0
            .store
            .write(move |tx| tx.append(Kind::FlowIntent, &body, &[("payload", text.as_bytes())]))
            .await;
        match intent {
            Ok(index) => (Admission::Allowed(Permit::grant(act)), Receipt::intended(index)),
            Err(error) => (Admission::Refused(unavailable(&error)), Receipt::none()),
        }
    }

    /// Records a refusal beside what flows.
    pub(crate) async fn refused(&self, proposal: &Proposal, refusal: Refusal) -> Refusal {
        let mut what = described(proposal);
        if let Some(members) = what.as_object_mut() {
            members.insert("refused".into(), json!(true));
            if let Refusal::Forbidden { reasons, .. } = &refusal {
                let policies: Vec<_> = reasons.iter().map(|reason| &reason.policy).collect();
                members.insert("policies".into(), json!(policies));
            }
        }
        self.0.batch.push(Flowed { what, text: recorded(&proposal.payload.text) });
        self.count_refusal(proposal).await;
        refusal
    }

    /// One more no to this agent; the circuit opens where there were many.
    async fn count_refusal(&self, proposal: &Proposal) {
        let (agent, target) = (&proposal.caller.agent, &proposal.target);
        if self.0.circuits.refused(agent, target, self.0.clock.now()) {
            let what = json!({ "circuit": "opened", "agent": agent, "target": target });
            self.0.batch.push(Flowed { what, text: String::new() });
            let (agent, told) = (agent.clone(), self.has_probation());
            let noted = self
                .0
                .store
                .write(move |tx| probation::at_fault(tx, &agent, "its circuit opened", told));
            if let Err(error) = noted.await {
                tracing::error!(%error, "an agent's fault could not be noted");
            }
        }
    }

    pub(crate) fn circuit(&self, proposal: &Proposal) -> Option<String> {
        let (agent, target) = (&proposal.caller.agent, &proposal.target);
        self.0.circuits.open(agent, target, self.0.clock.now())
    }

    /// Joins the open change of this request, tells how its last one ended, or opens one.
    /// `beyond`: what was measured, where it would have flowed if it did less.
    pub(crate) async fn hold<T>(
        &self,
        proposal: &Proposal,
        beyond: &[Beyond],
    ) -> Result<Admission<T>, Refusal> {
        let key = RequestKey::of(&proposal.caller.agent, &proposal.target, &proposal.payload);
        if let Some(admission) = self.asked_before(proposal).await? {
            return Ok(admission);
        }
        if !proposal.approvable {
            let summary = by_name(proposal);
            let (agent, target) = (&proposal.caller.agent, &proposal.target);
            let beyond = self.beyond_words(agent, target, beyond);
            let refusal = Refusal::HeldUnit { summary, beyond };
            return Err(self.refused(proposal, refusal).await);
        }
        if let Some(why) = self.circuit(proposal) {
            return Err(Refusal::CircuitOpen { why });
        }
        if let Some(why) = self.0.disks.stops() {
            return Err(Refusal::LowDisk { why });
        }
        if let Err(refusal) = self.may_open_more(proposal) {
            return Err(self.refused(proposal, refusal).await);
        }
        let (mut timed, began) = (Timed::default(), SystemTime::now());
        let preview = self.preview(proposal).await?;
        timed.took(What::Preview, began);
        let measured = SystemTime::now();
        let decision = self.decide_measured(proposal, &preview, beyond);
        timed.took(What::Decide, measured);
        if let Decision::Forbid { reasons } = decision {
            return Err(self.forbid_measured(proposal, reasons, preview, beyond).await);
        }
        let change = self.open_change(proposal, key, preview, beyond, Vec::new()).await?;
        timed.took(What::Propose, began);
        self.proposed(&change.request, &proposal.caller, timed);
        self.count_refusal(proposal).await;
        self.prepare(change.request.number);
        Err(self.still_open(&change))
    }

    /// What a request is told that was made before: nothing where it is a new one.
    pub(crate) async fn told<T>(
        &self,
        change: &Change,
        caller: &Caller,
    ) -> Result<Option<Admission<T>>, Refusal> {
        let number = change.request.number;
        let now = self.0.clock.now();
        let since = change.ended.map_or(now, |ended| ended);
        let lately = now.duration_since(since) < DELIVERY_WINDOW && !change.delivered;
        match &change.state {
            State::Forbidden | State::Held | State::Running { .. } | State::Committing { .. } => {
                Err(self.still_open(change))
            }
            State::Executed(outcome) if lately => {
                self.deliver(change, caller).await?;
                let (confirmed, outcome) = (change.is_confirmed(), outcome.clone());
                Ok(Some(Admission::Done { change: number, at: since, confirmed, outcome }))
            }
            State::Failed(why) if lately => {
                self.deliver(change, caller).await?;
                Err(Refusal::Failed { change: number, why: for_agents(why) })
            }
            State::Rejected { human, reason } => {
                let fresh = now.duration_since(since) < REJECTION_LIFETIME;
                let (by, reason) = (human.clone(), reason.clone());
                if fresh { Err(Refusal::Rejected { change: number, by, reason }) } else { Ok(None) }
            }
            State::InDoubt { why, .. } => {
                Err(Refusal::InDoubt { change: number, why: why.clone() })
            }
            _ => Ok(None),
        }
    }

    /// Records that the requester was told: once, whoever asks twice at the same time.
    async fn deliver(&self, change: &Change, caller: &Caller) -> Result<(), Refusal> {
        let number = change.request.number;
        let event = Event::Delivered { session: caller.session.clone() };
        let told = self.0.store.write(move |tx| tx.record(number, event, &Value::Null)).await;
        match told {
            Ok(_) => {
                self.moved();
                Ok(())
            }
            Err(StoreError::Transition(_) | StoreError::Moved(_)) => {
                let why = format!("the outcome of change {number} was given elsewhere; ask again");
                Err(Refusal::CannotJudge { why })
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Nothing is measured for an agent that could not open a change.
    pub(crate) fn may_open_more(&self, proposal: &Proposal) -> Result<(), Refusal> {
        let agent = &proposal.caller.agent;
        let open = self.0.store.read(|rows| rows.open_of(agent));
        if open.map_err(|error| unavailable(&error))? < MAX_OPEN {
            return Ok(());
        }
        let why = format!("agent `{agent}` has {MAX_OPEN} open changes: withdraw some, or wait");
        Err(Refusal::CannotJudge { why })
    }

    /// Measures. Two at a time in one target, however many ask.
    pub(crate) async fn preview(&self, proposal: &Proposal) -> Result<Preview, Refusal> {
        let turns = self.0.previews.get(&proposal.target).map(Arc::clone);
        let _turn = match turns {
            Some(turns) => turns.acquire_owned().await.ok(),
            None => None,
        };
        self.measure(proposal).await
    }

    /// The same where nobody waits for it: nothing where there is no turn free.
    pub(crate) async fn preview_at_once(&self, proposal: &Proposal) -> Option<Preview> {
        let turns = self.0.previews.get(&proposal.target).map(Arc::clone)?;
        let _turn = turns.try_acquire_owned().ok()?;
        self.measure(proposal).await.ok()
    }

    async fn measure(&self, proposal: &Proposal) -> Result<Preview, Refusal> {
        let cannot = |why: String| Refusal::CannotJudge { why };
        let target = self.0.targets.get(&proposal.target);
        let target = target.ok_or_else(|| cannot("there is no such target".into()))?;
        let measuring = target.preview(&proposal.payload, &proposal.actions);
        let mut halt = self.halt(&proposal.caller.agent, &proposal.target);
        let began = Instant::now();
        let measured = halt.unless(measuring).await;
        self.0.metrics.measured(&proposal.target, began.elapsed());
        match measured {
            Ok(measured) => measured.map_err(|error| cannot(error.to_string())),
            Err(why) => Err(Refusal::Frozen { why }),
        }
    }

    pub(crate) fn decide_measured(
        &self,
        proposal: &Proposal,
        preview: &Preview,
        beyond: &[Beyond],
    ) -> Decision {
        let actions = self.measured(&proposal.target, &proposal.actions, preview);
        let facts = self.facts(&proposal.target, preview);
        let measured = unmeasured(&proposal.actions, beyond);
        self.ask(&asked(proposal), &actions, measured, &facts, &Evidence::default())
    }

    /// Opens the change, or joins the one that somebody opened meanwhile. `forbidden`: the policies
    /// that forbid it to its agent, where it is only kept for a human to adopt.
    pub(crate) async fn open_change(
        &self,
        proposal: &Proposal,
        key: RequestKey,
        preview: Preview,
        beyond: &[Beyond],
        forbidden: Vec<Reason>,
    ) -> Result<Change, Refusal> {
        let (proposal, beyond) = (proposal.clone(), beyond.to_vec());
        let environment = self.0.installation.targets[&proposal.target].environment.clone();
        let opened = self.0.store.write(move |tx| {
            if let Some(known) = tx.rows().latest_of(key)?.filter(|c| c.state.is_open()) {
                return Ok(known);
            }
            if tx.rows().open_of(&proposal.caller.agent)? >= MAX_OPEN {
                let why = format!("agent `{}` has {MAX_OPEN} open changes", proposal.caller.agent);
                return Err(StoreError::Refused(why));
            }
            let left = || tx.rows().kept_of(&proposal.caller.agent);
            if !forbidden.is_empty() && left()? >= MAX_KEPT {
                let why = format!("{MAX_KEPT} forbidden requests wait for humans");
                return Err(StoreError::Refused(why));
            }
            let request = Request {
                number: tx.rows().next_number()?,
                agent: proposal.caller.agent,
                sponsor: proposal.caller.sponsor,
                target: proposal.target,
                environment,
                key,
                payload: proposal.payload.digest(),
                shape: proposal.payload.shape,
                actions: proposal.actions,
                session: proposal.caller.session,
                beyond,
            };
            let (request, preview) = (Box::new(request), Box::new(preview));
            let event = match forbidden {
                none if none.is_empty() => Event::Held { request, preview },
                reasons => Event::Forbidden { request, preview, reasons },
            };
            tx.open_change(event, &proposal.payload, &proposal.caller.said)
        });
        let change = opened.await.map_err(|error| match error {
            StoreError::Refused(why) => {
                Refusal::CannotJudge { why: format!("{why}: withdraw some, or wait") }
            }
            error => unavailable(&error),
        })?;
        self.moved();
        Ok(change)
    }

    /// How a change that can still run is told to its requester: as refused, where it is not the
    /// agent's to have.
    fn still_open(&self, change: &Change) -> Refusal {
        if change.forbidden.is_empty() { self.held(change) } else { self.forbidden(change) }
    }

    /// How a held change is told to its requester.
    fn held(&self, change: &Change) -> Refusal {
        let request = &change.request;
        Refusal::Held {
            change: request.number,
            summary: change.preview.radius.summary(),
            beyond: self.beyond_words(&request.agent, &request.target, &request.beyond),
            missing: self.missing(change),
            underway: self.underway(change),
            // Where that cannot be seen, nobody waits for it.
            carried: self.is_carried(change.request.number).unwrap_or(false),
        }
    }

    /// The smallest set of evidence that a change still waits for.
    pub(crate) fn missing(&self, change: &Change) -> Vec<Missing> {
        match self.judge(change, &change.preview, &self.evidence(change)) {
            Decision::Hold { missing, .. } => missing.into_iter().next().unwrap_or_default(),
            Decision::Allow { .. } | Decision::Forbid { .. } => Vec::new(),
        }
    }

    /// What the engine is doing about a change, in words.
    pub(crate) fn underway(&self, change: &Change) -> Vec<String> {
        let mut words = Vec::new();
        match &change.state {
            State::Running { .. } | State::Committing { .. } => words.push("running now".into()),
            State::Held if self.preparing().contains(&change.request.number) => {
                if change.trial.is_none() && change.trial_failure.is_none() {
                    words.push("trial restore point (running)".into());
                } else if change.rehearsal.is_none() && change.rehearsal_failure.is_none() {
                    words.push("rehearsal (running)".into());
                }
            }
            _ => {}
        }
        if change.state == State::Held
            && let Some(probe) = self.0.watches.fails_before(change)
        {
            words.push(format!("watch `{probe}` fails already; it starts when it does not"));
        }
        if let Some(why) = &change.trial_failure {
            words.push(format!("trial restore point failed: {}", for_agents(why)));
        }
        if let Some(why) = &change.rehearsal_failure {
            words.push(format!("rehearsal failed: {}", for_agents(why)));
        }
        words
    }
}

/// What an agent is told of a failure on a connection that was not its own. The target's words
/// can hold rows that the agent must not read; its code cannot.
pub(crate) fn for_agents(why: &str) -> String {
    let code = why.rsplit_once("(SQLSTATE ").and_then(|(_, code)| code.split_once(')'));
    let code = code.map(|(code, _)| code).filter(|code| {
        code.len() == 5 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    });
    match code {
        Some(code) => format!("SQLSTATE {code}; reviewers see its words"),
        None => "reviewers see why".to_owned(),
    }
}

fn asked(proposal: &Proposal) -> Asked<'_> {
    let Caller { agent, sponsor, .. } = &proposal.caller;
    Asked { agent, sponsor, target: &proposal.target }
}

/// What is done to what, without counts: for refusals of what is not measured.
fn by_name(proposal: &Proposal) -> String {
    let words = proposal.actions.iter().filter(|action| action.effect() > Effect::Read);
    let words: Vec<_> =
        words.take(5).map(|action| format!("{} on {}", action.verb, action.object)).collect();
    words.join(", ")
}

/// A text as what flowed is recorded with it: whole, or its beginning with its digest, so that
/// no text is too large for the ledger.
pub(crate) fn recorded(text: &str) -> String {
    if text.len() <= RECORDED {
        return text.to_owned();
    }
    let cut = (0..=RECORDED).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let digest = Digest::of_bytes(text.as_bytes());
    format!("{}… {} bytes in all, SHA-256 {digest}", &text[..cut], text.len())
}

pub(crate) fn described(proposal: &Proposal) -> Value {
    let caller = &proposal.caller;
    let mut verbs: Vec<_> = proposal.actions.iter().map(|action| action.verb.name()).collect();
    verbs.sort_unstable();
    verbs.dedup();
    json!({
        "agent": caller.agent, "sponsor": caller.sponsor, "session": caller.session,
        "target": proposal.target, "verbs": verbs,
    })
}

pub(crate) fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "refused: the ledger or store failed");
    Refusal::Unavailable { why: "the gateway cannot record this now, so it does not happen".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_told_a_code_and_never_the_targets_words() {
        let why = "invalid input syntax for type integer: \"tok_1\" (SQLSTATE 22P02)";
        assert_eq!(for_agents(why), "SQLSTATE 22P02; reviewers see its words");
        assert_eq!(for_agents("tok_1 (SQLSTATE tok_1)"), "reviewers see why");
        assert_eq!(for_agents("the disk is full"), "reviewers see why");
    }

    #[test]
    fn a_long_text_is_recorded_by_its_beginning_and_digest() {
        let text = "é".repeat(RECORDED);
        let kept = recorded(&text);
        assert!(kept.len() < RECORDED + 200 && kept.contains("SHA-256"));
        assert_eq!(recorded("SELECT 1"), "SELECT 1");
    }
}
