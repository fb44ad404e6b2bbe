//! Who counts since when: nobody becomes a reviewer overnight.

use super::Configuration;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
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
    /// A key of theirs: its line without a comment.
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
    /// The claim of a key, given as its line: of a `.pub` file its type and the key itself; of a
    /// passkey also where it was made.
    pub fn key(human: &str, line: &str) -> Claim {
        let words = if line.split_whitespace().next() == Some("passkey") { 3 } else { 2 };
        let key = line.split_whitespace().take(words).collect::<Vec<_>>().join(" ");
        Claim::Key { human: human.to_owned(), key }
    }
}

/// The keys of every person of a configuration, without comments: what the ledger says in the clear
/// when it comes into force, so that whoever has the ledger alone knows whose signature counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signers(BTreeMap<String, BTreeSet<String>>);

impl Configuration {
    /// The keys of its people.
    pub fn signers(&self) -> Signers {
        let mut signers = Signers::default();
        for claim in claims(self) {
            if let Claim::Key { human, key } = claim {
                signers.0.entry(human).or_default().insert(key);
            }
        }
        signers
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
        self.take(claims(configuration), at, before_agents);
    }

    /// The same of the keys alone, as the ledger says them in the clear.
    pub fn apply_signers(&mut self, signers: &Signers, at: Timestamp, before_agents: bool) {
        let of = |(human, keys): (&String, &BTreeSet<String>)| {
            keys.iter().map(|key| Claim::key(human, key)).collect::<Vec<_>>()
        };
        self.take(signers.0.iter().flat_map(of).collect(), at, before_agents);
    }

    fn take(&mut self, claims: BTreeSet<Claim>, at: Timestamp, before_agents: bool) {
        let from = match before_agents {
            true => Timestamp::MIN,
            false => at.saturating_add(WAIT).unwrap_or(Timestamp::MAX),
        };
        let known = std::mem::take(&mut self.0);
        let since = |claim: &Claim| known.get(claim).copied().unwrap_or(from);
        self.0 = claims.into_iter().map(|claim| (claim.clone(), since(&claim))).collect();
    }

    /// Whether anybody has a key that counts at this time.
    pub fn has_key(&self, now: Timestamp) -> bool {
        self.0.iter().any(|(claim, from)| matches!(claim, Claim::Key { .. }) && *from <= now)
    }

    /// The lines of the keys of this human that count at this time, without comments.
    pub fn keys_of<'a>(&'a self, human: &'a str, now: Timestamp) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(move |(claim, from)| match claim {
            Claim::Key { human: whose, key } if whose == human && *from <= now => {
                Some(key.as_str())
            }
            _ => None,
        })
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
