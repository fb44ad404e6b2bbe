//! The agents, and what each may do beside what it did.

use super::{Frame, Line, html, scope};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::{Text, When, digits};
use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use countermand_core::name::AgentName;
use countermand_engine::control::{AgentLine, ChangesWanted, Scope, Status};
use jiff::{SignedDuration, Timestamp};

/// What an agent did is counted from so long ago.
const SINCE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Of its changes so many of the latest are shown.
const CHANGES: u64 = 50;

struct Agent {
    name: String,
    sponsor: String,
    grant: Text,
    expires: When,
    /// `good`, `expired` or `revoked`.
    credential: &'static str,
    probation: Vec<String>,
    /// Whether nothing of it flows now, in words.
    frozen: Vec<Text>,
}

impl Agent {
    fn of(line: &AgentLine, status: &Status) -> Agent {
        let now = status.now;
        let scope = format!("agent {}: ", line.agent);
        let stops =
            |words: &&String| words.starts_with(&scope) || words.starts_with("everything: ");
        let until = |until: &Option<Timestamp>| match until {
            Some(until) => format!("until {}", When::seen_from(*until, now).words),
            None => "from its first session".to_owned(),
        };
        let on = |(target, end): (_, &Option<Timestamp>)| format!("{target} {}", until(end));
        Agent {
            name: line.agent.to_string(),
            sponsor: line.sponsor.to_string(),
            grant: Text::of(&line.grant),
            expires: When::seen_from(line.expires, now),
            credential: match (line.revoked, line.expires <= now) {
                (true, _) => "revoked",
                (false, true) => "expired",
                (false, false) => "good",
            },
            probation: line.probation.iter().map(on).collect(),
            frozen: Text::each(status.frozen.iter().filter(stops)),
        }
    }
}

#[derive(Template)]
#[template(path = "agents.html")]
struct Page {
    frame: Frame,
    agents: Vec<Agent>,
}

/// `GET /agents`
pub(crate) async fn page(reader: Reader) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let agents = reader.agents().await?;
    let agents = agents.iter().map(|line| Agent::of(line, &status)).collect();
    html(&Page { frame: Frame::of(&reader, &status, "agents", "Agents"), agents })
}

/// A verb that it used.
struct Use {
    target: String,
    verb: Text,
    times: String,
}

/// What it changed within the last hour, and how much it may.
struct Window {
    target: String,
    used: String,
    most: String,
    at_once: String,
    inserted: String,
}

#[derive(Template)]
#[template(path = "agent.html")]
struct One {
    frame: Frame,
    agent: Agent,
    /// As an act names it.
    scope: String,
    windows: Vec<Window>,
    used: Vec<Use>,
    unused: Vec<String>,
    lines: Vec<Line>,
}

/// `GET /agents/NAME`
pub(crate) async fn one(reader: Reader, Path(name): Path<String>) -> Result<Response, Trouble> {
    let unknown = || Trouble::Missing("there is no such agent".to_owned());
    let name = AgentName::new(name).map_err(|_| unknown())?;
    let status = reader.status().await?;
    let agents = reader.agents().await?;
    let line = agents.iter().find(|line| line.agent == name).ok_or_else(unknown)?;
    let since = status.now.saturating_sub(SINCE).unwrap_or(status.now);
    let report = reader.report(name.clone(), since).await?;
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    if let Some(report) = report {
        for (target, verbs) in &report.used {
            used.extend(verbs.iter().map(|(verb, times)| Use {
                target: target.to_string(),
                verb: Text::of(verb),
                times: digits(*times),
            }));
        }
        unused.extend(report.unused.effects.iter().map(ToString::to_string));
        unused.extend(report.unused.targets.iter().map(ToString::to_string));
    }
    let own =
        ChangesWanted { agent: Some(name.to_string()), limit: Some(CHANGES), ..Default::default() };
    let (own, _) = reader.changes(false, own).await?;
    let windows = reader.used_limits(&name)?.into_iter().map(|(target, (used, limits))| Window {
        target: target.to_string(),
        used: digits(used),
        most: digits(limits.rows_per_hour),
        at_once: digits(limits.rows),
        inserted: digits(limits.inserted),
    });
    html(&One {
        frame: Frame::of(&reader, &status, "agents", format!("Agent {name}")),
        agent: Agent::of(line, &status),
        scope: scope(&Scope::Agent(name))?,
        windows: windows.collect(),
        used,
        unused,
        lines: own.iter().map(|change| Line::of(change, status.now)).collect(),
    })
}
