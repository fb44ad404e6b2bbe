//! `agent report`: what agents may do beside what they did.

use super::json;
use crate::cli::Global;
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::moment::Moment;
use crate::show::{Page, Tone};
use countermand_core::name::AgentName;
use countermand_core::policy::Grant;
use countermand_engine::control::{AgentReport, Command, Reply};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Display;

/// Runs `agent report`.
pub(super) fn run(
    global: &Global,
    client: &mut Client,
    agent: Option<AgentName>,
    since: Moment,
) -> Result<Exit, Failure> {
    let since = since.seen_from(Timestamp::now(), &TimeZone::system()).map_err(Failure::usage)?;
    let Reply::AgentReports { agents } = client.ask(&Command::AgentReport { agent, since })? else {
        return Err(unexpected());
    };
    if global.json {
        json(&agents);
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    if agents.is_empty() {
        page.line("no agents");
    }
    for agent in &agents {
        put(&mut page, agent);
    }
    page.print();
    Ok(Exit::Done)
}

fn put(page: &mut Page, report: &AgentReport) {
    let AgentReport { agent, sponsor, since, granted, used, unused, tighter } = report;
    page.heading(&format!("Agent {agent}, for {sponsor}, since {since:.0}"));
    page.field("may", &words(granted));
    for (target, verbs) in used {
        let verbs = verbs.iter().map(|(verb, times)| format!("{verb} {times} times"));
        page.field("used", &format!("{target}: {}", joined(verbs, ", ")));
    }
    if used.is_empty() {
        page.field("used", "nothing");
    }
    match tighter {
        None => page.field("unused", "nothing"),
        Some(enough) => {
            let never = [joined(unused.effects.iter(), ", "), joined(unused.targets.iter(), ", ")];
            let never = never.iter().filter(|words| !words.is_empty());
            let never = page.paint(Tone::Warning, &joined(never, "; "));
            page.field("unused", &never);
            page.words("Enough would have been:");
            page.line(format!("    countermand agent revoke {agent}"));
            if let Some(add) = add(agent, enough) {
                page.line(format!("    {add}"));
            }
        }
    }
}

/// The command that lets an agent in with this grant; none for one that is empty.
fn add(agent: &AgentName, grant: &Grant) -> Option<String> {
    let Grant { targets, effects } = grant;
    (!targets.is_empty() && !effects.is_empty()).then(|| {
        format!(
            "countermand agent add {agent} --targets {} --effects {} --key KEY",
            joined(targets.iter(), ","),
            joined(effects.iter(), ",")
        )
    })
}

/// `read, write on shop`.
fn words(grant: &Grant) -> String {
    format!("{} on {}", joined(grant.effects.iter(), ", "), joined(grant.targets.iter(), ", "))
}

fn joined(items: impl Iterator<Item = impl Display>, between: &str) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}
