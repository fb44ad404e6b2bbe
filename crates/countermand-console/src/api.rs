//! `/api/v1`: the same as the pages, for programs.

use crate::pages::changes::Filter;
use crate::problem::Trouble;
use crate::reader::Reader;
use axum::extract::{Path, Query};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use countermand_core::request::ChangeNumber;
use serde::Serialize;

/// `GET /api/v1/status`
pub(crate) async fn status(reader: Reader) -> Result<Response, Trouble> {
    json(&reader.status().await?)
}

/// `GET /api/v1/changes`: newest first, filtered as `/changes` is.
pub(crate) async fn changes(
    reader: Reader,
    Query(filter): Query<Filter>,
) -> Result<Response, Trouble> {
    let mut changes = reader.changes(filter.open_only()).await?;
    changes.retain(|change| filter.wants(change));
    #[derive(Serialize)]
    struct Changes<T> {
        changes: T,
    }
    json(&Changes { changes })
}

/// `GET /api/v1/changes/N`
pub(crate) async fn change(
    reader: Reader,
    Path(number): Path<String>,
) -> Result<Response, Trouble> {
    json(&reader.change(numbered(&number)?).await?)
}

/// The number of a change, as an address has it.
pub(crate) fn numbered(text: &str) -> Result<ChangeNumber, Trouble> {
    let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
    number
        .map(ChangeNumber)
        .ok_or_else(|| Trouble::Missing("a change is called by its number".into()))
}

pub(crate) fn json(value: &impl Serialize) -> Result<Response, Trouble> {
    let body = serde_json::to_vec(value).map_err(|_| Trouble::Unexpected)?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}
