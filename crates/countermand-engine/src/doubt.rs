//! Where nobody knows whether a change was committed: a human looks at the target, and signs what
//! they found.

use crate::control::Reply;
use crate::engine::Engine;
use crate::key::Signed;
use crate::review::{ReviewError, no, own_words};
use crate::target::Fate;
use countermand_core::change::{Change, Event, State};
use countermand_core::request::ChangeNumber;
use countermand_core::statement::{Act, Statement};
use serde_json::Value;

impl Engine {
    /// Ends a doubt as a human says, who is a reviewer and no party to it: as for an approval.
    pub(crate) async fn end_doubt(
        &self,
        statement: &Statement,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let Act::Resolve { change: number, committed, reason } = statement.act.clone() else {
            return no("that statement resolves nothing");
        };
        let change = self.doubted(number)?;
        self.key_counts(std::iter::once(&change.request.target), &signed)?;
        let human = statement.signer.clone();
        if !self.people().seats().contains_key(&human) {
            return no(format!("`{human}` is not a reviewer"));
        }
        let confirms = change.is_own_of(&human);
        if confirms && !self.people().is_solo() {
            return no(own_words(&change, &human));
        }
        self.target_agrees(&change, committed).await?;
        let words = match committed {
            true if change.restore_point.is_none() => format!(
                "change {number} is executed, as {human} found; it has no restore point that is \
                 known to be of this run: look into the folders of change-{number}"
            ),
            true => format!("change {number} is executed, as {human} found"),
            false => format!("change {number} failed: {human} found that it was not committed"),
        };
        let event = Event::Resolved { committed, human, reason, key: signed.key, confirms };
        self.spend(statement, number, event, proof).await?;
        Ok(Reply::Done { words, credential: None })
    }

    /// A change that is in doubt.
    pub(crate) fn doubted(&self, number: ChangeNumber) -> Result<Change, ReviewError> {
        let change = self.0.store.read(|rows| rows.change(number))?;
        match &change.state {
            State::InDoubt { .. } => Ok(change),
            other => no(format!(
                "change {number} is {}: only what is in doubt is resolved by a human",
                other.word()
            )),
        }
    }

    /// What the target remembers after all is not said otherwise: it would be done again, or never.
    /// Where it cannot be asked nobody says anything in its stead.
    async fn target_agrees(&self, change: &Change, committed: bool) -> Result<(), ReviewError> {
        let State::InDoubt { ran: Some((_, token)), .. } = &change.state else { return Ok(()) };
        // One that was taken out of the configuration is gone for good.
        let Ok(target) = self.target_of(change) else { return Ok(()) };
        let number = change.request.number;
        match (target.fate(token).await, committed) {
            (Ok(Fate::Committed), false) => no(format!(
                "the target says that change {number} was committed: resolve it with --committed"
            )),
            (Ok(Fate::RolledBack), true) => no(format!(
                "the target says that change {number} was rolled back: resolve it with --rolled-back"
            )),
            (Ok(Fate::InProgress), _) => {
                no(format!("the target says that change {number} is not decided yet: look again"))
            }
            (Err(error), _) => no(format!(
                "the target cannot be asked how change {number} ended: {error}; try again, or take it \
                 out of the configuration if it is gone for good"
            )),
            (Ok(Fate::Committed), true)
            | (Ok(Fate::RolledBack), false)
            | (Ok(Fate::Unknown), _) => Ok(()),
        }
    }
}
