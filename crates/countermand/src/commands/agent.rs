//! `agent`: let agents in, see them, end their credentials.

use super::{agent_report, done, json, observe, signed};
use crate::cli::{Agent, Global};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Align, Page, Table, Tone, escape, observed};
use countermand_core::name::TargetName;
use countermand_core::policy::Grant;
use countermand_engine::control::{AgentLine, Command, PrepareAct, Reply};
use countermand_engine::observe::ObservedLine;
use jiff::Timestamp;

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
                show_list(&agents, &observe::now(&mut client)?);
            }
            Ok(Exit::Done)
        }
        Agent::Report { name, since } => agent_report::run(global, &mut client, name, since),
        Agent::Revoke { name } => {
            let reply = client.ask(&Command::RevokeAgent { agent: name })?;
            done(&reply, global.json)
        }
    }
}

fn show_list(agents: &[AgentLine], observed: &[ObservedLine]) {
    let mut page = Page::stdout();
    observed::banner(&mut page, observed);
    if agents.is_empty() {
        page.line("no agents");
    } else {
        let mut table = Table::new(&[
            ("agent", Align::Left),
            ("sponsor", Align::Left),
            ("credential ends", Align::Left),
            ("on probation", Align::Left),
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
                (Tone::Warning, probation(agent)),
                (Tone::Plain, escape::line(&agent.grant)),
            ]);
        }
        table.put(&mut page);
    }
    page.print();
}

/// `shop until 2026-01-08T00:00:00Z`, or nothing.
fn probation(agent: &AgentLine) -> String {
    if agent.revoked {
        return String::new();
    }
    let on = |(target, until): (&TargetName, &Option<Timestamp>)| match until {
        Some(until) => format!("{target} until {until:.0}"),
        None => format!("{target}, from its first session"),
    };
    agent.probation.iter().map(on).collect::<Vec<_>>().join(", ")
}
