//! Granted and used: what an agent may do, beside what it did.
//!
//! Told from the ledger's own entries for what flowed, and from the changes that were executed as the
//! agent's. What was refused, rejected, or adopted by a human used no grant of the agent's.

use crate::control::{AgentReport, Reply};
use crate::engine::Engine;
use crate::review::{ReviewError, no};
use crate::store::{AgentRow, Rows, StoreError};
use countermand_core::change::State;
use countermand_core::effect::Effect;
use countermand_core::name::{AgentName, TargetName};
use countermand_core::policy::Grant;
use countermand_core::verb::Verb;
use countermand_ledger::leaf::Leaf;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that are read at a time, so that whoever else reads need not wait.
const PAGE: u64 = 1000;

/// What one agent did.
#[derive(Default)]
struct Used {
    verbs: BTreeMap<TargetName, BTreeMap<String, u64>>,
    effects: BTreeSet<Effect>,
}

impl Engine {
    /// What agents may do and what they did since then; of one, or of all whose credential is good.
    pub(crate) fn report(
        &self,
        agent: Option<&AgentName>,
        since: Timestamp,
    ) -> Result<Reply, ReviewError> {
        let authority = self.authority();
        let now = self.0.clock.now();
        let wanted = |row: &&AgentRow| match agent {
            Some(agent) => row.name == *agent,
            None => row.is_valid(now),
        };
        let rows: Vec<&AgentRow> = authority.agents().filter(wanted).collect();
        if let (Some(agent), true) = (agent, rows.is_empty()) {
            return no(format!("there is no agent `{agent}`: `countermand agent list`"));
        }
        let mut used: BTreeMap<AgentName, Used> = BTreeMap::new();
        self.flowed_since(since, &mut used)?;
        for row in &rows {
            let own = used.entry(row.name.clone()).or_default();
            self.0.store.read(|store| executed_since(store, &row.name, since, own))?;
        }
        let report = |row: &&AgentRow| of(row, since, used.remove(&row.name).unwrap_or_default());
        Ok(Reply::AgentReports { agents: rows.iter().map(report).collect() })
    }

    /// Everybody's flows since then, from the ledger's end backwards.
    fn flowed_since(
        &self,
        since: Timestamp,
        used: &mut BTreeMap<AgentName, Used>,
    ) -> Result<(), StoreError> {
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
                read(&leaf, used);
            }
            end = from;
        }
        Ok(())
    }
}

/// What an entry tells of what flowed.
fn read(leaf: &Leaf, used: &mut BTreeMap<AgentName, Used>) {
    match leaf.kind() {
        "flow.intent" => flowed(leaf.body(), used),
        "flow.batch" => {
            let all = leaf.body().get("flowed").and_then(Value::as_array);
            all.into_iter().flatten().filter_map(Value::as_object).for_each(|what| {
                let no = |member: &str, word| what.get(member) == Some(&Value::Bool(word));
                if !no("refused", true) && !no("ok", false) {
                    flowed(what, used);
                }
            });
        }
        _ => {}
    }
}

fn flowed(what: &Map<String, Value>, used: &mut BTreeMap<AgentName, Used>) {
    let word = |member: &str| what.get(member).and_then(Value::as_str);
    let agent = word("agent").and_then(|name| AgentName::new(name).ok());
    let target = word("target").and_then(|name| TargetName::new(name).ok());
    let (Some(agent), Some(target)) = (agent, target) else { return };
    let verbs = what.get("verbs").and_then(Value::as_array);
    let verbs = verbs.into_iter().flatten().filter_map(Value::as_str).filter_map(Verb::named);
    // What was weighed, and flowed, was a write whatever its verb is by name.
    let weighed = what.contains_key("written") && !what.contains_key(crate::observe::OBSERVED);
    let used = used.entry(agent).or_default();
    for verb in verbs {
        let effect = verb.effect();
        used.note(&target, verb, if weighed { effect.min(Effect::Write) } else { effect });
    }
}

/// What was executed as the agent's own change.
fn executed_since(
    rows: &Rows<'_>,
    agent: &AgentName,
    since: Timestamp,
    used: &mut Used,
) -> Result<(), StoreError> {
    for number in rows.numbers_of(agent, u64::from(u32::MAX))? {
        let change = rows.change(number)?;
        let done = matches!(change.state, State::Executed(_) | State::Restored(_));
        if !done || change.adopted.is_some() || change.ended.is_none_or(|ended| ended < since) {
            continue;
        }
        let verbs: BTreeSet<Verb> =
            change.request.actions.iter().map(|action| action.verb).collect();
        for verb in verbs {
            used.note(&change.request.target, verb, verb.effect());
        }
    }
    Ok(())
}

impl Used {
    fn note(&mut self, target: &TargetName, verb: Verb, effect: Effect) {
        let verbs = self.verbs.entry(target.clone()).or_default();
        *verbs.entry(verb.name().to_owned()).or_default() += 1;
        self.effects.insert(effect);
    }

    /// Whether a granted effect was used; a grant for `destroy` is one for `opaque`.
    fn needs(&self, granted: &BTreeSet<Effect>, effect: Effect) -> bool {
        let stands_for_opaque = effect == Effect::Destroy && !granted.contains(&Effect::Opaque);
        self.effects.contains(&effect)
            || (stands_for_opaque && self.effects.contains(&Effect::Opaque))
    }
}

fn of(row: &AgentRow, since: Timestamp, used: Used) -> AgentReport {
    let granted = row.grant.clone();
    let targets: BTreeSet<_> =
        granted.targets.iter().filter(|target| used.verbs.contains_key(*target)).cloned().collect();
    let effects: BTreeSet<_> = granted
        .effects
        .iter()
        .copied()
        .filter(|effect| used.needs(&granted.effects, *effect))
        .collect();
    let enough = Grant { targets, effects };
    AgentReport {
        agent: row.name.clone(),
        sponsor: row.sponsor.clone(),
        since,
        unused: Grant {
            targets: granted.targets.difference(&enough.targets).cloned().collect(),
            effects: granted.effects.difference(&enough.effects).copied().collect(),
        },
        tighter: (enough != granted).then_some(enough),
        used: used.verbs,
        granted,
    }
}
