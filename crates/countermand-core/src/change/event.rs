//! What can happen to a change. Events are what the ledger keeps: append here, never reinterpret.

use crate::digest::Digest;
use crate::name::{GroupName, HumanName, ProbeName, TargetName};
use crate::policy::Reason;
use crate::preview::{Counts, Preview};
use crate::request::Request;
use crate::standing::{Standing, StandingNumber};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One table in a restore point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTable {
    /// Rows read back from the copy.
    pub rows: u64,
    /// SHA-256 over the copy's bytes as they were read back.
    pub content: Digest,
}

/// A backup that has been read back, kept outside the target's lifecycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePoint {
    /// Its folder under the installation's restore-point directory.
    pub folder: String,
    /// Digest of its manifest, which carries the digest of every file.
    pub manifest: Digest,
    /// What it holds, by qualified table name.
    pub tables: BTreeMap<String, SavedTable>,
    /// Bytes it takes.
    pub bytes: u64,
    /// Milliseconds it took to make and read back.
    pub millis: u64,
}

/// What the engine saw when it ran the unit in the partner and rolled it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Where.
    pub partner: TargetName,
    /// Rows lost or changed there.
    pub measured: Counts,
    /// Milliseconds it ran.
    pub millis: u64,
}

/// What proves, after a crash, whether a commit happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitToken {
    /// The target's fingerprint at the time.
    pub fingerprint: String,
    /// The target's own transaction identifier.
    pub transaction: String,
}

/// What came of a change, as a client that asks again is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The target's own words for each statement, in order: `DROP SCHEMA`.
    pub said: Vec<String>,
    /// Rows lost or changed.
    pub measured: Counts,
}

/// Why an execution was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abort {
    /// A lock was not granted within its budget; tried again.
    LockNotGranted,
    /// What is there is no longer what was signed; approvals are void.
    IdentityChanged,
    /// A count was above what was signed; approvals are void.
    CeilingExceeded,
    /// The restore point could not be read back.
    RestorePointUnproven,
    /// The target refused a statement; the change ends with that error.
    StatementFailed,
    /// Policy no longer permits it.
    PolicyForbade,
    /// The gateway stopped, or lost the target, before the commit was sent; tried again after
    /// a new cooling.
    Interrupted,
}

impl Abort {
    /// Whether approvals stay valid after it.
    pub fn keeps_approvals(self) -> bool {
        matches!(self, Abort::LockNotGranted | Abort::Interrupted)
    }

    /// Whether it ends the change.
    pub fn ends(self) -> bool {
        matches!(self, Abort::StatementFailed | Abort::PolicyForbade | Abort::RestorePointUnproven)
    }
}

/// A human's approval of exactly one identity and ceiling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub human: HumanName,
    /// The group's seat they took, if any.
    pub seat: Option<GroupName>,
    /// Digest of the subject that was signed: see [`super::Change::subject_digest`].
    pub subject: Digest,
    /// Fingerprint of the key that signed.
    pub key: String,
    /// Whether the signature shows that the human was verified by the key's own means.
    pub user_verified: bool,
    /// Whether this is the sponsor of a solo installation confirming their own agent.
    pub confirms: bool,
    /// Where it was given beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

impl Approval {
    /// Whether it is young enough to count at `now`, given at `given`.
    pub fn is_fresh(&self, given: Timestamp, now: Timestamp) -> bool {
        match &self.standing {
            Some(standing) => now < standing.until,
            None => now.duration_since(given) < super::APPROVAL_LIFETIME,
        }
    }
}

/// A human's word that what was forbidden to an agent is their own change from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// Who.
    pub human: HumanName,
    /// Digest of the subject that was signed: see [`super::Change::subject_digest`].
    pub subject: Digest,
    /// Fingerprint of the key that signed.
    pub key: String,
    /// Whether the signature shows that the human was verified by the key's own means.
    pub user_verified: bool,
}

