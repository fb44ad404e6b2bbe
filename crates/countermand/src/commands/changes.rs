//! `changes`: for people over the gateway's socket, for agents over their door.

use super::{done, json, observe};
use crate::at_door::{AgentSession, AgentView};
use crate::cli::{Changes, Global, Viewer};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Page, change, observed, rows};
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{ChangeLine, ChangeView, ChangesWanted, Command, Reply};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How often an agent looks at a change that it waits for: there is nothing to be woken by.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs `changes`.
pub(super) fn run(global: &Global, arguments: Changes) -> Result<Exit, Failure> {
    match arguments {
        Changes::List { open, viewer } => {
            let mut eyes = Eyes::open(global, &viewer)?;
            let changes = eyes.list(open)?;
            // An agent is not told.
            let lines = match &mut eyes {
                Eyes::Human(client) if !global.json => observe::now(client)?,
                _ => Vec::new(),
            };
            put(global, &changes, |page| {
                observed::banner(page, &lines);
                change::list(page, &changes);
            });
            Ok(Exit::Done)
        }
        Changes::Show { change, viewer } => {
            let view = Eyes::open(global, &viewer)?.look(ChangeNumber(change))?;
            put(global, &view, |page| view.draw(page));
            Ok(Exit::Done)
        }
        Changes::Rows { change } => {
            let command = Command::Sample { change: ChangeNumber(change) };
            let reply = Client::connect(global)?.ask(&command)?;
            let Reply::Sample { samples } = &reply else { return Err(unexpected()) };
            put(global, samples, |page| rows::draw(page, samples));
            Ok(Exit::Done)
        }
        Changes::Wait { change, timeout, viewer } => {
            let until = Instant::now() + Duration::from_secs(timeout);
            let view = Eyes::open(global, &viewer)?.wait(ChangeNumber(change), until)?;
            put(global, &view, |page| view.draw(page));
            Ok(after(&view.line().state))
        }
        Changes::Withdraw { change, viewer } => {
            let reply = Eyes::open(global, &viewer)?.withdraw(ChangeNumber(change))?;
            done(&reply, global.json)
        }
        Changes::Stop { change, reason } => {
            let command = Command::StopCooling { change: ChangeNumber(change), reason };
            let reply = Client::connect(global)?.ask(&command)?;
            done(&reply, global.json)
        }
    }
}

/// How a command ends that has seen a change in this state.
fn after(state: &str) -> Exit {
    match state {
        "executed" | "restored" => Exit::Done,
        "forbidden" | "unsigned" | "held" | "running" | "committing" => Exit::Held,
        _ => Exit::Failed,
    }
}

/// Prints JSON for programs, or what is drawn for people.
fn put(global: &Global, seen: &impl Serialize, draw: impl FnOnce(&mut Page)) {
    if global.json {
        return json(seen);
    }
    let mut page = Page::stdout();
    draw(&mut page);
    page.print();
}

/// Who looks: a human at the gateway's socket, or an agent at its door.
enum Eyes {
    Human(Client),
    Agent(AgentSession),
}

/// What they see of a change.
#[derive(Serialize)]
#[serde(untagged)]
enum View {
    Human(Box<ChangeView>),
    Agent(Box<AgentView>),
}

impl Eyes {
    fn open(global: &Global, viewer: &Viewer) -> Result<Eyes, Failure> {
        match &viewer.agent {
            Some(agent) => AgentSession::open(global, agent, &viewer.door).map(Eyes::Agent),
            None => Client::connect(global).map(Eyes::Human),
        }
    }

    fn list(&mut self, open: bool) -> Result<Vec<ChangeLine>, Failure> {
        match self {
            Eyes::Human(client) => {
                match client.ask(&Command::Changes { open, wanted: ChangesWanted::default() })? {
                    Reply::Changes { changes, .. } => Ok(changes),
                    _ => Err(unexpected()),
                }
            }
            Eyes::Agent(session) => {
                let mut changes = session.changes()?;
                changes.retain(|change| !open || after(&change.state) == Exit::Held);
                Ok(changes)
            }
        }
    }

    fn look(&mut self, change: ChangeNumber) -> Result<View, Failure> {
        match self {
            Eyes::Human(client) => view(client, &Command::Show { change }),
            Eyes::Agent(session) => session.change(change).map(Box::new).map(View::Agent),
        }
    }

    /// Looks until the change has ended, or it is time.
    fn wait(&mut self, change: ChangeNumber, until: Instant) -> Result<View, Failure> {
        let mut seen = self.look(change)?;
        while after(&seen.line().state) == Exit::Held && Instant::now() < until {
            seen = match (&mut *self, &seen) {
                // The gateway answers a wait after 30 s at the latest: the deadline is kept to that.
                (Eyes::Human(client), View::Human(known)) => {
                    view(client, &Command::Wait { change, seen: known.version })?
                }
                _ => {
                    let left = until.saturating_duration_since(Instant::now());
                    std::thread::sleep(LOOK_EVERY.min(left));
                    self.look(change)?
                }
            };
        }
        Ok(seen)
    }

    fn withdraw(&mut self, change: ChangeNumber) -> Result<Reply, Failure> {
        match self {
            Eyes::Human(client) => client.ask(&Command::Withdraw { change }),
            Eyes::Agent(session) => {
                session.withdraw(change)?;
                let words = format!("change {change} is withdrawn");
                Ok(Reply::Done { words, credential: None })
            }
        }
    }
}

fn view(client: &mut Client, command: &Command) -> Result<View, Failure> {
    match client.ask(command)? {
        Reply::Change(view) => Ok(View::Human(view)),
        _ => Err(unexpected()),
    }
}

impl View {
    fn line(&self) -> &ChangeLine {
        match self {
            View::Human(view) => &view.line,
            View::Agent(view) => &view.change,
        }
    }

    fn draw(&self, page: &mut Page) {
        match self {
            View::Human(view) => change::view(page, view),
            View::Agent(view) => change::of_agent(page, view),
        }
    }
}
