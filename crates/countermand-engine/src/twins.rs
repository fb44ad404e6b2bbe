//! One database under two names is guarded like the name that guards it less. So a target is refused
//! that turns out to be another one: its own server says what it is.

use crate::admission::Refusal;
use crate::engine::Engine;
use crate::kind::Kind;
use countermand_core::name::{AgentName, TargetName};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long what a server said of itself is believed.
const FRESH: SignedDuration = SignedDuration::from_secs(60);
/// How long a server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What every target said that it is.
pub(crate) type Fingerprints = Mutex<BTreeMap<TargetName, Said>>;

/// What a target said last, and when it was asked.
pub(crate) struct Said {
    /// In this engine's time; not yet, where it is what an engine before it was told.
    asked: Option<Timestamp>,
    fingerprint: Option<String>,
}

/// What engines before this one were told.
pub(crate) fn remembered(said: BTreeMap<TargetName, String>) -> Fingerprints {
    let said = said
        .into_iter()
        .map(|(name, fingerprint)| (name, Said { asked: None, fingerprint: Some(fingerprint) }));
    Mutex::new(said.collect())
}

impl Engine {
    /// Refuses an agent that would reach one target by the name of another.
    pub(crate) async fn refuse_twin(
        &self,
        agent: &AgentName,
        target: &TargetName,
    ) -> Result<(), Refusal> {
        let Err(why) = self.is_itself(target).await else { return Ok(()) };
        tracing::warn!(%agent, %target, why, "the target is refused");
        let body = json!({ "agent": agent, "target": target });
        let recorded = self
            .0
            .store
            .write(move |tx| tx.append(Kind::SessionRefused, &body, &[("why", why.as_bytes())]));
        recorded.await.map_err(|error| crate::admit::unavailable(&error))?;
        let why = "this target is not what it is configured to be; its people see why in the log";
        Err(Refusal::CannotJudge { why: why.to_owned() })
    }

    /// Whether this target is no other's second name, in words if it is. Where production cannot be
    /// asked, what it said last counts, and where it never said anything, nothing else is let in;
    /// where a target that is not production cannot be asked, it is refused.
    pub(crate) async fn is_itself(&self, target: &TargetName) -> Result<(), String> {
        let placed = &self.0.installation.targets;
        if placed.len() < 2 {
            return Ok(());
        }
        let is_production =
            |name: &TargetName| placed.get(name).is_some_and(|placement| placement.is_production());
        let mut asking = JoinSet::new();
        for name in placed.keys().cloned() {
            let engine = self.clone();
            asking.spawn(async move { engine.ask_what_it_is(name).await });
        }
        while asking.join_next().await.is_some() {}
        let said = self.fingerprints();
        let fingerprint = |name: &TargetName| said.get(name)?.fingerprint.as_ref();
        let Some(own) = fingerprint(target) else {
            return match is_production(target) {
                true => Ok(()),
                false => Err(format!("`{target}` does not say which database it is")),
            };
        };
        let silent = placed.keys().find(|name| is_production(name) && fingerprint(name).is_none());
        if let Some(silent) = silent.filter(|_| !is_production(target)) {
            return Err(format!(
                "`{silent}` never said which database it is: `{target}` could be it"
            ));
        }
        let twin = said.keys().find(|name| {
            let binds = is_production(name) || !is_production(target);
            *name != target && binds && fingerprint(name) == Some(own)
        });
        match twin {
            None => Ok(()),
            Some(name) => Err(format!("`{target}` is the same database as `{name}`")),
        }
    }

    /// Which database a target says that it is, now or when it was asked last.
    pub(crate) async fn says_it_is(&self, name: &TargetName) -> Option<String> {
        self.ask_what_it_is(name.clone()).await;
        self.fingerprints().get(name).and_then(|said| said.fingerprint.clone())
    }

    async fn ask_what_it_is(&self, name: TargetName) {
        let now = self.0.clock.now();
        let known = self.fingerprints().get(&name).and_then(|said| said.asked);
        if known.is_some_and(|asked| now.duration_since(asked) < FRESH) {
            return;
        }
        let Some(target) = self.0.targets.get(&name) else { return };
        let said = match tokio::time::timeout(PATIENCE, target.fingerprint()).await {
            Ok(Ok(said)) => Some(said),
            Ok(Err(error)) => {
                tracing::warn!(target = %name, %error, "it does not say what it is");
                None
            }
            Err(_) => {
                tracing::warn!(target = %name, "it does not say what it is in time");
                None
            }
        };
        if let Some(said) = said.clone().filter(|said| !self.is_known(&name, said)) {
            let kept = name.clone();
            // What production said outlasts a stop, however it is then.
            let kept = self.0.store.write(move |tx| tx.put_fingerprint(&kept, &said));
            if let Err(error) = kept.await {
                tracing::warn!(target = %name, %error, "what it is could not be kept");
            }
        }
        let mut all = self.fingerprints();
        let before = all.remove(&name).and_then(|said| said.fingerprint);
        all.insert(name, Said { asked: Some(now), fingerprint: said.or(before) });
    }

    fn is_known(&self, name: &TargetName, fingerprint: &str) -> bool {
        let all = self.fingerprints();
        all.get(name).and_then(|said| said.fingerprint.as_deref()) == Some(fingerprint)
    }

    fn fingerprints(&self) -> MutexGuard<'_, BTreeMap<TargetName, Said>> {
        self.0.fingerprints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
