//! A refusal in PostgreSQL's own words: an `ErrorResponse` with a SQLSTATE of our own class.
//!
//! The class is `CM`. Classes 08, 40 and 57 make drivers try again by themselves, which is the
//! one thing a held request must not bring about.

use super::wire;
use bytes::{BufMut as _, BytesMut};
use countermand_core::policy::Reason;
use countermand_engine::{Kept, Refusal};
use std::fmt::Write as _;

/// Held: it waits for evidence.
pub(super) const HELD: &str = "CM001";
/// Forbidden: no evidence would permit it.
pub(super) const FORBIDDEN: &str = "CM002";
/// It cannot be judged, so it does not happen.
pub(super) const CANNOT_JUDGE: &str = "CM003";
/// Frozen: nothing flows.
pub(super) const FROZEN: &str = "CM004";

/// A disk of the gateway's is nearly full: nothing that writes flows.
pub(super) const LOW_DISK: &str = "CM005";

/// What an agent is told, as the fields of an `ErrorResponse` or a `NoticeResponse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    severity: &'static str,
    code: &'static str,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Said {
    /// An error that ends the unit.
    pub(super) fn error(code: &'static str, message: impl AsRef<str>) -> Said {
        let message = escape(message.as_ref());
        Said { severity: "ERROR", code, message, detail: None, hint: None }
    }

    /// An error that ends the session.
    pub(super) fn fatal(code: &'static str, message: impl AsRef<str>) -> Said {
        Said { severity: "FATAL", ..Said::error(code, message) }
    }

    /// Words beside a success.
    pub(super) fn notice(message: impl AsRef<str>) -> Said {
        Said { severity: "NOTICE", ..Said::error("00000", message) }
    }

    /// With the server's own code in the place of ours.
    pub(super) fn coded(self, code: &'static str) -> Said {
        Said { code, ..self }
    }

    /// With what is missing, or what led to it.
    pub(super) fn detail(mut self, detail: impl AsRef<str>) -> Said {
        self.detail = Some(escape(detail.as_ref()));
        self
    }

    /// With what to do next.
    pub(super) fn hint(mut self, hint: impl AsRef<str>) -> Said {
        self.hint = Some(escape(hint.as_ref()));
        self
    }

    /// The same, where there is no session to go on with.
    pub(super) fn into_fatal(self) -> Said {
        Said { severity: "FATAL", ..self }
    }

    /// Whether the session ends with it.
    pub(super) fn is_fatal(&self) -> bool {
        self.severity == "FATAL"
    }

    /// Its words, for the ledger and the log.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Appends it as a message of the protocol.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        let fields = [
            (b'S', Some(self.severity)),
            (b'V', Some(self.severity)),
            (b'C', Some(self.code)),
            (b'M', Some(self.message.as_str())),
            (b'D', self.detail.as_deref()),
            (b'H', self.hint.as_deref()),
        ];
        for (kind, text) in fields {
            let Some(text) = text else { continue };
            body.put_u8(kind);
            body.put_slice(text.as_bytes());
            body.put_u8(0);
        }
        body.put_u8(0);
        wire::put(out, if self.severity == "NOTICE" { b'N' } else { b'E' }, &body);
    }
}

/// The words for a refusal of the engine.
pub(super) fn refusal(refusal: &Refusal) -> Said {
    match refusal {
        Refusal::Held { change, summary, beyond, missing, underway, carried: _ } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let mut detail = measured(beyond);
            let _ = write!(detail, "missing: {}", list(&missing, "nothing; it is about to run"));
            if !underway.is_empty() {
                let _ = write!(detail, "; now: {}", underway.join(", "));
            }
            Said::error(HELD, format!("held as change {change}: would {summary}"))
                .detail(detail)
                .hint(format!(
                    "Reviewers decide with: countermand changes show {change}. Send exactly this \
                     statement again later for the outcome; do not try another way."
                ))
        }
        Refusal::HeldUnit { summary, beyond } => {
            let rule = "The transaction was rolled back: only the whole of it can be approved.";
            Said::error(HELD, format!("held: would {summary}, inside an open transaction"))
                .detail(format!("{}{rule}", measured(beyond)))
                .hint(
                    "Write the whole transaction to a file and ask for it with: countermand \
                     propose FILE; do not try another way.",
                )
        }
        Refusal::Forbidden { reasons, kept } => forbidden(reasons, kept.as_ref()),
        Refusal::Rejected { change, by, reason } => {
            Said::error(FORBIDDEN, format!("change {change} was rejected by {by}: {reason}"))
                .hint("The same request is refused for 24 hours. Ask your sponsor what to do.")
        }
        Refusal::Failed { change, why } => {
            Said::error(CANNOT_JUDGE, format!("change {change} ended without effect: {why}"))
                .hint("The same statement sent again is a new request.")
        }
        Refusal::InDoubt { change, why } => {
            Said::error(CANNOT_JUDGE, format!("nobody knows whether change {change} ran: {why}"))
                .hint("A human must look before anything else is done here. Ask your sponsor.")
        }
        Refusal::CannotJudge { why } => Said::error(CANNOT_JUDGE, format!("cannot judge: {why}")),
        Refusal::CircuitOpen { why } => Said::error(FROZEN, format!("circuit open: {why}"))
            .hint("Stop, and ask your sponsor what to do. Do not try another way."),
        Refusal::LowDisk { why } => {
            Said::error(LOW_DISK, format!("the gateway is short of disk: {why}"))
                .detail("Nothing was done. Reads go on; nothing that writes does.")
                .hint("Whoever runs the gateway must make room. Try again later, not another way.")
        }
        Refusal::Frozen { why } => frozen(why),
        Refusal::Unavailable { why } => {
            Said::error(CANNOT_JUDGE, why).hint("Nothing was done. Try again later.")
        }
    }
}

