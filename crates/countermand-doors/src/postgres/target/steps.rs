//! What a unit's statements do to which names, as far as losing and changing goes: the plan that a
//! preview walks. What a text hides from here shows when it runs, and aborts the run.

use super::super::quoting::quoted;
use super::super::unit::Unit;
use pg_query::protobuf::{
    AlterTableStmt, AlterTableType, DeleteStmt, DropBehavior, DropStmt, InsertStmt, Node,
    ObjectType, ObjectWithArgs, OnConflictAction, RangeVar, RawStmt, TruncateStmt, TypeName,
    UpdateStmt,
};
use pg_query::{NodeEnum, ParserOptions};

mod making;
mod rows;

pub(super) use rows::{Change, Matching, RowStep};

/// Address space of the parsing thread's stack: the tree of a text is as deep as its nesting.
const STACK: usize = 512 * 1024 * 1024;

/// A name as a statement has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// The schema, where it is given.
    pub(super) schema: Option<String>,
    /// The name in it.
    pub(super) name: String,
}

/// One thing that a unit does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Drops an object.
    Drop(DropStep),
    /// Removes all rows.
    Truncate {
        /// Which tables, with whether their descendants are meant too.
        tables: Vec<(Name, bool)>,
        /// Also those that refer to them.
        cascade: bool,
        /// Also their sequences' positions.
        restart: bool,
    },
    /// Deletes or changes rows.
    Rows(RowStep),
    /// Changes a relation's definition.
    Alter {
        /// Which.
        relation: Name,
        /// Whether it need not exist.
        missing_ok: bool,
        /// Columns and constraints that go.
        drops: Vec<Part>,
        /// Whether values are written anew or thrown away.
        rewrites: bool,
    },
    /// Makes something of this name; what later statements do to it loses nothing.
    Make(Name),
}

/// What DROP names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DropStep {
    /// The kind, as `pg_get_object_address` calls it.
    pub(super) kind: &'static str,
    /// The objects.
    pub(super) objects: Vec<Named>,
    /// Whether they need not exist.
    pub(super) missing_ok: bool,
    /// Whether what depends on them goes too.
    pub(super) cascade: bool,
}

/// An object as DROP names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The parts of its name.
    pub(super) name: Vec<String>,
    /// The types of its arguments, for a routine; none where they are not given.
    pub(super) arguments: Option<Vec<String>>,
}

/// A part of a table that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// `column` or `constraint`.
    pub(super) kind: &'static str,
    /// Its name.
    pub(super) name: String,
    /// Whether it need not exist.
    pub(super) missing_ok: bool,
}

/// What a unit does, in order.
///
/// # Errors
/// In words, where it cannot be measured.
pub(super) async fn of(unit: &Unit) -> Result<Vec<Step>, String> {
    let texts: Vec<String> = unit.statements.iter().map(|s| s.sql.clone()).collect();
    let standard = unit.settings.get("standard_conforming_strings").is_none_or(|on| on != "off");
    let (reply, answer) = tokio::sync::oneshot::channel();
    let read = move || {
        let steps: Result<Vec<Vec<Step>>, String> = (texts.iter().enumerate())
            .map(|(index, text)| read_statement(text, index, standard))
            .collect();
        let _ = reply.send(steps.map(|steps| steps.concat()));
    };
    let spawned =
        std::thread::Builder::new().name("read-unit".into()).stack_size(STACK).spawn(read);
    spawned.map_err(|error| format!("cannot start a thread to read the statements: {error}"))?;
    answer.await.map_err(|_| "the parser failed on this unit".to_owned())?
}

fn read_statement(text: &str, index: usize, standard: bool) -> Result<Vec<Step>, String> {
    let options = match standard {
        true => ParserOptions::DEFAULT,
        false => ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS,
    };
    let parsed = pg_query::parse(text, options).map_err(|error| error.to_string())?;
    let each = parsed.protobuf.stmts.iter().map(|raw| steps(raw, index));
    Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
}

fn steps(raw: &RawStmt, index: usize) -> Result<Vec<Step>, String> {
    let Some(node) = raw.stmt.as_ref().and_then(|node| node.node.as_ref()) else {
        return Ok(Vec::new());
    };
    match node {
        NodeEnum::ExecuteStmt(_) => {
            Err("what EXECUTE runs cannot be measured: send the statement \
                                         itself"
                .to_owned())
        }
        NodeEnum::DropStmt(statement) => drops(statement),
        NodeEnum::TruncateStmt(statement) => Ok(vec![truncate(statement)]),
        NodeEnum::DeleteStmt(statement) => Ok(deletes(statement, node, index)),
        NodeEnum::UpdateStmt(statement) => Ok(updates(statement, node, index)),
        NodeEnum::InsertStmt(statement) => Ok(inserts(statement, node)),
        NodeEnum::AlterTableStmt(statement) => Ok(alter(statement).into_iter().collect()),
        _ => {
            let mut steps = rows::hidden(node);
            steps.extend(making::made(node).into_iter().map(Step::Make));
            Ok(steps)
        }
    }
}

fn drops(statement: &DropStmt) -> Result<Vec<Step>, String> {
    if statement.concurrent {
        return Err("DROP INDEX CONCURRENTLY cannot run in a transaction".to_owned());
    }
    let kind = droppable(statement.remove_type()).ok_or_else(|| {
        let kind = statement.remove_type().as_str_name();
        format!("what DROP of `{kind}` takes with it cannot be measured")
    })?;
    Ok(vec![Step::Drop(DropStep {
        kind,
        objects: statement.objects.iter().map(dropped_name).collect(),
        missing_ok: statement.missing_ok,
        cascade: statement.behavior() == DropBehavior::DropCascade,
    })])
}

