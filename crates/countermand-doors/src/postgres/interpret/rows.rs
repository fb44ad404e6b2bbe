//! Statements about rows, and what expressions do: calls, operators, locks.

use countermand_core::verb::{Verb, postgres as verb};
use pg_query::protobuf::{
    AConst, CmdType, CopyStmt, DeleteStmt, ExplainStmt, FuncCall, InsertStmt, LockStmt,
    MergeMatchKind, MergeStmt, Node, OnConflictAction, UpdateStmt, a_const,
};
use pg_query::{NodeEnum, NodeRef};

use super::functions::{self, Call};
use super::survey::Survey;
use super::tree::{Visitor, Walk};
use super::{CopyDirection, name};

/// What a statement does only when it runs, so that EXPLAIN leaves it undone.
pub(super) const RUN_ONLY: &[Verb] = &[
    verb::CREATE_MATERIALIZED_VIEW,
    verb::CREATE_TABLE,
    verb::DECLARE_CURSOR,
    verb::DELETE,
    verb::DELETE_ALL,
    verb::INSERT,
    verb::LOCK_ROWS,
    verb::MERGE_DELETE,
    verb::REFRESH_MATERIALIZED_VIEW,
    verb::UPDATE,
    verb::UPDATE_ALL,
];

/// Takes in a node, if it is one of these.
pub(super) fn enter(survey: &mut Survey, node: NodeRef<'_>) -> bool {
    match node {
        NodeRef::InsertStmt(stmt) => insert(survey, stmt),
        NodeRef::UpdateStmt(stmt) => update(survey, stmt),
        NodeRef::DeleteStmt(stmt) => delete(survey, stmt),
        NodeRef::MergeStmt(stmt) => merge(survey, stmt),
        NodeRef::CopyStmt(stmt) => copy(survey, stmt),
        NodeRef::TruncateStmt(stmt) => each(survey, verb::TRUNCATE, &stmt.relations),
        NodeRef::LockStmt(stmt) => lock(survey, stmt),
        NodeRef::LockingClause(clause) => {
            survey.act_here(verb::LOCK_ROWS);
            survey.are_aliases(&clause.locked_rels);
        }
        NodeRef::ExplainStmt(stmt) => explain(survey, stmt),
        NodeRef::NotifyStmt(stmt) => survey.act(verb::NOTIFY, "channel", &stmt.conditionname),
        NodeRef::FuncCall(call) => function(survey, call),
        NodeRef::AExpr(expression) => operator(survey, &expression.name),
        NodeRef::SubLink(link) => operator(survey, &link.oper_name),
        NodeRef::SortBy(sort) => operator(survey, &sort.use_op),
        NodeRef::RangeTableSample(sample) => sampling(survey, &sample.method),
        NodeRef::DoStmt(_) => survey.act_here(verb::DO),
        NodeRef::CallStmt(call) => {
            let name = call.funccall.as_ref().map(|call| name::strings(&call.funcname));
            survey.act(verb::CALL, "procedure", name::qualified(name.unwrap_or_default()));
        }
        _ => return false,
    }
    true
}

fn insert(survey: &mut Survey, stmt: &InsertStmt) {
    survey.act_on(verb::INSERT, "table", stmt.relation.as_ref());
    if stmt.returning_clause.is_some() {
        survey.act_on(verb::SELECT, "table", stmt.relation.as_ref());
    }
    let Some(conflict) = &stmt.on_conflict_clause else { return };
    // The rows that the key names: no more than are inserted.
    if conflict.action() == OnConflictAction::OnconflictUpdate {
        survey.act_on(verb::UPDATE, "table", stmt.relation.as_ref());
    }
}

fn update(survey: &mut Survey, stmt: &UpdateStmt) {
    let verb = match is_condition(stmt.where_clause.as_deref()) {
        true => verb::UPDATE,
        false => {
            survey.because("UPDATE without a condition on rows changes every row");
            verb::UPDATE_ALL
        }
    };
    survey.act_on(verb, "table", stmt.relation.as_ref());
    if stmt.returning_clause.is_some() {
        survey.act_on(verb::SELECT, "table", stmt.relation.as_ref());
    }
}

fn delete(survey: &mut Survey, stmt: &DeleteStmt) {
    let verb = match is_condition(stmt.where_clause.as_deref()) {
        true => verb::DELETE,
        false => {
            survey.because("DELETE without a condition on rows removes every row");
            verb::DELETE_ALL
        }
    };
    survey.act_on(verb, "table", stmt.relation.as_ref());
    if stmt.returning_clause.is_some() {
        survey.act_on(verb::SELECT, "table", stmt.relation.as_ref());
    }
}

fn merge(survey: &mut Survey, stmt: &MergeStmt) {
    let whens = stmt.merge_when_clauses.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::MergeWhenClause(when)) => Some(when),
        _ => None,
    });
    for when in whens {
        let unmatched = when.match_kind() == MergeMatchKind::MergeWhenNotMatchedBySource;
        let verb = match when.command_type() {
            CmdType::CmdInsert => verb::INSERT,
            CmdType::CmdUpdate if unmatched && when.condition.is_none() => verb::UPDATE_ALL,
            CmdType::CmdUpdate => verb::UPDATE,
            CmdType::CmdDelete => verb::MERGE_DELETE,
            CmdType::CmdNothing => verb::SELECT,
            _ => verb::NOT_UNDERSTOOD,
        };
        survey.act_on(verb, "table", stmt.relation.as_ref());
    }
    if stmt.returning_clause.is_some() {
        survey.act_on(verb::SELECT, "table", stmt.relation.as_ref());
    }
}

