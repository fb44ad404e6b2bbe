//! Configurations recomputed from the ledger: what came into force, in which order, and what waits.

use crate::store::{Rows, StoreError};
use countermand_ledger::leaf::Leaf;
use jiff::Timestamp;
use serde_json::Value;

/// What came into force, in order, and what waits.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Configurations {
    applied: Vec<Applied>,
    /// Its digest.
    waiting: Option<String>,
    let_in: bool,
}

#[derive(PartialEq, Eq)]
struct Applied {
    digest: String,
    at: Timestamp,
    unsigned: bool,
}

impl Configurations {
    /// As the store has them.
    pub(super) fn stored(rows: &Rows<'_>) -> Result<Configurations, StoreError> {
        let applied = rows.applied_configurations()?;
        let waiting = rows.waiting_configuration()?;
        Ok(Configurations {
            applied: applied
                .iter()
                .map(|row| Applied {
                    digest: row.configuration.digest().to_string(),
                    at: row.applied.unwrap_or(Timestamp::MAX),
                    unsigned: row.proposed.is_none(),
                })
                .collect(),
            let_in: !rows.agents()?.is_empty(),
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
                let unsigned = leaf.body().get("unsigned").and_then(Value::as_bool) == Some(true);
                let digest = digest().unwrap_or_default();
                self.applied.push(Applied { digest, at: leaf.at(), unsigned });
                self.waiting = None;
            }
            "agent.added" => self.let_in = true,
            _ => {}
        }
    }

    /// Where this, as the ledger tells it, is not what the store has.
    pub(super) fn difference(&self, stored: &Configurations) -> Option<String> {
        (self != stored).then(|| "configurations or agents are not as the ledger tells".to_owned())
    }
}
