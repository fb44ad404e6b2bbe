//! `observe`: where nothing is held for a while, and what would have been.

use super::json;
use crate::cli::{Global, Observe};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Page, observed};
use countermand_engine::control::{Command, Reply};
use countermand_engine::observe::ObservedLine;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Runs `observe`.
pub(super) fn run(global: &Global, arguments: Observe) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    match arguments {
        Observe::List => {
            let lines = now(&mut client)?;
            if global.json {
                json(&lines);
                return Ok(Exit::Done);
            }
            let mut page = Page::stdout();
            observed::banner(&mut page, &lines);
            if lines.is_empty() {
                page.line("no target is observed: what is to be held is held");
            }
            page.print();
        }
        Observe::Report { target, since } => {
            let since = since.seen_from(Timestamp::now(), &TimeZone::system());
            let since = since.map_err(Failure::usage)?;
            let reply = client.ask(&Command::ObserveReport { target, since })?;
            let Reply::ObserveReport(report) = reply else { return Err(unexpected()) };
            if global.json {
                json(&report);
                return Ok(Exit::Done);
            }
            let mut page = Page::stdout();
            observed::report(&mut page, &report);
            page.print();
        }
    }
    Ok(Exit::Done)
}

/// Where nothing is held now.
pub(super) fn now(client: &mut Client) -> Result<Vec<ObservedLine>, Failure> {
    match client.ask(&Command::Status)? {
        Reply::Status(status) => Ok(status.observed),
        _ => Err(unexpected()),
    }
}
