//! `console`: lets people into the web console.

use super::json;
use crate::cli::{Console, Global};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::Page;
use countermand_engine::control::{Command, Reply};

/// Runs `console`. The link alone goes to standard output.
pub(super) fn run(global: &Global, arguments: Console) -> Result<Exit, Failure> {
    let Console::Link { human } = arguments;
    let reply = Client::connect(global)?.ask(&Command::ConsoleLink { human: human.clone() })?;
    let Reply::ConsoleLink { link, until } = &reply else { return Err(unexpected()) };
    if global.json {
        json(&reply);
        return Ok(Exit::Done);
    }
    let mut page = Page::stderr();
    page.words(&format!(
        "Whoever opens this reads as {human} for an hour, and can do nothing else. It is good once, \
         until {until:.0}."
    ));
    page.eprint();
    println!("{link}");
    Ok(Exit::Done)
}
