//! Names out of the tree, in SQL's own quoting, so that they mean the same again.

use crate::postgres::quoting::quoted;
use countermand_core::action::Object;
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ObjectType, RangeVar, RoleSpec, RoleSpecType};

/// The database the statement runs in; the text does not know its name.
pub(super) fn this_database() -> Object {
    Object::new("database", "")
}

/// An identifier, quoted unless it is plain lower case.
pub(super) fn ident(name: &str) -> String {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let rest = |c: char| first(c) || c.is_ascii_digit() || c == '$';
    if name.starts_with(first) && name.chars().all(rest) { name.to_owned() } else { quoted(name) }
}

/// Identifiers, as `a.b.c`.
pub(super) fn qualified<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    parts.into_iter().map(ident).collect::<Vec<_>>().join(".")
}

/// The strings of a list of String nodes; what else stands there is left out.
pub(super) fn strings(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().filter_map(string).collect()
}

/// The text of a String node.
pub(super) fn string(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}

/// A relation, qualified as the text has it.
pub(super) fn relation(var: &RangeVar) -> String {
    let parts = [&var.catalogname, &var.schemaname, &var.relname];
    qualified(parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()))
}

/// The parts of a relation's name: its schema, where the text has it, and its own name.
pub(super) fn parts(var: &RangeVar) -> Vec<String> {
    let schema = Some(&var.schemaname).filter(|schema| !schema.is_empty());
    schema.into_iter().chain([&var.relname]).cloned().collect()
}

/// A role; the keywords stand in upper case, which no plain identifier does.
pub(super) fn role(spec: &RoleSpec) -> String {
    match spec.roletype() {
        RoleSpecType::RolespecCstring => ident(&spec.rolename),
        RoleSpecType::RolespecPublic => "PUBLIC".to_owned(),
        RoleSpecType::RolespecSessionUser => "SESSION_USER".to_owned(),
        RoleSpecType::RolespecCurrentRole => "CURRENT_ROLE".to_owned(),
        RoleSpecType::RolespecCurrentUser => "CURRENT_USER".to_owned(),
        RoleSpecType::Undefined => "?".to_owned(),
    }
}

/// The name in any of the forms that DROP, COMMENT, GRANT and the like use.
pub(super) fn any(node: &Node) -> String {
    match &node.node {
        Some(NodeEnum::String(string)) => ident(&string.sval),
        Some(NodeEnum::List(list)) => {
            let parts: Vec<String> = list.items.iter().map(any).collect();
            parts.join(".")
        }
        Some(NodeEnum::TypeName(name)) => qualified(strings(&name.names)),
        Some(NodeEnum::ObjectWithArgs(object)) => qualified(strings(&object.objname)),
        Some(NodeEnum::RangeVar(var)) => relation(var),
        Some(NodeEnum::RoleSpec(spec)) => role(spec),
        Some(NodeEnum::Float(number)) => number.fval.clone(),
        Some(NodeEnum::Integer(number)) => number.ival.to_string(),
        _ => "?".to_owned(),
    }
}

/// PostgreSQL's word for a kind of object.
pub(super) fn kind(object: ObjectType) -> &'static str {
    match object {
        ObjectType::ObjectTable => "table",
        ObjectType::ObjectView => "view",
        ObjectType::ObjectMatview => "materialized view",
        ObjectType::ObjectIndex => "index",
        ObjectType::ObjectSequence => "sequence",
        ObjectType::ObjectForeignTable => "foreign table",
        ObjectType::ObjectSchema => "schema",
        ObjectType::ObjectDatabase => "database",
        ObjectType::ObjectType => "type",
        ObjectType::ObjectDomain | ObjectType::ObjectDomconstraint => "domain",
        ObjectType::ObjectFunction | ObjectType::ObjectRoutine => "function",
        ObjectType::ObjectProcedure => "procedure",
        ObjectType::ObjectAggregate => "aggregate",
        ObjectType::ObjectTrigger => "trigger",
        ObjectType::ObjectEventTrigger => "event trigger",
        ObjectType::ObjectRule => "rule",
        ObjectType::ObjectPolicy => "policy",
        ObjectType::ObjectExtension => "extension",
        ObjectType::ObjectPublication => "publication",
        ObjectType::ObjectSubscription => "subscription",
        ObjectType::ObjectForeignServer => "server",
        ObjectType::ObjectFdw => "foreign data wrapper",
        ObjectType::ObjectUserMapping => "user mapping",
        ObjectType::ObjectRole => "role",
        ObjectType::ObjectTablespace => "tablespace",
        ObjectType::ObjectStatisticExt => "statistics",
        ObjectType::ObjectLargeobject => "large object",
        ObjectType::ObjectColumn | ObjectType::ObjectAttribute => "column",
        ObjectType::ObjectTabconstraint => "constraint",
        ObjectType::ObjectParameterAcl => "setting",
        ObjectType::ObjectLanguage => "language",
        ObjectType::ObjectOperator => "operator",
        ObjectType::ObjectCollation => "collation",
        ObjectType::ObjectCast => "cast",
        _ => "object",
    }
}

/// Hostile text for people's eyes: one line of at most 200 characters, none of which moves the
/// cursor or turns the direction of writing.
pub(super) fn printable(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    text.chars().take(200).map(|c| if plain(c) { c } else { '?' }).collect()
}
