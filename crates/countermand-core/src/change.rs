//! The change as a state machine without I/O: its state is the fold of its events.

mod event;
#[cfg(test)]
mod tests;

pub use event::{
    Abort, Adoption, Approval, CommitToken, Event, Outcome, Recorded, Rehearsal, RestorePoint,
    SavedTable,
};

use crate::digest::Digest;
use crate::evidence::{Evidence, Facts};
use crate::name::{GroupName, HumanName, ProbeName};
use crate::policy::Reason;
use crate::preview::{Counts, Preview};
use crate::radius::Reversibility;
use crate::request::{ChangeNumber, Request};
use crate::statement::ReviewSubject;
use crate::watch::{Watch, WatchState};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A request that is not decided and run within this long expires.
pub const REQUEST_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// An approval counts for this long.
pub const APPROVAL_LIFETIME: SignedDuration = SignedDuration::from_hours(4);
/// A rehearsal counts for this long.
pub const REHEARSAL_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The same request gets the recorded outcome for this long after the end.
pub const DELIVERY_WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// A rejected request is refused with its reason for this long.
pub const REJECTION_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Where a change stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Forbidden to its agent; a human may adopt it.
    Forbidden,
    /// Waits for evidence.
    Held,
    /// Runs; production may not have committed it.
    Running {
        /// Which attempt.
        attempt: u32,
    },
    /// Ran within what was signed; the commit may have been sent.
    Committing {
        /// Which attempt.
        attempt: u32,
        /// What it did.
        measured: Counts,
        /// What proves whether it was committed.
        token: CommitToken,
    },
    /// Committed, once.
    Executed(Outcome),
    /// Ended without effect, with the reason.
    Failed(String),
    /// A human said no, with the reason.
    Rejected {
        /// Who.
        human: HumanName,
        /// Why.
        reason: String,
    },
    /// Taken back before it ran.
    Withdrawn,
    /// Not decided in time.
    Expired,
    /// Whether it was committed cannot be known, until a human has looked.
    InDoubt {
        /// Why, in words.
        why: String,
        /// What it did, and what would prove that it was committed, where it came as far as that.
        ran: Option<(Counts, CommitToken)>,
    },
    /// Executed, and then taken back.
    Restored(Outcome),
}

impl State {
    /// The word that commands show.
    pub fn word(&self) -> &'static str {
        match self {
            State::Forbidden => "forbidden",
            State::Held => "held",
            State::Running { .. } => "running",
            State::Committing { .. } => "committing",
            State::Executed(_) => "executed",
            State::Failed(_) => "failed",
            State::Rejected { .. } => "rejected",
            State::Withdrawn => "withdrawn",
            State::Expired => "expired",
            State::InDoubt { .. } => "in doubt",
            State::Restored(_) => "restored",
        }
    }

    /// Whether the change can still run, or is running.
    pub fn is_open(&self) -> bool {
        let running = matches!(self, State::Running { .. } | State::Committing { .. });
        self.waits() || running
    }

    /// Whether it waits for humans: it can still be rejected, withdrawn, and expire.
    fn waits(&self) -> bool {
        matches!(self, State::Forbidden | State::Held)
    }
}

/// An event that cannot follow the change's state. The event is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("change {number} is {state}: it cannot be {event} now")]
pub struct InvalidTransition {
    /// The change.
    pub number: ChangeNumber,
    /// Where it stands.
    pub state: &'static str,
    /// What was tried.
    pub event: &'static str,
}

