//! What takes its time, and is looked for when somebody asks: at most once a minute, one look at a
//! time.

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What was found is told again for so long.
const FRESH: SignedDuration = SignedDuration::from_mins(1);

/// What was found, and when.
pub(crate) struct Found<T> {
    pub(crate) at: Timestamp,
    pub(crate) what: T,
}

/// Who looks, and what they found last. Looking blocks.
pub(crate) struct Rounds<T> {
    look: Arc<dyn Fn() -> T + Send + Sync>,
    last: Arc<Mutex<Option<Arc<Found<T>>>>>,
}

impl<T> Clone for Rounds<T> {
    fn clone(&self) -> Rounds<T> {
        Rounds { look: self.look.clone(), last: self.last.clone() }
    }
}

impl<T: Send + Sync + 'static> Rounds<T> {
    pub(crate) fn new(look: Arc<dyn Fn() -> T + Send + Sync>) -> Rounds<T> {
        Rounds { look, last: Arc::default() }
    }

    /// What there is to find. One look at a time, which is ended even where nobody waits for it any
    /// more: who comes next has what it found.
    pub(crate) async fn found(&self, now: Timestamp) -> Option<Arc<Found<T>>> {
        let mut last = self.last.clone().lock_owned().await;
        if last.as_ref().is_some_and(|found| now.duration_since(found.at) < FRESH) {
            return last.clone();
        }
        let look = self.look.clone();
        // Whoever waits for the lock goes with their request; the one who looks does not.
        let looks = tokio::spawn(async move {
            let what = tokio::task::spawn_blocking(move || look()).await.ok()?;
            *last = Some(Arc::new(Found { at: now, what }));
            last.clone()
        });
        looks.await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn it_looks_at_most_once_a_minute_and_one_look_at_a_time() {
        let looks = AtomicUsize::new(0);
        let rounds = Rounds::new(Arc::new(move || looks.fetch_add(1, Ordering::SeqCst)));
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let (one, other) = tokio::join!(rounds.found(at(0)), rounds.found(at(0)));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.at, one.what, other.at, other.what), (at(0), 0, at(0), 0));
        assert_eq!(rounds.found(at(59)).await.unwrap().what, 0);
        let next = rounds.found(at(60)).await.unwrap();
        assert_eq!((next.at, next.what), (at(60), 1));
    }
}
