//! One statement's tree to what it does. Every kind of node that may stand in a tree is named
//! here or in the modules beside; of any other the statement is not understood.

use std::collections::{BTreeSet, HashSet};

use countermand_core::action::{Action, Object};
use countermand_core::verb::{Verb, postgres as verb};
use pg_query::protobuf::{CommonTableExpr, Node, RangeVar, WithClause};
use pg_query::{NodeEnum, NodeRef};

use super::session::{self, About, SessionStatement};
use super::tree::{Visitor, Walk};
use super::{
    CopyDirection, Role, Spelling, Statement, alter, before, bulk, define, exists, name, rows,
};

/// Reasons beyond this many say nothing new to people.
const MAX_WHY: usize = 20;

/// What one statement does, from its text and its tree.
pub(super) fn statement(sql: &str, node: &Node) -> Statement {
    let mut survey = Survey::default();
    let role = survey.read(sql, node);
    survey.finish(sql, role, node)
}

/// What has been seen of a statement so far.
#[derive(Default)]
pub(super) struct Survey {
    actions: Vec<Action>,
    seen: BTreeSet<Action>,
    why: Vec<String>,
    /// Names of WITH queries that are visible here, innermost last.
    scopes: Vec<HashSet<String>>,
    /// Addresses of relations that a statement acts on, in place of reading them.
    targets: HashSet<usize>,
    copy: Option<CopyDirection>,
    lasting: bool,
    outside_transactions: bool,
    /// EXPLAIN without ANALYZE: planned, not run.
    planned_only: bool,
    reads: bool,
    read: BTreeSet<Vec<String>>,
}

impl Survey {
    /// Adds an action.
    pub(super) fn act(&mut self, verb: Verb, kind: &str, name: impl Into<String>) {
        self.action(Action::new(verb, Object::new(kind, name)));
    }

    /// Adds an action on a relation that the tree holds, which is then not also read.
    pub(super) fn act_on(&mut self, verb: Verb, kind: &str, relation: Option<&RangeVar>) {
        let name = relation.map(name::relation).unwrap_or_default();
        if let Some(relation) = relation {
            self.targets.insert(address(relation));
        }
        self.act(verb, kind, name);
    }

    /// These name what FROM lists, by its aliases, and no relation of their own.
    pub(super) fn are_aliases(&mut self, relations: &[Node]) {
        for node in relations {
            if let Some(NodeEnum::RangeVar(var)) = &node.node {
                self.targets.insert(address(var));
            }
        }
    }

    /// Adds an action on the current database.
    pub(super) fn act_here(&mut self, verb: Verb) {
        self.action(Action::new(verb, name::this_database()));
    }

    /// Whether something is done to this relation of the tree, so that it is not also read.
    pub(super) fn is_target(&self, relation: &RangeVar) -> bool {
        self.targets.contains(&address(relation))
    }

    /// Adds an action.
    pub(super) fn action(&mut self, action: Action) {
        if self.seen.insert(action.clone()) {
            self.actions.push(action);
        }
    }

    /// Says why, for people. Parts of the request may stand in it.
    pub(super) fn because(&mut self, why: impl AsRef<str>) {
        let why = name::printable(why.as_ref());
        if self.why.len() < MAX_WHY && !self.why.contains(&why) {
            self.why.push(why);
        }
    }

    /// Something here is not on any list.
    pub(super) fn not_understood(&mut self, why: impl AsRef<str>) {
        self.act_here(verb::NOT_UNDERSTOOD);
        self.because(why);
    }

    /// What it does is not undone by a rollback.
    pub(super) fn lasts(&mut self) {
        self.lasting = true;
    }

    /// It cannot run inside a transaction block.
    pub(super) fn cannot_run_in_transaction(&mut self) {
        self.outside_transactions = true;
    }

    /// It moves rows over the connection.
    pub(super) fn copies(&mut self, direction: CopyDirection) {
        self.copy = Some(direction);
    }

    /// It is planned and not run.
    pub(super) fn is_only_planned(&mut self) {
        self.planned_only = true;
    }

    fn read(&mut self, sql: &str, node: &Node) -> Role {
        if let Some(NodeEnum::PrepareStmt(prepare)) = &node.node
            && let Some(query) = &prepare.query
        {
            return self.prepare(sql, &prepare.name, query);
        }
        if let Some(NodeEnum::SelectStmt(select)) = &node.node
            && let Some((action, about)) = session::set_config(select)
        {
            self.action(action);
            return role(about);
        }
        node.walk(self);
        let about = node.node.as_ref().and_then(|node| session::about(node.to_ref()));
        about.map_or(Role::Plain, |(_, about)| role(about))
    }

    fn prepare(&mut self, sql: &str, name: &str, query: &Node) -> Role {
        self.act(verb::PREPARE, "prepared statement", name);
        let inner = Box::new(statement(sql, query));
        self.because(format!("nothing runs yet; EXECUTE of `{name}` is {}", inner.effect()));
        Role::Session(SessionStatement::Prepare { name: name.to_owned(), inner })
    }

