//! The ledger's entries, newest first.

use super::{Frame, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::{Markup, Text, digits, listing};
use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

/// Entries on a page.
const SHOWN: u64 = 50;

/// From which entry on, backwards.
#[derive(Default, Deserialize)]
pub(crate) struct Place {
    /// The number of the first that is not shown.
    before: Option<u64>,
}

struct Entry {
    index: u64,
    at: Text,
    kind: Text,
    change: Option<u64>,
    line: Text,
    texts: Vec<(Text, Markup)>,
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct Page {
    frame: Frame,
    size: String,
    entries: Vec<Entry>,
    older: Option<u64>,
    newer: Option<u64>,
}

/// `GET /ledger`
pub(crate) async fn page(reader: Reader, Query(place): Query<Place>) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let before = place.before.unwrap_or(status.ledger_size).min(status.ledger_size);
    let from = before.saturating_sub(SHOWN);
    let (found, size) = reader.ledger(from, before - from).await?;
    let mut entries: Vec<Entry> = found
        .iter()
        .zip(from..)
        .map(|(entry, index)| {
            let said: Value = serde_json::from_str(&entry.line).unwrap_or_default();
            let word = |key: &str| Text::of(said[key].as_str().unwrap_or_default());
            let texts = entry.texts.iter();
            Entry {
                index,
                at: word("at"),
                kind: word("kind"),
                change: said["body"]["change"].as_u64().or_else(|| said["body"]["number"].as_u64()),
                line: Text::of(&entry.line),
                texts: texts.map(|(name, text)| (Text::of(name), listing(text).markup)).collect(),
            }
        })
        .collect();
    entries.reverse();
    html(&Page {
        frame: Frame::of(&reader, &status, "ledger", "Ledger"),
        size: digits(size),
        entries,
        older: (from > 0).then_some(from),
        newer: (before < size).then(|| (before + SHOWN).min(size)),
    })
}
