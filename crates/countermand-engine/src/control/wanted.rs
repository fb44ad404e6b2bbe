//! What people want: acts to be signed, and what they are done to.

use countermand_core::configuration::Configuration;
use countermand_core::name::{AgentName, TargetName};
use countermand_core::policy::Grant;
use countermand_core::request::ChangeNumber;
use countermand_core::statement::LedgerKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a frozen thing is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One agent.
    Agent(AgentName),
    /// One target.
    Target(TargetName),
    /// The whole installation.
    Everything,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::Agent(name) => write!(f, "agent {name}"),
            Scope::Target(name) => write!(f, "target {name}"),
            Scope::Everything => f.write_str("everything"),
        }
    }
}

/// Whose texts are to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Erasing {
    /// All of a change's.
    Change(ChangeNumber),
    /// Those of one entry.
    Entry(u64),
}

/// Writes of an agent that flowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// Whose.
    pub agent: AgentName,
    /// Where; may be left out where the agent wrote to one target only.
    pub target: Option<TargetName>,
    /// From then on.
    pub since: Timestamp,
    /// Up to then; up to now where it is left out.
    pub until: Option<Timestamp>,
}

/// What a statement is wanted for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum PrepareAct {
    /// Approve a change as it stands.
    Approve {
        /// Which.
        change: ChangeNumber,
        /// For which group, where the signer is in several.
        seat: Option<countermand_core::name::GroupName>,
    },
    /// Approve later changes that are like this one.
    ApproveStanding {
        /// The example.
        change: ChangeNumber,
        /// For how much.
        terms: StandingTerms,
    },
    /// Make what was forbidden to an agent the signer's own change.
    Adopt {
        /// Which.
        change: ChangeNumber,
    },
    /// Reject a change.
    Reject {
        /// Which.
        change: ChangeNumber,
        /// Why; the agent is told.
        reason: String,
    },
    /// Take a change back.
    Restore {
        /// Which.
        change: ChangeNumber,
        /// Also over what changed since.
        overwrite: bool,
    },
    /// Say what came of a change whose end nobody knows.
    Resolve {
        /// Which.
        change: ChangeNumber,
        /// Whether it was committed.
        committed: bool,
        /// What shows it.
        reason: String,
    },
    /// Take back what an agent wrote.
    TakeBack {
        /// Which writes.
        writes: Writes,
        /// Also where rows changed since.
        overwrite: bool,
    },
    /// Let an agent in, under the signer.
    AddAgent {
        /// Its name.
        agent: AgentName,
        /// What it may do; a subset of what its sponsor may.
        grant: Grant,
        /// Seconds until its credential ends.
        lifetime: u64,
    },
    /// Let what was frozen run again.
    Thaw {
        /// What.
        what: Scope,
    },
    /// Erase texts that lie beside the ledger.
    EraseTexts {
        /// Which.
        what: Erasing,
        /// Why.
        reason: String,
    },
    /// Have a fresh key of the ledger take the place of the one in use.
    RotateKey {
        /// Which.
        key: LedgerKey,
    },
    /// Have a configuration replace the one in force.
    ProposeConfiguration {
        /// The whole of it.
        configuration: Box<Configuration>,
    },
    /// Let the configuration that waits be in force.
    ApproveConfiguration {
        /// Its number.
        number: u64,
    },
}

/// For how much a standing approval is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingTerms {
    /// The most changes; none where only the date ends it.
    pub runs: Option<u32>,
    /// Seconds that lie between two of them, at least.
    pub apart: u64,
    /// It ends then.
    pub until: Timestamp,
    /// The most rows of each run, by table, where other than the example's ceiling.
    pub rows: BTreeMap<String, u64>,
    /// For which group, where the signer is in several.
    pub seat: Option<countermand_core::name::GroupName>,
}
