//! The circuit breaker: an agent that is refused again and again writes nothing for a while.
//!
//! One that was told no ten times in ten minutes is not working, it is looking for a way round.
//! Reads go on, and so do requests that are known: an outcome can still be fetched.

use countermand_core::name::{AgentName, TargetName};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many refusals…
const REFUSALS: usize = 10;
/// … within this time open the circuit…
const WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// … for this long.
const OPEN_FOR: SignedDuration = SignedDuration::from_mins(10);

#[derive(Default)]
struct Circuit {
    refused: VecDeque<Timestamp>,
    open_until: Option<Timestamp>,
}

/// The circuits of all agents, by target. Kept in memory: a restart closes them.
#[derive(Default)]
pub(crate) struct Circuits(Mutex<BTreeMap<(AgentName, TargetName), Circuit>>);

impl Circuits {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(AgentName, TargetName), Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal. Says so when this one opens the circuit.
    pub(crate) fn refused(&self, agent: &AgentName, target: &TargetName, now: Timestamp) -> bool {
        let mut all = self.all();
        let circuit = all.entry((agent.clone(), target.clone())).or_default();
        circuit.refused.retain(|at| now.duration_since(*at) < WITHIN);
        circuit.refused.push_back(now);
        let opens = circuit.refused.len() >= REFUSALS;
        if opens {
            circuit.refused.clear();
            circuit.open_until = Some(now.saturating_add(OPEN_FOR).unwrap_or(Timestamp::MAX));
        }
        opens
    }

    /// Why this agent writes nothing in this target now, if so.
    pub(crate) fn open(
        &self,
        agent: &AgentName,
        target: &TargetName,
        now: Timestamp,
    ) -> Option<String> {
        let mut all = self.all();
        let circuit = all.get_mut(&(agent.clone(), target.clone()))?;
        let until = circuit.open_until?;
        if now >= until {
            circuit.open_until = None;
            return None;
        }
        let at = until.strftime("%H:%M:%S");
        Some(format!(
            "{REFUSALS} requests of agent `{agent}` were refused within 10 minutes, so nothing \
             that writes flows until {at} UTC; reads do, and a human can close the circuit with \
             `countermand thaw agent {agent} --key KEY`"
        ))
    }

    /// Whether any circuit of this scope is open.
    pub(crate) fn is_open(&self, scope: &str, now: Timestamp) -> bool {
        let open = |circuit: &Circuit| circuit.open_until.is_some_and(|until| now < until);
        self.all().iter().any(|(of, circuit)| is_in(of, scope) && open(circuit))
    }

    /// A human has looked: all circuits of this scope are closed.
    pub(crate) fn close(&self, scope: &str) {
        self.all().retain(|of, _| !is_in(of, scope));
    }
}

/// Whether this agent's circuit in this target is in the scope, as [`crate::control::Scope`]
/// says it.
fn is_in((agent, target): &(AgentName, TargetName), scope: &str) -> bool {
    scope == "everything"
        || scope.strip_prefix("agent ") == Some(agent.as_str())
        || scope.strip_prefix("target ") == Some(target.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn names() -> (AgentName, TargetName) {
        (AgentName::new("claude").unwrap(), TargetName::new("shop").unwrap())
    }

    #[test]
    fn it_opens_at_the_tenth_refusal_in_ten_minutes_and_closes_by_itself() {
        let (agent, target) = names();
        let circuits = Circuits::default();
        for n in 0..9 {
            assert!(!circuits.refused(&agent, &target, at(n)));
        }
        assert_eq!(circuits.open(&agent, &target, at(9)), None);
        assert!(circuits.refused(&agent, &target, at(9)));
        let why = circuits.open(&agent, &target, at(9 + 599)).unwrap();
        assert!(why.contains("until") && why.contains("`countermand thaw agent claude "), "{why}");
        assert_eq!(circuits.open(&agent, &target, at(9 + 600)), None);
    }

    #[test]
    fn refusals_far_apart_open_nothing_and_a_human_closes_it() {
        let (agent, target) = names();
        let circuits = Circuits::default();
        for n in 0..50 {
            assert!(!circuits.refused(&agent, &target, at(n * 100)));
        }
        for n in 0..10 {
            circuits.refused(&agent, &target, at(10_000 + n));
        }
        circuits.close("agent other");
        assert!(circuits.open(&agent, &target, at(10_010)).is_some());
        circuits.close("agent claude");
        assert_eq!(circuits.open(&agent, &target, at(10_010)), None);
    }
}
