//! What is in force, what may replace it, and whose word that waits for.

use super::{Frame, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::{Markup, Text, When, listing};
use askama::Template;
use axum::response::Response;
use countermand_engine::control::ConfigurationView;
use jiff::Timestamp;

/// A configuration.
struct Shown {
    number: u64,
    digest: String,
    editor: Option<String>,
    /// Who else signed it, and when.
    approved: Option<(String, When)>,
    applied: Option<When>,
    waits: Option<Text>,
    differences: Vec<Text>,
    /// What `countermand.toml` sets, as JSON.
    settings: Markup,
}

impl Shown {
    fn of(view: &ConfigurationView, now: Timestamp) -> Shown {
        let seen = |at: Timestamp| When::seen_from(at, now);
        let settings = serde_json::to_string_pretty(&view.configuration.settings);
        Shown {
            number: view.number,
            digest: view.digest.to_string(),
            editor: view.editor.as_ref().map(ToString::to_string),
            approved: view.approved.as_ref().map(|(human, at)| (human.to_string(), seen(*at))),
            applied: view.applied.map(seen),
            waits: view.waits.as_ref().map(Text::of),
            differences: Text::each(&view.differences),
            settings: listing(&settings.unwrap_or_default()).markup,
        }
    }

    /// Whether this human wrote it: somebody else approves it then.
    fn is_by(&self, human: &str) -> bool {
        self.editor.as_deref() == Some(human)
    }
}

#[derive(Template)]
#[template(path = "configuration.html")]
struct Page {
    frame: Frame,
    in_force: Option<Shown>,
    waiting: Option<Shown>,
}

/// `GET /configuration`
pub(crate) async fn page(reader: Reader) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let shown = |view: Option<Box<ConfigurationView>>| view.map(|it| Shown::of(&it, status.now));
    let [in_force, waiting] = reader.configurations().await?.map(shown);
    let frame = Frame::of(&reader, &status, "configuration", "Configuration");
    html(&Page { frame, in_force, waiting })
}
