//! After a change its target is watched: asked, for a while, what people said must still hold.
//!
//! A failed watch takes nothing back. It is an event of the change, is shown wherever the change
//! is, and offers the command that takes it back. Whoever asks is in nobody's way; an answer that
//! is not as expected may have waited for a lock of our own, and is asked for once more, alone in
//! the target's lane. Time is the engine's clock.

mod due;

pub(crate) use due::Watches;

use crate::engine::Engine;
use crate::notify::{self, notify};
use crate::store::StoreError;
use countermand_core::change::{Change, Event, State};
use countermand_core::name::{ProbeName, TargetName};
use countermand_core::request::ChangeNumber;
use countermand_core::watch::{Probe, WatchState, shown};
use due::Due;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a probe that failed waits to be asked again alone.
const LANE: Duration = Duration::from_secs(60);
/// The gateway's own status names what failed for this long; the change says it for ever.
const ALARMS: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Engine {
    fn probes(&self, change: &Change) -> Option<&BTreeMap<ProbeName, Probe>> {
        let placement = self.0.installation.targets.get(&change.request.target)?;
        Some(&placement.watch).filter(|probes| !probes.is_empty())
    }

    /// Records that a change was executed or taken back; where its target is to be watched, the
    /// watch begins in the same transaction.
    pub(crate) async fn record_done(
        &self,
        number: ChangeNumber,
        event: Event,
    ) -> Result<Change, StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        let probes = self.probes(&change).into_iter().flatten();
        let lasts: Vec<_> = probes.map(|(name, probe)| (name.clone(), probe.lasts)).collect();
        let recorded = self.0.store.write(move |tx| {
            let change = tx.record(number, event, &Value::Null)?;
            if lasts.is_empty() || change.watch.is_some() {
                return Ok(change);
            }
            let now = tx.now();
            let until = |lasts| now.saturating_add(lasts).unwrap_or(Timestamp::MAX);
            let until = lasts.into_iter().map(|(name, lasts)| (name, until(lasts))).collect();
            tx.record(number, Event::WatchBegun { until }, &Value::Null)
        });
        let change = recorded.await?;
        // What was watched since the execution is not what is there after it was taken back.
        self.0.watches.forget(number);
        self.0.watches.calm(number);
        self.watch(&change, None);
        self.moved();
        Ok(change)
    }

    /// Goes on with what a stop left, and remembers what failed.
    pub(crate) fn resume_watches(&self) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        for change in self.0.store.read(|rows| rows.watched())? {
            let Some(watch) = &change.watch else { continue };
            if watch.alarms() {
                self.0.watches.alarm(change.request.number);
            }
            let gap = (now >= watch.ends())
                .then(|| "the gateway was not running when it should have ended".to_owned());
            self.watch(&change, gap);
        }
        Ok(())
    }

    /// Begins to ask, at once.
    fn watch(&self, change: &Change, gap: Option<String>) {
        let Some(watch) = change.watch.as_ref().filter(|_| change.is_watched()) else { return };
        let configured =
            |name: &ProbeName| self.probes(change).is_some_and(|probes| probes.contains_key(name));
        let gone = watch.until.keys().find(|name| !configured(name));
        let gap = gap.or(gone.map(|name| format!("probe `{name}` is no longer configured")));
        let asked = watch.until.keys().filter(|name| configured(name)).collect();
        self.0.watches.begin(&change.request, watch, &asked, gap, self.0.clock.now());
    }

    /// Asks what is due, each target in a task of its own.
    pub(crate) fn look_at_watches(&self) {
        for name in self.0.watches.take_due(self.0.clock.now()) {
            let engine = self.clone();
            tokio::spawn(async move {
                let _asking = engine.0.watches.asking(&name);
                let mut stopping = engine.0.stopping.subscribe();
                let looked = tokio::select! {
                    looked = engine.look_at_target(&name) => looked,
                    _ = stopping.wait_for(|stop| *stop) => Ok(()),
                };
                if let Err(error) = looked {
                    tracing::error!(of = %name, %error, "a watch could not be recorded");
                }
            });
        }
    }

    async fn look_at_target(&self, target: &TargetName) -> Result<(), StoreError> {
        let Some(placement) = self.0.installation.targets.get(target) else {
            let why = "its target is no longer in the configuration";
            for due in self.0.watches.all_of(target) {
                self.watched(due, Event::WatchUnfinished { why: why.to_owned() }).await?;
            }
            return Ok(());
        };
        for (name, probe) in &placement.watch {
            self.look_with(target, name, probe).await?;
        }
        for (due, event) in self.0.watches.ended(target) {
            self.watched(due, event).await?;
        }
        Ok(())
    }

    /// Asks one probe once for all whose turn it is, and says when it is next asked.
    async fn look_with(
        &self,
        target: &TargetName,
        name: &ProbeName,
        probe: &Probe,
    ) -> Result<(), StoreError> {
        let asked = self.0.clock.now();
        let due = self.0.watches.due(target, name, asked);
        if due.is_empty() {
            return Ok(());
        }
        let mut alone = None;
        let mut answer = self.answers(target, probe).await;
        if answer.is_err() {
            alone = self.lane_within(target, LANE).await;
            // A lane that is not free for so long is no reason to keep quiet.
            if alone.is_some() {
                answer = self.answers(target, probe).await;
            }
        }
        for due in due {
            // Also after a failure: one that cannot be recorded is not asked without a pause.
            self.0.watches.answered(due, name, asked, probe.every, answer.is_err());
            if let Err(why) = &answer {
                let event = Event::WatchFailed { probe: name.clone(), why: why.clone() };
                self.watched(due, event).await?;
            }
        }
        drop(alone);
        Ok(())
    }

    async fn lane_within(
        &self,
        target: &TargetName,
        within: Duration,
    ) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let lane = Arc::clone(self.0.lanes.get(target)?);
        tokio::time::timeout(within, lane.lock_owned()).await.ok()
    }

    /// Asks a probe. An answer that cannot be had is not as expected.
    async fn answers(&self, target: &TargetName, probe: &Probe) -> Result<(), String> {
        let answer = self.answer_to(target, &probe.question).await?;
        probe.expected.check(answer.as_deref())
    }

    /// Records how a watch ended, if it is still the one that was asked, and says so where somebody
    /// should look.
    async fn watched(&self, due: Due, event: Event) -> Result<(), StoreError> {
        if !self.0.watches.is_open(due) {
            return Ok(());
        }
        let number = due.change;
        let recorded = self.0.store.write(move |tx| {
            let change = tx.rows().change(number)?;
            let same = change.watch.as_ref().is_some_and(|watch| watch.since == due.since);
            match same && change.is_watched() {
                true => tx.record(number, event, &Value::Null).map(Some),
                false => Ok(None),
            }
        });
        let Some(change) = recorded.await? else { return Ok(()) };
        self.moved();
        self.0.watches.end(due);
        let Some(words) = watch_words(&change).filter(|_| alarms(&change)) else { return Ok(()) };
        self.0.watches.alarm(number);
        tracing::warn!(%number, watch = words.as_str(), "look at what this change did");
        self.tell(&change);
        Ok(())
    }

    /// Runs the target's program, beside everything else.
    fn tell(&self, change: &Change) {
        let placement = self.0.installation.targets.get(&change.request.target);
        let Some(command) = placement.and_then(|placement| placement.notify.clone()) else {
            return;
        };
        let number = change.request.number;
        let details = details(self.0.installation.name.as_str(), change);
        tokio::spawn(async move {
            if let Err(error) = notify(&command, &details, notify::WITHIN).await {
                tracing::warn!(%number, %error, "nobody was notified of a failed watch");
            }
        });
    }

    /// Whether every probe of the target answers as expected before this change: what fails already
    /// would be no sign of what the change did. The lane must be the caller's.
    pub(crate) async fn is_ready(&self, change: &Change) -> Result<bool, StoreError> {
        let number = change.request.number;
        for (name, probe) in self.probes(change).into_iter().flatten() {
            let Err(why) = self.answers(&change.request.target, probe).await else { continue };
            // Each probe is named once, however often they fail in turn.
            if self.0.watches.wait(number, name, self.0.clock.now(), probe.every) {
                tracing::warn!(%number, probe = %name, why, "the change waits for its watch");
                self.record(number, Event::WatchNotReady { probe: name.clone(), why }).await?;
            }
            return Ok(false);
        }
        self.0.watches.go(number);
        Ok(true)
    }

    /// Watches that somebody should look at, in words.
    pub(crate) fn alarms(&self) -> Result<Vec<String>, StoreError> {
        let mut words = Vec::new();
        for number in self.0.watches.alarms() {
            let change = self.0.store.read(|rows| rows.change(number))?;
            let recent = self.0.clock.now().duration_since(change.moved) < ALARMS;
            let watch = watch_words(&change).filter(|_| recent && alarms(&change));
            words.extend(watch.map(|watch| format!("change {number}: {watch}")));
        }
        Ok(words)
    }
}

