//! Statements about the session and the transaction: what the door must know of them.

use countermand_core::action::{Action, Object};
use countermand_core::verb::postgres as verb;
use pg_query::protobuf::{
    AConst, AExprKind, DiscardMode, DiscardStmt, FuncCall, Node, SelectStmt, TransactionStmt,
    TransactionStmtKind, VariableSetKind, VariableSetStmt, a_const,
};
use pg_query::{NodeEnum, NodeRef};

use super::settings::{self, SettingClass};
use super::{Statement, name};

/// A statement about the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStatement {
    /// `SET`, or `SELECT set_config(…)` alone.
    Set {
        /// The setting, in lower case.
        name: String,
        /// Its value; `None` for its default. A list has `, ` between its items.
        value: Option<String>,
        /// Whether it ends with the transaction.
        local: bool,
    },
    /// `RESET name`.
    Reset {
        /// The setting, in lower case.
        name: String,
    },
    /// `RESET ALL`.
    ResetAll,
    /// `SHOW`.
    Show {
        /// The setting, in lower case, or `all`.
        name: String,
    },
    /// `DISCARD ALL`: also forgets prepared statements and cursors.
    DiscardAll,
    /// `DISCARD PLANS`, `SEQUENCES` or `TEMP`.
    DiscardOther,
    /// `PREPARE name AS …`: nothing runs yet.
    Prepare {
        /// As EXECUTE will call it.
        name: String,
        /// What EXECUTE will then do.
        inner: Box<Statement>,
    },
    /// `EXECUTE name`.
    Execute {
        /// As PREPARE named it, or a Parse message.
        name: String,
    },
    /// `DEALLOCATE`.
    Deallocate {
        /// `None` for all.
        name: Option<String>,
    },
    /// `LISTEN channel`.
    Listen {
        /// The channel.
        channel: String,
    },
    /// `UNLISTEN`.
    Unlisten {
        /// `None` for all.
        channel: Option<String>,
    },
    /// `DECLARE name CURSOR FOR …`. The statement's actions hold those of the query, some of
    /// which run when rows are fetched, and with `hold` when the transaction commits.
    DeclareCursor {
        /// As FETCH will call it.
        name: String,
        /// `WITH HOLD`: the query runs to its end inside COMMIT.
        hold: bool,
    },
    /// `FETCH` or `MOVE`.
    Fetch {
        /// The cursor.
        cursor: String,
        /// `MOVE`: no rows come back.
        moves: bool,
    },
    /// `CLOSE`.
    CloseCursor {
        /// `None` for all.
        name: Option<String>,
    },
    /// `SET CONSTRAINTS`.
    SetConstraints {
        /// False for IMMEDIATE, which checks, and runs triggers, now.
        deferred: bool,
    },
}

/// A statement about the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatement {
    /// `BEGIN` or `START TRANSACTION`.
    Begin(Modes),
    /// `SET TRANSACTION`, or with `session` `SET SESSION CHARACTERISTICS AS TRANSACTION`.
    Set {
        /// What it sets.
        modes: Modes,
        /// For all later transactions.
        session: bool,
    },
    /// `SET TRANSACTION SNAPSHOT`.
    SetSnapshot {
        /// Its identifier.
        id: String,
    },
    /// `COMMIT` or `END`.
    Commit {
        /// Begins another at once.
        chain: bool,
    },
    /// `ROLLBACK` or `ABORT`.
    Rollback {
        /// Begins another at once.
        chain: bool,
    },
    /// `SAVEPOINT`.
    Savepoint {
        /// Its name.
        name: String,
    },
    /// `RELEASE SAVEPOINT`.
    Release {
        /// The savepoint.
        name: String,
    },
    /// `ROLLBACK TO SAVEPOINT`.
    RollbackTo {
        /// The savepoint.
        name: String,
    },
    /// `PREPARE TRANSACTION`.
    PrepareTransaction {
        /// Its global identifier.
        gid: String,
    },
    /// `COMMIT PREPARED`.
    CommitPrepared {
        /// Its global identifier.
        gid: String,
    },
    /// `ROLLBACK PREPARED`.
    RollbackPrepared {
        /// Its global identifier.
        gid: String,
    },
}

