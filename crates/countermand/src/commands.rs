//! The commands: one module each, or one for those that belong together.

mod agent;
mod changes;
mod doctor;
mod explain;
mod freeze;
mod init;
mod ledger;
mod manual;
mod policy;
mod propose;
mod restore;
mod review;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::show::{Page, escape};
use countermand_engine::control::Reply;
use serde::Serialize;
use std::io::Write as _;

/// Runs what was asked for.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Init(arguments) => init::run(&global, arguments),
        Command::Agent(arguments) => agent::run(&global, arguments),
        Command::Changes(arguments) => changes::run(&global, arguments),
        Command::Approve(arguments) => review::approve(&global, arguments),
        Command::Reject(arguments) => review::reject(&global, arguments),
        Command::Restore(arguments) => restore::run(&global, arguments),
        Command::Freeze(arguments) => freeze::freeze(&global, arguments),
        Command::Thaw(arguments) => freeze::thaw(&global, arguments),
        Command::Policy(arguments) => policy::run(&global, &arguments),
        Command::Ledger(arguments) => ledger::run(&global, arguments),
        Command::Explain(arguments) => explain::run(&global, arguments),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::pages(directory.as_deref()),
        Command::Propose(arguments) => propose::run(&global, &arguments),
        Command::Serve => crate::serve::run(&global),
        Command::Doctor(arguments) => doctor::run(&global, &arguments),
        Command::Demo { unattended } => crate::demo::run(&global, unattended),
    }
}

/// Prints JSON on one line. A reader that has gone away is no error.
pub(crate) fn json(value: &impl Serialize) {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    let _ = std::io::stdout().write_all(&line);
}

/// Says what was done, in the gateway's words.
fn done(reply: &Reply, as_json: bool) -> Result<Exit, Failure> {
    let Reply::Done { words, .. } = reply else { return Err(crate::client::unexpected()) };
    if as_json {
        json(reply);
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    for line in escape::lines(words) {
        page.item("", &line);
    }
    page.print();
    Ok(Exit::Done)
}
