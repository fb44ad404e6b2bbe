//! Changes as people and agents are shown them.

use crate::admission::{Caller, Refusal};
use crate::admit::for_agents;
use crate::control::{AgentQuery, ChangeLine, ChangeView};
use crate::engine::Engine;
use crate::store::StoreError;
use crate::watch::watch_words;
use countermand_core::change::{Approval, Change, Event, Recorded, State};
use countermand_core::policy::{Decision, Missing};
use countermand_core::request::ChangeNumber;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;

/// As many of its changes an agent is shown at once.
const SHOWN: u64 = 100;

impl Engine {
    pub(crate) fn line(&self, change: &Change) -> ChangeLine {
        let held = change.state == State::Held;
        let evidence = self.evidence(change);
        let decision = held.then(|| self.judge(change, &change.preview, &evidence));
        self.line_of(change, decision.as_ref())
    }

    /// A change in a list, of which policy says this.
    fn line_of(&self, change: &Change, decision: Option<&Decision>) -> ChangeLine {
        let request = &change.request;
        let mut lacks: Vec<String> = match change.state {
            State::Forbidden => vec![match request.agent.human() {
                Some(own) => format!("{own}'s own signature"),
                None => "a human who adopts it".to_owned(),
            }],
            State::Held => decision.map_or_else(Vec::new, lacks),
            _ => Vec::new(),
        };
        let held = change.state == State::Held;
        if let Some((probe, why)) = change.not_ready.as_ref().filter(|_| held) {
            lacks.push(format!("watch `{probe}` fails already: {why}; it is tried again"));
        }
        ChangeLine {
            number: request.number,
            state: word(change).to_owned(),
            agent: request.agent.clone(),
            sponsor: request.sponsor.clone(),
            adopted: change.adopter().cloned(),
            target: request.target.clone(),
            summary: change.preview.radius.summary(),
            opened: change.opened,
            missing: lacks,
            not_peer_reviewed: change.is_confirmed(),
            observed: self.observation(&request.target).map(|on| on.until()),
            watch: watch_words(change),
        }
    }

    /// The same without what the target answered on a connection that was not the agent's own,
    /// and without what only people do.
    fn line_for_agent(&self, change: &Change) -> ChangeLine {
        let told = Change { not_ready: None, ..change.clone() };
        let watch = change.watch.as_ref().map(|watch| watch.words(false));
        ChangeLine { watch, observed: None, ..self.line(&told) }
    }

    pub(crate) fn view(&self, change: &Change) -> Result<ChangeView, StoreError> {
        let decision = self.judge(change, &change.preview, &self.evidence(change));
        self.view_under(change, &decision)
    }

    /// A change, of which policy says this.
    pub(crate) fn view_under(
        &self,
        change: &Change,
        decision: &Decision,
    ) -> Result<ChangeView, StoreError> {
        let number = change.request.number;
        let stored = self.0.store.read(|rows| rows.payload(number))?;
        let events = self.0.store.read(|rows| rows.events(number))?;
        let outcome = match &change.state {
            State::Executed(outcome) | State::Restored(outcome) => Some(outcome.clone()),
            _ => None,
        };
        Ok(ChangeView {
            line: self.line_of(change, Some(decision)),
            version: change.version,
            environment: change.request.environment.clone(),
            payload: stored.payload.text,
            body: stored.payload.body,
            kind: stored.payload.kind,
            said: stored.said,
            session: change.request.session.clone(),
            preview: change.preview.clone(),
            reasons: reasons(change, decision),
            approvals: self.approvals(change),
            trial: change.trial.clone(),
            rehearsal: self.rehearsal_words(change),
            rehearsed: change.rehearsal.as_ref().map(|(_, seen)| seen.measured.clone()),
            cools_until: cools_until(change, decision, self.0.clock.now()),
            starts_by_itself: self.starts_by_itself(change, decision),
            forbidden_now: matches!(decision, Decision::Forbid { .. }),
            outcome,
            restore_point: change.restore_point.clone(),
            ended: ended(change),
            executions: change.executions,
            subject: change.subject_digest(),
            target_tags: self.target_tags(change),
            history: events.iter().map(|event| (event.at, words(event))).collect(),
        })
    }

    /// Whether it runs as soon as it has cooled, as far as is known now.
    fn starts_by_itself(&self, change: &Change, decision: &Decision) -> bool {
        let request = &change.request;
        let waits_only = match decision {
            Decision::Hold { missing, .. } => missing.iter().any(|set| {
                let by_itself =
                    |m: &Missing| matches!(m, Missing::Cooling { .. } | Missing::Verified);
                set.iter().all(by_itself)
            }),
            Decision::Allow { .. } => true,
            Decision::Forbid { .. } => false,
        };
        let stopped = self.0.freezer.stops(&request.agent, &request.target);
        let stopped = stopped.or_else(|| self.0.disks.stops()).is_some();
        change.state == State::Held && waits_only && !stopped && change.not_ready.is_none()
    }

