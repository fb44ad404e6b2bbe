//! Execution: once, within what was signed, or not at all.
//!
//! Every early return leaves production as it was; the order of the steps is the order in which
//! a stop in between is still known for what it is.

use crate::engine::Engine;
use crate::permit::Permit;
use crate::store::StoreError;
use crate::target::{Aborted, Commit, Ended, Ran, Run, TargetError, Verdict};
use crate::trace::What;
use countermand_core::change::{Abort, Change, Event, State};
use countermand_core::policy::Decision;
use countermand_core::preview::Preview;
use countermand_core::radius::Reversibility;
use countermand_core::request::ChangeNumber;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How often the engine looks whether a cooling has ended or a request has expired.
const LOOK: Duration = Duration::from_millis(100);
/// After as many attempts that came to nothing, humans look again before there are more.
const ATTEMPTS: u32 = 5;
/// How long the engine waits before it tries again what somebody else is in the way of.
const AGAIN: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts what has all its evidence, until told to stop.
    pub(crate) async fn schedule(self) {
        let mut stopping = self.0.stopping.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.0.nudge.notified() => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "the engine cannot look after its changes");
            }
        }
    }

    /// Expires, resolves and starts what is due.
    async fn look(&self) -> Result<(), StoreError> {
        self.record_freezes().await?;
        self.apply_due().await?;
        self.look_at_watches();
        self.look_at_backups();
        let open = self.0.store.read(|rows| rows.numbers(true))?;
        self.0.watches.keep_waiting_only(&open.iter().copied().collect());
        let mut failed = Vec::new();
        for number in open.into_iter().rev() {
            let change = match self.0.store.read(|rows| rows.change(number)) {
                Ok(change) => change,
                Err(error) => {
                    // One change that cannot be read must not stop the others.
                    tracing::error!(%number, %error, "the change cannot be read");
                    continue;
                }
            };
            if change.rehearsal_failure.is_some() || change.trial_failure.is_some() {
                failed.push(change.clone());
            }
            if change.is_overdue(self.0.clock.now()) {
                // Somebody may have withdrawn it meanwhile; then it has ended anyway.
                if let Err(error) = self.record(number, Event::Expired).await {
                    tracing::warn!(%number, %error, "the change did not expire");
                }
            } else if self.may_start(&change) {
                self.start(change);
            }
        }
        self.try_again(&failed);
        Ok(())
    }

    /// Whether all evidence is there that can be before the act.
    fn may_start(&self, change: &Change) -> bool {
        if change.state != State::Held || self.preparing().contains(&change.request.number) {
            return false;
        }
        let request = &change.request;
        // A restore point needs room.
        let stopped = self.0.freezer.stops(&request.agent, &request.target);
        if stopped.or_else(|| self.0.disks.stops()).is_some() {
            return false;
        }
        if self.0.watches.keeps_waiting(request.number, self.0.clock.now()) {
            return false;
        }
        let evidence = self.evidence(change);
        starts(&self.judge(change, &change.preview, &evidence))
    }

    /// Runs a change in its target's lane, if the lane is free; the next look tries again.
    fn start(&self, change: Change) {
        let Some(lane) = self.0.lanes.get(&change.request.target) else { return };
        let Ok(lane) = Arc::clone(lane).try_lock_owned() else { return };
        let number = change.request.number;
        let engine = self.clone();
        tokio::spawn(async move {
            if let Err(error) = engine.execute(number).await {
                tracing::error!(%number, %error, "the execution could not be recorded");
                engine.find_out(number).await;
            }
            drop(lane);
            engine.moved();
        });
    }

    /// The nine lines that a change's life comes down to.
    async fn execute(&self, number: ChangeNumber) -> Result<(), StoreError> {
        let Some((change, fresh)) = self.still_the_same(number).await? else { return Ok(()) };
        let Some(change) = self.started(change, fresh).await? else { return Ok(()) };
        let mut going = self.begins(What::Execute, &change);
        let ran = match self.run_unless_frozen(&change).await {
            Ok(ran) => ran,
            Err(aborted) => return self.rolled_back(&change, aborted).await,
        };
        if let Err(aborted) = self.may_commit(&change, &ran) {
            (ran.finish)(Verdict::RollBack).await;
            return self.rolled_back(&change, aborted).await;
        }
        let Ran { measured, restore_point, token, finish } = ran;
        let event = Event::Committing {
            attempt: change.attempts,
            measured,
            restore_point,
            token: token.clone(),
        };
        // From here on a stop leaves the change committing: recovery asks the target.
        if !self.committing(&change, event).await? {
            finish(Verdict::RollBack).await;
            let why = "an approval that it ran under has ended".to_owned();
            return self.rolled_back(&change, Aborted { abort: Abort::Interrupted, why }).await;
        }
        // The last look: what is sent now cannot be stopped any more.
        if let Some(why) = self.is_frozen(&change.request.agent, &change.request.target) {
            finish(Verdict::RollBack).await;
            return self.rolled_back(&change, Aborted { abort: Abort::Interrupted, why }).await;
        }
        let ended = finish(Verdict::Commit(Permit::grant(Commit { token }))).await;
        if matches!(ended, Ended::Committed(_)) {
            going.came_about();
        }
        drop(going);
        self.ended(number, ended).await
    }

    /// Measures again and compares with what was signed: the same identity, no more rows.
    /// Nothing where the change does not start now.
    async fn still_the_same(
        &self,
        number: ChangeNumber,
    ) -> Result<Option<(Change, Preview)>, StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        if !self.may_start(&change) || !self.is_ready(&change).await? {
            return Ok(None);
        }
        if let Err(why) = self.is_itself(&change.request.target).await {
            tracing::warn!(%number, why, "the change does not start");
            tokio::time::sleep(AGAIN).await;
            return Ok(None);
        }
        let fresh = match self.fresh_preview(&change).await {
            Ok(fresh) => fresh,
            Err(TargetError::Halted(_)) => return Ok(None),
            Err(TargetError::Refused { message, .. } | TargetError::CannotJudge(message)) => {
                let by = "the gateway".to_owned();
                let reason = format!("it cannot be measured as it was: {message}");
                self.record(number, Event::CoolingStopped { by, reason }).await?;
                return Ok(None);
            }
            Err(error) => {
                tracing::warn!(%number, %error, "the target cannot be measured now");
                tokio::time::sleep(AGAIN).await;
                return Ok(None);
            }
        };
        let differences = self.differences(&change, &fresh);
        if !differences.is_empty() {
            self.void(number, differences, fresh).await?;
            return Ok(None);
        }
        let decision = self.judge(&change, &fresh, &self.evidence(&change));
        if decision.waits_only_for_backup() {
            return Ok(None);
        }
        if !starts(&decision) {
            let why = vec!["what was measured again asks for more evidence".to_owned()];
            self.void(number, why, fresh).await?;
            return Ok(None);
        }
        Ok(Some((change, fresh)))
    }

    /// What the target would do to it now.
    pub(crate) async fn fresh_preview(&self, change: &Change) -> Result<Preview, TargetError> {
        let target = self.target_of(change).map_err(TargetError::Local)?;
        let stored = self.0.store.read(|rows| rows.payload(change.request.number));
        let stored = stored.map_err(|error| TargetError::Local(error.to_string()))?;
        let measuring = target.preview(&stored.payload, &change.request.actions);
        self.halt_of(change)
            .unless(measuring)
            .await
            .unwrap_or_else(|why| Err(TargetError::Halted(why)))
    }

    /// How what is there now differs from what is signed, in words.
    pub(crate) fn differences(&self, change: &Change, fresh: &Preview) -> Vec<String> {
        let mut words = change.preview.identity.differences(&fresh.identity);
        let counts = fresh.ceiling.rows.iter().map(|(table, row)| (table.clone(), row.measured));
        if let Err(exceeded) = change.preview.ceiling.admits(&counts.collect()) {
            words.push(exceeded.to_string());
        }
        if change.preview.reversibility != fresh.reversibility {
            words.push(format!("now it {}", fresh.reversibility));
        }
        words
    }

    /// Approvals are void; the evidence is gathered again for what is there now.
    async fn void(
        &self,
        number: ChangeNumber,
        why: Vec<String>,
        fresh: Preview,
    ) -> Result<(), StoreError> {
        self.record(number, Event::Voided { why, preview: Box::new(fresh) }).await?;
        self.prepare(number);
        Ok(())
    }

    /// Makes the start durable, if nothing happened to the change since it was judged: no two
    /// starters, and nobody who stopped the cooling meanwhile. Nothing otherwise.
    async fn started(&self, change: Change, fresh: Preview) -> Result<Option<Change>, StoreError> {
        let (number, version) = (change.request.number, change.version);
        let attempt = change.attempts + 1;
        let event = Event::Started { attempt, preview: Box::new(fresh) };
        let started = self.0.store.write(move |tx| tx.record_at(number, version, event)).await;
        match started {
            Ok(change) => {
                self.moved();
                Ok(Some(change))
            }
            Err(StoreError::Moved(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the commit's intent durable, unless an approval was taken from the change while it
    /// ran. Says whether it is.
    async fn committing(&self, change: &Change, event: Event) -> Result<bool, StoreError> {
        let (number, version) = (change.request.number, change.version);
        let intended = self.0.store.write(move |tx| tx.record_at(number, version, event)).await;
        match intended {
            Ok(_) => {
                self.moved();
                Ok(true)
            }
            Err(StoreError::Moved(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Runs it up to its commit. A freeze ends that in the middle of a statement; the target rolls
    /// back by itself.
    async fn run_unless_frozen(&self, change: &Change) -> Result<Ran, Aborted> {
        self.halt_of(change).unless(self.run(change)).await.unwrap_or_else(|why| {
            let why = format!("{why}; it was cancelled while it ran");
            Err(Aborted { abort: Abort::Interrupted, why })
        })
    }

    async fn run(&self, change: &Change) -> Result<Ran, Aborted> {
        let interrupted = |why: String| Aborted { abort: Abort::Interrupted, why };
        let target = self.target_of(change).map_err(interrupted)?;
        let number = change.request.number;
        let stored = self.0.store.read(|rows| rows.payload(number));
        let stored = stored.map_err(|error| interrupted(error.to_string()))?;
        if stored.payload.digest() != change.request.payload {
            let why = "the stored payload is not the one that was judged".to_owned();
            return Err(Aborted { abort: Abort::IdentityChanged, why });
        }
        let folder = format!("change-{number}/attempt-{}", change.attempts);
        let permit = Permit::grant(Run {
            change: number,
            attempt: change.attempts,
            payload: stored.payload,
            identity: change.preview.identity.clone(),
            ceiling: change.preview.ceiling.clone(),
            reversible: change.preview.reversibility == Reversibility::Restorable,
            restore_point: self.restore_point_folder(&folder).map_err(interrupted)?,
        });
        let mut ran = target.run(permit).await?;
        if let Some(restore_point) = &mut ran.restore_point {
            restore_point.folder = folder;
        }
        Ok(ran)
    }

    /// Policy's last word, with all evidence there; and the ceiling's, whatever the target says.
    fn may_commit(&self, change: &Change, ran: &Ran) -> Result<(), Aborted> {
        let no = |abort, why: String| Err(Aborted { abort, why });
        if let Err(exceeded) = change.preview.ceiling.admits(&ran.measured) {
            return no(Abort::CeilingExceeded, exceeded.to_string());
        }
        let request = &change.request;
        let stopped = self.0.freezer.stops(&request.agent, &request.target);
        if let Some(why) = stopped.or_else(|| self.0.disks.stops()) {
            return no(Abort::Interrupted, why);
        }
        let mut evidence = self.evidence(change);
        evidence.verified = ran.restore_point.is_some();
        let decision = self.judge(change, &change.preview, &evidence);
        if decision.waits_only_for_backup() {
            return no(Abort::Interrupted, "the target's own backup is too old by now".to_owned());
        }
        match decision {
            Decision::Allow { .. } => Ok(()),
            Decision::Hold { missing, .. } => {
                let words: Vec<_> = missing.iter().flatten().map(ToString::to_string).collect();
                no(Abort::PolicyForbade, format!("before commit was missing: {}", words.join(", ")))
            }
            Decision::Forbid { reasons } => {
                let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                no(Abort::PolicyForbade, words.join("; "))
            }
        }
    }

    /// Records a rollback, and what follows from it: fresh approvals, or a new cooling.
    async fn rolled_back(&self, change: &Change, aborted: Aborted) -> Result<(), StoreError> {
        let number = change.request.number;
        let Aborted { abort, why } = aborted;
        let event = Event::RolledBack { attempt: change.attempts, abort, why: why.clone() };
        let change = self.record(number, event).await?;
        if change.state != State::Held {
            return Ok(());
        }
        if change.attempts.is_multiple_of(ATTEMPTS) {
            let by = "the gateway".to_owned();
            let reason = format!("{ATTEMPTS} attempts in a row came to nothing; the last: {why}");
            self.record(number, Event::CoolingStopped { by, reason }).await?;
        } else if abort == Abort::LockNotGranted {
            // Whoever holds it gets time; the lane stays ours, so that nobody overtakes.
            tokio::time::sleep(AGAIN).await;
        } else if abort == Abort::Interrupted {
            self.record(number, Event::CoolingRestarted { why }).await?;
        } else if !abort.keeps_approvals()
            && let Ok(fresh) = self.fresh_preview(&change).await
        {
            self.void(number, vec![why], fresh).await?;
        }
        Ok(())
    }

    /// Records how the commit ended; where that was not seen, asks the target.
    async fn ended(&self, number: ChangeNumber, ended: Ended) -> Result<(), StoreError> {
        match ended {
            Ended::Committed(outcome) => {
                self.record_done(number, Event::Executed { outcome, recovered: false }).await?;
                Ok(())
            }
            Ended::RolledBack(why) => {
                let change = self.0.store.read(|rows| rows.change(number))?;
                self.rolled_back(&change, Aborted { abort: Abort::StatementFailed, why }).await
            }
            Ended::Unknown(why) => {
                tracing::warn!(%number, why, "the end of the commit was not seen");
                self.resolve(number).await
            }
        }
    }

    /// Records one event of a change.
    pub(crate) async fn record(
        &self,
        number: ChangeNumber,
        event: Event,
    ) -> Result<Change, StoreError> {
        let change = self.0.store.write(move |tx| tx.record(number, event, &Value::Null)).await?;
        self.moved();
        Ok(change)
    }
}

/// Permitted, or waiting for nothing but what only the execution can show.
pub(crate) fn starts(decision: &Decision) -> bool {
    matches!(decision, Decision::Allow { .. }) || decision.waits_only_for_verification()
}
