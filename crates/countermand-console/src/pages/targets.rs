//! The targets, as the configuration in force says them.

use super::{Frame, html};
use crate::problem::Trouble;
use crate::radius::CRITICAL;
use crate::reader::Reader;
use crate::text::Text;
use askama::Template;
use axum::response::Response;
use serde_json::Value;

struct Target {
    name: Text,
    kind: Text,
    environment: Text,
    disposable: bool,
    critical: bool,
    tags: Vec<Text>,
    rehearsal: Text,
    probes: Vec<Text>,
    backups: bool,
}

#[derive(Template)]
#[template(path = "targets.html")]
struct Page {
    frame: Frame,
    targets: Vec<Target>,
    stale: Vec<Text>,
}

/// `GET /targets`
pub(crate) async fn page(reader: Reader) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let [in_force, _] = reader.configurations().await?;
    let settings = in_force.map(|view| view.configuration.settings).unwrap_or_default();
    let targets = settings.get("targets").and_then(Value::as_object);
    let targets = targets.into_iter().flatten().map(|(name, said)| target(name, said)).collect();
    let stale = Text::each(&status.backups);
    html(&Page { frame: Frame::of(&reader, &status, "targets", "Targets"), targets, stale })
}

fn target(name: &str, said: &Value) -> Target {
    let word = |key: &str| Text::of(said[key].as_str().unwrap_or_default());
    let tags: Vec<&str> =
        said["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let probes = said["watch"].as_object().into_iter().flatten().map(|(name, _)| name);
    Target {
        name: Text::of(name),
        kind: word("kind"),
        environment: word("environment"),
        disposable: said["disposable"] == true,
        critical: tags.contains(&CRITICAL),
        tags: Text::each(tags.iter().filter(|tag| **tag != CRITICAL)),
        rehearsal: word("rehearsal"),
        probes: Text::each(probes),
        backups: said["backups"].is_object(),
    }
}
