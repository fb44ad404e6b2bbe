//! Statements that add or lock as many rows as a query finds: how many is not in their text.

use pg_query::protobuf::{InsertStmt, Node};
use pg_query::{NodeEnum, NodeRef};

use super::tree::{Visitor, Walk as _};

/// Whether it is one, of a kind that the server can be asked to plan alone.
pub(super) fn is(node: &Node) -> bool {
    let planned = matches!(
        node.node,
        Some(
            NodeEnum::SelectStmt(_)
                | NodeEnum::InsertStmt(_)
                | NodeEnum::UpdateStmt(_)
                | NodeEnum::DeleteStmt(_)
                | NodeEnum::DeclareCursorStmt(_)
        )
    );
    let mut found = Found(false);
    if planned {
        node.walk(&mut found);
    }
    found.0
}

struct Found(bool);

impl Visitor for Found {
    fn enter(&mut self, node: NodeRef<'_>) {
        self.0 |= match node {
            NodeRef::LockingClause(_) => true,
            NodeRef::InsertStmt(stmt) => adds_what_is_found(stmt),
            _ => false,
        };
    }

    fn leave(&mut self, _: NodeRef<'_>) {}
}

/// `INSERT … SELECT`; `VALUES` holds its rows itself.
fn adds_what_is_found(stmt: &InsertStmt) -> bool {
    let rows = stmt.select_stmt.as_ref().and_then(|rows| rows.node.as_ref());
    rows.is_some_and(
        |rows| !matches!(rows, NodeEnum::SelectStmt(select) if !select.values_lists.is_empty()),
    )
}
