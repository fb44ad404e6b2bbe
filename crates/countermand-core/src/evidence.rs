//! What has been shown for a change so far, and the facts that policy weighs beside it.

use crate::name::GroupName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What has been shown for a change so far. More of anything here can only help: policies may
/// use it in no other way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Different humans, none of them the sponsor, who approved exactly this change.
    pub peers: u32,
    /// The same humans by the group whose seat they took: one human fills one seat.
    pub groups: BTreeMap<GroupName, u32>,
    /// Seconds since the last approval that counted.
    pub cooled_seconds: u64,
    /// A restore point of what the change would lose was taken and read back before review.
    pub trial: bool,
    /// The restore point of this very execution was read back, in its snapshot.
    pub verified: bool,
    /// The engine ran the unit in the staging partner, measured it, and rolled it back.
    pub rehearsed: bool,
    /// In a solo installation: the sponsor confirmed their own agent's change.
    pub confirmed: bool,
    /// The target's own newest backup is not older than its configuration says.
    #[serde(default)]
    pub backup_fresh: bool,
}

/// What is true of a unit and its target, whatever has been shown for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Resources that the request names; what cascades from them is radius.
    pub roots: u32,
    /// Whether a restore point of what would be lost can exist.
    pub reversible: bool,
    /// Estimated seconds to take it back.
    pub recovery_seconds: u64,
    /// Whether the engine can rehearse this unit: there is a partner, and rollback undoes it.
    pub rehearsable: bool,
    /// A lock stronger than row locks would be held for longer than its budget.
    pub unavailable: bool,
    /// The installation has exactly one enrolled human.
    pub solo: bool,
    /// A human adopted the change as their own.
    pub adopted: bool,
    /// Whether anybody can say how old the target's own backups are.
    #[serde(default)]
    pub backups: bool,
}