/// A change: the fold of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was asked.
    pub request: Request,
    /// What was last measured; what reviewers sign.
    pub preview: Preview,
    /// Where it stands.
    pub state: State,
    /// The policies that forbade it to its agent; none where it was held from the start.
    pub forbidden: Vec<Reason>,
    /// Whose change it is, where a human adopted it.
    pub adopted: Option<Adoption>,
    /// When it was held, or kept for a human to adopt.
    pub opened: Timestamp,
    /// When it last moved.
    pub moved: Timestamp,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// Approvals of the present preview, with their times.
    pub approvals: Vec<(Timestamp, Approval)>,
    /// When the cooling last began to count.
    pub cooling_since: Option<Timestamp>,
    /// When somebody last stopped a cooling of it: what was approved beforehand until then no longer
    /// carries it.
    pub stopped: Option<Timestamp>,
    /// The trial restore point.
    pub trial: Option<RestorePoint>,
    /// Why there is no trial, if it was tried.
    pub trial_failure: Option<String>,
    /// The rehearsal, with its time.
    pub rehearsal: Option<(Timestamp, Rehearsal)>,
    /// Why there is no rehearsal, if it was tried.
    pub rehearsal_failure: Option<String>,
    /// What the execution can be taken back from.
    pub restore_point: Option<RestorePoint>,
    /// Who is taking it back, while the target has not answered.
    pub restoring: Option<HumanName>,
    /// The probe that failed before the change, and why, where that is what it waits for.
    pub not_ready: Option<(ProbeName, String)>,
    /// How its target was watched since.
    pub watch: Option<Watch>,
    /// Attempts so far.
    pub attempts: u32,
    /// Commits that were recorded: never above 1.
    pub executions: u32,
    /// Whether the requester was told the outcome.
    pub delivered: bool,
    /// How many events were folded; the store's version.
    pub version: u64,
}

/// Reviewers of the installation with the groups they are in. Who is not here fills no seat.
pub type Seats = BTreeMap<HumanName, BTreeSet<GroupName>>;

impl Change {
    /// The change that this first event opens; none for any other event than
    /// [`Event::Held`] and [`Event::Forbidden`].
    pub fn open(first: &Recorded) -> Option<Change> {
        let (request, preview, state, forbidden) = match &first.event {
            Event::Held { request, preview } => (request, preview, State::Held, Vec::new()),
            Event::Forbidden { request, preview, reasons } => {
                (request, preview, State::Forbidden, reasons.clone())
            }
            _ => return None,
        };
        Some(Change {
            request: (**request).clone(),
            preview: (**preview).clone(),
            state,
            forbidden,
            adopted: None,
            opened: first.at,
            moved: first.at,
            ended: None,
            approvals: Vec::new(),
            cooling_since: None,
            stopped: None,
            trial: None,
            trial_failure: None,
            rehearsal: None,
            rehearsal_failure: None,
            restore_point: None,
            restoring: None,
            not_ready: None,
            watch: None,
            attempts: 0,
            executions: 0,
            delivered: false,
            version: 1,
        })
    }

    /// The change after all of these events.
    ///
    /// # Errors
    /// [`InvalidTransition`] for the first event that cannot follow; none for an empty list or
    /// one that begins with an event that opens no change.
    pub fn fold(events: &[Recorded]) -> Option<Result<Change, InvalidTransition>> {
        let (first, rest) = events.split_first()?;
        let change = Change::open(first)?;
        Some(rest.iter().try_fold(change, |change, recorded| change.apply(recorded)))
    }

