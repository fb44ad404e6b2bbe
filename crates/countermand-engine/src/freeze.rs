//! The kill switch: acts first, in memory, and is recorded as soon as the ledger can.

use crate::control::{Reply, Scope};
use crate::engine::Engine;
use crate::store::Frozen;
use countermand_core::name::{AgentName, TargetName};
use serde_json::json;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// What is frozen, by scope in words, and why.
type Frost = BTreeMap<String, String>;

/// Holds what is frozen; whoever acts looks here first, and whoever is acting is told.
pub(crate) struct Freezer(watch::Sender<Frost>);

/// The scope that the engine freezes by itself when it cannot keep evidence.
const SICK: &str = "gateway";

impl Freezer {
    pub(crate) fn new(frozen: Vec<Frozen>) -> Freezer {
        let frost = frozen.into_iter().map(|frozen| (frozen.scope, frozen.why)).collect();
        Freezer(watch::Sender::new(frost))
    }

    fn freeze(&self, scope: String, why: String) {
        self.0.send_modify(|frost| {
            frost.insert(scope, why);
        });
    }

    fn thaw(&self, scope: &str) {
        self.0.send_modify(|frost| {
            frost.remove(scope);
        });
    }

    /// The gateway cannot keep evidence: nothing flows until it is started again.
    pub(crate) fn sick(&self, why: &str) {
        self.freeze(SICK.into(), why.into());
    }

    /// Why this agent may not act on this target now, if so.
    pub(crate) fn stops(&self, agent: &AgentName, target: &TargetName) -> Option<String> {
        let stops = self.stops_all(target);
        stops.or_else(|| self.why(&Scope::Agent(agent.clone()).to_string()))
    }

    /// Why nobody may act on this target now, if so.
    pub(crate) fn stops_all(&self, target: &TargetName) -> Option<String> {
        let scopes = [
            SICK.to_owned(),
            Scope::Everything.to_string(),
            Scope::Target(target.clone()).to_string(),
        ];
        scopes.iter().find_map(|scope| self.why(scope))
    }

    fn why(&self, scope: &str) -> Option<String> {
        self.0.borrow().get(scope).map(|why| format!("{scope} is frozen: {why}"))
    }

    /// Everything frozen, in words.
    pub(crate) fn words(&self) -> Vec<String> {
        self.0.borrow().iter().map(|(scope, why)| format!("{scope}: {why}")).collect()
    }
}

impl Engine {
    /// Why this agent may not act on this target now, if so.
    pub fn is_frozen(&self, agent: &AgentName, target: &TargetName) -> Option<String> {
        self.0.freezer.stops(agent, target)
    }

    /// Changes whenever something is frozen or thawed.
    pub fn freezes(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.0.freezer.0.subscribe()
    }

    /// Freezes, then records.
    pub(crate) async fn freeze(&self, scope: Scope, by: String, reason: String) -> Reply {
        let words = scope.to_string();
        let why = format!("{reason} (by {by})");
        self.0.freezer.freeze(words.clone(), why.clone());
        let (kept, kept_why) = (words.clone(), why.clone());
        let recorded = self
            .0
            .store
            .write(move |tx| {
                tx.put_frozen(&kept, &kept_why)?;
                let body = json!({ "scope": kept, "by": by });
                tx.append("freeze.on", &body, &[("reason", reason.as_bytes())])
            })
            .await;
        let note = match recorded {
            Ok(_) => String::new(),
            Err(error) => format!("; not recorded yet: {error}"),
        };
        Reply::Done { words: format!("{words} is frozen{note}"), credential: None }
    }

    /// Freezes for as long as this process runs, or until [`Engine::thaw_again`].
    pub(crate) fn freeze_now(&self, scope: &Scope, why: &str) {
        self.0.freezer.freeze(scope.to_string(), why.to_owned());
    }

    /// Ends [`Engine::freeze_now`]; what people froze stays frozen.
    pub(crate) fn thaw_again(&self, scope: &Scope) -> Result<(), crate::store::StoreError> {
        let scope = scope.to_string();
        let frozen = self.0.store.read(|rows| rows.frozen())?;
        match frozen.into_iter().find(|frozen| frozen.scope == scope) {
            Some(frozen) => self.0.freezer.freeze(scope, frozen.why),
            None => self.0.freezer.thaw(&scope),
        }
        Ok(())
    }

    /// Thaws what a signed statement named; the caller has recorded it.
    pub(crate) fn thawed(&self, scope: &str) {
        self.0.freezer.thaw(scope);
        self.0.circuits.close(scope);
        self.0.nudge.notify_one();
    }
}
