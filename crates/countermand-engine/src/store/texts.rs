//! Texts that are erased: from their own table, and from where the store keeps the same words again.

use super::{Rows, StoreError, Tx};
use countermand_core::request::ChangeNumber;
use countermand_ledger::leaf::Leaf;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde_json::Value;

/// What stands in the place of words that were erased.
pub(crate) const ERASED: &str = "(erased)";

/// Members of events that hold words; the rest of an event is what a change is the fold of.
const WORDS: [&str; 2] = ["why", "reason"];

/// A text that is there, with its entry.
pub(crate) struct TextRow {
    pub(crate) name: String,
    pub(crate) leaf: Leaf,
}

impl Rows<'_> {
    /// Texts of the entry `from` and later ones before `until`, at most `limit`, in order.
    pub(crate) fn text_rows(
        &self,
        from: u64,
        until: u64,
        limit: u64,
    ) -> Result<Vec<TextRow>, StoreError> {
        let sql = "SELECT t.name, l.line FROM text t JOIN leaf l ON l.idx = t.idx \
                   WHERE t.idx >= ?1 AND t.idx < ?2 ORDER BY t.idx, t.name LIMIT ?3";
        let mut statement = self.connection().prepare_cached(sql)?;
        let mut rows = statement.query(params![from, until, limit])?;
        let mut texts = Vec::new();
        while let Some(row) = rows.next()? {
            texts.push(TextRow { name: row.get(0)?, leaf: leaf(&row.get::<_, String>(1)?)? });
        }
        Ok(texts)
    }

    /// The first entry that is not older than this; the ledger's times never go back.
    pub(crate) fn first_since(&self, at: Timestamp, size: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (0, size);
        while low < high {
            let middle = low + (high - low) / 2;
            let line = self.leaves(middle, 1)?.pop().unwrap_or_default();
            if leaf(&line)?.at() < at { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// Whether minutes are counted from before this.
    pub(crate) fn has_minutes(&self, before: Timestamp) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM flow_minute WHERE minute < ?1)";
        let minute = before.as_second().div_euclid(60);
        Ok(self.connection().query_row(sql, [minute], |row| row.get(0))?)
    }

    /// The entry of a change's event, and which event it is.
    fn event_at(&self, index: u64) -> Result<Option<(ChangeNumber, u64, String)>, StoreError> {
        let sql = "SELECT number, version, event FROM event WHERE idx = ?1";
        let mut statement = self.connection().prepare_cached(sql)?;
        let row = statement
            .query_row([index], |row| Ok((ChangeNumber(row.get(0)?), row.get(1)?, row.get(2)?)));
        Ok(row.optional()?)
    }

    /// Entries of a change, in order.
    pub(crate) fn entries_of(&self, number: ChangeNumber) -> Result<Vec<u64>, StoreError> {
        let sql = "SELECT idx FROM event WHERE number = ?1 ORDER BY version";
        let mut statement = self.connection().prepare_cached(sql)?;
        let rows = statement.query_map([number.0], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// When and under which later entry a text of this entry was erased.
    pub(crate) fn erasure_of(
        &self,
        index: u64,
        name: &str,
    ) -> Result<Option<(u64, Timestamp)>, StoreError> {
        let sql = "SELECT line FROM leaf WHERE idx > ?1 AND line LIKE '%\"texts.erased\"%'";
        let mut statement = self.connection().prepare(sql)?;
        let mut rows = statement.query([index])?;
        while let Some(row) = rows.next()? {
            let leaf = leaf(&row.get::<_, String>(0)?)?;
            if countermand_ledger::erasure::names(&leaf).any(|text| text == (index, name)) {
                return Ok(Some((leaf.index(), leaf.at())));
            }
        }
        Ok(None)
    }
}

impl Tx<'_> {
    /// Erases one text, and the same words wherever the store keeps them again.
    pub(crate) fn erase_text(&mut self, index: u64, name: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM text WHERE idx = ?1 AND name = ?2", params![index, name])?;
        let Some((number, version, event)) = self.rows().event_at(index)? else { return Ok(()) };
        match name {
            "payload" => {
                let sql = "UPDATE change SET body = '', text = ?2 WHERE number = ?1";
                self.execute(sql, params![number.0, ERASED])?;
            }
            "said" => {
                let sql = "UPDATE change SET said = ?2 WHERE number = ?1";
                self.execute(sql, params![number.0, ERASED])?;
            }
            name if WORDS.contains(&name) => {
                let mut event: Value = serde_json::from_str(&event)
                    .map_err(|error| StoreError::Unreadable(error.to_string()))?;
                event[name] = match &event[name] {
                    Value::Array(_) => Value::from(vec![ERASED]),
                    _ => Value::from(ERASED),
                };
                let sql = "UPDATE event SET event = ?3 WHERE number = ?1 AND version = ?2";
                self.execute(sql, params![number.0, version, event.to_string()])?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Forgets counts of minutes that no window reaches back to.
    pub(crate) fn forget_minutes(&mut self, before: Timestamp) -> Result<(), StoreError> {
        let minute = before.as_second().div_euclid(60);
        self.execute("DELETE FROM flow_minute WHERE minute < ?1", [minute]).map(drop)
    }
}

fn leaf(line: &str) -> Result<Leaf, StoreError> {
    Leaf::parse(line.as_bytes()).map_err(|error| StoreError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use crate::clock::Clock;
    use crate::home::Home;
    use crate::store::{FlowRow, Store};
    use jiff::Timestamp;
    use std::sync::Arc;

    #[tokio::test]
    async fn minutes_that_no_window_reaches_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        home.create("test").unwrap();
        let keys = Arc::new(home.keys().unwrap());
        let store = Store::open(&home.store(), Clock::system(), keys, None, None).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        store
            .write(move |tx| {
                for (index, second) in [60, 7200, 9000].into_iter().enumerate() {
                    let (session, index) = (String::new(), index as u64);
                    let flow = FlowRow { index, at: at(second), session, changed: 3, inserted: 0 };
                    tx.put_flow(&"bot".parse().unwrap(), &"prod".parse().unwrap(), &flow)?;
                }
                tx.forget_minutes(at(7200))
            })
            .await
            .unwrap();
        let changed = store.read(|rows| {
            rows.changed_since(&"bot".parse().unwrap(), &"prod".parse().unwrap(), at(0))
        });
        assert_eq!(changed.unwrap(), 6);
        assert!(!store.read(|rows| rows.has_minutes(at(7200))).unwrap());
        store.stop();
    }
}
