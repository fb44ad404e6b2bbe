//! The policies in force: the floor and the site's own, as they are written.

use super::{Frame, html};
use crate::findings::Tested;
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::rounds::Found;
use crate::route::App;
use crate::text::{Listing, Text, When, listing};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use countermand_core::policy::{CaseResult, FLOOR, Forbid};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The page waits so long for cases that run.
const PATIENCE: Duration = Duration::from_secs(5);

/// Files of policies, by name.
type Policies = BTreeMap<String, String>;

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

/// How a file of cases went.
struct Cases {
    file: Text,
    cases: usize,
    /// Those that did not go as expected, and how.
    wrong: Vec<(Text, Text)>,
}

/// How the cases of the policies went.
struct Tried {
    at: When,
    cases: Vec<Cases>,
    /// The files say something else than what is in force.
    other: bool,
    /// Why none was run.
    failed: Option<Text>,
}

impl Tried {
    fn of(found: &Found<Result<Tested, String>>, site: &Policies, now: Timestamp) -> Tried {
        let at = When::seen_from(found.at, now);
        let tested = match &found.what {
            Ok(tested) => tested,
            Err(why) => {
                let failed = Some(Text::of(why));
                return Tried { at, cases: Vec::new(), other: false, failed };
            }
        };
        let tried: Policies = tested.policies.iter().cloned().collect();
        let wrong = |result: &CaseResult| {
            result.failure.as_ref().map(|failure| (Text::of(&result.name), Text::of(failure)))
        };
        let cases = tested.files.iter().map(|(name, results)| Cases {
            file: Text::of(name),
            cases: results.len(),
            wrong: results.iter().filter_map(wrong).collect(),
        });
        Tried { at, cases: cases.collect(), other: tried != *site, failed: None }
    }
}

#[derive(Template)]
#[template(path = "policies.html")]
struct Page {
    frame: Frame,
    files: Vec<File>,
    rules: usize,
    /// Whether somebody runs cases here.
    tests: bool,
    /// None where they run still.
    tried: Option<Tried>,
    /// Whether somebody reads here what a request would do.
    explains: bool,
}

/// `GET /policies`
pub(crate) async fn page(State(app): State<App>, reader: Reader) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let [in_force, _] = reader.configurations().await?;
    let forbids = reader.forbids();
    let site = in_force.map(|view| view.configuration.policies).unwrap_or_default();
    let mut files = vec![File::of("floor.cedar", FLOOR, true, &forbids)];
    files.extend(site.iter().map(|(name, text)| File::of(name, text, false, &forbids)));
    let tried = match &app.tests {
        Some(tests) => tokio::time::timeout(PATIENCE, tests.found(reader.now())).await.ok(),
        None => None,
    };
    let tried = tried.flatten().map(|found| Tried::of(&found, &site, status.now));
    html(&Page {
        frame: Frame::of(&reader, &status, "policies", "Policies"),
        files,
        rules: forbids.len(),
        tests: app.tests.is_some(),
        tried,
        explains: app.reading.is_some(),
    })
}
