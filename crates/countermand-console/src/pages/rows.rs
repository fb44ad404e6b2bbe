//! Some of the rows that a change would delete or change. They are read when this is asked for.

use super::{Frame, html};
use crate::api::numbered;
use crate::login::Work;
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use crate::signer::Signer;
use crate::text::Text;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use countermand_core::radius::human_bytes;
use countermand_engine::target::{Cell, Sample, Which};

/// A value, as it is shown.
struct Value {
    /// As the style names it: a value, or a word of ours in its place.
    class: &'static str,
    text: Text,
}

struct Table {
    name: Text,
    which: &'static str,
    columns: Vec<Text>,
    rows: Vec<Vec<Value>>,
}

#[derive(Template)]
#[template(path = "rows.html")]
struct Page {
    frame: Frame,
    number: u64,
    tables: Vec<Table>,
}

/// `GET /changes/{number}/rows`
pub(crate) async fn page(
    State(app): State<App>,
    _: Signer,
    reader: Reader,
    Path(number): Path<String>,
) -> Result<Response, Trouble> {
    let number = numbered(&number)?;
    app.logins.pace(reader.human(), Work::Looking, reader.now())?;
    let samples = reader.sample(number).await?;
    let status = reader.status().await?;
    html(&Page {
        frame: Frame::of(&reader, &status, "changes", format!("Rows of change {number}")),
        number: number.0,
        tables: samples.into_iter().map(table).collect(),
    })
}

fn table(sample: Sample) -> Table {
    Table {
        name: Text::of(&sample.table),
        which: which(sample.which),
        columns: Text::each(&sample.columns),
        rows: sample.rows.iter().map(|row| row.iter().map(value).collect()).collect(),
    }
}

fn which(which: Which) -> &'static str {
    match which {
        Which::All => "all of its rows are meant",
        Which::Found => "that its condition finds now",
        Which::Any => "any rows: which are meant cannot be told without running it",
    }
}

fn value(cell: &Cell) -> Value {
    let ours = |words: &str| Value { class: "ours", text: Text::of(words) };
    match cell {
        Cell::Null => ours("null"),
        Cell::Masked => ours("••••"),
        Cell::Text(text) if text.is_empty() => ours("empty"),
        Cell::Text(text) => Value { class: "", text: Text::of(text) },
        Cell::Cut(text) => Value { class: "cut", text: Text::of(text) },
        Cell::Large(bytes) => ours(&human_bytes(*bytes)),
    }
}
