//! What is the same request in another spelling, and what only looks like it.

use super::one;
use crate::postgres::unit::{Parameter, Unit, UnitStatement};
use std::collections::{BTreeMap, BTreeSet};

/// Each line of a group asks the same.
const ALIKE: &[&[&str]] = &[
    &[
        "delete from t",
        "DELETE  FROM t",
        "delete/* tidy */from\n\tt -- now",
        "Delete From \"t\"",
        "DELETE FROM T",
    ],
    &[
        "delete from t where a = 1 and b <> 'x'",
        "DELETE FROM t WHERE ((a = 1) AND ((b != 'x')))",
        "delete from t where (a) = (1) and b <> E'x'",
        "delete from t where a=1 and b<>$$x$$",
        "delete from t where a = 1 and b <> U&'\\0078'",
    ],
    &["delete from t where (a = 1 and b = 2) and c = 3", "delete from t where a=1 and b=2 and c=3"],
    &[
        "select cast(a as int) from t",
        "SELECT (a)::pg_catalog.int4 FROM t",
        "select a::integer from t",
    ],
    &["truncate t", "TRUNCATE TABLE t"],
    &["drop table a, b", "DROP TABLE a , b RESTRICT"],
];

/// Pairs that look alike.
const UNLIKE: &[(&str, &str)] = &[
    ("delete from t where a = 1", "delete from t where a = 2"),
    ("delete from t where a = 1", "delete from t where a = 1.0"),
    ("delete from t where a = 1", "delete from t where a = '1'"),
    ("delete from t where a = 0", "delete from t where a = null"),
    ("delete from t where a = 0", "delete from t where a = false"),
    ("delete from t where a = ''", "delete from t where a = '0'"),
    ("delete from t where a = b'1'", "delete from t where a = x'1'"),
    ("delete from t", "delete from only t"),
    ("delete from t", "delete from u"),
    ("delete from t", "delete from s.t"),
    ("delete from t", "delete from \"T\""),
    ("delete from t where a = $1", "delete from t where a = $2"),
    ("delete from t where a or b and c", "delete from t where (a or b) and c"),
    ("delete from t where not (a and b)", "delete from t where not a and b"),
    ("delete from t where a - (b - c) > 0", "delete from t where a - b - c > 0"),
    ("truncate t", "truncate only t"),
    ("truncate t", "truncate t restart identity"),
    ("select cast(a as int) from t", "select cast(a as int4) from t"),
    ("drop table t", "drop table t cascade"),
    ("drop table t", "drop table if exists t"),
    ("drop table a, b", "drop table b, a"),
    ("update t set a = 1, b = 2", "update t set a = 2, b = 1"),
    ("select 1 from t limit all", "select 1 from t limit 1"),
    ("select a from t", "select all_a from t"),
    ("select a[1:] from t", "select a[:1] from t"),
    ("select f(a, b)", "select f(variadic a, b)"),
    ("select f()", "select f(*)"),
    ("select \"position\"('a', 'b')", "select position('b' in 'a')"),
    ("do $$begin end$$", "do $$begin  end$$"),
    ("create table t (a int)", "create unlogged table t (a int)"),
    ("create table t (a int4)", "create table t (a int8)"),
    ("alter table t drop column a", "alter table t drop column b"),
    ("grant select on t to a", "grant select on t to a with grant option"),
];

fn exact(sql: &str) -> String {
    one(sql).spelling.exact.to_string()
}

#[test]
fn white_space_comments_case_and_needless_parentheses_are_no_difference() {
    for group in ALIKE {
        let all: BTreeSet<_> = group.iter().map(|sql| exact(sql)).collect();
        assert_eq!(all.len(), 1, "{group:?}");
    }
    let groups: BTreeSet<_> = ALIKE.iter().map(|group| exact(group[0])).collect();
    assert_eq!(groups.len(), ALIKE.len(), "and they are not all one");
}

#[test]
fn what_means_something_else_is_something_else() {
    for (a, b) in UNLIKE {
        assert_ne!(exact(a), exact(b), "{a} | {b}");
    }
}

#[test]
fn what_is_one_request_does_one_thing() {
    let cases = include_str!("cases.txt").lines().filter(|line| !line.starts_with('#'));
    let texts: BTreeSet<&str> =
        cases.filter_map(|line| line.splitn(3, '|').nth(2)).map(str::trim).collect();
    assert!(texts.len() > 300);
    let mut seen = BTreeMap::new();
    for statement in texts.iter().flat_map(|sql| super::read(sql).statements) {
        let key = statement.spelling.exact.to_string();
        if let Some(before) = seen.insert(key, statement.clone()) {
            assert_eq!((before.actions, before.reads), (statement.actions, statement.reads));
        }
    }
}

#[test]
fn a_statement_that_reads_its_own_text_is_its_text() {
    let deletes = |space: &str| format!("delete from t where{space} current_query() like '%  %'");
    assert_ne!(exact(&deletes("")), exact(&deletes(" ")));
    assert_eq!(one(&deletes("")).spelling.shape, None);
    assert_ne!(exact("not sql"), exact("not  sql"));
}

fn parameter(value: &str) -> Parameter {
    Parameter { oid: 23, format: 0, value: Some(hex::encode(value)) }
}

fn shape(sql: &str, parameters: &[&str]) -> Option<String> {
    let parameters = parameters.iter().map(|value| parameter(value)).collect();
    let unit = Unit { statements: vec![UnitStatement::new(sql, parameters)], ..Unit::default() };
    unit.to_payload().shape.map(|digest| digest.to_string())
}

