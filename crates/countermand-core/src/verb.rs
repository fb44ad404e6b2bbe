//! The catalogue of verbs: one entry feeds the Cedar schema, `explain`, help and documentation.

pub mod postgres;

use crate::effect::Effect;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an action does, written `kind:Name`. A verb is a place in the catalogue of its kind;
/// there are no others.
#[derive(Clone, Copy)]
pub struct Verb(&'static Entry);

/// One line of a catalogue.
#[derive(Debug)]
pub struct Entry {
    /// The full name, `kind:Name`.
    pub name: &'static str,
    /// What it does to the target.
    pub effect: Effect,
    /// One sentence for people.
    pub doc: &'static str,
    /// A request that is interpreted as this verb; every example is a test.
    pub example: &'static str,
}

impl Verb {
    /// Every verb of every kind.
    pub fn all() -> impl Iterator<Item = Verb> {
        postgres::ALL.iter().copied()
    }

    /// The verb of this full name.
    pub fn named(name: &str) -> Option<Verb> {
        Verb::all().find(|verb| verb.name() == name)
    }

    /// The full name, `kind:Name`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What it does to the target.
    pub fn effect(self) -> Effect {
        self.0.effect
    }

    /// One sentence for people.
    pub fn doc(self) -> &'static str {
        self.0.doc
    }

    /// A request that is interpreted as this verb.
    pub fn example(self) -> &'static str {
        self.0.example
    }
}

impl PartialEq for Verb {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}
impl Eq for Verb {}
impl PartialOrd for Verb {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Verb {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(other.name())
    }
}
impl std::hash::Hash for Verb {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}
impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
impl Serialize for Verb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
impl<'de> Deserialize<'de> for Verb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Verb::named(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown verb `{name}`")))
    }
}

/// Writes a catalogue: a constant per verb, and `ALL`.
macro_rules! catalogue {
    ($kind:literal: $($ident:ident = $name:literal, $effect:ident, $doc:literal, $example:literal;)+) => {
        $(
            #[doc = $doc]
            pub const $ident: $crate::verb::Verb = $crate::verb::Verb(&$crate::verb::Entry {
                name: concat!($kind, ":", $name),
                effect: $crate::effect::Effect::$effect,
                doc: $doc,
                example: $example,
            });
        )+
        /// Every verb of this kind, in the order of the catalogue.
        pub const ALL: &[$crate::verb::Verb] = &[$($ident),+];
    };
}
use catalogue;
