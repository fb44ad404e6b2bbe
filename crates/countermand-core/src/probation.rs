//! Probation: an agent that is new, or was told no, may change less without asking for a while.

use crate::limits::Limits;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU16, NonZeroU64};

/// How long an agent has to be without fault in a target, and with how little until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probation {
    /// Days without fault after which it ends.
    pub days: NonZeroU16,
    /// What the limits are divided by until then.
    pub share: NonZeroU64,
}

impl Probation {
    /// When it ends, for one that was first seen or last at fault then.
    pub fn until(&self, since: Timestamp) -> Timestamp {
        let days = SignedDuration::from_hours(24 * i64::from(self.days.get()));
        since.saturating_add(days).unwrap_or(Timestamp::MAX)
    }

    /// Whether it is not over. Who was never seen has not begun.
    pub fn binds(&self, since: Option<Timestamp>, now: Timestamp) -> bool {
        since.is_none_or(|since| now < self.until(since))
    }

    /// A share of these limits, of each at least one, and never more than the limit itself. What
    /// counts tables and not rows stays.
    pub fn share_of(&self, limits: Limits) -> Limits {
        let share = |limit: u64| (limit / self.share).max(1).min(limit);
        Limits {
            rows: share(limits.rows),
            rows_per_hour: share(limits.rows_per_hour),
            kept_bytes: share(limits.kept_bytes),
            inserted: share(limits.inserted),
            roots: limits.roots,
            searched_bytes: limits.searched_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probation(days: u16, share: u64) -> Probation {
        Probation { days: days.try_into().unwrap(), share: share.try_into().unwrap() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn it_ends_after_so_many_days_and_not_a_second_before() {
        let week = probation(7, 4);
        let end = 7 * 24 * 3600;
        assert!(week.binds(Some(at(0)), at(end - 1)));
        assert!(!week.binds(Some(at(0)), at(end)));
        assert!(week.binds(None, Timestamp::MAX), "nobody is through who was never seen");
        assert!(probation(u16::MAX, 1).binds(Some(Timestamp::MAX), at(0)));
    }

    #[test]
    fn a_share_is_at_least_one_and_never_more_than_the_whole() {
        let limits = Limits { rows: 100, rows_per_hour: 3, kept_bytes: 0, ..Limits::default() };
        let less = probation(7, 4).share_of(limits);
        assert_eq!((less.rows, less.rows_per_hour, less.kept_bytes), (25, 1, 0));
        assert_eq!((less.inserted, less.roots), (2_500, limits.roots));
        assert_eq!(less.searched_bytes, limits.searched_bytes);
        assert_eq!(probation(7, u64::MAX).share_of(limits).rows, 1);
        assert_eq!(probation(7, 1).share_of(limits), limits);
    }
}
