//! SQL text to actions: what a message would do, from the whole syntax tree.
//!
//! Pure and total: what is not understood is [`Effect::Opaque`](countermand_core::effect::Effect),
//! never an error. This is the *static* class; measuring may raise it. Three things the text
//! cannot show: what views, triggers, defaults and casts of the database's owner call; which of
//! two functions of one name `search_path` finds; and that `row.name` may call a function. Behind
//! the class therefore stand the read-only transaction and a session role that owns nothing.

mod alter;
mod before;
mod bulk;
mod define;
mod exists;
mod explain;
mod functions;
mod name;
mod parse;
mod rows;
mod scribe;
mod session;
mod settings;
mod spelling;
mod survey;
mod tree;

#[cfg(test)]
mod tests;

pub use before::Before;
pub use exists::Creates;
pub use explain::{Explanation, explain};
pub use session::{Modes, SessionStatement, TransactionStatement};
pub use settings::{SettingClass, classify as setting_class};
pub use spelling::{Shape, Spelling};

use countermand_core::action::Action;
use countermand_core::effect::Effect;
use std::collections::BTreeSet;

/// A longer text is not parsed, in bytes.
pub const MAX_SQL: usize = 1024 * 1024;

/// What of the session changes how a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's parameter of this name: whether a backslash in `'…'` is plain.
    pub standard_conforming_strings: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { standard_conforming_strings: true }
    }
}

/// What a text would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpretation {
    /// Its statements in order; none where it is empty or only comments.
    pub statements: Vec<Statement>,
    /// The grammar's message where the text is not SQL. The one statement is then not understood.
    pub syntax_error: Option<String>,
}

impl Interpretation {
    /// The worst effect of all statements.
    pub fn effect(&self) -> Effect {
        Effect::worst(self.statements.iter().map(Statement::effect))
    }
}

/// What one statement would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its own part of the text, exactly.
    pub sql: String,
    /// Whether it is about rows and definitions, the session, or the transaction.
    pub role: Role,
    /// What it does; at least one. An object without a name is the current database.
    pub actions: Vec<Action>,
    /// Relations whose rows its queries read, each as the parts of its name: neither those that
    /// it acts on itself nor the results of its own WITH queries.
    pub reads: BTreeSet<Vec<String>>,
    /// Where it moves rows over the connection in COPY mode.
    pub copy: Option<CopyDirection>,
    /// The rows that it changes, as a question for before, where it tells them plainly.
    pub before: Option<Before>,
    /// A part of it changes rows and has no such question: nobody looks for what it changed either.
    pub hides_changes: bool,
    /// Whether it adds or locks as many rows as a query finds.
    pub bulk: bool,
    /// What it creates only where that is not there yet.
    pub creates: Option<Creates>,
    /// False where a rollback leaves traces, or where nobody knows.
    pub undone_by_rollback: bool,
    /// Whether it may run inside a transaction block.
    pub transactional: bool,
    /// What it asks, however it is spelled.
    pub spelling: Spelling,
    /// For people: what led to these actions, where that is not plain. Holds hostile text.
    pub why: Vec<String>,
}

impl Statement {
    /// The worst effect of its actions.
    pub fn effect(&self) -> Effect {
        Effect::worst(self.actions.iter().map(Action::effect))
    }
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rows and definitions.
    Plain,
    /// The session: settings, prepared statements, cursors, notifications.
    Session(SessionStatement),
    /// The transaction.
    Transaction(TransactionStatement),
}

/// Which way COPY goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDirection {
    /// `COPY … FROM STDIN`: rows come from the client.
    In,
    /// `COPY … TO STDOUT`: rows go to the client.
    Out,
}

/// What `sql` would do, sent as one simple query or one Parse message.
pub fn interpret(sql: &str, settings: Settings) -> Interpretation {
    parse::on_deep_stack(sql, settings)
}
