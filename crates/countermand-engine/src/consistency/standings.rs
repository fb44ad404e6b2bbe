//! Standing approvals recomputed from the ledger: what was signed, when it ended, what it carried.

use crate::store::{Rows, StandingRow, StoreError};
use countermand_core::change::{Event, Recorded};
use countermand_core::request::ChangeNumber;
use countermand_core::standing::StandingNumber;
use countermand_ledger::leaf::Leaf;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// As the store has them.
pub(super) struct Stored {
    standings: Vec<StandingRow>,
    carried: BTreeSet<(StandingNumber, ChangeNumber)>,
}

impl Stored {
    pub(super) fn of(rows: &Rows<'_>) -> Result<Stored, StoreError> {
        let carried = rows.carried()?.into_iter().collect();
        Ok(Stored { standings: rows.standings()?, carried })
    }
}

/// As the ledger tells them, entry by entry.
#[derive(Default)]
pub(super) struct Told {
    /// The statements that were signed.
    statements: BTreeMap<StandingNumber, String>,
    ended: BTreeSet<StandingNumber>,
    carried: BTreeSet<(StandingNumber, ChangeNumber)>,
    differences: Vec<String>,
}

impl Told {
    /// An entry that is no event of a change.
    pub(super) fn read(&mut self, leaf: &Leaf) {
        let number = || leaf.body().get("standing").and_then(Value::as_u64).map(StandingNumber);
        let statement = leaf.body().get("statement").and_then(Value::as_str);
        match (leaf.kind(), number(), statement) {
            ("standing.approved", Some(number), Some(statement)) => {
                self.statements.insert(number, statement.to_owned());
            }
            ("standing.ended", Some(number), _) => {
                self.ended.insert(number);
            }
            ("standing.approved" | "standing.ended", ..) => {
                let words = format!("entry {}: it names no standing approval", leaf.index());
                self.differences.push(words);
            }
            _ => {}
        }
    }

    /// An event of a change, in the ledger's order.
    pub(super) fn happened(&mut self, change: ChangeNumber, recorded: &Recorded) {
        let Event::Approved { approval } = &recorded.event else { return };
        let Some(standing) = approval.standing else { return };
        let number = standing.number;
        let in_force = self.statements.contains_key(&number)
            && !self.ended.contains(&number)
            && recorded.at < standing.until;
        if !in_force || !self.carried.insert((number, change)) {
            let words = format!("standing approval {number} did not stand for change {change}");
            self.differences.push(words);
        }
    }

    /// In which ways the two differ, in words.
    pub(super) fn differences(mut self, stored: &Stored) -> Vec<String> {
        let Stored { standings, carried } = stored;
        for row in standings {
            let number = row.number;
            let own = self.statements.remove(&number);
            let same = own.is_some_and(|own| own.as_bytes() == row.statement.to_bytes());
            let runs = self.carried.iter().filter(|(standing, _)| *standing == number).count();
            let most = row.subject.runs.map_or(u64::MAX, u64::from);
            let ended = self.ended.contains(&number) == row.ended.is_some();
            if !same || !ended || runs as u64 > most {
                let words = format!("standing approval {number} is not as the ledger tells it");
                self.differences.push(words);
            }
        }
        if self.carried != *carried {
            let words = "what standing approvals carried is not what the ledger tells";
            self.differences.push(words.to_owned());
        }
        let only_there = self.statements.into_keys();
        let missing =
            only_there.map(|number| format!("standing approval {number} is not in the store"));
        self.differences.into_iter().chain(missing).collect()
    }
}
