//! What happened, told from the ledger alone: its entries, and the texts whose digests stand in
//! them. Nothing else of the store is believed; where a text was erased, that is said.

mod gather;
mod markdown;
mod tell;

use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::request::ChangeNumber;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happened. Texts in it are as their authors wrote them: hostile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The installation.
    pub installation: String,
    /// Of what is told: `agent bot`, `change 7`, `everything`.
    pub subject: String,
    /// From when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// The ledger's time at which it was told.
    pub told: Timestamp,
    /// Who took part, agents and humans, with what each did.
    pub involved: BTreeMap<String, Vec<String>>,
    /// The changes that were asked for, or moved.
    pub changes: Vec<Affected>,
    /// What flowed without being held.
    pub flowed: Flowed,
    /// What happened, in order. Each is an entry.
    pub timeline: Vec<Moment>,
    /// Moments beyond those.
    pub left_out: u64,
    /// What was done to take back, in words.
    pub taken_back: Vec<String>,
    /// What the ledger does not answer, in words.
    pub questions: Vec<String>,
    /// The newest signed checkpoint; none before the first.
    pub checkpoint: Option<String>,
}

/// A change, as its entries say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// Which.
    pub number: ChangeNumber,
    /// Where it stands now: after the time that is told of, too.
    pub state: String,
    /// Who asked.
    pub agent: AgentName,
    /// On whose behalf.
    pub sponsor: HumanName,
    /// Who adopted it.
    pub adopted: Option<HumanName>,
    /// Of what.
    pub target: TargetName,
    /// In which environment.
    pub environment: String,
    /// What it would do, or did.
    pub summary: String,
    /// Whether it can be taken back.
    pub way_back: String,
    /// Rows lost or changed, by table; none where it did not run.
    pub rows: BTreeMap<String, u64>,
    /// What ran. None where it was erased. Hostile text.
    pub payload: Option<String>,
    /// The entry in which it was asked for.
    pub entry: u64,
}

/// What flowed, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flowed {
    /// Reads and session statements that flowed.
    pub read: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Writes that flowed, those of unknown end among them.
    pub written: u64,
    /// Writes that were rolled back, or failed.
    pub undone: u64,
    /// Rows added, changed and removed by writes that flowed, by target and table.
    pub rows: BTreeMap<String, [u64; 3]>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// The entry that says so.
    pub entry: u64,
    /// Its kind.
    pub kind: String,
    /// Its RFC 6962 leaf hash, in base64.
    pub hash: String,
    /// The change that it belongs to.
    pub change: Option<ChangeNumber>,
    /// In words. Hostile text may be in it.
    pub words: String,
}
