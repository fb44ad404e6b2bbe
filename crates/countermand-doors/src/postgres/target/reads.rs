//! What a unit's texts read, where that decides what they do: the rows that a condition, a new
//! value, a USING or a source of rows comes from.

use super::super::interpret::{self, Statement, interpret};
use super::super::unit::Unit;
use super::steps::Name;
use countermand_core::action::Action;
use countermand_core::effect::Effect;
use countermand_core::verb::{Verb, postgres as verb};
use countermand_engine::target::TargetError;
use std::collections::BTreeSet;

/// Names that a unit reads from.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// By statements that do something with what they read.
    pub(super) rows: BTreeSet<Name>,
    /// By views that it makes: of interest where it reads through one.
    pub(super) views: BTreeSet<Name>,
    /// Places in the unit of the statements that `rows` comes from, and of all others that are
    /// more than a question.
    pub(super) deciding: BTreeSet<usize>,
}

/// After one of these a name may mean another relation, or a relation other rows, than now.
const SHIFTS: [Verb; 10] = [
    verb::RENAME,
    verb::MOVE_TO_SCHEMA,
    verb::ATTACH_PARTITION,
    verb::DETACH_PARTITION,
    verb::REPLACE_VIEW,
    verb::REFRESH_MATERIALIZED_VIEW,
    verb::ROW_SECURITY,
    verb::SET_ROLE,
    verb::SET_PROTECTED,
    verb::SET_UNLISTED,
];

/// What the statements of a unit read.
///
/// # Errors
/// Where a statement reads after another one that changed what is there to be read.
pub(super) fn of(unit: &Unit) -> Result<Reads, TargetError> {
    let standard = unit.settings.get("standard_conforming_strings").is_none_or(|on| on != "off");
    let settings = interpret::Settings { standard_conforming_strings: standard };
    let mut reads = Reads::default();
    let mut shifted: Option<Action> = None;
    for (index, statement) in unit.statements.iter().enumerate() {
        for part in interpret(&statement.sql, settings).statements {
            let names = part.reads.iter().filter_map(|parts| name(parts));
            if makes_view(&part) {
                reads.views.extend(names);
            } else if decides(&part) {
                reads.deciding.insert(index);
                let names: BTreeSet<Name> = names.collect();
                match (&shifted, names.first()) {
                    (Some(action), Some(name)) => return Err(too_late(action, name)),
                    _ => reads.rows.extend(names),
                }
            }
            let shift = part.actions.into_iter().find(shifts);
            shifted = shifted.or(shift);
        }
    }
    Ok(reads)
}

fn name(parts: &[String]) -> Option<Name> {
    let (name, schema) = parts.split_last()?;
    Some(Name { schema: schema.last().cloned(), name: name.clone() })
}

/// Only defines a view: nothing is read yet.
fn makes_view(part: &Statement) -> bool {
    let verbs = [verb::CREATE_VIEW, verb::REPLACE_VIEW, verb::SELECT];
    part.actions.iter().all(|action| verbs.contains(&action.verb))
        && part.actions.iter().any(|action| action.verb != verb::SELECT)
}

/// Whether what it reads can change anything: a question's answer goes nowhere, but a cursor is a
/// place that later statements refer to.
fn decides(part: &Statement) -> bool {
    part.effect() != Effect::Read
        || part.actions.iter().any(|action| action.verb == verb::DECLARE_CURSOR)
}

fn shifts(action: &Action) -> bool {
    let object = &action.object;
    let setting = |name: &str| object.kind == "setting" && object.name == name;
    SHIFTS.contains(&action.verb)
        || setting("search_path")
        || setting("row_security")
        || (action.verb == verb::RESET && object.name.is_empty())
}