/// How a transaction runs; `None` where the statement does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Whether it may not write.
    pub read_only: Option<bool>,
    /// `serializable`, `repeatable read`, `read committed` or `read uncommitted`.
    pub isolation: Option<String>,
    /// Whether a serializable read-only transaction may wait for a safe snapshot.
    pub deferrable: Option<bool>,
}

/// What a statement about the session or the transaction does, and how the door is to know it.
pub(super) enum About {
    Session(SessionStatement),
    Transaction(TransactionStatement),
}

/// SET and RESET in all their spellings. `None` where the tree has an unknown shape.
fn set(set: &VariableSetStmt) -> Option<(Action, About)> {
    let name = set.name.to_ascii_lowercase();
    let reset = |name: String| About::Session(SessionStatement::Reset { name });
    Some(match set.kind() {
        VariableSetKind::VarSetMulti => return modes(set),
        VariableSetKind::VarSetValue => {
            let value = values(&name, &set.args)?;
            (
                named_setting(settings::classify(&name, Some(&value)), &name),
                assigned(set, Some(value)),
            )
        }
        VariableSetKind::VarSetDefault => {
            (named_setting(settings::classify(&name, None), &name), assigned(set, None))
        }
        VariableSetKind::VarReset => {
            let class = settings::classify(&name, None);
            let verb = if class.verb() == verb::SET { verb::RESET } else { class.verb() };
            (Action::new(verb, Object::new("setting", &name)), reset(name))
        }
        VariableSetKind::VarResetAll => (
            Action::new(verb::RESET, name::this_database()),
            About::Session(SessionStatement::ResetAll),
        ),
        VariableSetKind::VarSetCurrent | VariableSetKind::Undefined => return None,
    })
}

fn named_setting(class: SettingClass, name: &str) -> Action {
    Action::new(class.verb(), Object::new("setting", name))
}

fn assigned(set: &VariableSetStmt, value: Option<String>) -> About {
    let name = set.name.to_ascii_lowercase();
    About::Session(SessionStatement::Set { name, value, local: set.is_local })
}

/// SET TRANSACTION and its kin. To loosen READ ONLY is to take away a protection.
fn modes(set: &VariableSetStmt) -> Option<(Action, About)> {
    let statement = match set.name.as_str() {
        "TRANSACTION SNAPSHOT" => TransactionStatement::SetSnapshot { id: values("", &set.args)? },
        "TRANSACTION" => {
            TransactionStatement::Set { modes: read_modes(&set.args)?, session: false }
        }
        "SESSION CHARACTERISTICS" => {
            TransactionStatement::Set { modes: read_modes(&set.args)?, session: true }
        }
        _ => return None,
    };
    let loosens = matches!(
        &statement,
        TransactionStatement::Set { modes: Modes { read_only: Some(false), .. }, .. }
    );
    let verb = if loosens { verb::SET_PROTECTED } else { verb::SET_TRANSACTION };
    let object = match loosens {
        true => Object::new("setting", "transaction_read_only"),
        false => name::this_database(),
    };
    Some((Action::new(verb, object), About::Transaction(statement)))
}

fn read_modes(options: &[Node]) -> Option<Modes> {
    let mut modes = Modes::default();
    for option in options {
        let Some(NodeEnum::DefElem(option)) = &option.node else { return None };
        let value = constant(option.arg.as_deref()?)?;
        match option.defname.as_str() {
            "transaction_isolation" => modes.isolation = Some(value),
            "transaction_read_only" => modes.read_only = Some(value != "0"),
            "transaction_deferrable" => modes.deferrable = Some(value != "0"),
            _ => return None,
        }
    }
    Some(modes)
}

/// The values of SET, as one text. Names of schemas are quoted where they must be.
fn values(name: &str, args: &[Node]) -> Option<String> {
    let quote = |value: String| match name {
        "search_path" => name::ident(&value),
        _ => value,
    };
    let values: Option<Vec<String>> = args.iter().map(|arg| constant(arg).map(quote)).collect();
    values.map(|values| values.join(", "))
}

/// A constant, also behind a cast (`SET TIME ZONE INTERVAL '…'`).
fn constant(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => literal(constant),
        Some(NodeEnum::TypeCast(cast)) => constant(cast.arg.as_deref()?),
        Some(NodeEnum::Integer(number)) => Some(number.ival.to_string()),
        Some(NodeEnum::Boolean(value)) => Some(value.boolval.to_string()),
        _ => None,
    }
}

