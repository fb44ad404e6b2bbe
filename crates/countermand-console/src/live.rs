//! What moves, told as it moves (server-sent events). It tells that something is new; the page shows
//! it when its reader wants to.

use crate::openapi::{Bad, Instead, Missing, Refused};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use crate::text::Text;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use countermand_core::request::ChangeNumber;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use utoipa::IntoParams;

/// What moves first is told at once; what moves within this time after it, together.
const TOGETHER: Duration = Duration::from_millis(200);
/// So often it is looked whether the session still is one.
const LOOK: Duration = Duration::from_secs(5);
/// Of more changes than this only the numbers are told.
const TOLD: usize = 5;

/// What is to be told.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Of this change only.
    change: Option<u64>,
    /// The version of it that the page shows, or the moves that the page has seen.
    seen: Option<u64>,
}

/// A change that moved.
#[derive(Serialize)]
struct Moved {
    number: ChangeNumber,
    version: u64,
    open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// What happened last, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
}

struct Listener {
    reader: Reader,
    wanted: Wanted,
    known: BTreeMap<ChangeNumber, u64>,
    moves: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    /// Before then nothing more is told.
    next: Instant,
    _place: OwnedSemaphorePermit,
}

/// What moves, as server-sent events: `changes`, with a list of `{number, version, open, state,
/// last}`.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    params(Wanted),
    responses(
        (status = 200, description = "The events", content_type = "text/event-stream", body = String),
        Bad,
        Missing,
        Refused,
        Instead
    )
)]
pub(crate) async fn events(
    State(app): State<App>,
    reader: Reader,
    Query(wanted): Query<Wanted>,
) -> Result<impl IntoResponse, Trouble> {
    let place = Arc::clone(&app.streams).try_acquire_owned();
    let place = place.map_err(|_| Trouble::Refused("too many pages listen already".to_owned()))?;
    let mut moves = reader.engine().moves();
    let now = *moves.borrow_and_update();
    let known = match wanted.change {
        Some(number) => {
            let number = ChangeNumber(number);
            let version = reader.engine().version_of(number);
            let (version, _) = version.map_err(|error| Trouble::Missing(error.to_string()))?;
            [(number, wanted.seen.unwrap_or(version))].into()
        }
        None => reader.engine().open_versions().map_err(unavailable)?,
    };
    let behind = wanted.seen.is_some_and(|seen| wanted.change.is_some() || seen != now);
    let (stop, next) = (app.stop.clone(), Instant::now());
    let listener = Listener { reader, wanted, known, moves, stop, next, _place: place };
    Ok(Sse::new(stream(listener, behind)).keep_alive(KeepAlive::new().interval(LOOK * 3)))
}

fn unavailable(error: impl ToString) -> Trouble {
    Trouble::Refused(error.to_string())
}

fn stream(listener: Listener, behind: bool) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold((listener, behind), |(mut listener, mut behind)| async move {
        loop {
            let first = std::mem::take(&mut behind);
            if !first && !listener.woken().await {
                return None;
            }
            let found = listener.look().await;
            // A list that something left since it was drawn is told of though nothing is new.
            if found.is_empty() && !(first && listener.wanted.change.is_none()) {
                continue;
            }
            // JSON on one line holds no line end that could begin another event.
            let told = serde_json::to_string(&found).unwrap_or_default();
            let event = Event::default().event("changes").data(told);
            return Some((Ok(event), (listener, false)));
        }
    })
}

impl Listener {
    /// Waits until something may have moved; false where nobody may be told any more.
    async fn woken(&mut self) -> bool {
        loop {
            let moved = tokio::select! {
                moved = self.moves.changed() => moved.is_ok(),
                _ = self.stop.wait_for(|stop| *stop) => return false,
                () = tokio::time::sleep(LOOK) => {
                    if self.reader.still_reads() { continue } else { return false }
                }
            };
            if !moved || !self.reader.still_reads() {
                return false;
            }
            tokio::time::sleep_until(self.next).await;
            self.next = Instant::now() + TOGETHER;
            self.moves.borrow_and_update();
            return true;
        }
    }

    /// What moved since the last look.
    async fn look(&mut self) -> Vec<Moved> {
        let engine = self.reader.engine();
        let version_of = |number: ChangeNumber| engine.version_of(number).ok();
        let fresh: BTreeMap<ChangeNumber, u64> = match self.wanted.change {
            Some(number) => {
                let number = ChangeNumber(number);
                version_of(number).map(|(version, _)| (number, version)).into_iter().collect()
            }
            None => engine.open_versions().unwrap_or_else(|_| self.known.clone()),
        };
        let moved =
            fresh.iter().filter(|(number, version)| self.known.get(number) != Some(version));
        let gone = self.known.keys().filter(|number| !fresh.contains_key(number));
        let numbers: Vec<ChangeNumber> =
            moved.map(|(number, _)| *number).chain(gone.copied()).collect();
        let mut told = Vec::new();
        for number in &numbers {
            let Some((version, open)) = version_of(*number) else { continue };
            told.push(Moved { number: *number, version, open, state: None, last: None });
        }
        if told.len() <= TOLD {
            for moved in &mut told {
                let Ok(view) = self.reader.change(moved.number).await else { continue };
                moved.state = Some(view.line.state.clone());
                moved.last = view.history.last().map(|(_, words)| Text::of(words).to_string());
            }
        }
        self.known = fresh;
        told
    }
}
