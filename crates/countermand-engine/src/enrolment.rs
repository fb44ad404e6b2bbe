//! Which people count now, and with what: what is new in a configuration waits for a day.

use crate::engine::Engine;
use crate::installation::{Human, Installation};
use crate::key::Key;
use countermand_core::change::Seats;
use countermand_core::configuration::{Claim, Enrolment};
use countermand_core::name::{GroupName, HumanName};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Everybody, with what of them counts from when on.
pub(crate) struct Roll(BTreeMap<HumanName, Enrolled>);

struct Enrolled {
    human: Human,
    person: Timestamp,
    keys: Vec<(Timestamp, Key)>,
    reviewer: Timestamp,
    groups: Vec<(Timestamp, GroupName)>,
}

impl Roll {
    pub(crate) fn new(installation: &Installation, enrolment: &Enrolment) -> Roll {
        let enrolled = |(name, human): (&HumanName, &Human)| {
            let person = name.to_string();
            let key =
                |key: &Key| (enrolment.counts_from(&Claim::key(&person, &key.line())), key.clone());
            let seat = |group: &GroupName| {
                let claim = Claim::Seat { human: person.clone(), group: group.to_string() };
                (enrolment.counts_from(&claim), group.clone())
            };
            let enrolled = Enrolled {
                person: enrolment.counts_from(&Claim::Person { human: person.clone() }),
                keys: human.keys.iter().map(key).collect(),
                reviewer: enrolment.counts_from(&Claim::Reviewer { human: person.clone() }),
                groups: human.groups.iter().map(seat).collect(),
                human: human.clone(),
            };
            (name.clone(), enrolled)
        };
        Roll(installation.humans.iter().map(enrolled).collect())
    }
}

/// The people as they count at one moment.
pub(crate) struct People<'a> {
    roll: &'a Roll,
    now: Timestamp,
}

impl Engine {
    /// The people as they count now.
    pub(crate) fn people(&self) -> People<'_> {
        People { roll: &self.0.roll, now: self.0.clock.now() }
    }
}

impl People<'_> {
    /// One who counts, with the keys, groups and rights that do.
    pub(crate) fn get(&self, name: &HumanName) -> Option<Human> {
        let enrolled = self.roll.0.get(name)?;
        if !enrolled.keys.iter().any(|(from, _)| *from <= self.now) {
            return None;
        }
        let human = &enrolled.human;
        Some(Human {
            groups: self.those(&enrolled.groups),
            reviewer: human.reviewer && (enrolled.reviewer <= self.now || self.is_solo()),
            sponsors: human.sponsors.clone(),
            keys: self.those(&enrolled.keys),
        })
    }

    /// The reviewers, with the groups whose seats they may take.
    pub(crate) fn seats(&self) -> Seats {
        let humans = self.roll.0.keys().filter_map(|name| Some((name, self.get(name)?)));
        let reviewers = humans.filter(|(_, human)| human.reviewer);
        reviewers.map(|(name, human)| (name.clone(), human.groups)).collect()
    }

    /// Whether exactly one human counts. Whose only key is new is still a second one.
    pub(crate) fn is_solo(&self) -> bool {
        self.roll.0.values().filter(|enrolled| enrolled.person <= self.now).count() == 1
    }

    fn those<T: Clone, L: FromIterator<T>>(&self, all: &[(Timestamp, T)]) -> L {
        all.iter().filter(|(from, _)| *from <= self.now).map(|(_, one)| one.clone()).collect()
    }
}