fn literal(constant: &AConst) -> Option<String> {
    Some(match constant.val.as_ref()? {
        a_const::Val::Ival(number) => number.ival.to_string(),
        a_const::Val::Fval(number) => number.fval.clone(),
        a_const::Val::Boolval(value) => value.boolval.to_string(),
        a_const::Val::Sval(text) => text.sval.clone(),
        a_const::Val::Bsval(_) => return None,
    })
}

/// `SELECT set_config('name', 'value', local)`, beside nothing but `current_setting('name')`: SET in
/// another dress. Anywhere else the door could not know what is set, nor whether. pg_dump asks the
/// catalogue first whether the setting exists:
/// `SELECT set_config(name, …) FROM pg_settings WHERE name = '…'`.
pub(super) fn set_config(select: &SelectStmt) -> Option<(Action, About)> {
    let calls = select.target_list.iter().map(called).collect::<Option<Vec<_>>>()?;
    let (sets, shows): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|call| is_call(call, "set_config"));
    let [call] = sets.as_slice() else { return None };
    let shows_setting = |call: &&FuncCall| {
        is_call(call, "current_setting") && call.args.iter().all(|arg| constant(arg).is_some())
    };
    if !shows.iter().all(shows_setting) {
        return None;
    }
    let [setting, value, local] = call.args.as_slice() else { return None };
    let mut rest = SelectStmt { target_list: Vec::new(), ..select.clone() };
    let setting = match is_column(setting, "name") {
        true => if_it_exists(&mut rest)?,
        false => constant(setting)?,
    };
    let empty = SelectStmt { limit_option: rest.limit_option, op: rest.op, ..Default::default() };
    if rest != empty {
        return None;
    }
    let setting = setting.to_ascii_lowercase();
    let value = match constant(value) {
        Some(value) => Some(value),
        // A driver puts back what it found before.
        None if is_parameter(value) && settings::is_free(&setting) => None,
        None => return None,
    };
    let local = match constant(local)?.as_str() {
        "true" | "t" => true,
        "false" | "f" => false,
        _ => return None,
    };
    let action = named_setting(settings::classify(&setting, value.as_deref()), &setting);
    let set = SessionStatement::Set { name: setting, value, local };
    Some((action, About::Session(set)))
}

/// The function that a result column is the call of.
fn called(target: &Node) -> Option<&FuncCall> {
    let Some(NodeEnum::ResTarget(target)) = &target.node else { return None };
    match &target.val.as_deref()?.node {
        Some(NodeEnum::FuncCall(call)) => Some(call),
        _ => None,
    }
}

fn is_call(call: &FuncCall, function: &str) -> bool {
    match name::strings(&call.funcname).as_slice() {
        [plain] | ["pg_catalog", plain] => *plain == function,
        _ => false,
    }
}

fn is_parameter(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::ParamRef(_)))
}

/// Takes `FROM pg_settings WHERE name = '…'` out of `select`, and gives the name.
fn if_it_exists(select: &mut SelectStmt) -> Option<String> {
    let condition = select.where_clause.take()?;
    let Some(NodeEnum::AExpr(equal)) = &condition.node else { return None };
    let is_equal = name::strings(&equal.name) == ["="] && equal.kind() == AExprKind::AexprOp;
    let from = std::mem::take(&mut select.from_clause);
    let [from] = from.as_slice() else { return None };
    let is_settings = ["pg_settings", "pg_catalog.pg_settings"].contains(&name::any(from).as_str());
    (is_settings && is_equal && is_column(equal.lexpr.as_deref()?, "name"))
        .then(|| constant(equal.rexpr.as_deref()?))?
}

fn is_column(node: &Node, column: &str) -> bool {
    match &node.node {
        Some(NodeEnum::ColumnRef(reference)) => name::strings(&reference.fields) == [column],
        _ => false,
    }
}

fn discard(discard: &DiscardStmt) -> (Action, About) {
    let statement = match discard.target() {
        DiscardMode::DiscardAll => SessionStatement::DiscardAll,
        _ => SessionStatement::DiscardOther,
    };
    (Action::new(verb::DISCARD, name::this_database()), About::Session(statement))
}

