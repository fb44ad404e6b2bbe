//! What taking back would do: a change, or what an agent wrote.

use super::change::counts;
use super::{Page, Tone, escape};
use countermand_engine::control::Writes;
use countermand_engine::target::RestorePlan;

/// Puts the plan of taking a change back on the page.
pub fn plan(page: &mut Page, plan: &RestorePlan) {
    page.heading("Restore plan");
    content(page, plan);
    if !plan.conflicts.is_empty() {
        page.words("What changed since is refused, or overwritten with --overwrite.");
    }
}

/// Puts the plan of taking back an agent's writes on the page.
pub fn writes(page: &mut Page, writes: &Writes, plan: &RestorePlan) {
    page.heading("Plan of taking back");
    page.field("agent", writes.agent.as_str());
    if let Some(target) = &writes.target {
        page.field("target", target.as_str());
    }
    page.field("from", &writes.since.to_string());
    if let Some(until) = writes.until {
        page.field("until", &until.to_string());
    }
    content(page, plan);
    if !plan.conflicts.is_empty() {
        page.words(
            "What changed since is left as it is, and named again. With --overwrite rows that are \
             still there or were there before are put back all the same.",
        );
    }
}

fn content(page: &mut Page, plan: &RestorePlan) {
    page.field("rows back", &counts(&plan.rows));
    if !plan.removed.is_empty() {
        page.field("rows removed", &format!("{}, which it added", counts(&plan.removed)));
    }
    put(page, "re-created", Tone::Plain, &plan.objects);
    put(page, "changed since", Tone::Warning, &plan.conflicts);
    put(page, "not restorable", Tone::Danger, &plan.missing);
}

fn put(page: &mut Page, label: &str, tone: Tone, words: &[String]) {
    for word in words {
        let word = page.paint(tone, &escape::line(word));
        page.field(label, &word);
    }
}
