//! How much an agent may change without asking: less while it is new, and after it was told no.

use crate::engine::Engine;
use crate::kind::Kind;
use crate::store::{StoreError, Tx};
use countermand_core::limits::{Beyond, Limits};
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::probation::Probation;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;

impl Engine {
    /// How much this agent may change in this target without asking, now.
    pub(crate) fn limits(&self, agent: &AgentName, target: &TargetName) -> Limits {
        let placement = self.0.installation.targets.get(target);
        let limits = placement.map(|placement| placement.limits_for(agent)).unwrap_or_default();
        match self.probation(agent, target) {
            Some((probation, _)) => probation.share_of(limits),
            None => limits,
        }
    }

    /// The probation that an agent is on in a target, and when it ends by what is known now.
    fn probation(
        &self,
        agent: &AgentName,
        target: &TargetName,
    ) -> Option<(Probation, Option<Timestamp>)> {
        let probation = self.0.installation.targets.get(target)?.probation?;
        // Where that cannot be seen, it has not ended.
        let since = self.0.store.read(|rows| rows.clean_since(agent)).unwrap_or_default();
        let until = since.map(|since| probation.until(since));
        probation.binds(since, self.0.clock.now()).then_some((probation, until))
    }

    /// Where an agent is on probation, and until when.
    pub(crate) fn probations(&self, agent: &AgentName) -> BTreeMap<TargetName, Option<Timestamp>> {
        let targets = self.0.installation.targets.keys();
        let on = |target: &TargetName| Some((target.clone(), self.probation(agent, target)?.1));
        targets.filter_map(on).collect()
    }

    /// In which ways a unit is more than may flow, and why that is so little.
    pub(crate) fn beyond_words(
        &self,
        agent: &AgentName,
        target: &TargetName,
        beyond: &[Beyond],
    ) -> Vec<String> {
        let mut words: Vec<String> = beyond.iter().map(Beyond::to_string).collect();
        if !words.is_empty()
            && let Some((Probation { days, share }, Some(until))) = self.probation(agent, target)
        {
            words.push(format!(
                "agent `{agent}` is on probation until {until:.0}: its limits are divided by \
                 {share} until it is {days} days without fault"
            ));
        }
        words
    }

    /// Whether any target has a probation: only then is it news that one begins.
    pub(crate) fn has_probation(&self) -> bool {
        self.0.installation.targets.values().any(|target| target.probation.is_some())
    }
}

/// Notes that an agent opens a session: its days begin with the first.
pub(crate) fn seen(
    tx: &mut Tx<'_>,
    agent: &AgentName,
    sponsor: &HumanName,
    told: bool,
) -> Result<(), StoreError> {
    if tx.seen(agent, sponsor)? && told {
        tell(tx, agent, "its first session")?;
    }
    Ok(())
}

/// Notes that an agent was told no: its days begin again.
pub(crate) fn at_fault(
    tx: &mut Tx<'_>,
    agent: &AgentName,
    why: &str,
    told: bool,
) -> Result<(), StoreError> {
    tx.at_fault(agent)?;
    if told { tell(tx, agent, why) } else { Ok(()) }
}

fn tell(tx: &mut Tx<'_>, agent: &AgentName, why: &str) -> Result<(), StoreError> {
    let body = json!({ "agent": agent, "why": why });
    tx.append(Kind::AgentProbation, &body, &[]).map(drop)
}