/// PostgreSQL's word for what can be dropped and brought back, or at least measured.
fn droppable(object: ObjectType) -> Option<&'static str> {
    Some(match object {
        ObjectType::ObjectTable => "table",
        ObjectType::ObjectView => "view",
        ObjectType::ObjectMatview => "materialized view",
        ObjectType::ObjectIndex => "index",
        ObjectType::ObjectSequence => "sequence",
        ObjectType::ObjectForeignTable => "foreign table",
        ObjectType::ObjectSchema => "schema",
        ObjectType::ObjectType => "type",
        ObjectType::ObjectDomain => "domain",
        ObjectType::ObjectFunction => "function",
        ObjectType::ObjectProcedure => "procedure",
        ObjectType::ObjectRoutine => "routine",
        ObjectType::ObjectAggregate => "aggregate",
        ObjectType::ObjectTrigger => "trigger",
        ObjectType::ObjectRule => "rule",
        ObjectType::ObjectPolicy => "policy",
        ObjectType::ObjectExtension => "extension",
        ObjectType::ObjectEventTrigger => "event trigger",
        ObjectType::ObjectPublication => "publication",
        ObjectType::ObjectStatisticExt => "statistics object",
        ObjectType::ObjectCollation => "collation",
        _ => return None,
    })
}

fn dropped_name(object: &Node) -> Named {
    let (name, arguments) = match &object.node {
        Some(NodeEnum::List(list)) => (strings(&list.items), Some(Vec::new())),
        Some(NodeEnum::String(string)) => (vec![string.sval.clone()], Some(Vec::new())),
        // A type is named by one text that is read as a type.
        Some(NodeEnum::TypeName(name)) => (vec![type_text(name)], Some(Vec::new())),
        Some(NodeEnum::ObjectWithArgs(object)) => (strings(&object.objname), arguments(object)),
        _ => (Vec::new(), None),
    };
    Named { name, arguments }
}

fn arguments(object: &ObjectWithArgs) -> Option<Vec<String>> {
    let text = |node: &Node| match &node.node {
        Some(NodeEnum::TypeName(name)) => type_text(name),
        _ => String::new(),
    };
    (!object.args_unspecified).then(|| object.objargs.iter().map(text).collect())
}

fn type_text(name: &TypeName) -> String {
    let parts: Vec<String> = strings(&name.names).iter().map(|part| quoted(part)).collect();
    format!("{}{}", parts.join("."), "[]".repeat(name.array_bounds.len()))
}

fn strings(nodes: &[Node]) -> Vec<String> {
    let text = |node: &Node| match &node.node {
        Some(NodeEnum::String(string)) => Some(string.sval.clone()),
        _ => None,
    };
    nodes.iter().filter_map(text).collect()
}

fn name(var: &RangeVar) -> Name {
    let schema = (!var.schemaname.is_empty()).then(|| var.schemaname.clone());
    Name { schema, name: var.relname.clone() }
}

fn truncate(statement: &TruncateStmt) -> Step {
    let table = |node: &Node| match &node.node {
        Some(NodeEnum::RangeVar(var)) => Some((name(var), var.inh)),
        _ => None,
    };
    Step::Truncate {
        tables: statement.relations.iter().filter_map(table).collect(),
        cascade: statement.behavior() == DropBehavior::DropCascade,
        restart: statement.restart_seqs,
    }
}

fn deletes(statement: &DeleteStmt, node: &NodeEnum, index: usize) -> Vec<Step> {
    let mut steps = rows::within(node);
    if let Some(table) = &statement.relation {
        steps.push(Step::Rows(rows::deleted(statement, table, index)));
    }
    steps
}

fn updates(statement: &UpdateStmt, node: &NodeEnum, index: usize) -> Vec<Step> {
    let mut steps = rows::within(node);
    if let Some(table) = &statement.relation {
        steps.push(Step::Rows(rows::updated(statement, table, index)));
    }
    steps
}

fn inserts(statement: &InsertStmt, node: &NodeEnum) -> Vec<Step> {
    let mut steps = rows::within(node);
    let clause = statement.on_conflict_clause.as_ref();
    let overwrites = clause.is_some_and(|c| c.action() == OnConflictAction::OnconflictUpdate);
    if let (true, Some(table)) = (overwrites, &statement.relation) {
        steps.push(Step::Rows(RowStep::all(Change::Update, table)));
    }
    steps
}

fn alter(statement: &AlterTableStmt) -> Option<Step> {
    let relation = name(statement.relation.as_ref()?);
    let mut drops = Vec::new();
    let mut rewrites = false;
    for node in &statement.cmds {
        let Some(NodeEnum::AlterTableCmd(command)) = &node.node else { continue };
        let part = |kind| Part { kind, name: command.name.clone(), missing_ok: command.missing_ok };
        match command.subtype() {
            AlterTableType::AtDropColumn => {
                drops.push(part("column"));
                rewrites = true;
            }
            AlterTableType::AtDropConstraint => drops.push(part("constraint")),
            AlterTableType::AtAlterColumnType => rewrites = true,
            _ => {}
        }
    }
    Some(Step::Alter { relation, missing_ok: statement.missing_ok, drops, rewrites })
}
