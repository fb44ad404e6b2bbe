//! An agent at its door: an ordinary client, with the agent's own credential and nothing else.
//!
//! What it asks about its changes goes over the same connection as its work: the door answers
//! `SHOW countermand.changes`, `SHOW countermand.change_7` and `SET countermand.withdraw = '7'`
//! itself.

mod session;

pub(crate) use session::simple;
pub use session::{AgentSession, Said};

use crate::exit::Failure;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::ChangeLine;
use serde::{Deserialize, Serialize};

/// What an agent sees of one of its changes.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentView {
    /// As in the list.
    pub change: ChangeLine,
    /// How it ended, in words.
    #[serde(default)]
    pub ended: Option<String>,
    /// What the gateway is doing for it, in words.
    #[serde(default)]
    pub underway: Vec<String>,
}

impl AgentSession {
    /// The agent's own changes, newest first.
    ///
    /// # Errors
    /// As [`AgentSession::ask`].
    pub fn changes(&mut self) -> Result<Vec<ChangeLine>, Failure> {
        read(&self.value("SHOW countermand.changes")?)
    }

    /// One of the agent's changes.
    ///
    /// # Errors
    /// As [`AgentSession::ask`].
    pub fn change(&mut self, number: ChangeNumber) -> Result<AgentView, Failure> {
        read(&self.value(&format!("SHOW countermand.change_{number}"))?)
    }

    /// Takes one of the agent's changes back before it runs.
    ///
    /// # Errors
    /// As [`AgentSession::ask`].
    pub fn withdraw(&mut self, number: ChangeNumber) -> Result<(), Failure> {
        self.ask(&format!("SET countermand.withdraw = '{number}'")).map(drop)
    }
}

fn read<T: for<'de> Deserialize<'de>>(value: &str) -> Result<T, Failure> {
    serde_json::from_str(value).map_err(|error| {
        Failure::new(format!("the door's answer is not understood: {error}; is it Countermand's?"))
    })
}
