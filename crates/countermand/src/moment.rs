//! A moment as people say it: `10:40`, `30m` ago, or a whole date.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::str::FromStr;

/// A moment in the past, by what a clock shows or by how long it is ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Today, where the person is.
    Today(Time),
    /// So long ago.
    Ago(SignedDuration),
    /// Exactly then.
    At(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        if let Ok(at) = text.parse() {
            return Ok(Moment::At(at));
        }
        // Before lengths of time, to which `10:40` would belong as well.
        let clock =
            text.split(':').all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
        if let (true, Ok(time)) = (clock && text.contains(':'), text.parse()) {
            return Ok(Moment::Today(time));
        }
        let days = jiff::SpanRelativeTo::days_are_24_hours();
        let ago = text.parse::<jiff::Span>().ok().and_then(|span| span.to_duration(days).ok());
        ago.filter(|_| !clock).map(|ago| Moment::Ago(ago.abs())).ok_or_else(|| {
            "say it as `10:40` today, `30m`, `2h` or `30d` ago, or `2026-01-31T10:40:00Z`".into()
        })
    }
}

impl Moment {
    /// When that is, seen from `now`.
    ///
    /// # Errors
    /// Words, where it is still to come.
    pub fn seen_from(self, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
        let at = match self {
            Moment::At(at) => Ok(at),
            Moment::Ago(ago) => now.checked_sub(ago),
            Moment::Today(time) => {
                let today = zone.to_datetime(now).date();
                today.to_datetime(time).to_zoned(zone.clone()).map(|zoned| zoned.timestamp())
            }
        };
        let at = at.map_err(|error| error.to_string())?;
        if at > now {
            let at = zone.to_datetime(at);
            return Err(format!("{at} is still to come: say the date with it"));
        }
        Ok(at)
    }
}

/// When something that lasts is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So long from now.
    In(SignedDuration),
    /// Exactly then; a date alone means its beginning in UTC.
    At(Timestamp),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Until, String> {
        if let Ok(at) = text.parse() {
            return Ok(Until::At(at));
        }
        if let Ok(at) = format!("{text}T00:00:00Z").parse() {
            return Ok(Until::At(at));
        }
        let wrong =
            || "say it as `30d` from now, `2026-03-31`, or `2026-03-31T06:00:00Z`".to_owned();
        let span: jiff::Span = text.parse().map_err(|_| wrong())?;
        let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours());
        length.ok().filter(|length| length.is_positive()).map(Until::In).ok_or_else(wrong)
    }
}

impl Until {
    /// When that is, seen from `now`.
    ///
    /// # Errors
    /// Words, where it is past already.
    pub fn seen_from(self, now: Timestamp) -> Result<Timestamp, String> {
        let at = match self {
            Until::At(at) => at,
            Until::In(length) => now.checked_add(length).map_err(|error| error.to_string())?,
        };
        if at > now { Ok(at) } else { Err(format!("{at} is past: nothing would be approved")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Result<String, String> {
        let now = "2026-01-31T02:30:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        text.parse::<Moment>()?.seen_from(now, &zone).map(|at| at.to_string())
    }

    #[test]
    fn moments_are_said_as_people_say_them() {
        for (text, at) in [
            ("04:10", "2026-01-31T02:10:00Z"),
            ("04:10:05", "2026-01-31T02:10:05Z"),
            ("00:00", "2026-01-30T22:00:00Z"),
            ("30m", "2026-01-31T02:00:00Z"),
            ("2h", "2026-01-31T00:30:00Z"),
            ("1h 30m", "2026-01-31T01:00:00Z"),
            ("30m ago", "2026-01-31T02:00:00Z"),
            ("30d", "2026-01-01T02:30:00Z"),
            ("2026-01-30T10:40:00Z", "2026-01-30T10:40:00Z"),
            ("2026-01-30T10:40:00+09:00", "2026-01-30T01:40:00Z"),
        ] {
            assert_eq!(seen(text).as_deref(), Ok(at), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_or_still_to_come_is_refused_with_a_remedy() {
        for text in ["", "yesterday", "10", "25:00", "4:5", "10:40:00:00", "2026-01-30"] {
            assert!(seen(text).unwrap_err().starts_with("say it as"), "{text}");
        }
        for text in ["04:31", "2026-01-31T02:30:01Z"] {
            assert!(seen(text).unwrap_err().contains("still to come"), "{text}");
        }
    }

    #[test]
    fn an_end_is_a_length_a_date_or_a_moment_to_come() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let seen = |text: &str| text.parse::<Until>().unwrap().seen_from(now).unwrap().to_string();
        assert_eq!(seen("30d"), "2026-02-01T03:04:05Z");
        assert_eq!(seen("2026-03-31"), "2026-03-31T00:00:00Z");
        assert_eq!(seen("2026-03-31T06:00:00+02:00"), "2026-03-31T04:00:00Z");
        assert!("2026-01-02".parse::<Until>().unwrap().seen_from(now).is_err());
        for wrong in ["", "tomorrow", "-3d", "0d", "31", "2026-13-01"] {
            assert!(wrong.parse::<Until>().is_err(), "{wrong}");
        }
    }
}
