//! Statements that delete or change rows, and the condition under which they do.

use super::{Name, Step, name};
use pg_query::protobuf::node::Node as NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, CmdType, DeleteStmt, LimitOption, MergeStmt, Node,
    OnConflictAction, RangeVar, SelectStmt, SetOperation, UpdateStmt,
};
use pg_query::{DeparseOptions, NodeRef};
use std::collections::BTreeSet;

/// What becomes of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Change {
    /// They go.
    Delete,
    /// They change.
    Update,
    /// Some go, others change.
    Merge,
}

/// A statement that deletes or changes rows of one table (and its descendants).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct RowStep {
    /// What becomes of them.
    pub(in super::super) change: Change,
    /// The table it names.
    pub(in super::super) table: Name,
    /// Whether its descendants are meant too.
    pub(in super::super) inherit: bool,
    /// Which rows, where a query of one table can tell; none: any of them.
    pub(in super::super) matching: Option<Matching>,
    /// Whether it has no condition: every row.
    pub(in super::super) every: bool,
    /// The columns that an UPDATE sets; none: any.
    pub(in super::super) sets: Option<BTreeSet<String>>,
}

/// The condition of a statement on one table, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Matching {
    /// What the condition calls the table.
    pub(in super::super) alias: String,
    /// The condition.
    pub(in super::super) condition: String,
    /// The statement in the unit whose parameters it uses.
    pub(in super::super) statement: usize,
    /// Columns that the condition equates with values: all of a key's are among them where it
    /// names its rows by key.
    pub(in super::super) equated: BTreeSet<String>,
}

impl RowStep {
    /// Any row of this table.
    pub(super) fn all(change: Change, table: &RangeVar) -> RowStep {
        RowStep {
            change,
            table: name(table),
            inherit: table.inh,
            matching: None,
            every: false,
            sets: None,
        }
    }
}

pub(super) fn deleted(statement: &DeleteStmt, table: &RangeVar, index: usize) -> RowStep {
    let single = statement.using_clause.is_empty() && statement.with_clause.is_none();
    let condition = statement.where_clause.as_deref().filter(|_| single);
    let matching = condition.and_then(|condition| matching(table, condition, index));
    let every = single && statement.where_clause.is_none();
    RowStep { matching, every, ..RowStep::all(Change::Delete, table) }
}

pub(super) fn updated(statement: &UpdateStmt, table: &RangeVar, index: usize) -> RowStep {
    let single = statement.from_clause.is_empty() && statement.with_clause.is_none();
    let condition = statement.where_clause.as_deref().filter(|_| single);
    let matching = condition.and_then(|condition| matching(table, condition, index));
    let set = |node: &Node| match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    };
    let sets = statement.target_list.iter().map(set).collect();
    let every = single && statement.where_clause.is_none();
    RowStep { matching, every, sets, ..RowStep::all(Change::Update, table) }
}

fn merged(statement: &MergeStmt) -> Option<RowStep> {
    let command = |node: &Node| match &node.node {
        Some(NodeEnum::MergeWhenClause(when)) => Some(when.command_type()),
        _ => None,
    };
    let commands: Vec<CmdType> = statement.merge_when_clauses.iter().filter_map(command).collect();
    let has = |wanted| commands.contains(&wanted);
    let change = match (has(CmdType::CmdDelete), has(CmdType::CmdUpdate)) {
        (true, false) => Change::Delete,
        (false, true) => Change::Update,
        (true, true) => Change::Merge,
        (false, false) => return None,
    };
    Some(RowStep::all(change, statement.relation.as_ref()?))
}

/// The statements inside of another one (`WITH`, `EXPLAIN ANALYZE`, `COPY (…)`, `MERGE`): any
/// row of their tables.
pub(super) fn hidden(node: &NodeEnum) -> Vec<Step> {
    node.nodes().into_iter().filter_map(|(node, ..)| row_step(&node)).map(Step::Rows).collect()
}

/// As [`hidden`], without the statement itself.
pub(super) fn within(node: &NodeEnum) -> Vec<Step> {
    let inner = node.nodes().into_iter().skip(1);
    inner.filter_map(|(node, ..)| row_step(&node)).map(Step::Rows).collect()
}

fn row_step(node: &NodeRef<'_>) -> Option<RowStep> {
    match node {
        NodeRef::DeleteStmt(s) => Some(RowStep::all(Change::Delete, s.relation.as_ref()?)),
        NodeRef::UpdateStmt(s) => Some(RowStep::all(Change::Update, s.relation.as_ref()?)),
        NodeRef::MergeStmt(s) => merged(s),
        NodeRef::InsertStmt(s) => {
            let action = s.on_conflict_clause.as_ref()?.action();
            let table = s.relation.as_ref()?;
            (action == OnConflictAction::OnconflictUpdate)
                .then(|| RowStep::all(Change::Update, table))
        }
        _ => None,
    }
}

