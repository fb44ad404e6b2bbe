//! `freeze` and `thaw`: stopping needs no signature, letting run again does.

use super::{done, signed};
use crate::cli::{Freeze, Global, Kind, Thaw};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use countermand_core::name::{AgentName, HumanName};
use countermand_engine::control::{Command, PrepareAct, Scope};

/// Runs `freeze`.
pub(super) fn freeze(global: &Global, arguments: Freeze) -> Result<Exit, Failure> {
    let Freeze { kind, name, reason } = arguments;
    let what = scope(kind, name)?;
    let reply = Client::connect(global)?.ask(&Command::Freeze { what, reason })?;
    done(&reply, global.json)
}

/// Runs `thaw`.
pub(super) fn thaw(global: &Global, arguments: Thaw) -> Result<Exit, Failure> {
    let Thaw { kind, name, signer } = arguments;
    let act = PrepareAct::Thaw { what: scope(kind, name)? };
    signed(global, &mut Client::connect(global)?, &signer, act)
}

fn scope(kind: Kind, name: Option<String>) -> Result<Scope, Failure> {
    match (kind, name) {
        (Kind::Agent, Some(name)) => requester(&name).map(Scope::Agent),
        (Kind::Target, Some(name)) => name.parse().map(Scope::Target).map_err(Failure::usage),
        (Kind::Everything, None) => Ok(Scope::Everything),
        (Kind::Everything, Some(name)) => {
            Err(Failure::usage(format!("`everything` has no name: leave out `{name}`")))
        }
        (Kind::Agent | Kind::Target, None) => Err(Failure::usage("say which one, by its name")),
    }
}

/// An agent, or `human:NAME`: who asks for themself can be stopped like one.
fn requester(name: &str) -> Result<AgentName, Failure> {
    let human = name.strip_prefix("human:").map(HumanName::new);
    match human {
        Some(human) => human.map(|human| AgentName::of_human(&human)).map_err(Failure::usage),
        None => name.parse().map_err(Failure::usage),
    }
}
