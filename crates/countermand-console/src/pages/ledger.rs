//! The ledger's entries, newest first; and one with its proof.

use super::{Frame, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::{Markup, Text, digits, listing};
use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use countermand_engine::control::{EntryProof, LedgerEntry};
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

impl Entry {
    fn of(entry: &LedgerEntry, index: u64) -> Entry {
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
    }
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
    let mut entries: Vec<Entry> =
        found.iter().zip(from..).map(|(entry, index)| Entry::of(entry, index)).collect();
    entries.reverse();
    html(&Page {
        frame: Frame::of(&reader, &status, "ledger", "Ledger"),
        size: digits(size),
        entries,
        older: (from > 0).then_some(from),
        newer: (before < size).then(|| (before + SHOWN).min(size)),
    })
}

#[derive(Template)]
#[template(path = "entry.html")]
struct One {
    frame: Frame,
    entry: Entry,
    proof: Option<EntryProof>,
    checkpoint: Markup,
    /// Why there is no proof yet.
    unproven: Option<Text>,
}

/// `GET /ledger/N`
pub(crate) async fn one(reader: Reader, Path(index): Path<String>) -> Result<Response, Trouble> {
    let index = indexed(&index)?;
    let status = reader.status().await?;
    let (found, _) = reader.ledger(index, 1).await?;
    let missing = || Trouble::Missing(format!("there is no entry {index}"));
    let entry = found.first().ok_or_else(missing)?;
    let (proof, unproven) = match reader.proof(index).await? {
        Ok(proof) => (Some(proof), None),
        Err(why) => (None, Some(Text::of(why))),
    };
    let checkpoint = proof.as_ref().map(|proof| listing(&proof.checkpoint).markup);
    html(&One {
        frame: Frame::of(&reader, &status, "ledger", format!("Entry {index}")),
        entry: Entry::of(entry, index),
        proof,
        checkpoint: checkpoint.unwrap_or_default(),
        unproven,
    })
}

/// The number of an entry, as an address has it.
pub(crate) fn indexed(text: &str) -> Result<u64, Trouble> {
    let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
    number.ok_or_else(|| Trouble::Missing("an entry is called by its number".into()))
}
