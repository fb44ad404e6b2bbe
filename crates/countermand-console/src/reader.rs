//! The right to read: a value that only a login makes, and the one way to the engine.
//!
//! It asks and does nothing else: no handler, however wrong, can have it stop, sign or let happen
//! anything. Who may is a [`crate::signer::Signer`].

use crate::login::{self, Logins, Session};
use crate::problem::Trouble;
use crate::route::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use countermand_core::action::Action;
use countermand_core::digest::Digest;
use countermand_core::limits::Limits;
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::Forbid;
use countermand_core::request::ChangeNumber;
use countermand_engine::control::{
    AgentLine, AgentReport, ChangeLine, ChangeView, ChangesWanted, Command, ConfigurationView,
    EntryProof, IncidentWanted, LedgerEntry, Reply, StandingLine, Status,
};
use countermand_engine::explain::{Explained, Explanation};
use countermand_engine::incident::Incident;
use countermand_engine::target::Sample;
use countermand_engine::{Engine, Peer};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of so many of an agent's latest changes others are told beside one.
const BESIDE: u64 = 100;

/// A human who is logged in, and may read.
#[derive(Clone)]
pub(crate) struct Reader {
    session: Session,
    token: Digest,
    logins: Arc<Logins>,
    engine: Engine,
}

impl Reader {
    /// Whose cookie this is, if anybody's.
    pub(crate) fn of(app: &App, cookie: &str) -> Option<Reader> {
        let token = login::name_of(cookie);
        let session = app.logins.session(&token, app.engine.clock().now())?;
        let (logins, engine) = (app.logins.clone(), app.engine.clone());
        Some(Reader { session, token, logins, engine })
    }

    pub(crate) fn human(&self) -> &HumanName {
        &self.session.human
    }

    /// The fingerprint of the passkey that let them in; none where a link did.
    pub(crate) fn proven_by(&self) -> Option<&str> {
        self.session.proof.as_deref()
    }

    /// Whether the session has not ended since.
    pub(crate) fn still_reads(&self) -> bool {
        self.logins.session(&self.token, self.now()).is_some()
    }

    /// When this session ends.
    pub(crate) fn until(&self) -> Timestamp {
        self.session.until
    }

    /// The ledger's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// For [`crate::live`], which asks when, never what, and for [`crate::signer`].
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    async fn ask(&self, command: Command) -> Result<Reply, Trouble> {
        // Nothing that is asked here is recorded with a peer.
        let nobody = Peer { uid: u32::MAX, pid: None };
        match self.engine.control(command, nobody).await {
            Reply::Refused { why } => Err(Trouble::Refused(why)),
            reply => Ok(reply),
        }
    }

