//! `doctor --consistency`: every change recomputed from the ledger, and compared with the store.

mod configurations;
mod standings;

use crate::control::Consistency;
use crate::engine::Engine;
use crate::record;
use crate::store::{ERASED, Rows, StoreError};
use configurations::Configurations;
use countermand_core::change::{Change, Recorded};
use countermand_core::request::ChangeNumber;
use countermand_ledger::erasure;
use countermand_ledger::leaf::Leaf;
use countermand_ledger::text::{Digest, SealedText};
use serde_json::json;
use standings::Told;
use std::collections::BTreeMap;

impl Engine {
    /// Recomputes every change from the ledger's own bytes.
    pub(crate) fn consistency(&self) -> Result<Consistency, StoreError> {
        let Moment { lines, sealed, changes, standings, configurations } =
            self.0.store.read_at_once(Moment::of)?;
        let texts = self.opened_texts(sealed);
        let mut found = Consistency {
            changes: 0,
            entries: lines.len() as u64,
            executed: 0,
            differences: Vec::new(),
        };
        let mut histories: BTreeMap<ChangeNumber, Vec<Recorded>> = BTreeMap::new();
        let erased = Erased::of(&lines, &changes);
        let mut told = Told::default();
        let mut configured = Configurations::default();
        for (index, line) in lines.iter().enumerate() {
            match Leaf::parse(line.as_bytes()) {
                Err(error) => found.differences.push(format!("entry {index}: {error}")),
                Ok(leaf) if leaf.index() != index as u64 => {
                    found.differences.push(format!("entry {index} says it is {}", leaf.index()));
                }
                Ok(leaf) => {
                    told.read(&leaf);
                    configured.read(&leaf);
                    let event = collect(&leaf, &texts, &erased, &mut found.differences);
                    if let Some((number, recorded)) = event {
                        told.happened(number, &recorded);
                        histories.entry(number).or_default().push(recorded);
                    }
                }
            }
        }
        for stored in changes {
            found.changes += 1;
            let history = histories.remove(&stored.number).unwrap_or_default();
            compare(&stored, &history, &mut found);
        }
        for number in histories.keys() {
            found.differences.push(format!("change {number} is in the ledger, not in the store"));
        }
        found.differences.extend(told.differences(&standings));
        found.differences.extend(configured.difference(&configurations));
        Ok(found)
    }

    /// What lies beside the entries, opened, and held against their digests.
    fn opened_texts(&self, sealed: Vec<String>) -> Texts {
        let mut texts = Texts::new();
        for line in sealed {
            let Ok(sealed) = SealedText::parse(line.as_bytes()) else { continue };
            let Ok(open) = self.0.keys.texts().open(&sealed) else { continue };
            let beside = texts.entry(sealed.index()).or_default();
            beside.insert(sealed.name().to_owned(), (open.digest(), open.text().to_vec()));
        }
        texts
    }
}

/// A change as the store has it.
struct Stored {
    number: ChangeNumber,
    events: Vec<Recorded>,
    version: u64,
    open: bool,
}

/// Everything that is compared, as it was at one moment.
struct Moment {
    lines: Vec<String>,
    sealed: Vec<String>,
    changes: Vec<Stored>,
    standings: standings::Stored,
    configurations: Configurations,
}

impl Moment {
    fn of(rows: &Rows<'_>) -> Result<Moment, StoreError> {
        let lines = rows.leaves(0, u64::MAX)?;
        let sealed = rows.texts(0, lines.len() as u64)?;
        let stored = |number| {
            let (version, open) = rows.version(number)?;
            Ok(Stored { number, events: rows.events(number)?, version, open })
        };
        let changes = rows.numbers(false)?.into_iter().map(stored);
        let changes = changes.collect::<Result<_, StoreError>>()?;
        Ok(Moment {
            lines,
            sealed,
            changes,
            standings: standings::Stored::of(rows)?,
            configurations: Configurations::stored(rows)?,
        })
    }
}

