//! Every kind of entry that a gateway writes. What reads a ledger (a SIEM's export, metrics) matches on
//! it: another kind does not compile until each of them says what it makes of it.

use countermand_core::change::Event;
use std::str::FromStr;

/// Makes the kinds and their names from one list.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// The kind of an entry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)+];

            /// As it stands in entries: `change.held`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)+
                }
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;

            fn from_str(name: &str) -> Result<Kind, UnknownKind> {
                match name {
                    $($name => Ok(Kind::$kind),)+
                    _ => Err(UnknownKind(name.to_owned())),
                }
            }
        }
    };
}

/// A kind that this version does not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entries of kind `{0}` are unknown here: read them with the version that wrote them")]
pub struct UnknownKind(pub String);

kinds! {
    /// The gateway runs.
    GatewayStarted = "gateway.started",
    /// The gateway was told to stop.
    GatewayStopped = "gateway.stopped",
    /// A copy of it was made.
    GatewayBackedUp = "gateway.backed_up",
    /// It goes on from a copy.
    GatewayRestored = "gateway.restored",
    /// An agent was let in to a target.
    SessionOpened = "session.opened",
    /// A target is not what it is configured to be: nobody is let in.
    SessionRefused = "session.refused",
    /// What flowed, what was refused, and how writes ended: many together.
    FlowBatch = "flow.batch",
    /// A write is about to flow.
    FlowIntent = "flow.intent",
    /// [`Event::Held`].
    ChangeHeld = "change.held",
    /// [`Event::TrialTaken`].
    ChangeTrialTaken = "change.trial_taken",
    /// [`Event::TrialFailed`].
    ChangeTrialFailed = "change.trial_failed",
    /// [`Event::Rehearsed`].
    ChangeRehearsed = "change.rehearsed",
    /// [`Event::RehearsalFailed`].
    ChangeRehearsalFailed = "change.rehearsal_failed",
    /// [`Event::Approved`].
    ChangeApproved = "change.approved",
    /// [`Event::Rejected`].
    ChangeRejected = "change.rejected",
    /// [`Event::CoolingStopped`].
    ChangeCoolingStopped = "change.cooling_stopped",
    /// [`Event::CoolingRestarted`].
    ChangeCoolingRestarted = "change.cooling_restarted",
    /// [`Event::Voided`].
    ChangeVoided = "change.voided",
    /// [`Event::Started`].
    ChangeStarted = "change.started",
    /// [`Event::Committing`].
    ChangeCommitting = "change.committing",
    /// [`Event::Executed`].
    ChangeExecuted = "change.executed",
    /// [`Event::RolledBack`].
    ChangeRolledBack = "change.rolled_back",
    /// [`Event::InDoubt`].
    ChangeInDoubt = "change.in_doubt",
    /// [`Event::Resolved`].
    ChangeResolved = "change.resolved",
    /// [`Event::Delivered`].
    ChangeDelivered = "change.delivered",
    /// [`Event::Withdrawn`].
    ChangeWithdrawn = "change.withdrawn",
    /// [`Event::Expired`].
    ChangeExpired = "change.expired",
    /// [`Event::Restored`].
    ChangeRestored = "change.restored",
    /// [`Event::RestoreFailed`].
    ChangeRestoreFailed = "change.restore_failed",
    /// [`Event::RestoreBegun`].
    ChangeRestoreBegun = "change.restore_begun",
    /// [`Event::StandingEnded`].
    ChangeStandingEnded = "change.standing_ended",
    /// [`Event::RestoreInDoubt`].
    ChangeRestoreInDoubt = "change.restore_in_doubt",
    /// [`Event::Forbidden`].
    ChangeForbidden = "change.forbidden",
    /// [`Event::Adopted`].
    ChangeAdopted = "change.adopted",
    /// [`Event::WatchNotReady`].
    ChangeWatchNotReady = "change.watch_not_ready",
    /// [`Event::WatchBegun`].
    ChangeWatchBegun = "change.watch_begun",
    /// [`Event::WatchPassed`].
    ChangeWatchPassed = "change.watch_passed",
    /// [`Event::WatchFailed`].
    ChangeWatchFailed = "change.watch_failed",
    /// [`Event::WatchUnfinished`].
    ChangeWatchUnfinished = "change.watch_unfinished",
    /// Writes that flowed are about to be taken back.
    TakeBackIntended = "take_back.intended",
    /// They were.
    TakeBackDone = "take_back.done",
    /// They were not.
    TakeBackFailed = "take_back.failed",
    /// An agent was let in.
    AgentAdded = "agent.added",
    /// An agent's credential has ended.
    AgentRevoked = "agent.revoked",
    /// An agent's days without fault begin, or begin again.
    AgentProbation = "agent.probation",
    /// Something is frozen.
    FreezeOn = "freeze.on",
    /// It is frozen no longer.
    FreezeOff = "freeze.off",
    /// An approval was given beforehand.
    StandingApproved = "standing.approved",
    /// It has ended before its time.
    StandingEnded = "standing.ended",
    /// A configuration waits for a signature.
    ConfigProposed = "config.proposed",
    /// Another human has signed it.
    ConfigApproved = "config.approved",
    /// It will not be in force.
    ConfigStopped = "config.stopped",
    /// It is in force from now on.
    ConfigApplied = "config.applied",
    /// Another key signs checkpoints.
    LedgerKeyChanged = "ledger.key_changed",
    /// The key before vouches for it.
    LedgerKeyVouched = "ledger.key_vouched",
    /// Another key seals texts.
    LedgerTextsKeyChanged = "ledger.texts_key_changed",
    /// Texts were erased.
    TextsErased = "texts.erased",
    /// The newest of a target's own backups is too old.
    TargetBackupStale = "target.backup_stale",
    /// It is no longer.
    TargetBackupFresh = "target.backup_fresh",
}

