//! What policy answers, in words that go to agents, reviewers and the ledger.

use crate::name::GroupName;
use serde::{Deserialize, Serialize};

/// The answer for a whole unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Every action is permitted now.
    Allow {
        /// The `@id`s of the grants that permit.
        by: Vec<String>,
    },
    /// Not permitted yet; it would be with more evidence.
    Hold {
        /// Alternatives, the best first: each is all that is missing, and no part of it is
        /// enough. Never empty, and no alternative is.
        missing: Vec<Vec<Missing>>,
        /// The policies that stand in the way now.
        reasons: Vec<Reason>,
    },
    /// Not permitted, whatever is shown for it.
    Forbid {
        /// Why. Never empty.
        reasons: Vec<Reason>,
    },
}

impl Decision {
    /// Whether nothing is missing but the verified restore point, which only the execution can
    /// make: such a change may start, and may not commit.
    pub fn waits_only_for_verification(&self) -> bool {
        match self {
            Decision::Hold { missing, .. } => missing.iter().any(|set| *set == [Missing::Verified]),
            Decision::Allow { .. } | Decision::Forbid { .. } => false,
        }
    }

    /// Whether nothing is missing but a fresh backup of the target's own, beside what only the
    /// execution can make: that comes by itself, and nobody is asked again for it.
    pub fn waits_only_for_backup(&self) -> bool {
        let comes = |missing: &Missing| matches!(missing, Missing::FreshBackup | Missing::Verified);
        match self {
            Decision::Hold { missing, .. } => missing
                .iter()
                .any(|set| set.contains(&Missing::FreshBackup) && set.iter().all(comes)),
            Decision::Allow { .. } | Decision::Forbid { .. } => false,
        }
    }
}

/// One piece of evidence that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Approvals by different humans, of any group.
    Peers {
        /// Approvals that count so far.
        have: u32,
        /// Approvals that are enough.
        need: u32,
    },
    /// Approvals by members of a group.
    Group {
        /// The group.
        group: GroupName,
        /// Approvals of the group that count so far.
        have: u32,
        /// Approvals of the group that are enough.
        need: u32,
    },
    /// Time after the last approval that counted.
    Cooling {
        /// Seconds so far.
        have: u64,
        /// Seconds that are enough.
        need: u64,
    },
    /// A restore point, taken and read back before review.
    Trial,
    /// The restore point of the execution itself, read back before commit.
    Verified,
    /// A run in the staging partner, measured and rolled back.
    Rehearsal,
    /// The sponsor's own word, in an installation with one human.
    Confirmation,
    /// A backup of the target's own that is not too old.
    FreshBackup,
}

impl Missing {
    /// How many more humans must sign.
    pub(super) fn approvals(&self) -> u32 {
        match self {
            Missing::Peers { have, need } | Missing::Group { have, need, .. } => {
                need.saturating_sub(*have)
            }
            _ => 0,
        }
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Missing::Peers { have, .. } => approvals(f, *have, self.approvals()),
            Missing::Group { group, have, .. } => {
                approvals(f, *have, self.approvals())?;
                write!(f, " ({group})")
            }
            Missing::Cooling { have: 0, need } => write!(f, "{need} s cooling"),
            Missing::Cooling { have, need } => {
                write!(f, "{} s more cooling", need.saturating_sub(*have))
            }
            Missing::Trial => f.write_str("a trial restore point"),
            Missing::Verified => f.write_str("a verified restore point"),
            Missing::Rehearsal => f.write_str("a rehearsal in staging"),
            Missing::Confirmation => f.write_str("confirmation by its sponsor, not peer-reviewed"),
            Missing::FreshBackup => f.write_str("a fresh backup of the target's own"),
        }
    }
}

fn approvals(f: &mut std::fmt::Formatter<'_>, have: u32, more: u32) -> std::fmt::Result {
    let again = if have > 0 { " more" } else { "" };
    let plural = if more == 1 { "" } else { "s" };
    write!(f, "{more}{again} approval{plural}")
}

/// A policy that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reason {
    /// Its `@id`.
    pub policy: String,
    /// Its `@reason`, or what a grant lacks.
    pub reason: String,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.reason, self.policy)
    }
}
