//! What the door learns besides the actions.

use countermand_core::action::Object;
use countermand_core::effect::Effect;
use countermand_core::verb::postgres as verb;

use super::super::{
    CopyDirection, Modes, Role, SessionStatement as S, SettingClass, TransactionStatement as T,
    setting_class,
};
use super::{one, read, verbs};

fn session(sql: &str) -> S {
    match one(sql).role {
        Role::Session(statement) => statement,
        other => panic!("{sql}: {other:?}"),
    }
}

fn transaction(sql: &str) -> T {
    match one(sql).role {
        Role::Transaction(statement) => statement,
        other => panic!("{sql}: {other:?}"),
    }
}

fn set(name: &str, value: Option<&str>, local: bool) -> S {
    S::Set { name: name.to_owned(), value: value.map(str::to_owned), local }
}

#[test]
fn settings_in_all_their_spellings() {
    for (sql, expected) in [
        ("SET work_mem = '4MB'", set("work_mem", Some("4MB"), false)),
        ("SET LOCAL Statement_Timeout TO 5000", set("statement_timeout", Some("5000"), true)),
        ("SET SESSION jit = off", set("jit", Some("off"), false)),
        ("SET extra_float_digits = -1.5", set("extra_float_digits", Some("-1.5"), false)),
        ("SET search_path = app, \"My App\"", set("search_path", Some("app, \"My App\""), false)),
        ("SET search_path = ''", set("search_path", Some("\"\""), false)),
        ("SET TIME ZONE 'UTC'", set("timezone", Some("UTC"), false)),
        ("SET TIME ZONE DEFAULT", set("timezone", None, false)),
        ("SET NAMES 'utf8'", set("client_encoding", Some("utf8"), false)),
        ("SET datestyle TO ISO, DMY", set("datestyle", Some("iso, dmy"), false)),
        ("SELECT set_config('jit', 'off', true)", set("jit", Some("off"), true)),
        ("SELECT pg_catalog.set_config('a.b', 'c', 'f')", set("a.b", Some("c"), false)),
        (
            "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",
            set("jit", Some("off"), false),
        ),
        ("SELECT set_config('jit', $1, false)", set("jit", None, false)),
        ("RESET jit", S::Reset { name: "jit".to_owned() }),
        ("RESET ALL", S::ResetAll),
        ("SHOW TimeZone", S::Show { name: "timezone".to_owned() }),
    ] {
        assert_eq!(session(sql), expected, "{sql}");
    }
    for sql in [
        "SELECT set_config('jit', 'off', true), 1",
        "SELECT set_config('jit', 'off', true) FROM t",
        "SELECT set_config('jit', 'off', true) WHERE false",
        "SELECT set_config('jit', 'off', true) UNION SELECT 'a'",
        "WITH x AS (SELECT 1) SELECT set_config('jit', 'off', true)",
        "SELECT set_config('jit', note, true)",
        "SELECT set_config('jit', $1 || 'x', true)",
        "SELECT set_config($1, 'off', true)",
        "SELECT set_config('search_path', $1, true)",
        "SELECT set_config('role', $1, true)",
        "SELECT set_config('work_mem', $1, true)",
        "SELECT set_config('standard_conforming_strings', $1, true)",
        "SELECT set_config('jit', 'off', true), set_config('role', 'x', true)",
        "SELECT current_setting(note), set_config('jit', 'off', true) FROM t",
        "SELECT public.current_setting('jit'), set_config('jit', 'off', true)",
    ] {
        assert_eq!(one(sql).role, Role::Plain, "{sql}");
        assert!(one(sql).effect() >= Effect::Opaque, "{sql}");
    }
}

#[test]
fn classes_of_settings() {
    for (name, value, class) in [
        ("application_name", Some("x"), SettingClass::Free),
        ("TimeZone", None, SettingClass::Free),
        ("STATEMENT_TIMEOUT", Some("0"), SettingClass::Limit),
        ("role", Some("none"), SettingClass::Role),
        ("client_encoding", Some("UTF-8"), SettingClass::Free),
        ("client_encoding", Some("'utf-8'"), SettingClass::Free),
        ("client_encoding", Some("utf8, sql_ascii"), SettingClass::Protected),
        ("client_encoding", Some("utf8é"), SettingClass::Protected),
        ("client_encoding", None, SettingClass::Protected),
        ("default_transaction_read_only", Some("on"), SettingClass::Free),
        ("default_transaction_read_only", Some("off"), SettingClass::Protected),
        ("transaction_read_only", None, SettingClass::Protected),
        ("search_path", Some("a, pg_catalog"), SettingClass::Protected),
        ("search_path", Some("pg_catalog, a"), SettingClass::Free),
        ("search_path", None, SettingClass::Free),
        ("track_counts", Some("off"), SettingClass::Unlisted),
        ("my.tenant", Some("1"), SettingClass::Unlisted),
    ] {
        assert_eq!(setting_class(name, value), class, "{name} {value:?}");
    }
}