    fn target_tags(&self, change: &Change) -> BTreeSet<String> {
        let placement = self.0.installation.targets.get(&change.request.target);
        placement.map(|placement| placement.tags.clone()).unwrap_or_default()
    }

    /// Who approved, and which of it no longer counts.
    fn approvals(&self, change: &Change) -> Vec<String> {
        let (now, seats) = (self.0.clock.now(), self.people().seats());
        let words = |(at, approval): &(Timestamp, Approval)| {
            let void = match seats.contains_key(&approval.human) {
                _ if !approval.is_fresh(*at, now) => "; it is too old and no longer counts",
                true => "",
                false => "; they are no reviewer now, and it does not count",
            };
            format!("{}{}", approval_words(*at, approval), if waits(change) { void } else { "" })
        };
        change.approvals.iter().map(words).collect()
    }

    fn rehearsal_words(&self, change: &Change) -> String {
        let placement = self.0.installation.targets.get(&change.request.target);
        let partner = placement.and_then(|placement| placement.partner.as_ref());
        match (&change.rehearsal, &change.rehearsal_failure, partner) {
            (Some((at, seen)), _, _) => {
                format!("ran in {} at {at} and was rolled back", seen.partner)
            }
            (None, Some(why), _) => format!("failed: {why}"),
            (None, None, None) => "no partner is configured".into(),
            (None, None, Some(_)) if !change.preview.undone_by_rollback => {
                "cannot be rehearsed: rollback does not undo it".into()
            }
            (None, None, Some(partner)) => format!("not yet run in {partner}"),
        }
    }

    /// What an agent may see and do of its own changes.
    ///
    /// # Errors
    /// A refusal for another's change, which is not told from one that does not exist.
    pub async fn agent_query(&self, caller: &Caller, what: AgentQuery) -> Result<String, Refusal> {
        let cannot = |why: String| Refusal::CannotJudge { why };
        let failed = |error: StoreError| crate::admit::unavailable(&error);
        match what {
            AgentQuery::Changes => {
                let own = self.0.store.read(|rows| rows.numbers_of(&caller.agent, SHOWN));
                let numbers = own.map_err(failed)?;
                let changes = numbers.into_iter().filter_map(|n| self.own(caller, n).ok());
                let lines: Vec<_> = changes.map(|change| self.line_for_agent(&change)).collect();
                Ok(json!(lines).to_string())
            }
            AgentQuery::Show(number) => {
                let change = self.own(caller, number).map_err(cannot)?;
                let line = self.line_for_agent(&change);
                let ended = ended(&change).map(|why| match &change.state {
                    State::Failed(why) => for_agents(why),
                    _ => why,
                });
                let underway = self.underway(&change);
                Ok(json!({ "change": line, "ended": ended, "underway": underway }).to_string())
            }
            AgentQuery::Withdraw(number) => {
                let change = self.own(caller, number).map_err(cannot)?;
                if let Some(human) = change.adopter() {
                    return Err(cannot(format!("change {number} is {human}'s own by now")));
                }
                let by = format!("agent {}", caller.agent);
                let done = self.withdraw(number, by).await;
                done.map_err(|error| cannot(error.to_string()))?;
                Ok(json!({ "withdrawn": number }).to_string())
            }
        }
    }

    fn own(&self, caller: &Caller, number: ChangeNumber) -> Result<Change, String> {
        let change = self.0.store.read(|rows| rows.change(number)).ok();
        let own = change.filter(|change| change.request.agent == caller.agent);
        own.ok_or_else(|| format!("agent `{}` has no change {number}", caller.agent))
    }
}

/// A change's state in one word.
pub(crate) fn word(change: &Change) -> &'static str {
    let unsigned = change.state == State::Forbidden && change.request.agent.human().is_some();
    if unsigned { "unsigned" } else { change.state.word() }
}

fn reasons(change: &Change, decision: &Decision) -> Vec<String> {
    let mut words: Vec<String> = change.request.beyond.iter().map(ToString::to_string).collect();
    if change.state == State::Forbidden {
        words.extend(change.forbidden.iter().map(ToString::to_string));
        return words;
    }
    match decision {
        Decision::Allow { .. } => {}
        Decision::Hold { reasons, .. } | Decision::Forbid { reasons } => {
            words.extend(reasons.iter().map(ToString::to_string));
        }
    }
    words
}

/// Whether approvals still decide anything.
fn waits(change: &Change) -> bool {
    matches!(change.state, State::Held | State::Forbidden)
}

/// What a held change lacks.
fn lacks(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Allow { .. } => Vec::new(),
        Decision::Hold { missing, .. } => {
            missing.first().into_iter().flatten().map(ToString::to_string).collect()
        }
        Decision::Forbid { reasons } => {
            reasons.iter().map(|reason| format!("forbidden now: {}", reason.reason)).collect()
        }
    }
}

