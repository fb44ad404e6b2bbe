//! What was observed in a target: from the ledger's own entries, what would have been held, against
//! what, and the limits that most of it would have been within.

use super::{Beside, OBSERVED, Observed, ObservedLine};
use crate::engine::Engine;
use crate::review::{ReviewError, no};
use crate::store::StoreError;
use countermand_core::limits::{Beyond, Limits, Tally};
use countermand_core::name::{AgentName, TargetName};
use countermand_ledger::leaf::Leaf;
use countermand_ledger::text::SealedText;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that are read at a time, so that whoever else reads need not wait.
const PAGE: u64 = 1000;
/// Of one kind as many are shown.
const EXAMPLES: usize = 3;

/// What was observed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObserveReport {
    /// Where.
    pub target: TargetName,
    /// From when on.
    pub since: Timestamp,
    /// Whether nothing is held there now, and until when.
    pub observed: Option<ObservedLine>,
    /// Units that wrote, and flowed.
    pub flowed: u64,
    /// Of those, as many would have been held…
    pub held: u64,
    /// … and as many refused, since the agent's circuit was open.
    pub refused: u64,
    /// Of those that would have been held, as many cannot be taken back.
    pub lost: u64,
    /// What would have been held, by what it did and against what; the most frequent first.
    pub groups: Vec<Group>,
    /// What was forbidden, and was not let through.
    pub forbidden: Vec<Forbidden>,
    /// Rows that one transaction changed.
    pub rows: Spread,
    /// Rows that one transaction added.
    pub inserted: Spread,
    /// Rows that one agent changed in an hour.
    pub rows_per_hour: Spread,
    /// The limits that are in force.
    pub limits: Limits,
    /// Limits that 99 in 100 of these transactions are within.
    pub proposed: Limits,
    /// Under those as many would still have been held.
    pub still_held: u64,
}

/// Units that would have been held for the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// What they did: verbs.
    pub verbs: Vec<String>,
    /// The tables that they wrote to.
    pub tables: Vec<String>,
    /// Against which limits; the evidence that was not there, where it is no matter of limits.
    pub against: Vec<String>,
    /// How many.
    pub units: u64,
    /// The most rows that one of them changed or added.
    pub most_rows: u64,
    /// Some of them, the latest first.
    pub examples: Vec<Example>,
}

/// One unit that would have been held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Example {
    /// Its entry in the ledger.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub agent: AgentName,
    /// What would have been said.
    pub words: Vec<String>,
    /// The beginning of its text. Hostile.
    pub text: String,
}

/// Requests that were refused, as they are without an observation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Forbidden {
    /// What they would do.
    pub verbs: Vec<String>,
    /// What forbids it.
    pub policies: Vec<String>,
    /// How many.
    pub units: u64,
}

/// How numbers lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them are at most this.
    pub p50: u64,
    /// 99 in 100 are at most this.
    pub p99: u64,
    /// The largest.
    pub most: u64,
}

impl Spread {
    fn of(mut numbers: Vec<u64>) -> Spread {
        numbers.sort_unstable();
        let rank = |percent: usize| {
            let rank = (numbers.len() * percent).div_ceil(100).max(1);
            numbers.get(rank - 1).copied().unwrap_or(0)
        };
        Spread { p50: rank(50), p99: rank(99), most: numbers.last().copied().unwrap_or(0) }
    }
}

/// One unit that flowed, as its entry says it.
struct Flow {
    entry: u64,
    at: Timestamp,
    agent: AgentName,
    verbs: Vec<String>,
    tables: Vec<String>,
    changed: u64,
    inserted: u64,
    observed: Option<Observed>,
}

#[derive(Default)]
struct Seen {
    flows: Vec<Flow>,
    /// Entries of intents that were not committed.
    undone: BTreeSet<u64>,
    forbidden: BTreeMap<(Vec<String>, Vec<String>), u64>,
}

