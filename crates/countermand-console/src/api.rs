//! `/api/v1`: the same as the pages, for programs.

use crate::openapi::{Bad, Instead, Missing, Refused};
use crate::pages::changes::Filter;
use crate::pages::incident::Wanted;
use crate::pages::ledger::indexed;
use crate::problem::Trouble;
use crate::reader::Reader;
use axum::extract::{Path, Query};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::ChangeLine;
use serde::Serialize;

/// How the gateway is.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    responses((status = 200, description = "As `countermand doctor` begins", body = Object), Instead)
)]
pub(crate) async fn status(reader: Reader) -> Result<Response, Trouble> {
    json(&reader.status().await?)
}

/// Changes, newest first, a page at a time: `older` is the next page's `before`.
#[utoipa::path(
    get,
    path = "/api/v1/changes",
    params(Filter),
    responses((status = 200, description = "`{changes, older}`", body = Object), Bad, Instead)
)]
pub(crate) async fn changes(
    reader: Reader,
    Query(filter): Query<Filter>,
) -> Result<Response, Trouble> {
    let (changes, older) = reader.changes(filter.open_only(), filter.wanted()).await?;
    #[derive(Serialize)]
    struct Changes {
        changes: Vec<ChangeLine>,
        /// There may be more `before` this one.
        #[serde(skip_serializing_if = "Option::is_none")]
        older: Option<ChangeNumber>,
    }
    json(&Changes { changes, older })
}

/// A change, whole.
#[utoipa::path(
    get,
    path = "/api/v1/changes/{number}",
    params(("number" = u64, Path, description = "Which")),
    responses(
        (status = 200, description = "As `countermand changes show N --json`", body = Object),
        Bad,
        Missing,
        Instead
    )
)]
pub(crate) async fn change(
    reader: Reader,
    Path(number): Path<String>,
) -> Result<Response, Trouble> {
    json(&reader.change(numbered(&number)?).await?)
}

/// An entry with the proof that a signed checkpoint covers it. Refused while none does.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/{entry}/proof",
    params(("entry" = u64, Path, description = "Which")),
    responses(
        (status = 200, description = "What `countermand ledger check` takes", body = Object),
        Bad,
        Missing,
        Refused,
        Instead
    )
)]
pub(crate) async fn proof(reader: Reader, Path(index): Path<String>) -> Result<Response, Trouble> {
    let proof = reader.proof(indexed(&index)?).await?.map_err(Trouble::Refused)?;
    Ok(([(CONTENT_TYPE, "application/json")], proof.document).into_response())
}

/// What happened, from the ledger alone.
#[utoipa::path(
    get,
    path = "/api/v1/incident",
    params(Wanted),
    responses(
        (status = 200, description = "As `countermand incident --json`", body = Object),
        Bad,
        Refused,
        Instead
    )
)]
pub(crate) async fn incident(
    reader: Reader,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Trouble> {
    json(&reader.incident(wanted.asked()?).await?)
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
