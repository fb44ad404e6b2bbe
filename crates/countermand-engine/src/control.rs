//! What people ask of the engine over its socket, and what it answers. Also the agent's own
//! view of its changes.

use countermand_core::change::{Outcome, RestorePoint};
use countermand_core::configuration::Configuration;
use countermand_core::digest::Digest;
use countermand_core::name::{AgentName, EnvironmentName, HumanName, TargetName};
use countermand_core::policy::{Grant, World};
use countermand_core::preview::{Counts, Preview};
use countermand_core::request::ChangeNumber;
use countermand_core::standing::{StandingNumber, StandingSubject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::explain::{Explained, Explanation};
use crate::incident::Incident;
use crate::observe::{ObserveReport, ObservedLine};
use crate::target::{RestorePlan, Sample};

mod asked;
mod wanted;

pub use asked::{ChangesWanted, EntryProof, IncidentWanted};
pub use wanted::{Erasing, PrepareAct, Scope, StandingTerms, Writes};

/// One request over the socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Is it alive, what is frozen, how far is the ledger.
    Status,
    /// Changes, newest first.
    Changes {
        /// Only those that can still run.
        open: bool,
        /// And like this.
        #[serde(flatten)]
        wanted: ChangesWanted,
    },
    /// One change, whole.
    Show {
        /// Which.
        change: ChangeNumber,
    },
    /// Some of the rows that a change which waits would delete or change, read from its target now.
    Sample {
        /// Which.
        change: ChangeNumber,
    },
    /// Answers when the change has left the state it is in, or after 30 s.
    Wait {
        /// Which.
        change: ChangeNumber,
        /// The version the caller has seen; answers at once when there is a newer one.
        seen: u64,
    },
    /// Makes a statement for a human to sign.
    Prepare {
        /// Who will sign.
        signer: HumanName,
        /// What for.
        act: PrepareAct,
    },
    /// A signed statement: does what it says.
    Submit {
        /// The exact bytes that [`Reply::Prepared`] gave.
        statement: String,
        /// SSHSIG in PEM armour.
        signature: String,
    },
    /// Keeps what a human asks for until they sign it, with [`PrepareAct::Adopt`]. Nothing comes
    /// of it before, so it needs no signature itself.
    Propose {
        /// Who asks.
        human: HumanName,
        /// Of what.
        target: TargetName,
        /// What: one unit, in the target's own language.
        text: String,
    },
    /// Takes a held change back. Only stops, so needs no signature.
    Withdraw {
        /// Which.
        change: ChangeNumber,
    },
    /// Stops a cooling: approvals are void. Needs no signature.
    StopCooling {
        /// Which.
        change: ChangeNumber,
        /// Why.
        reason: String,
    },
    /// Nothing flows until it is thawed. Needs no signature.
    Freeze {
        /// What.
        what: Scope,
        /// Why.
        reason: String,
    },
    /// The configurations in force and waiting.
    Configurations,
    /// Ends the wait of a configuration. Only stops, so needs no signature.
    StopConfiguration {
        /// Which.
        number: u64,
        /// Why.
        reason: String,
    },
    /// The agents.
    Agents,
    /// What agents may do and what they did.
    AgentReport {
        /// Whose; of all whose credential is good where it is left out.
        agent: Option<AgentName>,
        /// From then on.
        since: Timestamp,
    },
    /// What was observed in a target.
    ObserveReport {
        /// Which.
        target: TargetName,
        /// From then on.
        since: Timestamp,
    },
    /// The standing approvals.
    Standings,
    /// Ends a standing approval now. Needs no signature.
    EndStanding {
        /// Which.
        standing: StandingNumber,
    },
    /// Ends an agent's credential now. Needs no signature.
    RevokeAgent {
        /// Whose.
        agent: AgentName,
    },
    /// What `restore` would do.
    PlanRestore {
        /// Which.
        change: ChangeNumber,
    },
    /// What taking back an agent's writes would do.
    PlanTakeBack {
        /// Which writes.
        writes: Writes,
    },
    /// Ledger entries from `from`, with their texts, at most `limit`.
    Ledger {
        /// First index.
        from: u64,
        /// At most this many.
        limit: u64,
    },
    /// One entry with the proof that a signed checkpoint covers it.
    Prove {
        /// Its index.
        index: u64,
    },
    /// What happened, from the ledger alone.
    Incident(IncidentWanted),
    /// Publishes a checkpoint now and answers with it.
    Checkpoint,
    /// Copies the store, as it is at one moment, into a new file of the state directory.
    Backup,
    /// Recomputes every change from the ledger and compares.
    Consistency,
    /// Who there is and what they were granted, as policy knows it.
    World,
    /// What policy says, and why.
    Explain {
        /// Of what.
        what: Explained,
    },
    /// A link into the console, good once, for a session that only reads.
    ConsoleLink {
        /// Whose session it is.
        human: HumanName,
    },
}

