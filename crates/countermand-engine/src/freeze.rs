//! The kill switch: acts first, in memory, and is recorded as soon as the ledger can.

use crate::control::{Reply, Scope};
use crate::engine::Engine;
use crate::kind::Kind;
use crate::store::{Frozen, StoreError};
use countermand_core::name::{AgentName, TargetName};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long somebody who freezes waits to hear that it is recorded. It is frozen before that.
const RECORDED_WITHIN: Duration = Duration::from_millis(500);

/// What is frozen, by scope in words, and why.
type Frost = BTreeMap<String, String>;

/// Holds what is frozen; whoever acts looks here first, and whoever is acting is told.
pub(crate) struct Freezer {
    frost: watch::Sender<Frost>,
    /// What the ledger does not have yet.
    owed: Mutex<Vec<Owed>>,
    /// Held by whoever pays.
    paying: tokio::sync::Mutex<()>,
    /// Where that is kept for the next start, as long as the store cannot.
    aside: PathBuf,
}

/// A freeze that is in force and not in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owed {
    scope: String,
    by: String,
    reason: String,
}

impl Owed {
    fn why(&self) -> String {
        format!("{} (by {})", self.reason, self.by)
    }
}

/// The scope that the engine freezes by itself when it cannot keep evidence.
const SICK: &str = "gateway";

impl Freezer {
    /// What the store says, and what was frozen when it could not be told.
    pub(crate) fn new(frozen: Vec<Frozen>, aside: PathBuf) -> Freezer {
        let mut frost: Frost =
            frozen.into_iter().map(|frozen| (frozen.scope, frozen.why)).collect();
        let owed = read_aside(&aside);
        frost.extend(owed.iter().map(|owed| (owed.scope.clone(), owed.why())));
        let (frost, owed) = (watch::Sender::new(frost), Mutex::new(owed));
        Freezer { frost, owed, paying: tokio::sync::Mutex::default(), aside }
    }

