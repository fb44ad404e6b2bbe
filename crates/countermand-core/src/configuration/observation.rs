//! Observation: for a while nothing is held in a target, so that a team sees what would have been.
//!
//! A configuration says for how many days. From when on they count the ledger says, and not the
//! file: from when the configuration that turned it on came into force. One after another that
//! leaves it on begins nothing anew.

use super::Configuration;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The most days for which a target is observed.
const MOST_DAYS: u8 = 14;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a configuration says of a target that is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// For how many days from when it was turned on, 1 to 14.
    pub days: u8,
    /// Whether the role of agents' sessions may own what it changes meanwhile.
    #[serde(default)]
    pub session_may_own: bool,
}

impl Observe {
    /// Why this cannot be, in words with the remedy, if so.
    pub fn fault(&self) -> Option<String> {
        let Observe { days, .. } = self;
        (*days == 0 || *days > MOST_DAYS).then(|| {
            format!("a target is observed for 1 to {MOST_DAYS} days, not {days}: write `days = 14`")
        })
    }

    fn lasts(&self) -> SignedDuration {
        DAY * i32::from(self.days.min(MOST_DAYS))
    }
}

/// An observation that was turned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When the configuration that turned it on came into force.
    pub since: Timestamp,
    /// What the one in force says of it.
    pub observe: Observe,
}

impl Observation {
    /// When it ends by itself.
    pub fn until(&self) -> Timestamp {
        self.since.saturating_add(self.observe.lasts()).unwrap_or(self.since)
    }

    /// Whether it has not ended.
    pub fn lasts(&self, now: Timestamp) -> bool {
        now < self.until()
    }
}

/// One observation, from when it was turned on to when it was turned off.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    target: String,
    on: Observation,
    ended: Option<Timestamp>,
    /// What its server said that it is, each time another.
    is: BTreeSet<String>,
}

impl Run {
    fn is_same(&self, other: &Run) -> bool {
        self.target == other.target || !self.is.is_disjoint(&other.is)
    }
}

/// Which targets are observed, and for how long each was: by name, and by what their servers say that
/// they are, so that another name begins nothing anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations(Vec<Run>);

impl Observations {
    /// Takes in the next configuration that came into force, at this time.
    pub fn apply(&mut self, configuration: &Configuration, at: Timestamp) {
        let wanted = observed(configuration);
        for run in self.0.iter_mut().filter(|run| run.ended.is_none()) {
            match wanted.get(&run.target) {
                Some(observe) => run.on.observe = *observe,
                None => run.ended = Some(at),
            }
        }
        for (target, observe) in wanted {
            if self.open(target).is_none() {
                let (target, on) = (target.clone(), Observation { since: at, observe });
                self.0.push(Run { target, on, ended: None, is: BTreeSet::new() });
            }
        }
    }

    /// Takes in what the server of a target said that it is, in the observation that was turned on
    /// then. Says whether that was not known.
    pub fn identify(&mut self, target: &str, since: Timestamp, is: &str) -> bool {
        let of = |run: &&mut Run| run.target == target && run.on.since == since;
        self.0.iter_mut().find(of).is_some_and(|run| run.is.insert(is.to_owned()))
    }

    fn open(&self, target: &str) -> Option<usize> {
        self.0.iter().position(|run| run.target == target && run.ended.is_none())
    }

    /// The run that this one goes on from under another name: one of the same server that the very
    /// configuration ended which began it.
    fn before(&self, at: usize) -> Option<usize> {
        let run = &self.0[at];
        let ends = |other: &Run| other.ended == Some(run.on.since) && other.is_same(run);
        self.0[..at].iter().position(ends)
    }

    /// A run with all that it goes on from, the first of them last.
    fn chain(&self, at: usize) -> Vec<usize> {
        std::iter::successors(Some(at), |&at| self.before(at)).collect()
    }

    fn began(&self, at: usize) -> Observation {
        let first = self.chain(at).last().copied().unwrap_or(at);
        Observation { since: self.0[first].on.since, ..self.0[at].on }
    }

