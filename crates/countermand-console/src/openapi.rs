//! The HTTP API as an OpenAPI document, made from the handlers themselves.

use crate::pages::{enter, keys};
use crate::problem::{Problem, Trouble};
use crate::reader::Reader;
use crate::{act, api, live};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Countermand",
        description = "What people read before they decide, for programs. Everything takes the \
                       session of a human, and what lets something happen their passkey's \
                       signature besides; nothing is stable before 1.0."
    ),
    paths(
        api::status,
        api::changes,
        api::change,
        api::proof,
        api::incident,
        live::events,
        act::prepare,
        act::submit,
        act::stop,
        keys::ask,
        keys::made,
        enter::begin,
        enter::prove,
        document
    ),
    components(schemas(Problem)),
    modifiers(&Session),
    security(("session" = []))
)]
struct Api;

/// The cookie that a login makes.
struct Session;

impl Modify for Session {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let cookie = ApiKeyValue::with_description(
            "countermand",
            "made by `POST /enter` with a link's token; `__Host-countermand` over TLS",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// What any address may answer instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers and is none")]
pub(crate) enum Instead {
    /// Nobody is logged in.
    #[response(status = 401, content_type = "application/problem+json")]
    Stranger(Problem),
    /// The request names another server.
    #[response(status = 421, content_type = "application/problem+json")]
    Misdirected(Problem),
    /// The gateway does not know, or its log says why.
    #[response(status = 500, content_type = "application/problem+json")]
    Unexpected(Problem),
    /// It took too long.
    #[response(status = 503, content_type = "application/problem+json")]
    Late(Problem),
}

/// What an address that something is sent to may answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers and is none")]
pub(crate) enum Sent {
    /// Another page made the request, or the session only reads.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// Too many within a minute.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
}

/// There is no such thing.
#[derive(IntoResponses)]
#[response(status = 404, content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes an answer and is none")]
pub(crate) struct Missing(Problem);

/// What the address asks for cannot be read.
#[derive(IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes an answer and is none")]
pub(crate) struct Bad(Problem);

/// It is refused, in words.
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes an answer and is none")]
pub(crate) struct Refused(Problem);

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    responses((status = 200, description = "This document", content_type = "application/json", body = Object), Instead)
)]
pub(crate) async fn document(_: Reader) -> Result<Response, Trouble> {
    let text = Api::openapi().to_pretty_json().map_err(|_| Trouble::Unexpected)?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
