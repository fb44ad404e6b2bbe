//! Some of the rows that a change would delete or change, for a human who decides. They are read when
//! somebody asks, and kept nowhere.

use crate::engine::Engine;
use crate::review::ReviewError;
use crate::target::Sample;
use countermand_core::change::State;
use countermand_core::request::ChangeNumber;
use std::time::Duration;

/// Who looks is answered by then.
const LONGEST: Duration = Duration::from_secs(15);

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
        // It reads as much as what measures, and keeps nothing else waiting.
        let alone = self.0.looks.get(&change.request.target).map(|one| one.try_lock()).transpose();
        let _alone = alone.map_err(|_| {
            ReviewError::No(format!(
                "somebody looks at rows of `{}` now: try again in a moment",
                change.request.target
            ))
        })?;
        let reading = target.sample(&stored.payload, &change.request.actions);
        let mut halt = self.halt_of(&change);
        let reading = tokio::time::timeout(LONGEST, halt.unless(reading)).await;
        let sample = reading.map_err(|_| {
            ReviewError::No("reading took too long: what it would do is on the page".to_owned())
        })?;
        let sample = sample.map_err(ReviewError::No)?;
        let sample = sample.map_err(|error| ReviewError::No(error.to_string()))?;
        tracing::info!(change = number.0, by, "rows were shown");
        Ok(sample)
    }
}
