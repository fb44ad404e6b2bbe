//! The commands: one module each, or one for those that belong together.

mod agent;
mod agent_report;
mod changes;
mod config;
mod console;
pub(crate) mod doctor;
mod explain;
mod freeze;
mod gateway;
mod incident;
mod init;
mod ledger;
mod manual;
mod observe;
pub(crate) mod policy;
mod propose;
mod restore;
mod review;
mod standing;

use crate::cli::{Cli, Command, Global, Signer};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::show::{Page, escape};
use crate::sign::{self, Acted};
use countermand_core::digest::Digest;
use countermand_core::statement::NAMESPACE;
use countermand_engine::control::{PrepareAct, Reply};
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;

/// Runs what was asked for.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Init(arguments) => init::run(&global, arguments),
        Command::Agent(arguments) => agent::run(&global, arguments),
        Command::Changes(arguments) => changes::run(&global, arguments),
        Command::Approve(arguments) => review::approve(&global, arguments),
        Command::Adopt(arguments) => review::adopt(&global, arguments),
        Command::Reject(arguments) => review::reject(&global, arguments),
        Command::Resolve(arguments) => review::resolve(&global, arguments),
        Command::Submit(arguments) => review::submit(&global, arguments),
        Command::Standing(arguments) => standing::run(&global, arguments),
        Command::Restore(arguments) => restore::run(&global, arguments),
        Command::Freeze(arguments) => freeze::freeze(&global, arguments),
        Command::Thaw(arguments) => freeze::thaw(&global, arguments),
        Command::Observe(arguments) => observe::run(&global, arguments),
        Command::Config(arguments) => config::run(&global, arguments),
        Command::Policy(arguments) => policy::run(&global, &arguments),
        Command::Gateway(arguments) => gateway::run(&global, arguments),
        Command::Ledger(arguments) => ledger::run(&global, arguments),
        Command::Incident(arguments) => incident::run(&global, &arguments),
        Command::Console(arguments) => console::run(&global, arguments),
        Command::Explain(arguments) => explain::run(&global, arguments),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::pages(directory.as_deref()),
        Command::Propose(arguments) => propose::run(&global, &arguments),
        Command::Serve => crate::serve::run(&global),
        Command::Doctor(arguments) => doctor::run(&global, &arguments),
        Command::Demo { unattended, browser } => crate::demo::run(&global, unattended, browser),
    }
}

/// Prints JSON on one line. A reader that has gone away is no error.
pub(crate) fn json(value: &impl Serialize) {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    let _ = std::io::stdout().write_all(&line);
}

/// Lets `act` happen, signed here; or writes what is to be signed elsewhere.
fn signed(
    global: &Global,
    client: &mut Client,
    signer: &Signer,
    act: PrepareAct,
) -> Result<Exit, Failure> {
    match sign::act(global, client, signer, act)? {
        Acted::Done(reply) => done(&reply, global.json),
        Acted::Written { file, digest } if global.json => {
            json(&serde_json::json!({ "statement": file, "sha256": digest }));
            Ok(Exit::Done)
        }
        Acted::Written { file, digest } => {
            elsewhere(&file, &digest);
            Ok(Exit::Done)
        }
    }
}

/// How a statement is signed on another machine, where nothing shows it as it was shown here.
fn elsewhere(file: &Path, digest: &Digest) {
    let name = file.file_name().unwrap_or_default().display();
    let mut page = Page::stdout();
    page.line(format!("written: {}", file.display()));
    page.words("Where your key is, compare its SHA-256 with this one, then sign it:");
    page.line(format!("    {digest}"));
    page.line(format!("    sha256sum {name}"));
    page.line(format!("    ssh-keygen -Y sign -n {NAMESPACE} -f KEY {name}"));
    page.words(&format!("Here, with {name}.sig beside it, within half an hour:"));
    page.line(format!("    countermand submit {}", file.display()));
    page.print();
}

/// Says what was done, in the gateway's words. An agent's credential stands alone on standard
/// output, so that it can be sent to a file.
fn done(reply: &Reply, as_json: bool) -> Result<Exit, Failure> {
    let Reply::Done { words, credential } = reply else {
        return Err(crate::client::unexpected());
    };
    if as_json {
        json(reply);
        return Ok(Exit::Done);
    }
    let mut page = if credential.is_some() { Page::stderr() } else { Page::stdout() };
    for line in escape::lines(words) {
        page.item("", &line);
    }
    let Some(credential) = credential else {
        page.print();
        return Ok(Exit::Done);
    };
    page.words(
        "This is the agent's credential. It is shown once and kept nowhere: put it into a file \
         that only the agent can read, or into COUNTERMAND_CREDENTIAL.",
    );
    page.eprint();
    println!("{credential}");
    Ok(Exit::Done)
}