/// What happened to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A request was judged and held.
    Held {
        /// What was asked.
        request: Box<Request>,
        /// What was measured.
        preview: Box<Preview>,
    },
    /// A restore point of what it would lose was taken and read back, as a trial.
    TrialTaken {
        /// The trial.
        restore_point: RestorePoint,
    },
    /// The trial could not be taken.
    TrialFailed {
        /// In words.
        why: String,
    },
    /// The unit ran in the partner and was rolled back.
    Rehearsed {
        /// What was seen.
        rehearsal: Rehearsal,
    },
    /// The rehearsal failed, or did something else than here.
    RehearsalFailed {
        /// In words.
        why: String,
    },
    /// A human approved.
    Approved {
        /// The approval.
        approval: Approval,
    },
    /// A human rejected; that ends the change.
    Rejected {
        /// Who.
        human: HumanName,
        /// Why; the agent is told.
        reason: String,
        /// Fingerprint of the key that signed.
        key: String,
    },
    /// Somebody stopped the cooling: approvals are void. Needs no signature.
    CoolingStopped {
        /// Who, as far as the socket knows; recorded, not trusted.
        by: String,
        /// Why.
        reason: String,
    },
    /// The cooling counts from now again.
    CoolingRestarted {
        /// In words: the gateway was down, an attempt was interrupted.
        why: String,
    },
    /// What is there is no longer what was signed: approvals are void, and this is what is
    /// there now.
    Voided {
        /// What changed, in words.
        why: Vec<String>,
        /// What is there now.
        preview: Box<Preview>,
    },
    /// All evidence that can exist before the act does: the engine is about to run it.
    Started {
        /// Counts up from 1.
        attempt: u32,
        /// The fresh preview it runs under.
        preview: Box<Preview>,
    },
    /// It ran, was measured within the ceiling, and its restore point was read back. Durable
    /// before the commit is sent.
    Committing {
        /// Which attempt.
        attempt: u32,
        /// What it did.
        measured: Counts,
        /// What it can be taken back from; none where nothing can be.
        restore_point: Option<RestorePoint>,
        /// What proves after a crash whether the commit happened.
        token: CommitToken,
    },
    /// The target committed.
    Executed {
        /// What came of it.
        outcome: Outcome,
        /// Whether this was found out after an interruption, from the commit token.
        recovered: bool,
    },
    /// The target rolled back.
    RolledBack {
        /// Which attempt.
        attempt: u32,
        /// Why.
        abort: Abort,
        /// In words; the target's own where it refused.
        why: String,
    },
    /// Whether it was committed cannot be known.
    InDoubt {
        /// In words.
        why: String,
        /// What is known of it is older than the doubt: other attempts may have followed, and nothing
        /// of this one counts.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        stale: bool,
    },
    /// A human has looked at what nobody knew the end of, and signed what they found.
    Resolved {
        /// Whether it was committed.
        committed: bool,
        /// Who.
        human: HumanName,
        /// What shows it, in their words.
        reason: String,
        /// Fingerprint of the key that signed.
        key: String,
        /// Whether this is the sponsor of a solo installation: nobody else has looked.
        confirms: bool,
    },
    /// The requester was given the outcome: the key is closed.
    Delivered {
        /// The connection that was told.
        session: String,
    },
    /// The requester or a human took the request back. Needs no signature.
    Withdrawn {
        /// Who.
        by: String,
    },
    /// It was not decided in time.
    Expired,
    /// It was taken back.
    Restored {
        /// Who asked.
        human: HumanName,
        /// Rows brought back, by table.
        rows: Counts,
        /// Whether the contents were compared and found equal to the restore point.
        equal: bool,
        /// What was overwritten that had changed since.
        overwritten: Vec<String>,
    },
    /// Taking it back failed and was rolled back.
    RestoreFailed {
        /// Who asked.
        human: HumanName,
        /// In words.
        why: String,
    },
    /// It is about to be taken back. Durable before the target is asked.
    RestoreBegun {
        /// Who asked.
        human: HumanName,
        /// Also over what changed since.
        overwrite: bool,
    },
    /// A standing approval has ended before its time: what it gave is void.
    StandingEnded {
        /// Which.
        standing: StandingNumber,
        /// By whom and why, in words.
        why: String,
    },
    /// Whether it was taken back cannot be known. It may be taken back again: the plan shows
    /// what is there already.
    RestoreInDoubt {
        /// Who asked.
        human: HumanName,
        /// In words.
        why: String,
    },
    /// A request was forbidden to its agent, and kept: a human may adopt it.
    Forbidden {
        /// What was asked.
        request: Box<Request>,
        /// What was measured.
        preview: Box<Preview>,
        /// The policies that forbid it to the agent.
        reasons: Vec<Reason>,
    },
    /// A human made it their own change.
    Adopted {
        /// The adoption.
        adoption: Adoption,
    },
    /// A probe of the target's watch fails already before the change: it does not start now.
    WatchNotReady {
        /// Which.
        probe: ProbeName,
        /// In words.
        why: String,
    },
    /// The target is watched from now on, after the change or after it was taken back.
    WatchBegun {
        /// Until when each probe is asked.
        until: BTreeMap<ProbeName, Timestamp>,
    },
    /// Every answer of every probe was as expected, to the end.
    WatchPassed,
    /// A probe's answer was not, or could not be had. The change stays executed.
    WatchFailed {
        /// Which.
        probe: ProbeName,
        /// In words.
        why: String,
    },
    /// Nobody asked to the end.
    WatchUnfinished {
        /// In words.
        why: String,
    },
}

/// An event with its time: the ledger's own, which never goes backwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}
