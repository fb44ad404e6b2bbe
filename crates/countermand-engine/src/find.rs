//! Lists of changes, a page at a time.

use crate::control::{ChangeLine, ChangesWanted};
use crate::engine::Engine;
use crate::store::StoreError;
use countermand_core::change::Change;
use countermand_core::request::ChangeNumber;

/// Changes that are looked at between two others who read the store.
const STEP: u64 = 100;
/// Of a list with a limit so many are looked at, at most; who asks for the next page looks on.
const LOOKED: u64 = 2000;

impl Engine {
    /// Changes as wanted, newest first, and before which there may be more.
    pub(crate) fn found(
        &self,
        open: bool,
        wanted: &ChangesWanted,
    ) -> Result<(Vec<ChangeLine>, Option<ChangeNumber>), StoreError> {
        let most = wanted.limit.unwrap_or(u64::MAX);
        let (mut lines, mut before, mut looked) = (Vec::new(), wanted.before, 0);
        loop {
            let step = self.0.store.read(|rows| rows.likely(open, wanted, before, STEP))?;
            let last_step = (step.len() as u64) < STEP;
            for number in &step {
                if lines.len() as u64 >= most || (wanted.limit.is_some() && looked >= LOOKED) {
                    return Ok((lines, before));
                }
                looked += 1;
                before = Some(*number);
                let change = self.0.store.read(|rows| rows.change(*number))?;
                if let Some(line) = self.line_if(&change, open, wanted)? {
                    lines.push(line);
                }
            }
            if last_step {
                return Ok((lines, None));
            }
        }
    }

    /// The change's line, if it is as wanted. What the store already compared is compared again
    /// where it is not certain.
    fn line_if(
        &self,
        change: &Change,
        open: bool,
        wanted: &ChangesWanted,
    ) -> Result<Option<ChangeLine>, StoreError> {
        let state_is = |state: &String| state == crate::view::word(change);
        if open && !change.state.is_open() || !wanted.state.as_ref().is_none_or(state_is) {
            return Ok(None);
        }
        if let Some(text) = &wanted.text {
            let number = change.request.number;
            let there = |whole: &str| whole.to_lowercase().contains(&text.to_lowercase());
            let found = text.trim() == number.to_string()
                || there(&change.preview.radius.summary())
                || there(&self.0.store.read(|rows| rows.payload(number))?.payload.text);
            if !found {
                return Ok(None);
            }
        }
        Ok(Some(self.line(change)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_an_older_command_is_not_asked_for() {
        let asked = serde_json::json!({ "command": "changes", "open": true });
        let read: crate::control::Command = serde_json::from_value(asked.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), asked);
        let crate::control::Command::Changes { open: true, wanted } = read else { panic!() };
        assert_eq!(wanted, ChangesWanted::default());
    }
}
