//! What an installation is made of: people, targets, limits. Read once, at start.

use crate::erase::Retention;
use crate::key::Key;
use crate::target::Tags;
use countermand_core::backups::Backups;
use countermand_core::configuration::Configuration;
use countermand_core::limits::Limits;
use countermand_core::name::{
    AgentName, EnvironmentName, GroupName, HumanName, InstallationName, ProbeName, TargetName,
};
use countermand_core::policy::Grant;
use countermand_core::probation::Probation;
use countermand_core::watch::Probe;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A person of this installation.
#[derive(Clone, Debug, Default)]
pub struct Human {
    /// Groups they review for; a human in none can still be a peer.
    pub groups: BTreeSet<GroupName>,
    /// Whether they may review at all.
    pub reviewer: bool,
    /// What they themselves may do: the most their agents may. None where they sponsor nobody.
    pub sponsors: Option<Grant>,
    /// What they sign with.
    pub keys: Vec<Key>,
}

/// Environments in which plain SSH keys count.
const PLAIN_KEYS_COUNT_IN: [&str; 3] = ["staging", "test", "development"];

/// How a target stands in the installation.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Its environment.
    pub environment: EnvironmentName,
    /// Nothing here is worth a question: the floor does not bind.
    pub disposable: bool,
    /// Tags of the target itself.
    pub tags: BTreeSet<String>,
    /// Tags of what is in it, by pattern.
    pub object_tags: Tags,
    /// Where its changes are rehearsed; none is said as `rehearsal = "none"`.
    pub partner: Option<TargetName>,
    /// How much an agent may change here without asking.
    pub limits: Limits,
    /// The same for single agents.
    pub limits_of: BTreeMap<AgentName, Limits>,
    /// How much less for an agent that is new, or was told no.
    pub probation: Option<Probation>,
    /// What it is asked after a change.
    pub watch: BTreeMap<ProbeName, Probe>,
    /// How it is known that its own backups are being made.
    pub backups: Option<Backups>,
    /// The program, with its arguments, that is told of a watch that failed.
    pub notify: Option<Vec<String>>,
}

impl Placement {
    /// How much this agent may change here without asking.
    pub fn limits_for(&self, agent: &AgentName) -> Limits {
        self.limits_of.get(agent).copied().unwrap_or(self.limits)
    }

    /// Whether only user-verified keys count here: everywhere but in environments that say by
    /// their name that they are none of production, or that are declared disposable.
    pub fn is_production(&self) -> bool {
        is_production(self.environment.as_str(), self.disposable)
    }
}

/// See [`Placement::is_production`].
pub(crate) fn is_production(environment: &str, disposable: bool) -> bool {
    !disposable && !PLAIN_KEYS_COUNT_IN.contains(&environment)
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Its name, as signed statements carry it.
    pub name: InstallationName,
    /// What all of this was read from, as people sign it.
    pub configuration: Configuration,
    /// Who is who.
    pub humans: BTreeMap<HumanName, Human>,
    /// What is where.
    pub targets: BTreeMap<TargetName, Placement>,
    /// Site policies: file name and text.
    pub policies: Vec<(String, String)>,
    /// Where restore points go: outside every target's lifecycle.
    pub restore_points: PathBuf,
    /// Where ledger files go.
    pub ledger: PathBuf,
    /// For how long texts beside the ledger's entries are kept.
    pub retention: Retention,
    /// Only the demo sets this: plain keys count in production, and everything says so.
    pub plain_keys_count: bool,
}
