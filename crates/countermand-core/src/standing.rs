//! Standing approvals: a human's approval, given beforehand, of what an agent asks again and again.
//!
//! It is signed from an example. What it carries differs from that example in nothing but the
//! values that say which rows are meant, and does no more than was signed. For each change it
//! becomes one ordinary approval of one ordinary human.

use crate::change::Change;
use crate::digest::Digest;
use crate::name::{AgentName, GroupName, HumanName, TargetName};
use crate::preview::{Identity, Preview};
use crate::radius::Reversibility;
use crate::request::ChangeNumber;
use crate::verb::Verb;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The longest that a standing approval lasts.
pub const STANDING_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The number people call a standing approval by; counts up from 1 in one installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StandingNumber(pub u64);

impl std::fmt::Display for StandingNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is equal in the example and in all that is carried: an [`Identity`] without the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    /// The target, by its configured name.
    pub target: TargetName,
    /// What tells this server and database from every other.
    pub fingerprint: String,
    /// What is done.
    pub verbs: BTreeSet<Verb>,
    /// Every object and dependent with the digest of its definition.
    pub objects: BTreeMap<String, Digest>,
    /// What is only read to decide what is done, with a digest of definition and rows.
    pub reads: BTreeMap<String, Digest>,
    /// The site's tags on those objects.
    pub tags: BTreeMap<String, BTreeSet<String>>,
}

impl From<&Identity> for Scene {
    fn from(identity: &Identity) -> Scene {
        let Identity { target, fingerprint, payload: _, verbs, objects, reads, tags } =
            identity.clone();
        Scene { target, fingerprint, verbs, objects, reads, tags }
    }
}

/// What is signed of a standing approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingSubject {
    /// The change it is signed from; only later ones are carried.
    pub example: ChangeNumber,
    /// Whose requests.
    pub requester: AgentName,
    /// On whose behalf.
    pub sponsor: HumanName,
    /// What is asked, without the values that only say which rows.
    pub shape: Digest,
    /// What is there.
    pub scene: Scene,
    /// The most rows that each run may lose or change, by table. One that is not here may not
    /// lose or change a row.
    pub ceiling: BTreeMap<String, u64>,
    /// Whether it can be taken back.
    pub reversibility: Reversibility,
    /// The most changes that it carries; none where only the date ends it.
    pub runs: Option<u32>,
    /// Seconds that lie between two changes that it carries, at least: who may choose which rows
    /// must not take a table in slices, all in one night.
    pub apart: u64,
    /// It carries nothing from then on.
    pub until: Timestamp,
    /// The seat the signer takes each time.
    pub seat: Option<GroupName>,
}

impl StandingSubject {
    /// The most rows that one run may lose or change in one table: what a signer types back.
    pub fn largest(&self) -> u64 {
        self.ceiling.values().copied().max().unwrap_or(0)
    }

    /// Whether a change is what was signed for, as it stands.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn admits(&self, change: &Change) -> Result<(), String> {
        let request = &change.request;
        let no = |why: &str| Err(why.to_owned());
        if request.number <= self.example {
            return no("it was asked before the example");
        }
        if request.agent != self.requester || request.sponsor != self.sponsor {
            return no("it is of another agent or sponsor");
        }
        if change.adopted.is_some() {
            return no("a human adopted it: it is their own change, and is signed for itself");
        }
        if request.shape != Some(self.shape) {
            return no("it asks something else");
        }
        self.admits_preview(&change.preview)
    }

    fn admits_preview(&self, preview: &Preview) -> Result<(), String> {
        if Scene::from(&preview.identity) != self.scene {
            return Err("what is there is not what was there".to_owned());
        }
        if preview.reversibility != self.reversibility {
            return Err(format!("now it {}", preview.reversibility));
        }
        for (table, row) in &preview.ceiling.rows {
            let most = self.ceiling.get(table).copied().unwrap_or(0);
            if row.limit > most {
                let asked = row.limit;
                return Err(format!("{table}: up to {asked} rows, {most} were signed for"));
            }
        }
        Ok(())
    }
}

/// That an approval was given beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which standing approval it comes from.
    pub number: StandingNumber,
    /// When that was signed: cooling counts from then.
    pub signed: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

#[cfg(test)]
mod tests;
