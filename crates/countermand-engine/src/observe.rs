//! Observation: what would be held flows for a while, and the ledger says what would have been held.
//!
//! Only holds become observations. What policy forbids stays forbidden, what a human has said no to
//! stays refused, what is frozen stays frozen, and a full disk still stops writes. Everything else
//! runs up to its commit and is measured there, as ever; then it commits, whatever was measured. A
//! session that was let in under an observation ends with it.

mod report;

use crate::admission::{Admission, Caller, Proposal, Refusal};
use crate::admit::{described, recorded, unavailable};
use crate::engine::Engine;
use crate::kind::Kind;
use crate::permit::Permit;
use crate::weigh::Receipt;
use countermand_core::configuration::{Observation, Observations};
use countermand_core::effect::Effect;
use countermand_core::limits::{Beyond, Limits, Written};
use countermand_core::name::TargetName;
use countermand_core::policy::{Decision, Missing, Reason};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLockReadGuard};
use std::time::Duration;

pub use report::{Example, Forbidden, Group, ObserveReport, Spread};

/// What lies beside an entry: what would have been said, in words.
pub(crate) const OBSERVED: &str = "observed";
/// What lies beside an entry in the place of before-images: why they are not all there.
pub(crate) const LOST: &str = "lost";
/// An agent waits no longer than this for its effect to be measured before it runs.
const MEASURED_WITHIN: Duration = Duration::from_secs(10);
/// As many rows, and bytes, of one transaction are kept at least.
const KEPT_ROWS: u64 = 50_000;
const KEPT_BYTES: u64 = 16 * 1024 * 1024;
/// As much of a text is an example, in bytes.
const EXAMPLE: usize = 300;

/// A target in which nothing is held for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedLine {
    /// Which.
    pub target: TargetName,
    /// From when on.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl std::fmt::Display for ObservedLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: OBSERVED, NOTHING IS HELD until {:.0}", self.target, self.until)
    }
}

/// What would have been said to a unit, were its target not observed. Nothing, where it would flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Would {
    held: bool,
    policies: BTreeSet<String>,
    missing: Vec<String>,
    beyond: Vec<Beyond>,
    /// What it would do, measured before it ran.
    does: Vec<String>,
    /// Why that could not be measured.
    unmeasured: Vec<String>,
    /// Too much was refused lately: nothing that writes would flow.
    circuit: bool,
}

/// What stands in the entry of a unit that would not have flowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observed {
    /// `held`, or `refused` where only the circuit was open.
    pub(crate) would: String,
    /// The policies that would hold it.
    pub(crate) policies: BTreeSet<String>,
    /// The evidence that was not there.
    pub(crate) missing: Vec<String>,
    /// Against which limits.
    pub(crate) beyond: Vec<Beyond>,
    /// Whether all of it can be taken back.
    pub(crate) kept: bool,
    /// Rows added and changed, and bytes of before-images.
    pub(crate) inserted: u64,
    pub(crate) changed: u64,
    pub(crate) kept_bytes: u64,
}

/// What lies beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// In words.
    pub(crate) words: Vec<String>,
    /// The beginning of its text. Hostile.
    pub(crate) text: String,
}

impl Would {
    /// It would be held, for want of this.
    pub(crate) fn held(&mut self, missing: &[Vec<Missing>], reasons: &[Reason]) {
        self.held = true;
        self.policies.extend(reasons.iter().map(|reason| reason.policy.clone()));
        for missing in missing.first().into_iter().flatten().map(ToString::to_string) {
            if !self.missing.contains(&missing) {
                self.missing.push(missing);
            }
        }
    }

    /// It did more than may flow.
    pub(crate) fn beyond(&mut self, beyond: Vec<Beyond>) {
        self.held = true;
        self.beyond.extend(beyond);
    }

    fn join(&mut self, other: Would) {
        self.held |= other.held;
        self.circuit |= other.circuit;
        self.policies.extend(other.policies);
        self.beyond.extend(other.beyond);
        self.does.extend(other.does);
        self.unmeasured.extend(other.unmeasured);
        self.missing.extend(other.missing);
        self.missing.dedup();
    }

    /// Why not all of it can be taken back, if so.
    pub(crate) fn lost(&self) -> Option<String> {
        let lost = |beyond: &&Beyond| matches!(beyond, Beyond::NotKept { .. } | Beyond::Odd { .. });
        let words: Vec<_> = self.beyond.iter().filter(lost).map(ToString::to_string).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.held {
            let missing = match self.missing.is_empty() {
                true => String::new(),
                false => format!(", waiting for {}", self.missing.join(", ")),
            };
            words.push(format!("observed: would have been held{missing}"));
        }
        if self.circuit {
            words.push("observed: would have been refused, since its circuit is open".to_owned());
        }
        words.extend(self.does.iter().map(|does| format!("it would {does}")));
        words.extend(self.beyond.iter().map(ToString::to_string));
        words
            .extend(self.unmeasured.iter().map(|why| format!("not measured before it ran: {why}")));
        words
    }