    fn owed(&self) -> std::sync::MutexGuard<'_, Vec<Owed>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn freeze(&self, scope: String, why: String) {
        self.frost.send_modify(|frost| {
            frost.insert(scope, why);
        });
    }

    fn thaw(&self, scope: &str) {
        self.frost.send_modify(|frost| {
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
        self.frost.borrow().get(scope).map(|why| format!("{scope} is frozen: {why}"))
    }

    /// Keeps what is owed for the next start, or that nothing is. Says whether it is kept.
    fn write_aside(&self) -> bool {
        let owed = self.owed().clone();
        let written = match owed.is_empty() {
            true => std::fs::remove_file(&self.aside).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            false => std::fs::File::create(&self.aside).and_then(|mut file| {
                file.write_all(&serde_json::to_vec(&owed)?)?;
                file.sync_all()
            }),
        };
        if let Err(error) = &written {
            tracing::error!(%error, "what is frozen would not be after a stop");
        }
        written.is_ok()
    }

    /// Everything frozen, in words.
    pub(crate) fn words(&self) -> Vec<String> {
        self.frost.borrow().iter().map(|(scope, why)| format!("{scope}: {why}")).collect()
    }
}

impl Engine {
    /// Why this agent may not act on this target now, if so.
    pub fn is_frozen(&self, agent: &AgentName, target: &TargetName) -> Option<String> {
        self.0.freezer.stops(agent, target)
    }

    /// Changes whenever something is frozen or thawed.
    pub fn freezes(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.0.freezer.frost.subscribe()
    }

    /// Freezes, then records; answers soon, however the store is.
    pub(crate) async fn freeze(&self, scope: Scope, by: String, reason: String) -> Reply {
        if let Some(why) = self.is_nothing(&scope) {
            return Reply::Refused { why };
        }
        let scope = scope.to_string();
        let owed = Owed { scope: scope.clone(), by, reason };
        self.0.freezer.freeze(scope.clone(), owed.why());
        tracing::warn!(what = scope, by = owed.by, "frozen");
        self.0.freezer.owed().push(owed);
        let engine = self.clone();
        // It goes on recording when nobody waits any more.
        let recording = tokio::spawn(async move { engine.record_freezes().await });
        let note = match tokio::time::timeout(RECORDED_WITHIN, recording).await {
            Ok(Ok(Ok(()))) => "",
            _ => self.keep_aside().await,
        };
        Reply::Done { words: format!("{scope} is frozen{note}"), credential: None }
    }

    /// Why a name is no agent's, no human's and no target's: in an alarm a slip of the finger must
    /// not look like a stop.
    fn is_nothing(&self, scope: &Scope) -> Option<String> {
        let installation = &self.0.installation;
        let authority = self.authority();
        let (what, known): (&str, Vec<String>) = match scope {
            Scope::Everything => return None,
            Scope::Target(name) if installation.targets.contains_key(name) => return None,
            Scope::Target(_) => {
                ("targets", installation.targets.keys().map(ToString::to_string).collect())
            }
            Scope::Agent(name) => {
                let human = name.human();
                if authority.agent(name).is_some()
                    || human.is_some_and(|human| installation.humans.contains_key(&human))
                {
                    return None;
                }
                ("agents", authority.agents().map(|agent| agent.name.to_string()).collect())
            }
        };
        Some(format!(
            "there is no {scope}, and NOTHING IS FROZEN; {what} are: {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ))
    }

    /// Keeps for the next start what the ledger does not have yet, and says how that went.
    async fn keep_aside(&self) -> &'static str {
        let engine = self.clone();
        let kept = tokio::task::spawn_blocking(move || engine.0.freezer.write_aside());
        match tokio::time::timeout(RECORDED_WITHIN, kept).await {
            Ok(Ok(true)) => "; it is recorded as soon as the ledger can",
            _ => {
                "; it is recorded as soon as the ledger can, and NOT KEPT over a stop of the gateway \
                 until then: its disk does not answer"
            }
        }
    }

    /// Records what is frozen and was not recorded.
    pub(crate) async fn record_freezes(&self) -> Result<(), StoreError> {
        let freezer = &self.0.freezer;
        let _turn = freezer.paying.lock().await;
        let next = || freezer.owed().first().cloned();
        let mut paid = false;
        while let Some(owed) = next() {
            let recorded = self.0.store.write(move |tx| {
                tx.put_frozen(&owed.scope, &owed.why())?;
                let body = json!({ "scope": owed.scope, "by": owed.by });
                tx.append(Kind::FreezeOn, &body, &[("reason", owed.reason.as_bytes())])
            });
            recorded.await?;
            freezer.owed().remove(0);
            paid = true;
        }
        if paid {
            let engine = self.clone();
            tokio::task::spawn_blocking(move || engine.0.freezer.write_aside());
        }
        Ok(())
    }

    /// Freezes for as long as this process runs, or until [`Engine::thaw_again`].
    pub(crate) fn freeze_now(&self, scope: &Scope, why: &str) {
        self.0.freezer.freeze(scope.to_string(), why.to_owned());
    }

    /// Ends [`Engine::freeze_now`]; what people froze stays frozen.
    pub(crate) fn thaw_again(&self, scope: &Scope) -> Result<(), crate::store::StoreError> {
        let scope = scope.to_string();
        let owed = self.0.freezer.owed().iter().find(|owed| owed.scope == scope).cloned();
        if let Some(owed) = owed {
            self.0.freezer.freeze(scope, owed.why());
            return Ok(());
        }
        let frozen = self.0.store.read(|rows| rows.frozen())?;
        match frozen.into_iter().find(|frozen| frozen.scope == scope) {
            Some(frozen) => self.0.freezer.freeze(scope, frozen.why),
            None => {
                self.0.freezer.thaw(&scope);
                self.prepare_again();
            }
        }
        Ok(())
    }

    /// Thaws what a signed statement named; the caller has recorded it.
    pub(crate) fn thawed(&self, scope: &str) {
        self.0.freezer.thaw(scope);
        tracing::info!(what = scope, "thawed");
        self.0.circuits.close(scope);
        self.prepare_again();
        self.0.nudge.notify_one();
    }
}

/// What was left there. What cannot be read says at least that something was frozen.
fn read_aside(aside: &std::path::Path) -> Vec<Owed> {
    let text = match std::fs::read(aside) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        text => text.unwrap_or_default(),
    };
    serde_json::from_slice(&text).unwrap_or_else(|_| {
        let scope = Scope::Everything.to_string();
        let reason = "something was frozen, and what cannot be read".to_owned();
        vec![Owed { scope, by: "the gateway".to_owned(), reason }]
    })
}
