//! `incident`: what happened, from the ledger alone.

use super::json;
use crate::cli::{Global, Incident as Arguments};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::moment::Moment;
use crate::show::{Page, Tone, escape};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{Command, IncidentWanted, Reply};
use countermand_engine::incident::{Affected, Flowed, Incident};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write as _;

/// Runs `incident`.
pub(super) fn run(global: &Global, arguments: &Arguments) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let at = |moment: Option<Moment>| {
        moment.map(|moment| moment.seen_from(now, &zone)).transpose().map_err(Failure::new)
    };
    let wanted = IncidentWanted {
        agent: arguments.agent.clone(),
        change: arguments.change.map(ChangeNumber),
        since: at(arguments.since)?,
        until: at(arguments.until)?,
    };
    let Reply::Incident(incident) = client.ask(&Command::Incident(wanted))? else {
        return Err(unexpected());
    };
    if global.json {
        json(&incident);
    } else if arguments.markdown {
        let written = std::io::stdout().write_all(incident.markdown().as_bytes());
        written.map_err(Failure::new)?;
    } else {
        show(&incident);
    }
    Ok(Exit::Done)
}

fn show(incident: &Incident) {
    let mut page = Page::stdout();
    let words = escape::line(&incident.subject);
    let head = page.paint(Tone::Heading, &format!("Incident: {words}"));
    page.line(head);
    page.field("from", &format!("{:.0}", incident.since));
    page.field("until", &format!("{:.0}", incident.until));
    for change in &incident.changes {
        put_change(&mut page, change);
    }
    let flowed = &incident.flowed;
    // Of a change alone nobody counts what flowed beside it.
    if *flowed != Flowed::default() {
        page.field(
            "flowed",
            &format!(
                "{} reads, {} writes; {} without effect, {} refused",
                flowed.read, flowed.written, flowed.undone, flowed.refused
            ),
        );
    }
    for (table, [inserted, updated, deleted]) in &flowed.rows {
        let rows = format!("{inserted} added, {updated} changed, {deleted} removed");
        page.field(&escape::line(table), &rows);
    }
    for (who, did) in &incident.involved {
        page.field(&escape::line(who), &escape::line(&did.join("; ")));
    }
    page.heading("Timeline");
    for moment in &incident.timeline {
        page.line(format!(
            "{:.3}  {:>6}  {}  {}",
            moment.at,
            moment.entry,
            escape::line(&moment.kind),
            escape::line(&moment.words)
        ));
    }
    if incident.left_out > 0 {
        page.words(&format!("and {} more: tell of a shorter time", incident.left_out));
    }
    page.heading("Taken back");
    incident.taken_back.iter().for_each(|words| page.words(&escape::line(words)));
    page.heading("Open questions");
    incident.questions.iter().for_each(|words| page.words(&escape::line(words)));
    page.print();
}

fn put_change(page: &mut Page, change: &Affected) {
    let words = format!(
        "{}: {} in {}, asked for by {} for {}",
        change.state,
        escape::line(&change.summary),
        change.target,
        change.agent,
        change.sponsor
    );
    page.field(&format!("change {}", change.number), &words);
    for (table, rows) in &change.rows {
        page.field(&escape::line(table), &format!("{rows} rows lost or changed"));
    }
}