    pub(crate) async fn status(&self) -> Result<Status, Trouble> {
        match self.ask(Command::Status).await? {
            Reply::Status(status) => Ok(status),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// Changes as wanted, newest first, and before which there may be more.
    pub(crate) async fn changes(
        &self,
        open: bool,
        wanted: ChangesWanted,
    ) -> Result<(Vec<ChangeLine>, Option<ChangeNumber>), Trouble> {
        match self.ask(Command::Changes { open, wanted }).await? {
            Reply::Changes { changes, older } => Ok((changes, older)),
            _ => Err(Trouble::Unexpected),
        }
    }

    pub(crate) async fn change(&self, number: ChangeNumber) -> Result<Box<ChangeView>, Trouble> {
        self.change_is_there(number)?;
        match self.ask(Command::Show { change: number }).await? {
            Reply::Change(change) => Ok(change),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// Some of the rows that a change which waits would delete or change. The log says who looked.
    pub(crate) async fn sample(&self, number: ChangeNumber) -> Result<Vec<Sample>, Trouble> {
        self.change_is_there(number)?;
        let by = format!("{} in the console", self.session.human);
        match self.engine.control(Command::Sample { change: number }, by).await {
            Reply::Sample { samples } => Ok(samples),
            Reply::Refused { why } => Err(Trouble::Refused(why)),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// A change with why it is as it is.
    pub(crate) async fn explained(
        &self,
        number: ChangeNumber,
    ) -> Result<(ChangeView, Explanation), Trouble> {
        self.change_is_there(number)?;
        let engine = self.engine.clone();
        let found = tokio::task::spawn_blocking(move || engine.explained(number)).await;
        let found = found.map_err(|_| Trouble::Unexpected)?;
        found.map_err(|error| Trouble::Refused(error.to_string()))
    }

    /// The latest other changes of the agent that asked for this one.
    pub(crate) async fn beside(&self, change: &ChangeLine) -> Result<Vec<ChangeLine>, Trouble> {
        let (engine, agent, number) = (self.engine.clone(), change.agent.clone(), change.number);
        let found =
            tokio::task::spawn_blocking(move || engine.beside(&agent, number, BESIDE)).await;
        let found = found.map_err(|_| Trouble::Unexpected)?;
        found.map_err(|error| Trouble::Refused(error.to_string()))
    }

    fn change_is_there(&self, number: ChangeNumber) -> Result<(), Trouble> {
        let there = self.engine.version_of(number);
        there.map(drop).map_err(|_| Trouble::Missing(format!("there is no change {number}")))
    }

    pub(crate) async fn agents(&self) -> Result<Vec<AgentLine>, Trouble> {
        match self.ask(Command::Agents).await? {
            Reply::Agents { agents } => Ok(agents),
            _ => Err(Trouble::Unexpected),
        }
    }

    pub(crate) async fn report(
        &self,
        agent: AgentName,
        since: Timestamp,
    ) -> Result<Option<AgentReport>, Trouble> {
        match self.ask(Command::AgentReport { agent: Some(agent), since }).await? {
            Reply::AgentReports { agents } => Ok(agents.into_iter().next()),
            _ => Err(Trouble::Unexpected),
        }
    }

    pub(crate) async fn standings(&self) -> Result<Vec<StandingLine>, Trouble> {
        match self.ask(Command::Standings).await? {
            Reply::Standings { standings } => Ok(standings),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// The rules in force.
    pub(crate) fn forbids(&self) -> Vec<Forbid> {
        self.engine.forbids()
    }

    /// What an agent changed within the last hour in each of its targets, and how much it may.
    pub(crate) fn used_limits(
        &self,
        agent: &AgentName,
    ) -> Result<BTreeMap<TargetName, (u64, Limits)>, Trouble> {
        self.engine.used_limits(agent).map_err(|error| Trouble::Refused(error.to_string()))
    }

    /// What is in force, and what waits.
    pub(crate) async fn configurations(
        &self,
    ) -> Result<[Option<Box<ConfigurationView>>; 2], Trouble> {
        match self.ask(Command::Configurations).await? {
            Reply::Configurations { in_force, waiting } => Ok([in_force, waiting]),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// By name, what the configuration in force says of each target.
    pub(crate) async fn targets(&self) -> Result<Map<String, Value>, Trouble> {
        let [in_force, _] = self.configurations().await?;
        let settings = in_force.map(|view| view.configuration.settings).unwrap_or_default();
        Ok(settings.get("targets").and_then(Value::as_object).cloned().unwrap_or_default())
    }

    /// What policy would say of a request that does this.
    pub(crate) async fn explain(
        &self,
        agent: AgentName,
        target: TargetName,
        actions: Vec<Action>,
    ) -> Result<Box<Explanation>, Trouble> {
        let what = Explained::Request { agent, target, actions };
        match self.ask(Command::Explain { what }).await? {
            Reply::Explained(explanation) => Ok(explanation),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// What is frozen: `everything`, `agent NAME`, `target NAME`.
    pub(crate) fn frozen(&self) -> Vec<String> {
        self.engine.freezes().borrow().keys().cloned().collect()
    }

    /// Entries, and how many there are in all.
    pub(crate) async fn ledger(
        &self,
        from: u64,
        limit: u64,
    ) -> Result<(Vec<LedgerEntry>, u64), Trouble> {
        match self.ask(Command::Ledger { from, limit }).await? {
            Reply::Ledger { entries, size } => Ok((entries, size)),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// An entry's proof, or in words why there is none yet.
    pub(crate) async fn proof(&self, index: u64) -> Result<Result<EntryProof, String>, Trouble> {
        match self.ask(Command::Prove { index }).await {
            Ok(Reply::Proved(proof)) => Ok(Ok(proof)),
            Ok(_) => Err(Trouble::Unexpected),
            Err(Trouble::Refused(why)) => Ok(Err(why)),
            Err(trouble) => Err(trouble),
        }
    }

    /// What happened.
    pub(crate) async fn incident(&self, wanted: IncidentWanted) -> Result<Box<Incident>, Trouble> {
        match self.ask(Command::Incident(wanted)).await? {
            Reply::Incident(incident) => Ok(incident),
            _ => Err(Trouble::Unexpected),
        }
    }
}

/// Only the guard puts one into a request: a handler that takes one answers no stranger.
impl FromRequestParts<App> for Reader {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Reader, Trouble> {
        parts.extensions.get::<Reader>().cloned().ok_or(Trouble::Stranger)
    }
}
