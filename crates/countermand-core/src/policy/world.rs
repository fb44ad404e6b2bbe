//! Who there is and what they were granted, and the Cedar policies that say so.

use crate::effect::Effect;
use crate::name::{AgentName, GroupName, HumanName, TargetName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The part of the configuration that policy rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// The reviewer groups that policies may ask approvals of.
    pub groups: BTreeSet<GroupName>,
    /// The humans on whose behalf agents act, and the most that any of their agents may do.
    pub sponsors: BTreeMap<HumanName, Grant>,
    /// The agents, each with its sponsor and its own grant. What the sponsor lacks, the agent
    /// lacks too, whatever its grant says.
    pub agents: BTreeMap<AgentName, (HumanName, Grant)>,
}

/// A right to do every verb of some effects on some targets. Nothing is implied: a grant for
/// `write` is none for `read`; only what is `opaque` counts as `destroy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Where.
    pub targets: BTreeSet<TargetName>,
    /// What.
    pub effects: BTreeSet<Effect>,
}

impl Grant {
    fn is_empty(&self) -> bool {
        self.targets.is_empty() || self.effects.is_empty()
    }

    /// `[Action::"Read", …]`
    fn actions(&self) -> String {
        list(self.effects.iter().map(|effect| format!("Action::\"{}\"", effect.group())))
    }

    /// `resource in [Target::"a", …]`
    fn places(&self) -> String {
        let targets = self.targets.iter().map(|target| format!("Target::\"{target}\""));
        format!("resource in {}", list(targets))
    }
}

/// The `@id` of the permit that is an agent's own grant.
pub(super) fn agent_id(agent: &AgentName) -> String {
    format!("grant/agent/{agent}")
}

/// The `@id` of the forbid that holds a sponsor's agents to the sponsor's own grant.
pub(super) fn sponsor_id(sponsor: &HumanName) -> String {
    format!("grant/sponsor/{sponsor}")
}

/// The `@id` of the permit for a change that a human adopted.
pub(super) fn adopted_id(human: &HumanName) -> String {
    format!("grant/adopted/{human}")
}

/// What an agent may do: the only permits there are, beside [`adopted_permit`].
pub(super) fn agent_permit(agent: &AgentName, grant: &Grant) -> Option<String> {
    (!grant.is_empty()).then(|| {
        format!(
            "@id(\"{}\")\npermit (principal == Agent::\"{agent}\", action in {}, resource)\n\
             when {{ {} }};\n",
            agent_id(agent),
            grant.actions(),
            grant.places(),
        )
    })
}

/// What no agent of this sponsor may exceed.
pub(super) fn sponsor_ceiling(sponsor: &HumanName, grant: &Grant) -> String {
    let within = if grant.is_empty() {
        String::from("false")
    } else {
        format!("action in {} && {}", grant.actions(), grant.places())
    };
    format!(
        "@id(\"{}\") @reason(\"an agent may do no more than its sponsor\")\n\
         forbid (principal in Sponsor::\"{sponsor}\", action, resource)\nunless {{ {within} }};\n",
        sponsor_id(sponsor),
    )
}

/// What a human may do with a change that was an agent's and is now their own.
pub(super) fn adopted_permit(human: &HumanName, grant: &Grant) -> Option<String> {
    (!grant.is_empty()).then(|| {
        format!(
            "@id(\"{}\")\npermit (principal in Sponsor::\"{human}\", action in {}, resource)\n\
             when {{ context.adopted && {} }};\n",
            adopted_id(human),
            grant.actions(),
            grant.places(),
        )
    })
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
