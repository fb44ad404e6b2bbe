//! Names to places in the catalogue, as the server itself resolves them under the unit's own
//! `search_path`.

use super::super::super::unit::Unit;
use super::super::catalog::{self, Address};
use super::super::client::{Client, ClientError, Row};
use super::super::steps::{Name, Named, Part};
use crate::postgres::quoting::quoted;
use countermand_core::action::Object;

/// What a name means.
#[derive(Debug)]
pub(super) enum Resolved {
    /// This object.
    At(Address),
    /// Nothing; the server's own words.
    Missing { code: String, message: String },
}

impl Name {
    /// Its parts, as a list.
    pub(in super::super) fn parts(&self) -> Vec<String> {
        self.schema.iter().chain([&self.name]).cloned().collect()
    }

    /// Whether a name that a statement made may be this one. Where it is not after all, what is
    /// really lost shows before the commit, and aborts it.
    pub(super) fn may_be(&self, parts: &[String]) -> bool {
        let Some((name, before)) = parts.split_last() else { return false };
        // A type is named by one quoted text.
        let same = *name == self.name || last_part(name) == self.name;
        same && match (&self.schema, before.last()) {
            (Some(made), Some(asked)) => made == asked,
            _ => true,
        }
    }
}

/// The last part of a qualified name, unquoted.
pub(super) fn last_part(name: &str) -> String {
    let bare = name.split('(').next().unwrap_or(name);
    split(bare).pop().unwrap_or_default()
}

/// What an object of this kind and name is now.
pub(super) async fn resolve(
    client: &mut Client,
    unit: &Unit,
    kind: &str,
    named: &Named,
) -> Result<Resolved, ClientError> {
    client.batch("SAVEPOINT resolve").await?;
    let found = under_path(client, unit, kind, named).await;
    // Also takes back the path, and the lock that resolving took.
    client.batch("ROLLBACK TO SAVEPOINT resolve; RELEASE SAVEPOINT resolve").await?;
    match found {
        Ok(rows) => Ok(rows.first().and_then(address).map_or_else(
            || Resolved::Missing {
                code: "42704".to_owned(),
                message: format!("{kind} \"{}\" does not exist", named.name.join(".")),
            },
            Resolved::At,
        )),
        Err(ClientError::Server { code, message }) if is_about_names(&code) => {
            // The words that the statement itself would be refused with.
            let message = match kind {
                "relation" | "function" => message,
                kind => message.replacen("relation ", &format!("{kind} "), 1),
            };
            Ok(Resolved::Missing { code, message })
        }
        Err(error) => Err(error),
    }
}

async fn under_path(
    client: &mut Client,
    unit: &Unit,
    kind: &str,
    named: &Named,
) -> Result<Vec<Row>, ClientError> {
    if let Some(path) = unit.settings.get("search_path") {
        let set = "SELECT pg_catalog.set_config('search_path', $1, true)";
        client.query(set, &[path]).await?;
    }
    let qualified = || named.name.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
    match (kind, &named.arguments) {
        ("relation", _) => {
            let sql = "SELECT 1259, $1::pg_catalog.regclass::pg_catalog.oid, 0";
            client.query(sql, &[&qualified()]).await
        }
        (_, None) => {
            let sql = "SELECT 1255, $1::pg_catalog.regproc::pg_catalog.oid, 0";
            client.query(sql, &[&qualified()]).await
        }
        (_, Some(arguments)) => {
            let sql = "SELECT a.classid, a.objid, a.objsubid
                FROM pg_catalog.pg_get_object_address($1, $2::pg_catalog.text[],
                  $3::pg_catalog.text[]) a";
            let (name, arguments) = (catalog::array(&named.name), catalog::array(arguments));
            client.query(sql, &[kind, &name, &arguments]).await
        }
    }
}

/// Undefined, of the wrong kind, ambiguous, or not a name at all.
fn is_about_names(code: &str) -> bool {
    matches!(code, "42P01" | "42704" | "42883" | "3F000" | "42809" | "42725" | "42602" | "42703")
        || matches!(code, "22023" | "0A000" | "42601")
}

/// A column or constraint of a table; none where it need not exist and does not.
pub(super) async fn part(
    client: &mut Client,
    table: u32,
    part: &Part,
) -> Result<Option<Address>, ClientError> {
    let sql = match part.kind {
        "column" => {
            "SELECT 1259, a.attrelid, a.attnum FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = $1::pg_catalog.oid AND a.attname = $2 AND NOT a.attisdropped"
        }
        _ => {
            "SELECT 2606, k.oid, 0 FROM pg_catalog.pg_constraint k
             WHERE k.conrelid = $1::pg_catalog.oid AND k.conname = $2"
        }
    };
    let rows = client.query(sql, &[&table.to_string(), &part.name]).await?;
    match rows.first().and_then(address) {
        Some(at) => Ok(Some(at)),
        None if part.missing_ok => Ok(None),
        None => Err(ClientError::Server {
            code: if part.kind == "column" { "42703" } else { "42704" }.to_owned(),
            message: format!("{} \"{}\" does not exist", part.kind, part.name),
        }),
    }
}

/// What an action's object is; none where there is no such thing now.
pub(super) async fn object(
    client: &mut Client,
    unit: &Unit,
    object: &Object,
) -> Result<Option<Address>, ClientError> {
    let kind = match object.kind.as_str() {
        kind @ ("schema" | "type" | "domain") => kind,
        "table" | "view" | "materialized view" | "sequence" | "index" | "foreign table"
        | "relation" => "relation",
        _ => return Ok(None),
    };
    if object.name.is_empty() {
        return Ok(None);
    }
    let name = match kind {
        "type" | "domain" => vec![object.name.clone()],
        _ => split(&object.name),
    };
    let named = Named { name, arguments: Some(Vec::new()) };
    match resolve(client, unit, kind, &named).await? {
        Resolved::At(address) => Ok(Some(address)),
        Resolved::Missing { .. } => Ok(None),
    }
}

/// The parts of a qualified name in SQL's quoting.
fn split(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut inside) = (Vec::new(), String::new(), false);
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if inside && characters.peek() == Some(&'"') => {
                characters.next();
                part.push('"');
            }
            '"' => inside = !inside,
            '.' if !inside => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    parts.push(part);
    parts
}

fn address(row: &Row) -> Option<Address> {
    Some(Address {
        class: catalog::number(row, 0)?,
        object: catalog::number(row, 1)?,
        part: catalog::number(row, 2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_as_they_were_put_together() {
        assert_eq!(split(r#"a."B.""c".d"#), ["a", "B.\"c", "d"]);
        assert_eq!(last_part(r#"a."B.c""#), "B.c");
        assert_eq!(last_part("a.f(pg_catalog.int4)"), "f");
        assert_eq!(last_part(r#""Odd""#), "Odd");
    }
}
