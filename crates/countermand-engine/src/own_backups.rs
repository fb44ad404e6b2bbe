//! The target's own backups: asked after now and then, evidence while the newest is not too old.
//!
//! When a backup was made is a fact that does not change: its age is known at every moment, and
//! evidence ends to the second. A source that is silent for a moment takes nothing back; one that
//! is silent for longer does.

use crate::engine::Engine;
use crate::kind::Kind;
use crate::notify::{self, notify};
use crate::question::{PATIENCE, late};
use crate::store::StoreError;
use countermand_core::backups::{Backups, made};
use countermand_core::name::TargetName;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many askings in a row may fail before what was known counts no more.
const FAILURES: u32 = 3;

/// What is known of each target's backups.
#[derive(Default)]
pub(crate) struct Known(Mutex<BTreeMap<TargetName, Seen>>);

struct Seen {
    /// When it is asked next.
    next: Timestamp,
    /// Somebody asks.
    asking: bool,
    /// Askings in a row that failed.
    failures: u32,
    /// When the newest was made, or why that is not known; nothing before the first answer.
    made: Option<Result<Timestamp, String>>,
    /// What the ledger was told last.
    told: Option<bool>,
}

impl Known {
    fn now(&self) -> MutexGuard<'_, BTreeMap<TargetName, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to ask; whoever is told so asks, and nobody else until that has ended.
    fn is_due(&self, target: &TargetName, backups: &Backups, now: Timestamp) -> bool {
        let mut known = self.now();
        let next = now.saturating_add(backups.every).unwrap_or(Timestamp::MAX);
        let unknown = || Seen { next: now, asking: false, failures: 0, made: None, told: None };
        let seen = known.entry(target.clone()).or_insert_with(unknown);
        let due = seen.next <= now && !seen.asking;
        if due {
            (seen.next, seen.asking) = (next, true);
        }
        due
    }

    /// Takes an answer, or why there was none.
    fn answered(
        &self,
        target: &TargetName,
        answer: Result<Option<String>, String>,
        now: Timestamp,
    ) {
        let mut known = self.now();
        let Some(seen) = known.get_mut(target) else { return };
        match answer {
            Ok(answer) => {
                seen.failures = 0;
                seen.made = Some(made(answer.as_deref(), now));
            }
            Err(why) => {
                seen.failures += 1;
                if seen.failures >= FAILURES || !matches!(seen.made, Some(Ok(_))) {
                    seen.made = Some(Err(why));
                }
            }
        }
    }
}

impl Engine {
    /// Whether the newest backup of this target is known not to be too old now.
    pub(crate) fn is_backup_fresh(&self, target: &TargetName) -> bool {
        let now = self.0.clock.now();
        self.backups_of(target).is_some_and(|backups| {
            let known = self.0.backups.now();
            let made = known.get(target).and_then(|seen| seen.made.as_ref());
            matches!(made, Some(Ok(made)) if backups.is_fresh(*made, now))
        })
    }

    fn backups_of(&self, target: &TargetName) -> Option<&Backups> {
        self.0.installation.targets.get(target)?.backups.as_ref()
    }

    /// Asks where it is time to, each target in a task of its own; says what changed since.
    pub(crate) fn look_at_backups(&self) {
        let now = self.0.clock.now();
        for (target, placement) in &self.0.installation.targets {
            let Some(backups) = &placement.backups else { continue };
            if self.0.backups.is_due(target, backups, now) {
                let (engine, target) = (self.clone(), target.clone());
                tokio::spawn(async move { engine.ask_for_backup(target).await });
            } else {
                self.tell_of_age(target);
            }
        }
    }

    async fn ask_for_backup(&self, target: TargetName) {
        let Some(backups) = self.backups_of(&target) else { return };
        let mut asking = std::pin::pin!(self.ask_whom(&target, &backups.question));
        let answer = tokio::time::timeout(PATIENCE, &mut asking).await;
        let is_late = answer.is_err();
        let answer = answer.unwrap_or_else(|_| Err(late()));
        self.0.backups.answered(&target, answer, self.0.clock.now());
        self.tell_of_age(&target);
        self.0.nudge.notify_one();
        // A folder that hangs is not asked by one thread more each time.
        if is_late {
            let _too_late = asking.await;
        }
        if let Some(seen) = self.0.backups.now().get_mut(&target) {
            seen.asking = false;
        }
    }

    /// Records when what is known becomes fresh or too old, and tells the site's program.
    fn tell_of_age(&self, target: &TargetName) {
        let fresh = self.is_backup_fresh(target);
        {
            let mut known = self.0.backups.now();
            let Some(seen) = known.get_mut(target) else { return };
            if seen.made.is_none() || seen.told == Some(fresh) {
                return;
            }
            seen.told = Some(fresh);
        }
        let (engine, target) = (self.clone(), target.clone());
        let words = self.backup_words(&target);
        tokio::spawn(async move {
            if let Err(error) = engine.record_age(&target, fresh, words).await {
                tracing::error!(%target, %error, "the age of a backup could not be recorded");
            }
        });
    }

    async fn record_age(
        &self,
        target: &TargetName,
        fresh: bool,
        words: Option<String>,
    ) -> Result<(), StoreError> {
        let leaf = if fresh { Kind::TargetBackupFresh } else { Kind::TargetBackupStale };
        let body = json!({ "target": target });
        let why = words.clone().unwrap_or_default();
        self.0.store.write(move |tx| tx.append(leaf, &body, &[("why", why.as_bytes())])).await?;
        let placement = self.0.installation.targets.get(target);
        let command = placement.and_then(|placement| placement.notify.clone());
        if let Some(words) = words.filter(|_| !fresh) {
            tracing::warn!(%target, words, "look at this target's backups");
            let details = json!({
                "installation": self.0.installation.name, "target": target, "backup": "stale",
                "why": words,
            });
            if let Some(command) = command
                && let Err(error) = notify(&command, &details, notify::WITHIN).await
            {
                tracing::warn!(%target, %error, "nobody was notified of a stale backup");
            }
        }
        Ok(())
    }

    /// What is wrong with a target's own backups, in words.
    fn backup_words(&self, target: &TargetName) -> Option<String> {
        let backups = self.backups_of(target)?;
        let now = self.0.clock.now();
        let known = self.0.backups.now();
        match known.get(target)?.made.as_ref()? {
            Ok(made) if backups.is_fresh(*made, now) => None,
            Ok(made) => Some(format!(
                "the newest backup of `{target}` is of {made:.0}, older than {:#}",
                backups.within
            )),
            Err(why) => Some(format!("when `{target}` was last backed up is not known: {why}")),
        }
    }

    /// Every target whose own backups somebody should look at, in words.
    pub(crate) fn stale_backups(&self) -> Vec<String> {
        let targets = self.0.installation.targets.keys();
        targets.filter_map(|target| self.backup_words(target)).collect()
    }
}
