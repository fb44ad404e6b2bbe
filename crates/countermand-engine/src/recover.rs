//! After a stop, wherever it was: nothing ran twice, and what cannot be known says so.

use crate::engine::Engine;
use crate::store::StoreError;
use crate::target::Fate;
use countermand_core::change::{Abort, Change, Event, Outcome, State};
use countermand_core::request::ChangeNumber;
use std::time::Duration;

/// How long a target is asked about a commit before the engine goes on starting; it is asked
/// again in the background.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);
/// How long a store that cannot write is left alone.
const LATER: Duration = Duration::from_secs(1);

impl Engine {
    /// Brings every open change to where it can go on from.
    pub(crate) async fn recover(&self) -> Result<(), StoreError> {
        for number in self.0.store.read(|rows| rows.numbers(true))? {
            let change = self.0.store.read(|rows| rows.change(number))?;
            match &change.state {
                State::Running { attempt } => {
                    let why = "the gateway stopped before the commit was sent";
                    self.was_running(number, *attempt, why).await?;
                }
                State::Committing { .. } => {
                    let resolving = self.resolve(number);
                    if tokio::time::timeout(PATIENCE, resolving).await.is_err() {
                        self.resolve_later(number);
                    }
                }
                State::Held => self.was_held(&change).await?,
                _ => {}
            }
        }
        for change in self.0.store.read(|rows| rows.restoring())? {
            self.was_restoring(&change).await?;
        }
        Ok(())
    }

    /// A restore leaves no token to ask the target by: it may have committed, or not yet.
    pub(crate) async fn was_restoring(&self, change: &Change) -> Result<(), StoreError> {
        let number = change.request.number;
        let Some(human) = change.restoring.clone() else { return Ok(()) };
        let why = format!(
            "it was cut off, and whether it was brought back is not known: look \
             with `countermand restore {number} --plan` before taking it back again"
        );
        self.record(number, Event::RestoreInDoubt { human, why }).await.map(drop)
    }

    /// The commit was never sent, since [`Event::Committing`] is durable before it is: the
    /// target rolled back when the connection ended.
    async fn was_running(
        &self,
        number: ChangeNumber,
        attempt: u32,
        why: &str,
    ) -> Result<(), StoreError> {
        let why = why.to_owned();
        self.record(number, Event::RolledBack { attempt, abort: Abort::Interrupted, why }).await?;
        let why = "the gateway was interrupted".to_owned();
        self.record(number, Event::CoolingRestarted { why }).await?;
        self.prepare(number);
        Ok(())
    }

    async fn was_held(&self, change: &Change) -> Result<(), StoreError> {
        let number = change.request.number;
        if change.cooling_since.is_some() {
            let why = "the gateway was down".to_owned();
            self.record(number, Event::CoolingRestarted { why }).await?;
        }
        self.prepare(number);
        Ok(())
    }

    fn resolve_later(&self, number: ChangeNumber) {
        let engine = self.clone();
        tokio::spawn(async move { engine.find_out(number).await });
    }

    /// Records how an execution ended that nobody could record the end of, as soon as that can be
    /// done. What is not known when the gateway stops is found out at its next start.
    pub(crate) async fn find_out(&self, number: ChangeNumber) {
        let mut stopping = self.0.stopping.subscribe();
        loop {
            let found = tokio::select! {
                found = self.found_out(number) => found,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            let Err(error) = found else { return };
            tracing::error!(%number, %error, "how it ended could not be recorded");
            // It writes nothing any more: the next start finds out.
            if matches!(error, StoreError::Stopped) {
                return;
            }
            tokio::time::sleep(LATER).await;
        }
    }

    /// Nothing of it runs any more when this is called.
    async fn found_out(&self, number: ChangeNumber) -> Result<(), StoreError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        match change.state {
            State::Running { attempt } => {
                let why = "what it did could not be recorded, and was not committed";
                self.was_running(number, attempt, why).await
            }
            State::Committing { .. } => self.resolve(number).await,
            // What follows a rollback was not recorded with it: a new cooling at the least.
            State::Held if change.cooling_since.is_some() => {
                let why = "what became of its last attempt could not be recorded".to_owned();
                self.record(number, Event::CoolingRestarted { why }).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Asks the target, by the commit token, whether the commit happened, until it knows.
    pub(crate) async fn resolve(&self, number: ChangeNumber) -> Result<(), StoreError> {
        loop {
            let change = self.0.store.read(|rows| rows.change(number))?;
            let State::Committing { attempt, measured, token } = &change.state else {
                return Ok(());
            };
            let fate = match self.target_of(&change) {
                Ok(target) => target.fate(token).await.map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            let event = match fate {
                Ok(Fate::Committed) => {
                    // The server's own words were lost with the connection.
                    let outcome = Outcome { said: Vec::new(), measured: measured.clone() };
                    Event::Executed { outcome, recovered: true }
                }
                Ok(Fate::RolledBack) => {
                    let why = "the target rolled back; the commit never reached it".to_owned();
                    let attempt = *attempt;
                    Event::RolledBack { attempt, abort: Abort::Interrupted, why }
                }
                Ok(Fate::Unknown) => Event::InDoubt {
                    why: "the target no longer knows whether it committed; a human must look"
                        .to_owned(),
                    stale: false,
                },
                Ok(Fate::InProgress) | Err(_) => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let change = match event {
                Event::Executed { .. } => self.record_done(number, event).await?,
                other => self.record(number, other).await?,
            };
            if change.state == State::Held {
                let why = "the gateway was interrupted".to_owned();
                self.record(number, Event::CoolingRestarted { why }).await?;
            }
            return Ok(());
        }
    }
}