fn alarms(change: &Change) -> bool {
    change.watch.as_ref().is_some_and(countermand_core::watch::Watch::alarms)
}

/// How its target was watched since, with the command that takes it back where that is called for.
pub(crate) fn watch_words(change: &Change) -> Option<String> {
    let words = change.watch.as_ref()?.words(true);
    if !alarms(change) {
        return Some(words);
    }
    Some(match (take_back(change), &change.state) {
        (Some(command), _) => format!("{words}; take it back: {command}"),
        (None, State::Executed(_)) => format!("{words}; it cannot be taken back"),
        (None, _) => words,
    })
}

fn take_back(change: &Change) -> Option<String> {
    let executed = matches!(change.state, State::Executed(_)) && change.restore_point.is_some();
    executed.then(|| format!("countermand restore {} --key KEY", change.request.number))
}

/// What a program is told.
fn details(installation: &str, change: &Change) -> Value {
    let request = &change.request;
    let (outcome, probe, why) = match change.watch.as_ref().map(|watch| &watch.state) {
        Some(WatchState::Failed { probe, why, .. }) => ("failed", Some(probe), Some(why)),
        Some(WatchState::Unfinished { why }) => ("unfinished", None, Some(why)),
        _ => ("passed", None, None),
    };
    json!({
        "installation": installation,
        "change": request.number,
        "state": change.state.word(),
        "target": request.target,
        "environment": request.environment,
        "agent": request.agent,
        "sponsor": request.sponsor,
        "summary": shown(&change.preview.radius.summary()),
        "watch": outcome,
        "probe": probe,
        "why": why,
        "at": change.moved,
        "take_back": take_back(change),
    })
}
