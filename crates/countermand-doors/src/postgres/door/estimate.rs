//! How much a statement will do, by the server's own plan, where its text does not tell: what is
//! ten times over its limit is not run to find that out.

use super::flight::Broken;
use super::gate::Gate;
use super::run::Ran;
use super::session::Session;
use super::step::{Kind, Show, Step};
use crate::postgres::unit::UnitStatement;
use bytes::{Bytes, BytesMut};
use countermand_core::limits::{Beyond, Limits};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use serde_json::Value;

/// The name that our question has on the server.
const NAME: &str = "countermand_estimate";
/// A plan is wrong now and then; this far it hardly is.
const OVER: u64 = 10;
/// Of fewer rows a plan says nothing: a table that was never analyzed seems to have thousands.
const FEW: u64 = 10_000;

impl<G: Gate> Session<G> {
    /// Whether the plan of a statement that is about to run is not far over the limits. Otherwise,
    /// or where the server had an error, the agent has been told.
    pub(super) async fn looks_small(
        &mut self,
        statement: &UnitStatement,
        ran: &mut Ran,
    ) -> Result<bool, Broken> {
        if self.scales.observed {
            return Ok(true);
        }
        let (Some(limits), Some(sends)) = (self.scales.limits, asks(statement)) else {
            return Ok(true);
        };
        self.pending.push(Step::new(Kind::Own, Show::Nobody, sends));
        let mut report = self.land().await?;
        let plan = report.rows.pop().and_then(|row| row.into_iter().next()).flatten();
        ran.add(report);
        if ran.error.is_some() {
            return Ok(false);
        }
        let Some(what) = Expected::of(plan.as_deref().unwrap_or_default()).beyond(limits) else {
            return Ok(true);
        };
        ran.error = Some(what.clone());
        self.hold_unrun(Beyond::Odd { what }).await?;
        Ok(false)
    }
}

/// The messages that ask for the plan of a statement, with its parameters.
fn asks(statement: &UnitStatement) -> Option<Bytes> {
    let sql = format!("EXPLAIN (FORMAT JSON) {}", statement.sql);
    let parameters = &statement.parameters;
    let values: Option<Vec<Option<Vec<u8>>>> = parameters
        .iter()
        .map(|given| given.value.as_ref().map(hex::decode).transpose().ok())
        .collect();
    let put = |value: Option<Vec<u8>>, out: &mut BytesMut| {
        Ok(match value {
            None => IsNull::Yes,
            Some(value) => {
                out.extend_from_slice(&value);
                IsNull::No
            }
        })
    };
    let mut out = BytesMut::new();
    frontend::close(b'S', NAME, &mut out).ok()?;
    frontend::close(b'P', NAME, &mut out).ok()?;
    frontend::parse(NAME, &sql, parameters.iter().map(|given| given.oid), &mut out).ok()?;
    let formats = parameters.iter().map(|given| given.format);
    frontend::bind(NAME, NAME, formats, values?, put, [0], &mut out).ok()?;
    frontend::execute(NAME, 0, &mut out).ok()?;
    Some(out.freeze())
}

/// Rows that a plan adds and locks.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    inserted: f64,
    locked: f64,
}

impl Expected {
    /// Of what EXPLAIN says in JSON. What is not understood is not expected: it is measured.
    fn of(plan: &str) -> Expected {
        let mut expected = Expected::default();
        let plans: Value = serde_json::from_str(plan).unwrap_or_default();
        for plan in plans.as_array().into_iter().flatten() {
            expected.add(&plan["Plan"], f64::INFINITY);
        }
        expected
    }

    /// `most`: of no more rows than this is anything asked.
    fn add(&mut self, node: &Value, most: f64) {
        let rows = |node: &Value| node["Plan Rows"].as_f64().unwrap_or_default();
        let children = || node["Plans"].as_array().into_iter().flatten();
        match (node["Node Type"].as_str(), node["Operation"].as_str()) {
            (Some("ModifyTable"), Some("Insert")) => {
                // What belongs to a subquery is no row of its own.
                let own = |child: &&Value| child["Parent Relationship"] == "Outer";
                self.inserted += children().filter(own).map(rows).sum::<f64>();
            }
            (Some("LockRows"), _) => self.locked += rows(node).min(most),
            _ => {}
        }
        let most = if node["Node Type"] == "Limit" { rows(node) } else { f64::INFINITY };
        for child in children() {
            self.add(child, most);
        }
    }

    /// In which way it is far too much, in words.
    fn beyond(&self, limits: Limits) -> Option<String> {
        let far = |expected: f64, limit: u64| expected > limit.saturating_mul(OVER).max(FEW) as f64;
        let words = |does: &str, expected: f64, limit: u64| {
            format!(
                "it was not run: by its plan it {does} {expected} rows, far more than the limit \
                 of {limit}"
            )
        };
        if far(self.inserted, limits.inserted) {
            return Some(words("inserts", self.inserted, limits.inserted));
        }
        far(self.locked, limits.rows).then(|| words("locks", self.locked, limits.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(plan: Value) -> Expected {
        Expected::of(&json!([{ "Plan": plan }]).to_string())
    }

    #[test]
    fn rows_are_those_that_are_added_or_locked() {
        let scan = |rows: u64| json!({ "Node Type": "Seq Scan", "Plan Rows": rows, "Parent Relationship": "Outer" });
        let init =
            json!({ "Node Type": "Seq Scan", "Plan Rows": 9, "Parent Relationship": "InitPlan" });
        let insert = json!({ "Node Type": "ModifyTable", "Operation": "Insert", "Plan Rows": 0,
            "Plans": [init, scan(500)] });
        assert_eq!(of(insert.clone()), Expected { inserted: 500.0, locked: 0.0 });
        let with = json!({ "Node Type": "Aggregate", "Plan Rows": 1, "Plans": [insert] });
        assert_eq!(of(with).inserted, 500.0);
        let locks = json!({ "Node Type": "LockRows", "Plan Rows": 7000, "Plans": [scan(7000)] });
        assert_eq!(of(locks.clone()).locked, 7000.0);
        let ten = json!({ "Node Type": "Limit", "Plan Rows": 10, "Plans": [locks.clone()] });
        assert_eq!(of(ten).locked, 10.0);
        // A limit further up may come after all were locked.
        let sorted = json!({ "Node Type": "Sort", "Plan Rows": 7000, "Plans": [locks] });
        let ten = json!({ "Node Type": "Limit", "Plan Rows": 10, "Plans": [sorted] });
        assert_eq!(of(ten).locked, 7000.0);
        for odd in ["", "[]", "null", "[{\"Plan\": 3}]"] {
            assert_eq!(Expected::of(odd), Expected::default(), "{odd}");
        }
    }

    #[test]
    fn what_is_ten_times_over_is_far_too_much() {
        let limits = Limits { inserted: 2_000, rows: 2, ..Limits::default() };
        let beyond = |inserted, locked| Expected { inserted, locked }.beyond(limits);
        assert_eq!(beyond(20_000.0, 10_000.0), None);
        assert!(beyond(20_001.0, 0.0).unwrap().contains("inserts 20001 rows"));
        assert!(beyond(0.0, 10_001.0).unwrap().contains("locks 10001 rows"));
    }
}
