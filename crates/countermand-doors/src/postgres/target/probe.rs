//! A question of the site's, asked as agents' statements run: with the session role's rights, in a
//! transaction that writes nothing and ends in ROLLBACK.

use super::client::{Client, Limits};
use super::{PostgresTarget, catalog};
use countermand_engine::target::TargetError;
use std::time::Duration;

/// As much of an answer is taken: more is not compared, but refused.
const LONGEST: usize = 64 * 1024;

/// Rows that are asked for: the second shows that there is more than one.
const ENOUGH: i32 = 2;

/// A gateway that is busy is not cut off between two of its own statements.
const IDLE: Duration = Duration::from_secs(30);

/// Answers with the one value of the one row that the question must bring.
pub(super) async fn probe(
    target: &PostgresTarget,
    question: &str,
    within: Duration,
) -> Result<Option<String>, TargetError> {
    let setup = target.setup();
    let statement = setup.statement_timeout.min(within);
    let limits = Limits { statement, lock: setup.lock_wait.min(within), idle: within.max(IDLE) };
    let mut client = Client::open(&setup.address, &setup.session, limits).await?;
    // Rows that policies hide from agents are hidden from the question too; off, it would fail.
    client.batch("BEGIN READ ONLY; SET LOCAL row_security TO on").await?;
    let rows = client.query_at_most(question, ENOUGH).await;
    let ended = client.batch("ROLLBACK").await;
    let rows = rows?;
    ended?;
    let not_one = |what: String| Err(TargetError::CannotJudge(what));
    let [row] = rows.as_slice() else {
        let found = if rows.is_empty() { "no row" } else { "more than one row" };
        return not_one(format!("the probe brought {found} where it must bring one"));
    };
    let [value] = row.as_slice() else {
        return not_one(format!("the probe brought {} columns where it must bring one", row.len()));
    };
    match value {
        None => Ok(None),
        Some(value) if value.len() > LONGEST => {
            not_one(format!("the probe's answer is longer than {LONGEST} bytes"))
        }
        Some(_) => Ok(Some(catalog::text(row, 0).to_owned())),
    }
}
