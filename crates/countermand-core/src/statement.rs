//! What humans sign: RFC 8785 JSON of one act on one subject, good once and not for long.

use crate::digest::{Digest, canonical};
use crate::name::{AgentName, HumanName, InstallationName, TargetName};
use crate::preview::{Ceiling, Identity};
use crate::radius::Reversibility;
use crate::request::ChangeNumber;
use crate::standing::StandingSubject;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The SSHSIG namespace of every statement: a signature made for anything else does not count.
pub const NAMESPACE: &str = "countermand-statement-v1";

/// An act that lets something happen, with what it is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", content = "subject", rename_all = "snake_case")]
pub enum Act {
    /// Let this change run.
    Approve(ReviewSubject),
    /// Let later changes like this one run: see [`crate::standing`].
    ApproveStanding(StandingSubject),
    /// Make what was forbidden to an agent the signer's own change: another human signs it too.
    Adopt(ReviewSubject),
    /// Never let this change run.
    Reject {
        /// The change, as it was seen.
        #[serde(flatten)]
        subject: ReviewSubject,
        /// Why; the agent is told.
        reason: String,
    },
    /// Take a change back.
    Restore {
        /// The change to take back.
        change: ChangeNumber,
        /// Also where rows or objects changed since.
        overwrite: bool,
    },
    /// Say what came of a change whose end nobody knows.
    Resolve {
        /// The change.
        change: ChangeNumber,
        /// Whether it was committed.
        committed: bool,
        /// What shows it.
        reason: String,
    },
    /// Take back what an agent wrote in one target within this time.
    TakeBack {
        /// Whose writes.
        agent: AgentName,
        /// Where.
        target: TargetName,
        /// From then on.
        since: Timestamp,
        /// Up to then.
        until: Timestamp,
        /// Also where rows changed since.
        overwrite: bool,
    },
    /// Let an agent in.
    AddAgent {
        /// Its name.
        agent: AgentName,
        /// Who answers for it: the signer.
        sponsor: HumanName,
        /// Targets it may reach and effects it may ask for, as `targets` and `effects`.
        grant: serde_json::Value,
        /// When its credential ends.
        expires: Timestamp,
    },
    /// Let what was frozen run again.
    Thaw {
        /// `agent NAME`, `target NAME` or `everything`.
        what: String,
    },
    /// Erase texts that lie beside entries of the ledger; the entries and their digests stay.
    EraseTexts {
        /// Which.
        texts: Vec<TextsOf>,
        /// Why. It stays in the ledger for good.
        reason: String,
    },
    /// Have another key sign the ledger's checkpoints, or seal its texts, from then on.
    RotateKey {
        /// Which.
        key: LedgerKey,
        /// The one until then: a vkey, or the id of a text key.
        from: String,
        /// The one from then on.
        to: String,
    },
    /// Have a configuration replace the one in force. What loosens waits for another human.
    ProposeConfiguration(ConfigurationSubject),
    /// Let a configuration that another human wrote be in force.
    ApproveConfiguration {
        /// Its number.
        number: u64,
        /// Who wrote it.
        editor: HumanName,
        /// What it is.
        #[serde(flatten)]
        subject: ConfigurationSubject,
    },
}

impl Act {
    /// The act's name as the statement carries it.
    pub fn name(&self) -> &'static str {
        match self {
            Act::Approve(_) => "approve",
            Act::ApproveStanding(_) => "approve_standing",
            Act::Adopt(_) => "adopt",
            Act::Reject { .. } => "reject",
            Act::Restore { .. } => "restore",
            Act::Resolve { .. } => "resolve",
            Act::TakeBack { .. } => "take_back",
            Act::AddAgent { .. } => "add_agent",
            Act::Thaw { .. } => "thaw",
            Act::EraseTexts { .. } => "erase_texts",
            Act::RotateKey { .. } => "rotate_key",
            Act::ProposeConfiguration(_) => "propose_configuration",
            Act::ApproveConfiguration { .. } => "approve_configuration",
        }
    }
}

/// Texts of one entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextsOf {
    /// The entry.
    pub entry: u64,
    /// Their names.
    pub names: BTreeSet<String>,
}

/// A key of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerKey {
    /// The one that signs checkpoints.
    Checkpoints,
    /// The one that seals texts.
    Texts,
}

/// What is signed of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewSubject {
    /// The change.
    pub change: ChangeNumber,
    /// Who asked.
    pub requester: AgentName,
    /// On whose behalf.
    pub sponsor: HumanName,
    /// Whose change it is, where a human adopted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<HumanName>,
    /// The exact thing that runs and what it touches.
    pub identity: Identity,
    /// The most it may do.
    pub ceiling: Ceiling,
    /// Whether it can be taken back.
    pub reversibility: Reversibility,
    /// The seat the signer takes, where a group's approval is asked for. One human fills one
    /// seat.
    pub seat: Option<crate::name::GroupName>,
}

/// What is signed of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationSubject {
    /// The configuration.
    pub digest: Digest,
    /// The one in force that it is to replace, and no other.
    pub replaces: Digest,
    /// Whether it allows anything that was not allowed.
    pub loosens: bool,
    /// How the two differ, in words.
    pub differences: Vec<String>,
    /// Where nothing would be held for a while: since when, and how long that was so before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<String>,
}

/// A statement as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The installation it is meant for.
    pub installation: InstallationName,
    /// What it lets happen, to what.
    #[serde(flatten)]
    pub act: Act,
    /// Who signs.
    pub signer: HumanName,
    /// The engine's; accepted once.
    pub nonce: String,
    /// When the engine gave the nonce.
    pub issued: Timestamp,
    /// When the nonce ends.
    pub expires: Timestamp,
}

impl Statement {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical(self)
    }
}
