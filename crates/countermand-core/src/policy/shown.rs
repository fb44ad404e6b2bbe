//! Evidence as a place in an order, and the search for the nearest places that are enough.
//!
//! Every kind of evidence is a dimension with a number; a place is above another when it has at
//! least as much in each. Policies can only be less in the way further up (see
//! [`super::rule`]), so "enough" is closed upwards, and all there is to say about it are its
//! lowest places: one for each smallest set of missing evidence.

use super::decision::Missing;
use crate::evidence::{Evidence, Facts};
use crate::name::GroupName;
use std::collections::{BTreeMap, BTreeSet};

/// Alternatives kept while those of several policies are combined. With more, the best are
/// kept: each still is enough.
const ALTERNATIVES: usize = 64;

/// One kind of evidence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dimension {
    Peers,
    Group(GroupName),
    Cooled,
    Trial,
    Verified,
    Rehearsed,
    Confirmed,
    BackupFresh,
}

impl Dimension {
    pub(super) fn is_flag(&self) -> bool {
        !matches!(self, Dimension::Peers | Dimension::Group(_) | Dimension::Cooled)
    }

    fn is_approvals(&self) -> bool {
        matches!(self, Dimension::Peers | Dimension::Group(_))
    }
}

/// What a policy compares one kind of evidence with; 1 for a flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Threshold {
    pub(super) dimension: Dimension,
    pub(super) need: i64,
}

/// So much of each kind of evidence; 0 of what is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown(BTreeMap<Dimension, i64>);

impl Shown {
    /// The evidence at hand.
    pub(super) fn of(evidence: &Evidence) -> Shown {
        // Without `..`: new evidence is a new dimension.
        let Evidence {
            peers,
            groups,
            cooled_seconds,
            trial,
            verified,
            rehearsed,
            confirmed,
            backup_fresh,
        } = evidence;
        let mut shown = Shown::default();
        for (group, count) in groups {
            shown.raise(&Dimension::Group(group.clone()), i64::from(*count));
        }
        shown.raise(&Dimension::Peers, i64::from(*peers));
        shown.raise(&Dimension::Cooled, i64::try_from(*cooled_seconds).unwrap_or(i64::MAX));
        shown.raise(&Dimension::Trial, i64::from(*trial));
        shown.raise(&Dimension::Verified, i64::from(*verified));
        shown.raise(&Dimension::Rehearsed, i64::from(*rehearsed));
        shown.raise(&Dimension::Confirmed, i64::from(*confirmed));
        shown.raise(&Dimension::BackupFresh, i64::from(*backup_fresh));
        shown
    }

    /// All evidence that these facts leave possible. A human alone has no peers, and only they
    /// confirm; what cannot be restored or rehearsed will not be.
    pub(super) fn attainable(&self, facts: &Facts, groups: &BTreeSet<GroupName>) -> Shown {
        let mut full = Shown::everything(groups);
        full.0.retain(|dimension, _| match dimension {
            Dimension::Peers | Dimension::Group(_) => !facts.solo,
            Dimension::Cooled => true,
            Dimension::Trial | Dimension::Verified => facts.reversible,
            Dimension::Rehearsed => facts.rehearsable,
            Dimension::Confirmed => facts.solo,
            Dimension::BackupFresh => facts.backups,
        });
        full.join(self)
    }

    /// All evidence there could ever be.
    pub(super) fn everything(groups: &BTreeSet<GroupName>) -> Shown {
        use Dimension::{BackupFresh, Confirmed, Cooled, Group, Peers, Rehearsed, Trial, Verified};
        let flags = [Trial, Verified, Rehearsed, Confirmed, BackupFresh].map(|flag| (flag, 1));
        let counts = [Peers, Cooled].into_iter().chain(groups.iter().cloned().map(Group));
        Shown(flags.into_iter().chain(counts.map(|count| (count, i64::MAX))).collect())
    }

    pub(super) fn get(&self, dimension: &Dimension) -> i64 {
        self.0.get(dimension).copied().unwrap_or(0)
    }

    pub(super) fn has(&self, flag: &Dimension) -> bool {
        self.get(flag) >= 1
    }

    /// At least this much of one kind.
    fn raise(&mut self, dimension: &Dimension, to: i64) {
        if to > self.get(dimension) {
            self.0.insert(dimension.clone(), to);
        }
    }

    /// The lowest place above both.
    fn join(&self, other: &Shown) -> Shown {
        let mut both = self.clone();
        for (dimension, value) in &other.0 {
            both.raise(dimension, *value);
        }
        both
    }

    fn at_most(&self, other: &Shown) -> bool {
        self.0.iter().all(|(dimension, value)| *value <= other.get(dimension))
    }

