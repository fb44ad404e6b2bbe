//! What people ask for without wanting anything done, and what it takes to tell it.

use countermand_core::name::AgentName;
use countermand_core::request::ChangeNumber;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which changes: all that is given must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesWanted {
    /// In this state: `held`, `executed`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Asked for by this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Of this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// With these words in what would run or in its summary, or with this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ChangeNumber>,
    /// At most so many. All where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// An entry, and what proves it to someone who has nothing of the ledger but its public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryProof {
    /// Its index.
    pub index: u64,
    /// Entries that the checkpoint covers.
    pub size: u64,
    /// The entry's RFC 6962 leaf hash, in base64.
    pub hash: String,
    /// The audit path, from the leaf's sibling to the root's child.
    pub path: Vec<String>,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// All of it as one JSON object, which `countermand ledger check` verifies offline.
    pub document: String,
}

/// Of what an incident is told. Without a change, of a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentWanted {
    /// Only what this agent did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Only this change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeNumber>,
    /// From then on; a day before `until` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Up to then; now where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
