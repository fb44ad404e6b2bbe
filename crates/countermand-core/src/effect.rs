//! What an action does to its target, ordered from harmless to worst.

use serde::{Deserialize, Serialize};

/// The class of what an action does. The order is the order of severity: the effect of a unit
/// is the greatest effect of its actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Leaves the target as it was.
    Read,
    /// Changes the target in a way that can be taken back.
    Write,
    /// Loses something, or makes it unavailable.
    Destroy,
    /// Not understood; judged as [`Effect::Destroy`].
    Opaque,
    /// Makes the target talk to another machine.
    Network,
    /// Changes identities or permissions.
    Grant,
}

impl Effect {
    /// Every effect, from harmless to worst.
    pub const ALL: [Effect; 6] = [
        Effect::Read,
        Effect::Write,
        Effect::Destroy,
        Effect::Opaque,
        Effect::Network,
        Effect::Grant,
    ];

    /// The name policies, configuration and `explain` use, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Write => "write",
            Effect::Destroy => "destroy",
            Effect::Opaque => "opaque",
            Effect::Network => "network",
            Effect::Grant => "grant",
        }
    }

    /// The name of the Cedar action group that holds every verb of this effect.
    pub fn group(self) -> &'static str {
        match self {
            Effect::Read => "Read",
            Effect::Write => "Write",
            Effect::Destroy => "Destroy",
            Effect::Opaque => "Opaque",
            Effect::Network => "Network",
            Effect::Grant => "Grant",
        }
    }

    /// The worst of several effects; [`Effect::Read`] of none.
    pub fn worst(effects: impl IntoIterator<Item = Effect>) -> Effect {
        effects.into_iter().max().unwrap_or(Effect::Read)
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
