//! Standing approvals: signed once, counted for each change that is what was signed for.
//!
//! What counts is the signature, not the row: it is verified again for every change, with the
//! keys that its human has now. For the change it is one approval of one human like any other.

use crate::admission::{Admission, Caller, Refusal};
use crate::admit::unavailable;
use crate::control::{Reply, StandingLine, StandingTerms};
use crate::engine::Engine;
use crate::execute::starts;
use crate::key::{self, Signed};
use crate::kind::Kind;
use crate::review::{ReviewError, Spent, no};
use crate::store::{Rows, StandingRow, StoreError, Tx};
use countermand_core::change::{Approval, Change, Event, State};
use countermand_core::name::HumanName;
use countermand_core::radius::Reversibility;
use countermand_core::request::ChangeNumber;
use countermand_core::standing::{
    STANDING_LIFETIME, Scene, Standing, StandingNumber, StandingSubject,
};
use countermand_core::statement::Statement;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a client waits for the end of a change that standing approvals carry.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

impl Engine {
    /// What this human would sign from this example.
    pub(crate) fn standing_subject(
        &self,
        example: &Change,
        signer: &HumanName,
        terms: StandingTerms,
    ) -> Result<StandingSubject, ReviewError> {
        let number = example.request.number;
        if !matches!(example.state, State::Held | State::Executed(_)) {
            let word = example.state.word();
            return no(format!(
                "change {number} is {word}: take one that is held, or was executed"
            ));
        }
        let Some(shape) = example.request.shape else {
            return no(format!(
                "change {number} has no shape: every value of it says what is done, and not only \
                 to which rows"
            ));
        };
        let now = self.0.clock.now();
        let latest = now.saturating_add(STANDING_LIFETIME).unwrap_or(now);
        if terms.until <= now || terms.until > latest {
            return no(format!("a standing approval ends within 90 days, before {latest:.0}"));
        }
        if terms.runs == Some(0) {
            return no("a standing approval of no runs carries nothing");
        }
        if example.adopted.is_some() {
            return no(format!("change {number} is a human's own: it is signed for itself"));
        }
        self.may_stand(example, signer)?;
        let rows = example.preview.ceiling.rows.iter();
        let mut ceiling: BTreeMap<_, _> =
            rows.map(|(table, row)| (table.clone(), row.limit)).collect();
        for (table, most) in terms.rows {
            let Some(limit) = ceiling.get_mut(&table) else {
                return no(format!("change {number} loses or changes no rows of `{table}`"));
            };
            *limit = most;
        }
        Ok(StandingSubject {
            example: number,
            requester: example.request.agent.clone(),
            sponsor: example.request.sponsor.clone(),
            shape,
            scene: Scene::from(&example.preview.identity),
            ceiling,
            reversibility: example.preview.reversibility.clone(),
            runs: terms.runs,
            apart: terms.apart,
            until: terms.until,
            seat: self.seat_for(example, signer, terms.seat)?,
        })
    }

    /// Whether this human may sign for this agent's changes at all.
    fn may_stand(&self, example: &Change, human: &HumanName) -> Result<(), ReviewError> {
        if !self.people().seats().contains_key(human) {
            return no(format!("`{human}` is not a reviewer"));
        }
        if *human == example.request.sponsor && !self.people().is_solo() {
            return no(format!(
                "`{human}` is the sponsor of this change's agent: another human approves it"
            ));
        }
        Ok(())
    }

    /// Takes in a signed standing approval. What it carries that is held already goes on.
    pub(crate) async fn stand(
        &self,
        statement: &Statement,
        subject: StandingSubject,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let example = self.0.store.read(|rows| rows.change(subject.example))?;
        self.key_counts(std::iter::once(&subject.scene.target), &signed)?;
        let terms = StandingTerms {
            runs: subject.runs,
            apart: subject.apart,
            until: subject.until,
            rows: subject.ceiling.clone(),
            seat: subject.seat.clone(),
        };
        if self.standing_subject(&example, &statement.signer, terms)? != subject {
            return no(format!(
                "change {} is no longer what this statement says: look again",
                subject.example
            ));
        }
        let (spent, kept, human) =
            (Spent::of(statement), statement.clone(), statement.signer.clone());
        let (of, until) = (subject.clone(), subject.until);
        let number = self.0.store.write(move |tx| {
            spent.take(tx)?;
            let signature = proof.get("signature").and_then(Value::as_str).unwrap_or_default();
            let number = tx.put_standing(&kept, &subject, signature)?;
            let mut body = json!({
                "standing": number, "example": subject.example, "agent": subject.requester,
                "target": subject.scene.target, "human": kept.signer, "until": subject.until,
                "runs": subject.runs, "key": signed.key, "user_verified": signed.user_verified,
            });
            if let (Value::Object(body), Value::Object(proof)) = (&mut body, proof) {
                body.extend(proof);
            }
            tx.append(Kind::StandingApproved, &body, &[])?;
            Ok(number)
        });
        let number = number.await?;
        for change in self.0.store.read(|rows| rows.numbers(true))? {
            let change = self.0.store.read(|rows| rows.change(change))?;
            if of.admits(&change).is_ok() {
                self.prepare(change.request.number);
            }
        }
        let words = format!("standing approval {number} by {human}, until {until}");
        Ok(Reply::Done { words, credential: None })
    }

