//! Your keys, and how a passkey becomes one of them.

use super::{Frame, html};
use crate::act::{Body, read};
use crate::api::json;
use crate::guard;
use crate::login::Work;
use crate::openapi::{Bad, Instead, Refused, Sent};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use crate::text::{Text, When};
use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use countermand_engine::PasskeysError;
use countermand_engine::key::Key;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

struct Line {
    kind: &'static str,
    fingerprint: String,
    /// Where it signs.
    place: Text,
    production: bool,
    /// From when on it counts, where it does not yet.
    waits: Option<When>,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Page {
    frame: Frame,
    keys: Vec<Line>,
    /// The address that a passkey made here belongs to; none where there can be none.
    origin: Option<String>,
    /// Where there can be one.
    elsewhere: String,
    proven: bool,
}

/// `GET /keys`
pub(crate) async fn page(
    State(app): State<App>,
    reader: Reader,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let status = reader.status().await?;
    let line = |(key, from): (Key, Timestamp)| Line {
        kind: match &key {
            Key::Passkey(_) => "passkey",
            Key::Ssh(_) if key.can_count_in_production() => "security key",
            Key::Ssh(_) => "SSH key",
        },
        fingerprint: key.fingerprint(),
        place: match &key {
            Key::Passkey(key) => Text::of(key.origin().as_str()),
            Key::Ssh(_) => Text::of("a terminal"),
        },
        production: key.can_count_in_production(),
        waits: (from > status.now).then(|| When::seen_from(from, status.now)),
    };
    let origin = guard::origin(&app, &headers).ok().map(|origin| origin.to_string());
    html(&Page {
        keys: app.passkeys.keys_of(reader.human()).into_iter().map(line).collect(),
        origin,
        elsewhere: app.own_origin(),
        proven: reader.proven_by().is_some(),
        frame: Frame::of(&reader, &status, "keys", "Your keys"),
    })
}

/// What a browser is asked with to make a passkey.
#[utoipa::path(
    post,
    path = "/api/v1/passkeys/ask",
    responses((status = 200, description = "The text whose SHA-256 is the challenge, and options", body = Object), Bad, Refused, Sent, Instead)
)]
pub(crate) async fn ask(
    State(app): State<App>,
    reader: Reader,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    app.logins.pace(reader.human(), Work::Enrolment, reader.now())?;
    json(&app.passkeys.creation(reader.human(), &guard::origin(&app, &headers)?))
}

/// What a browser was asked with, and what it gave.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    pub(crate) text: String,
    /// A `PublicKeyCredential`.
    #[schema(value_type = Object)]
    pub(crate) credential: Value,
}

#[derive(Serialize, ToSchema)]
struct Made {
    line: String,
    fingerprint: String,
}

/// What the browser made, as a line. Nothing of it is kept.
#[utoipa::path(
    post,
    path = "/api/v1/passkeys/made",
    request_body(content = Given),
    responses((status = 200, description = "The line for the configuration, and its fingerprint", body = Made), Bad, Refused, Sent, Instead)
)]
pub(crate) async fn made(
    State(app): State<App>,
    reader: Reader,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Trouble> {
    let Given { text, credential } = read(&headers, body)?;
    app.logins.pace(reader.human(), Work::Enrolment, reader.now())?;
    let origin = guard::origin(&app, &headers)?;
    let made = app.passkeys.created(reader.human(), &origin, &text, &credential.to_string());
    let made = made.map_err(refused)?;
    json(&Made { line: made.line, fingerprint: made.fingerprint })
}

pub(crate) fn refused(error: PasskeysError) -> Trouble {
    match error {
        PasskeysError::TooMany => Trouble::TooMany,
        error => Trouble::Passkey(error.to_string()),
    }
}
