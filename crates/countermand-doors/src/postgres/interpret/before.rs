//! The rows that a statement changes, as a question that can be asked before it runs.
//!
//! Only where the tree shows them plainly: one UPDATE or DELETE of one table, or an upsert of
//! given rows. Of anything else there is no question, and what it changed is not kept.

use super::tree::{Visitor, Walk as _};
use pg_query::protobuf::{
    AConst, AExpr, AExprKind, AStar, BoolExpr, BoolExprType, ColumnRef, DeleteStmt, InsertStmt,
    Integer, LimitOption, LockClauseStrength, LockWaitPolicy, LockingClause, Node,
    OnConflictAction, OnConflictClause, OverridingKind, RangeVar, ResTarget, SelectStmt,
    SetOperation, UpdateStmt, WithClause, a_const,
};
use pg_query::{DeparseOptions, NodeEnum, NodeRef};
use std::collections::BTreeSet;

/// As many rows of an upsert are looked for.
const MOST_UPSERTED: usize = 500;
/// Stands in the question where the most rows go that it may give.
const MOST: i32 = 1_234_567_891;

/// The rows that a statement changes, before it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// The question, with [`MOST`] where its limit goes.
    question: String,
    /// The highest parameter of the statement that it uses, and whether it uses each.
    used: BTreeSet<u32>,
    /// The columns that are set; none where rows go.
    sets: BTreeSet<String>,
}

impl Before {
    /// Locks and gives the rows, each with `tableoid`, `ctid` and `xmin` before its columns; at most
    /// `most`: one more is an error, so that what follows in the same flight does not run. Its
    /// message begins with [`Before::TOO_MANY`].
    pub fn question(&self, most: u64) -> String {
        let limit = most.saturating_add(1).to_string();
        let rows = self.question.replace(&MOST.to_string(), &limit);
        format!(
            "SELECT s.*, CASE WHEN s.countermand_row OPERATOR(pg_catalog.>) {most} THEN \
             pg_catalog.concat('{} ', s.countermand_row)::pg_catalog.int4 END \
             FROM (SELECT i.*, pg_catalog.row_number() OVER () AS countermand_row \
             FROM ({rows}) i) s",
            Self::TOO_MANY
        )
    }

    /// As [`Before::question`], where more rows are no error: one more than `most` are given then.
    pub fn sample(&self, most: u64) -> String {
        let limit = most.saturating_add(1).to_string();
        let rows = self.question.replace(&MOST.to_string(), &limit);
        format!("SELECT s.*, 0 AS countermand_row, NULL::pg_catalog.int4 FROM ({rows}) s")
    }

    /// How the error reads where there are more rows; the server puts it in quotes.
    pub const TOO_MANY: &'static str = "countermand: rows beyond the limit, at row";

    /// The parameters of the statement that the question uses, by number.
    pub fn uses(&self, parameter: u32) -> bool {
        self.used.contains(&parameter)
    }

    /// The highest parameter that the question uses; 0 where it uses none.
    pub fn parameters(&self) -> u32 {
        self.used.last().copied().unwrap_or(0)
    }

    /// The columns that the statement sets.
    pub fn sets(&self) -> &BTreeSet<String> {
        &self.sets
    }
}

/// The question for a statement, if there is one.
pub(super) fn of(node: &Node) -> Option<Before> {
    match &node.node {
        Some(NodeEnum::DeleteStmt(statement)) => delete(statement),
        Some(NodeEnum::UpdateStmt(statement)) => update(statement),
        Some(NodeEnum::InsertStmt(statement)) => upsert(statement),
        _ => None,
    }
}

/// Whether an UPDATE, DELETE or MERGE stands anywhere in it.
pub(super) fn changes(node: &Node) -> bool {
    let mut seen = Seen::default();
    node.walk(&mut seen);
    seen.updates
}

/// As strong as an update that leaves the key: whoever refers to the row does not wait.
const UPDATES: LockClauseStrength = LockClauseStrength::LcsFornokeyupdate;

fn delete(statement: &DeleteStmt) -> Option<Before> {
    let condition = statement.where_clause.as_deref()?;
    let (with, from) = (statement.with_clause.as_ref(), &statement.using_clause);
    let relation = statement.relation.as_ref()?;
    question(relation, from, with, condition.clone(), LockClauseStrength::LcsForupdate)
}

fn update(statement: &UpdateStmt) -> Option<Before> {
    let condition = statement.where_clause.as_deref()?;
    let (with, from) = (statement.with_clause.as_ref(), &statement.from_clause);
    let sets = statement.target_list.iter().map(target).collect::<Option<_>>()?;
    let relation = statement.relation.as_ref()?;
    let asked = question(relation, from, with, condition.clone(), UPDATES)?;
    Some(Before { sets, ..asked })
}

