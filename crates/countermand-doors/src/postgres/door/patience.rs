//! How long a transaction that writes may stay open. Its locks stand in others' way, and an agent
//! that says something now and then, or sends rows slowly, is never idle.

use super::flight::Broken;
use super::gate::Gate;
use super::session::{Open, Session, Tx};
use crate::postgres::refuse::Said;
use tokio::sync::watch;
use tokio::time::Instant;

impl<G: Gate> Session<G> {
    /// The open transaction writes: from the first time on it has so long.
    pub(super) fn hurry(&mut self) {
        let due = Instant::now() + self.upstream.patience;
        self.due.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(due);
            first
        });
    }

    /// A transaction that has ended, or never wrote, has all the time.
    pub(super) fn rest(&mut self) {
        if !matches!(self.tx, Tx::Open(Open { wrote: true, .. })) {
            self.due.send_if_modified(|known| known.take().is_some());
        }
    }
}

/// Ends when the time of a transaction that writes is over, whatever the session is at.
pub(super) async fn lapse(due: &mut watch::Receiver<Option<Instant>>) -> Broken {
    loop {
        let known = *due.borrow_and_update();
        let over = async {
            match known {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = due.changed() => if changed.is_err() {
                // The session is gone.
                std::future::pending::<()>().await;
            },
            () = over => return too_long(),
        }
    }
}

fn too_long() -> Broken {
    let words = "a transaction that writes was open for too long, and was rolled back";
    Broken::Fatal(Said::fatal("25P04", words).hint("Write, and commit at once."))
}