#[test]
fn prepared_statements_and_cursors() {
    let S::Prepare { name, inner } = session("PREPARE p (int) AS DELETE FROM orders WHERE id = $1")
    else {
        panic!("not prepared");
    };
    assert_eq!(name, "p");
    assert_eq!(verbs(&inner), ["Delete"]);
    assert_eq!(one("PREPARE p AS DELETE FROM orders").effect(), Effect::Read);
    assert_eq!(session("EXECUTE p (1)"), S::Execute { name: "p".to_owned() });
    assert_eq!(session("DEALLOCATE PREPARE p"), S::Deallocate { name: Some("p".to_owned()) });
    assert_eq!(session("DEALLOCATE ALL"), S::Deallocate { name: None });
    for (sql, hold) in [
        ("DECLARE c CURSOR FOR SELECT 1", false),
        ("DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", false),
        ("DECLARE c BINARY INSENSITIVE NO SCROLL CURSOR WITH HOLD FOR SELECT 1", true),
    ] {
        assert_eq!(session(sql), S::DeclareCursor { name: "c".to_owned(), hold }, "{sql}");
    }
    let held = one("DECLARE c CURSOR WITH HOLD FOR SELECT evil()");
    assert_eq!(verbs(&held), ["CallFunction", "DeclareCursor"]);
    assert_eq!(session("FETCH 5 FROM c"), S::Fetch { cursor: "c".to_owned(), moves: false });
    assert_eq!(session("MOVE 5 IN c"), S::Fetch { cursor: "c".to_owned(), moves: true });
    assert_eq!(session("CLOSE ALL"), S::CloseCursor { name: None });
    assert_eq!(session("DISCARD ALL"), S::DiscardAll);
    assert!(!one("DISCARD ALL").transactional);
    assert_eq!(session("DISCARD PLANS"), S::DiscardOther);
    assert_eq!(session("SET CONSTRAINTS a DEFERRED"), S::SetConstraints { deferred: true });
    assert_eq!(session("UNLISTEN *"), S::Unlisten { channel: None });
}

#[test]
fn transactions_and_their_modes() {
    let modes = |read_only, isolation: Option<&str>, deferrable| Modes {
        read_only,
        isolation: isolation.map(str::to_owned),
        deferrable,
    };
    for (sql, expected) in [
        ("BEGIN", T::Begin(Modes::default())),
        ("BEGIN READ ONLY", T::Begin(modes(Some(true), None, None))),
        ("START TRANSACTION READ WRITE", T::Begin(modes(Some(false), None, None))),
        (
            "BEGIN ISOLATION LEVEL REPEATABLE READ, NOT DEFERRABLE",
            T::Begin(modes(None, Some("repeatable read"), Some(false))),
        ),
        (
            "SET TRANSACTION READ ONLY",
            T::Set { modes: modes(Some(true), None, None), session: false },
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            T::Set { modes: modes(Some(false), None, None), session: true },
        ),
        ("SET TRANSACTION SNAPSHOT 'x'", T::SetSnapshot { id: "x".to_owned() }),
        ("COMMIT", T::Commit { chain: false }),
        ("END AND CHAIN", T::Commit { chain: true }),
        ("ABORT", T::Rollback { chain: false }),
        ("SAVEPOINT a", T::Savepoint { name: "a".to_owned() }),
        ("RELEASE a", T::Release { name: "a".to_owned() }),
        ("ROLLBACK TO a", T::RollbackTo { name: "a".to_owned() }),
        ("PREPARE TRANSACTION 'g'", T::PrepareTransaction { gid: "g".to_owned() }),
        ("COMMIT PREPARED 'g'", T::CommitPrepared { gid: "g".to_owned() }),
        ("ROLLBACK PREPARED 'g'", T::RollbackPrepared { gid: "g".to_owned() }),
    ] {
        assert_eq!(transaction(sql), expected, "{sql}");
    }
}