    /// The observation of a target that has not ended.
    pub fn of(&self, target: &str, now: Timestamp) -> Option<Observation> {
        self.turned_on(target).filter(|observation| observation.lasts(now))
    }

    /// The observation of a target that the configuration in force turns on, ended or not.
    pub fn turned_on(&self, target: &str) -> Option<Observation> {
        self.open(target).map(|at| self.began(at))
    }

    /// When the configuration came into force that turned on what is observed under this name: see
    /// [`Observations::identify`].
    pub fn run_of(&self, target: &str) -> Option<Timestamp> {
        self.open(target).map(|at| self.0[at].on.since)
    }

    /// What whoever signs `wanted` must know of targets that it observes: since when, and how long
    /// they were before. Other than by another signature nothing of it changes with time.
    pub fn words(&self, wanted: &Configuration) -> Vec<String> {
        let words = |target: &String| {
            let before = self.in_all_before(target);
            let before = match before.is_zero() {
                true => String::new(),
                false => format!(", after {} in all before", in_words(before)),
            };
            match self.turned_on(target) {
                Some(Observation { since, .. }) => {
                    format!(
                        "`{target}` is observed since {since:.0}{before}; that goes on counting"
                    )
                }
                None if before.is_empty() => format!("`{target}` was never observed before"),
                None => format!("`{target}` would be observed again{before}"),
            }
        };
        observed(wanted).into_keys().map(words).collect()
    }

    /// How long a target was observed, before what it is observed now.
    fn in_all_before(&self, target: &str) -> SignedDuration {
        let now = self.open(target).map(|at| self.chain(at)).unwrap_or_default();
        let own: Vec<&Run> = self.0.iter().filter(|run| run.target == target).collect();
        let mut all = SignedDuration::ZERO;
        for (at, run) in self.0.iter().enumerate().filter(|(at, _)| !now.contains(at)) {
            let Some(ended) = run.ended.filter(|_| own.iter().any(|own| own.is_same(run))) else {
                continue;
            };
            let until = self.began(at).until();
            all += ended.min(until).max(run.on.since).duration_since(run.on.since);
        }
        all
    }
}

/// Why what a configuration says of observing cannot be, if so.
pub fn fault(configuration: &Configuration) -> Option<String> {
    said(configuration).find_map(|(target, observe)| match observe {
        Ok(observe) => observe.fault().map(|why| format!("target `{target}`: {why}")),
        Err(error) => Some(format!("target `{target}`: `observe`: {error}")),
    })
}

/// The targets that a configuration observes. What cannot be is not: those are held.
fn observed(configuration: &Configuration) -> BTreeMap<&String, Observe> {
    let valid = |(target, observe): (_, Result<Observe, _>)| {
        let observe = observe.ok().filter(|observe| observe.fault().is_none())?;
        Some((target, observe))
    };
    said(configuration).filter_map(valid).collect()
}

fn said(
    configuration: &Configuration,
) -> impl Iterator<Item = (&String, Result<Observe, serde_json::Error>)> {
    let observe = |(target, settings): (_, &Value)| {
        let observe = settings.get("observe")?;
        Some((target, Observe::deserialize(observe)))
    };
    configuration.table("targets").filter_map(observe)
}