/// COPY of a query holds a SELECT or a statement with RETURNING, which is seen on its own.
fn copy(survey: &mut Survey, stmt: &CopyStmt) {
    if stmt.relation.is_some() {
        let verb = if stmt.is_from { verb::INSERT } else { verb::SELECT };
        survey.act_on(verb, "table", stmt.relation.as_ref());
    }
    match (stmt.is_program, stmt.filename.is_empty()) {
        (true, _) => survey.act(verb::COPY_SERVER_PROGRAM, "program", &stmt.filename),
        (false, false) => survey.act(verb::COPY_SERVER_FILE, "file", &stmt.filename),
        (false, true) if stmt.is_from => survey.copies(CopyDirection::In),
        (false, true) => survey.copies(CopyDirection::Out),
    }
}

/// One action per relation of a list of them.
pub(super) fn each(survey: &mut Survey, verb: Verb, relations: &[Node]) {
    for relation in relations {
        match &relation.node {
            Some(NodeEnum::RangeVar(var)) => survey.act_on(verb, "table", Some(var)),
            _ => survey.not_understood("a relation has an unknown form"),
        }
    }
}

/// Lock modes as the server's `lockdefs.h` numbers them: 1 is what SELECT takes, 2 and 3 are
/// those of SELECT FOR UPDATE and of writers; the others stand in somebody's way.
fn lock(survey: &mut Survey, stmt: &LockStmt) {
    let verb = match stmt.mode {
        1 => verb::SELECT,
        2 | 3 => verb::LOCK_ROWS,
        _ => verb::LOCK_TABLE,
    };
    each(survey, verb, &stmt.relations);
}

fn explain(survey: &mut Survey, stmt: &ExplainStmt) {
    if is_on(&stmt.options, "analyze") {
        survey.because("EXPLAIN ANALYZE runs the statement");
    } else {
        survey.act_here(verb::EXPLAIN);
        survey.is_only_planned();
    }
}

/// Whether an option of this name is given and not plainly off.
pub(super) fn is_on(options: &[Node], option: &str) -> bool {
    options.iter().any(|node| match &node.node {
        Some(NodeEnum::DefElem(given)) if given.defname.eq_ignore_ascii_case(option) => {
            !given.arg.as_deref().is_some_and(is_off)
        }
        _ => false,
    })
}

fn is_off(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::String(text)) => {
            ["off", "false"].iter().any(|off| text.sval.eq_ignore_ascii_case(off))
        }
        Some(NodeEnum::Integer(number)) => number.ival == 0,
        Some(NodeEnum::Boolean(value)) => !value.boolval,
        _ => false,
    }
}

fn function(survey: &mut Survey, call: &FuncCall) {
    let parts = name::strings(&call.funcname);
    let name = name::qualified(parts.iter().copied());
    match functions::call(&parts) {
        Call::Harmless => {}
        // Alone in a SELECT it was read as SET, before the walk.
        Call::SetConfig => {
            survey.act(verb::SET_UNLISTED, "function", &name);
            survey.because(
                "`set_config` is understood only as `SELECT set_config('name', 'value', local)`",
            );
        }
        Call::Known(known) => {
            let sequence = [verb::ADVANCE_SEQUENCE, verb::SET_SEQUENCE].contains(&known.verb);
            match call.args.first().and_then(literal).filter(|_| sequence) {
                Some(sequence) => survey.act(known.verb, "sequence", sequence),
                None => survey.act(known.verb, "function", &name),
            }
            survey.because(format!("`{name}` {}", known.verb.doc()));
            if known.lasting {
                survey.lasts();
            }
        }
        Call::Unknown => {
            survey.act(verb::CALL_FUNCTION, "function", &name);
            survey.because(format!("unknown function `{name}`"));
        }
    }
}

/// A string constant, also behind a cast: `'orders_id_seq'::regclass`.
fn literal(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::AConst(AConst { val: Some(a_const::Val::Sval(text)), .. })) => {
            Some(&text.sval)
        }
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().and_then(literal),
        _ => None,
    }
}

/// An empty name is no operator: the grammar leaves it out for IN and plain ORDER BY.
fn operator(survey: &mut Survey, parts: &[Node]) {
    let parts = name::strings(parts);
    if !parts.is_empty() && !functions::is_harmless_operator(&parts) {
        let name = parts.join(".");
        survey.because(format!("unknown operator `{name}`"));
        survey.act(verb::CALL_FUNCTION, "operator", name);
    }
}

fn sampling(survey: &mut Survey, method: &[Node]) {
    let parts = name::strings(method);
    if !functions::is_harmless_sample(&parts) {
        let name = name::qualified(parts);
        survey.because(format!("unknown sampling method `{name}`"));
        survey.act(verb::CALL_FUNCTION, "function", name);
    }
}

/// Whether a WHERE clause can tell one row from another: `WHERE true` cannot.
fn is_condition(clause: Option<&Node>) -> bool {
    struct NamesColumns(bool);
    impl Visitor for NamesColumns {
        fn enter(&mut self, node: NodeRef<'_>) {
            self.0 |= matches!(node, NodeRef::ColumnRef(_) | NodeRef::CurrentOfExpr(_));
        }
        fn leave(&mut self, _: NodeRef<'_>) {}
    }
    let mut names = NamesColumns(false);
    if let Some(clause) = clause {
        clause.walk(&mut names);
    }
    names.0
}
