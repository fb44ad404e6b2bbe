//! Pages for people: each a template, and the values it is filled with.

pub(crate) mod agents;
pub(crate) mod changes;
pub(crate) mod configuration;
pub(crate) mod decision;
pub(crate) mod doctor;
pub(crate) mod enter;
pub(crate) mod explain;
pub(crate) mod incident;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod policies;
pub(crate) mod queue;
pub(crate) mod rows;
pub(crate) mod status;
pub(crate) mod targets;
mod why;

use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::{Text, When};
use askama::Template;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use countermand_engine::control::{ChangeLine, Scope, Status};
use jiff::Timestamp;

/// What stands around every page of somebody who is logged in.
pub(crate) struct Frame {
    title: String,
    /// The section that it belongs to.
    tab: &'static str,
    installation: String,
    human: String,
    /// Whether a passkey proved it.
    proven: bool,
    until: When,
    frozen: Vec<Text>,
    demo: bool,
    /// The ledger's time, in milliseconds: clocks on pages run by it.
    now: i64,
}

impl Frame {
    fn of(reader: &Reader, status: &Status, tab: &'static str, title: impl Into<String>) -> Frame {
        Frame {
            title: title.into(),
            tab,
            installation: status.installation.clone(),
            human: reader.human().to_string(),
            proven: reader.proven_by().is_some(),
            until: When::seen_from(reader.until(), status.now),
            frozen: Text::each(&status.frozen),
            demo: status.demo,
            now: status.now.as_millisecond(),
        }
    }
}

/// A change in a list.
pub(crate) struct Line {
    number: u64,
    state: String,
    class: &'static str,
    agent: String,
    sponsor: String,
    target: String,
    summary: Text,
    opened: When,
    missing: Vec<Text>,
    watch: Option<Text>,
    alone: bool,
    /// Nothing is held in its target now.
    observed: bool,
}

impl Line {
    fn of(change: &ChangeLine, now: Timestamp) -> Line {
        Line {
            number: change.number.0,
            state: change.state.clone(),
            class: class(&change.state),
            agent: change.agent.to_string(),
            sponsor: change.sponsor.to_string(),
            target: change.target.to_string(),
            summary: Text::of(&change.summary),
            opened: When::seen_from(change.opened, now),
            missing: Text::each(&change.missing),
            watch: change.watch.as_ref().map(Text::of),
            alone: change.not_peer_reviewed,
            observed: change.observed.is_some(),
        }
    }
}

/// What a state means, as a class of the style sheet.
fn class(state: &str) -> &'static str {
    match state {
        "executed" | "restored" => "good",
        "held" | "unsigned" | "running" | "committing" => "waits",
        "forbidden" | "failed" | "rejected" | "in doubt" => "bad",
        _ => "plain",
    }
}

/// What would be frozen, as an act names it.
fn scope(what: &Scope) -> Result<String, Trouble> {
    serde_json::to_string(what).map_err(|_| Trouble::Unexpected)
}

fn html(template: &impl Template) -> Result<Response, Trouble> {
    let text = template.render().map_err(|_| Trouble::Unexpected)?;
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    title: &'a str,
    why: Text,
}

/// The page that says what is wrong.
pub(crate) fn trouble(trouble: &Trouble) -> Response {
    let page = TroublePage { title: trouble.title(), why: Text::of(trouble.to_string()) };
    html(&page).unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Where there is nothing.
pub(crate) async fn missing(_: Reader) -> Trouble {
    Trouble::Missing("there is no such page".to_owned())
}
