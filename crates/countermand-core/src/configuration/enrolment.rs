//! Who counts since when: nobody becomes a reviewer overnight.

use super::Configuration;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How long after it is in force a new key, reviewer or seat begins to count.
const WAIT: SignedDuration = SignedDuration::from_hours(24);

/// Something that makes a human count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// That they are a person here, whatever became of their keys.
    Person {
        /// Who.
        human: String,
    },
    /// A key of theirs: its type and the key itself, as `.pub` files begin.
    Key {
        /// Whose.
        human: String,
        /// Which.
        key: String,
    },
    /// That they review.
    Reviewer {
        /// Who.
        human: String,
    },
    /// That they take seats of a group.
    Seat {
        /// Who.
        human: String,
        /// Of which group.
        group: String,
    },
}

impl Claim {
    /// The claim of a key, given as a line of a `.pub` file.
    pub fn key(human: &str, line: &str) -> Claim {
        let key = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        Claim::Key { human: human.to_owned(), key }
    }
}

/// From when on each claim of the configuration in force counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrolment(BTreeMap<Claim, Timestamp>);

impl Enrolment {
    /// Takes in the next configuration that came into force, at this time. What it has in common
    /// with the one before counts as it did; what is new counts after 24 hours, or at once where
    /// no agent was there yet.
    pub fn apply(&mut self, configuration: &Configuration, at: Timestamp, before_agents: bool) {
        let from = match before_agents {
            true => Timestamp::MIN,
            false => at.saturating_add(WAIT).unwrap_or(Timestamp::MAX),
        };
        let known = std::mem::take(&mut self.0);
        let since = |claim: &Claim| known.get(claim).copied().unwrap_or(from);
        self.0 =
            claims(configuration).into_iter().map(|claim| (claim.clone(), since(&claim))).collect();
    }

    /// Whether anybody has a key that counts at this time.
    pub fn has_key(&self, now: Timestamp) -> bool {
        self.0.iter().any(|(claim, from)| matches!(claim, Claim::Key { .. }) && *from <= now)
    }

    /// From when on this counts. What no configuration has said never does.
    pub fn counts_from(&self, claim: &Claim) -> Timestamp {
        self.0.get(claim).copied().unwrap_or(Timestamp::MAX)
    }
}

fn claims(configuration: &Configuration) -> BTreeSet<Claim> {
    let mut claims = BTreeSet::new();
    for (human, person) in configuration.table("people") {
        claims.insert(Claim::Person { human: human.clone() });
        let keys = person.get("keys").and_then(Value::as_array).into_iter().flatten();
        claims.extend(keys.filter_map(Value::as_str).map(|line| Claim::key(human, line)));
    }
    for (human, reviewer) in configuration.table("reviewers") {
        claims.insert(Claim::Reviewer { human: human.clone() });
        let groups = reviewer.get("groups").and_then(Value::as_array).into_iter().flatten();
        let groups = groups.filter_map(Value::as_str).map(str::to_owned);
        claims.extend(groups.map(|group| Claim::Seat { human: human.clone(), group }));
    }
    claims
}
