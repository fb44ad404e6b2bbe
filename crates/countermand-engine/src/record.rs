//! The form in which events are kept: what a ledger entry says, and what lies beside it.

use crate::store::StoreError;
use countermand_core::change::{Event, Recorded};
use countermand_core::digest::{Digest, canonical};
use countermand_core::preview::Preview;
use countermand_core::request::ChangeNumber;
use serde_json::{Value, json};

/// An event ready to be kept.
pub(crate) struct Entry {
    /// The entry's kind: `change.held`.
    pub(crate) kind: String,
    /// The entry's body. A preview is named by its digest; it lies beside, as it can be large
    /// and names what is in the target.
    pub(crate) body: Value,
    /// The preview's canonical bytes, where the event has one.
    pub(crate) preview: Option<Vec<u8>>,
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
    let preview = preview_of(&recorded.event).map(canonical);
    let members = event.as_object_mut().expect("an event is a JSON object");
    members.remove("at");
    let name = members.remove("event");
    let name = name.as_ref().and_then(Value::as_str).unwrap_or("unknown").to_owned();
    if let Some(preview) = &preview {
        members.insert("preview".into(), json!(Digest::of_bytes(preview)));
    }
    let mut body = json!({ "change": change, "version": version, "event": event });
    if let (Value::Object(body), Value::Object(proof)) = (&mut body, proof) {
        body.extend(proof.clone());
    }
    Ok(Entry { kind: format!("change.{name}"), body, preview, event: whole })
}

/// The event of an entry, from the ledger alone: the reverse of [`entry_of`].
pub(crate) fn event_of(
    kind: &str,
    at: jiff::Timestamp,
    body: &serde_json::Map<String, Value>,
    preview: Option<&[u8]>,
) -> Result<Recorded, String> {
    let name = kind.strip_prefix("change.").ok_or("it is no event of a change")?;
    let mut event = body.get("event").cloned().ok_or("it has no event")?;
    let members = event.as_object_mut().ok_or("its event is no object")?;
    if let Some(digest) = members.get("preview") {
        let preview = preview.ok_or("its preview was erased")?;
        if *digest != json!(Digest::of_bytes(preview)) {
            return Err("its preview is another".into());
        }
        let preview: Value = serde_json::from_slice(preview).map_err(|e| e.to_string())?;
        members.insert("preview".into(), preview);
    }
    members.insert("event".into(), json!(name));
    members.insert("at".into(), json!(at));
    serde_json::from_value(event).map_err(|e| e.to_string())
}

fn preview_of(event: &Event) -> Option<&Preview> {
    match event {
        Event::Held { preview, .. }
        | Event::Voided { preview, .. }
        | Event::Started { preview, .. } => Some(preview),
        _ => None,
    }
}