    /// Counts the standing approvals that are for this change, once it can be reviewed: what the
    /// engine could not show is for humans to look at.
    pub(crate) async fn carry(&self, number: ChangeNumber) -> Result<(), StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        if change.state != State::Held || !is_shown(&change) {
            return Ok(());
        }
        for row in self.usable(&change)? {
            let Ok(approval) = self.approval_of(&row, &change) else { continue };
            let standing = row.number;
            let carried = self.0.store.write(move |tx| carry_one(tx, number, standing, approval));
            if let Err(error) = carried.await {
                tracing::info!(%number, %standing, %error, "a standing approval did not count");
            }
        }
        Ok(())
    }

    /// Standing approvals that are for this change as it stands.
    fn usable(&self, change: &Change) -> Result<Vec<StandingRow>, StoreError> {
        let now = self.0.clock.now();
        self.0.store.read(|rows| usable(rows, change, now))
    }

    /// The approval that a standing one makes of this change, where its human may make it now.
    fn approval_of(&self, row: &StandingRow, change: &Change) -> Result<Approval, ReviewError> {
        let statement = &row.statement;
        let human = statement.signer.clone();
        let Some(person) = self.people().get(&human) else {
            return no(format!("`{human}` is not a person of this installation"));
        };
        let signed = key::verify(&person.keys, &statement.to_bytes(), &row.signature)?;
        self.key_counts(std::iter::once(&change.request.target), &signed)?;
        self.may_stand(change, &human)?;
        let seat = row.subject.seat.clone();
        if let Some(seat) = seat.as_ref().filter(|seat| !person.groups.contains(*seat)) {
            return no(format!("`{human}` is not in group `{seat}`"));
        }
        let standing =
            Standing { number: row.number, signed: row.signed, until: row.subject.until };
        Ok(Approval {
            confirms: human == change.request.sponsor,
            human,
            seat,
            subject: change.subject_digest(),
            key: signed.key,
            user_verified: signed.user_verified,
            standing: Some(standing),
        })
    }

    /// Whether a change will run, or runs, without anybody being asked. Looked up at one moment: what
    /// carries it may be counted just now.
    pub(crate) fn is_carried(&self, number: ChangeNumber) -> Result<bool, StoreError> {
        let now = self.0.clock.now();
        let (change, usable) = self.0.store.read_at_once(|rows| {
            let change = rows.change(number)?;
            let usable = usable(rows, &change, now)?;
            Ok((change, usable))
        })?;
        let given = |change: &Change| {
            change.approvals.iter().any(|(_, approval)| approval.standing.is_some())
        };
        if !matches!(change.state, State::Held) {
            return Ok(change.state.is_open() && given(&change));
        }
        let failed = change.trial_failure.is_some() || change.rehearsal_failure.is_some();
        if failed || change.not_ready.is_some() {
            return Ok(false);
        }
        let mut carried = change.clone();
        for row in usable {
            let human = &row.statement.signer;
            if carried.approvals.iter().any(|(_, approval)| approval.human == *human) {
                continue;
            }
            if let Ok(approval) = self.approval_of(&row, &change) {
                carried.approvals.push((now, approval));
            }
        }
        let mut evidence = self.evidence(&carried);
        (evidence.trial, evidence.rehearsed, evidence.cooled_seconds) =
            (true, true, u64::from(u32::MAX));
        Ok(given(&carried) && starts(&self.judge(&carried, &carried.preview, &evidence)))
    }

    /// Waits for the end of a change that standing approvals carry, and tells it as to a request
    /// that was made before. A change that waits for somebody is told as held, at once.
    pub async fn outcome<T>(&self, caller: &Caller, number: ChangeNumber) -> Admission<T> {
        let told = self.told_at_end(caller, number).await;
        told.unwrap_or_else(Admission::Refused)
    }

    async fn told_at_end<T>(
        &self,
        caller: &Caller,
        number: ChangeNumber,
    ) -> Result<Admission<T>, Refusal> {
        let (mut moved, mut freezes) = (self.0.moved.subscribe(), self.freezes());
        let ended = async {
            loop {
                moved.borrow_and_update();
                freezes.borrow_and_update();
                let change = self.0.store.read(|rows| rows.change(number))?;
                let waits = self.is_carried(number)?;
                let stopped = self.is_frozen(&caller.agent, &change.request.target).is_some();
                if !waits || stopped {
                    return Ok::<(), StoreError>(());
                }
                tokio::select! {
                    _ = moved.changed() => {}
                    _ = freezes.changed() => {}
                }
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, ended).await {
            return Err(unavailable(&error));
        }
        let change = self.0.store.read(|rows| rows.change(number));
        let change = change.map_err(|error| unavailable(&error))?;
        let state = change.state.word();
        self.told(&change, caller).await?.ok_or_else(|| Refusal::CannotJudge {
            why: format!("change {number} is {state}; ask again"),
        })
    }

    /// Ends a standing approval. Only stops, so needs no signature.
    pub(crate) async fn end_standing(
        &self,
        standing: StandingNumber,
        by: String,
    ) -> Result<Reply, ReviewError> {
        let ended = self.0.store.write(move |tx| {
            tx.rows().standing(standing)?;
            if end(tx, standing, &format!("ended by {by}"))? {
                return Ok(());
            }
            Err(StoreError::Refused(format!("standing approval {standing} has ended before")))
        });
        ended.await?;
        self.moved();
        let words = format!("standing approval {standing} carries nothing from now on");
        Ok(Reply::Done { words, credential: None })
    }

    pub(crate) fn standing_lines(&self) -> Result<Vec<StandingLine>, StoreError> {
        let now = self.0.clock.now();
        let rows = self.0.store.read(|rows| rows.standings())?;
        Ok(rows.into_iter().map(|row| line(row, now)).collect())
    }
}

