//! Some of the rows that a change would delete or change, for a human who decides. They are read when
//! somebody asks, and kept nowhere.

use crate::engine::Engine;
use crate::review::ReviewError;
use crate::target::Sample;
use countermand_core::change::State;
use countermand_core::request::ChangeNumber;

impl Engine {
    /// The rows, as they are now. Whoever decided already has nothing more to look at.
    pub(crate) async fn sample(
        &self,
        number: ChangeNumber,
        by: &str,
    ) -> Result<Vec<Sample>, ReviewError> {
        let (change, stored) =
            self.0.store.read(|rows| Ok((rows.change(number)?, rows.payload(number)?)))?;
        if !matches!(change.state, State::Held | State::Forbidden) {
            let state = change.state.word();
            return Err(ReviewError::No(format!(
                "change {number} is {state}: rows are shown before it runs"
            )));
        }
        let target = self.target_of(&change).map_err(ReviewError::No)?;
        // One at a time, as what measures: it reads as much.
        let lane = self.0.lanes.get(&change.request.target).cloned();
        let _alone = match &lane {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        tracing::info!(change = number.0, by, "rows were shown");
        let reading = target.sample(&stored.payload, &change.request.actions);
        let sample = self.halt_of(&change).unless(reading).await.map_err(ReviewError::No)?;
        sample.map_err(|error| ReviewError::No(error.to_string()))
    }
}
