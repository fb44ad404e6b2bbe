//! What is answered instead of what was asked for: RFC 9457 for programs, a page for people.

use crate::pages;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request is not answered as it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nobody is logged in.
    #[error(
        "nobody is logged in here: whoever runs the gateway makes a link with \
         `countermand console link --as NAME`"
    )]
    Stranger,
    /// A link let them in, which proves nothing.
    #[error("a link only lets you read: log in with your passkey to do this")]
    NotProven,
    /// What a passkey did lets nobody in, or is none.
    #[error("{0}")]
    Passkey(String),
    /// The link's token is none.
    #[error(
        "this link was used, or is older than five minutes: make another with \
         `countermand console link --as NAME`"
    )]
    NotLetIn,
    /// Too many such tokens.
    #[error("too many tries: wait a minute, then do it again")]
    TooMany,
    /// The request names another server.
    #[error(
        "this is not the server you asked for: use the address that `countermand console link` \
         prints"
    )]
    Misdirected,
    /// It comes from another page.
    #[error("this request was made by another page: open the console and do it there")]
    CrossOrigin,
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// The request makes no sense.
    #[error("{0}")]
    Bad(String),
    /// The engine refuses.
    #[error("{0}")]
    Refused(String),
    /// The engine answered something else than was asked.
    #[error("the engine answered something else than was asked: look at the gateway's log")]
    Unexpected,
    /// The server itself does not take the request.
    #[error("{}", plainly(*.0))]
    Plain(StatusCode),
    /// It took too long.
    #[error("it took too long: ask again, or use the command line")]
    Late,
}

impl Trouble {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Trouble::Stranger | Trouble::NotLetIn | Trouble::Passkey(_) => StatusCode::UNAUTHORIZED,
            Trouble::NotProven => StatusCode::FORBIDDEN,
            Trouble::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Trouble::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Trouble::CrossOrigin => StatusCode::FORBIDDEN,
            Trouble::Missing(_) => StatusCode::NOT_FOUND,
            Trouble::Bad(_) => StatusCode::BAD_REQUEST,
            Trouble::Refused(_) => StatusCode::CONFLICT,
            Trouble::Unexpected => StatusCode::INTERNAL_SERVER_ERROR,
            Trouble::Plain(status) => *status,
            Trouble::Late => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn title(&self) -> &'static str {
        match self {
            Trouble::Stranger => "Not logged in",
            Trouble::NotLetIn => "This link opens nothing",
            Trouble::NotProven => "Only to be read",
            Trouble::Passkey(_) => "Not by this passkey",
            Trouble::TooMany => "Too many tries",
            Trouble::Misdirected => "Another server",
            Trouble::CrossOrigin => "From another page",
            Trouble::Missing(_) => "Not here",
            Trouble::Bad(_) => "Not understood",
            Trouble::Refused(_) => "Refused",
            Trouble::Unexpected => "Something is wrong",
            Trouble::Plain(_) => "Not taken",
            Trouble::Late => "Too late",
        }
    }

    /// For people.
    pub(crate) fn page(&self) -> Response {
        let mut response = pages::trouble(self);
        *response.status_mut() = self.status();
        response
    }
}

fn plainly(status: StatusCode) -> &'static str {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => "this address takes another method: `Allow` says which",
        StatusCode::PAYLOAD_TOO_LARGE => "the request is larger than any that is taken here",
        _ => "what the address asks for cannot be read: `/api/v1/openapi.json` says what can",
    }
}

/// What went wrong (RFC 9457); `type` is `about:blank` where it is left out.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of trouble it is.
    title: &'static str,
    /// The status, once more.
    #[schema(example = 404)]
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let status = self.status();
        let problem =
            Problem { title: self.title(), status: status.as_u16(), detail: self.to_string() };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Trouble::TooMany = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        // The guard makes a page of it where a person asked.
        response.extensions_mut().insert(self);
        response
    }
}
