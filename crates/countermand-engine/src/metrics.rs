//! What the gateway counts of itself, for whoever watches it.
//!
//! Nothing waits for it: a counter is an atomic, and what stands in the store is read only when somebody
//! asks, on a connection of its own. Labels are names that were checked (agents, targets) and words of
//! this code: nothing that an agent may choose, no table, no text.

mod histogram;
mod labels;
mod state;
#[cfg(test)]
mod tests;

use crate::admission::{Admission, Proposal, Refusal};
use crate::engine::Engine;
use crate::kind::Kind;
use crate::store::StoreError;
use countermand_core::action::Action;
use countermand_core::effect::Effect;
use countermand_core::limits::Tally;
use countermand_core::name::{AgentName, TargetName};
use countermand_ledger::leaf::Leaf;
use histogram::Histogram;
use labels::{Decided, Of, OfKind, Rows, Timed, Written};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use state::Standing;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// What is told is at most this old.
const FRESH: Duration = Duration::from_secs(1);

/// What the rules that are given along read of what agents were told.
const REFUSED: [&str; 3] = ["forbidden", "rejected", "circuit_open"];

/// The media type of what [`Engine::metrics`] gives.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A metric, as `docs/metrics.md` lists it: its name as queries have it, its labels, what it means.
#[cfg_attr(not(test), expect(dead_code, reason = "the page is held against it"))]
struct Described {
    name: String,
    labels: &'static str,
    help: &'static str,
}

/// All counters of a gateway, since it started.
pub(crate) struct Metrics {
    registry: Registry,
    #[cfg_attr(not(test), expect(dead_code, reason = "the page is held against it"))]
    described: Vec<Described>,
    requests: Family<Decided, Counter>,
    weighed: Family<Decided, Counter>,
    admit: Family<Timed, Histogram>,
    measure: Family<Of, Histogram>,
    entries: Family<OfKind, Counter>,
    changes: Family<labels::Event, Counter>,
    writes: Family<Written, Counter>,
    rows: Family<Rows, Counter>,
    sessions: Family<Of, Gauge>,
    lost_spans: Counter,
    refused_logins: Counter,
    standing: Standing,
    told: Arc<Mutex<Option<(Instant, String)>>>,
}

impl Metrics {
    pub(crate) fn new(version: &'static str) -> Metrics {
        let mut register = Register::default();
        let counted = "target, agent, effect, decision";
        let build = Info::new([("version", version)]);
        register.put("build", "build_info", "version", "the version that runs; always 1", build);
        Metrics {
            requests: register.counter(
                "requests",
                counted,
                "requests of agents, by the worst that they would do and by what they were told",
            ),
            weighed: register.counter(
                "weighed",
                counted,
                "writes that ran up to their commit, by what was said to what they had done",
            ),
            admit: register.seconds("admit", "target, flows", "time to judge a request"),
            measure: register.seconds("measure", "target", "time to measure what a request would do"),
            entries: register.counter("recorded_entries", "kind", "entries written to the ledger"),
            changes: register.counter(
                "change_events",
                "target, event",
                "what happened to changes: `executed`, `rolled_back`, `restored`, `watch_failed`, …",
            ),
            writes: register.counter("writes", "target, agent", "writes that flowed"),
            rows: register.counter(
                "written_rows",
                "target, agent, action",
                "rows that they `inserted`, `updated` and `deleted`",
            ),
            sessions: register.gauge("door_sessions", "target", "sessions of agents that are open"),
            lost_spans: register.count("lost_spans", "spans of traces that no collector took"),
            refused_logins: register.count(
                "refused_logins",
                "logins at the door that were refused: a credential, an agent or a target that is none",
            ),
            standing: Standing::new(&mut register),
            told: Arc::default(),
            described: register.described,
            registry: register.registry,
        }
    }