/// `INSERT … VALUES … ON CONFLICT (columns) DO UPDATE`: the rows whose columns are given.
fn upsert(statement: &InsertStmt) -> Option<Before> {
    let conflict = statement.on_conflict_clause.as_deref()?;
    if conflict.action() != OnConflictAction::OnconflictUpdate
        || statement.r#override() == OverridingKind::OverridingUserValue
        || statement.with_clause.is_some()
    {
        return None;
    }
    let given: Vec<String> = statement.cols.iter().map(target).collect::<Option<_>>()?;
    let keys = conflict_columns(conflict)?;
    let Some(NodeEnum::SelectStmt(select)) = &statement.select_stmt.as_deref()?.node else {
        return None;
    };
    if select.values_lists.is_empty() || select.values_lists.len() > MOST_UPSERTED {
        return None;
    }
    let relation = statement.relation.as_ref()?;
    let alias = alias_of(relation);
    let row = |values: &Node| {
        let Some(NodeEnum::List(values)) = &values.node else { return None };
        let equals = |key: &String| {
            let place = given.iter().position(|column| column == key)?;
            let value = values.items.get(place)?;
            let is_default = matches!(value.node, Some(NodeEnum::SetToDefault(_)));
            (!is_default).then(|| equation(&alias, key, value))
        };
        let parts = keys.iter().map(equals).collect::<Option<Vec<_>>>()?;
        Some(junction(BoolExprType::AndExpr, parts))
    };
    let rows = select.values_lists.iter().map(row).collect::<Option<Vec<_>>>()?;
    let condition = junction(BoolExprType::OrExpr, rows);
    let sets = conflict.target_list.iter().map(target).collect::<Option<_>>()?;
    Some(Before { sets, ..question(relation, &[], None, condition, UPDATES)? })
}

fn target(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    }
}

fn conflict_columns(conflict: &OnConflictClause) -> Option<Vec<String>> {
    let infer = conflict.infer.as_deref().filter(|infer| infer.where_clause.is_none())?;
    let column = |node: &Node| match &node.node {
        Some(NodeEnum::IndexElem(element))
            if !element.name.is_empty() && element.collation.is_empty() =>
        {
            Some(element.name.clone())
        }
        _ => None,
    };
    infer.index_elems.iter().map(column).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
}

fn alias_of(relation: &RangeVar) -> String {
    relation.alias.as_ref().map_or(&relation.relname, |alias| &alias.aliasname).clone()
}

fn node(node: NodeEnum) -> Node {
    Node { node: Some(node) }
}

fn text(text: &str) -> Node {
    node(NodeEnum::String(pg_query::protobuf::String { sval: text.to_owned() }))
}

fn column(alias: &str, field: Node) -> Node {
    node(NodeEnum::ColumnRef(ColumnRef { fields: vec![text(alias), field], location: 0 }))
}

fn equation(alias: &str, key: &str, value: &Node) -> Node {
    node(NodeEnum::AExpr(Box::new(AExpr {
        kind: AExprKind::AexprOp.into(),
        name: vec![text("=")],
        lexpr: Some(Box::new(column(alias, text(key)))),
        rexpr: Some(Box::new(value.clone())),
        ..AExpr::default()
    })))
}

fn junction(kind: BoolExprType, mut parts: Vec<Node>) -> Node {
    match parts.len() {
        1 => parts.remove(0),
        _ => node(NodeEnum::BoolExpr(Box::new(BoolExpr {
            boolop: kind.into(),
            args: parts,
            ..BoolExpr::default()
        }))),
    }
}

/// `SELECT t.tableoid, t.ctid, t.xmin, t.* FROM t, from WHERE condition LIMIT n FOR UPDATE OF t`.
fn question(
    relation: &RangeVar,
    from: &[Node],
    with: Option<&WithClause>,
    condition: Node,
    strength: LockClauseStrength,
) -> Option<Before> {
    let alias = alias_of(relation);
    let result = |value: Node| {
        node(NodeEnum::ResTarget(Box::new(ResTarget {
            val: Some(Box::new(value)),
            ..ResTarget::default()
        })))
    };
    let star = node(NodeEnum::AStar(AStar {}));
    let locked = RangeVar {
        relname: alias.clone(),
        inh: true,
        relpersistence: "p".to_owned(),
        ..RangeVar::default()
    };
    let locking = LockingClause {
        locked_rels: vec![node(NodeEnum::RangeVar(locked))],
        strength: strength.into(),
        wait_policy: LockWaitPolicy::LockWaitBlock.into(),
    };
    let mut tables = vec![node(NodeEnum::RangeVar(relation.clone()))];
    tables.extend(from.iter().cloned());
    let mut seen = Seen::default();
    condition.walk(&mut seen);
    from.iter().for_each(|node| node.walk(&mut seen));
    with.into_iter().for_each(|with| with.walk(&mut seen));
    let select = SelectStmt {
        target_list: vec![
            result(column(&alias, text("tableoid"))),
            result(column(&alias, text("ctid"))),
            result(column(&alias, text("xmin"))),
            result(column(&alias, star)),
        ],
        from_clause: tables,
        where_clause: Some(Box::new(condition)),
        with_clause: with.cloned(),
        limit_count: Some(Box::new(integer(MOST))),
        limit_option: LimitOption::Count.into(),
        locking_clause: vec![node(NodeEnum::LockingClause(locking))],
        op: SetOperation::SetopNone.into(),
        ..SelectStmt::default()
    };
    let sql = NodeEnum::SelectStmt(Box::new(select)).deparse(DeparseOptions::default()).ok()?;
    let once = sql.matches(&MOST.to_string()).count() == 1;
    (once && !seen.changes).then(|| Before {
        question: sql,
        used: seen.parameters,
        sets: BTreeSet::new(),
    })
}

