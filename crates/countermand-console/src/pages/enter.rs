//! In with a link, and out again.

use super::html;
use crate::guard;
use crate::login::NotLetIn;
use crate::problem::Trouble;
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
    Ok(with_cookie(&app, Redirect::to("/"), token.as_str(), seconds))
}

/// `POST /leave`
pub(crate) async fn leave(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(cookie) = guard::cookie(&app, &headers) {
        app.logins.leave(cookie);
    }
    with_cookie(&app, Redirect::to("/enter"), "", 0)
}

fn with_cookie(app: &App, answer: Redirect, value: &str, seconds: i64) -> Response {
    let secure = if app.tls { "; Secure" } else { "" };
    let name = app.cookie_name();
    let cookie =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut response = answer.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