    /// What may be counted later begins at 0 where Prometheus can see it: what is born above 0 has
    /// increased by nothing. Of agents it is what their refusals are counted by.
    pub(crate) fn begin(&self, targets: &[&TargetName], agents: &[(&AgentName, &TargetName)]) {
        for kind in Kind::ALL {
            drop(self.entries.get_or_create(&OfKind { kind: kind.name() }));
            let event = kind.name().strip_prefix("change.");
            for (target, event) in targets.iter().flat_map(|target| event.map(|it| (target, it))) {
                let of = labels::Event { target: target.to_string(), event };
                drop(self.changes.get_or_create(&of));
            }
        }
        for (agent, target) in agents {
            let (agent, target) = (agent.to_string(), target.to_string());
            let written = Written { target: target.clone(), agent: agent.clone() };
            drop(self.writes.get_or_create(&written));
            for (effect, decision) in
                Effect::ALL.into_iter().flat_map(|effect| REFUSED.map(|no| (effect, no)))
            {
                let (target, agent, effect) = (target.clone(), agent.clone(), effect.as_str());
                let of = Decided { target, agent, effect, decision };
                drop(self.requests.get_or_create(&of));
                drop(self.weighed.get_or_create(&of));
            }
        }
    }

    /// A request was judged.
    pub(crate) fn admitted<T>(&self, asked: &Counted, told: &Admission<T>, took: Duration) {
        let decision = word(told);
        self.requests.get_or_create(&asked.decided(decision)).inc();
        let flows = !matches!(told, Admission::Refused(_));
        self.admit.get_or_create(&Timed { target: asked.target.clone(), flows }).observe(took);
    }

    /// What a request had done up to its commit was judged.
    pub(crate) fn weighed<T>(&self, asked: &Counted, told: &Admission<T>) {
        self.weighed.get_or_create(&asked.decided(word(told))).inc();
    }

    /// Something was measured, or could not be.
    pub(crate) fn measured(&self, target: &TargetName, took: Duration) {
        self.measure.get_or_create(&Of { target: target.to_string() }).observe(took);
    }

    /// An entry is durable.
    pub(crate) fn recorded(&self, leaf: &Leaf) {
        let Ok(kind) = leaf.kind().parse::<Kind>() else { return };
        self.entries.get_or_create(&OfKind { kind: kind.name() }).inc();
        if kind == Kind::FlowIntent {
            self.flowed(leaf);
        }
    }