/// What the engine answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// See [`Command::Status`].
    Status(Status),
    /// See [`Command::Changes`].
    Changes {
        /// Newest first.
        changes: Vec<ChangeLine>,
        /// Where there may be more: before this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        older: Option<ChangeNumber>,
    },
    /// See [`Command::Show`] and [`Command::Wait`].
    Change(Box<ChangeView>),
    /// See [`Command::Prepare`].
    Prepared {
        /// The bytes to sign, in namespace `countermand-statement-v1`.
        statement: String,
        /// Typed back by the signer before signing: the change's number, and the largest count that was
        /// measured.
        type_back: Option<(ChangeNumber, u64)>,
        /// The change, where the statement is about one.
        change: Option<Box<ChangeView>>,
    },
    /// It was done and recorded.
    Done {
        /// In words.
        words: String,
        /// An agent's credential: shown once, kept nowhere.
        credential: Option<String>,
    },
    /// See [`Command::Agents`].
    Agents {
        /// By name.
        agents: Vec<AgentLine>,
    },
    /// See [`Command::AgentReport`].
    AgentReports {
        /// By name.
        agents: Vec<AgentReport>,
    },
    /// See [`Command::ObserveReport`].
    ObserveReport(Box<ObserveReport>),
    /// See [`Command::Configurations`].
    Configurations {
        /// What the gateway runs under.
        in_force: Option<Box<ConfigurationView>>,
        /// What may replace it.
        waiting: Option<Box<ConfigurationView>>,
    },
    /// See [`Command::Standings`].
    Standings {
        /// Newest first.
        standings: Vec<StandingLine>,
    },
    /// See [`Command::Sample`].
    Sample {
        /// By table, those that lose most first.
        samples: Vec<Sample>,
    },
    /// See [`Command::PlanRestore`].
    RestorePlan(RestorePlan),
    /// See [`Command::Ledger`].
    Ledger {
        /// In order.
        entries: Vec<LedgerEntry>,
        /// How many there are in all.
        size: u64,
    },
    /// See [`Command::Prove`].
    Proved(EntryProof),
    /// See [`Command::Incident`].
    Incident(Box<Incident>),
    /// See [`Command::Checkpoint`].
    Checkpoint {
        /// The signed note.
        note: String,
    },
    /// See [`Command::Backup`].
    Backup {
        /// The copy. Whoever asked moves it away.
        store: std::path::PathBuf,
        /// A checkpoint over exactly its entries.
        checkpoint: String,
    },
    /// See [`Command::Consistency`].
    Consistency(Consistency),
    /// See [`Command::World`].
    World(World),
    /// See [`Command::Explain`].
    Explained(Box<Explanation>),
    /// See [`Command::ConsoleLink`].
    ConsoleLink {
        /// The address with its secret, which is kept nowhere.
        link: String,
        /// Until when it can be used.
        until: Timestamp,
    },
    /// It was not done.
    Refused {
        /// In words, with the remedy.
        why: String,
    },
}

/// How the engine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The installation.
    pub installation: String,
    /// Its version.
    pub version: String,
    /// The ledger's time.
    pub now: Timestamp,
    /// Entries in the ledger.
    pub ledger_size: u64,
    /// Open changes.
    pub open: u64,
    /// What is frozen, in words.
    pub frozen: Vec<String>,
    /// That a disk is low, in words, and what follows from it.
    #[serde(default)]
    pub disk: Option<String>,
    /// The configuration that waits to be in force, in words.
    pub configuration: Option<String>,
    /// Watches that failed or were not seen to their end, in words, for a week.
    #[serde(default)]
    pub watches: Vec<String>,
    /// Targets whose own backups are too old, or nobody knows of what time, in words.
    #[serde(default)]
    pub backups: Vec<String>,
    /// Where nothing is held now.
    #[serde(default)]
    pub observed: Vec<ObservedLine>,
    /// Plain keys count: this is a demo.
    pub demo: bool,
}

/// A change in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeLine {
    /// Its number.
    pub number: ChangeNumber,
    /// `forbidden`, `held`, `executed`, ….
    pub state: String,
    /// Who asked.
    pub agent: AgentName,
    /// On whose behalf.
    pub sponsor: HumanName,
    /// Whose change it is, where a human adopted it.
    #[serde(default)]
    pub adopted: Option<HumanName>,
    /// Of what.
    pub target: TargetName,
    /// `destroy schema billing: …`.
    pub summary: String,
    /// When it was held.
    pub opened: Timestamp,
    /// What it waits for, in words.
    pub missing: Vec<String>,
    /// In a solo installation: its own human confirmed it, and nobody else has looked.
    #[serde(default)]
    pub not_peer_reviewed: bool,
    /// Nothing is held in its target until then. Agents are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Timestamp>,
    /// How its target was watched since, in words, with what takes it back where that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<String>,
}

