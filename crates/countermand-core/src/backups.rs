//! The target's own backups: how old the newest may be, and what an answer says of it.

use crate::watch::{Question, shown};
use jiff::{SignedDuration, Timestamp};

/// Clocks differ. A backup that lies further ahead was made by nobody.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// How it is known that a target's own backups are being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backups {
    /// Who says when the newest was made.
    pub question: Question,
    /// The newest must not be older.
    pub within: SignedDuration,
    /// How often it is asked.
    pub every: SignedDuration,
}

impl Backups {
    /// Whether a backup of this time is fresh now.
    pub fn is_fresh(&self, made: Timestamp, now: Timestamp) -> bool {
        now.duration_since(made) <= self.within
    }
}

/// When a backup was made, by an answer: RFC 3339, or as PostgreSQL writes a `timestamptz`.
///
/// # Errors
/// Why it says nothing, in words without control characters.
pub fn made(answer: Option<&str>, now: Timestamp) -> Result<Timestamp, String> {
    let Some(answer) = answer else { return Err("there is no backup".to_owned()) };
    let made: Timestamp = answer.trim().parse().map_err(|_| {
        format!("`{}` is no time with an offset, such as `2026-03-01T10:00:00Z`", shown(answer))
    })?;
    if made.duration_since(now) > AHEAD {
        return Err(format!("the newest backup was made at {made:.0}, which is still to come"));
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-01T10:00:00Z";

    #[test]
    fn a_time_is_read_as_people_and_postgresql_write_it() {
        let now = NOW.parse().unwrap();
        for (answer, is) in [
            ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
            ("2026-03-01 09:00:00.123456+00", "2026-03-01T09:00:00.123456Z"),
            ("2026-03-01 04:30:00-04:30\n", "2026-03-01T09:00:00Z"),
            ("2026-03-01T10:04:59Z", "2026-03-01T10:04:59Z"),
        ] {
            assert_eq!(made(Some(answer), now), Ok(is.parse().unwrap()), "{answer}");
        }
    }

    #[test]
    fn what_is_no_time_or_still_to_come_is_no_backup() {
        let now = NOW.parse().unwrap();
        for answer in
            ["", "yesterday", "2026-03-01 09:00:00", "0", "infinity", "2026-03-01T10:06:00Z"]
        {
            made(Some(answer), now).unwrap_err();
        }
        assert_eq!(made(None, now), Err("there is no backup".to_owned()));
        let evil = made(Some("\u{1b}[2J\u{202e}"), now).unwrap_err();
        assert!(!evil.contains(['\u{1b}', '\u{202e}']), "{evil}");
    }

    #[test]
    fn it_is_fresh_up_to_its_age_and_not_longer() {
        let question = Question::Newest("/backups".into());
        let hour = SignedDuration::from_hours(1);
        let backups = Backups { question, within: hour, every: hour };
        let now: Timestamp = NOW.parse().unwrap();
        assert!(backups.is_fresh(now - hour, now));
        assert!(!backups.is_fresh(now - hour - SignedDuration::from_nanos(1), now));
        assert!(backups.is_fresh(now + SignedDuration::from_mins(1), now));
    }
}