fn approval_words(at: Timestamp, approval: &Approval) -> String {
    let seat = approval.seat.as_ref().map(|seat| format!(" ({seat})")).unwrap_or_default();
    let how = match (approval.confirms, approval.user_verified) {
        (true, _) => ", confirmed by its sponsor, not peer-reviewed",
        (false, true) => "",
        (false, false) => ", by a plain key",
    };
    let given = approval
        .standing
        .map(|given| format!(", by standing approval {} of {:.0}", given.number, given.signed));
    format!("{}{seat} at {at}{how}{}", approval.human, given.unwrap_or_default())
}

fn cools_until(change: &Change, decision: &Decision, now: Timestamp) -> Option<Timestamp> {
    change.cooling_since?;
    let Decision::Hold { missing, .. } = decision else { return None };
    let left = missing.first()?.iter().find_map(|missing| match missing {
        Missing::Cooling { have, need } => Some(need.saturating_sub(*have)),
        _ => None,
    })?;
    now.checked_add(SignedDuration::from_secs(i64::try_from(left).ok()?)).ok()
}

fn ended(change: &Change) -> Option<String> {
    match &change.state {
        State::Failed(why) | State::InDoubt { why, .. } => Some(why.clone()),
        State::Rejected { human, reason } => Some(format!("rejected by {human}: {reason}")),
        State::Forbidden | State::Held => None,
        State::Running { .. } | State::Committing { .. } => None,
        other => Some(other.word().to_owned()),
    }
}

pub(crate) fn words(recorded: &Recorded) -> String {
    match &recorded.event {
        Event::Held { request, .. } => format!("held; asked by {}", request.agent),
        Event::Forbidden { request, .. } if request.agent.human().is_some() => {
            format!("asked for by {}; not signed yet", request.sponsor)
        }
        Event::Forbidden { request, .. } => {
            format!("forbidden to {}; kept for a human to adopt", request.agent)
        }
        Event::Adopted { adoption } => format!("adopted by {}", adoption.human),
        Event::TrialTaken { restore_point } => {
            format!("trial restore point taken and read back: {} bytes", restore_point.bytes)
        }
        Event::TrialFailed { why } => format!("trial restore point failed: {why}"),
        Event::Rehearsed { rehearsal } => format!("rehearsed in {}", rehearsal.partner),
        Event::RehearsalFailed { why } => format!("rehearsal failed: {why}"),
        Event::Approved { approval } if approval.confirms => {
            format!("confirmed by {}, its sponsor; not peer-reviewed", approval.human)
        }
        Event::Approved { approval } => {
            let given = approval
                .standing
                .map(|given| format!(", beforehand: standing approval {}", given.number));
            format!("approved by {}{}", approval.human, given.unwrap_or_default())
        }
        Event::StandingEnded { standing, why } => {
            format!("standing approval {standing} no longer counts: {why}")
        }
        Event::Rejected { human, reason, .. } => format!("rejected by {human}: {reason}"),
        Event::CoolingStopped { by, reason } => format!("cooling stopped by {by}: {reason}"),
        Event::CoolingRestarted { why } => format!("cooling starts again: {why}"),
        Event::Voided { why, .. } => format!("approvals void: {}", why.join("; ")),
        Event::Started { attempt, .. } => format!("started, attempt {attempt}"),
        Event::Committing { restore_point: Some(_), .. } => {
            "ran within what was signed; restore point read back; committing".into()
        }
        Event::Committing { restore_point: None, .. } => {
            "ran within what was signed; without a restore point; committing".into()
        }
        Event::Executed { recovered: true, .. } => "found committed after an interruption".into(),
        Event::Executed { .. } => "executed".into(),
        Event::RolledBack { why, .. } => format!("rolled back: {why}"),
        Event::InDoubt { why, .. } => format!("in doubt: {why}"),
        Event::Resolved { committed, human, reason, confirms, .. } => {
            let found = if *committed { "committed" } else { "not committed" };
            let alone = if *confirms { ", its sponsor; nobody else has looked" } else { "" };
            format!("found {found} by {human}{alone}: {reason}")
        }
        Event::Delivered { .. } => "outcome given to the agent".into(),
        Event::Withdrawn { by } => format!("withdrawn by {by}"),
        Event::Expired => "expired".into(),
        Event::Restored { human, equal, .. } => {
            let compared = if *equal { "equal" } else { "NOT equal" };
            format!("taken back by {human}; contents {compared}")
        }
        Event::RestoreFailed { why, .. } => format!("taking back failed: {why}"),
        Event::RestoreBegun { human, .. } => format!("{human} takes it back"),
        Event::RestoreInDoubt { why, .. } => format!("taking back is in doubt: {why}"),
        Event::WatchNotReady { probe, why } => {
            format!("not started: watch `{probe}` fails already: {why}")
        }
        Event::WatchBegun { until } => {
            let probes: Vec<_> = until.keys().map(|name| format!("`{name}`")).collect();
            format!("watch begun: {}", probes.join(", "))
        }
        Event::WatchPassed => "watch passed".into(),
        Event::WatchFailed { probe, why } => format!("watch `{probe}` failed: {why}"),
        Event::WatchUnfinished { why } => format!("not watched to the end: {why}"),
    }
}
