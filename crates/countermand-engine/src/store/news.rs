//! What the gateway's log says of changes, once it is recorded: a line each, with numbers and names.
//! Never a payload, and never what somebody wrote: those lie in the ledger, sealed.

use countermand_core::change::{Change, Event};

/// One line of the log.
#[derive(Debug)]
pub(super) struct News {
    word: &'static str,
    change: u64,
    agent: String,
    target: String,
    verbs: usize,
}

impl News {
    /// What is to be said of this event, if anything.
    pub(super) fn of(after: &Change, event: &Event) -> Option<News> {
        let request = &after.request;
        Some(News {
            word: word(event)?,
            change: request.number.0,
            agent: request.agent.to_string(),
            target: request.target.to_string(),
            verbs: after.preview.identity.verbs.len(),
        })
    }

    /// Says it.
    pub(super) fn tell(self) {
        let News { word, change, agent, target, verbs } = self;
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