/// A length of time in days and hours.
fn in_words(length: SignedDuration) -> String {
    let hours = length.as_hours();
    match (hours / 24, hours % 24) {
        (0, _) if hours == 0 => "less than an hour".to_owned(),
        (0, hours) => format!("{hours} hours"),
        (days, 0) => format!("{days} days"),
        (days, hours) => format!("{days} days {hours} hours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(observe: Value) -> Configuration {
        let settings = json!({ "targets": { "shop": { "host": "db", "observe": observe } } });
        let Value::Object(settings) = settings else { panic!("{settings}") };
        Configuration { settings, policies: BTreeMap::new() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    const FORTNIGHT: i64 = 14 * 24 * 3600;

    #[test]
    fn it_ends_by_itself_to_the_second() {
        let mut seen = Observations::default();
        seen.apply(&with(json!({ "days": 14 })), at(0));
        assert!(seen.of("shop", at(FORTNIGHT - 1)).is_some());
        assert_eq!(seen.of("shop", at(FORTNIGHT)), None);
        assert_eq!(seen.of("other", at(0)), None);
        assert!(seen.turned_on("shop").is_some_and(|on| on.until() == at(FORTNIGHT)));
    }

    #[test]
    fn no_other_configuration_begins_it_anew() {
        let mut seen = Observations::default();
        seen.apply(&with(json!({ "days": 7 })), at(0));
        seen.apply(&with(json!({ "days": 7, "session_may_own": true })), at(1000));
        seen.apply(&with(json!({ "days": 14 })), at(FORTNIGHT - 10));
        assert!(seen.of("shop", at(FORTNIGHT - 1)).is_some());
        assert_eq!(seen.of("shop", at(FORTNIGHT)), None);
        // Off and on again it begins anew, and says how long it was on.
        let off = Configuration::default();
        seen.apply(&off, at(FORTNIGHT + 5));
        seen.apply(&with(json!({ "days": 1 })), at(FORTNIGHT + 10));
        assert!(seen.of("shop", at(FORTNIGHT + 10)).is_some());
        seen.apply(&off, at(FORTNIGHT + 10 + 3600));
        let words = seen.words(&with(json!({ "days": 14 })));
        assert_eq!(words, ["`shop` would be observed again, after 14 days 1 hours in all before"]);
        assert_eq!(seen.words(&off), [""; 0]);
    }

    /// With this target observed, under whatever name.
    fn named(target: &str) -> Configuration {
        let settings = json!({ "targets": { target: { "observe": { "days": 14 } } } });
        let Value::Object(settings) = settings else { panic!("{settings}") };
        Configuration { settings, policies: BTreeMap::new() }
    }

    #[test]
    fn under_another_name_it_goes_on_counting() {
        let mut seen = Observations::default();
        seen.apply(&named("shop"), at(0));
        assert!(seen.identify("shop", at(0), "cluster/app"));
        assert!(!seen.identify("shop", at(0), "cluster/app"));
        seen.apply(&named("store"), at(1000));
        assert_eq!(seen.run_of("store"), Some(at(1000)));
        assert!(seen.of("store", at(FORTNIGHT)).is_some(), "nobody knows yet what it is");
        seen.identify("store", at(1000), "cluster/app");
        seen.apply(&named("market"), at(2000));
        seen.identify("market", at(2000), "cluster/app");
        assert_eq!(seen.turned_on("market").unwrap().since, at(0));
        assert!(seen.of("market", at(FORTNIGHT - 1)).is_some());
        assert_eq!(seen.of("market", at(FORTNIGHT)), None);
        // Another server under a new name is another target; back under its own, this one is not.
        seen.apply(&named("other"), at(3000));
        seen.identify("other", at(3000), "cluster/else");
        assert_eq!(seen.turned_on("other").unwrap().since, at(3000));
        let words = seen.words(&named("shop"));
        assert_eq!(
            words,
            ["`shop` would be observed again, after less than an hour in all before"]
        );
        // Whatever else the old name means meanwhile.
        seen.apply(&named("shop"), at(4000));
        seen.identify("shop", at(4000), "cluster/third");
        assert_eq!(seen.turned_on("shop").unwrap().since, at(4000));
    }

    #[test]
    fn what_cannot_be_is_not_observed() {
        for wrong in [
            json!({ "days": 15 }),
            json!({ "days": 0 }),
            json!({ "days": 300 }),
            json!({}),
            json!({ "days": 3, "for": "ever" }),
            json!("14d"),
            json!(null),
        ] {
            let configuration = with(wrong.clone());
            assert!(fault(&configuration).is_some(), "{wrong}");
            let mut seen = Observations::default();
            seen.apply(&configuration, at(0));
            assert_eq!(seen.of("shop", at(0)), None, "{wrong}");
        }
        assert_eq!(fault(&with(json!({ "days": 14 }))), None);
    }
}