/// A change, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeView {
    /// As in the list.
    #[serde(flatten)]
    pub line: ChangeLine,
    /// Counts up with every event.
    pub version: u64,
    /// Where the target stands.
    pub environment: EnvironmentName,
    /// The exact payload for people. Hostile text.
    pub payload: String,
    /// The payload in the form whose digest is signed.
    pub body: String,
    /// Its kind, which is digested with it.
    pub kind: String,
    /// What the client says of itself. Hostile text.
    pub said: String,
    /// The connection that it was asked over, as the door numbers them.
    #[serde(default)]
    pub session: String,
    /// What is signed, and what was measured.
    pub preview: Preview,
    /// Why it is held: policy and reason.
    pub reasons: Vec<String>,
    /// Humans who approved, with their seats, in words.
    pub approvals: Vec<String>,
    /// The trial restore point, or why there is none yet.
    pub trial: Option<RestorePoint>,
    /// The rehearsal in words, or why there is none yet.
    pub rehearsal: String,
    /// Rows the rehearsal lost or changed in the partner.
    pub rehearsed: Option<Counts>,
    /// When cooling ends by what is known now, in the ledger's time.
    pub cools_until: Option<Timestamp>,
    /// Whether it lacks nothing but that, and nothing keeps it waiting.
    pub starts_by_itself: bool,
    /// Policy forbids it now, whatever else is shown for it.
    pub forbidden_now: bool,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// What it can be taken back from.
    pub restore_point: Option<RestorePoint>,
    /// Why it ended as it did, in words.
    pub ended: Option<String>,
    /// Times it was executed: 0 or 1.
    pub executions: u32,
    /// SHA-256 of what an approval is over: number, requester, identity, ceiling and reversibility.
    /// People compare it between one place that shows a change and another.
    pub subject: Digest,
    /// The tags of the whole target, as they are now.
    pub target_tags: BTreeSet<String>,
    /// Every event so far: time and words.
    pub history: Vec<(Timestamp, String)>,
}

/// A configuration, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigurationView {
    /// Its number.
    pub number: u64,
    /// What it is named by.
    pub digest: Digest,
    /// Who wrote it; nobody, where it was in force before any agent was let in.
    pub editor: Option<HumanName>,
    /// Who else signed it, and when.
    pub approved: Option<(HumanName, Timestamp)>,
    /// When it came into force.
    pub applied: Option<Timestamp>,
    /// What it waits for, in words.
    pub waits: Option<String>,
    /// How it differs from the one in force, in words.
    pub differences: Vec<String>,
    /// What it says.
    pub configuration: Configuration,
}

/// An agent in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentLine {
    /// Its name.
    pub agent: AgentName,
    /// Who answers for it.
    pub sponsor: HumanName,
    /// `read, write, destroy on prod`.
    pub grant: String,
    /// When its credential ends.
    pub expires: Timestamp,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Where it is on probation, and until when; without a time where it was never seen.
    #[serde(default)]
    pub probation: BTreeMap<TargetName, Option<Timestamp>>,
    /// Where it may go and nothing is held, and until when.
    #[serde(default)]
    pub observed: BTreeMap<TargetName, Timestamp>,
}

/// What an agent may do, beside what it did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentReport {
    /// Whose.
    pub agent: AgentName,
    /// Who answers for it.
    pub sponsor: HumanName,
    /// What it did was counted from then on.
    pub since: Timestamp,
    /// What it may do.
    pub granted: Grant,
    /// How often it used which verb, by target: what flowed, and changes of its own that were
    /// executed.
    pub used: BTreeMap<TargetName, BTreeMap<String, u64>>,
    /// What of the grant it did not use.
    pub unused: Grant,
    /// What would have been enough, where that is less. Empty: it did nothing.
    pub tighter: Option<Grant>,
}

/// A standing approval in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StandingLine {
    /// Its number.
    pub number: StandingNumber,
    /// Who signed.
    pub human: HumanName,
    /// When.
    pub signed: Timestamp,
    /// How many changes it has carried.
    pub used: u64,
    /// `in force`, `expired`, `used up`, or why it ended.
    pub state: String,
    /// What was signed.
    pub subject: StandingSubject,
}

/// A ledger entry with its texts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The leaf, exactly.
    pub line: String,
    /// Its texts that were not erased.
    pub texts: std::collections::BTreeMap<String, String>,
}

/// What `doctor --consistency` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Consistency {
    /// Changes that were recomputed.
    pub changes: u64,
    /// Ledger entries that were read.
    pub entries: u64,
    /// Times any change was executed, by count: never a key above 1.
    pub executed: u64,
    /// Differences, in words. Empty is the only good answer.
    pub differences: Vec<String>,
}

/// What an agent may ask about its own changes, over its own door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentQuery {
    /// Its changes.
    Changes,
    /// One of them.
    Show(ChangeNumber),
    /// Take one back.
    Withdraw(ChangeNumber),
}