    fn flowed(&self, leaf: &Leaf) {
        let word = |name: &str| {
            let value = leaf.body().get(name).and_then(serde_json::Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let (target, agent) = (word("target"), word("agent"));
        self.writes.get_or_create(&Written { target: target.clone(), agent: agent.clone() }).inc();
        let written = leaf.body().get("written").cloned().unwrap_or_default();
        let tables: BTreeMap<String, Tally> = serde_json::from_value(written).unwrap_or_default();
        for Tally { inserted, updated, deleted, .. } in tables.into_values() {
            for (action, rows) in
                [("inserted", inserted), ("updated", updated), ("deleted", deleted)]
            {
                if rows > 0 {
                    let of = Rows { target: target.clone(), agent: agent.clone(), action };
                    self.rows.get_or_create(&of).inc_by(rows);
                }
            }
        }
    }

    /// Something happened to a change, and is durable.
    pub(crate) fn happened(&self, kind: Kind, target: &str) {
        let event = kind.name().strip_prefix("change.").unwrap_or(kind.name());
        self.changes.get_or_create(&labels::Event { target: target.to_owned(), event }).inc();
    }

    /// Steps that nobody was told of, since there was no room or nobody there.
    pub(crate) fn lost_steps(&self, steps: u64) {
        self.lost_spans.inc_by(steps);
    }

    /// A checkpoint over so many entries is published.
    pub(crate) fn published(&self, size: u64, at: jiff::Timestamp) {
        self.standing.checkpoint(size, at);
    }
}

/// Registers metrics, and remembers how they are described.
struct Register {
    registry: Registry,
    described: Vec<Described>,
}

impl Default for Register {
    fn default() -> Register {
        Register { registry: Registry::with_prefix("countermand"), described: Vec::new() }
    }
}

impl Register {
    fn put(
        &mut self,
        name: &str,
        shown: &str,
        labels: &'static str,
        help: &'static str,
        metric: impl Metric,
    ) {
        self.described.push(Described { name: format!("countermand_{shown}"), labels, help });
        self.registry.register(name, help, metric);
    }

    fn count(&mut self, name: &str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.put(name, &format!("{name}_total"), "", help, counter.clone());
        counter
    }

    fn counter<L: labels::Labels>(
        &mut self,
        name: &str,
        labels: &'static str,
        help: &'static str,
    ) -> Family<L, Counter> {
        let family = Family::<L, Counter>::default();
        self.put(name, &format!("{name}_total"), labels, help, family.clone());
        family
    }

    fn gauge<L: labels::Labels>(
        &mut self,
        name: &str,
        labels: &'static str,
        help: &'static str,
    ) -> Family<L, Gauge> {
        let family = Family::<L, Gauge>::default();
        self.put(name, name, labels, help, family.clone());
        family
    }

    fn seconds<L: labels::Labels>(
        &mut self,
        name: &str,
        labels: &'static str,
        help: &'static str,
    ) -> Family<L, Histogram> {
        let family = Family::<L, Histogram>::default();
        let shown = format!("countermand_{name}_seconds");
        self.described.push(Described { name: shown, labels, help });
        self.registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        family
    }
}

/// Who asked what of which target: what of a proposal is counted.
pub(crate) struct Counted {
    target: String,
    agent: String,
    effect: Effect,
}

impl Counted {
    pub(crate) fn of(proposal: &Proposal) -> Counted {
        Counted {
            target: proposal.target.to_string(),
            agent: proposal.caller.agent.to_string(),
            effect: Effect::worst(proposal.actions.iter().map(Action::effect)),
        }
    }

    fn decided(&self, decision: &'static str) -> Decided {
        let (target, agent) = (self.target.clone(), self.agent.clone());
        Decided { target, agent, effect: self.effect.as_str(), decision }
    }
}

/// What was said, in a word.
fn word<T>(told: &Admission<T>) -> &'static str {
    match told {
        Admission::Allowed(_) => "allowed",
        Admission::UpToCommit { .. } => "up_to_commit",
        Admission::Done { .. } => "done",
        Admission::Refused(refusal) => match refusal {
            Refusal::Held { .. } | Refusal::HeldUnit { .. } => "held",
            Refusal::Forbidden { .. } => "forbidden",
            Refusal::Rejected { .. } => "rejected",
            Refusal::Failed { .. } => "failed",
            Refusal::InDoubt { .. } => "in_doubt",
            Refusal::CannotJudge { .. } => "cannot_judge",
            Refusal::CircuitOpen { .. } => "circuit_open",
            Refusal::LowDisk { .. } => "low_disk",
            Refusal::Frozen { .. } => "frozen",
            Refusal::Unavailable { .. } => "unavailable",
        },
    }
}

/// A session that is counted for as long as this is kept.
#[derive(Debug)]
#[must_use = "the session is counted no longer than this is kept"]
pub struct Attended(Gauge);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Engine {
    /// Counts a session of an agent that was let in to this target.
    pub fn attended(&self, target: &TargetName) -> Attended {
        let of = Of { target: target.to_string() };
        let gauge = self.0.metrics.sessions.get_or_create_owned(&of);
        gauge.inc();
        Attended(gauge)
    }

    /// Somebody was not let in at the door: who they are is not known, so nothing is told of it.
    pub fn login_refused(&self) {
        self.0.metrics.refused_logins.inc();
    }

    /// All metrics in the text format of OpenMetrics ([`MEDIA_TYPE`]), at most a second old. One looks at a
    /// time: of many who ask, or who hang up and ask again, one thread is kept busy at most.
    ///
    /// # Errors
    /// What stands in the store cannot be read.
    pub async fn metrics(&self) -> Result<String, StoreError> {
        let mut told = Arc::clone(&self.0.metrics.told).lock_owned().await;
        if let Some((at, text)) = &*told
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let engine = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let text = engine.look_at_metrics()?;
            *told = Some((Instant::now(), text.clone()));
            Ok(text)
        });
        looked.await.map_err(|_| StoreError::Stopped)?
    }

    fn look_at_metrics(&self) -> Result<String, StoreError> {
        let metrics = &self.0.metrics;
        self.look_at_standing(&metrics.standing)?;
        let mut text = String::new();
        encode(&mut text, &metrics.registry)
            .map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok(text)
    }
}