    /// What is raised above `have`.
    fn raised<'a>(&'a self, have: &'a Shown) -> impl Iterator<Item = (&'a Dimension, i64)> {
        let pairs = self.0.iter().map(|(dimension, value)| (dimension, *value));
        pairs.filter(|(dimension, value)| *value > have.get(dimension))
    }

    /// How hard it is to get here: fewer kinds of evidence first, then fewer signatures, then a
    /// fixed order. A place below another always comes before it.
    fn effort(&self, have: &Shown) -> (usize, i64, &BTreeMap<Dimension, i64>) {
        let signatures = |(dimension, value): (&Dimension, i64)| match dimension.is_approvals() {
            true => value.saturating_sub(have.get(dimension)),
            false => 0,
        };
        let total = self.raised(have).map(signatures).fold(0, i64::saturating_add);
        (self.raised(have).count(), total, &self.0)
    }

    /// Approvals of groups are approvals: a reviewer who adds one to a group adds one to the
    /// peers. The number of peers that the groups bring along.
    fn implied_peers(&self, have: &Shown) -> i64 {
        let groups = self.raised(have).filter(|(d, _)| matches!(d, Dimension::Group(_)));
        let more = groups.map(|(group, value)| value - have.get(group)).max().unwrap_or(0);
        have.get(&Dimension::Peers).saturating_add(more)
    }

    /// The words for the way from `have` to here.
    pub(super) fn missing(&self, have: &Shown) -> Vec<Missing> {
        let implied = self.implied_peers(have);
        let asked = self
            .raised(have)
            .filter(|(dimension, value)| **dimension != Dimension::Peers || *value > implied);
        asked.map(|(dimension, need)| word(dimension, have.get(dimension), need)).collect()
    }
}

fn word(dimension: &Dimension, have: i64, need: i64) -> Missing {
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let seconds = |n: i64| u64::try_from(n).unwrap_or(0);
    match dimension {
        Dimension::Peers => Missing::Peers { have: count(have), need: count(need) },
        Dimension::Group(group) => {
            Missing::Group { group: group.clone(), have: count(have), need: count(need) }
        }
        Dimension::Cooled => Missing::Cooling { have: seconds(have), need: seconds(need) },
        Dimension::Trial => Missing::Trial,
        Dimension::Verified => Missing::Verified,
        Dimension::Rehearsed => Missing::Rehearsal,
        Dimension::Confirmed => Missing::Confirmation,
        Dimension::BackupFresh => Missing::FreshBackup,
    }
}

/// The lowest places from `have` up to `top`, at the thresholds of one policy, where that policy
/// no longer stands in the way. Tries each combination of thresholds at most once, and none
/// above a place already found.
pub(super) fn lowest<E>(
    have: &Shown,
    top: &Shown,
    thresholds: &BTreeSet<Threshold>,
    mut enough: impl FnMut(&Shown) -> Result<bool, E>,
) -> Result<Vec<Shown>, E> {
    let mut places = vec![have.clone()];
    for threshold in thresholds {
        let Threshold { dimension, need } = threshold;
        if *need <= have.get(dimension) || *need > top.get(dimension) {
            continue;
        }
        // Thresholds come in ascending order, so each place is made once: from those that do
        // not have this kind of evidence raised yet.
        let raised = |place: &Shown| {
            let mut place = place.clone();
            place.raise(dimension, *need);
            place
        };
        let fresh = |place: &&Shown| place.get(dimension) == have.get(dimension);
        let more: Vec<Shown> = places.iter().filter(fresh).map(raised).collect();
        places.extend(more);
    }
    places.sort_by(|a, b| a.effort(have).cmp(&b.effort(have)));
    let mut found: Vec<Shown> = Vec::new();
    for place in places {
        if !found.iter().any(|lower| lower.at_most(&place)) && enough(&place)? {
            found.push(place);
        }
    }
    Ok(found)
}

/// The lowest places that are above one of each: what is enough for both.
pub(super) fn both(have: &Shown, one: &[Shown], other: &[Shown]) -> Vec<Shown> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| a.join(b)));
    minimal(have, pairs.collect())
}

/// The alternatives as sets of missing evidence, the best first.
pub(super) fn alternatives(have: &Shown, places: &[Shown]) -> Vec<Vec<Missing>> {
    let reachable = |place: &Shown| {
        let mut place = place.clone();
        place.raise(&Dimension::Peers, place.implied_peers(have));
        place
    };
    let places = minimal(have, places.iter().map(reachable).collect());
    let mut sets: Vec<Vec<Missing>> = places.iter().map(|place| place.missing(have)).collect();
    sets.sort_by_cached_key(|set| {
        (set.len(), set.iter().map(Missing::approvals).sum::<u32>(), set.clone())
    });
    sets
}

fn minimal(have: &Shown, mut places: Vec<Shown>) -> Vec<Shown> {
    places.sort_by(|a, b| a.effort(have).cmp(&b.effort(have)));
    let mut kept: Vec<Shown> = Vec::new();
    for place in places {
        if kept.len() < ALTERNATIVES && !kept.iter().any(|lower| lower.at_most(&place)) {
            kept.push(place);
        }
    }
    kept
}
