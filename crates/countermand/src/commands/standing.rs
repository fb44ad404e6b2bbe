//! `standing`: approvals given beforehand, for what an agent asks again and again.

use super::{done, json, signed};
use crate::cli::{Global, Standing};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Align, Page, Table, Tone, escape};
use countermand_core::request::ChangeNumber;
use countermand_core::standing::StandingNumber;
use countermand_engine::control::{Command, PrepareAct, Reply, StandingLine, StandingTerms};
use jiff::Timestamp;

/// Runs `standing`.
pub(super) fn run(global: &Global, arguments: Standing) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    match arguments {
        Standing::Approve { change, runs, apart, until, rows, seat, signer } => {
            let until = until.seen_from(Timestamp::now()).map_err(Failure::usage)?;
            let terms =
                StandingTerms { runs, apart, until, rows: rows.into_iter().collect(), seat };
            let act = PrepareAct::ApproveStanding { change: ChangeNumber(change), terms };
            signed(global, &mut client, &signer, act)
        }
        Standing::List => {
            let Reply::Standings { standings } = client.ask(&Command::Standings)? else {
                return Err(unexpected());
            };
            if global.json {
                json(&standings);
            } else {
                show_list(&standings);
            }
            Ok(Exit::Done)
        }
        Standing::Revoke { number } => {
            let standing = StandingNumber(number);
            done(&client.ask(&Command::EndStanding { standing })?, global.json)
        }
    }
}

fn show_list(standings: &[StandingLine]) {
    let mut page = Page::stdout();
    if standings.is_empty() {
        page.line("no standing approvals");
        page.print();
        return;
    }
    let mut table = Table::new(&[
        ("number", Align::Right),
        ("state", Align::Left),
        ("by", Align::Left),
        ("agent", Align::Left),
        ("target", Align::Left),
        ("like change", Align::Right),
        ("runs", Align::Right),
        ("until", Align::Left),
        ("at most", Align::Left),
    ]);
    for standing in standings {
        let plain = |text: String| (Tone::Plain, escape::line(&text));
        let subject = &standing.subject;
        let tone = if standing.state == "in force" { Tone::Good } else { Tone::Plain };
        let runs = match subject.runs {
            Some(most) => format!("{} of {most}", standing.used),
            None => standing.used.to_string(),
        };
        let most = subject.ceiling.iter().map(|(table, rows)| format!("{rows} of {table}"));
        table.row(vec![
            plain(standing.number.to_string()),
            (tone, escape::line(&standing.state)),
            plain(standing.human.to_string()),
            plain(subject.requester.to_string()),
            plain(subject.scene.target.to_string()),
            plain(subject.example.to_string()),
            plain(runs),
            plain(format!("{:.0}", subject.until)),
            plain(most.collect::<Vec<_>>().join(", ")),
        ]);
    }
    table.put(&mut page);
    page.print();
}