    fn finish(mut self, sql: &str, role: Role, node: &Node) -> Statement {
        if self.planned_only {
            self.keep_what_planning_does();
        }
        if self.actions.is_empty() {
            match self.reads {
                true => self.act_here(verb::SELECT),
                false => self.not_understood("the statement is of an unknown kind"),
            }
        }
        let lasting = |action: &Action| outlives_rollback(action.verb);
        let undone =
            !self.lasting && !self.outside_transactions && !self.actions.iter().any(lasting);
        let before = before::of(node);
        Statement {
            sql: sql.to_owned(),
            role,
            actions: self.actions,
            reads: self.read,
            copy: self.copy,
            hides_changes: before.is_none() && before::changes(node),
            before,
            creates: exists::of(node),
            bulk: bulk::is(node),
            undone_by_rollback: undone,
            transactional: !self.outside_transactions,
            spelling: Spelling::of(sql, node),
            why: self.why,
        }
    }

    /// Planning reads definitions, and evaluates functions that are declared stable: calls stay.
    fn keep_what_planning_does(&mut self) {
        let actions = std::mem::take(&mut self.actions);
        self.seen.clear();
        for action in actions {
            match rows::RUN_ONLY.contains(&action.verb) {
                true => self.action(Action::new(verb::SELECT, action.object)),
                false => self.action(action),
            }
        }
    }

    fn session(&mut self, node: NodeRef<'_>) -> bool {
        let Some((action, about)) = session::about(node) else { return false };
        if matches!(about, About::Session(SessionStatement::DiscardAll)) {
            self.outside_transactions = true;
        }
        self.action(action);
        true
    }

    fn relation(&mut self, var: &RangeVar) {
        let plain = var.schemaname.is_empty() && var.catalogname.is_empty();
        let is_cte = plain && self.scopes.iter().any(|names| names.contains(&var.relname));
        if !is_cte && !self.is_target(var) {
            self.act(verb::SELECT, "table", name::relation(var));
            // Elsewhere than in a query a name is referred to and its rows are not read.
            if !self.scopes.is_empty() {
                self.read.insert(name::parts(var));
            }
        }
    }

    fn structure(&mut self, node: NodeRef<'_>) {
        match node {
            NodeRef::RangeVar(var) => self.relation(var),
            NodeRef::WithClause(with) if with.recursive => self.see_all(with),
            harmless if is_structure(harmless) => {}
            other => self
                .not_understood(format!("a node of kind `{}` is not on the list", kind_of(other))),
        }
    }

    /// In WITH RECURSIVE every query sees every name; else only those before it, see `leave`.
    fn see_all(&mut self, with: &WithClause) {
        let names = with.ctes.iter().filter_map(|cte| match &cte.node {
            Some(NodeEnum::CommonTableExpr(cte)) => Some(cte.ctename.clone()),
            _ => None,
        });
        if let Some(scope) = self.scopes.last_mut() {
            scope.extend(names);
        }
    }

    fn saw(&mut self, cte: &CommonTableExpr) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(cte.ctename.clone());
        }
    }
}

impl Visitor for Survey {
    fn enter(&mut self, node: NodeRef<'_>) {
        if opens_scope(node) {
            self.scopes.push(HashSet::new());
        }
        if matches!(node, NodeRef::SelectStmt(_)) {
            self.reads = true;
        }
        let known = rows::enter(self, node)
            || define::enter(self, node)
            || alter::enter(self, node)
            || self.session(node);
        if !known {
            self.structure(node);
        }
    }

    fn leave(&mut self, node: NodeRef<'_>) {
        if let NodeRef::CommonTableExpr(cte) = node {
            self.saw(cte);
        }
        if opens_scope(node) {
            self.scopes.pop();
        }
    }
}

fn role(about: About) -> Role {
    match about {
        About::Session(statement) => Role::Session(statement),
        About::Transaction(statement) => Role::Transaction(statement),
    }
}

fn address(relation: &RangeVar) -> usize {
    std::ptr::from_ref(relation) as usize
}

/// The statements that can carry a WITH clause.
fn opens_scope(node: NodeRef<'_>) -> bool {
    matches!(
        node,
        NodeRef::SelectStmt(_)
            | NodeRef::InsertStmt(_)
            | NodeRef::UpdateStmt(_)
            | NodeRef::DeleteStmt(_)
            | NodeRef::MergeStmt(_)
    )
}

