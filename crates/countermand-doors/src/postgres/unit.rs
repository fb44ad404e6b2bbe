//! A unit in its exact form: what is judged, signed and run is this, byte for byte.

use countermand_core::digest::canonical;
use countermand_core::request::Payload;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The payload kind of this protocol.
pub const KIND: &str = "postgres";

/// One parameter of an extended-protocol statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The type's OID as the client declared it; 0 leaves it to the server.
    pub oid: u32,
    /// 0 is text, 1 is binary.
    pub format: i16,
    /// The value's bytes in hexadecimal; none is NULL.
    pub value: Option<String>,
}

/// One statement with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatement {
    /// The exact text.
    pub sql: String,
    /// In order, `$1` first.
    pub parameters: Vec<Parameter>,
}

/// What the client would have committed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// In order.
    pub statements: Vec<UnitStatement>,
    /// Session settings that change what the statements mean, with their effective values:
    /// `search_path` spelled out, `DateStyle`, `TimeZone`, `standard_conforming_strings`, ….
    pub settings: BTreeMap<String, String>,
}

/// A payload that is not a unit of this protocol.
#[derive(Debug, thiserror::Error)]
#[error("the payload is not a PostgreSQL unit: {0}")]
pub struct NotAUnit(String);

impl Unit {
    /// The unit as the engine keeps it.
    pub fn to_payload(&self) -> Payload {
        let body = String::from_utf8(canonical(self)).expect("canonical JSON is UTF-8");
        Payload { kind: KIND.to_owned(), body, text: self.to_text() }
    }

    /// The unit of a payload.
    ///
    /// # Errors
    /// [`NotAUnit`] for another kind, or a body that is not one.
    pub fn from_payload(payload: &Payload) -> Result<Unit, NotAUnit> {
        if payload.kind != KIND {
            return Err(NotAUnit(format!("its kind is `{}`", payload.kind)));
        }
        serde_json::from_str(&payload.body).map_err(|e| NotAUnit(e.to_string()))
    }

    /// Complete and untruncated, for people.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for statement in &self.statements {
            text.push_str(statement.sql.trim_end_matches(';'));
            text.push_str(";\n");
            for (i, parameter) in statement.parameters.iter().enumerate() {
                let _ = writeln!(text, "-- ${} = {}", i + 1, parameter.to_text());
            }
        }
        for (name, value) in &self.settings {
            let _ = writeln!(text, "-- with {name} = {value:?}");
        }
        text
    }
}

impl Parameter {
    fn to_text(&self) -> String {
        let Some(value) = &self.value else { return "NULL".to_owned() };
        let bytes = hex::decode(value).unwrap_or_default();
        match (self.format, String::from_utf8(bytes)) {
            (0, Ok(text)) => format!("{text:?}"),
            _ => format!("\\x{value} (binary, type {})", self.oid),
        }
    }
}