#[test]
fn objects_are_named_as_the_text_names_them() {
    for (sql, kind, name) in [
        ("DROP TABLE Orders", "table", "orders"),
        ("DROP TABLE \"Orders\"", "table", "\"Orders\""),
        ("DROP TABLE app.\"a.b\"", "table", "app.\"a.b\""),
        ("DROP TABLE \"a\"\"b\"", "table", "\"a\"\"b\""),
        ("DROP TRIGGER t ON app.orders", "trigger", "app.orders.t"),
        ("DROP FUNCTION app.f(int)", "function", "app.f"),
        ("DROP SCHEMA billing", "schema", "billing"),
        ("ALTER INDEX app.i RENAME TO j", "index", "app.i"),
        ("ALTER TABLE orders RENAME COLUMN a TO b", "table", "orders"),
        ("ALTER SCHEMA a RENAME TO b", "schema", "a"),
        ("DELETE FROM ONLY shop.app.orders", "table", "shop.app.orders"),
        ("SELECT nextval('app.s')", "sequence", "app.s"),
        ("DROP DATABASE shop", "database", "shop"),
        ("CREATE INDEX i ON app.orders (id)", "table", "app.orders"),
        ("SELECT 1", "database", ""),
    ] {
        let actions = one(sql).actions;
        assert_eq!(actions.len(), 1, "{sql}: {actions:?}");
        assert_eq!(actions[0].object, Object::new(kind, name), "{sql}");
    }
}

#[test]
fn with_queries_are_not_tables_where_they_are_visible() {
    for (sql, tables) in [
        ("WITH x AS (SELECT * FROM a) SELECT * FROM x", "a"),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a"),
        ("WITH RECURSIVE a AS (SELECT 1 UNION SELECT * FROM a) SELECT * FROM a", ""),
        ("WITH x AS (SELECT 1), y AS (SELECT * FROM x) SELECT * FROM y", ""),
        ("WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x", "y"),
        ("SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) q, x", "x"),
        ("WITH x AS (SELECT 1) SELECT * FROM app.x", "app.x"),
        ("WITH x AS (SELECT 1) SELECT (SELECT count(*) FROM x)", ""),
    ] {
        let actions = one(sql).actions;
        let tables: Vec<_> = tables.split(' ').collect();
        let found: Vec<_> = actions.iter().map(|action| action.object.name.as_str()).collect();
        assert_eq!(found, tables, "{sql}");
    }
    let insert = one("WITH x AS (SELECT 1) INSERT INTO x SELECT * FROM x");
    assert_eq!(insert.actions.len(), 1, "a target is never a WITH query");
    assert_eq!(insert.actions[0].verb, verb::INSERT);
}

#[test]
fn what_a_rollback_undoes_and_what_may_stand_in_a_transaction() {
    for (sql, undone, transactional) in [
        ("SELECT 1", true, true),
        ("DELETE FROM orders", true, true),
        ("DROP TABLE orders", true, true),
        ("SELECT nextval('s')", true, true),
        ("SELECT setval('s', 1)", false, true),
        ("SELECT pg_advisory_xact_lock(1)", true, true),
        ("SELECT pg_advisory_lock(1)", false, true),
        ("SELECT pg_terminate_backend(1)", false, true),
        ("SELECT purge()", false, true),
        ("DO 'x'", false, true),
        ("COPY t TO PROGRAM 'x'", false, true),
        ("SELECT dblink_exec('x')", false, true),
        ("VACUUM", false, false),
        ("ANALYZE", true, true),
        ("CREATE INDEX ON t (a)", true, true),
        ("CREATE INDEX CONCURRENTLY ON t (a)", false, false),
        ("DROP INDEX CONCURRENTLY i", false, false),
        ("REINDEX TABLE t", true, true),
        ("REINDEX (CONCURRENTLY) TABLE t", false, false),
        ("REINDEX SCHEMA s", false, false),
        ("DROP DATABASE a", false, false),
        ("CREATE DATABASE a", false, false),
        ("ALTER SYSTEM SET a = 1", false, false),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", false, false),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", false, false),
        ("CLUSTER", false, false),
        ("CLUSTER t", true, true),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'x'", true, true),
    ] {
        let statement = one(sql);
        let found = (statement.undone_by_rollback, statement.transactional);
        assert_eq!(found, (undone, transactional), "{sql}");
    }
}

#[test]
fn copy_goes_over_the_connection_or_not() {
    for (sql, copy) in [
        ("COPY t FROM STDIN", Some(CopyDirection::In)),
        ("COPY t TO STDOUT", Some(CopyDirection::Out)),
        ("COPY (SELECT 1) TO STDOUT", Some(CopyDirection::Out)),
        ("COPY t FROM '/x'", None),
        ("COPY t TO PROGRAM 'x'", None),
        ("SELECT 1", None),
    ] {
        assert_eq!(one(sql).copy, copy, "{sql}");
    }
}

#[test]
fn a_syntax_error_is_said_and_is_opaque() {
    let broken = read("SELEC 1");
    assert!(broken.syntax_error.unwrap().contains("syntax error"));
    assert_eq!(broken.statements[0].effect(), Effect::Opaque);
    assert!(read("").statements.is_empty());
    assert!(read(" ; -- nothing\n").statements.is_empty());
    assert_eq!(read("SELECT 1").syntax_error, None);
}