/// The name of the kind alone; `Debug` would go on to print the whole node.
fn kind_of(node: NodeRef<'_>) -> String {
    struct UpToParenthesis(String);
    impl std::fmt::Write for UpToParenthesis {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let end = text.find('(');
            self.0.push_str(&text[..end.unwrap_or(text.len())]);
            if end.is_some() { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut kind = UpToParenthesis(String::new());
    let _ = std::fmt::write(&mut kind, format_args!("{node:?}"));
    kind.0
}

/// Kinds that do nothing by themselves: what they hold is seen on its own.
fn is_structure(node: NodeRef<'_>) -> bool {
    use NodeRef as N;
    let expression = matches!(
        node,
        N::AConst(_)
            | N::Alias(_)
            | N::Param(_)
            | N::ParamRef(_)
            | N::GroupingFunc(_)
            | N::NamedArgExpr(_)
            | N::BoolExpr(_)
            | N::CollateClause(_)
            | N::CaseExpr(_)
            | N::CaseWhen(_)
            | N::RowExpr(_)
            | N::CoalesceExpr(_)
            | N::MinMaxExpr(_)
            | N::SqlvalueFunction(_)
            | N::XmlExpr(_)
            | N::XmlSerialize(_)
            | N::NullTest(_)
            | N::BooleanTest(_)
            | N::SetToDefault(_)
            | N::CurrentOfExpr(_)
            | N::ColumnRef(_)
            | N::AStar(_)
            | N::AIndices(_)
            | N::AIndirection(_)
            | N::AArrayExpr(_)
            | N::ResTarget(_)
            | N::MultiAssignRef(_)
            | N::TypeCast(_)
            | N::TypeName(_)
            | N::WindowDef(_)
            | N::MergeSupportFunc(_)
            | N::JsonFormat(_)
            | N::JsonReturning(_)
            | N::JsonValueExpr(_)
            | N::JsonIsPredicate(_)
            | N::JsonBehavior(_)
            | N::JsonOutput(_)
            | N::JsonArgument(_)
            | N::JsonFuncExpr(_)
            | N::JsonTablePathSpec(_)
            | N::JsonTable(_)
            | N::JsonTableColumn(_)
            | N::JsonKeyValue(_)
            | N::JsonParseExpr(_)
            | N::JsonScalarExpr(_)
            | N::JsonSerializeExpr(_)
            | N::JsonObjectConstructor(_)
            | N::JsonArrayConstructor(_)
            | N::JsonArrayQueryConstructor(_)
            | N::JsonAggConstructor(_)
            | N::JsonObjectAgg(_)
            | N::JsonArrayAgg(_)
    );
    let clause = matches!(
        node,
        N::SelectStmt(_)
            | N::JoinExpr(_)
            | N::RangeSubselect(_)
            | N::RangeFunction(_)
            | N::RangeTableFunc(_)
            | N::RangeTableFuncCol(_)
            | N::GroupingSet(_)
            | N::WithClause(_)
            | N::CommonTableExpr(_)
            | N::CtesearchClause(_)
            | N::CtecycleClause(_)
            | N::InferClause(_)
            | N::OnConflictClause(_)
            | N::MergeWhenClause(_)
            | N::ReturningClause(_)
            | N::ReturningOption(_)
            | N::IndexElem(_)
            | N::IntoClause(_)
    );
    let definition = matches!(
        node,
        N::ColumnDef(_)
            | N::Constraint(_)
            | N::DefElem(_)
            | N::TableLikeClause(_)
            | N::PartitionElem(_)
            | N::PartitionSpec(_)
            | N::PartitionBoundSpec(_)
            | N::PartitionRangeDatum(_)
            | N::PartitionCmd(_)
            | N::RoleSpec(_)
            | N::AccessPriv(_)
            | N::ObjectWithArgs(_)
            | N::FunctionParameter(_)
            | N::ReturnStmt(_)
            | N::AlterTableCmd(_)
            | N::AtalterConstraint(_)
            | N::ReplicaIdentityStmt(_)
            | N::StatsElem(_)
            | N::VacuumRelation(_)
            | N::TriggerTransition(_)
            | N::CreateOpClassItem(_)
            | N::PublicationTable(_)
            | N::PublicationObjSpec(_)
    );
    let value = matches!(
        node,
        N::Integer(_)
            | N::Float(_)
            | N::Boolean(_)
            | N::String(_)
            | N::BitString(_)
            | N::List(_)
            | N::IntList(_)
            | N::OidList(_)
    );
    expression || clause || definition || value
}

/// Whether a rollback leaves what the verb did, or nobody knows.
fn outlives_rollback(verb: Verb) -> bool {
    [
        verb::CALL,
        verb::CALL_FUNCTION,
        verb::CHECKPOINT,
        verb::COPY_SERVER_FILE,
        verb::COPY_SERVER_PROGRAM,
        verb::DO,
        verb::EXECUTE,
        verb::FINISH_PREPARED,
        verb::LOAD,
        verb::NOT_UNDERSTOOD,
        verb::PREPARE_TRANSACTION,
        verb::RUN_TEXT,
    ]
    .contains(&verb)
}
