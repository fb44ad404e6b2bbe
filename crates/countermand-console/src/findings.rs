//! What `countermand doctor` finds: looked for when somebody asks, at most once a minute.

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What was found is told again for so long.
const FRESH: SignedDuration = SignedDuration::from_mins(1);

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// It guards less than it should, or does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub what: String,
    /// How it is in words; the remedy, where it is not good.
    pub words: String,
}

/// Looks at the whole installation. It blocks: files are read and targets logged in to.
pub type Doctor = Arc<dyn Fn() -> Vec<Finding> + Send + Sync>;

/// What was found, and when.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) at: Timestamp,
    pub(crate) findings: Arc<[Finding]>,
}

/// The doctor, and what it found last.
#[derive(Clone)]
pub(crate) struct Rounds {
    doctor: Doctor,
    last: Arc<Mutex<Option<Found>>>,
}

impl Rounds {
    pub(crate) fn new(doctor: Doctor) -> Rounds {
        Rounds { doctor, last: Arc::default() }
    }

    /// What there is to find. One look at a time, which is ended even where nobody waits for it any
    /// more: who comes next has its findings.
    pub(crate) async fn found(&self, now: Timestamp) -> Option<Found> {
        let rounds = self.clone();
        tokio::spawn(async move { rounds.look(now).await }).await.ok()?
    }

    async fn look(&self, now: Timestamp) -> Option<Found> {
        let mut last = self.last.lock().await;
        let fresh = last.as_ref().filter(|found| now.duration_since(found.at) < FRESH);
        if fresh.is_none() {
            let doctor = self.doctor.clone();
            let findings = tokio::task::spawn_blocking(move || doctor()).await.ok()?;
            *last = Some(Found { at: now, findings: findings.into() });
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn it_looks_at_most_once_a_minute_and_one_look_at_a_time() {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        let rounds = Rounds::new(Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Vec::new()
        }));
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let (one, other) = tokio::join!(rounds.found(at(0)), rounds.found(at(0)));
        assert_eq!((one.unwrap().at, other.unwrap().at), (at(0), at(0)));
        rounds.found(at(59)).await.unwrap();
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        assert_eq!(rounds.found(at(60)).await.unwrap().at, at(60));
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }
}
