//! `doctor --consistency`: every change recomputed from the ledger, and compared with the store.

use crate::control::Consistency;
use crate::engine::Engine;
use crate::record;
use crate::store::StoreError;
use countermand_core::change::{Change, Recorded};
use countermand_core::request::ChangeNumber;
use countermand_ledger::leaf::Leaf;
use countermand_ledger::text::{Digest, SealedText};
use std::collections::BTreeMap;

impl Engine {
    /// Recomputes every change from the ledger's own bytes.
    pub(crate) fn consistency(&self) -> Result<Consistency, StoreError> {
        let lines = self.0.store.read(|rows| rows.leaves(0, u64::MAX))?;
        let texts = self.opened_texts(lines.len() as u64)?;
        let mut found = Consistency {
            changes: 0,
            entries: lines.len() as u64,
            executed: 0,
            differences: Vec::new(),
        };
        let mut histories: BTreeMap<ChangeNumber, Vec<Recorded>> = BTreeMap::new();
        for (index, line) in lines.iter().enumerate() {
            match Leaf::parse(line.as_bytes()) {
                Err(error) => found.differences.push(format!("entry {index}: {error}")),
                Ok(leaf) if leaf.index() != index as u64 => {
                    found.differences.push(format!("entry {index} says it is {}", leaf.index()));
                }
                Ok(leaf) => collect(&leaf, &texts, &mut histories, &mut found.differences),
            }
        }
        for number in self.0.store.read(|rows| rows.numbers(false))? {
            found.changes += 1;
            let history = histories.remove(&number).unwrap_or_default();
            self.compare(number, &history, &mut found)?;
        }
        for number in histories.keys() {
            found.differences.push(format!("change {number} is in the ledger, not in the store"));
        }
        Ok(found)
    }

    fn compare(
        &self,
        number: ChangeNumber,
        history: &[Recorded],
        found: &mut Consistency,
    ) -> Result<(), StoreError> {
        let mut differs = |what: &str| found.differences.push(format!("change {number}: {what}"));
        let stored = self.0.store.read(|rows| rows.events(number))?;
        if stored != history {
            differs("the ledger tells another history than the store");
        }
        let (version, open) = self.0.store.read(|rows| rows.version(number))?;
        match Change::fold(history) {
            None => differs("the ledger does not have it"),
            Some(Err(error)) => differs(&format!("its history cannot be: {error}")),
            Some(Ok(change)) => {
                if change.version != version || change.state.is_open() != open {
                    differs("the store's row is not at the end of its history");
                }
                if change.executions > 1 {
                    differs("it was executed more than once");
                }
                found.executed += u64::from(change.executions);
            }
        }
        Ok(())
    }

    /// What lies beside the entries, opened, and held against their digests.
    fn opened_texts(&self, size: u64) -> Result<Texts, StoreError> {
        let mut texts = Texts::new();
        for line in self.0.store.read(|rows| rows.texts(0, size))? {
            let Ok(sealed) = SealedText::parse(line.as_bytes()) else { continue };
            let Ok(open) = sealed.open(&self.0.keys.texts) else { continue };
            let beside = texts.entry(sealed.index()).or_default();
            beside.insert(sealed.name().to_owned(), (open.digest(), open.text().to_vec()));
        }
        Ok(texts)
    }
}

/// Texts with their digests, by entry and name.
type Texts = BTreeMap<u64, BTreeMap<String, (Digest, Vec<u8>)>>;

fn collect(
    leaf: &Leaf,
    texts: &Texts,
    histories: &mut BTreeMap<ChangeNumber, Vec<Recorded>>,
    differences: &mut Vec<String>,
) {
    if !leaf.kind().starts_with("change.") {
        return;
    }
    let index = leaf.index();
    let number = leaf.body().get("change").and_then(serde_json::Value::as_u64).map(ChangeNumber);
    let beside = texts.get(&index).into_iter().flatten();
    let own = beside.filter(|(name, (digest, _))| leaf.texts().get(*name) == Some(digest));
    let own = own.map(|(name, (_, text))| (name.clone(), text.clone())).collect();
    let event = record::event_of(leaf.kind(), leaf.at(), leaf.body(), &own);
    match (number, event) {
        (Some(number), Ok(event)) => histories.entry(number).or_default().push(event),
        (None, _) => differences.push(format!("entry {index}: it names no change")),
        (_, Err(why)) => differences.push(format!("entry {index}: {why}")),
    }
}
