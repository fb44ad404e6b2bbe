//! Every address there is, with who may call it.

use crate::findings::{Finding, Tested};
use crate::login::Logins;
use crate::pages::explain::Reading;
use crate::rounds::Rounds;
use crate::{act, api, assets, guard, live, openapi, pages};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, get, post};
use countermand_engine::{Engine, Passkeys};
use std::sync::Arc;
use tokio::sync::watch;

/// A form's body, in bytes.
const LARGEST_BODY: usize = 4096;
/// A signed statement's, which names every table that a change touches, and that of a text to be
/// explained.
const LARGEST_STATEMENT: usize = 1024 * 1024;

/// Who may call an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Everybody: nothing of the installation is in the answer.
    Anyone,
    /// A human who is logged in. The handler takes a [`crate::reader::Reader`].
    Reader,
    /// A human whose passkey let them in. The handler takes a [`crate::signer::Signer`].
    Signer,
}

/// One address.
pub(crate) struct Route {
    /// As axum writes it.
    pub(crate) path: &'static str,
    pub(crate) caller: Caller,
    handlers: fn() -> MethodRouter<App>,
}

const fn open(path: &'static str, handlers: fn() -> MethodRouter<App>) -> Route {
    Route { path, caller: Caller::Anyone, handlers }
}

const fn read(path: &'static str, handlers: fn() -> MethodRouter<App>) -> Route {
    Route { path, caller: Caller::Reader, handlers }
}

const fn sign(path: &'static str, handlers: fn() -> MethodRouter<App>) -> Route {
    Route { path, caller: Caller::Signer, handlers }
}

/// All of them. [`router`] knows no other.
pub(crate) const ROUTES: &[Route] = &[
    open("/enter", || get(pages::enter::form).post(pages::enter::enter)),
    open("/api/v1/login/ask", || post(pages::enter::begin)),
    open("/api/v1/login/proof", || post(pages::enter::prove)),
    open("/leave", || post(pages::enter::leave)),
    open("/assets/console.css", || get(assets::style)),
    open("/assets/console.js", || get(assets::script)),
    open("/assets/passkey.js", || get(assets::passkey_script)),
    open("/assets/icon.svg", || get(assets::icon)),
    read("/", || get(pages::queue::page)),
    read("/changes", || get(pages::changes::page)),
    read("/changes/{number}", || get(pages::decision::page)),
    sign("/changes/{number}/rows", || get(pages::rows::page)),
    read("/agents", || get(pages::agents::page)),
    read("/agents/{agent}", || get(pages::agents::one)),
    read("/targets", || get(pages::targets::page)),
    read("/targets/{target}", || get(pages::targets::one)),
    read("/policies", || get(pages::policies::page)),
    read("/policies/explain", || {
        let both = get(pages::explain::page).post(pages::explain::explain);
        both.layer(DefaultBodyLimit::max(LARGEST_STATEMENT))
    }),
    read("/configuration", || get(pages::configuration::page)),
    read("/ledger", || get(pages::ledger::page)),
    read("/ledger/{entry}", || get(pages::ledger::one)),
    read("/incident", || get(pages::incident::page)),
    read("/status", || get(pages::status::page)),
    read("/doctor", || get(pages::doctor::page)),
    read("/keys", || get(pages::keys::page)),
    read("/api/v1/passkeys/ask", || post(pages::keys::ask)),
    read("/api/v1/passkeys/made", || post(pages::keys::made)),
    sign("/api/v1/prepare", || post(act::prepare)),
    sign("/api/v1/submit", || post(act::submit).layer(DefaultBodyLimit::max(LARGEST_STATEMENT))),
    sign("/api/v1/stop", || post(act::stop)),
    read("/api/v1/changes", || get(api::changes)),
    read("/api/v1/changes/{number}", || get(api::change)),
    read("/api/v1/status", || get(api::status)),
    read("/api/v1/ledger/{entry}/proof", || get(api::proof)),
    read("/api/v1/incident", || get(api::incident)),
    read("/api/v1/openapi.json", || get(openapi::document)),
    read("/api/v1/events", || get(live::events)),
];

/// What handlers know.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) logins: Arc<Logins>,
    pub(crate) passkeys: Arc<Passkeys>,
    /// What the doctor finds.
    pub(crate) doctor: Option<Rounds<Vec<Finding>>>,
    /// How the cases of the site's policies go.
    pub(crate) tests: Option<Rounds<Result<Tested, String>>>,
    pub(crate) reading: Option<Reading>,
    /// The names that this server goes by.
    pub(crate) names: Arc<[String]>,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// Turns true when the gateway stops.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) streams: Arc<tokio::sync::Semaphore>,
}

impl App {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Scheme, name and port: where passkeys can be made.
    pub(crate) fn own_origin(&self) -> String {
        format!("{}://{}:{}", self.scheme(), self.names[0], self.port)
    }

    /// `__Host-`: the browser takes it from this server alone, over TLS.
    pub(crate) fn cookie_name(&self) -> &'static str {
        if self.tls { "__Host-countermand" } else { "countermand" }
    }
}

/// The table as a service.
pub(crate) fn router(app: App) -> Router {
    let guarded = |caller| from_fn_with_state((app.clone(), caller), guard::one_route);
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, (route.handlers)().layer(guarded(route.caller)));
    }
    let elsewhere = any(pages::missing).layer(guarded(Caller::Reader));
    router
        .fallback_service(elsewhere.with_state(app.clone()))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(app.clone(), guard::every_request))
        .with_state(app)
}
