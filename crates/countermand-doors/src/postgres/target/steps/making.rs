//! Names that a statement makes: what later statements of the unit do to them loses nothing.

use super::{Name, name, strings};
use pg_query::protobuf::node::Node as NodeEnum;
use pg_query::protobuf::{Node, RangeVar};

/// The names that a statement makes.
pub(super) fn made(node: &NodeEnum) -> Vec<Name> {
    match node {
        NodeEnum::CreateStmt(s) => of(s.relation.as_ref()),
        NodeEnum::CreateForeignTableStmt(s) => {
            of(s.base_stmt.as_ref().and_then(|base| base.relation.as_ref()))
        }
        NodeEnum::CreateTableAsStmt(s) => of(s.into.as_ref().and_then(|into| into.rel.as_ref())),
        NodeEnum::SelectStmt(s) => of(s.into_clause.as_ref().and_then(|into| into.rel.as_ref())),
        NodeEnum::ViewStmt(s) => of(s.view.as_ref()),
        NodeEnum::CreateSeqStmt(s) => of(s.sequence.as_ref()),
        NodeEnum::CompositeTypeStmt(s) => of(s.typevar.as_ref()),
        NodeEnum::CreateEnumStmt(s) => listed(&s.type_name),
        NodeEnum::CreateRangeStmt(s) => listed(&s.type_name),
        NodeEnum::CreateDomainStmt(s) => listed(&s.domainname),
        NodeEnum::CreateFunctionStmt(s) => listed(&s.funcname),
        NodeEnum::CreateTrigStmt(s) => bare(&s.trigname),
        NodeEnum::IndexStmt(s) => bare(&s.idxname),
        NodeEnum::RenameStmt(s) => bare(&s.newname),
        NodeEnum::CreateSchemaStmt(s) => {
            let mut names = bare(&s.schemaname);
            let elements = s.schema_elts.iter().filter_map(|element| element.node.as_ref());
            names.extend(elements.flat_map(made));
            names
        }
        _ => Vec::new(),
    }
}

fn of(relation: Option<&RangeVar>) -> Vec<Name> {
    relation.map(name).into_iter().collect()
}

fn bare(name: &str) -> Vec<Name> {
    vec![Name { schema: None, name: name.to_owned() }]
}

fn listed(parts: &[Node]) -> Vec<Name> {
    let mut parts = strings(parts);
    let Some(name) = parts.pop() else { return Vec::new() };
    vec![Name { schema: parts.pop(), name }]
}
