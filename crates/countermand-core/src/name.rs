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
