//! Names that people give: they appear in policies, file names and signed texts, so what they
//! may contain is settled once, here.

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: use 1 to 63 of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit"
)]
pub struct InvalidName(pub String);

fn check(text: &str) -> Result<(), InvalidName> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = |c: char| plain(c) || matches!(c, '-' | '_' | '.');
    let ok = text.len() <= 63 && text.starts_with(plain) && text.chars().all(allowed);
    if ok { Ok(()) } else { Err(InvalidName(text.chars().take(80).collect())) }
}

macro_rules! names {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Reads a name.
            ///
            /// # Errors
            /// [`InvalidName`] where the text is not one.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }
            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> {
                Self::new(s)
            }
        }
    )+};
}

macro_rules! read {
    ($($name:ident)+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

names! {
    /// A non-human principal.
    AgentName;
    /// A person: a sponsor, a reviewer, or both (never both of one change).
    HumanName;
    /// A set of reviewers.
    GroupName;
    /// One thing that is changed: a database, a workspace, a cluster.
    TargetName;
    /// `production`, `staging`, …
    EnvironmentName;
    /// This installation of Countermand, as signed statements name it.
    InstallationName;
    /// One question of a target's watch.
    ProbeName;
}

read! { HumanName GroupName TargetName EnvironmentName InstallationName ProbeName }

/// Before the name of a human who asks for themself. No agent's name can begin with it.
const HUMAN: &str = "human:";

impl AgentName {
    /// As whom a human asks who has no agent ask for them. It is a requester's name and no agent's:
    /// [`AgentName::new`] refuses it, and no credential has it.
    pub fn of_human(human: &HumanName) -> AgentName {
        AgentName(format!("{HUMAN}{human}"))
    }

    /// The human who asks for themself, where it is one.
    pub fn human(&self) -> Option<HumanName> {
        HumanName::new(self.0.strip_prefix(HUMAN)?).ok()
    }
}

impl<'de> Deserialize<'de> for AgentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let human = text.strip_prefix(HUMAN).map(HumanName::new);
        let read = match human {
            Some(human) => human.map(|human| AgentName::of_human(&human)),
            None => AgentName::new(text),
        };
        read.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_human_who_asks_is_no_agent_and_no_agent_is_one() {
        let alice = AgentName::of_human(&"alice".parse().unwrap());
        assert_eq!(alice.human(), Some("alice".parse().unwrap()));
        AgentName::new(alice.as_str()).unwrap_err();
        let read: AgentName = serde_json::from_str("\"human:alice\"").unwrap();
        assert_eq!(read, alice);
        assert_eq!(AgentName::new("human-alice").unwrap().human(), None);
        for bad in ["human:", "human:human:alice", "human:Alice", "human: alice", "agent:x"] {
            serde_json::from_value::<AgentName>(bad.into()).unwrap_err();
        }
    }
}
