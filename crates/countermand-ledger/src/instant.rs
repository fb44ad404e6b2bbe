//! The one way a time is written: RFC 3339, UTC, exactly three fractional digits.

use jiff::Timestamp;

/// Writes `at` as `2026-01-02T03:04:05.678Z`; what is below a millisecond is cut off.
pub(crate) fn render(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Reads what [`render`] writes, and nothing else: other offsets, precisions, leap seconds and
/// lower-case letters are all legal RFC 3339 and would give one time several spellings.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let at: Timestamp = text.parse().ok()?;
    (text.len() == "2026-01-02T03:04:05.678Z".len() && render(at) == text).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_per_time() {
        let at: Timestamp = "2026-01-02T03:04:05.6789Z".parse().unwrap();
        assert_eq!(render(at), "2026-01-02T03:04:05.678Z");
        assert_eq!(render(Timestamp::from_second(0).unwrap()), "1970-01-01T00:00:00.000Z");
        assert!(parse("2026-01-02T03:04:05.678Z").is_some());
        for other in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.67Z",
            "2026-01-02T03:04:05.6780Z",
            "2026-01-02t03:04:05.678z",
            "2026-01-02 03:04:05.678Z",
            "2026-01-02T03:04:05.678+00:00",
            "2026-01-02T03:04:60.000Z",
            "2026-13-02T03:04:05.678Z",
            "-002026-01-02T03:04:05.678Z",
            "",
        ] {
            assert!(parse(other).is_none(), "`{other}` was accepted");
        }
    }
}
