//! The policies in force: the floor and the site's own, as they are written.

use super::{Frame, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::text::{Listing, Text, listing};
use askama::Template;
use axum::response::Response;
use countermand_core::policy::{FLOOR, Forbid};

/// A file of policies.
struct File {
    name: Text,
    /// Whether it ships in the binary.
    own: bool,
    rules: Vec<Rule>,
    text: Listing,
}

struct Rule {
    id: Text,
    reason: Text,
}

impl File {
    fn of(name: &str, text: &str, own: bool, forbids: &[Forbid]) -> File {
        let rules = forbids.iter().filter(|forbid| forbid.file == name);
        let rules =
            rules.map(|it| Rule { id: Text::of(&it.id), reason: Text::of(&it.reason) }).collect();
        File { name: Text::of(name), own, rules, text: listing(text) }
    }
}

#[derive(Template)]
#[template(path = "policies.html")]
struct Page {
    frame: Frame,
    files: Vec<File>,
    rules: usize,
}

/// `GET /policies`
pub(crate) async fn page(reader: Reader) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let [in_force, _] = reader.configurations().await?;
    let forbids = reader.forbids();
    let site = in_force.map(|view| view.configuration.policies).unwrap_or_default();
    let mut files = vec![File::of("floor.cedar", FLOOR, true, &forbids)];
    files.extend(site.iter().map(|(name, text)| File::of(name, text, false, &forbids)));
    let frame = Frame::of(&reader, &status, "policies", "Policies");
    html(&Page { frame, files, rules: forbids.len() })
}
