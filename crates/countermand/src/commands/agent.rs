//! `agent`: let agents in, see them, end their credentials.

use super::{done, json};
use crate::cli::{Agent, Global};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Align, Page, Table, Tone, escape};
use crate::sign;
use countermand_core::policy::Grant;
use countermand_engine::control::{AgentLine, Command, PrepareAct, Reply};

/// Runs `agent`.
pub(super) fn run(global: &Global, arguments: Agent) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    match arguments {
        Agent::Add { name, targets, effects, lifetime, signer } => {
            let grant = Grant {
                targets: targets.into_iter().collect(),
                effects: effects.into_iter().collect(),
            };
            let act = PrepareAct::AddAgent { agent: name, grant, lifetime };
            let reply = sign::act(global, &mut client, &signer, act)?;
            done(&reply, global.json)?;
            if !global.json {
                show_credential(&reply);
            }
            Ok(Exit::Done)
        }
        Agent::List => {
            let Reply::Agents { agents } = client.ask(&Command::Agents)? else {
                return Err(unexpected());
            };
            if global.json {
                json(&agents);
            } else {
                show_list(&agents);
            }
            Ok(Exit::Done)
        }
        Agent::Revoke { name } => {
            let reply = client.ask(&Command::RevokeAgent { agent: name })?;
            done(&reply, global.json)
        }
    }
}

/// The credential alone on standard output, so that it can be sent to a file; what to do with it
/// beside.
fn show_credential(reply: &Reply) {
    let Reply::Done { credential: Some(credential), .. } = reply else { return };
    println!("{credential}");
    let mut page = Page::stderr();
    page.words(
        "This is the agent's credential. It is shown once and kept nowhere: put it into a file \
         that only the agent can read, or into COUNTERMAND_CREDENTIAL.",
    );
    page.eprint();
}

fn show_list(agents: &[AgentLine]) {
    let mut page = Page::stdout();
    if agents.is_empty() {
        page.line("no agents");
    } else {
        let mut table = Table::new(&[
            ("agent", Align::Left),
            ("sponsor", Align::Left),
            ("credential ends", Align::Left),
            ("may", Align::Left),
        ]);
        for agent in agents {
            let ends = match agent.revoked {
                true => (Tone::Danger, "revoked".to_owned()),
                false => (Tone::Plain, format!("{:.0}", agent.expires)),
            };
            table.row(vec![
                (Tone::Plain, agent.agent.to_string()),
                (Tone::Plain, agent.sponsor.to_string()),
                ends,
                (Tone::Plain, escape::line(&agent.grant)),
            ]);
        }
        table.put(&mut page);
    }
    page.print();
}