impl Engine {
    /// What was observed in a target since then.
    pub(crate) fn observe_report(
        &self,
        target: &TargetName,
        since: Timestamp,
    ) -> Result<ObserveReport, ReviewError> {
        let Some(placement) = self.0.installation.targets.get(target) else {
            return no(format!("there is no target `{target}`"));
        };
        let mut seen = Seen::default();
        self.read_back(since, |leaf| seen.read(leaf, target))?;
        let observed = self.observed().into_iter().find(|line| line.target == *target);
        let mut report = seen.report(target, since, placement.limits);
        report.observed = observed;
        for example in report.groups.iter_mut().flat_map(|group| &mut group.examples) {
            let beside = self.text_of(example.entry)?;
            (example.words, example.text) = (beside.words, beside.text);
        }
        Ok(report)
    }

    /// Gives every entry since then, the latest first.
    fn read_back(&self, since: Timestamp, mut read: impl FnMut(&Leaf)) -> Result<(), StoreError> {
        let mut end = *self.0.store.size().borrow();
        while end > 0 {
            let from = end.saturating_sub(PAGE);
            let lines = self.0.store.read(|rows| rows.leaves(from, end - from))?;
            for line in lines.iter().rev() {
                let leaf = Leaf::parse(line.as_bytes());
                let leaf = leaf.map_err(|error| StoreError::Unreadable(error.to_string()))?;
                if leaf.at() < since {
                    return Ok(());
                }
                read(&leaf);
            }
            end = from;
        }
        Ok(())
    }

    /// What lies beside an entry; nothing where it was erased.
    fn text_of(&self, entry: u64) -> Result<Beside, StoreError> {
        let sealed = self.0.store.read(|rows| rows.text(entry, OBSERVED))?;
        let Some(sealed) = sealed else { return Ok(Beside::default()) };
        let open = SealedText::parse(sealed.as_bytes())
            .and_then(|sealed| self.0.keys.texts().open(&sealed))
            .map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok(serde_json::from_slice(open.text()).unwrap_or_default())
    }
}

