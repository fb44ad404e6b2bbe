//! What a freeze ends while it is under way, in the middle of a statement.

use crate::engine::Engine;
use countermand_core::change::Change;
use countermand_core::name::{AgentName, TargetName};
use std::future::Future;
use std::pin::Pin;

/// Says when what is under way must end, and why. Whoever holds it stops then, up to the commit:
/// once that is sent, its outcome is waited for.
pub struct Halt(Pin<Box<dyn Future<Output = String> + Send>>);

impl Halt {
    /// Halts with these words once this is ready.
    pub fn when(why: impl Future<Output = String> + Send + 'static) -> Halt {
        Halt(Box::pin(why))
    }

    /// Halts nothing.
    pub fn never() -> Halt {
        Halt::when(std::future::pending())
    }

    /// Does this, unless it is halted first: then it is dropped where it is.
    ///
    /// # Errors
    /// Why it was halted. To be dropped after that, not asked again.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            biased;
            why = &mut self.0 => Err(why),
            done = work => Ok(done),
        }
    }
}

impl std::fmt::Debug for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Halt")
    }
}

impl Engine {
    /// Halts what is done for this agent in this target.
    pub(crate) fn halt(&self, agent: &AgentName, target: &TargetName) -> Halt {
        let (engine, agent, target) = (self.clone(), agent.clone(), target.clone());
        Halt::when(
            async move { engine.until(|engine| engine.0.freezer.stops(&agent, &target)).await },
        )
    }

    /// Halts what is done for this change.
    pub(crate) fn halt_of(&self, change: &Change) -> Halt {
        self.halt(&change.request.agent, &change.request.target)
    }

    /// Halts what is done in this target, for whomever.
    pub(crate) fn halt_all(&self, target: &TargetName) -> Halt {
        let (engine, target) = (self.clone(), target.clone());
        Halt::when(async move { engine.until(|engine| engine.0.freezer.stops_all(&target)).await })
    }

    async fn until(&self, stops: impl Fn(&Engine) -> Option<String>) -> String {
        let mut freezes = self.freezes();
        loop {
            if let Some(why) = stops(self) {
                return why;
            }
            if freezes.changed().await.is_err() {
                return "the gateway has stopped".to_owned();
            }
        }
    }
}
