//! A change, for people: what it would do, what was shown for it, what it still needs.

use super::{Align, Page, Table, Tone, escape, tree};
use crate::at_door::AgentView;
use countermand_core::change::Outcome;
use countermand_core::preview::Counts;
use countermand_core::radius::{Reversibility, human_bytes};
use countermand_engine::control::{ChangeLine, ChangeView};

/// Changes as a list.
pub fn list(page: &mut Page, changes: &[ChangeLine]) {
    if changes.is_empty() {
        page.line("no changes");
        return;
    }
    let mut table = Table::new(&[
        ("change", Align::Right),
        ("state", Align::Left),
        ("agent", Align::Left),
        ("target", Align::Left),
        ("what it would do, and what is missing", Align::Left),
    ]);
    for change in changes {
        let mut words = escape::line(&change.summary);
        if !change.missing.is_empty() {
            words.push_str(&format!(" — missing: {}", escape::line(&change.missing.join(", "))));
        }
        if let Some(watch) = &change.watch {
            words.push_str(&format!(" — {}", escape::line(watch)));
        }
        table.row(vec![
            (Tone::Plain, change.number.to_string()),
            (tone_of(&change.state), state(change)),
            (Tone::Plain, change.agent.to_string()),
            (Tone::Plain, change.target.to_string()),
            (Tone::Plain, words),
        ]);
    }
    table.put(page);
}

/// One change, whole: what a reviewer reads before they sign, and anyone afterwards.
pub fn view(page: &mut Page, change: &ChangeView) {
    let line = &change.line;
    let state = page.paint(tone_of(&line.state), &state(line));
    page.heading(&format!("Change {}", line.number));
    page.field("state", &state);
    page.field("target", &format!("{} ({})", line.target, change.environment));
    let own = line.agent.human();
    let requester = match &own {
        Some(human) if line.adopted.is_none() => format!("whoever asked in {human}'s name"),
        Some(human) => format!("{human}, for themself"),
        None => format!("agent {} for {}", line.agent, line.sponsor),
    };
    page.field("requested by", &requester);
    if let Some(human) = line.adopted.as_ref().filter(|_| own.is_none()) {
        page.field("adopted by", &format!("{human}, as their own change"));
    }
    let kept = matches!(line.state.as_str(), "forbidden" | "unsigned");
    page.field(if kept { "kept since" } else { "held since" }, &line.opened.to_string());
    if !change.said.is_empty() {
        let said = format!("\"{}\" (untrusted)", escape::line(&change.said));
        page.field("client says", &said);
    }
    radius(page, change);
    ceiling(page, change);
    reads(page, change);
    reversibility(page, &change.preview.reversibility);
    not_removed(page, change);
    page.untrusted("Payload, exactly what would run", &change.payload);
    beside(page, change);
    ended(page, change);
    history(page, change);
}

/// What an agent sees of one of its changes.
pub fn of_agent(page: &mut Page, view: &AgentView) {
    let line = &view.change;
    page.heading(&format!("Change {}", line.number));
    let state = page.paint(Tone::Heading, &escape::line(&state(line)));
    page.field("state", &state);
    page.field("target", line.target.as_str());
    page.field("it would", &escape::line(&line.summary));
    for (label, words) in [("missing", &line.missing), ("underway", &view.underway)] {
        for words in words {
            page.field(label, &escape::line(words));
        }
    }
    if let Some(watch) = &line.watch {
        page.field("watch", &escape::line(watch));
    }
    if let Some(ended) = &view.ended {
        page.field("ended", &escape::line(ended));
    }
}

/// Where it stands; and where nobody but its own human has looked, that too.
fn state(line: &ChangeLine) -> String {
    let confirmed = ", confirmed by its sponsor, not peer-reviewed";
    format!("{}{}", line.state, if line.not_peer_reviewed { confirmed } else { "" })
}

fn radius(page: &mut Page, change: &ChangeView) {
    page.heading("Blast radius");
    page.words(&escape::line(&change.line.summary));
    tree(page, &change.preview.radius);
    for lock in &change.preview.radius.locks {
        let words = format!(
            "{} on {}: {} wait, about {} ms",
            escape::line(&lock.mode),
            escape::line(&lock.object.to_string()),
            escape::line(&lock.blocks),
            lock.millis
        );
        page.field("lock", &words);
    }
    if change.preview.unavailable {
        let words = "a lock is held over its budget: the resource counts as unavailable";
        let words = page.paint(Tone::Danger, words);
        page.field("unavailable", &words);
    }
    let estimates = &change.preview.estimates;
    let words = format!(
        "{} on disk; restore point in about {} s; recovery in about {} s",
        human_bytes(estimates.bytes),
        estimates.backup_seconds,
        estimates.recovery_seconds
    );
    page.field("estimates", &words);
}