impl Seen {
    fn read(&mut self, leaf: &Leaf, target: &TargetName) {
        match leaf.kind() {
            "flow.intent" => self.flows.extend(Flow::of(leaf, target)),
            "flow.batch" => {
                let all = leaf.body().get("flowed").and_then(Value::as_array);
                for what in all.into_iter().flatten().filter_map(Value::as_object) {
                    self.ended(what, target);
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, what: &Map<String, Value>, target: &TargetName) {
        let undone = what.get("ok") == Some(&Value::Bool(false));
        if let Some(intent) = what.get("intent").and_then(Value::as_u64).filter(|_| undone) {
            self.undone.insert(intent);
        }
        if what.contains_key("policies") && is_of(what, target) {
            let known = (strings(what, "verbs"), strings(what, "policies"));
            *self.forbidden.entry(known).or_default() += 1;
        }
    }

    fn report(mut self, target: &TargetName, since: Timestamp, limits: Limits) -> ObserveReport {
        let undone = std::mem::take(&mut self.undone);
        self.flows.retain(|flow| !undone.contains(&flow.entry));
        let flows = &self.flows;
        let of = |count: fn(&Flow) -> u64| {
            Spread::of(flows.iter().map(count).filter(|rows| *rows > 0).collect())
        };
        let (rows, inserted) = (of(|flow| flow.changed), of(|flow| flow.inserted));
        let mut hours: BTreeMap<(&AgentName, i64), u64> = BTreeMap::new();
        for flow in flows.iter().filter(|flow| flow.changed > 0) {
            let hour = flow.at.as_second().div_euclid(3600);
            *hours.entry((&flow.agent, hour)).or_default() += flow.changed;
        }
        let rows_per_hour = Spread::of(hours.into_values().collect());
        let usual = |spread: Spread, now: u64| if spread.most == 0 { now } else { spread.p99 };
        let proposed = Limits {
            rows: usual(rows, limits.rows),
            rows_per_hour: usual(rows_per_hour, limits.rows_per_hour).max(usual(rows, 0)),
            inserted: usual(inserted, limits.inserted),
            ..limits
        };
        let observed = || flows.iter().filter_map(|flow| Some((flow, flow.observed.as_ref()?)));
        let held = || observed().filter(|(_, observed)| observed.would == "held");
        let count = |n: usize| n as u64;
        ObserveReport {
            target: target.clone(),
            since,
            observed: None,
            flowed: count(flows.len()),
            held: count(held().count()),
            refused: count(observed().count() - held().count()),
            lost: count(held().filter(|(_, observed)| !observed.kept).count()),
            groups: groups(held()),
            forbidden: self
                .forbidden
                .into_iter()
                .map(|((verbs, policies), units)| Forbidden { verbs, policies, units })
                .collect(),
            rows,
            inserted,
            rows_per_hour,
            limits,
            proposed,
            still_held: count(
                held().filter(|(flow, seen)| flow.is_beyond(seen, &proposed)).count(),
            ),
        }
    }
}

impl Flow {
    fn of(leaf: &Leaf, target: &TargetName) -> Option<Flow> {
        let what = leaf.body();
        is_of(what, target).then_some(())?;
        let written: BTreeMap<String, Tally> =
            what.get("written").and_then(|w| serde_json::from_value(w.clone()).ok())?;
        let tallies = || written.values();
        Some(Flow {
            entry: leaf.index(),
            at: leaf.at(),
            agent: what.get("agent")?.as_str()?.parse().ok()?,
            verbs: strings(what, "verbs"),
            changed: tallies().map(Tally::changed).fold(0, u64::saturating_add),
            inserted: tallies().map(|tally| tally.inserted).fold(0, u64::saturating_add),
            tables: written.into_keys().collect(),
            observed: what.get(OBSERVED).and_then(|o| serde_json::from_value(o.clone()).ok()),
        })
    }

    /// Whether it would be held under these limits too.
    fn is_beyond(&self, observed: &Observed, limits: &Limits) -> bool {
        let within = |beyond: &Beyond| match beyond {
            Beyond::Rows { changed, .. } => *changed <= limits.rows,
            Beyond::Hour { changed, before, .. } => changed + before <= limits.rows_per_hour,
            Beyond::Inserted { inserted, .. } => *inserted <= limits.inserted,
            _ => false,
        };
        observed.beyond.is_empty() || !observed.beyond.iter().all(within)
    }
}

fn groups<'a>(held: impl Iterator<Item = (&'a Flow, &'a Observed)>) -> Vec<Group> {
    let mut groups: BTreeMap<[Vec<String>; 3], Group> = BTreeMap::new();
    for (flow, observed) in held {
        let against = against(observed);
        let known = [flow.verbs.clone(), flow.tables.clone(), against.clone()];
        let group = groups.entry(known).or_insert_with(|| Group {
            verbs: flow.verbs.clone(),
            tables: flow.tables.clone(),
            against,
            units: 0,
            most_rows: 0,
            examples: Vec::new(),
        });
        group.units += 1;
        group.most_rows = group.most_rows.max(flow.changed).max(flow.inserted);
        if group.examples.len() < EXAMPLES {
            let Flow { entry, at, agent, .. } = flow;
            let (words, text) = (Vec::new(), String::new());
            group.examples.push(Example {
                entry: *entry,
                at: *at,
                agent: agent.clone(),
                words,
                text,
            });
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.units));
    groups
}

fn against(observed: &Observed) -> Vec<String> {
    let limit = |beyond: &Beyond| match beyond {
        Beyond::Rows { .. } => "rows",
        Beyond::Hour { .. } => "rows_per_hour",
        Beyond::Inserted { .. } => "inserted",
        Beyond::Bytes { .. } => "kept_bytes",
        Beyond::Roots { .. } => "roots",
        Beyond::NotKept { .. } | Beyond::Odd { .. } => "cannot be taken back",
    };
    let limits: BTreeSet<&str> = observed.beyond.iter().map(limit).collect();
    match limits.is_empty() {
        true => observed.missing.clone(),
        false => limits.into_iter().map(str::to_owned).collect(),
    }
}

fn is_of(what: &Map<String, Value>, target: &TargetName) -> bool {
    what.get("target").and_then(Value::as_str) == Some(target.as_str())
}

fn strings(what: &Map<String, Value>, member: &str) -> Vec<String> {
    let words = what.get(member).and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_one_may_lie_above() {
        let spread = Spread::of((1..=100).collect());
        assert_eq!(spread, Spread { p50: 50, p99: 99, most: 100 });
        assert_eq!(Spread::of(vec![7]), Spread { p50: 7, p99: 7, most: 7 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