    /// Puts into an entry what stands there of it, and gives what lies beside.
    pub(crate) fn stand_in(
        &self,
        what: &mut Value,
        written: &Written,
        text: &str,
    ) -> Option<String> {
        if !self.held && !self.circuit {
            return None;
        }
        // The words of a server can hold rows: they lie beside.
        let plain = |beyond: &Beyond| match beyond {
            Beyond::Odd { .. } => Beyond::Odd { what: "see beside".to_owned() },
            other => other.clone(),
        };
        let observed = Observed {
            would: if self.held { "held" } else { "refused" }.to_owned(),
            policies: self.policies.clone(),
            missing: self.missing.clone(),
            beyond: self.beyond.iter().map(plain).collect(),
            kept: self.lost().is_none(),
            inserted: written.inserted(),
            changed: written.changed(),
            kept_bytes: written.kept_bytes,
        };
        if let Some(members) = what.as_object_mut() {
            members.insert(OBSERVED.into(), json!(observed));
        }
        let end = (0..=EXAMPLE.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        let text = text[..end.unwrap_or(0)].to_owned();
        Some(json!(Beside { words: self.words(), text }).to_string())
    }
}

/// The right to run up to the commit where nothing is stopped for what it is.
pub(crate) struct Unstopped {
    limits: Limits,
    circuit: bool,
}

impl Unstopped {
    pub(crate) fn granting<T>(
        self,
        proposal: &Proposal,
        act: T,
        would: Would,
    ) -> (Admission<T>, Receipt) {
        let would = Would { circuit: self.circuit, ..would };
        let (what, text) = (described(proposal), recorded(&proposal.payload.text));
        let receipt = Receipt::unweighed(what, text, would);
        let (permit, limits) = (Permit::grant(act), self.limits);
        (Admission::UpToCommit { permit, limits, observed: true }, receipt)
    }
}

impl Engine {
    /// The observation of a target, while it lasts.
    pub(crate) fn observation(&self, target: &TargetName) -> Option<Observation> {
        self.observations().of(target.as_str(), self.0.clock.now())
    }

    pub(crate) fn observations(&self) -> RwLockReadGuard<'_, Observations> {
        self.0.observations.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an observed target say what it is, so that its days are counted by that too. One that
    /// does not say it is let in to nobody: its days could be over.
    pub(crate) async fn identify_observed(&self, target: &TargetName) -> Result<(), Refusal> {
        let Some(since) = self.observations().run_of(target.as_str()) else { return Ok(()) };
        let Some(said) = self.says_it_is(target).await else {
            let why = "the target does not say now which database it is; try again later";
            return Err(Refusal::CannotJudge { why: why.to_owned() });
        };
        let is_new = {
            let mut all = self.0.observations.write().unwrap_or_else(PoisonError::into_inner);
            all.identify(target.as_str(), since, &said)
        };
        if is_new {
            let target = target.clone();
            let kept = self.0.store.write(move |tx| tx.put_observed_as(&target, since, &said));
            kept.await.map_err(|error| unavailable(&error))?;
        }
        Ok(())
    }

    /// Why a session goes on no longer whose target was observed when it was let in, if so. It may
    /// have become what it would not be now.
    pub(crate) fn lapsed(&self, caller: &Caller) -> Option<String> {
        let ended = caller.observed.is_some_and(|on| !on.lasts(self.0.clock.now()));
        ended.then(|| "the rules that this session began under have ended: connect again".into())
    }

    /// Ends when the observation does that this session was let in under; never, where there was
    /// none.
    pub async fn lapses(&self, caller: &Caller) {
        const LOOK_AGAIN: Duration = Duration::from_secs(60);
        let Some(observed) = caller.observed else { return std::future::pending().await };
        while observed.lasts(self.0.clock.now()) {
            let left = observed.until().duration_since(self.0.clock.now());
            let left = Duration::try_from(left).unwrap_or_default()
                / self.0.clock.speed().unsigned_abs().max(1);
            tokio::time::sleep(left.clamp(Duration::from_millis(1), LOOK_AGAIN)).await;
        }
    }

    /// Where nothing is held now, and until when.
    pub fn observed(&self) -> Vec<ObservedLine> {
        let line = |target: &TargetName| {
            let on = self.observation(target)?;
            let (since, until) = (on.since, on.until());
            Some(ObservedLine { target: target.clone(), since, until })
        };
        self.0.installation.targets.keys().filter_map(line).collect()
    }