/// Pairs of the same shape: only values that say which rows differ.
const SAME_SHAPE: &[(&str, &str)] = &[
    ("delete from t where d < '2026-01-01'", "DELETE FROM t WHERE (d < '2026-01-02')"),
    ("delete from t where d < date '2026-01-01'", "delete from t where d < date '2027-01-01'"),
    (
        "delete from t where d < now() - interval '30 days'",
        "delete from t where d < now() - interval '3 days'",
    ),
    ("delete from t where a in (1, 2)", "delete from t where a in (3, 4)"),
    ("delete from t where a between 1 and 2 or b", "delete from t where a between 3 and 9 or b"),
    ("update t set s = 'old' where d < '1'", "update t set s = 'old' where d < '2'"),
    (
        "with g as (delete from t where d < '1' returning *) insert into u select * from g",
        "with g as (delete from t where d < '2' returning *) insert into u select * from g",
    ),
    (
        "delete from t where id in (select id from t where d < '1' limit 10)",
        "delete from t where id in (select id from t where d < '2' limit 10)",
    ),
];

/// Pairs of different shape: something else than which rows differs.
const OTHER_SHAPE: &[(&str, &str)] = &[
    ("update t set s = 'a' where d < '1'", "update t set s = 'b' where d < '1'"),
    ("delete from t where f('a') < 1", "delete from t where f('b') < 1"),
    ("delete from t where d < nextval('a')", "delete from t where d < nextval('b')"),
    ("delete from t where o = 'a'::regclass", "delete from t where o = 'b'::regclass"),
    ("delete from t where o = 'a'::mine.date", "delete from t where o = 'b'::mine.date"),
    ("delete from t where a ## 1", "delete from t where a ## 2"),
    ("delete from t where a operator(s.=) 1", "delete from t where a operator(s.=) 2"),
    ("delete from t where a = 1", "delete from t where a = '1'"),
    ("delete from t where a = 1", "delete from t where a = null"),
    ("delete from t where a = 1", "delete from t where a <> 1"),
    ("delete from t where a = 1", "delete from t where a = 1 or b = 1"),
    ("delete from t where a = 1", "delete from t"),
    ("delete from t where a in (1)", "delete from t where a in (1, 2)"),
    (
        "delete from t where case when a then 1 end = 1",
        "delete from t where case when a then 2 end = 1",
    ),
    ("insert into t select * from u where a = 1", "insert into t select * from u where a = 2"),
    (
        "with n as (insert into u select * from t where d < '1') delete from t where d < '1'",
        "with n as (insert into u select * from t where d < '2') delete from t where d < '1'",
    ),
    (
        "update t set p = u.p from (select p from u where k = 1) u where t.a = 1",
        "update t set p = u.p from (select p from u where k = 2) u where t.a = 1",
    ),
    (
        "delete from t where id in (select id from t where d < '1' limit 10)",
        "delete from t where id in (select id from t where d < '1' limit 20)",
    ),
    ("delete from t where a = 1 returning 1", "delete from t where a = 1 returning 2"),
    ("select * from t where a = 1", "select * from t where a = 2"),
];

#[test]
fn a_shape_leaves_open_which_rows_and_nothing_else() {
    for (a, b) in SAME_SHAPE {
        assert_eq!(shape(a, &[]).unwrap(), shape(b, &[]).unwrap(), "{a} | {b}");
        assert_ne!(exact(a), exact(b), "{a} | {b}");
    }
    for (a, b) in OTHER_SHAPE {
        assert_ne!(shape(a, &[]), shape(b, &[]), "{a} | {b}");
    }
    for none in [
        "drop table t",
        "do 'a'",
        "create rule r as on insert to t do also delete from u where a = 1",
        "create view v as select * from t where a = 1",
        "prepare p as delete from t where a = 1",
        "explain analyze delete from t where a = 1",
        "copy (delete from t where a = 1 returning *) to stdout",
        "set search_path = a",
        "not sql",
    ] {
        assert_eq!(shape(none, &[]), None, "{none}");
    }
}

#[test]
fn a_parameter_is_left_open_only_where_all_its_uses_are() {
    let compared = "delete from t where a < $1";
    assert_eq!(shape(compared, &["1"]), shape(compared, &["2"]));
    let called = "delete from t where a < $1 and f($1)";
    assert_ne!(shape(called, &["1"]), shape(called, &["2"]));
    let written = "update t set a = $1 where a < $1";
    assert_ne!(shape(written, &["1"]), shape(written, &["2"]));
    assert_ne!(shape(compared, &["1", "x"]), shape(compared, &["1", "y"]));
}

#[test]
fn a_unit_around_it_is_another_request_and_another_shape() {
    let of = |sqls: &[&str], path: &str| {
        let statements = sqls.iter().map(|sql| UnitStatement::new(*sql, Vec::new())).collect();
        let settings = [("search_path".to_owned(), path.to_owned())].into();
        Unit { statements, settings }.to_payload()
    };
    let delete = "delete from t where a = 1";
    let one = of(&[delete], "public");
    assert_eq!(one.asks, of(&["DELETE FROM t WHERE a=1"], "public").asks);
    for other in [of(&[delete, delete], "public"), of(&[delete], "x"), of(&[], "public")] {
        assert!(one.asks != other.asks && one.shape != other.shape);
    }
    let again = Unit::from_payload(&one).unwrap().to_payload();
    assert_eq!((again.asks, again.shape, again.body), (one.asks, one.shape, one.body));
}