fn usable(
    rows: &Rows<'_>,
    change: &Change,
    now: jiff::Timestamp,
) -> Result<Vec<StandingRow>, StoreError> {
    let (agent, target) = (&change.request.agent, &change.request.target);
    let mut usable = Vec::new();
    for row in rows.standings_for(agent, target)? {
        let is_for =
            row.is_open(now) && row.subject.admits(change).is_ok() && !was_stopped(change, &row);
        if is_for && !rows.has_carried(row.number, change.request.number)? {
            usable.push(row);
        }
    }
    Ok(usable)
}

/// Whether somebody has stopped the change since this was signed.
fn was_stopped(change: &Change, row: &StandingRow) -> bool {
    change.stopped.is_some_and(|stopped| row.signed <= stopped)
}

fn line(row: StandingRow, now: jiff::Timestamp) -> StandingLine {
    let state = match &row.ended {
        Some(why) => why.clone(),
        None if now >= row.subject.until => "expired".to_owned(),
        None if row.is_used_up() => "used up".to_owned(),
        None => "in force".to_owned(),
    };
    let StandingRow { number, signed, statement, subject, used, .. } = row;
    StandingLine { number, human: statement.signer, signed, used, state, subject }
}

/// Whether the engine has shown all that it can before a review, without fault.
fn is_shown(change: &Change) -> bool {
    let needs_trial = change.preview.reversibility == Reversibility::Restorable;
    (change.trial.is_some() || !needs_trial) && change.rehearsal_failure.is_none()
}

/// Records one approval and counts its run, both or neither, if everything is still so.
fn carry_one(
    tx: &mut Tx<'_>,
    number: ChangeNumber,
    standing: StandingNumber,
    approval: Approval,
) -> Result<(), StoreError> {
    let change = tx.rows().change(number)?;
    let row = tx.rows().standing(standing)?;
    if was_stopped(&change, &row) {
        return Err(StoreError::Refused("somebody stopped the change since it was signed".into()));
    }
    if !row.is_open(tx.now()) {
        return Err(StoreError::Refused(
            "it has ended, carried another just before, or has no runs left".into(),
        ));
    }
    row.subject.admits(&change).map_err(StoreError::Refused)?;
    tx.put_run(standing, number)?;
    let text = String::from_utf8(row.statement.to_bytes()).unwrap_or_default();
    let proof = json!({ "statement": text, "signature": row.signature });
    tx.record(number, Event::Approved { approval }, &proof).map(|_| ())
}

/// Ends a standing approval, and takes what it gave from every change that has not been
/// committed. Says whether it was in force.
pub(crate) fn end(
    tx: &mut Tx<'_>,
    standing: StandingNumber,
    why: &str,
) -> Result<bool, StoreError> {
    if !tx.end_standing(standing, why)? {
        return Ok(false);
    }
    let body = json!({ "standing": standing });
    tx.append(Kind::StandingEnded, &body, &[("why", why.as_bytes())])?;
    for number in tx.rows().numbers(true)? {
        let change = tx.rows().change(number)?;
        let from = |approval: &Approval| approval.standing.map(|given| given.number);
        let given = change.approvals.iter().any(|(_, approval)| from(approval) == Some(standing));
        if given && !matches!(change.state, State::Committing { .. }) {
            let event = Event::StandingEnded { standing, why: why.to_owned() };
            tx.record(number, event, &Value::Null)?;
        }
    }
    Ok(true)
}

/// Ends every standing approval that carried this change: somebody has said no to it.
pub(crate) fn end_carriers(
    tx: &mut Tx<'_>,
    number: ChangeNumber,
    human: &HumanName,
) -> Result<(), StoreError> {
    let why = format!("{human} rejected change {number}");
    for (standing, change) in tx.rows().carried()? {
        if change == number {
            end(tx, standing, &why)?;
        }
    }
    Ok(())
}
