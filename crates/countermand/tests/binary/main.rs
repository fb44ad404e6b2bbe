//! The real binary, from the outside.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod adopt;
mod asked;
mod authenticator;
mod backup;
#[path = "../../../countermand-console/tests/browser/browser.rs"]
mod browser;
mod cli;
mod configure;
mod console;
mod demo;
mod doctor;
mod elsewhere;
mod freeze;
mod gateway;
#[path = "../../../countermand-console/tests/browser/hands.rs"]
mod hands;
mod incident;
mod ledger_files;
mod ledger_keys;
mod life;
mod log;
mod metrics;
mod observe;
#[expect(dead_code, reason = "the console's own tests use the rest")]
#[path = "../../../countermand-console/tests/browser/page.rs"]
mod page;
mod prove;
mod reasons;
mod roles;
mod socket;
mod standing;
mod terminal;
mod traces;
mod watch;
#[path = "../../../countermand-console/tests/browser/wire.rs"]
mod wire;
