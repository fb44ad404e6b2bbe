//! What `countermand doctor` finds, the worst first.

use super::{Frame, html};
use crate::findings::{Finding, Verdict};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use crate::text::{Text, When};
use askama::Template;
use axum::extract::State;
use axum::response::Response;

struct Line {
    /// As the style names it, and in a word.
    tone: &'static str,
    word: &'static str,
    what: Text,
    words: Text,
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct Page {
    frame: Frame,
    at: When,
    lines: Vec<Line>,
}

/// `GET /doctor`
pub(crate) async fn page(State(app): State<App>, reader: Reader) -> Result<Response, Trouble> {
    let missing = || Trouble::Missing("nobody looks here: run `countermand doctor`".to_owned());
    let doctor = app.doctor.ok_or_else(missing)?;
    let found = doctor.found(reader.now()).await.ok_or(Trouble::Unexpected)?;
    let status = reader.status().await?;
    let mut findings: Vec<&Finding> = found.what.iter().collect();
    findings.sort_by_key(|finding| match finding.verdict {
        Verdict::Bad => 0,
        Verdict::Warning => 1,
        Verdict::Good => 2,
    });
    html(&Page {
        at: When::seen_from(found.at, status.now),
        lines: findings.into_iter().map(line).collect(),
        frame: Frame::of(&reader, &status, "status", "Doctor"),
    })
}

fn line(finding: &Finding) -> Line {
    let (tone, word) = match finding.verdict {
        Verdict::Bad => ("bad", "bad"),
        Verdict::Warning => ("waits", "look"),
        Verdict::Good => ("good", "well"),
    };
    Line { tone, word, what: Text::of(&finding.what), words: Text::of(&finding.words) }
}