fn ceiling(page: &mut Page, change: &ChangeView) {
    page.heading("Ceiling: the most it may do, or it is rolled back");
    let rows = &change.preview.ceiling.rows;
    if rows.is_empty() {
        page.words("no row may be lost or changed");
        return;
    }
    let rehearsed = change.rehearsed.as_ref();
    let mut heads =
        vec![("measured", Align::Right), ("signed for", Align::Right), ("table", Align::Left)];
    if rehearsed.is_some() {
        heads.insert(2, ("rehearsed", Align::Right));
    }
    let mut table = Table::new(&heads);
    for (name, limit) in rows {
        let mut cells = vec![
            (Tone::Plain, limit.measured.to_string()),
            (Tone::Heading, limit.limit.to_string()),
            (Tone::Plain, escape::line(name)),
        ];
        if let Some(counts) = rehearsed {
            let count = counts.get(name).copied().unwrap_or(0);
            cells.insert(2, (Tone::Dim, count.to_string()));
        }
        table.row(cells);
    }
    table.put(page);
}

fn reads(page: &mut Page, change: &ChangeView) {
    let reads = &change.preview.identity.reads;
    if reads.is_empty() {
        return;
    }
    page.heading("Reads: if anybody changes a row of it, approvals are void");
    for object in reads.keys() {
        page.words(&escape::line(object));
    }
}

/// Whether it can be taken back, in the words that are signed.
pub fn reversibility(page: &mut Page, reversibility: &Reversibility) {
    let tone = match reversibility {
        Reversibility::Restorable => Tone::Good,
        Reversibility::CannotBeTakenBack(_) => Tone::Danger,
    };
    let words = page.paint(tone, &escape::line(&reversibility.to_string()));
    page.heading("Reversibility");
    page.words(&words);
}

/// What a restore does not do.
fn not_removed(page: &mut Page, change: &ChangeView) {
    if change.preview.takes_nothing() && change.preview.reversibility == Reversibility::Restorable {
        let words = "it takes nothing away: nothing is to be brought back, and `restore` does not \
                     remove what it makes";
        let words = page.paint(Tone::Warning, words);
        page.words(&words);
    }
}

fn beside(page: &mut Page, change: &ChangeView) {
    page.heading("Evidence");
    page.field("what is signed", &format!("SHA-256 {}", change.subject));
    let (why, adoptable) = match change.line.state.as_str() {
        "forbidden" => ("forbidden because", true),
        "unsigned" => ("unsigned because", true),
        _ => ("held because", false),
    };
    for reason in &change.reasons {
        page.field(why, &escape::line(reason));
    }
    match &change.trial {
        Some(trial) => {
            let words = format!(
                "taken and read back: {} tables, {}, in {} ms",
                trial.tables.len(),
                human_bytes(trial.bytes),
                trial.millis
            );
            page.field("restore point", &words);
        }
        None => page.field("restore point", "no trial yet"),
    }
    page.field("rehearsal", &escape::line(&change.rehearsal));
    for approval in &change.approvals {
        page.field("approved", &escape::line(approval));
    }
    if let Some(until) = change.cools_until {
        let then = if change.starts_by_itself { ", then it starts by itself" } else { "" };
        page.field("cools until", &format!("{until}{then}"));
    }
    if adoptable {
        let number = change.line.number;
        page.field("adopted with", &format!("countermand adopt {number} --key KEY"));
    }
    let missing = &change.line.missing;
    if !missing.is_empty() {
        let words = page.paint(Tone::Warning, &escape::line(&missing.join(", ")));
        page.field("missing", &words);
    }
}

fn ended(page: &mut Page, change: &ChangeView) {
    if let Some(why) = &change.ended {
        page.heading("Ended");
        page.words(&escape::line(why));
    }
    if let Some(outcome) = &change.outcome {
        page.heading("Outcome");
        put_outcome(page, outcome);
    }
    if let Some(watch) = &change.line.watch {
        page.field("watch", &escape::line(watch));
    }
    let number = change.line.number;
    if change.line.state == "in doubt" {
        let words = "look at the target, and say what you found:";
        page.field("a human must", words);
        for found in ["--committed", "--rolled-back"] {
            page.words(&format!("countermand resolve {number} {found} --reason WHY --key KEY"));
        }
    } else if let Some(point) = &change.restore_point {
        page.field("taken back by", &format!("countermand restore {number} --key KEY"));
        page.field("restore point", &escape::line(&point.folder));
    }
}

fn put_outcome(page: &mut Page, outcome: &Outcome) {
    page.field("the target said", &escape::line(&outcome.said.join(", ")));
    page.field("rows", &counts(&outcome.measured));
}

fn history(page: &mut Page, change: &ChangeView) {
    page.heading("History");
    for (at, words) in &change.history {
        let at = page.paint(Tone::Dim, &format!("  {at:.0}  "));
        page.item(&at, &escape::line(words));
    }
}

/// `3 in billing.invoices, 1 in billing.lines`, or `none`.
pub fn counts(counts: &Counts) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<String> =
        counts.iter().map(|(table, rows)| format!("{rows} in {}", escape::line(table))).collect();
    words.join(", ")
}

fn tone_of(state: &str) -> Tone {
    match state {
        "executed" | "restored" => Tone::Good,
        "held" | "running" | "committing" => Tone::Warning,
        "forbidden" | "failed" | "rejected" | "in doubt" => Tone::Danger,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
pub(crate) mod tests;
