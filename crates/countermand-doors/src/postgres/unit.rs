//! A unit in its exact form: what is judged, signed and run is this, byte for byte.

use super::interpret::{self, Shape, Spelling, interpret};
use countermand_core::digest::{Digest, canonical};
use countermand_core::request::Payload;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The payload kind of this protocol.
pub const KIND: &str = "postgres";

/// The settings that change what a statement means or writes, with their effective values. The
/// schemas are spelled out, without those that are only this session's.
pub(super) const SETTINGS: &str = "SELECT 'search_path', pg_catalog.array_to_string(ARRAY(\
    SELECT pg_catalog.quote_ident(s::pg_catalog.text) \
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS s \
    WHERE NOT pg_catalog.starts_with(s::pg_catalog.text, 'pg_temp_')), ', ') \
    UNION ALL SELECT n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest(ARRAY[\
    'DateStyle', 'IntervalStyle', 'TimeZone', 'array_nulls', 'bytea_output', \
    'check_function_bodies', 'default_tablespace', 'default_text_search_config', \
    'extra_float_digits', 'lc_monetary', 'lc_numeric', 'lc_time', 'row_security', \
    'standard_conforming_strings', 'xmlbinary', 'xmloption']::pg_catalog.text[]) AS n";

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
    /// What the text asks, where it was read already; no part of the unit's form.
    #[serde(skip)]
    pub spelling: Option<Spelling>,
}

impl UnitStatement {
    /// A statement that nobody has read yet.
    pub fn new(sql: impl Into<String>, parameters: Vec<Parameter>) -> UnitStatement {
        UnitStatement { sql: sql.into(), parameters, spelling: None }
    }
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
        let spellings: Vec<_> = self.spellings().collect();
        let (asks, shape) = (self.asks(&spellings), self.shape(&spellings));
        Payload { kind: KIND.to_owned(), body, text: self.to_text(), asks: Some(asks), shape }
    }

    /// The values that its shape leaves open, for people; nothing where it has no shape.
    /// Hostile text.
    pub fn open_values(&self) -> Vec<String> {
        let mut values = Vec::new();
        for (statement, spelling) in self.statements.iter().zip(self.spellings()) {
            let Some(shape) = spelling.shape else { return Vec::new() };
            values.extend(shape.taken.iter().cloned());
            let number = |index: usize| i32::try_from(index + 1).unwrap_or(i32::MAX);
            for (index, parameter) in statement.parameters.iter().enumerate() {
                if shape.parameters.contains(&number(index)) {
                    values.push(format!("${} = {}", index + 1, parameter.to_text()));
                }
            }
        }
        values
    }

    /// What each statement asks. A text that cannot be read as one statement is its own spelling.
    fn spellings(&self) -> impl Iterator<Item = Spelling> {
        let standard =
            self.settings.get("standard_conforming_strings").is_none_or(|on| on != "off");
        let settings = interpret::Settings { standard_conforming_strings: standard };
        self.statements.iter().map(move |statement| {
            let read = || {
                let mut read = interpret(&statement.sql, settings).statements;
                match (read.pop(), read.pop()) {
                    (Some(one), None) => one.spelling,
                    _ => Spelling::of_text(&statement.sql),
                }
            };
            statement.spelling.clone().unwrap_or_else(read)
        })
    }

    /// The same for every spelling of this unit.
    fn asks(&self, spellings: &[Spelling]) -> Digest {
        let statements: Vec<_> = (self.statements.iter().zip(spellings))
            .map(|(statement, spelling)| (spelling.exact, &statement.parameters))
            .collect();
        Digest::of(&("asks", statements, &self.settings))
    }

    /// The same for every unit that does this to other rows; none where a statement has none.
    fn shape(&self, spellings: &[Spelling]) -> Option<Digest> {
        let mut statements = Vec::with_capacity(spellings.len());
        for (statement, spelling) in self.statements.iter().zip(spellings) {
            let shape = spelling.shape.as_ref()?;
            let numbered = (1..).zip(&statement.parameters);
            let parameters: Vec<_> =
                numbered.map(|(number, parameter)| parameter.shape(number, shape)).collect();
            statements.push((shape.digest, parameters));
        }
        let some = !statements.is_empty();
        some.then(|| Digest::of(&("shape", statements, &self.settings)))
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

    /// Complete and untruncated, for people. The first line says how many of the last are the
    /// gateway's: what looks like them further up was sent.
    fn to_text(&self) -> String {
        let own = self.beside();
        let mut text = match own.len() {
            0 => String::from("-- all of this is as it was sent\n"),
            1 => String::from("-- as it was sent, but for the last line, which is the gateway's\n"),
            lines => {
                format!(
                    "-- as it was sent, but for the last {lines} lines, which are the gateway's\n"
                )
            }
        };
        for statement in &self.statements {
            text.push_str(statement.sql.trim_end_matches(';'));
            text.push_str(";\n");
        }
        own.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
        text
    }

    /// Parameters and settings, a line each. A value has no line end in it: it is quoted, or in hex.
    fn beside(&self) -> Vec<String> {
        let several = self.statements.len() > 1;
        let of = |(nth, statement): (usize, &UnitStatement)| {
            let of = if several { format!("statement {}, ", nth + 1) } else { String::new() };
            let one = |(i, parameter): (usize, &Parameter)| {
                format!("-- {of}${} = {}", i + 1, parameter.to_text())
            };
            statement.parameters.iter().enumerate().map(one).collect::<Vec<_>>()
        };
        let parameters = self.statements.iter().enumerate().flat_map(of);
        let setting = |(name, value): (&String, &String)| format!("-- with {name} = {value:?}");
        parameters.chain(self.settings.iter().map(setting)).collect()
    }
}

impl Parameter {
    /// Its type, how it is written, and whether it is NULL; its value where that does more than
    /// say which rows.
    fn shape(&self, number: i32, shape: &Shape) -> (u32, i16, bool, Option<&String>) {
        let pinned = self.value.as_ref().filter(|_| !shape.parameters.contains(&number));
        (self.oid, self.format, self.value.is_none(), pinned)
    }

    fn to_text(&self) -> String {
        let Some(value) = &self.value else { return "NULL".to_owned() };
        let bytes = hex::decode(value).unwrap_or_default();
        match (self.format, String::from_utf8(bytes)) {
            (0, Ok(text)) => format!("{text:?}"),
            _ => format!("\\x{value} (binary, type {})", self.oid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_writes_in_the_manner_of_the_gateway_is_told_apart() {
        let sql = "delete from t where id = any($1)\n-- $1 = \"{42}\"\n-- with search_path = \"safe\"\n--";
        let parameter = Parameter { oid: 25, format: 0, value: Some(hex::encode("a\n-- $2 = 1")) };
        let unit = Unit {
            statements: vec![UnitStatement::new(sql, vec![parameter])],
            settings: BTreeMap::from([("search_path".to_owned(), "evil\n--".to_owned())]),
        };
        let text = unit.to_payload().text;
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("but for the last 2 lines"), "{text}");
        assert_eq!(lines[lines.len() - 2], r#"-- $1 = "a\n-- $2 = 1""#);
        assert_eq!(lines[lines.len() - 1], r#"-- with search_path = "evil\n--""#);
        assert_eq!(lines.len(), 1 + sql.lines().count() + 2);
    }
}
