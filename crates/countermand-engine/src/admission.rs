//! What a door asks and what it is told.

use countermand_core::action::Action;
use countermand_core::change::Outcome;
use countermand_core::configuration::Observation;
use countermand_core::limits::Limits;
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::{Missing, Reason};
use countermand_core::request::{ChangeNumber, Payload};
use jiff::Timestamp;

/// An agent whose credential was checked on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub agent: AgentName,
    /// On whose behalf.
    pub sponsor: HumanName,
    /// What the connection is called in the ledger; unique in this installation.
    pub session: String,
    /// What the client says of itself (`application_name`). Hostile text.
    pub said: String,
    /// The observation of its target that it was let in under. With that it ends.
    pub observed: Option<Observation>,
}

/// One unit put to the engine.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Who asks.
    pub caller: Caller,
    /// Of what.
    pub target: TargetName,
    /// What it would do.
    pub actions: Vec<Action>,
    /// Exactly what would run.
    pub payload: Payload,
    /// Whether the door can run it up to its commit, measure what it did, and keep the rows as
    /// they were. Then it may flow, if it is small: see [`crate::Engine::weigh`].
    pub measurable: bool,
    /// Whether it can run in a transaction, and so up to a commit at all.
    pub transactional: bool,
    /// Whether a hold may become a change that can be approved. Not inside an open
    /// transaction: there a hold only refuses, and the remedy is to propose the whole.
    pub approvable: bool,
}

/// What the engine says to a proposal.
pub enum Admission<T> {
    /// It flows. For writes the intent is durable.
    Allowed(crate::permit::Permit<T>),
    /// It may run up to, never over, its commit; then what it did is weighed.
    UpToCommit {
        /// The right to run it.
        permit: crate::permit::Permit<T>,
        /// How much of it may flow, so that what is far larger is not run to its end. Where it
        /// is observed: how much of it is kept.
        limits: Limits,
        /// Its target is observed: nothing of it is stopped for what it is, and what cannot be
        /// measured or kept is said when it is weighed.
        observed: bool,
    },
    /// It was already done: the recorded outcome, given once.
    Done {
        /// The change it was.
        change: ChangeNumber,
        /// When it was executed.
        at: Timestamp,
        /// In a solo installation: its own human confirmed it, and nobody else has looked.
        confirmed: bool,
        /// What came of it.
        outcome: Outcome,
    },
    /// It does not flow; production has seen nothing of it.
    Refused(Refusal),
}

/// A forbidden request that is kept for a human to adopt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub change: ChangeNumber,
    /// What it would do, as in [`Refusal::Held`].
    pub summary: String,
    /// Whose change it is by now.
    pub adopted: Option<HumanName>,
}

/// Why a proposal does not flow. Each protocol says this in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It waits for evidence as this change.
    Held {
        /// Its number.
        change: ChangeNumber,
        /// `destroy schema billing: 3 tables, 1204331 rows, 412 MB`.
        summary: String,
        /// Where it would flow if it did less: what was measured, against which limit.
        beyond: Vec<String>,
        /// What is missing, the smallest set first named.
        missing: Vec<Missing>,
        /// What the engine is doing about it now: `rehearsal in staging (running)`.
        underway: Vec<String>,
        /// Nobody need be asked: standing approvals carry it. See [`crate::Engine::outcome`].
        carried: bool,
    },
    /// It would be held, but not here: inside an open transaction only the whole can be.
    HeldUnit {
        /// What it would do.
        summary: String,
        /// Where it would flow if it did less: what was measured, against which limit.
        beyond: Vec<String>,
    },
    /// No evidence would permit it to this agent.
    Forbidden {
        /// The policies' reasons.
        reasons: Vec<Reason>,
        /// Where a human may do it: as what it is kept for them.
        kept: Option<Kept>,
    },
    /// A human said no to exactly this less than a day ago.
    Rejected {
        /// The change.
        change: ChangeNumber,
        /// Who.
        by: HumanName,
        /// Why.
        reason: String,
    },
    /// It ended without effect; told once, as an error.
    Failed {
        /// The change.
        change: ChangeNumber,
        /// In words.
        why: String,
    },
    /// Whether it was done cannot be known; a human must look.
    InDoubt {
        /// The change.
        change: ChangeNumber,
        /// In words.
        why: String,
    },
    /// It could not be judged: not understood, not measurable, target down.
    CannotJudge {
        /// In words, with the remedy.
        why: String,
    },
    /// Too much was refused lately: nothing that writes flows for a while.
    CircuitOpen {
        /// How often, how it closes, and when.
        why: String,
    },
    /// A disk of the gateway's is nearly full: nothing that writes flows.
    LowDisk {
        /// Which, and how full.
        why: String,
    },
    /// Frozen: nothing flows.
    Frozen {
        /// What was frozen, by whom, why.
        why: String,
    },
    /// The gateway itself cannot keep evidence now (ledger or store); nothing flows.
    Unavailable {
        /// Without internals.
        why: String,
    },
}