impl Kind {
    /// The kind of the entry that tells of this event.
    pub fn of(event: &Event) -> Kind {
        match event {
            Event::Held { .. } => Kind::ChangeHeld,
            Event::TrialTaken { .. } => Kind::ChangeTrialTaken,
            Event::TrialFailed { .. } => Kind::ChangeTrialFailed,
            Event::Rehearsed { .. } => Kind::ChangeRehearsed,
            Event::RehearsalFailed { .. } => Kind::ChangeRehearsalFailed,
            Event::Approved { .. } => Kind::ChangeApproved,
            Event::Rejected { .. } => Kind::ChangeRejected,
            Event::CoolingStopped { .. } => Kind::ChangeCoolingStopped,
            Event::CoolingRestarted { .. } => Kind::ChangeCoolingRestarted,
            Event::Voided { .. } => Kind::ChangeVoided,
            Event::Started { .. } => Kind::ChangeStarted,
            Event::Committing { .. } => Kind::ChangeCommitting,
            Event::Executed { .. } => Kind::ChangeExecuted,
            Event::RolledBack { .. } => Kind::ChangeRolledBack,
            Event::InDoubt { .. } => Kind::ChangeInDoubt,
            Event::Resolved { .. } => Kind::ChangeResolved,
            Event::Delivered { .. } => Kind::ChangeDelivered,
            Event::Withdrawn { .. } => Kind::ChangeWithdrawn,
            Event::Expired => Kind::ChangeExpired,
            Event::Restored { .. } => Kind::ChangeRestored,
            Event::RestoreFailed { .. } => Kind::ChangeRestoreFailed,
            Event::RestoreBegun { .. } => Kind::ChangeRestoreBegun,
            Event::StandingEnded { .. } => Kind::ChangeStandingEnded,
            Event::RestoreInDoubt { .. } => Kind::ChangeRestoreInDoubt,
            Event::Forbidden { .. } => Kind::ChangeForbidden,
            Event::Adopted { .. } => Kind::ChangeAdopted,
            Event::WatchNotReady { .. } => Kind::ChangeWatchNotReady,
            Event::WatchBegun { .. } => Kind::ChangeWatchBegun,
            Event::WatchPassed => Kind::ChangeWatchPassed,
            Event::WatchFailed { .. } => Kind::ChangeWatchFailed,
            Event::WatchUnfinished { .. } => Kind::ChangeWatchUnfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countermand_ledger::{erasure, keyring};

    #[test]
    fn names_are_read_back_and_are_those_that_the_ledger_knows() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        assert_eq!("change.undone".parse::<Kind>(), Err(UnknownKind("change.undone".to_owned())));
        assert_eq!(Kind::LedgerKeyChanged.name(), keyring::CHANGED);
        assert_eq!(Kind::LedgerKeyVouched.name(), keyring::VOUCHED);
        assert_eq!(Kind::TextsErased.name(), erasure::ERASED);
    }
}
