//! What the gateway's log says of changes, once it is recorded: a line each, with numbers and names.
//! Never a payload, and never what somebody wrote: those lie in the ledger, sealed.

use crate::kind::Kind;
use crate::metrics::Metrics;
use countermand_core::change::{Change, Event};

/// One line of the log.
#[derive(Debug)]
pub(super) struct News {
    word: Option<&'static str>,
    kind: Kind,
    change: u64,
    agent: String,
    target: String,
    verbs: usize,
}

impl News {
    /// What is to be said of this event, and counted.
    pub(super) fn of(after: &Change, event: &Event) -> News {
        let request = &after.request;
        News {
            word: word(event),
            kind: Kind::of(event),
            change: request.number.0,
            agent: request.agent.to_string(),
            target: request.target.to_string(),
            verbs: after.preview.identity.verbs.len(),
        }
    }

    /// Counts it.
    pub(super) fn count(&self, metrics: &Metrics) {
        metrics.happened(self.kind, &self.target);
    }

    /// Says it, where it is worth a line.
    pub(super) fn tell(self) {
        let News { word: Some(word), change, agent, target, verbs, .. } = self else { return };
        tracing::info!(change, %agent, target_name = %target, verbs, "{word}");
    }
}

fn word(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Held { .. } => "held",
        Event::Forbidden { .. } => "forbidden, and kept for a human",
        Event::Adopted { .. } => "adopted",
        Event::Approved { approval } if approval.confirms => "confirmed by its sponsor",
        Event::Approved { .. } => "approved",
        Event::Rejected { .. } => "rejected",
        Event::Executed { .. } => "executed",
        Event::RolledBack { .. } => "rolled back",
        Event::InDoubt { .. } => "in doubt",
        Event::Resolved { committed: true, .. } => "resolved as committed",
        Event::Resolved { .. } => "resolved as not committed",
        Event::Withdrawn { .. } => "withdrawn",
        Event::Expired => "expired",
        Event::Restored { .. } => "taken back",
        Event::RestoreFailed { .. } => "not taken back",
        _ => return None,
    })
}