    /// The change after one more event.
    ///
    /// # Errors
    /// [`InvalidTransition`] where the event cannot follow the present state.
    pub fn apply(mut self, recorded: &Recorded) -> Result<Change, InvalidTransition> {
        self.check(&recorded.event)?;
        let at = recorded.at;
        match &recorded.event {
            Event::Held { .. } | Event::Forbidden { .. } => {}
            Event::TrialTaken { restore_point } => {
                self.trial = Some(restore_point.clone());
                self.trial_failure = None;
            }
            Event::TrialFailed { why } => self.trial_failure = Some(why.clone()),
            Event::Rehearsed { rehearsal } => {
                self.rehearsal = Some((at, rehearsal.clone()));
                self.rehearsal_failure = None;
            }
            Event::RehearsalFailed { why } => {
                self.rehearsal = None;
                self.rehearsal_failure = Some(why.clone());
            }
            Event::Adopted { adoption } => {
                self.adopted = Some(adoption.clone());
                self.state = State::Held;
            }
            Event::Approved { approval } => self.approve(at, approval.clone()),
            Event::CoolingStopped { .. } => {
                self.stopped = Some(recorded.at);
                self.void_approvals();
            }
            Event::StandingEnded { standing, .. } => {
                let from = |approval: &Approval| approval.standing.map(|given| given.number);
                self.approvals.retain(|(_, approval)| from(approval) != Some(*standing));
                self.cooling_since = self.cooling_since.filter(|_| !self.approvals.is_empty());
            }
            Event::CoolingRestarted { .. } => {
                self.cooling_since = self.cooling_since.map(|_| at);
            }
            Event::Voided { preview, .. } => {
                self.void_approvals();
                self.void_adoption();
                self.preview = (**preview).clone();
                (self.trial, self.trial_failure) = (None, None);
                (self.rehearsal, self.rehearsal_failure) = (None, None);
            }
            Event::Started { attempt, preview } => {
                self.attempts = *attempt;
                self.not_ready = None;
                self.preview = (**preview).clone().with_ceiling_of(&self.preview);
                self.state = State::Running { attempt: *attempt };
            }
            Event::Committing { attempt, measured, restore_point, token } => {
                self.restore_point = restore_point.clone();
                self.state = State::Committing {
                    attempt: *attempt,
                    measured: measured.clone(),
                    token: token.clone(),
                };
            }
            Event::Executed { outcome, .. } => {
                self.executions += 1;
                self.end(at, State::Executed(outcome.clone()));
            }
            Event::RolledBack { abort, why, .. } => self.roll_back(at, *abort, why),
            Event::Rejected { human, reason, .. } => {
                self.end(at, State::Rejected { human: human.clone(), reason: reason.clone() });
            }
            Event::InDoubt { why, stale } => self.doubt(at, why.clone(), *stale),
            Event::Resolved { committed: true, .. } => self.found_committed(at),
            // Its restore point stays known: a human can be wrong.
            Event::Resolved { human, reason, .. } => {
                let why = format!("{human} has looked, and it was not committed: {reason}");
                self.end(at, State::Failed(why));
            }
            Event::Delivered { .. } => self.delivered = true,
            Event::Withdrawn { .. } => self.end(at, State::Withdrawn),
            Event::Expired => self.end(at, State::Expired),
            Event::RestoreBegun { human, .. } => self.restoring = Some(human.clone()),
            Event::RestoreFailed { .. } | Event::RestoreInDoubt { .. } => self.restoring = None,
            Event::Restored { .. } => {
                self.restoring = None;
                self.watch = None;
                if let State::Executed(outcome) = &self.state {
                    self.state = State::Restored(outcome.clone());
                }
            }
            Event::WatchNotReady { probe, why } => {
                self.not_ready = Some((probe.clone(), why.clone()));
            }
            Event::WatchBegun { until } => {
                let (until, state) = (until.clone(), WatchState::Open);
                self.watch = Some(Watch { since: at, until, state });
            }
            Event::WatchPassed => self.watched(WatchState::Passed),
            Event::WatchFailed { probe, why } => {
                let (probe, why) = (probe.clone(), why.clone());
                self.watched(WatchState::Failed { at, probe, why });
            }
            Event::WatchUnfinished { why } => {
                self.watched(WatchState::Unfinished { why: why.clone() });
            }
        }
        self.moved = at;
        self.version += 1;
        Ok(self)
    }

    /// Who signed beforehand has had that long to think again.
    fn approve(&mut self, at: Timestamp, approval: Approval) {
        let since = approval.standing.map_or(at, |standing| standing.signed.min(at));
        self.cooling_since = self.cooling_since.max(Some(since));
        self.approvals.push((at, approval));
    }

    fn void_approvals(&mut self) {
        self.approvals.clear();
        self.cooling_since = None;
    }

    /// Whoever adopted it signed for what was there: they look again.
    fn void_adoption(&mut self) {
        if self.adopted.take().is_some() {
            self.state = State::Forbidden;
        }
    }

    fn roll_back(&mut self, at: Timestamp, abort: Abort, why: &str) {
        self.restore_point = None;
        self.state = State::Held;
        if abort.ends() {
            self.end(at, State::Failed(why.to_owned()));
        } else if !abort.keeps_approvals() {
            self.void_approvals();
        }
    }

    fn doubt(&mut self, at: Timestamp, why: String, stale: bool) {
        if stale {
            self.restore_point = None;
        }
        let ran = match &self.state {
            _ if stale => None,
            State::Committing { measured, token, .. } => Some((measured.clone(), token.clone())),
            _ => None,
        };
        self.end(at, State::InDoubt { why, ran });
    }

    fn found_committed(&mut self, at: Timestamp) {
        let measured = match &self.state {
            State::InDoubt { ran: Some((measured, _)), .. } => measured.clone(),
            _ => Counts::new(),
        };
        self.executions += 1;
        self.end(at, State::Executed(Outcome { said: Vec::new(), measured }));
    }

