//! Which entries belong to an incident.

use super::Incident;
use super::tell::{Entry, Teller};
use crate::control::IncidentWanted;
use crate::engine::Engine;
use crate::store::StoreError;
use countermand_core::request::ChangeNumber;
use countermand_ledger::leaf::Leaf;
use countermand_ledger::text::SealedText;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Entries that are read at a time, so that whoever else reads need not wait.
const PAGE: u64 = 1000;
/// Of more entries nobody reads a timeline, and the gateway has other work.
const MOST: u64 = 100_000;
/// So far back it is told where nobody says since when.
const SINCE: SignedDuration = SignedDuration::from_hours(24);

impl Engine {
    /// What happened.
    ///
    /// # Errors
    /// [`StoreError`]; refused in words where there is no such change, or the time is too long.
    pub(crate) fn incident(&self, wanted: &IncidentWanted) -> Result<Incident, StoreError> {
        let now = self.0.clock.now();
        let until = wanted.until.unwrap_or(now).min(now);
        let back = until.saturating_sub(SINCE).unwrap_or(Timestamp::MIN);
        let mut teller = Teller::of(wanted, wanted.since.unwrap_or(back), until);
        match wanted.change {
            Some(number) => self.take_change(number, &mut teller)?,
            None => self.take_time(&mut teller)?,
        }
        for number in teller.changes() {
            let entries = self.entries_of_change(number)?;
            teller.whole(number, &entries);
        }
        let checkpoint = self.0.store.read(|rows| rows.newest_checkpoint())?;
        Ok(teller.told(self.0.installation.name.as_str(), now, checkpoint))
    }

    fn take_change(&self, number: ChangeNumber, teller: &mut Teller) -> Result<(), StoreError> {
        let entries = self.entries_of_change(number)?;
        if entries.is_empty() {
            return Err(StoreError::NoChange(number));
        }
        teller.since = entries[0].leaf.at();
        teller.until = entries[entries.len() - 1].leaf.at();
        entries.iter().for_each(|entry| teller.take(entry));
        Ok(())
    }

    fn take_time(&self, teller: &mut Teller) -> Result<(), StoreError> {
        let (since, until) = (teller.since, teller.until);
        let from = self.first_entry(|at| at >= since)?;
        let end = self.first_entry(|at| at > until)?;
        if end.saturating_sub(from) > MOST {
            let words = format!(
                "{} entries are of that time, and at most {MOST} are told of: give a shorter one, \
                 `--since` to `--until`",
                end - from
            );
            return Err(StoreError::Refused(words));
        }
        let mut next = from;
        while next < end {
            let to = (next + PAGE).min(end);
            for entry in self.opened_entries(next, to)? {
                if let Some(number) = teller.unknown_change(&entry) {
                    let first = self.0.store.read(|rows| rows.entries_of(number))?;
                    for index in first.first().into_iter() {
                        let opened = self.opened_entries(*index, index + 1)?;
                        opened.iter().for_each(|entry| teller.learn(number, entry));
                    }
                }
                teller.take(&entry);
            }
            next = to;
        }
        Ok(())
    }

    /// The first entry of such a time. Entries are in the order of their times.
    fn first_entry(&self, is: impl Fn(Timestamp) -> bool) -> Result<u64, StoreError> {
        let (mut from, mut to) = (0, *self.0.store.size().borrow());
        while from < to {
            let middle = from + (to - from) / 2;
            let lines = self.0.store.read(|rows| rows.leaves(middle, 1))?;
            let line = lines.first().ok_or(StoreError::Stopped)?;
            if is(parsed(line)?.at()) {
                to = middle;
            } else {
                from = middle + 1;
            }
        }
        Ok(from)
    }

    fn entries_of_change(&self, number: ChangeNumber) -> Result<Vec<Entry>, StoreError> {
        let indices = self.0.store.read(|rows| rows.entries_of(number))?;
        let mut entries = Vec::new();
        for index in indices {
            entries.extend(self.opened_entries(index, index + 1)?);
        }
        Ok(entries)
    }

    /// Entries with those of their texts whose digests stand in them.
    fn opened_entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, StoreError> {
        let lines = self.0.store.read(|rows| rows.leaves(from, to - from))?;
        let sealed = self.0.store.read(|rows| rows.texts(from, to))?;
        let mut texts: BTreeMap<u64, Vec<SealedText>> = BTreeMap::new();
        for sealed in sealed {
            let Ok(sealed) = SealedText::parse(sealed.as_bytes()) else { continue };
            texts.entry(sealed.index()).or_default().push(sealed);
        }
        let mut entries = Vec::with_capacity(lines.len());
        for line in &lines {
            let leaf = parsed(line)?;
            let mut own = BTreeMap::new();
            for sealed in texts.remove(&leaf.index()).unwrap_or_default() {
                let Ok(open) = self.0.keys.texts().open(&sealed) else { continue };
                if leaf.texts().get(sealed.name()) == Some(&open.digest()) {
                    own.insert(sealed.name().to_owned(), open.text().to_vec());
                }
            }
            entries.push(Entry { leaf, texts: own });
        }
        Ok(entries)
    }
}

fn parsed(line: &str) -> Result<Leaf, StoreError> {
    Leaf::parse(line.as_bytes()).map_err(|error| StoreError::Unreadable(error.to_string()))
}