fn compare(stored: &Stored, history: &[Recorded], found: &mut Consistency) {
    let number = stored.number;
    let mut differs = |what: &str| found.differences.push(format!("change {number}: {what}"));
    if stored.events != history {
        differs("the ledger tells another history than the store");
    }
    match Change::fold(history) {
        None => differs("the ledger does not have it"),
        Some(Err(error)) => differs(&format!("its history cannot be: {error}")),
        Some(Ok(change)) => {
            if change.version != stored.version || change.state.is_open() != stored.open {
                differs("the store's row is not at the end of its history");
            }
            if change.executions > 1 {
                differs("it was executed more than once");
            }
            found.executed += u64::from(change.executions);
        }
    }
}

/// Words that the ledger says were erased, as the store has them now: there is nothing else to compare
/// them with.
struct Erased(BTreeMap<(u64, String), Option<String>>);

impl Erased {
    fn of(lines: &[String], changes: &[Stored]) -> Erased {
        let leaf = |index: u64| {
            let line = usize::try_from(index).ok().and_then(|index| lines.get(index))?;
            Leaf::parse(line.as_bytes()).ok()
        };
        let says = lines.iter().filter(|line| line.contains(erasure::ERASED));
        let says = says.filter_map(|line| Leaf::parse(line.as_bytes()).ok());
        let mut erased = BTreeMap::new();
        for entry in says {
            for (index, name) in erasure::names(&entry).filter(|(index, _)| *index < entry.index())
            {
                let now = leaf(index).and_then(|leaf| words(&leaf, name, changes));
                erased.insert((index, name.to_owned()), now);
            }
        }
        Erased(erased)
    }

    fn fill(&self, leaf: &Leaf, texts: &mut BTreeMap<String, Vec<u8>>) {
        for name in leaf.texts().keys() {
            if let Some(Some(now)) = self.0.get(&(leaf.index(), name.clone())) {
                texts.entry(name.clone()).or_insert_with(|| now.clone().into_bytes());
            }
        }
    }
}

/// What the store's event has where an entry's text was, if that was put there when it was erased.
fn words(leaf: &Leaf, name: &str, changes: &[Stored]) -> Option<String> {
    let member = |name| leaf.body().get(name).and_then(serde_json::Value::as_u64);
    let (number, version) = (ChangeNumber(member("change")?), member("version")?);
    let stored = changes.iter().find(|stored| stored.number == number)?;
    let event = stored.events.get(usize::try_from(version.checked_sub(1)?).ok()?)?;
    let value = serde_json::to_value(event).ok()?.get(name)?.to_string();
    [json!(ERASED).to_string(), json!([ERASED]).to_string()].contains(&value).then_some(value)
}

/// Texts with their digests, by entry and name.
type Texts = BTreeMap<u64, BTreeMap<String, (Digest, Vec<u8>)>>;

/// The event of a change that an entry tells, if it tells one.
fn collect(
    leaf: &Leaf,
    texts: &Texts,
    erased: &Erased,
    differences: &mut Vec<String>,
) -> Option<(ChangeNumber, Recorded)> {
    if !leaf.kind().starts_with("change.") {
        return None;
    }
    let index = leaf.index();
    let number = leaf.body().get("change").and_then(serde_json::Value::as_u64).map(ChangeNumber);
    let beside = texts.get(&index).into_iter().flatten();
    let own = beside.filter(|(name, (digest, _))| leaf.texts().get(*name) == Some(digest));
    let mut own: BTreeMap<_, _> =
        own.map(|(name, (_, text))| (name.clone(), text.clone())).collect();
    erased.fill(leaf, &mut own);
    let event = record::event_of(leaf.kind(), leaf.at(), leaf.body(), &own);
    match (number, event) {
        (Some(number), Ok(event)) => return Some((number, event)),
        (None, _) => differences.push(format!("entry {index}: it names no change")),
        (_, Err(why)) => differences.push(format!("entry {index}: {why}")),
    }
    None
}