fn matching(table: &RangeVar, condition: &Node, statement: usize) -> Option<Matching> {
    let alias = table.alias.as_ref().map_or(&table.relname, |alias| &alias.aliasname).clone();
    let mut equated = BTreeSet::new();
    equations(condition, &mut equated);
    Some(Matching { alias, condition: text(condition)?, statement, equated })
}

/// A condition as text: what a question of one table has more when it has the condition.
fn text(condition: &Node) -> Option<String> {
    let question = |condition: Option<&Node>| {
        let select = SelectStmt {
            from_clause: vec![Node {
                node: Some(NodeEnum::RangeVar(RangeVar {
                    relname: "t".to_owned(),
                    inh: true,
                    relpersistence: "p".to_owned(),
                    ..RangeVar::default()
                })),
            }],
            where_clause: condition.map(|condition| Box::new(condition.clone())),
            limit_option: LimitOption::Default.into(),
            op: SetOperation::SetopNone.into(),
            ..SelectStmt::default()
        };
        NodeEnum::SelectStmt(Box::new(select)).deparse(DeparseOptions::default()).ok()
    };
    let (bare, full) = (question(None)?, question(Some(condition))?);
    let rest = full.strip_prefix(&bare)?.trim_start();
    rest.strip_prefix("WHERE").map(|text| text.trim().to_owned())
}

/// The columns that a conjunction equates with values.
fn equations(node: &Node, equated: &mut BTreeSet<String>) {
    match &node.node {
        Some(NodeEnum::BoolExpr(all)) if all.boolop() == BoolExprType::AndExpr => {
            all.args.iter().for_each(|part| equations(part, equated));
        }
        Some(NodeEnum::AExpr(expression)) => equated.extend(equation(expression)),
        _ => {}
    }
}

fn equation(expression: &AExpr) -> Option<String> {
    let equals = match expression.name.as_slice() {
        [Node { node: Some(NodeEnum::String(operator)) }] => operator.sval == "=",
        _ => false,
    };
    let (left, right) = (expression.lexpr.as_deref()?, expression.rexpr.as_deref()?);
    if !equals || !matches!(expression.kind(), AExprKind::AexprOp | AExprKind::AexprIn) {
        return None;
    }
    match (column(left), column(right)) {
        (Some(name), None) if is_value(right) => Some(name),
        (None, Some(name)) if is_value(left) => Some(name),
        _ => None,
    }
}

fn column(node: &Node) -> Option<String> {
    let Some(NodeEnum::ColumnRef(reference)) = &node.node else { return None };
    match &reference.fields.last()?.node {
        Some(NodeEnum::String(name)) => Some(name.sval.clone()),
        _ => None,
    }
}

fn is_value(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_value),
        Some(NodeEnum::List(list)) => list.items.iter().all(is_value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use crate::postgres::unit::{Unit, UnitStatement};

    async fn step(sql: &str) -> super::RowStep {
        let statements = vec![UnitStatement::new(sql, vec![])];
        let unit = Unit { statements, ..Unit::default() };
        match super::super::of(&unit).await.unwrap().pop() {
            Some(Step::Rows(step)) => step,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_condition_on_one_table_is_its_own_text() {
        let step =
            step("DELETE FROM shop.t AS x WHERE x.a = 1 AND b IN ($1, 'it''s') AND c > 2").await;
        let matching = step.matching.unwrap();
        assert_eq!(matching.alias, "x");
        assert_eq!(matching.condition, "x.a = 1 AND b IN ($1, 'it''s') AND c > 2");
        assert_eq!(matching.equated, ["a", "b"].map(str::to_owned).into());
    }

    #[tokio::test]
    async fn what_more_than_one_table_decides_may_be_any_row() {
        for sql in [
            "DELETE FROM t USING u WHERE t.a = u.a",
            "WITH u AS (SELECT 1) DELETE FROM t WHERE a IN (SELECT * FROM u)",
            "DELETE FROM t",
            "WITH d AS (DELETE FROM t WHERE a = 1 RETURNING *) SELECT * FROM d",
            "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
            "EXPLAIN ANALYZE DELETE FROM t WHERE a = 1",
        ] {
            let step = step(sql).await;
            assert_eq!((step.matching, step.table.name.as_str()), (None, "t"), "{sql}");
        }
    }

    #[tokio::test]
    async fn or_and_not_name_no_row_by_key() {
        for condition in ["a = 1 OR b = 2", "NOT a = 1", "a = b", "a <> 1"] {
            let step = step(&format!("DELETE FROM t WHERE {condition}")).await;
            assert!(step.matching.unwrap().equated.is_empty(), "{condition}");
        }
    }
}
