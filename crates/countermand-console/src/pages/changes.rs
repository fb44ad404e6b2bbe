//! All changes, filtered.

use super::{Frame, Line, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::Text;
use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::ChangesWanted;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// So many are on one page.
const SHOWN: u64 = 100;
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
#[derive(Clone, Default, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Those that can still run: `true`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    open: String,
    /// In this state.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    state: String,
    /// Asked for by this agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    agent: String,
    /// Of this target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    target: String,
    /// With these words in what would run or in its summary, or with this number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
    /// Older than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
}

impl Filter {
    pub(crate) fn open_only(&self) -> bool {
        self.open == "true"
    }

    pub(crate) fn wanted(&self) -> ChangesWanted {
        let given = |word: &String| Some(word.trim().to_owned()).filter(|word| !word.is_empty());
        ChangesWanted {
            state: given(&self.state),
            agent: given(&self.agent),
            target: given(&self.target),
            text: given(&self.text),
            before: self.before.map(ChangeNumber),
            limit: Some(SHOWN),
        }
    }

    /// The address of this list from there on.
    fn at(&self, before: Option<ChangeNumber>) -> String {
        let filter = Filter { before: before.map(|number| number.0), ..self.clone() };
        let query = serde_urlencoded::to_string(filter).unwrap_or_default();
        format!("/changes?{query}")
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
    text: Text,
    lines: Vec<Line>,
    /// Where the newest are, if these are not they.
    newest: Option<String>,
    older: Option<String>,
}

/// `GET /changes`
pub(crate) async fn page(
    reader: Reader,
    Query(filter): Query<Filter>,
) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let (changes, older) = reader.changes(filter.open_only(), filter.wanted()).await?;
    html(&Page {
        frame: Frame::of(&reader, &status, "changes", "Changes"),
        states: STATES,
        open: filter.open_only(),
        state: Text::of(&filter.state),
        agent: Text::of(&filter.agent),
        target: Text::of(&filter.target),
        text: Text::of(&filter.text),
        lines: changes.iter().map(|change| Line::of(change, status.now)).collect(),
        newest: filter.before.map(|_| filter.at(None)),
        older: older.map(|number| filter.at(Some(number))),
    })
}
