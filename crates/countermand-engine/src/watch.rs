//! After a change its target is watched: asked, for a while, what people said must still hold.
//!
//! A failed watch takes nothing back. It is an event of the change, is shown wherever the change
//! is, and offers the command that takes it back. Looks take the target's lane, so that no probe
//! waits for a lock of our own execution or restore; time is the engine's clock.

use crate::engine::Engine;
use crate::notify::{self, notify};
use crate::store::StoreError;
use countermand_core::change::{Change, Event, State};
use countermand_core::name::ProbeName;
use countermand_core::request::ChangeNumber;
use countermand_core::watch::{Probe, WatchState, shown};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One probe takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The gateway's own status names what failed for this long; the change says it for ever.
const ALARMS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is watched now.
#[derive(Default)]
pub(crate) struct Watches(Mutex<Now>);

#[derive(Default)]
struct Now {
    open: BTreeMap<ChangeNumber, Open>,
    /// Changes whose watch failed, or was not seen to its end.
    alarms: BTreeSet<ChangeNumber>,
    /// Changes that do not start before this time, since a probe failed before them.
    again: BTreeMap<ChangeNumber, Timestamp>,
}

/// A watch that goes on.
struct Open {
    since: Timestamp,
    /// When each probe that has not ended is asked next.
    next: BTreeMap<ProbeName, Timestamp>,
    /// Why nobody can say that it passed, where that is so.
    gap: Option<String>,
    /// Somebody is asking.
    busy: bool,
}

impl Watches {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a probe failed before this change so short a time ago that it is not asked again.
    pub(crate) fn keeps_waiting(&self, number: ChangeNumber, now: Timestamp) -> bool {
        self.now().again.get(&number).is_some_and(|again| now < *again)
    }

    /// Takes what is due; nobody else takes it before [`Watches::put_back`].
    fn take_due(&self, now: Timestamp) -> Vec<ChangeNumber> {
        let is_due =
            |open: &Open| open.next.is_empty() || open.next.values().any(|next| *next <= now);
        let mut all = self.now();
        let due = all.open.iter_mut().filter(|(_, open)| !open.busy && is_due(open));
        due.map(|(number, open)| {
            open.busy = true;
            *number
        })
        .collect()
    }

    fn put_back(&self, number: ChangeNumber) {
        if let Some(open) = self.now().open.get_mut(&number) {
            open.busy = false;
        }
    }

    /// Which probes of this watch are due.
    fn due(&self, number: ChangeNumber, now: Timestamp) -> Vec<ProbeName> {
        let all = self.now();
        let next = all.open.get(&number).into_iter().flat_map(|open| &open.next);
        next.filter(|(_, next)| **next <= now).map(|(name, _)| name.clone()).collect()
    }

    /// A probe that was asked at this time answered as expected. One that was asked at its end, or
    /// later, is asked no more.
    fn answered(&self, number: ChangeNumber, name: &ProbeName, next: Option<Timestamp>) {
        let mut all = self.now();
        let Some(open) = all.open.get_mut(&number) else { return };
        match next {
            Some(next) => drop(open.next.insert(name.clone(), next)),
            None => drop(open.next.remove(name)),
        }
    }

    /// How a watch ends whose probes have all ended, or none where some have not.
    fn end(&self, number: ChangeNumber) -> Option<Event> {
        let all = self.now();
        let open = all.open.get(&number).filter(|open| open.next.is_empty())?;
        Some(match &open.gap {
            Some(why) => Event::WatchUnfinished { why: why.clone() },
            None => Event::WatchPassed,
        })
    }

