//! `agent`: let agents in, see them, end their credentials.

use super::{done, json, signed};
use crate::cli::{Agent, Global};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Align, Page, Table, Tone, escape};
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
            signed(global, &mut client, &signer, act)
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
