//! Fills a store that no gateway has open with copies of what is in it.

use rusqlite::{Connection, Transaction, params};
use serde_json::{Value, json};
use std::path::Path;

/// Changes in all.
const CHANGES: u64 = 10_000;
/// Of them so many are open.
const OPEN: u64 = 20;
/// Entries in all.
const ENTRIES: u64 = 1_000_000;

/// An event with its entry.
struct Kept {
    version: u64,
    event: Value,
    leaf: Value,
}

/// Copies a change that ended and an open one, and what flowed between them.
pub(crate) fn fill(store: &Path, done: u64, open: u64) {
    let mut connection = Connection::open(store).unwrap();
    let transaction = connection.transaction().unwrap();
    let events = |number| read(&transaction, number);
    let (done_events, open_events) = (events(done), events(open));
    let number = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    let mut index = number("SELECT max(idx) + 1 FROM leaf");
    let first = number("SELECT max(number) + 1 FROM change");
    let at = last_time(&transaction);
    for number in first..=CHANGES {
        let (like, events) = match number > CHANGES - OPEN + 1 {
            true => (open, &open_events),
            false => (done, &done_events),
        };
        copy(&transaction, number, like, events, &at, &mut index);
    }
    // Members in the order in which the ledger has them.
    let flowed = json!({ "agent": "bot", "session": "s", "sponsor": "alice", "target": "prod",
        "verbs": ["postgres:Select"] });
    while index < ENTRIES {
        let leaf = json!({ "at": at, "body": { "flowed": [flowed] }, "index": 0, "kind": "flow.batch",
            "texts": {}, "v": 1 });
        put_leaf(&transaction, leaf, &mut index);
    }
    transaction.commit().unwrap();
}

fn last_time(transaction: &Transaction<'_>) -> String {
    let sql = "SELECT line ->> '$.at' FROM leaf ORDER BY idx DESC LIMIT 1";
    transaction.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn read(transaction: &Transaction<'_>, number: u64) -> Vec<Kept> {
    let sql = "SELECT e.version, e.event, l.line FROM event e JOIN leaf l ON l.idx = e.idx \
               WHERE e.number = ?1 ORDER BY e.version";
    let mut statement = transaction.prepare(sql).unwrap();
    let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let rows = statement.query_map([number], |row| {
        Ok(Kept { version: row.get(0)?, event: parsed(row.get(1)?), leaf: parsed(row.get(2)?) })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn copy(
    transaction: &Transaction<'_>,
    number: u64,
    like: u64,
    events: &[Kept],
    at: &str,
    index: &mut u64,
) {
    let key = format!("{number:064x}");
    let sql = "INSERT INTO change (number, version, open, key, agent, kind, body, text, said) \
               SELECT ?1, version, open, ?2, agent, kind, body, text, said FROM change \
               WHERE number = ?3";
    transaction.prepare_cached(sql).unwrap().execute(params![number, key, like]).unwrap();
    for kept in events {
        let (mut event, mut leaf) = (kept.event.clone(), kept.leaf.clone());
        let requests = [event.pointer_mut("/request"), leaf.pointer_mut("/body/event/request")];
        for request in requests.into_iter().flatten() {
            request["number"] = number.into();
            request["key"] = key.clone().into();
        }
        leaf["body"]["change"] = number.into();
        leaf["at"] = at.into();
        let sql = "INSERT INTO event (number, version, idx, event) VALUES (?1, ?2, ?3, ?4)";
        let values = params![number, kept.version, *index, event.to_string()];
        transaction.prepare_cached(sql).unwrap().execute(values).unwrap();
        put_leaf(transaction, leaf, index);
    }
}

fn put_leaf(transaction: &Transaction<'_>, mut leaf: Value, index: &mut u64) {
    leaf["index"] = (*index).into();
    let sql = "INSERT INTO leaf (idx, line) VALUES (?1, ?2)";
    let values = params![*index, leaf.to_string()];
    transaction.prepare_cached(sql).unwrap().execute(values).unwrap();
    *index += 1;
}
