//! The targets, as the configuration in force says them.

use super::{Frame, Line, html, scope};
use crate::problem::Trouble;
use crate::radius::CRITICAL;
use crate::reader::Reader;
use crate::text::Text;
use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use countermand_core::name::TargetName;
use countermand_engine::control::{ChangesWanted, Scope};
use serde_json::Value;

/// Of its changes so many of the latest are shown.
const CHANGES: u64 = 50;

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
    let targets = reader.targets().await?;
    let targets = targets.iter().map(|(name, said)| target(name, said)).collect();
    let stale = Text::each(&status.backups);
    html(&Page { frame: Frame::of(&reader, &status, "targets", "Targets"), targets, stale })
}

#[derive(Template)]
#[template(path = "target.html")]
struct One {
    frame: Frame,
    target: Target,
    /// Whether nothing flows into it now, in words.
    frozen: Vec<Text>,
    /// As an act names it.
    scope: String,
    lines: Vec<Line>,
}

/// `GET /targets/NAME`
pub(crate) async fn one(reader: Reader, Path(name): Path<String>) -> Result<Response, Trouble> {
    let unknown = || Trouble::Missing("there is no such target".to_owned());
    let name = TargetName::new(name).map_err(|_| unknown())?;
    let targets = reader.targets().await?;
    let said = targets.get(name.as_str()).ok_or_else(unknown)?;
    let status = reader.status().await?;
    let own = ChangesWanted {
        target: Some(name.to_string()),
        limit: Some(CHANGES),
        ..Default::default()
    };
    let (own, _) = reader.changes(false, own).await?;
    let prefix = format!("target {name}: ");
    let stops = |words: &&String| words.starts_with(&prefix) || words.starts_with("everything: ");
    html(&One {
        frame: Frame::of(&reader, &status, "targets", format!("Target {name}")),
        target: target(name.as_str(), said),
        frozen: Text::each(status.frozen.iter().filter(stops)),
        scope: scope(&Scope::Target(name))?,
        lines: own.iter().map(|change| Line::of(change, status.now)).collect(),
    })
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
