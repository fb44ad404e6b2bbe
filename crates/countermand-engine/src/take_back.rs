//! Taking back: what an executed change took is brought back, once, and compared.

use crate::control::Reply;
use crate::engine::Engine;
use crate::key::Signed;
use crate::permit::Permit;
use crate::review::ReviewError;
use crate::target::{Restore, RestorePlan};
use crate::trace::What;
use countermand_core::change::{Change, Event, RestorePoint};
use countermand_core::request::ChangeNumber;
use countermand_core::statement::Statement;
use serde_json::Value;
use std::sync::Arc;

impl Engine {
    /// What restoring this change would do.
    pub(crate) async fn plan(&self, number: ChangeNumber) -> Result<RestorePlan, ReviewError> {
        let change = self.executed(number)?;
        let restore_point = restore_point_of(&change)?;
        let target = self.target_of(&change).map_err(ReviewError::No)?;
        let folder = self.0.installation.restore_points.join(&restore_point.folder);
        let plan = target.plan_restore(folder, restore_point).await;
        plan.map_err(|error| ReviewError::No(error.to_string()))
    }

    /// Over what changed since only another human than the sponsor may take back; and nothing
    /// where it is frozen.
    fn may_take_back(
        &self,
        statement: &Statement,
        change: &Change,
        overwrite: bool,
    ) -> Result<(), ReviewError> {
        let request = &change.request;
        if let Some(why) = self.is_frozen(&request.agent, &request.target) {
            return Err(ReviewError::No(why));
        }
        if change.preview.takes_nothing() {
            let number = request.number;
            return Err(ReviewError::No(format!(
                "change {number} took nothing away: there is nothing to bring back, and a restore \
                 does not remove what it made; have that removed by a change of its own"
            )));
        }
        let signer = &statement.signer;
        let reviews = self.people().seats().contains_key(signer);
        let alone = change.is_own_of(signer) && !self.people().is_solo();
        if overwrite && (!reviews || alone) {
            let why = "taking back over what changed since destroys: a reviewer who is not the \
                       sponsor signs it";
            return Err(ReviewError::No(why.into()));
        }
        Ok(())
    }

    /// Brings back, after the signed wish is durable.
    pub(crate) async fn restore(
        &self,
        statement: &Statement,
        number: ChangeNumber,
        overwrite: bool,
        signed: Signed,
        proof: Value,
    ) -> Result<Reply, ReviewError> {
        let change = self.executed(number)?;
        self.key_counts(std::iter::once(&change.request.target), &signed)?;
        self.may_take_back(statement, &change, overwrite)?;
        let target = self.target_of(&change).map_err(ReviewError::No)?;
        let lane = self.0.lanes.get(&change.request.target).map(Arc::clone);
        let _alone = match lane {
            Some(lane) => Some(lane.lock_owned().await),
            None => None,
        };
        // Again, now that nobody else takes it back at the same time.
        let change = self.executed(number)?;
        self.may_take_back(statement, &change, overwrite)?;
        let restore_point = restore_point_of(&change)?.clone();
        self.was_restoring(&change).await?;
        let human = statement.signer.clone();
        let begun = Event::RestoreBegun { human: human.clone(), overwrite };
        self.spend(statement, number, begun, proof).await?;
        let mut going = self.begins(What::Restore, &change);
        let folder = self.0.installation.restore_points.join(&restore_point.folder);
        let permit = Permit::grant(Restore {
            change: number,
            folder,
            restore_point,
            overwrite,
            halt: self.halt_of(&change),
        });
        match target.restore(permit).await {
            Ok(done) => {
                going.came_about();
                let rows = done.rows.values().sum::<u64>();
                let words = format!(
                    "change {number} is taken back: {rows} rows, contents {}",
                    if done.equal { "equal" } else { "NOT compared equal" }
                );
                let (rows, equal, overwritten) = (done.rows, done.equal, done.overwritten);
                self.record_done(number, Event::Restored { human, rows, equal, overwritten })
                    .await?;
                Ok(Reply::Done { words, credential: None })
            }
            Err(error) => {
                let why = error.to_string();
                self.record(number, Event::RestoreFailed { human, why: why.clone() }).await?;
                Err(ReviewError::No(format!("change {number} was not taken back: {why}")))
            }
        }
    }
}

fn restore_point_of(change: &Change) -> Result<&RestorePoint, ReviewError> {
    change.restore_point.as_ref().ok_or_else(|| {
        let number = change.request.number;
        ReviewError::No(format!("change {number} has no restore point: it cannot be taken back"))
    })
}
