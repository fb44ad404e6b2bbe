//! `changes`: for people over the gateway's socket, for agents over their door.

use super::{done, json};
use crate::at_door::{self, AgentSession};
use crate::cli::{Changes, Global, Viewer};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Page, change};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{ChangeView, Command, Reply};
use std::time::{Duration, Instant};

/// Runs `changes`.
pub(super) fn run(global: &Global, arguments: Changes) -> Result<Exit, Failure> {
    match arguments {
        Changes::List { open, viewer } => match session(global, &viewer)? {
            Some(mut session) => at_door::list(global, &mut session, open),
            None => list(global, open),
        },
        Changes::Show { change, viewer } => match session(global, &viewer)? {
            Some(mut session) => at_door::show(global, &mut session, change),
            None => show(global, ChangeNumber(change)),
        },
        Changes::Wait { change, timeout, viewer } => {
            let until = Instant::now() + Duration::from_secs(timeout);
            match session(global, &viewer)? {
                Some(mut session) => at_door::wait(global, &mut session, change, until),
                None => wait(global, ChangeNumber(change), until),
            }
        }
        Changes::Withdraw { change, viewer } => match session(global, &viewer)? {
            Some(mut session) => at_door::withdraw(global, &mut session, change),
            None => {
                let change = ChangeNumber(change);
                let reply = Client::connect(global)?.ask(&Command::Withdraw { change })?;
                done(&reply, global.json)
            }
        },
        Changes::Stop { change, reason } => {
            let command = Command::StopCooling { change: ChangeNumber(change), reason };
            let reply = Client::connect(global)?.ask(&command)?;
            done(&reply, global.json)
        }
    }
}

fn session(global: &Global, viewer: &Viewer) -> Result<Option<AgentSession>, Failure> {
    let Some(agent) = &viewer.agent else { return Ok(None) };
    AgentSession::open(global, agent, &viewer.door).map(Some)
}

fn list(global: &Global, open: bool) -> Result<Exit, Failure> {
    let reply = Client::connect(global)?.ask(&Command::Changes { open })?;
    let Reply::Changes { changes } = reply else { return Err(unexpected()) };
    if global.json {
        json(&changes);
    } else {
        let mut page = Page::stdout();
        change::list(&mut page, &changes);
        page.print();
    }
    Ok(Exit::Done)
}

fn show(global: &Global, change: ChangeNumber) -> Result<Exit, Failure> {
    let reply = Client::connect(global)?.ask(&Command::Show { change })?;
    let Reply::Change(view) = reply else { return Err(unexpected()) };
    put(global, &view);
    Ok(Exit::Done)
}

fn wait(global: &Global, change: ChangeNumber, until: Instant) -> Result<Exit, Failure> {
    let mut client = Client::connect(global)?;
    let mut command = Command::Show { change };
    loop {
        let Reply::Change(view) = client.ask(&command)? else { return Err(unexpected()) };
        let exit = after(&view.line.state);
        // The gateway answers a wait after 30 s at the latest: the deadline is kept to that.
        if exit != Exit::Held || Instant::now() >= until {
            put(global, &view);
            return Ok(exit);
        }
        command = Command::Wait { change, seen: view.version };
    }
}

/// How a command ends that has seen a change in this state.
pub(crate) fn after(state: &str) -> Exit {
    match state {
        "executed" | "restored" => Exit::Done,
        "held" | "running" | "committing" => Exit::Held,
        _ => Exit::Failed,
    }
}

fn put(global: &Global, view: &ChangeView) {
    if global.json {
        json(view);
        return;
    }
    let mut page = Page::stdout();
    change::view(&mut page, view);
    page.print();
}
