//! `propose`: a file as one unit, an agent's at its door or a human's own.

use super::{json, signed};
use crate::at_door::AgentSession;
use crate::cli::{Global, Propose, Signer};
use crate::client::{Client, unexpected};
use crate::exit::{Exit, Failure};
use crate::show::{Page, Tone, escape};
use crate::sign;
use countermand_doors::postgres::interpret::{
    Modes, Role, Settings, Statement, TransactionStatement, interpret,
};
use countermand_engine::control::{Command, PrepareAct, Reply};
use std::path::Path;

/// Runs `propose`.
pub(super) fn run(global: &Global, arguments: &Propose) -> Result<Exit, Failure> {
    let file = &arguments.file;
    let text = match file.as_path() == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin().lock())?,
        false => std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("cannot read `{}`: {error}", file.display()))
        })?,
    };
    let unit = unit(&text).map_err(Failure::usage)?;
    let Some(agent) = &arguments.agent else { return own(global, arguments, unit) };
    let said = AgentSession::open(global, agent, &arguments.door)?.ask(&unit)?;
    if global.json {
        json(&serde_json::json!({ "done": said.tags, "notices": said.notices }));
        return Ok(Exit::Done);
    }
    let mut page = Page::stdout();
    for notice in &said.notices {
        page.field("notice", &escape::line(notice));
    }
    let done = page.paint(Tone::Good, "done");
    page.field(&done, &escape::line(&said.tags.join(", ")));
    page.print();
    Ok(Exit::Done)
}

/// Keeps it as its human's request, and has them sign it.
fn own(global: &Global, arguments: &Propose, text: String) -> Result<Exit, Failure> {
    let Propose { key, statement, human, typed, door, .. } = arguments.clone();
    let signer = Signer { key, statement, human, typed };
    let human = sign::who(global, &signer)?;
    let Some(target) = door.target else {
        return Err(Failure::usage("say where it is to run, with --target NAME"));
    };
    let mut client = Client::connect(global)?;
    let Reply::Change(change) = client.ask(&Command::Propose { human, target, text })? else {
        return Err(unexpected());
    };
    let number = change.line.number;
    if change.line.adopted.is_some() {
        return Err(Failure::new(format!(
            "this is change {number} already, and is {}: see `countermand changes show {number}`",
            change.line.state
        )));
    }
    signed(global, &mut client, &signer, PrepareAct::Adopt { change: number })
}

/// The text that is sent as one message, which the server commits together: the file without its
/// outer BEGIN and COMMIT.
fn unit(text: &str) -> Result<String, String> {
    let read = interpret(text, Settings::default());
    if let Some(error) = read.syntax_error {
        return Err(format!(
            "the file is not SQL: {error}; psql's own commands (`\\i`, `\\set`) are not sent"
        ));
    }
    let statements = read.statements.as_slice();
    let (inner, outer) = match statements {
        [] => return Err("the file holds no statement".to_owned()),
        [first, inner @ .., last] if is_begin(first) && is_commit(last) => (inner, true),
        all => (all, false),
    };
    if let Some(statement) = inner.iter().find(|statement| ends_or_begins(statement)) {
        return Err(format!(
            "`{}` stands where it would divide the file: one file is one unit, committed together; \
             remove it, or propose several files. A plain BEGIN at the start and COMMIT at the end \
             may stay",
            statement.sql
        ));
    }
    if inner.is_empty() {
        return Err("the file holds no statement between BEGIN and COMMIT".to_owned());
    }
    if !outer {
        return Ok(text.to_owned());
    }
    // On a line of its own, a semicolon is outside a comment that the statement ends with.
    let parts: Vec<&str> = inner.iter().map(|statement| statement.sql.as_str()).collect();
    Ok(parts.join("\n;\n"))
}

fn transaction(statement: &Statement) -> Option<&TransactionStatement> {
    match &statement.role {
        Role::Transaction(transaction) => Some(transaction),
        Role::Plain | Role::Session(_) => None,
    }
}

fn is_begin(statement: &Statement) -> bool {
    let plain = TransactionStatement::Begin(Modes::default());
    transaction(statement) == Some(&plain)
}

fn is_commit(statement: &Statement) -> bool {
    transaction(statement) == Some(&TransactionStatement::Commit { chain: false })
}

fn ends_or_begins(statement: &Statement) -> bool {
    use TransactionStatement::{Begin, Commit, PrepareTransaction, Rollback};
    let divides = |t: &TransactionStatement| {
        matches!(t, Begin(_) | Commit { .. } | Rollback { .. } | PrepareTransaction { .. })
    };
    transaction(statement).is_some_and(divides)
}

#[cfg(test)]
mod tests {
    use super::unit;

    #[test]
    fn the_outer_transaction_goes_and_the_rest_stays() {
        let sql = "begin;\ndrop table a -- BEGIN\n;\ndrop table \"commit\";\nend;\n-- done\n";
        assert_eq!(unit(sql).unwrap(), "drop table a -- BEGIN\n;\ndrop table \"commit\"");
        assert_eq!(unit("drop table a; -- x\n").unwrap(), "drop table a; -- x\n");
        let text = "select 'begin; commit'";
        assert_eq!(unit(text).unwrap(), text);
    }

    #[test]
    fn a_file_that_is_not_one_unit_is_refused() {
        for sql in [
            "begin; drop table a; commit; begin; drop table b; commit",
            "drop table a; commit",
            "begin; drop table a",
            "begin; drop table a; rollback",
            "begin; drop table a; commit and chain",
            "begin isolation level serializable; drop table a; commit",
            "begin; commit",
            "  -- nothing\n",
            "drop tabel a",
            "\\i other.sql",
        ] {
            assert!(unit(sql).is_err(), "{sql}");
        }
    }
}