fn integer(value: i32) -> Node {
    let val = Some(a_const::Val::Ival(Integer { ival: value }));
    node(NodeEnum::AConst(AConst { isnull: false, location: 0, val }))
}

/// What stands in a condition.
#[derive(Default)]
struct Seen {
    parameters: BTreeSet<u32>,
    /// Something in it changes rows itself, or cannot be asked again.
    changes: bool,
    /// Something in it changes rows that are there.
    updates: bool,
}

impl Visitor for Seen {
    fn enter(&mut self, node: NodeRef<'_>) {
        match node {
            NodeRef::ParamRef(parameter) => match u32::try_from(parameter.number) {
                Ok(number) if number > 0 => drop(self.parameters.insert(number)),
                _ => self.changes = true,
            },
            NodeRef::InsertStmt(_) | NodeRef::CurrentOfExpr(_) => self.changes = true,
            NodeRef::UpdateStmt(_) | NodeRef::DeleteStmt(_) | NodeRef::MergeStmt(_) => {
                (self.changes, self.updates) = (true, true);
            }
            _ => {}
        }
    }

    fn leave(&mut self, _: NodeRef<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, interpret};
    use super::Before;

    fn before(sql: &str) -> Option<Before> {
        interpret(sql, Settings::default()).statements.remove(0).before
    }

    #[test]
    fn the_question_has_the_statements_own_condition() {
        let cases = [
            (
                "DELETE FROM shop.t AS x WHERE x.a = $2 AND b IN ('it''s', $1)",
                "SELECT x.tableoid, x.ctid, x.xmin, x.* FROM shop.t x WHERE x.a = $2 AND \
                 b IN ('it''s', $1) LIMIT 1234567891 FOR UPDATE OF x",
            ),
            (
                "UPDATE ONLY \"T\" SET a = a + $1, b = 2 WHERE c > now()",
                "SELECT \"T\".tableoid, \"T\".ctid, \"T\".xmin, \"T\".* FROM ONLY \"T\" WHERE c > now() \
                 LIMIT 1234567891 FOR NO KEY UPDATE OF \"T\"",
            ),
            (
                "UPDATE t SET a = u.a FROM u WHERE t.id = u.id",
                "SELECT t.tableoid, t.ctid, t.xmin, t.* FROM t, u WHERE t.id = u.id \
                 LIMIT 1234567891 FOR NO KEY UPDATE OF t",
            ),
            (
                "INSERT INTO t (id, n, v) VALUES ($1, 1, 2), (4, $2, DEFAULT) \
                 ON CONFLICT (id, n) DO UPDATE SET v = excluded.v",
                "SELECT t.tableoid, t.ctid, t.xmin, t.* FROM t WHERE (t.id = $1 AND t.n = 1) OR \
                 (t.id = 4 AND t.n = $2) LIMIT 1234567891 FOR NO KEY UPDATE OF t",
            ),
        ];
        for (sql, question) in cases {
            let before = before(sql).unwrap_or_else(|| panic!("{sql}"));
            assert_eq!(before.question, question, "{sql}");
        }
    }

    #[test]
    fn where_the_rows_cannot_be_told_there_is_no_question() {
        for sql in [
            "DELETE FROM t",
            "UPDATE t SET a = 1",
            "DELETE FROM t WHERE CURRENT OF c",
            "WITH d AS (DELETE FROM u WHERE a = 1 RETURNING *) DELETE FROM t WHERE a IN (SELECT a FROM d)",
            "INSERT INTO t (id) SELECT 1 ON CONFLICT (id) DO UPDATE SET id = 2",
            "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 2",
            "INSERT INTO t (id) VALUES (DEFAULT) ON CONFLICT (id) DO UPDATE SET v = 2",
            "INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT k DO UPDATE SET v = 2",
            "INSERT INTO t (id) VALUES (1) ON CONFLICT ((lower(id))) DO UPDATE SET v = 2",
            "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
            "DELETE FROM t WHERE a = 1234567891",
            "SELECT 1",
        ] {
            assert_eq!(before(sql), None, "{sql}");
        }
    }

    #[test]
    fn its_parameters_and_columns_are_known() {
        let before = before("UPDATE t SET (a, b) = ($1, $2), c[1] = 3 WHERE d = $4").unwrap();
        assert_eq!((before.parameters(), before.uses(1), before.uses(4)), (4, false, true));
        let sets: Vec<_> = before.sets().iter().map(String::as_str).collect();
        assert_eq!(sets, ["a", "b", "c"]);
    }
}
