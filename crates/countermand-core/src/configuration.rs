//! The configuration of an installation as a thing that is proposed, signed and applied.
//!
//! Misconfigured access is how guards are got round, so a configuration is changed as production
//! is: one human writes it, another lets it be in force, after it was shown in words how it differs.
//!
//! - `difference`: how two differ, in words, and whether anything is allowed that was not
//! - `enrolment`: who counts since when
//! - `observation`: where nothing is held for a while, and since when

mod difference;
mod enrolment;
mod observation;

pub use difference::{Difference, difference};
pub use enrolment::{Claim, Enrolment, Signers};
pub use observation::{Observation, Observations, Observe, fault as observe_fault};

use crate::digest::Digest;
use crate::name::HumanName;
use crate::statement::ConfigurationSubject;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What cools after another human's signature.
pub const COOLING: SignedDuration = SignedDuration::from_secs(60);
/// What cools in an installation of one human, who signs alone.
pub const SOLO_COOLING: SignedDuration = SignedDuration::from_hours(1);
/// How long a proposal waits to be signed.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Everything that is signed of a configuration: what it sets, and the site's policies. Where the
/// gateway keeps its state and where it listens are not part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// What `countermand.toml` sets, as JSON.
    pub settings: Map<String, Value>,
    /// The texts of the site's policies by file name.
    pub policies: BTreeMap<String, String>,
}

impl Configuration {
    /// What it is named by: equal where nothing differs but comments, order and white space of
    /// `countermand.toml`.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }

    /// How many people it names, and how many of them review.
    pub fn people_and_reviewers(&self) -> (usize, usize) {
        (self.people().count(), self.table("reviewers").count())
    }

    /// Names of people in it.
    fn people(&self) -> impl Iterator<Item = &String> {
        self.table("people").map(|(name, _)| name)
    }

    /// The members of one of its tables.
    fn table(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.settings.get(name).and_then(Value::as_object).into_iter().flatten()
    }

    /// Whether any of its targets is production, by its environment's name and whether it is declared
    /// disposable.
    pub fn names_production(&self, is_production: impl Fn(&str, bool) -> bool) -> bool {
        self.table("targets").any(|(_, target)| {
            let environment = target.get("environment").and_then(Value::as_str).unwrap_or_default();
            let disposable = target.get("disposable").and_then(Value::as_bool).unwrap_or_default();
            is_production(environment, disposable)
        })
    }

    /// What is signed of it where it is to replace another.
    pub fn subject(&self, replaced: &Configuration) -> ConfigurationSubject {
        let differences = difference(replaced, self);
        ConfigurationSubject {
            digest: self.digest(),
            replaces: replaced.digest(),
            loosens: differences.iter().any(|difference| difference.loosens),
            differences: differences.iter().map(Difference::to_string).collect(),
            observed: Vec::new(),
        }
    }
}

/// A configuration that waits to be in force: what has been shown for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Who wrote and signed it.
    pub editor: HumanName,
    /// When.
    pub at: Timestamp,
    /// Whether it allows anything that was not allowed.
    pub loosens: bool,
    /// Who else signed it, and when.
    pub approval: Option<(HumanName, Timestamp)>,
}

/// What a proposed configuration waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The signature of a reviewer who is not its editor.
    Another,
    /// This moment; then it is applied.
    Until(Timestamp),
    /// Nothing: it was not signed in time.
    Expired,
}

impl Proposed {
    /// What it waits for now. While the gateway was down nobody could have stopped it, so it cools
    /// from when this one `began`. `reviews` says who counts as a reviewer now; `solo`, whether
    /// one human is all there is.
    pub fn waits(
        &self,
        now: Timestamp,
        began: Timestamp,
        solo: bool,
        reviews: impl Fn(&HumanName) -> bool,
    ) -> Waits {
        let after = |at: Timestamp, cooling| {
            Waits::Until(at.max(began).saturating_add(cooling).unwrap_or(Timestamp::MAX))
        };
        if !self.loosens {
            return Waits::Until(self.at);
        }
        if solo {
            return after(self.at, SOLO_COOLING);
        }
        match &self.approval {
            Some((human, at)) if *human != self.editor && reviews(human) => after(*at, COOLING),
            _ if now.duration_since(self.at) >= LIFETIME => Waits::Expired,
            _ => Waits::Another,
        }
    }
}

#[cfg(test)]
mod tests;
