//! What humans sign: the engine writes the statement, a human signs it, the engine does it once.

use crate::agents;
use crate::control::{PrepareAct, Reply, Scope};
use crate::engine::Engine;
use crate::key::{self, Signed};
use crate::kind::Kind;
use crate::probation;
use crate::standing;
use crate::store::{AgentRow, StoreError};
use countermand_core::change::{Approval, Change, Event, State};
use countermand_core::name::{GroupName, HumanName, TargetName};
use countermand_core::policy::{Grant, Missing};
use countermand_core::radius::Reversibility;
use countermand_core::request::ChangeNumber;
use countermand_core::statement::{Act, ReviewSubject, Statement};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// How long a human has to look and sign.
const STATEMENT_LIFETIME: SignedDuration = SignedDuration::from_mins(30);
/// The longest an agent's credential lasts.
const MAX_CREDENTIAL: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Why an act was not prepared or not done, in words with the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewError {
    #[error("{0}")]
    No(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signature(#[from] key::SignatureError),
}

pub(crate) fn no<T>(why: impl Into<String>) -> Result<T, ReviewError> {
    Err(ReviewError::No(why.into()))
}

/// In production, which keys do not count.
pub(crate) const ONLY_VERIFIED_KEYS: &str = "in production only a user-verified key counts: make a passkey in the console, or a security key \
     with `ssh-keygen -t ed25519-sk -O verify-required -O application=ssh:countermand`, and enrol it";

/// Why this human is no peer for this change.
pub(crate) fn own_words(change: &Change, human: &HumanName) -> String {
    let why = match change.adopter() == Some(human) {
        true => "adopted this change",
        false => "is the sponsor of this change's agent",
    };
    format!("`{human}` {why}: another human approves it")
}

fn nobody(human: &HumanName) -> String {
    format!(
        "`{human}` is not a person of this installation, or does not count yet: who is new, or has \
         a new key, counts a day after the configuration is in force"
    )
}

impl Engine {
    /// Writes the statement that this human would sign.
    pub(crate) async fn prepare_statement(
        &self,
        signer: HumanName,
        wanted: PrepareAct,
    ) -> Result<Reply, ReviewError> {
        if self.people().get(&signer).is_none() {
            return no(nobody(&signer));
        }
        let (act, change) = self.act_of(&signer, wanted)?;
        let now = self.0.clock.now();
        let statement = Statement {
            installation: self.0.installation.name.clone(),
            act,
            signer,
            nonce: hex::encode(rand::random::<[u8; 16]>()),
            issued: now,
            expires: now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now),
        };
        let text = String::from_utf8(statement.to_bytes()).unwrap_or_default();
        let (nonce, kept, expires) = (statement.nonce.clone(), text.clone(), statement.expires);
        self.0.store.write(move |tx| tx.put_nonce(&nonce, &kept, expires)).await?;
        let type_back = change.as_ref().map(|change| {
            let largest = match &statement.act {
                Act::ApproveStanding(subject) => subject.largest(),
                _ => change.preview.ceiling.largest_measured(),
            };
            (change.request.number, largest)
        });
        let type_back = match &statement.act {
            Act::ApproveConfiguration { number, subject, .. } => {
                Some((ChangeNumber(*number), subject.differences.len() as u64))
            }
            _ => type_back,
        };
        let change = change.map(|change| self.view(&change)).transpose()?.map(Box::new);
        Ok(Reply::Prepared { statement: text, type_back, change })
    }

    fn act_of(
        &self,
        signer: &HumanName,
        wanted: PrepareAct,
    ) -> Result<(Act, Option<Change>), ReviewError> {
        let load = |number| self.0.store.read(|rows| rows.change(number));
        Ok(match wanted {
            PrepareAct::Approve { change, seat } => {
                let change = load(change)?;
                self.is_reviewable(&change)?;
                let subject = self.subject_for(&change, signer, seat)?;
                (Act::Approve(subject), Some(change))
            }
            PrepareAct::ApproveStanding { change, terms } => {
                let change = load(change)?;
                self.is_reviewable(&change)?;
                let subject = self.standing_subject(&change, signer, terms)?;
                (Act::ApproveStanding(subject), Some(change))
            }
            PrepareAct::Adopt { change } => {
                let change = load(change)?;
                (Act::Adopt(self.adoption_subject(&change, signer)?), Some(change))
            }
            PrepareAct::Reject { change, reason } => {
                let change = load(change)?;
                (Act::Reject { subject: change.subject(), reason }, Some(change))
            }
            PrepareAct::Restore { change, overwrite } => {
                let found = load(change)?;
                (Act::Restore { change, overwrite }, Some(found))
            }
            PrepareAct::Resolve { change, committed, reason } => {
                let found = self.doubted(change)?;
                (Act::Resolve { change, committed, reason }, Some(found))
            }
            PrepareAct::TakeBack { writes, overwrite } => {
                let (target, until) = self.bounds_of(&writes)?;
                let (agent, since) = (writes.agent, writes.since);
                (Act::TakeBack { agent, target, since, until, overwrite }, None)
            }
            PrepareAct::AddAgent { agent, .. } if agent.human().is_some() => {
                return no(format!("`{agent}` is a human's name: choose another for an agent"));
            }
            PrepareAct::AddAgent { agent, grant, lifetime } => {
                let lifetime = i64::try_from(lifetime).unwrap_or(i64::MAX);
                let lifetime = SignedDuration::from_secs(lifetime).min(MAX_CREDENTIAL);
                let now = self.0.clock.now();
                let expires = now.saturating_add(lifetime).unwrap_or(now);
                let grant = json!(grant);
                (Act::AddAgent { agent, sponsor: signer.clone(), grant, expires }, None)
            }
            PrepareAct::ProposeConfiguration { configuration } => {
                (self.draft(*configuration)?, None)
            }
            PrepareAct::ApproveConfiguration { number } => (self.second(signer, number)?, None),
            PrepareAct::EraseTexts { what, reason } => (self.erasure(signer, what, reason)?, None),
            PrepareAct::RotateKey { key } => (self.new_key(key)?, None),
            PrepareAct::Thaw { what } => (Act::Thaw { what: what.to_string() }, None),
        })
    }

    /// A trial restore point comes before review. One that failed is tried again.
    fn is_reviewable(&self, change: &Change) -> Result<(), ReviewError> {
        let number = change.request.number;
        if change.state == State::Forbidden {
            if let Some(own) = change.request.agent.human() {
                return no(format!(
                    "change {number} is not signed by `{own}`, who asked for it: they sign it \
                     first, with `countermand adopt {number}`"
                ));
            }
            return no(format!(
                "change {number} is forbidden to its agent: a sponsor makes it their own first, \
                 with `countermand adopt {number}`"
            ));
        }
        // What failed may have failed for a moment: whoever looks has it tried again.
        if change.rehearsal_failure.is_some() {
            self.prepare(number);
        }
        let lacks =
            change.trial.is_none() && change.preview.reversibility == Reversibility::Restorable;
        if change.state != State::Held || !lacks {
            return Ok(());
        }
        self.prepare(number);
        let before = match &change.trial_failure {
            Some(why) => format!(" (the last one failed: {why})"),
            None => String::new(),
        };
        no(format!("a trial restore point of change {number} is being taken{before}; look again"))
    }

    /// What this reviewer would sign, with the seat they take.
    fn subject_for(
        &self,
        change: &Change,
        signer: &HumanName,
        seat: Option<GroupName>,
    ) -> Result<ReviewSubject, ReviewError> {
        Ok(ReviewSubject { seat: self.seat_for(change, signer, seat)?, ..change.subject() })
    }

    /// The seat that this reviewer takes: the one they name, or the one group of theirs that is
    /// still missing.
    pub(crate) fn seat_for(
        &self,
        change: &Change,
        signer: &HumanName,
        seat: Option<GroupName>,
    ) -> Result<Option<GroupName>, ReviewError> {
        let groups = self.people().get(signer).map(|human| human.groups).unwrap_or_default();
        if let Some(seat) = seat.as_ref().filter(|seat| !groups.contains(*seat)) {
            return no(format!("`{signer}` is not in group `{seat}`"));
        }
        let wanted = |missing: &Missing| match missing {
            Missing::Group { group, .. } if groups.contains(group) => Some(group.clone()),
            _ => None,
        };
        let missing = self.missing(change);
        let open: Vec<_> = missing.iter().filter_map(wanted).collect();
        match (seat, open.as_slice()) {
            (Some(seat), _) => Ok(Some(seat)),
            (None, []) => Ok(None),
            (None, [only]) => Ok(Some(only.clone())),
            (None, several) => {
                let names: Vec<_> = several.iter().map(ToString::to_string).collect();
                no(format!("one human fills one seat; say which with --seat: {}", names.join(", ")))
            }
        }
    }

    /// Does what a signed statement says, if it was given out here, is signed by its signer,
    /// and was not done before.
    pub(crate) async fn submit(
        &self,
        text: String,
        signature: String,
        peer: String,
    ) -> Result<Reply, ReviewError> {
        let Ok(statement) = serde_json::from_str::<Statement>(&text) else {
            return no("that is not a statement of this gateway; prepare it again");
        };
        if statement.to_bytes() != text.as_bytes()
            || statement.installation != self.0.installation.name
        {
            return no("that statement was not written by this gateway; prepare it again");
        }
        if *self.0.reconfigured.borrow() {
            return no("another configuration is in force: the gateway is starting under it");
        }
        let Some(human) = self.people().get(&statement.signer) else {
            return no(nobody(&statement.signer));
        };
        let signed = key::verify(&human.keys, text.as_bytes(), &signature)?;
        let proof = json!({ "statement": text, "signature": signature, "peer": peer });
        match statement.act.clone() {
            Act::Approve(subject) => self.approve(&statement, subject, signed, proof).await,
            Act::ApproveStanding(subject) => self.stand(&statement, subject, signed, proof).await,
            Act::Adopt(subject) => self.adopt(&statement, subject, signed, proof).await,
            Act::Reject { subject, reason } => {
                self.reject(&statement, &subject, reason, signed, proof).await
            }
            Act::Restore { change, overwrite } => {
                self.restore(&statement, change, overwrite, signed, proof).await
            }
            Act::Resolve { .. } => self.end_doubt(&statement, signed, proof).await,
            Act::TakeBack { .. } => self.take_back(&statement, signed, proof).await,
            Act::AddAgent { .. } => self.add_agent(&statement, signed, proof).await,
            Act::ProposeConfiguration(subject) => {
                self.propose_configuration(&statement, subject, signed, proof).await
            }
            Act::ApproveConfiguration { number, subject, .. } => {
                self.approve_configuration(&statement, number, subject, signed, proof).await
            }
            Act::EraseTexts { .. } => self.erase_texts(&statement, signed, proof).await,
            Act::RotateKey { .. } => self.rotate_key(&statement, signed, proof).await,
            Act::Thaw { what } => self.thaw(&statement, what, signed, proof).await,
        }
    }

    /// In production only a user-verified key made for this use counts.
    pub(crate) fn key_counts<'a>(
        &self,
        mut targets: impl Iterator<Item = &'a TargetName>,
        signed: &Signed,
    ) -> Result<(), ReviewError> {
        let placed = &self.0.installation.targets;
        let production = targets.any(|target| {
            placed.get(target).is_none_or(crate::installation::Placement::is_production)
        });
        if production && !signed.user_verified && !self.0.installation.plain_keys_count {
            return no(ONLY_VERIFIED_KEYS);
        }
        Ok(())
    }

    async fn approve(
        &self,
        statement: &Statement,
        subject: ReviewSubject,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let change = self.0.store.read(|rows| rows.change(subject.change))?;
        self.key_counts(std::iter::once(&change.request.target), &signed)?;
        let approval = self.approval(&change, statement, &subject, signed)?;
        let number = subject.change;
        let words = match approval.confirms {
            true => format!("change {number} is confirmed by its sponsor, not peer-reviewed"),
            false => format!("change {number} is approved by {}", approval.human),
        };
        self.spend(statement, number, Event::Approved { approval }, proof).await?;
        Ok(Reply::Done { words, credential: None })
    }

    /// The approval that this statement makes, where this human may make it of this change.
    fn approval(
        &self,
        change: &Change,
        statement: &Statement,
        subject: &ReviewSubject,
        signed: Signed,
    ) -> Result<Approval, ReviewError> {
        let number = subject.change;
        let human = statement.signer.clone();
        let seats = self.people().seats();
        let Some(groups) = seats.get(&human) else {
            return no(format!("`{human}` is not a reviewer"));
        };
        if let Some(seat) = subject.seat.as_ref().filter(|seat| !groups.contains(*seat)) {
            return no(format!("`{human}` is not in group `{seat}`"));
        }
        let is_own = change.is_own_of(&human);
        if is_own && !self.people().is_solo() {
            return no(own_words(change, &human));
        }
        let bare = ReviewSubject { seat: None, ..subject.clone() };
        if bare != change.subject() {
            return no(format!(
                "change {number} is no longer what this statement says: look again"
            ));
        }
        if change.approvals.iter().any(|(_, approval)| approval.human == human) {
            return no(format!("`{human}` has approved change {number}: one human, one seat"));
        }
        Ok(Approval {
            human,
            seat: subject.seat.clone(),
            subject: change.subject_digest(),
            key: signed.key,
            user_verified: signed.user_verified,
            confirms: is_own,
            standing: None,
        })
    }

    async fn reject(
        &self,
        statement: &Statement,
        subject: &ReviewSubject,
        reason: String,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let number = subject.change;
        let human = statement.signer.clone();
        let words = format!("change {number} is rejected by {human}");
        let event = Event::Rejected { human: human.clone(), reason, key: signed.key };
        let (spent, told) = (Spent::of(statement), self.has_probation());
        let rejected = self.0.store.write(move |tx| {
            spent.take(tx)?;
            let change = tx.record(number, event, &proof)?;
            if change.adopted.is_none() && change.request.agent.human().is_none() {
                let why = format!("change {number} was rejected");
                probation::at_fault(tx, &change.request.agent, &why, told)?;
            }
            standing::end_carriers(tx, number, &human)
        });
        rejected.await?;
        self.moved();
        Ok(Reply::Done { words, credential: None })
    }

    /// Spends the statement's nonce and records its event, both or neither.
    pub(crate) async fn spend(
        &self,
        statement: &Statement,
        number: ChangeNumber,
        event: Event,
        proof: Value,
    ) -> Result<Change, ReviewError> {
        let spent = Spent::of(statement);
        let change = self.0.store.write(move |tx| {
            spent.take(tx)?;
            tx.record(number, event, &proof)
        });
        let change = change.await?;
        self.moved();
        Ok(change)
    }

    async fn add_agent(
        &self,
        statement: &Statement,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let Act::AddAgent { agent, sponsor, grant, expires } = statement.act.clone() else {
            return no("that statement adds no agent");
        };
        let sponsors = self.0.installation.humans.get(&sponsor);
        let Some(most) = sponsors.and_then(|human| human.sponsors.clone()) else {
            return no(format!("`{sponsor}` is no sponsor; add them under [sponsors]"));
        };
        let Ok(grant) = serde_json::from_value::<Grant>(grant) else {
            return no("that statement's grant cannot be read");
        };
        if !grant.targets.is_subset(&most.targets) || !grant.effects.is_subset(&most.effects) {
            return no(format!(
                "an agent may do no more than its sponsor: `{sponsor}` lacks some of it"
            ));
        }
        self.key_counts(grant.targets.iter(), &signed)?;
        let (credential, verifier) = agents::new_credential();
        let row =
            AgentRow { name: agent.clone(), sponsor, grant, verifier, expires, revoked: false };
        let spent = Spent::of(statement);
        let key = signed.key;
        let added = self.0.store.write(move |tx| {
            spent.take(tx)?;
            let known = tx.rows().agents()?;
            if known.iter().any(|known| known.name == row.name && known.is_valid(tx.now())) {
                let why = format!("agent `{}` is there; revoke it first", row.name);
                return Err(StoreError::Refused(why));
            }
            tx.put_agent(&row)?;
            let mut body = json!({
                "agent": row.name, "sponsor": row.sponsor, "grant": row.grant,
                "expires": row.expires, "key": key,
            });
            if let (Value::Object(body), Value::Object(proof)) = (&mut body, proof) {
                body.extend(proof);
            }
            tx.append(Kind::AgentAdded, &body, &[])
        });
        added.await?;
        self.reload_authority()?;
        let words = format!("agent `{agent}` may act for `{}` until {expires}", statement.signer);
        Ok(Reply::Done { words, credential: Some(credential.to_string()) })
    }

    async fn thaw(
        &self,
        statement: &Statement,
        what: String,
        signed: Signed,
        mut proof: Value,
    ) -> Result<Reply, ReviewError> {
        self.key_counts(self.0.installation.targets.keys(), &signed)?;
        self.record_freezes().await?;
        let spent = Spent::of(statement);
        let scope = what.clone();
        let circuit = self.0.circuits.is_open(&what, self.0.clock.now());
        if let Some(members) = proof.as_object_mut() {
            members.insert("scope".into(), json!(what));
            members.insert("by".into(), json!(statement.signer));
        }
        let thawed = self.0.store.write(move |tx| {
            spent.take(tx)?;
            if !tx.remove_frozen(&scope)? && !circuit {
                return Err(StoreError::Refused(format!("{scope} is not frozen")));
            }
            tx.append(Kind::FreezeOff, &proof, &[])
        });
        thawed.await?;
        self.thawed(&what);
        Ok(Reply::Done { words: format!("{what} runs again"), credential: None })
    }

    /// Ends an agent's credential now.
    pub(crate) async fn revoke(
        &self,
        agent: countermand_core::name::AgentName,
        by: String,
    ) -> Result<Reply, ReviewError> {
        // Stops first, like a freeze: what is in flight is cut. Then the credential is gone, and
        // with it the sessions that it opened.
        let name = agent.clone();
        if self.authority().agent(&agent).is_some() {
            self.freeze_now(&Scope::Agent(agent.clone()), "its credential is being revoked");
        }
        let revoked = self.0.store.write(move |tx| {
            if !tx.revoke_agent(&name)? {
                return Err(StoreError::Refused(format!("there is no agent `{name}`")));
            }
            tx.forget_conduct(&name)?;
            tx.append(Kind::AgentRevoked, &json!({ "agent": name, "by": by }), &[])
        });
        revoked.await?;
        self.reload_authority()?;
        self.thaw_again(&Scope::Agent(agent.clone()))?;
        Ok(Reply::Done { words: format!("agent `{agent}` is revoked"), credential: None })
    }

    /// Takes back a change that has not run.
    pub(crate) async fn withdraw(
        &self,
        number: ChangeNumber,
        by: String,
    ) -> Result<Reply, ReviewError> {
        self.record(number, Event::Withdrawn { by }).await?;
        Ok(Reply::Done { words: format!("change {number} is withdrawn"), credential: None })
    }

    /// Stops a cooling.
    pub(crate) async fn stop_cooling(
        &self,
        number: ChangeNumber,
        by: String,
        reason: String,
    ) -> Result<Reply, ReviewError> {
        self.record(number, Event::CoolingStopped { by, reason }).await?;
        let words = format!("the cooling of change {number} is stopped; its approvals are void");
        Ok(Reply::Done { words, credential: None })
    }

    /// Whether a change was executed and not taken back.
    pub(crate) fn executed(&self, number: ChangeNumber) -> Result<Change, ReviewError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        match &change.state {
            State::Executed(_) => Ok(change),
            other => no(format!(
                "change {number} is {}: only what was executed can be taken back",
                other.word()
            )),
        }
    }
}

/// A statement's nonce on its way to being spent.
pub(crate) struct Spent {
    nonce: String,
    text: String,
}

impl Spent {
    pub(crate) fn of(statement: &Statement) -> Spent {
        let text = String::from_utf8(statement.to_bytes()).unwrap_or_default();
        Spent { nonce: statement.nonce.clone(), text }
    }

    pub(crate) fn take(&self, tx: &mut crate::store::Tx<'_>) -> Result<(), StoreError> {
        if tx.spend_nonce(&self.nonce, &self.text)? {
            return Ok(());
        }
        let why = "this statement was used before, was changed, or has expired; prepare it again";
        Err(StoreError::Refused(why.into()))
    }
}
