//! Which watches go on, and when each of their probes is asked next.

use countermand_core::change::{Change, Event};
use countermand_core::name::{ProbeName, TargetName};
use countermand_core::request::{ChangeNumber, Request};
use countermand_core::watch::Watch;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is watched now.
#[derive(Default)]
pub(crate) struct Watches(Mutex<Now>);

#[derive(Default)]
struct Now {
    open: BTreeMap<ChangeNumber, Open>,
    /// Counts the watches that were begun.
    begun: u64,
    /// Targets that somebody asks now.
    busy: BTreeSet<TargetName>,
    /// Changes whose watch failed, or was not seen to its end.
    alarms: BTreeSet<ChangeNumber>,
    /// Changes that do not start, since a probe failed before them.
    waiting: BTreeMap<ChangeNumber, Waiting>,
}

/// A watch that goes on.
struct Open {
    target: TargetName,
    /// Tells it from an earlier one of the same change.
    serial: u64,
    /// When it began.
    since: Timestamp,
    /// When each probe that has not ended is asked next, and until when.
    probes: BTreeMap<ProbeName, (Timestamp, Timestamp)>,
    /// Why nobody can say that it passed, where that is so.
    gap: Option<String>,
}

impl Open {
    fn due(&self, change: ChangeNumber) -> Due {
        Due { change, since: self.since, serial: self.serial }
    }
}

struct Waiting {
    until: Timestamp,
    /// Which fails now.
    fails: ProbeName,
    /// Probes that the change's history names already.
    named: BTreeSet<ProbeName>,
}

/// One watch of one change.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub(super) change: ChangeNumber,
    pub(super) since: Timestamp,
    serial: u64,
}

/// The right to ask a target's probes: nobody else has it until this is dropped.
pub(super) struct Asking<'a>(&'a Watches, &'a TargetName);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.now().busy.remove(self.1);
    }
}

impl Watches {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to ask these probes of a change at once, unless they are asked already.
    pub(super) fn begin(
        &self,
        request: &Request,
        watch: &Watch,
        probes: &BTreeSet<&ProbeName>,
        gap: Option<String>,
        now: Timestamp,
    ) {
        let mut all = self.now();
        all.begun += 1;
        let (target, serial, since) = (request.target.clone(), all.begun, watch.since);
        let asked = watch.until.iter().filter(|(name, _)| probes.contains(name));
        let probes = asked.map(|(name, until)| (name.clone(), (now, *until))).collect();
        let open = Open { target, serial, since, probes, gap };
        all.open.entry(request.number).or_insert(open);
    }

    /// Takes the targets that something is due in; each is taken until [`Watches::asking`] ends.
    pub(super) fn take_due(&self, now: Timestamp) -> Vec<TargetName> {
        let is_due = |open: &Open| {
            open.probes.is_empty() || open.probes.values().any(|(next, _)| *next <= now)
        };
        let mut all = self.now();
        let due = all.open.values().filter(|open| is_due(open)).map(|open| open.target.clone());
        let due: BTreeSet<_> = due.filter(|target| !all.busy.contains(target)).collect();
        all.busy.extend(due.iter().cloned());
        due.into_iter().collect()
    }

    /// Keeps a target that was taken, also over a panic.
    pub(super) fn asking<'a>(&'a self, target: &'a TargetName) -> Asking<'a> {
        Asking(self, target)
    }

    /// The watches of a target in which this probe is due.
    pub(super) fn due(&self, target: &TargetName, name: &ProbeName, now: Timestamp) -> Vec<Due> {
        let is_due = |open: &Open| open.probes.get(name).is_some_and(|(next, _)| *next <= now);
        self.that(|open| open.target == *target && is_due(open))
    }

    /// Every watch of a target.
    pub(super) fn all_of(&self, target: &TargetName) -> Vec<Due> {
        self.that(|open| open.target == *target)
    }

    fn that(&self, is: impl Fn(&Open) -> bool) -> Vec<Due> {
        let all = self.now();
        let open = all.open.iter().filter(|(_, open)| is(open));
        open.map(|(change, open)| open.due(*change)).collect()
    }

