//! `CREATE … IF NOT EXISTS`: what it would create, and the question whether that is there. Where
//! it is, the statement does nothing; migration tools send it at every start.

use pg_query::NodeEnum;
use pg_query::protobuf::{CreateSchemaStmt, CreateStmt, Node};

/// What a statement creates where it is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creates {
    /// A schema.
    Schema(String),
    /// A table; without a schema, in the first of the search path.
    Table {
        /// Its schema.
        schema: Option<String>,
        /// Its name.
        name: String,
    },
}

/// Of a statement's tree. None where it would create in any case, or is not plain.
pub(super) fn of(node: &Node) -> Option<Creates> {
    match node.node.as_ref()? {
        NodeEnum::CreateSchemaStmt(stmt) => schema(stmt),
        NodeEnum::CreateStmt(stmt) => table(stmt),
        _ => None,
    }
}

fn schema(stmt: &CreateSchemaStmt) -> Option<Creates> {
    let plain = stmt.if_not_exists && stmt.authrole.is_none() && stmt.schema_elts.is_empty();
    plain.then(|| word(&stmt.schemaname))?.map(Creates::Schema)
}

fn table(stmt: &CreateStmt) -> Option<Creates> {
    let relation = stmt.relation.as_ref().filter(|_| stmt.if_not_exists)?;
    if relation.relpersistence != "p" || !relation.catalogname.is_empty() {
        return None;
    }
    let schema = match relation.schemaname.as_str() {
        "" => None,
        name => Some(word(name)?),
    };
    Some(Creates::Table { schema, name: word(&relation.relname)? })
}

/// A name that stands in a question of ours as it is: nothing in it could end a literal.
fn word(name: &str) -> Option<String> {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

impl Creates {
    /// Whether it is there, as one row with one boolean.
    pub(in crate::postgres) fn question(&self) -> String {
        let (name, schema) = match self {
            Creates::Schema(name) => {
                return format!(
                    "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n \
                     WHERE n.nspname OPERATOR(pg_catalog.=) '{name}')"
                );
            }
            Creates::Table { schema: None, name } => (name, "pg_catalog.current_schema()".into()),
            Creates::Table { schema: Some(schema), name } => (name, format!("'{schema}'")),
        };
        format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
             ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
             WHERE c.relname OPERATOR(pg_catalog.=) '{name}' \
             AND n.nspname OPERATOR(pg_catalog.=) {schema})"
        )
    }

    /// SQLSTATE and words of the notice that the server gives where it is there.
    pub(in crate::postgres) fn notice(&self) -> (&'static str, String) {
        match self {
            Creates::Schema(name) => {
                ("42P06", format!("schema \"{name}\" already exists, skipping"))
            }
            Creates::Table { name, .. } => {
                ("42P07", format!("relation \"{name}\" already exists, skipping"))
            }
        }
    }

    /// The command tag.
    pub(in crate::postgres) fn tag(&self) -> &'static str {
        match self {
            Creates::Schema(_) => "CREATE SCHEMA",
            Creates::Table { .. } => "CREATE TABLE",
        }
    }
}
