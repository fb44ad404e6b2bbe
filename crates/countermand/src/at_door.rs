//! An agent at its door: an ordinary client, with the agent's own credential and nothing else.
//!
//! What it asks about its changes goes over the same connection as its work: the door answers
//! `SHOW countermand.changes`, `SHOW countermand.change_7` and `SET countermand.withdraw = '7'`
//! itself.

mod session;

pub(crate) use session::simple;
pub use session::{AgentSession, Said};

use crate::cli::Global;
use crate::commands::{after, json};
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, change, escape};
use countermand_engine::control::ChangeLine;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How often an agent looks at a change that it waits for: there is nothing to be woken by.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What an agent sees of one of its changes.
#[derive(Debug, Serialize, Deserialize)]
struct AgentView {
    change: ChangeLine,
    #[serde(default)]
    ended: Option<String>,
    #[serde(default)]
    underway: Vec<String>,
}

/// Shows the agent's changes.
pub(crate) fn list(
    global: &Global,
    session: &mut AgentSession,
    open: bool,
) -> Result<Exit, Failure> {
    let mut changes: Vec<ChangeLine> = read(&session.value("SHOW countermand.changes")?)?;
    changes.retain(|change| !open || after(&change.state) == Exit::Held);
    if global.json {
        json(&changes);
    } else {
        let mut page = Page::stdout();
        change::list(&mut page, &changes);
        page.print();
    }
    Ok(Exit::Done)
}

/// Shows one of the agent's changes.
pub(crate) fn show(
    global: &Global,
    session: &mut AgentSession,
    number: u64,
) -> Result<Exit, Failure> {
    let view = look(session, number)?;
    put(global, &view);
    Ok(Exit::Done)
}

/// Looks at one of the agent's changes until it has ended.
pub(crate) fn wait(
    global: &Global,
    session: &mut AgentSession,
    number: u64,
    until: Instant,
) -> Result<Exit, Failure> {
    loop {
        let view = look(session, number)?;
        let exit = after(&view.change.state);
        let left = until.saturating_duration_since(Instant::now());
        if exit != Exit::Held || left.is_zero() {
            put(global, &view);
            return Ok(exit);
        }
        std::thread::sleep(LOOK_EVERY.min(left));
    }
}

/// Takes one of the agent's changes back.
pub(crate) fn withdraw(
    global: &Global,
    session: &mut AgentSession,
    number: u64,
) -> Result<Exit, Failure> {
    session.ask(&format!("SET countermand.withdraw = '{number}'"))?;
    if global.json {
        json(&serde_json::json!({ "withdrawn": number }));
    } else {
        println!("change {number} is withdrawn");
    }
    Ok(Exit::Done)
}

fn look(session: &mut AgentSession, number: u64) -> Result<AgentView, Failure> {
    read(&session.value(&format!("SHOW countermand.change_{number}"))?)
}

fn read<T: for<'de> Deserialize<'de>>(value: &str) -> Result<T, Failure> {
    serde_json::from_str(value).map_err(|error| {
        Failure::new(format!("the door's answer is not understood: {error}; is it Countermand's?"))
    })
}

fn put(global: &Global, view: &AgentView) {
    if global.json {
        json(view);
        return;
    }
    let line = &view.change;
    let mut page = Page::stdout();
    page.heading(&format!("Change {}", line.number));
    let state = page.paint(Tone::Heading, &escape::line(&line.state));
    page.field("state", &state);
    page.field("target", line.target.as_str());
    page.field("it would", &escape::line(&line.summary));
    for missing in &line.missing {
        page.field("missing", &escape::line(missing));
    }
    for underway in &view.underway {
        page.field("underway", &escape::line(underway));
    }
    if let Some(ended) = &view.ended {
        page.field("ended", &escape::line(ended));
    }
    page.print();
}