    fn watched(&mut self, state: WatchState) {
        if let Some(watch) = &mut self.watch {
            watch.state = state;
        }
    }

    /// Whether its target is being watched.
    pub fn is_watched(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.state == WatchState::Open)
    }

    fn end(&mut self, at: Timestamp, state: State) {
        self.state = state;
        self.ended = Some(at);
    }

    /// Whether the event may follow. Every row of the table of transitions is here.
    fn check(&self, event: &Event) -> Result<(), InvalidTransition> {
        let held = self.state == State::Held;
        let running = |n: &u32| matches!(&self.state, State::Running { attempt } if attempt == n);
        let committing =
            |n: &u32| matches!(&self.state, State::Committing { attempt, .. } if attempt == n);
        let may = match event {
            Event::Held { .. } | Event::Forbidden { .. } => false,
            Event::Adopted { adoption } => {
                self.state == State::Forbidden && adoption.subject == self.subject_digest()
            }
            Event::TrialTaken { .. }
            | Event::TrialFailed { .. }
            | Event::Rehearsed { .. }
            | Event::RehearsalFailed { .. }
            | Event::CoolingStopped { .. }
            | Event::CoolingRestarted { .. } => held,
            Event::Voided { .. }
            | Event::Rejected { .. }
            | Event::Withdrawn { .. }
            | Event::Expired => self.state.waits(),
            Event::WatchNotReady { .. } => held,
            Event::StandingEnded { .. } => held || matches!(self.state, State::Running { .. }),
            Event::Approved { approval } => held && self.may_approve(approval),
            Event::Started { attempt, .. } => held && *attempt == self.attempts + 1,
            Event::Committing { attempt, .. } => running(attempt),
            Event::RolledBack { attempt, .. } => running(attempt) || committing(attempt),
            Event::Executed { .. } => matches!(self.state, State::Committing { .. }),
            // Running, in a copy that the gateway was restored from: the commit may have followed.
            Event::InDoubt { .. } => {
                matches!(self.state, State::Running { .. } | State::Committing { .. })
            }
            Event::Resolved { human, confirms, .. } => {
                matches!(self.state, State::InDoubt { .. }) && self.is_own_of(human) == *confirms
            }
            Event::Delivered { .. } => !self.state.is_open() && !self.delivered,
            Event::RestoreBegun { .. } => {
                matches!(self.state, State::Executed(_)) && self.restoring.is_none()
            }
            Event::RestoreInDoubt { .. } => self.restoring.is_some(),
            Event::Restored { .. } | Event::RestoreFailed { .. } => {
                matches!(self.state, State::Executed(_)) && self.restoring.is_some()
            }
            Event::WatchBegun { .. } => {
                self.watch.is_none()
                    && matches!(self.state, State::Executed(_) | State::Restored(_))
            }
            Event::WatchPassed | Event::WatchFailed { .. } | Event::WatchUnfinished { .. } => {
                self.is_watched()
            }
        };
        if may { Ok(()) } else { Err(self.refuses(event)) }
    }

    /// Whether this human answers for the change, and so is no peer: the agent's sponsor, and
    /// whoever adopted it.
    pub fn is_own_of(&self, human: &HumanName) -> bool {
        *human == self.request.sponsor || self.adopter() == Some(human)
    }

    /// Whether its own human confirmed it, as they may in a solo installation: nobody else has
    /// looked.
    pub fn is_confirmed(&self) -> bool {
        self.approvals.iter().any(|(_, approval)| approval.confirms)
    }

    /// Who made it their own change.
    pub fn adopter(&self) -> Option<&HumanName> {
        self.adopted.as_ref().map(|adoption| &adoption.human)
    }

    /// On whose behalf it runs: who adopted it, or its agent's sponsor.
    pub fn responsible(&self) -> &HumanName {
        self.adopter().unwrap_or(&self.request.sponsor)
    }

    /// One human, one seat; who answers for it only where the approval says that it is a
    /// confirmation; only for what is there now.
    fn may_approve(&self, approval: &Approval) -> bool {
        self.is_own_of(&approval.human) == approval.confirms
            && approval.subject == self.subject_digest()
            && self.approvals.iter().all(|(_, earlier)| earlier.human != approval.human)
    }

    fn refuses(&self, event: &Event) -> InvalidTransition {
        let event = match event {
            Event::Held { .. } => "held",
            Event::Forbidden { .. } => "forbidden",
            Event::Adopted { .. } => "adopted",
            Event::TrialTaken { .. } | Event::TrialFailed { .. } => "given a trial restore point",
            Event::Rehearsed { .. } | Event::RehearsalFailed { .. } => "rehearsed",
            Event::Approved { .. } => "approved",
            Event::Rejected { .. } => "rejected",
            Event::CoolingStopped { .. } => "stopped cooling",
            Event::CoolingRestarted { .. } => "cooled again",
            Event::Voided { .. } => "voided",
            Event::StandingEnded { .. } => "taken an approval from",
            Event::Started { .. } => "started",
            Event::Committing { .. } => "committed",
            Event::Executed { .. } => "executed",
            Event::RolledBack { .. } => "rolled back",
            Event::InDoubt { .. } => "put in doubt",
            Event::Resolved { .. } => "resolved",
            Event::Delivered { .. } => "delivered",
            Event::Withdrawn { .. } => "withdrawn",
            Event::Expired => "expired",
            Event::Restored { .. }
            | Event::RestoreFailed { .. }
            | Event::RestoreBegun { .. }
            | Event::RestoreInDoubt { .. } => "restored",
            Event::WatchNotReady { .. } => "kept waiting by its watch",
            Event::WatchBegun { .. }
            | Event::WatchPassed
            | Event::WatchFailed { .. }
            | Event::WatchUnfinished { .. } => "watched",
        };
        InvalidTransition { number: self.request.number, state: self.state.word(), event }
    }

    /// What a reviewer signs of this change, without a seat.
    pub fn subject(&self) -> ReviewSubject {
        ReviewSubject {
            change: self.request.number,
            requester: self.request.agent.clone(),
            sponsor: self.request.sponsor.clone(),
            adopted: self.adopter().cloned(),
            identity: self.preview.identity.clone(),
            ceiling: self.preview.ceiling.clone(),
            reversibility: self.preview.reversibility.clone(),
            seat: None,
        }
    }

    /// The approval digest: of [`Change::subject`]. An approval of anything else does not count.
    pub fn subject_digest(&self) -> Digest {
        Digest::of(&self.subject())
    }

    /// What has been shown so far, at this time, by humans who are reviewers now.
    pub fn evidence(&self, now: Timestamp, seats: &Seats) -> Evidence {
        let mut evidence = Evidence { trial: self.trial.is_some(), ..Evidence::default() };
        for (at, approval) in &self.approvals {
            let fresh = approval.is_fresh(*at, now);
            let Some(groups) = seats.get(&approval.human).filter(|_| fresh) else { continue };
            if approval.confirms {
                evidence.confirmed = true;
                continue;
            }
            evidence.peers += 1;
            if let Some(seat) = approval.seat.as_ref().filter(|seat| groups.contains(*seat)) {
                *evidence.groups.entry(seat.clone()).or_default() += 1;
            }
        }
        if evidence.peers > 0 || evidence.confirmed {
            let cooled = self.cooling_since.map(|since| now.duration_since(since).as_secs());
            evidence.cooled_seconds = cooled.and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
        }
        evidence.rehearsed = self
            .rehearsal
            .as_ref()
            .is_some_and(|(at, _)| now.duration_since(*at) < REHEARSAL_LIFETIME);
        evidence.verified = matches!(self.state, State::Committing { .. });
        evidence
    }

    /// Whether it was not decided in time.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state.waits() && now.duration_since(self.opened) >= REQUEST_LIFETIME
    }
}

/// What policy weighs of a preview, where nobody adopted it.
pub fn facts_of(preview: &Preview, partner: bool, solo: bool) -> Facts {
    let roots = preview.radius.roots().count();
    Facts {
        roots: u32::try_from(roots).unwrap_or(u32::MAX),
        reversible: preview.reversibility == Reversibility::Restorable,
        recovery_seconds: preview.estimates.recovery_seconds,
        rehearsable: partner && preview.undone_by_rollback,
        unavailable: preview.unavailable,
        solo,
        adopted: false,
        backups: false,
    }
}

impl Preview {
    /// This preview under the ceiling that was signed for an earlier one.
    fn with_ceiling_of(mut self, signed: &Preview) -> Preview {
        self.ceiling = signed.ceiling.clone();
        self
    }
}
