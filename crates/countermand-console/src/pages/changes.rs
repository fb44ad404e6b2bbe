//! All changes, filtered.

use super::{Frame, Line, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::Text;
use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use countermand_engine::control::ChangeLine;
use serde::Deserialize;

/// So many are on one page; the filter finds the others.
const SHOWN: usize = 200;
/// States to choose from.
const STATES: [&str; 12] = [
    "held",
    "forbidden",
    "unsigned",
    "running",
    "committing",
    "executed",
    "restored",
    "rejected",
    "failed",
    "withdrawn",
    "expired",
    "in doubt",
];

/// Which changes. Every member that is there must be so.
#[derive(Default, Deserialize)]
pub(crate) struct Filter {
    /// Those that can still run: `true`.
    #[serde(default)]
    open: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    target: String,
}

impl Filter {
    pub(crate) fn open_only(&self) -> bool {
        self.open == "true"
    }

    pub(crate) fn wants(&self, change: &ChangeLine) -> bool {
        let is = |wanted: &str, there: &str| wanted.is_empty() || wanted == there;
        is(&self.state, &change.state)
            && is(&self.agent, change.agent.as_str())
            && is(&self.target, change.target.as_str())
    }
}

#[derive(Template)]
#[template(path = "changes.html")]
struct Page {
    frame: Frame,
    states: [&'static str; 12],
    open: bool,
    state: Text,
    agent: Text,
    target: Text,
    lines: Vec<Line>,
    found: usize,
}

/// `GET /changes`
pub(crate) async fn page(
    reader: Reader,
    Query(filter): Query<Filter>,
) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let mut changes = reader.changes(filter.open_only()).await?;
    changes.retain(|change| filter.wants(change));
    let found = changes.len();
    changes.truncate(SHOWN);
    html(&Page {
        frame: Frame::of(&reader, &status, "changes", "Changes"),
        states: STATES,
        open: filter.open_only(),
        state: Text::of(&filter.state),
        agent: Text::of(&filter.agent),
        target: Text::of(&filter.target),
        lines: changes.iter().map(|change| Line::of(change, status.now)).collect(),
        found,
    })
}
