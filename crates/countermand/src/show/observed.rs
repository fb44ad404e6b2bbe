//! That nothing is held somewhere, said wherever people look.

use super::{Page, Tone, escape};
use countermand_engine::observe::{Example, Forbidden, Group, ObserveReport, ObservedLine, Spread};

/// A line in red for each target in which nothing is held.
pub(crate) fn banner<'a>(page: &mut Page, lines: impl IntoIterator<Item = &'a ObservedLine>) {
    for line in lines {
        let words = page.paint(Tone::Danger, &line.to_string());
        page.line(words);
    }
}

/// What was observed in a target.
pub(crate) fn report(page: &mut Page, report: &ObserveReport) {
    let ObserveReport { target, since, flowed, held, refused, lost, .. } = report;
    banner(page, &report.observed);
    page.heading(&format!("Observed in {target} since {since:.0}"));
    page.field("flowed", &format!("{flowed} units that wrote"));
    let words = page.paint(Tone::Warning, &format!("{held} would have been held"));
    page.field("of those", &words);
    if *refused > 0 {
        page.field("", &format!("{refused} would have met an open circuit"));
    }
    if *lost > 0 {
        let words = page.paint(Tone::Danger, &format!("{lost} cannot be taken back"));
        page.field("", &words);
    }
    report.groups.iter().for_each(|group| put(page, group));
    if !report.forbidden.is_empty() {
        page.heading("Forbidden, and not let through");
        report.forbidden.iter().for_each(|forbidden| refusal(page, forbidden));
    }
    limits(page, report);
}

fn put(page: &mut Page, group: &Group) {
    let Group { verbs, tables, against, units, most_rows, examples } = group;
    page.heading(&format!("{units} times {}", escape::line(&verbs.join(", "))));
    if !tables.is_empty() {
        page.field("tables", &escape::line(&tables.join(", ")));
    }
    page.field("against", &escape::line(&against.join(", ")));
    page.field("most rows", &most_rows.to_string());
    for Example { entry, at, agent, words, text } in examples {
        let words = escape::line(&words.join("; "));
        page.field("for example", &format!("ledger entry {entry}, {at:.0}, {agent}: {words}"));
        page.untrusted("    its text begins", text);
    }
}

fn refusal(page: &mut Page, forbidden: &Forbidden) {
    let Forbidden { verbs, policies, units } = forbidden;
    let (verbs, policies) = (verbs.join(", "), policies.join(", "));
    page.field(&format!("{units} times"), &escape::line(&format!("{verbs}, by {policies}")));
}

fn limits(page: &mut Page, report: &ObserveReport) {
    let ObserveReport { target, limits, proposed, still_held, .. } = report;
    page.heading("Limits");
    for (what, Spread { p50, p99, most }) in [
        ("rows", report.rows),
        ("inserted", report.inserted),
        ("rows an hour", report.rows_per_hour),
    ] {
        page.field(what, &format!("half up to {p50}, 99 in 100 up to {p99}, the most {most}"));
    }
    page.words(&format!(
        "99 in 100 of what was seen is within these; {still_held} units would still be held. An \
         agent that knew could have made them large: look at the examples first."
    ));
    page.line(format!("    [targets.{target}.writes]"));
    for (key, now, then) in [
        ("rows", limits.rows, proposed.rows),
        ("rows_per_hour", limits.rows_per_hour, proposed.rows_per_hour),
        ("inserted", limits.inserted, proposed.inserted),
    ] {
        page.line(format!("    {key} = {then}    # now {now}"));
    }
}
