//! What happened, from the ledger alone.

use super::{Frame, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::{Markup, Text, When, digits, listing};
use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use countermand_core::name::AgentName;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::IncidentWanted;
use countermand_engine::incident::{Affected, Flowed, Incident};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

/// Of what it is told. What is left empty is not asked for.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Of this change alone.
    #[serde(default)]
    change: String,
    /// Of what this agent did.
    #[serde(default)]
    agent: String,
    /// From then on, RFC 3339; a day before the end where it is left out.
    #[serde(default)]
    since: String,
    /// Until then, RFC 3339; now where it is left out.
    #[serde(default)]
    until: String,
}

impl Wanted {
    pub(crate) fn asked(&self) -> Result<IncidentWanted, Trouble> {
        let bad = |what: &str, text: &str| Trouble::Bad(format!("`{text}` is no {what}"));
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let at = |text: &str| {
            let read = |text: String| {
                text.parse().map_err(|_| bad("time: write it as `2026-01-31T10:40:00Z`", &text))
            };
            given(text).map(read).transpose()
        };
        let agent = |text: String| AgentName::new(&text).map_err(|_| bad("agent's name", &text));
        let change = |text: String| {
            text.parse().map(ChangeNumber).map_err(|_| bad("change's number", &text))
        };
        Ok(IncidentWanted {
            agent: given(&self.agent).map(agent).transpose()?,
            change: given(&self.change).map(change).transpose()?,
            since: at(&self.since)?,
            until: at(&self.until)?,
        })
    }
}

struct Change {
    number: u64,
    state: String,
    class: &'static str,
    summary: Text,
    target: String,
    environment: Text,
    agent: String,
    sponsor: String,
    adopted: Option<String>,
    way_back: Text,
    rows: Vec<(Text, String)>,
    payload: Option<Markup>,
    entry: u64,
}

impl Change {
    fn of(change: &Affected) -> Change {
        let rows = change.rows.iter().map(|(table, rows)| (Text::of(table), digits(*rows)));
        Change {
            number: change.number.0,
            state: change.state.clone(),
            class: super::class(&change.state),
            summary: Text::of(&change.summary),
            target: change.target.to_string(),
            environment: Text::of(&change.environment),
            agent: change.agent.to_string(),
            sponsor: change.sponsor.to_string(),
            adopted: change.adopted.as_ref().map(ToString::to_string),
            way_back: Text::of(&change.way_back),
            rows: rows.collect(),
            payload: change.payload.as_ref().map(|text| listing(text).markup),
            entry: change.entry,
        }
    }
}

struct Moment {
    at: When,
    entry: u64,
    kind: Text,
    hash: String,
    change: Option<u64>,
    words: Text,
}

/// Rows of a table that flowing writes added, changed and removed.
struct Rows {
    table: Text,
    inserted: String,
    updated: String,
    deleted: String,
}

#[derive(Template)]
#[template(path = "incident.html")]
struct Page {
    frame: Frame,
    wanted: [Text; 4],
    subject: Text,
    since: When,
    until: When,
    changes: Vec<Change>,
    /// Of a change alone nobody counts what flowed beside it.
    flowed: Option<[String; 4]>,
    rows: Vec<Rows>,
    involved: Vec<(Text, Vec<Text>)>,
    timeline: Vec<Moment>,
    left_out: u64,
    taken_back: Vec<Text>,
    questions: Vec<Text>,
    checkpoint: Option<Markup>,
    /// The report as Markdown, as text.
    markdown: Markup,
}

/// `GET /incident`
pub(crate) async fn page(
    reader: Reader,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let told = reader.incident(wanted.asked()?).await?;
    let title = format!("Incident: {}", Text::of(&told.subject));
    let frame = Frame::of(&reader, &status, "ledger", title);
    html(&build(frame, &wanted, &told, status.now))
}

fn build(frame: Frame, wanted: &Wanted, told: &Incident, now: Timestamp) -> Page {
    let flowed = &told.flowed;
    let rows = flowed.rows.iter().map(|(table, [inserted, updated, deleted])| Rows {
        table: Text::of(table),
        inserted: digits(*inserted),
        updated: digits(*updated),
        deleted: digits(*deleted),
    });
    let moments = told.timeline.iter().map(|moment| Moment {
        at: When::seen_from(moment.at, now),
        entry: moment.entry,
        kind: Text::of(&moment.kind),
        hash: moment.hash.clone(),
        change: moment.change.map(|number| number.0),
        words: Text::of(&moment.words),
    });
    Page {
        frame,
        wanted: [&wanted.change, &wanted.agent, &wanted.since, &wanted.until].map(Text::of),
        subject: Text::of(&told.subject),
        since: When::seen_from(told.since, now),
        until: When::seen_from(told.until, now),
        changes: told.changes.iter().map(Change::of).collect(),
        flowed: (*flowed != Flowed::default())
            .then(|| [flowed.read, flowed.written, flowed.undone, flowed.refused].map(digits)),
        rows: rows.collect(),
        involved: told.involved.iter().map(|(who, did)| (Text::of(who), Text::each(did))).collect(),
        timeline: moments.collect(),
        left_out: told.left_out,
        taken_back: Text::each(&told.taken_back),
        questions: Text::each(&told.questions),
        checkpoint: told.checkpoint.as_ref().map(|note| listing(note).markup),
        markdown: listing(&told.markdown()).markup,
    }
}