    /// How a unit runs up to its commit in a target that is observed; none where it is not.
    pub(crate) fn up_to_commit(&self, proposal: &Proposal) -> Option<Unstopped> {
        self.observation(&proposal.target)?;
        let limits = self.limits(&proposal.caller.agent, &proposal.target);
        let limits = Limits {
            rows: limits.rows.max(KEPT_ROWS),
            kept_bytes: limits.kept_bytes.max(KEPT_BYTES),
            ..limits
        };
        Some(Unstopped { limits, circuit: self.circuit(proposal).is_some() })
    }

    /// Lets flow what would be held. What it would do is measured first, as for a change: what is
    /// forbidden by its effect stays so.
    pub(crate) async fn let_through<T: Send>(
        &self,
        proposal: &Proposal,
        act: T,
        mut would: Would,
    ) -> Result<(Admission<T>, Receipt), Refusal> {
        if let Some(admission) = self.asked_before(proposal).await? {
            return Ok((admission, Receipt::none()));
        }
        self.foresee(proposal, &mut would).await?;
        let Some(unstopped) = self.up_to_commit(proposal) else {
            return self.hold(proposal, &[]).await.map(|admission| (admission, Receipt::none()));
        };
        if proposal.transactional {
            return Ok(unstopped.granting(proposal, act, would));
        }
        // There is no commit to wait for: its intent is durable now, and nobody is asked again.
        if let Some(why) = self.stops(&proposal.caller, &proposal.target) {
            return Err(Refusal::Frozen { why });
        }
        if let Some(why) = self.0.disks.stops() {
            return Err(Refusal::LowDisk { why });
        }
        would.circuit = unstopped.circuit;
        let odd = Beyond::Odd { what: "it cannot run in a transaction".to_owned() };
        would.beyond(vec![odd]);
        let (mut what, payload) = (described(proposal), proposal.payload.clone());
        if let Some(members) = what.as_object_mut() {
            members.insert("written".into(), json!({}));
        }
        let intent = self.0.store.write(move |tx| {
            let beside = would.stand_in(&mut what, &Written::default(), &payload.text);
            let beside = beside.unwrap_or_default();
            let texts = [("payload", payload.body.as_bytes()), (OBSERVED, beside.as_bytes())];
            tx.append(Kind::FlowIntent, &what, &texts)
        });
        let index = intent.await.map_err(|error| unavailable(&error))?;
        Ok((Admission::Allowed(Permit::grant(act)), Receipt::intended(index)))
    }

    /// Measures what would be held, as far as that can be; refuses what is forbidden by that. Where
    /// something is critical, what cannot be measured does not flow: it may be that.
    async fn foresee(&self, proposal: &Proposal, would: &mut Would) -> Result<(), Refusal> {
        let opaque = proposal.actions.iter().any(|action| action.effect() == Effect::Opaque);
        if opaque && self.guards_what_is_critical(&proposal.target) {
            // It can be measured as far as it is understood, and no further.
            return Err(self.unforeseen(proposal, "it is not understood".to_owned()).await);
        }
        let measured = tokio::time::timeout(MEASURED_WITHIN, self.preview(proposal)).await;
        let why = match measured {
            Ok(Ok(preview)) => {
                match self.decide_measured(proposal, &preview, &[]) {
                    Decision::Forbid { reasons } => {
                        return Err(self.forbid_measured(proposal, reasons, preview, &[]).await);
                    }
                    Decision::Hold { missing, reasons } => would.held(&missing, &reasons),
                    Decision::Allow { .. } => {}
                }
                would.does.push(preview.radius.summary());
                return Ok(());
            }
            Ok(Err(Refusal::CannotJudge { why })) => why,
            Ok(Err(refusal)) => return Err(refusal),
            Err(_) => format!("it took longer than {} s", MEASURED_WITHIN.as_secs()),
        };
        if self.guards_what_is_critical(&proposal.target) {
            return Err(self.unforeseen(proposal, why).await);
        }
        would.unmeasured.push(why);
        Ok(())
    }

    /// Refuses what may reach something critical, since nobody knows what it would do.
    async fn unforeseen(&self, proposal: &Proposal, why: String) -> Refusal {
        let why =
            format!("{why}; something here is critical, so what cannot be measured is not run");
        self.refused(proposal, Refusal::CannotJudge { why }).await
    }

    fn guards_what_is_critical(&self, target: &TargetName) -> bool {
        let critical = |tags: &BTreeSet<String>| tags.contains("critical");
        self.0.installation.targets.get(target).is_none_or(|placement| {
            critical(&placement.tags) || placement.object_tags.values().any(critical)
        })
    }

    /// What would have been said to the parts of a unit; none where its target is not observed.
    pub(crate) fn would_so_far(&self, whole: &Proposal, parts: &[Receipt]) -> Option<Would> {
        self.observation(&whole.target)?;
        let mut would = Would::default();
        parts.iter().for_each(|part| would.join(part.would()));
        Some(would)
    }
}
