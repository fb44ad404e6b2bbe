//! In with a passkey or a link, and out again.

use super::html;
use super::keys::{Given, refused};
use crate::act::{Body, read};
use crate::api::json;
use crate::guard;
use crate::login::NotLetIn;
use crate::openapi::{Bad, Instead, Refused, Sent};
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "enter.html")]
struct Page;

/// `GET /enter`. The token is behind the `#`, where only the page's own script sees it; it waits for
/// a press of the button, so that nothing that opens links spends it.
pub(crate) async fn form() -> Result<Response, Trouble> {
    html(&Page)
}

#[derive(Deserialize)]
pub(crate) struct Entry {
    token: String,
}

/// `POST /enter`
pub(crate) async fn enter(
    State(app): State<App>,
    headers: HeaderMap,
    entry: Result<Form<Entry>, FormRejection>,
) -> Result<Response, Trouble> {
    let Form(entry) = entry.map_err(|_| Trouble::Bad("a link's token is missing".to_owned()))?;
    let now = app.engine.clock().now();
    let before = guard::cookie(&app, &headers);
    let (token, session) =
        app.logins.enter(entry.token.trim(), before, now).map_err(|why| match why {
            NotLetIn::Unknown => Trouble::NotLetIn,
            NotLetIn::TooMany => Trouble::TooMany,
        })?;
    tracing::info!(human = %session.human, "logged in to the console with a link");
    let seconds = session.until.duration_since(now).as_secs();
    Ok(with_cookie(&app, Redirect::to("/").into_response(), token.as_str(), seconds))
}

/// What a browser is asked with to log somebody in by their passkey. Anybody may ask.
#[utoipa::path(
    post,
    path = "/api/v1/login/ask",
    security(()),
    responses((status = 200, description = "The text whose SHA-256 is the challenge, and options", body = Object), Bad, Refused, Sent, Instead)
)]
pub(crate) async fn begin(State(app): State<App>, headers: HeaderMap) -> Result<Response, Trouble> {
    let origin = guard::origin(&app, &headers)?;
    let known = guard::cookie(&app, &headers).and_then(|cookie| Reader::of(&app, cookie));
    json(&app.passkeys.login(&origin, known.as_ref().map(Reader::human)))
}

/// Logs in whoever used their passkey: sets the session's cookie.
#[utoipa::path(
    post,
    path = "/api/v1/login/proof",
    request_body(content = Given),
    security(()),
    responses((status = 200, description = "Where to go on", body = Object), Bad, Refused, Sent, Instead)
)]
pub(crate) async fn prove(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Trouble> {
    let Given { text, credential } = read(&headers, body)?;
    let origin = guard::origin(&app, &headers)?;
    let now = app.engine.clock().now();
    let who = app.passkeys.logged_in(&origin, &text, &credential.to_string());
    let who = who.map_err(|error| match app.logins.failed(now) {
        NotLetIn::Unknown => refused(error),
        NotLetIn::TooMany => Trouble::TooMany,
    })?;
    tracing::info!(human = %who.human, key = %who.key, "logged in to the console with a passkey");
    let (token, session) = app.logins.enter_proven(who, guard::cookie(&app, &headers), now);
    let seconds = session.until.duration_since(now).as_secs();
    Ok(with_cookie(
        &app,
        json(&serde_json::json!({ "until": session.until }))?,
        token.as_str(),
        seconds,
    ))
}

/// `POST /leave`
pub(crate) async fn leave(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(cookie) = guard::cookie(&app, &headers) {
        app.logins.leave(cookie);
    }
    with_cookie(&app, Redirect::to("/enter").into_response(), "", 0)
}

fn with_cookie(app: &App, mut response: Response, value: &str, seconds: i64) -> Response {
    let secure = if app.tls { "; Secure" } else { "" };
    let name = app.cookie_name();
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
