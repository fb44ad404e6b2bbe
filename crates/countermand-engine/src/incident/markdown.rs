//! An incident as a report, in the manner of a Correction of Error.
//!
//! Whatever somebody else wrote stands in a code span or a fenced block: there Markdown has no
//! headings, links, images, mentions or HTML.

use super::{Affected, Flowed, Incident};
use countermand_core::visible;
use std::fmt::Write as _;

/// Lines of a payload. Its entry has it whole.
const LINES: usize = 100;

impl Incident {
    /// The report as Markdown (CommonMark, GitHub's too).
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        self.put_head(&mut page);
        self.put_impact(&mut page);
        self.put_people(&mut page);
        self.put_timeline(&mut page);
        list(&mut page, "What was done to take back", "Nothing.", self.taken_back.iter());
        list(&mut page, "Open questions", "None.", self.questions.iter());
        self.put_evidence(&mut page);
        page
    }

    fn put_head(&self, page: &mut String) {
        let _ = writeln!(page, "# Incident: {}\n", code(&self.subject));
        let _ = writeln!(
            page,
            "From {:.0} until {:.0}, told at {:.0} of {} from the ledger alone.\n",
            self.since,
            self.until,
            self.told,
            code(&self.installation)
        );
        page.push_str("## What happened\n\n");
        if self.changes.is_empty() {
            page.push_str("No change was asked for or moved.\n");
        }
        for change in &self.changes {
            put_change(page, change);
        }
    }

    fn put_impact(&self, page: &mut String) {
        let flowed = &self.flowed;
        page.push_str("\n## Impact\n\n");
        for change in self.changes.iter().filter(|change| !change.rows.is_empty()) {
            for (table, rows) in &change.rows {
                let where_it_is = code(&format!("{} {table}", change.target));
                let back = if change.state == "restored" { ", taken back" } else { "" };
                let _ = writeln!(
                    page,
                    "- {rows} rows lost or changed in {where_it_is} by change {}{back}",
                    change.number
                );
            }
        }
        for (table, [inserted, updated, deleted]) in &flowed.rows {
            let table = code(table);
            let _ = writeln!(
                page,
                "- {inserted} rows added, {updated} changed, {deleted} removed in {table} by writes within limits"
            );
        }
        // Of a change alone nobody counts what flowed beside it.
        if *flowed == Flowed::default() {
            return;
        }
        let _ = writeln!(
            page,
            "- flowed: {} reads, {} writes; {} without effect; {} refused",
            flowed.read, flowed.written, flowed.undone, flowed.refused
        );
    }

    fn put_people(&self, page: &mut String) {
        let lines = self.involved.iter().map(|(who, did)| format!("{who}: {}", did.join("; ")));
        list(page, "Who", "Nobody.", lines);
    }

    fn put_timeline(&self, page: &mut String) {
        page.push_str("\n## Timeline\n\n");
        for moment in &self.timeline {
            let change = moment.change.map(|number| format!(" change {number}"));
            let _ = writeln!(
                page,
                "- {:.3} entry {}{} {} {}",
                moment.at,
                moment.entry,
                change.unwrap_or_default(),
                code(&moment.kind),
                code(&moment.words)
            );
        }
        if self.left_out > 0 {
            let _ = writeln!(page, "- and {} more: tell of a shorter time", self.left_out);
        }
    }

    fn put_evidence(&self, page: &mut String) {
        page.push_str("\n## Evidence\n\nEntries by their RFC 6962 leaf hashes:\n\n");
        for moment in &self.timeline {
            let _ = writeln!(page, "- entry {} {}", moment.entry, code(&moment.hash));
        }
        page.push_str(
            "\nEach can be proven to somebody who trusts nobody here: `countermand ledger prove N`, \
             and offline `countermand ledger check FILE --key ledger.pub`.\n",
        );
        if let Some(checkpoint) = &self.checkpoint {
            page.push_str("\nThe newest signed checkpoint:\n\n");
            fence(page, &visible::lines(checkpoint));
        }
    }
}

fn put_change(page: &mut String, change: &Affected) {
    let Affected { number, state, agent, sponsor, target, environment, entry, .. } = change;
    let adopted =
        change.adopted.as_ref().map(|human| format!(", adopted by {}", code(human.as_str())));
    let _ = writeln!(
        page,
        "\n### Change {number}: {state}\n\n{} in {} ({}), asked for by {} for {}{} in entry {entry}; {}.\n",
        code(&change.summary),
        code(target.as_str()),
        code(environment),
        code(agent.as_str()),
        code(sponsor.as_str()),
        adopted.unwrap_or_default(),
        code(&change.way_back)
    );
    let Some(payload) = &change.payload else {
        page.push_str("What it ran was erased; its digest stands in the entry.\n");
        return;
    };
    let lines = visible::lines(payload);
    fence(page, &lines[..lines.len().min(LINES)]);
    if lines.len() > LINES {
        let _ = writeln!(page, "\n{} more lines are in entry {entry}.", lines.len() - LINES);
    }
}

fn list(page: &mut String, title: &str, none: &str, lines: impl Iterator<Item = impl AsRef<str>>) {
    let _ = writeln!(page, "\n## {title}\n");
    let mut any = false;
    for line in lines {
        any = true;
        let _ = writeln!(page, "- {}", code(line.as_ref()));
    }
    if !any {
        let _ = writeln!(page, "{none}");
    }
}

/// A text on one line as a code span, whose fence is longer than any in the text.
fn code(text: &str) -> String {
    let text = visible::line(text);
    let fence = "`".repeat(longest(&text) + 1);
    let pad = match text.chars().all(|c| c == ' ') {
        // Spaces alone are not stripped.
        true => "",
        false => " ",
    };
    if text.is_empty() { "(nothing)".to_owned() } else { format!("{fence}{pad}{text}{pad}{fence}") }
}

/// Lines as a block, whose fence is longer than any in them.
fn fence(page: &mut String, lines: &[String]) {
    let most = lines.iter().map(|line| longest(line)).max().unwrap_or(0);
    let fence = "`".repeat(most.max(2) + 1);
    let _ = writeln!(page, "{fence}text");
    lines.iter().for_each(|line| {
        let _ = writeln!(page, "{line}");
    });
    let _ = writeln!(page, "{fence}");
}

/// How many backticks stand beside each other at most.
fn longest(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
