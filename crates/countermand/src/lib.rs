//! The binary's parts: configuration, wiring, commands. A library so that tests, and the
//! demonstration, run the same wiring as `countermand serve`.
#![forbid(unsafe_code)]

pub mod at_door;
pub mod cli;
pub mod client;
mod commands;
pub mod config;
mod demo;
pub mod exit;
pub mod init;
pub mod moment;
mod ocsf;
mod roles;
pub mod serve;
pub mod show;
mod sign;
pub mod socket;
mod telemetry;
mod wiring;

use clap::Parser as _;
use exit::Exit;
use show::{Page, Tone, escape};
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Usage errors end here, with code 2 as clap's own.
    let cli = cli::Cli::parse();
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report(&failure, json);
            failure.exit.into()
        }
    }
}

fn report(failure: &exit::Failure, json: bool) {
    if json {
        let code = failure.exit as u8;
        let error = serde_json::json!({ "error": failure.why, "exit": code });
        commands::json(&error);
        return;
    }
    let mut page = Page::stderr();
    let tone = if failure.exit == Exit::Held { Tone::Warning } else { Tone::Danger };
    let mark = page.paint(tone, "countermand: ");
    for (nth, line) in escape::lines(&failure.why).iter().enumerate() {
        page.item(if nth == 0 { &mark } else { "  " }, line);
    }
    page.eprint();
}
