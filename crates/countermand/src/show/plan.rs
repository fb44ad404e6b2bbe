//! What taking a change back would do.

use super::change::counts;
use super::{Page, Tone, escape};
use countermand_engine::target::RestorePlan;

/// Puts the plan on the page.
pub fn plan(page: &mut Page, plan: &RestorePlan) {
    page.heading("Restore plan");
    page.field("rows back", &counts(&plan.rows));
    put(page, "re-created", Tone::Plain, &plan.objects);
    put(page, "changed since", Tone::Warning, &plan.conflicts);
    put(page, "not restorable", Tone::Danger, &plan.missing);
    if !plan.conflicts.is_empty() {
        page.words("What changed since is refused, or overwritten with --overwrite.");
    }
}

fn put(page: &mut Page, label: &str, tone: Tone, words: &[String]) {
    for word in words {
        let word = page.paint(tone, &escape::line(word));
        page.field(label, &word);
    }
}
