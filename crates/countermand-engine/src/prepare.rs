//! What the engine shows by itself before anyone reviews: a trial restore point, a rehearsal.

use crate::engine::Engine;
use crate::permit::Permit;
use crate::store::StoreError;
use crate::target::{Rehearse, TargetError};
use countermand_core::change::{Change, Event, Rehearsal, RestorePoint, State};
use countermand_core::radius::Reversibility;
use countermand_core::request::ChangeNumber;
use jiff::SignedDuration;
use serde_json::Value;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// What failed is tried again so often.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// How it ended.
enum Gathered {
    Done,
    /// A freeze came first.
    Frozen(Box<Change>),
}

impl Engine {
    /// Gathers what a change still lacks and the engine itself can show; one at a time a change.
    pub(crate) fn prepare(&self, number: ChangeNumber) {
        if !self.preparing().insert(number) {
            return;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            let bench = engine.bench_of(number);
            let _one = match bench {
                Some(bench) => Some(bench.lock_owned().await),
                None => None,
            };
            let mut stopping = engine.0.stopping.subscribe();
            // What is half gathered at a stop is gathered again at the next start.
            let done = tokio::select! {
                done = engine.gather_unless_frozen(number) => done,
                _ = stopping.wait_for(|stop| *stop) => Ok(Gathered::Done),
            };
            engine.preparing().remove(&number);
            match done {
                Ok(Gathered::Done) => {}
                // What was thawed before this ended found it busy.
                Ok(Gathered::Frozen(change)) if !engine.is_frozen_now(&change) => {
                    engine.prepare(number);
                }
                Ok(Gathered::Frozen(_)) => {
                    tracing::info!(%number, "evidence is not gathered while this is frozen");
                }
                Err(error) => tracing::warn!(%number, %error, "evidence could not be gathered"),
            }
            engine.moved();
        });
    }

    /// Has what failed tried again now and then: a server that was down comes back, and a table
    /// that staging lacked is made.
    pub(crate) fn try_again(&self, open: &[Change]) {
        let now = self.0.clock.now();
        let mut last = self.0.tried.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|number, _| open.iter().any(|change| change.request.number == *number));
        for change in open {
            let failed = change.rehearsal_failure.is_some() || change.trial_failure.is_some();
            if change.state != State::Held || !failed {
                continue;
            }
            let at = last.entry(change.request.number).or_insert(change.moved);
            if now.duration_since(*at) >= AGAIN {
                *at = now;
                self.prepare(change.request.number);
            }
        }
    }

    fn bench_of(&self, number: ChangeNumber) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let change = self.0.store.read(|rows| rows.change(number)).ok()?;
        self.0.benches.get(&change.request.target).cloned()
    }

    /// Gathers until it is frozen; [`Engine::prepare_again`] begins anew.
    async fn gather_unless_frozen(&self, number: ChangeNumber) -> Result<Gathered, StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        match self.halt_of(&change).unless(self.gather(number)).await {
            Ok(gathered) => gathered.map(|()| Gathered::Done),
            Err(_) => Ok(Gathered::Frozen(Box::new(change))),
        }
    }

    fn is_frozen_now(&self, change: &Change) -> bool {
        self.is_frozen(&change.request.agent, &change.request.target).is_some()
    }

    /// Something was thawed: goes on with what a freeze has ended.
    pub(crate) fn prepare_again(&self) {
        match self.0.store.read(|rows| rows.numbers(true)) {
            Ok(open) => open.into_iter().for_each(|number| self.prepare(number)),
            Err(error) => tracing::error!(%error, "what lacks evidence cannot be read"),
        }
    }

    async fn gather(&self, number: ChangeNumber) -> Result<(), StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        if change.state == State::Held && change.trial.is_none() {
            self.try_restore_point(&change).await?;
        }
        let change = self.0.store.read(|rows| rows.change(number))?;
        if change.state == State::Held && change.rehearsal.is_none() {
            self.rehearse(&change).await?;
        }
        self.carry(number).await
    }

    async fn try_restore_point(&self, change: &Change) -> Result<(), StoreError> {
        if change.preview.reversibility != Reversibility::Restorable {
            return Ok(());
        }
        let number = change.request.number;
        let folder = format!("change-{number}/trial-{:08x}", rand::random::<u32>());
        let event = match self.target_of(change) {
            Err(why) => Event::TrialFailed { why },
            Ok(target) => {
                let taken = match self.restore_point_folder(&folder) {
                    Ok(path) => target.trial(&change.preview, path).await,
                    Err(why) => Err(TargetError::Local(why)),
                };
                match taken {
                    Ok(restore_point) => Event::TrialTaken {
                        restore_point: RestorePoint { folder, ..restore_point },
                    },
                    Err(error) => Event::TrialFailed { why: error.to_string() },
                }
            }
        };
        // Tried again and failed again is no news.
        let known = |why: &String| change.trial_failure.as_ref() == Some(why);
        if matches!(&event, Event::TrialFailed { why } if known(why)) {
            return Ok(());
        }
        self.record_if_same(change, event).await
    }

    /// Runs the unit in the partner under a permit of its own, good for nothing else.
    async fn rehearse(&self, change: &Change) -> Result<(), StoreError> {
        let placement = self.0.installation.targets.get(&change.request.target);
        let Some(partner) = placement.and_then(|placement| placement.partner.clone()) else {
            return Ok(());
        };
        if !change.preview.undone_by_rollback {
            return Ok(());
        }
        let stored = self.0.store.read(|rows| rows.payload(change.request.number))?;
        let Some(target) = self.0.targets.get(&partner).cloned() else { return Ok(()) };
        let mut halt = self.halt_all(&partner);
        let practised = halt.unless(async {
            self.is_itself(&partner).await?;
            let seen = target.preview(&stored.payload, &change.request.actions).await;
            alike(change, &seen.map_err(|error| error.to_string())?)?;
            let partner = partner.clone();
            let permit = Permit::grant(Rehearse { payload: stored.payload, partner });
            let ran: Result<Rehearsal, TargetError> = target.rehearse(permit).await;
            ran.map_err(|error| error.to_string())
        });
        // Where the partner is frozen that is no fault of the change's.
        let Ok(rehearsal) = practised.await else { return Ok(()) };
        let event = match rehearsal {
            Ok(rehearsal) => Event::Rehearsed { rehearsal },
            // Tried again and failed again is no news.
            Err(why) if change.rehearsal_failure.as_ref() == Some(&why) => return Ok(()),
            Err(why) => Event::RehearsalFailed { why },
        };
        self.record_if_same(change, event).await
    }

    /// Records evidence unless the change was voided or ended while it was gathered.
    async fn record_if_same(&self, seen: &Change, event: Event) -> Result<(), StoreError> {
        let number = seen.request.number;
        let identity = seen.preview.identity.clone();
        let recorded = self.0.store.write(move |tx| {
            let now = tx.rows().change(number)?;
            if now.state != State::Held || now.preview.identity != identity {
                return Ok(());
            }
            tx.record(number, event, &Value::Null).map(|_| ())
        });
        recorded.await?;
        self.moved();
        Ok(())
    }

    /// The place of a restore point, with the folders above it made; the last is the target's to
    /// make, so that nothing is ever written into one that is there.
    pub(crate) fn restore_point_folder(&self, folder: &str) -> Result<PathBuf, String> {
        let path = self.0.installation.restore_points.join(folder);
        let above = path.parent().unwrap_or(&self.0.installation.restore_points);
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(above);
        made.map_err(|error| format!("cannot make `{}`: {error}", above.display()))?;
        Ok(path)
    }

    pub(crate) fn target_of(
        &self,
        change: &Change,
    ) -> Result<std::sync::Arc<dyn crate::target::Target>, String> {
        let name = &change.request.target;
        self.0.targets.get(name).cloned().ok_or_else(|| format!("there is no target `{name}` now"))
    }
}

/// Whether the partner would be done the same things to: the same verbs and roots.
fn alike(change: &Change, seen: &countermand_core::preview::Preview) -> Result<(), String> {
    let roots = |preview: &countermand_core::preview::Preview| {
        let mut roots: Vec<_> =
            preview.radius.roots().map(|node| node.object.to_string()).collect();
        roots.sort();
        roots
    };
    if seen.identity.fingerprint == change.preview.identity.fingerprint {
        return Err("the partner is this very database: a rehearsal there would be the act".into());
    }
    if seen.identity.verbs != change.preview.identity.verbs {
        return Err("in the partner the unit does something else".into());
    }
    let (here, there) = (roots(&change.preview), roots(seen));
    if here != there {
        let (here, there) = (here.join(", "), there.join(", "));
        return Err(format!("in the partner it touches {there}, here {here}"));
    }
    Ok(())
}
