//! The right to act: a value that only a passkey's login makes, for its own human alone.
//!
//! What lets something happen takes a signature of theirs besides, over exactly that; what only
//! stops does not, here as at a terminal.

use crate::problem::Trouble;
use crate::reader::Reader;
use crate::route::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use countermand_core::name::{AgentName, HumanName};
use countermand_core::request::ChangeNumber;
use countermand_core::statement::Statement;
use countermand_engine::Engine;
use countermand_engine::control::{ChangeView, Command, PrepareAct, Reply, Scope};
use countermand_engine::target::RestorePlan;
use std::fmt::{self, Display};

/// A human who proved with a passkey who they are.
#[derive(Clone)]
pub(crate) struct Signer {
    human: HumanName,
    key: String,
    engine: Engine,
}

/// What is to be signed.
pub(crate) struct Prepared {
    /// The exact text.
    pub(crate) text: String,
    /// What it says.
    pub(crate) statement: Statement,
    /// What is typed back before.
    pub(crate) type_back: Option<(ChangeNumber, u64)>,
    /// The change, where it is about one.
    pub(crate) change: Option<Box<ChangeView>>,
}

/// What only stops.
pub(crate) enum Stop {
    Withdraw { change: ChangeNumber },
    Cooling { change: ChangeNumber, reason: String },
    Configuration { number: u64, reason: String },
    Freeze { what: Scope, reason: String },
    Revoke { agent: AgentName },
}

impl Signer {
    /// Where a passkey opened this reader's session.
    pub(crate) fn of(reader: &Reader) -> Option<Signer> {
        let key = reader.proven_by()?.to_owned();
        Some(Signer { human: reader.human().clone(), key, engine: reader.engine().clone() })
    }

    pub(crate) fn human(&self) -> &HumanName {
        &self.human
    }

    /// Has the engine write what this human would sign.
    pub(crate) async fn prepare(&self, act: PrepareAct) -> Result<Prepared, Trouble> {
        let command = Command::Prepare { signer: self.human.clone(), act };
        let Reply::Prepared { statement: text, type_back, change } = self.ask(command).await?
        else {
            return Err(Trouble::Unexpected);
        };
        let statement = serde_json::from_str(&text).map_err(|_| Trouble::Unexpected)?;
        Ok(Prepared { text, statement, type_back, change })
    }

    /// What taking a change back would do.
    pub(crate) async fn plan(&self, change: ChangeNumber) -> Result<RestorePlan, Trouble> {
        match self.ask(Command::PlanRestore { change }).await? {
            Reply::RestorePlan(plan) => Ok(plan),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// Hands in what this human signed, and nobody else.
    pub(crate) async fn submit(
        &self,
        statement: String,
        signature: String,
    ) -> Result<String, Trouble> {
        let signer = serde_json::from_str(&statement).map(|statement: Statement| statement.signer);
        match signer {
            Ok(signer) if signer == self.human => {}
            _ => return Err(Trouble::Refused("that is no statement of yours".to_owned())),
        }
        self.done(Command::Submit { statement, signature }).await
    }

    pub(crate) async fn stop(&self, stop: Stop) -> Result<String, Trouble> {
        self.done(match stop {
            Stop::Withdraw { change } => Command::Withdraw { change },
            Stop::Cooling { change, reason } => Command::StopCooling { change, reason },
            Stop::Configuration { number, reason } => Command::StopConfiguration { number, reason },
            Stop::Freeze { what, reason } => Command::Freeze { what, reason },
            Stop::Revoke { agent } => Command::RevokeAgent { agent },
        })
        .await
    }

    /// What was begun is brought to its end, whoever no longer waits for the answer.
    async fn done(&self, command: Command) -> Result<String, Trouble> {
        let signer = self.clone();
        let acting = tokio::spawn(async move { signer.ask(command).await });
        match acting.await.map_err(|_| Trouble::Unexpected)?? {
            Reply::Done { words, .. } => Ok(words),
            _ => Err(Trouble::Unexpected),
        }
    }

    async fn ask(&self, command: Command) -> Result<Reply, Trouble> {
        match self.engine.control(command, self).await {
            Reply::Refused { why } => Err(Trouble::Refused(why)),
            reply => Ok(reply),
        }
    }
}

/// As the ledger has it.
impl Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in the console, by passkey {}", self.human, self.key)
    }
}

/// Only the guard puts one into a request.
impl FromRequestParts<App> for Signer {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Signer, Trouble> {
        parts.extensions.get::<Signer>().cloned().ok_or(Trouble::NotProven)
    }
}