fn too_late(action: &Action, name: &Name) -> TargetError {
    let name = name.schema.iter().chain([&name.name]).cloned().collect::<Vec<_>>().join(".");
    TargetError::CannotJudge(format!(
        "a statement reads `{name}` after another that {}: what it will find there cannot be \
         measured; send the two as separate changes",
        action.verb.doc()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::unit::UnitStatement;

    fn read(statements: &[&str]) -> Result<String, TargetError> {
        let statement = |sql: &&str| UnitStatement::new(*sql, vec![]);
        let unit =
            Unit { statements: statements.iter().map(statement).collect(), ..Unit::default() };
        let reads = of(&unit)?;
        let text = |names: BTreeSet<Name>| {
            let parts = names.iter().map(|name| name.parts().join("."));
            parts.collect::<Vec<_>>().join(" ")
        };
        Ok(format!("{}|{}", text(reads.rows), text(reads.views)))
    }

    #[test]
    fn every_relation_that_decides_what_is_done() {
        for (sql, expected) in [
            ("DELETE FROM t WHERE a IN (SELECT a FROM s.r)", "s.r|"),
            ("DELETE FROM t USING r JOIN q ON true WHERE t.a = r.a", "q r|"),
            ("DELETE FROM t WHERE a < (SELECT avg(a) FROM t)", "t|"),
            ("DELETE FROM t WHERE a = 1 RETURNING *", "|"),
            ("UPDATE t SET a = (SELECT a FROM r LIMIT 1), b = 1 FROM q WHERE q.a = t.a", "q r|"),
            ("INSERT INTO t SELECT * FROM r UNION TABLE q", "q r|"),
            ("INSERT INTO t VALUES ((SELECT max(a) FROM r))", "r|"),
            ("MERGE INTO t USING r ON t.a = r.a WHEN MATCHED THEN DELETE", "r|"),
            ("WITH r AS (SELECT * FROM q) DELETE FROM t USING r WHERE t.a = r.a", "q|"),
            ("WITH r AS (SELECT * FROM r) DELETE FROM t USING r WHERE t.a = r.a", "r|"),
            ("WITH RECURSIVE r AS (TABLE q UNION TABLE r) DELETE FROM t USING r", "q|"),
            ("WITH d AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM d, r", "r|"),
            ("CREATE TABLE u AS SELECT * FROM r", "r|"),
            ("DECLARE c CURSOR FOR SELECT * FROM r", "r|"),
            ("SELECT * FROM r FOR UPDATE OF r", "r|"),
            ("SELECT o.a FROM orders o FOR UPDATE OF o", "orders|"),
            ("EXPLAIN ANALYZE DELETE FROM t USING r", "r|"),
            ("CREATE VIEW v AS SELECT * FROM r", "|r"),
            ("SELECT * FROM r", "|"),
            ("EXPLAIN DELETE FROM t USING r", "|"),
            ("CREATE TABLE u (a int REFERENCES r, LIKE q)", "|"),
            ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES r", "|"),
            ("DROP TABLE t", "|"),
        ] {
            assert_eq!(read(&[sql]).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn nothing_is_read_after_names_have_moved() {
        let delete = "DELETE FROM t WHERE a IN (SELECT a FROM r)";
        for before in [
            "ALTER TABLE q RENAME TO r",
            "ALTER TABLE q SET SCHEMA s",
            "ALTER TABLE q INHERIT r",
            "ALTER TABLE r ATTACH PARTITION q DEFAULT",
            "CREATE OR REPLACE VIEW r AS SELECT 1 a",
            "REFRESH MATERIALIZED VIEW r",
            "SET search_path = s",
            "RESET search_path",
            "RESET ALL",
            "SELECT set_config('search_path', 's', false)",
            "SET row_security = off",
        ] {
            let error = read(&[before, delete]).expect_err(before).to_string();
            assert!(error.contains("reads `r` after another"), "{before}: {error}");
            assert_eq!(read(&[delete, before]).unwrap().split('|').next(), Some("r"), "{before}");
        }
        let moved =
            ["CREATE TABLE u AS SELECT * FROM r", "DROP TABLE r", "ALTER TABLE u RENAME TO r"];
        assert_eq!(read(&moved).unwrap(), "r|");
    }
}
