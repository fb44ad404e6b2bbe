//! What a human signs with a standing approval, in words.

use super::{Page, escape};
use countermand_core::standing::StandingSubject;
use jiff::SignedDuration;

/// For what it is, beside the example: whose requests, how often, how long, and what may differ.
pub(crate) fn terms(page: &mut Page, subject: &StandingSubject, open: &[String]) {
    page.heading("Standing approval");
    page.words(&format!(
        "You approve beforehand what {} asks of {} like change {}: each time as one approval of \
         yours, for which nobody asks you again.",
        subject.requester, subject.scene.target, subject.example
    ));
    page.field("until", &format!("{:.0}", subject.until));
    let runs = subject.runs.map_or("any number".to_owned(), |runs| format!("at most {runs}"));
    page.field("runs", &runs);
    let apart = SignedDuration::from_secs(i64::try_from(subject.apart).unwrap_or(i64::MAX));
    page.field("apart", &format!("{apart:#} between two runs, at least"));
    for (table, rows) in &subject.ceiling {
        page.field("each", &format!("at most {rows} rows of {}", escape::line(table)));
    }
    page.field("it", &escape::line(&subject.reversibility.to_string()));
    if open.is_empty() {
        page.words("Nothing in it may differ.");
        return;
    }
    page.words("These values say which rows, and may be any others; all else is the same:");
    for value in open {
        page.item("", &escape::line(value));
    }
}
