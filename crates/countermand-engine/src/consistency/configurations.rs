//! Configurations recomputed from the ledger: what came into force, in which order, and what waits.

use crate::store::{Rows, StoreError};
use countermand_ledger::leaf::Leaf;
use serde_json::Value;

/// Digests of what came into force, in order, and of what waits.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Configurations {
    applied: Vec<String>,
    waiting: Option<String>,
}

impl Configurations {
    /// As the store has them.
    pub(super) fn stored(rows: &Rows<'_>) -> Result<Configurations, StoreError> {
        let applied = rows.applied_configurations()?;
        let waiting = rows.waiting_configuration()?;
        Ok(Configurations {
            applied: applied.iter().map(|row| row.configuration.digest().to_string()).collect(),
            waiting: waiting.map(|row| row.configuration.digest().to_string()),
        })
    }

    /// An entry of the ledger, in its order.
    pub(super) fn read(&mut self, leaf: &Leaf) {
        let digest = || leaf.body().get("digest").and_then(Value::as_str).map(str::to_owned);
        match leaf.kind() {
            "config.proposed" => self.waiting = digest(),
            "config.stopped" => self.waiting = None,
            "config.applied" => {
                self.applied.push(digest().unwrap_or_default());
                self.waiting = None;
            }
            _ => {}
        }
    }

    /// Where this, as the ledger tells it, is not what the store has.
    pub(super) fn difference(&self, stored: &Configurations) -> Option<String> {
        (self != stored)
            .then(|| "configurations are not in force, or wait, as the ledger tells".to_owned())
    }
}
