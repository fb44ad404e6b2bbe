//! What every request passes before its handler, and every answer after it.

use crate::login;
use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::{App, Caller};
use crate::signer::Signer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use countermand_engine::key::{Origin, OriginError};
use std::time::Duration;

/// A handler that has not answered by then is given up.
const LONGEST: Duration = Duration::from_secs(30);

/// So many cookies of our name are looked at.
const MOST_COOKIES: usize = 8;

/// What every answer says, whatever it answers.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The outermost: names of servers, origins, time, headers.
pub(crate) async fn every_request(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let for_programs = request.uri().path().starts_with("/api/");
    let wrong = check(&app, &request).err();
    let response = match wrong {
        Some(trouble) => trouble.into_response(),
        None => tokio::time::timeout(LONGEST, next.run(request))
            .await
            .unwrap_or_else(|_| Trouble::Late.into_response()),
    };
    let response = plain_to_trouble(response);
    let mut response = match response.extensions().get::<Trouble>() {
        Some(trouble) if !for_programs => {
            let mut page = trouble.page();
            if let Some(allow) = response.headers().get(header::ALLOW) {
                page.headers_mut().insert(header::ALLOW, allow.clone());
            }
            page
        }
        _ => response,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What the server itself refuses is said as everything else is.
fn plain_to_trouble(response: Response) -> Response {
    let status = response.status();
    let ours = response.extensions().get::<Trouble>().is_some();
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut said = Trouble::Plain(status).into_response();
    if let Some(allow) = allow {
        said.headers_mut().insert(header::ALLOW, allow);
    }
    said
}

fn check(app: &App, request: &Request) -> Result<(), Trouble> {
    let host = host(request.headers(), request.uri()).ok_or(Trouble::Misdirected)?;
    if !app.names.iter().any(|name| name == name_of(host)) {
        return Err(Trouble::Misdirected);
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || is_own(request.headers(), &format!("{}://{host}", app.scheme())) {
        return Ok(());
    }
    Err(Trouble::CrossOrigin)
}

/// The one server that the request names: a page of another name that was made to lead here
/// (DNS rebinding) names that.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let mut named = headers.get_all(header::HOST).iter();
    let (host, None) = (named.next()?.to_str().ok()?, named.next()) else { return None };
    uri.authority().is_none_or(|authority| authority.as_str() == host).then_some(host)
}

/// The page that the request comes from, where it is one that passkeys can belong to: the guard has
/// seen that the request names this server, and that it was made by a page of it.
pub(crate) fn origin(app: &App, headers: &HeaderMap) -> Result<Origin, Trouble> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let named = format!("{}://{host}", app.scheme());
    // Without TLS only its port tells this server from another one at this name, which may pass
    // requests on and change what is shown.
    if !app.tls && named != app.own_origin() {
        let here = app.own_origin();
        return Err(Trouble::Bad(format!("without TLS passkeys are used at {here} alone")));
    }
    named.parse().map_err(|error: OriginError| Trouble::Bad(error.to_string()))
}

/// Without its port, which an SSH tunnel may change.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether the request was made by a page of ours. A form under `no-referrer` has the origin
/// `null`; the browser's own word about it, which no script can set, is as good.
fn is_own(headers: &HeaderMap, own: &str) -> bool {
    let value = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(Some(value.as_bytes())),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(()),
        }
    };
    let (Ok(origin), Ok(site)) = (value("origin"), value("sec-fetch-site")) else { return false };
    match (origin, site) {
        (_, Some(site)) if site != b"same-origin" => false,
        (None | Some(b"null"), site) => site.is_some(),
        (Some(origin), _) => origin == own.as_bytes(),
    }
}

/// The innermost, with what the table says of the route.
pub(crate) async fn one_route(
    State((app, caller)): State<(App, Caller)>,
    mut request: Request,
    next: Next,
) -> Response {
    match caller {
        Caller::Anyone => {}
        Caller::Reader | Caller::Signer => {
            let reader = cookie(&app, request.headers()).and_then(|it| Reader::of(&app, it));
            let Some(reader) = reader else { return stranger(&request) };
            if caller == Caller::Signer {
                let Some(signer) = Signer::of(&reader) else {
                    return Trouble::NotProven.into_response();
                };
                request.extensions_mut().insert(signer);
            }
            request.extensions_mut().insert(reader);
        }
    }
    next.run(request).await
}

/// A stranger is told how to become none, and not whether there is anything.
fn stranger(request: &Request) -> Response {
    let programs = request.uri().path().starts_with("/api/");
    if programs || *request.method() != Method::GET {
        return Trouble::Stranger.into_response();
    }
    Redirect::to("/enter").into_response()
}

/// The session's token, as the browser sent it. Another page of this machine can plant a second one
/// of the same name: that is looked over, and where several let somebody in none does.
pub(crate) fn cookie<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let own: Vec<&str> = cookies
        .flat_map(|value| value.split("; "))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == app.cookie_name())
        .map(|(_, value)| value)
        .take(MOST_COOKIES)
        .collect();
    if let [only] = own[..] {
        return Some(only);
    }
    let now = app.engine.clock().now();
    let lives = |value: &&str| app.logins.session(&login::name_of(value), now).is_some();
    let mut live = own.into_iter().filter(lives);
    let (only, None) = (live.next()?, live.next()) else { return None };
    Some(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        is_own(&map, "http://localhost:6480")
    }

    #[test]
    fn only_our_own_pages_are_ours() {
        let ours = ("origin", "http://localhost:6480");
        assert!(own(&[ours]));
        assert!(own(&[ours, ("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        for foreign in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:3000")],
            &[("origin", "https://localhost:6480")],
            &[("origin", "http://localhost:6480.evil.example")],
            &[ours, ("sec-fetch-site", "same-site")],
            &[ours, ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
            &[ours, ("origin", "http://evil.example")],
        ] {
            assert!(!own(foreign), "{foreign:?}");
        }
    }

    #[test]
    fn a_name_is_what_stands_before_the_port() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost:6480", "localhost"),
            ("[::1]:6480", "[::1]"),
            ("localhost.evil.example:6480", "localhost.evil.example"),
            ("localhost:6480@evil.example", "localhost:6480@evil.example"),
        ] {
            assert_eq!(name_of(host), name);
        }
    }
}
