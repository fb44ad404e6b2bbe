//! How long a transaction that writes may stay open. Its locks stand in others' way, and an agent
//! that says something now and then is never idle.

use super::flight::Broken;
use super::gate::Gate;
use super::session::{Open, Session, Tx};
use crate::postgres::refuse::Said;
use tokio::time::Instant;

impl<G: Gate> Session<G> {
    /// When the open transaction ends, whatever the agent does; none where it holds nothing that
    /// others write. An error where that is now.
    pub(super) fn due(&mut self) -> Result<Option<Instant>, Broken> {
        if !matches!(self.tx, Tx::Open(Open { wrote: true, .. })) {
            self.wrote_at = None;
            return Ok(None);
        }
        let now = Instant::now();
        let due = *self.wrote_at.get_or_insert(now) + self.upstream.patience;
        if now < due { Ok(Some(due)) } else { Err(too_long()) }
    }
}

/// Ends when the time has come; never, where there is none.
pub(super) async fn lapse(due: Option<Instant>) -> Broken {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
    too_long()
}

fn too_long() -> Broken {
    let words = "a transaction that writes was open for too long, and was rolled back";
    Broken::Fatal(Said::fatal("25P04", words).hint("Write, and commit at once."))
}
