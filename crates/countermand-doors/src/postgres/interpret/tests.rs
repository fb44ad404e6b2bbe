//! Tables of statements and what they do; hostile texts.

mod hostile;
mod session;
mod spelling;
mod table;

use super::{Interpretation, Settings, Statement, interpret};

fn read(sql: &str) -> Interpretation {
    interpret(sql, Settings::default())
}

/// The one statement of `sql`.
fn one(sql: &str) -> Statement {
    let mut statements = read(sql).statements;
    assert_eq!(statements.len(), 1, "statements of {sql}");
    statements.remove(0)
}

/// The verbs of a statement, without their kind, in order of names.
fn verbs(statement: &Statement) -> Vec<&'static str> {
    let name = |verb: countermand_core::verb::Verb| verb.name().trim_start_matches("postgres:");
    let mut verbs: Vec<_> = statement.actions.iter().map(|action| name(action.verb)).collect();
    verbs.sort_unstable();
    verbs.dedup();
    verbs
}
