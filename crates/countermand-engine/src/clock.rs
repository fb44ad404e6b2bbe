//! The engine's time: starts from the wall clock, then runs on the monotonic one, and never
//! goes behind what the ledger has seen. A wall clock that is set forward cools nothing.

use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Where the engine's time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    Running { began: Instant, base: OnceLock<Timestamp>, speed: i32 },
    Manual(AtomicI64),
}

impl Clock {
    /// Real time.
    pub fn system() -> Clock {
        Clock::fast(1)
    }

    /// Time that runs `speed` times as fast. For the demo, which says so; `serve` has no way
    /// to ask for it.
    pub fn fast(speed: i32) -> Clock {
        Clock(Arc::new(Source::Running { began: Instant::now(), base: OnceLock::new(), speed }))
    }

    /// Time that stands still until [`Clock::advance`] moves it. For tests.
    pub fn manual(start: Timestamp) -> Clock {
        Clock(Arc::new(Source::Manual(AtomicI64::new(start.as_millisecond()))))
    }

    /// Moves a manual clock; no other.
    pub fn advance(&self, by: SignedDuration) {
        if let Source::Manual(millis) = &*self.0 {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            millis.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Sets where a running clock begins: the later of the wall clock and what the ledger has
    /// seen. Counts once.
    pub(crate) fn begin_after(&self, seen: Option<Timestamp>) {
        match &*self.0 {
            Source::Running { base, .. } => {
                let wall = Timestamp::now();
                base.get_or_init(|| seen.map_or(wall, |seen| seen.max(wall)));
            }
            Source::Manual(millis) => {
                let seen = seen.map_or(i64::MIN, Timestamp::as_millisecond);
                millis.fetch_max(seen, Ordering::SeqCst);
            }
        }
    }

    /// The time now, to the millisecond.
    pub fn now(&self) -> Timestamp {
        let millis = match &*self.0 {
            Source::Running { began, base, speed } => {
                let base = base.get_or_init(Timestamp::now).as_millisecond();
                let elapsed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
                base.saturating_add(elapsed.saturating_mul(i64::from(*speed)))
            }
            Source::Manual(millis) => millis.load(Ordering::SeqCst),
        };
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// How many times as fast as real time it runs.
    pub(crate) fn speed(&self) -> i32 {
        match &*self.0 {
            Source::Running { speed, .. } => *speed,
            Source::Manual(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_behind_what_the_ledger_has_seen() {
        let future = Timestamp::now().checked_add(SignedDuration::from_hours(5)).unwrap();
        let clock = Clock::system();
        clock.begin_after(Some(future));
        let seen = Timestamp::from_millisecond(future.as_millisecond()).unwrap();
        assert!(clock.now() >= seen);
    }
}
