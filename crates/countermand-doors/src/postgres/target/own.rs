//! What a human asks for without a session: read as a fresh session of an agent's would.

use super::client::{Client, Limits};
use super::{PostgresTarget, catalog};
use crate::postgres::interpret::{self, Role, Statement, interpret};
use crate::postgres::unit::{SETTINGS, Unit, UnitStatement};
use countermand_core::action::Action;
use countermand_core::request::Payload;
use countermand_engine::target::TargetError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Far longer than reading settings takes.
const IDLE: Duration = Duration::from_secs(30);

/// One unit, with everything that it would do.
pub(super) async fn read(
    target: &PostgresTarget,
    text: &str,
) -> Result<(Payload, Vec<Action>), TargetError> {
    let settings = settings(target).await?;
    let text = text.to_owned();
    let read = tokio::task::spawn_blocking(move || unit(&text, settings)).await;
    read.unwrap_or_else(|_| Err(TargetError::CannotJudge("it cannot be read".to_owned())))
}

async fn settings(target: &PostgresTarget) -> Result<BTreeMap<String, String>, TargetError> {
    let setup = target.setup();
    let limits = Limits { statement: setup.statement_timeout, lock: setup.lock_wait, idle: IDLE };
    let mut client = Client::open_plain(&setup.address, &setup.session, limits).await?;
    let rows = client.query(SETTINGS, &[]).await?;
    let pair = |row: &Vec<_>| (catalog::text(row, 0).to_owned(), catalog::text(row, 1).to_owned());
    Ok(rows.iter().map(pair).collect())
}

fn unit(
    text: &str,
    settings: BTreeMap<String, String>,
) -> Result<(Payload, Vec<Action>), TargetError> {
    let cannot = |why: String| Err(TargetError::CannotJudge(why));
    let standard = settings.get("standard_conforming_strings").is_none_or(|on| on != "off");
    let read = interpret(text, interpret::Settings { standard_conforming_strings: standard });
    if let Some(error) = read.syntax_error {
        return cannot(format!("it is not SQL: {error}"));
    }
    if let Some(statement) = read.statements.iter().find(|statement| !is_plain(statement)) {
        return cannot(format!(
            "`{}` is about the session, the transaction or the connection: propose only what \
             changes rows and definitions, in one file",
            statement.sql.chars().take(80).collect::<String>().escape_debug()
        ));
    }
    let actions: BTreeSet<Action> =
        read.statements.iter().flat_map(|statement| statement.actions.iter().cloned()).collect();
    let statements = read.statements.into_iter();
    let statements = statements.map(|statement| UnitStatement::new(statement.sql, Vec::new()));
    let unit = Unit { statements: statements.collect(), settings };
    if unit.statements.is_empty() {
        return cannot("it holds no statement".to_owned());
    }
    Ok((unit.to_payload(), actions.into_iter().collect()))
}

fn is_plain(statement: &Statement) -> bool {
    statement.role == Role::Plain && statement.copy.is_none()
}