    fn forget(&self, number: ChangeNumber) {
        self.now().open.remove(&number);
    }
}

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
        self.0.watches.now().alarms.remove(&number);
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
                self.0.watches.now().alarms.insert(change.request.number);
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
        let now = self.0.clock.now();
        let asked = watch.until.keys().filter(|name| configured(name));
        let next = asked.map(|name| (name.clone(), now)).collect();
        let open = Open { since: watch.since, next, gap, busy: false };
        self.0.watches.now().open.entry(change.request.number).or_insert(open);
    }

    /// Asks what is due, each change in a task of its own.
    pub(crate) fn look_at_watches(&self) {
        for number in self.0.watches.take_due(self.0.clock.now()) {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut stopping = engine.0.stopping.subscribe();
                let looked = tokio::select! {
                    looked = engine.look_at_watch(number) => looked,
                    _ = stopping.wait_for(|stop| *stop) => Ok(()),
                };
                if let Err(error) = looked {
                    tracing::error!(%number, %error, "a watch could not be recorded");
                }
                engine.0.watches.put_back(number);
            });
        }
    }

    async fn look_at_watch(&self, number: ChangeNumber) -> Result<(), StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        let Some(lane) = self.0.lanes.get(&change.request.target).map(Arc::clone) else {
            let why = "its target is no longer in the configuration".to_owned();
            return self.watched(number, Event::WatchUnfinished { why }).await;
        };
        let _alone = lane.lock_owned().await;
        // Again, now that nobody takes it back at the same time.
        let change = self.0.store.read(|rows| rows.change(number))?;
        for name in self.0.watches.due(number, self.0.clock.now()) {
            if let Err(why) = self.look_with(&change, &name).await {
                return self.watched(number, Event::WatchFailed { probe: name, why }).await;
            }
        }
        match self.0.watches.end(number) {
            Some(event) => self.watched(number, event).await,
            None => Ok(()),
        }
    }

    /// Asks one probe, and says when it is next asked.
    async fn look_with(&self, change: &Change, name: &ProbeName) -> Result<(), String> {
        let probe = self.probes(change).and_then(|probes| probes.get(name));
        let until = change.watch.as_ref().and_then(|watch| watch.until.get(name));
        let (Some(probe), Some(until)) = (probe, until) else { return Ok(()) };
        let asked = self.0.clock.now();
        let next = asked.saturating_add(probe.every).unwrap_or(Timestamp::MAX).min(*until);
        let next = (asked < *until).then_some(next);
        let number = change.request.number;
        let answer = self.answers(change, probe).await;
        // Also after a failure: one that cannot be recorded is not asked without a pause.
        match &answer {
            Ok(()) => self.0.watches.answered(number, name, next),
            Err(_) => self.0.watches.answered(number, name, next.or(Some(asked))),
        }
        answer
    }

    /// Asks a probe. An answer that cannot be had is not as expected.
    async fn answers(&self, change: &Change, probe: &Probe) -> Result<(), String> {
        let target = self.target_of(change)?;
        let asking = target.probe(&probe.question, PATIENCE);
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(answer)) => probe.expected.check(answer.as_deref()),
            Ok(Err(error)) => Err(format!("no answer: {}", shown(&error.to_string()))),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    /// Records how a watch ended, and says so where somebody should look.
    async fn watched(&self, number: ChangeNumber, event: Event) -> Result<(), StoreError> {
        let since = self.0.watches.now().open.get(&number).map(|open| open.since);
        let change = self.0.store.read(|rows| rows.change(number))?;
        if !change.is_watched() || change.watch.as_ref().map(|watch| watch.since) != since {
            self.0.watches.forget(number);
            return Ok(());
        }
        let change = self.record(number, event).await?;
        self.0.watches.forget(number);
        let Some(words) = watch_words(&change).filter(|_| alarms(&change)) else { return Ok(()) };
        self.0.watches.now().alarms.insert(number);
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
            let Err(why) = self.answers(change, probe).await else { continue };
            let again = self.0.clock.now().saturating_add(probe.every).unwrap_or(Timestamp::MAX);
            self.0.watches.now().again.insert(number, again);
            let known = change.not_ready.as_ref().is_some_and(|(known, _)| known == name);
            if !known {
                tracing::warn!(%number, probe = %name, why, "the change waits for its watch");
                self.record(number, Event::WatchNotReady { probe: name.clone(), why }).await?;
            }
            return Ok(false);
        }
        self.0.watches.now().again.remove(&number);
        Ok(true)
    }

    /// Watches that somebody should look at, in words.
    pub(crate) fn alarms(&self) -> Result<Vec<String>, StoreError> {
        let numbers: Vec<_> = self.0.watches.now().alarms.iter().copied().collect();
        let mut words = Vec::new();
        for number in numbers {
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
