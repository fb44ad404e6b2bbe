//! After a change: what is asked of its target for a while, and what answers are as expected.

use crate::name::ProbeName;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// As much of an answer is shown; the rest may be anything.
const SHOWN: usize = 200;

/// What is asked, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The target, in its own language: it answers with one value.
    Target(String),
    /// What answers at this URL, of `http` or `https`: the body of a success is the answer.
    Http(String),
    /// This folder: when the newest file in it was written is the answer.
    Newest(String),
}

/// One question that is asked again and again after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub question: Question,
    /// What the answer must be.
    pub expected: Expectation,
    /// For how long after the change.
    pub lasts: SignedDuration,
    /// How often.
    pub every: SignedDuration,
}

/// What a probe's answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Anything: that there is one is enough.
    Anything,
    /// This text.
    Equals(String),
    /// A number from the first to the second, where they are there.
    Within(Option<i64>, Option<i64>),
}

impl std::fmt::Display for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expectation::Anything => f.write_str("expected an answer"),
            Expectation::Equals(text) => write!(f, "expected `{}`", shown(text)),
            Expectation::Within(Some(least), Some(most)) => {
                write!(f, "expected {least} to {most}")
            }
            Expectation::Within(Some(least), None) => write!(f, "expected at least {least}"),
            Expectation::Within(None, Some(most)) => write!(f, "expected at most {most}"),
            Expectation::Within(None, None) => f.write_str("expected a number"),
        }
    }
}

impl Expectation {
    /// Whether this answer is as expected; `None` is no value.
    ///
    /// # Errors
    /// What was answered and what was expected, in words without control characters.
    pub fn check(&self, answer: Option<&str>) -> Result<(), String> {
        let Some(answer) = answer else { return Err(format!("no value, {self}")) };
        let fits = match self {
            Expectation::Anything => true,
            Expectation::Equals(text) => answer == text,
            Expectation::Within(least, most) => is_within(answer, *least, *most),
        };
        if fits { Ok(()) } else { Err(format!("{}, {self}", shown(answer))) }
    }
}

/// Whole numbers are compared exactly. What is no number, or not a finite one, is within nothing.
fn is_within(answer: &str, least: Option<i64>, most: Option<i64>) -> bool {
    if let Ok(number) = answer.parse::<i128>() {
        return least.is_none_or(|least| number >= i128::from(least))
            && most.is_none_or(|most| number <= i128::from(most));
    }
    let Ok(number) = answer.parse::<f64>() else { return false };
    number.is_finite()
        && least.is_none_or(|least| number >= least as f64)
        && most.is_none_or(|most| number <= most as f64)
}

/// A text of the target's on one line, cut: an agent may have written it.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN) {
        match c {
            '"' | '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    shown + more
}

/// The watch of a change: the fold of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// When it began.
    pub since: Timestamp,
    /// Until when each probe is asked.
    pub until: BTreeMap<ProbeName, Timestamp>,
    /// What came of it.
    pub state: WatchState,
}

/// What came of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// It goes on.
    Open,
    /// Every answer was as expected, to the end.
    Passed,
    /// A probe's was not, or could not be had.
    Failed {
        /// When.
        at: Timestamp,
        /// Which.
        probe: ProbeName,
        /// In words.
        why: String,
    },
    /// Nobody knows: it was not asked to the end.
    Unfinished {
        /// In words.
        why: String,
    },
}

impl Watch {
    /// When the last of its probes ends.
    pub fn ends(&self) -> Timestamp {
        self.until.values().max().copied().unwrap_or(self.since)
    }

    /// In words; without the target's own answer where `answer` is false.
    pub fn words(&self, answer: bool) -> String {
        match &self.state {
            WatchState::Open => format!("watched until {:.0}", self.ends()),
            WatchState::Passed => "watched; every answer was as expected".to_owned(),
            WatchState::Failed { at, probe, why } if answer => {
                format!("watch `{probe}` failed at {at:.0}: {why}")
            }
            WatchState::Failed { at, probe, .. } => format!("watch `{probe}` failed at {at:.0}"),
            WatchState::Unfinished { why } => format!("not watched to the end: {why}"),
        }
    }

    /// Whether somebody should look.
    pub fn alarms(&self) -> bool {
        matches!(self.state, WatchState::Failed { .. } | WatchState::Unfinished { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_expected_or_it_says_why_not() {
        let within = Expectation::Within;
        for (expected, good, bad) in [
            (Expectation::Equals("ok".into()), &["ok"][..], &["OK", "ok ", ""][..]),
            (
                within(Some(1), None),
                &["1", "1.0", "99999999999999999999", "+1"],
                &["0", "0.9", "-1"],
            ),
            (within(None, Some(5)), &["5", "-7", "4.99"], &["6", "5.01"]),
            (within(Some(2), Some(3)), &["2", "3", "2.5"], &["1", "4"]),
            (within(Some(9007199254740993), None), &["9007199254740993"], &["9007199254740992"]),
        ] {
            for answer in good {
                assert_eq!(expected.check(Some(answer)), Ok(()), "{answer}");
            }
            for answer in bad {
                expected.check(Some(answer)).unwrap_err();
            }
        }
    }

    #[test]
    fn what_is_no_number_is_within_nothing() {
        for answer in ["NaN", "Infinity", "inf", "-inf", "", "ten", "1 ", "1e999"] {
            for (least, most) in [(Some(i64::MIN), None), (None, Some(i64::MAX))] {
                let expected = Expectation::Within(least, most);
                expected.check(Some(answer)).unwrap_err();
            }
        }
        let none = Expectation::Within(Some(1), None).check(None).unwrap_err();
        assert_eq!(none, "no value, expected at least 1");
    }

    #[test]
    fn what_is_plain_is_shown_as_it_is() {
        let plain = "relation \"shop.orders\" doesn't exist; Größe 日本";
        assert_eq!(shown(plain), plain);
    }

    #[test]
    fn an_answer_that_an_agent_wrote_is_shown_escaped_and_cut() {
        let evil = format!("\u{1b}[2J\u{202e}\r\nexpected `ok`{}", "x".repeat(10_000));
        let why = Expectation::Equals("ok".into()).check(Some(&evil)).unwrap_err();
        assert!(!why.contains(|c: char| c.is_control() || c == '\u{202e}'), "{why}");
        assert!(why.len() < 300 && why.contains('…'), "{why}");
    }
}