fn transaction(stmt: &TransactionStmt) -> Option<(Action, About)> {
    use TransactionStatement as T;
    let name = || stmt.savepoint_name.clone();
    let gid = || stmt.gid.clone();
    let (verb, statement) = match stmt.kind() {
        TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
            (verb::BEGIN, T::Begin(read_modes(&stmt.options)?))
        }
        TransactionStmtKind::TransStmtCommit => (verb::COMMIT, T::Commit { chain: stmt.chain }),
        TransactionStmtKind::TransStmtRollback => {
            (verb::ROLLBACK, T::Rollback { chain: stmt.chain })
        }
        TransactionStmtKind::TransStmtSavepoint => (verb::SAVEPOINT, T::Savepoint { name: name() }),
        TransactionStmtKind::TransStmtRelease => (verb::SAVEPOINT, T::Release { name: name() }),
        TransactionStmtKind::TransStmtRollbackTo => {
            (verb::ROLLBACK, T::RollbackTo { name: name() })
        }
        TransactionStmtKind::TransStmtPrepare => {
            (verb::PREPARE_TRANSACTION, T::PrepareTransaction { gid: gid() })
        }
        TransactionStmtKind::TransStmtCommitPrepared => {
            (verb::FINISH_PREPARED, T::CommitPrepared { gid: gid() })
        }
        TransactionStmtKind::TransStmtRollbackPrepared => {
            (verb::FINISH_PREPARED, T::RollbackPrepared { gid: gid() })
        }
        TransactionStmtKind::Undefined => return None,
    };
    Some((Action::new(verb, name::this_database()), About::Transaction(statement)))
}

/// What a node says about the session or the transaction, if that is what it is about.
pub(super) fn about(node: NodeRef<'_>) -> Option<(Action, About)> {
    match node {
        NodeRef::VariableSetStmt(stmt) => set(stmt),
        NodeRef::TransactionStmt(stmt) => transaction(stmt),
        NodeRef::DiscardStmt(stmt) => Some(discard(stmt)),
        NodeRef::ConstraintsSetStmt(s) => {
            let set = SessionStatement::SetConstraints { deferred: s.deferred };
            Some((Action::new(verb::SET_CONSTRAINTS, name::this_database()), About::Session(set)))
        }
        node => named(node),
    }
}

/// The statements about a thing of the session that has a name.
fn named(node: NodeRef<'_>) -> Option<(Action, About)> {
    use SessionStatement as S;
    let unless_all = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    let (verb, kind, name, statement) = match node {
        NodeRef::VariableShowStmt(s) => {
            let name = s.name.to_ascii_lowercase();
            (verb::SHOW, "setting", &s.name, S::Show { name })
        }
        NodeRef::ExecuteStmt(s) => {
            (verb::EXECUTE, "prepared statement", &s.name, S::Execute { name: s.name.clone() })
        }
        NodeRef::DeallocateStmt(s) => {
            let name = unless_all(&s.name);
            (verb::DEALLOCATE, "prepared statement", &s.name, S::Deallocate { name })
        }
        NodeRef::ListenStmt(s) => {
            let channel = s.conditionname.clone();
            (verb::LISTEN, "channel", &s.conditionname, S::Listen { channel })
        }
        NodeRef::UnlistenStmt(s) => {
            let channel = unless_all(&s.conditionname);
            (verb::LISTEN, "channel", &s.conditionname, S::Unlisten { channel })
        }
        NodeRef::DeclareCursorStmt(s) => {
            let hold = s.options & CURSOR_OPT_HOLD != 0;
            let declare = S::DeclareCursor { name: s.portalname.clone(), hold };
            (verb::DECLARE_CURSOR, "cursor", &s.portalname, declare)
        }
        NodeRef::FetchStmt(s) => {
            let fetch = S::Fetch { cursor: s.portalname.clone(), moves: s.ismove };
            (verb::FETCH, "cursor", &s.portalname, fetch)
        }
        NodeRef::ClosePortalStmt(s) => {
            let name = unless_all(&s.portalname);
            (verb::CLOSE_CURSOR, "cursor", &s.portalname, S::CloseCursor { name })
        }
        _ => return None,
    };
    Some((Action::new(verb, Object::new(kind, name)), About::Session(statement)))
}

/// `CURSOR_OPT_HOLD` of the server's `parsenodes.h`.
const CURSOR_OPT_HOLD: i32 = 0x20;
