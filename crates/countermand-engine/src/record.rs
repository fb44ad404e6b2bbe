//! The form in which events are kept: what a ledger entry says, and what lies beside it.

use crate::kind::Kind;
use crate::store::StoreError;
use countermand_core::change::Recorded;
use countermand_core::request::ChangeNumber;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Members of events that lie beside their entry, sealed and erasable: a preview is large and
/// names what is in the target, and words can hold a row's values or a person's.
const BESIDE: [&str; 3] = ["preview", "why", "reason"];

/// An event ready to be kept.
pub(crate) struct Entry {
    /// The entry's kind: `change.held`.
    pub(crate) kind: Kind,
    /// The entry's body.
    pub(crate) body: Value,
    /// What lies beside it.
    pub(crate) texts: Vec<(&'static str, Vec<u8>)>,
    /// The whole event, for the store.
    pub(crate) event: String,
}

/// The entry of an event. `proof` is kept beside the event: `statement` and `signature`.
pub(crate) fn entry_of(
    change: ChangeNumber,
    version: u64,
    recorded: &Recorded,
    proof: &Value,
) -> Result<Entry, StoreError> {
    let unreadable = |e: serde_json::Error| StoreError::Unreadable(e.to_string());
    let mut event = serde_json::to_value(recorded).map_err(unreadable)?;
    let whole = event.to_string();
    let members = event.as_object_mut().expect("an event is a JSON object");
    members.remove("at");
    let kind = Kind::of(&recorded.event);
    let name = members.remove("event");
    if name.as_ref().and_then(Value::as_str) != kind.name().strip_prefix("change.") {
        return Err(StoreError::Unreadable(format!("an event is not called `{}`", kind.name())));
    }
    let beside = BESIDE.iter().filter_map(|name| Some((*name, members.remove(*name)?)));
    let texts = beside.map(|(name, value)| (name, value.to_string().into_bytes())).collect();
    let mut body = json!({ "change": change, "version": version, "event": event });
    if let (Value::Object(body), Value::Object(proof)) = (&mut body, proof) {
        body.extend(proof.clone());
    }
    Ok(Entry { kind, body, texts, event: whole })
}

/// The event of an entry, from the ledger alone: the reverse of [`entry_of`].
pub(crate) fn event_of(
    kind: &str,
    at: jiff::Timestamp,
    body: &Map<String, Value>,
    texts: &BTreeMap<String, Vec<u8>>,
) -> Result<Recorded, String> {
    let name = kind.strip_prefix("change.").ok_or("it is no event of a change")?;
    let mut event = body.get("event").cloned().ok_or("it has no event")?;
    let members = event.as_object_mut().ok_or("its event is no object")?;
    for name in BESIDE {
        if let Some(text) = texts.get(name) {
            let value: Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
            members.insert(name.to_owned(), value);
        }
    }
    members.insert("event".into(), json!(name));
    members.insert("at".into(), json!(at));
    serde_json::from_value(event).map_err(|e| e.to_string())
}