    /// Notes that a probe was asked at this time. One that was asked at its end, or later, is asked
    /// no more, unless `again`.
    pub(super) fn answered(
        &self,
        due: Due,
        name: &ProbeName,
        asked: Timestamp,
        every: SignedDuration,
        again: bool,
    ) {
        let mut all = self.now();
        let open = all.open.get_mut(&due.change).filter(|open| open.serial == due.serial);
        let Some(open) = open else { return };
        let Some((next, until)) = open.probes.get_mut(name) else { return };
        let later = asked.saturating_add(every).unwrap_or(Timestamp::MAX);
        match asked < *until {
            true => *next = later.min(*until),
            false if again => *next = later,
            false => drop(open.probes.remove(name)),
        }
    }

    /// How the watches of a target end whose probes have all ended.
    pub(super) fn ended(&self, target: &TargetName) -> Vec<(Due, Event)> {
        let all = self.now();
        let ended = all.open.iter();
        let ended = ended.filter(|(_, open)| open.target == *target && open.probes.is_empty());
        ended
            .map(|(change, open)| {
                let event = match &open.gap {
                    Some(why) => Event::WatchUnfinished { why: why.clone() },
                    None => Event::WatchPassed,
                };
                (open.due(*change), event)
            })
            .collect()
    }

    pub(super) fn is_open(&self, due: Due) -> bool {
        self.now().open.get(&due.change).is_some_and(|open| open.serial == due.serial)
    }

    /// Asks no more for this watch.
    pub(super) fn end(&self, due: Due) {
        let mut all = self.now();
        if all.open.get(&due.change).is_some_and(|open| open.serial == due.serial) {
            all.open.remove(&due.change);
        }
    }

    /// Asks no more for this change.
    pub(super) fn forget(&self, change: ChangeNumber) {
        self.now().open.remove(&change);
    }

    /// Changes that somebody should look at.
    pub(super) fn alarms(&self) -> Vec<ChangeNumber> {
        self.now().alarms.iter().copied().collect()
    }

    pub(super) fn alarm(&self, change: ChangeNumber) {
        self.now().alarms.insert(change);
    }

    pub(super) fn calm(&self, change: ChangeNumber) {
        self.now().alarms.remove(&change);
    }

    /// A probe failed before this change: it waits. Whether its history does not name the probe
    /// yet.
    pub(super) fn wait(
        &self,
        change: ChangeNumber,
        name: &ProbeName,
        now: Timestamp,
        every: SignedDuration,
    ) -> bool {
        let until = now.saturating_add(every).unwrap_or(Timestamp::MAX);
        let mut all = self.now();
        let waiting = Waiting { until, fails: name.clone(), named: BTreeSet::new() };
        let waiting = all.waiting.entry(change).or_insert(waiting);
        (waiting.until, waiting.fails) = (until, name.clone());
        waiting.named.insert(name.clone())
    }

    /// Which probe fails before this change; by its history, where it was not asked since the start.
    pub(crate) fn fails_before(&self, change: &Change) -> Option<ProbeName> {
        let known = change.not_ready.as_ref().map(|(probe, _)| probe.clone());
        let now = self.now().waiting.get(&change.request.number).map(|now| now.fails.clone());
        now.or(known)
    }

    /// No probe fails before this change.
    pub(super) fn go(&self, change: ChangeNumber) {
        self.now().waiting.remove(&change);
    }

    /// Whether a probe failed before this change so short a time ago that it is not asked again.
    pub(crate) fn keeps_waiting(&self, change: ChangeNumber, now: Timestamp) -> bool {
        self.now().waiting.get(&change).is_some_and(|waiting| now < waiting.until)
    }

    /// Forgets who waited and is no longer open.
    pub(crate) fn keep_waiting_only(&self, open: &BTreeSet<ChangeNumber>) {
        self.now().waiting.retain(|change, _| open.contains(change));
    }
}