/// What is forbidden to the agent, whoever approves; and what a human may do about it.
fn forbidden(reasons: &[Reason], kept: Option<&Kept>) -> Said {
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let said =
        Said::error(FORBIDDEN, format!("forbidden: {}", list(&reasons, "no grant permits it")));
    let Some(Kept { change, summary, adopted }) = kept else {
        return said
            .hint("No approval would permit this. Ask your sponsor; do not try another way.");
    };
    let said = said.detail(format!("kept as change {change}: would {summary}"));
    match adopted {
        None => said.hint(format!(
            "It is not yours to do. A human may adopt it: countermand adopt {change}. Ask your \
             sponsor; do not try another way."
        )),
        Some(human) => said.hint(format!(
            "It is not yours to do: {human} has adopted change {change}. Wait for them, and do not \
             try another way."
        )),
    }
}

/// What was measured against which limit, where the unit ran up to its commit.
fn measured(beyond: &[String]) -> String {
    match beyond {
        [] => String::new(),
        beyond => format!("measured, and rolled back: {}; ", beyond.join("; ")),
    }
}

/// What a frozen session is told before it ends.
pub(super) fn frozen(why: &str) -> Said {
    Said::error(FROZEN, format!("frozen: {why}"))
        .hint("Nothing flows until a human thaws it. Do not try another way.")
}

/// The same, for a session that ends with it.
pub(super) fn frozen_session(why: &str) -> Said {
    frozen(why).into_fatal()
}

fn list(words: &[String], none: &str) -> String {
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

/// Hostile text for a terminal: control characters, line ends and marks that turn the writing
/// direction are spelled out, so that nothing looks like what it is not.
pub(super) fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || turns {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use countermand_core::policy::Missing;
    use countermand_core::request::ChangeNumber;

    #[test]
    fn a_hold_reads_as_promised() {
        let held = refusal(&Refusal::Held {
            change: ChangeNumber(7),
            summary: "destroy schema billing: 3 tables".to_owned(),
            beyond: Vec::new(),
            missing: vec![
                Missing::Peers { have: 0, need: 1 },
                Missing::Cooling { have: 0, need: 60 },
            ],
            underway: vec!["rehearsal (running)".to_owned()],
            carried: false,
        });
        let mut out = BytesMut::new();
        held.encode(&mut out);
        let text = String::from_utf8(out[5..].to_vec()).unwrap().replace('\0', "\n");
        assert!(
            text.starts_with("SERROR\nVERROR\nCCM001\nMheld as change 7: would destroy schema")
        );
        assert!(text.contains("\nDmissing: 1 approval, 60 s cooling; now: rehearsal (running)\n"));
        assert!(
            text.contains("\nHReviewers decide with: countermand changes show 7. Send exactly")
        );
        assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
    }

    #[test]
    fn hostile_text_cannot_draw_on_a_terminal() {
        let hostile = "a\u{1b}[2J\u{202e}b\0c\nd\u{7f}\u{200b}\u{e0041}";
        let said = Said::error(HELD, hostile);
        let shown = "a\\u{1b}[2J\\u{202e}b\\u{0}c\\u{a}d\\u{7f}\\u{200b}\\u{e0041}";
        assert_eq!(said.message(), shown);
    }

    #[test]
    fn no_code_is_of_a_class_that_drivers_retry() {
        for code in [HELD, FORBIDDEN, CANNOT_JUDGE, FROZEN, LOW_DISK] {
            assert_eq!(code.len(), 5);
            assert!(!["08", "40", "57"].contains(&&code[..2]));
        }
    }
}
