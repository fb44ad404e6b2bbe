//! The real binary, from the outside.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod adopt;
mod asked;
mod authenticator;
mod backup;
mod cli;
mod configure;
mod console;
mod doctor;
mod elsewhere;
mod freeze;
mod gateway;
mod incident;
mod ledger_files;
mod ledger_keys;
mod life;
mod log;
mod observe;
mod prove;
mod reasons;
mod roles;
mod socket;
mod standing;
mod terminal;
mod watch;
