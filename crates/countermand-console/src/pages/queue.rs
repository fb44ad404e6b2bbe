//! What waits, and of it what waits for whoever looks.

use super::{Frame, Line, html};
use crate::problem::Trouble;
use crate::reader::Reader;
use askama::Template;
use axum::response::Response;
use countermand_engine::control::{ChangeLine, ChangesWanted};

/// Of more than this it is not asked for whom they wait: that takes policy a while.
const ASKED: usize = 50;

#[derive(Template)]
#[template(path = "queue.html")]
struct Page {
    frame: Frame,
    mine: Vec<Line>,
    others: Vec<Line>,
    /// More wait than were looked at.
    more: bool,
    moves: u64,
}

/// `GET /`
pub(crate) async fn page(reader: Reader) -> Result<Response, Trouble> {
    let moves = *reader.engine().moves().borrow();
    let status = reader.status().await?;
    let mut waiting = reader.changes(true, ChangesWanted::default()).await?.0;
    // Who has waited longest comes first.
    waiting.reverse();
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for (nth, change) in waiting.iter().enumerate() {
        let line = Line::of(change, status.now);
        if nth < ASKED && waits_for(&reader, change).await {
            mine.push(line)
        } else {
            others.push(line)
        }
    }
    let more = waiting.len() > ASKED;
    let title = match mine.len() {
        0 => "Queue".to_owned(),
        n => format!("({n}) Queue"),
    };
    html(&Page { frame: Frame::of(&reader, &status, "queue", title), mine, others, more, moves })
}

/// Whether the reader could give something that the change lacks.
async fn waits_for(reader: &Reader, change: &ChangeLine) -> bool {
    if change.state != "held" {
        return false;
    }
    let Ok((_, explanation)) = reader.explained(change.number).await else { return false };
    let own = reader.human().as_str();
    explanation.ways.iter().flatten().any(|step| step.from.iter().any(|name| name == own))
}
