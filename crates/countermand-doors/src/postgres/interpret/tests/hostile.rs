//! Texts that are made to break the reader.

use countermand_core::effect::Effect;
use countermand_core::verb::postgres as verb;
use proptest::prelude::*;

use super::super::{MAX_SQL, Role, Settings, interpret};
use super::{one, read, verbs};

/// Not understood as a whole, and the text kept.
fn assert_opaque(sql: &str) {
    let statement = one(sql);
    assert_eq!(verbs(&statement), ["NotUnderstood"]);
    assert_eq!(statement.role, Role::Plain);
    assert_eq!(statement.sql, sql);
    assert!(!statement.undone_by_rollback);
    assert_eq!(statement.why.len(), 1);
}

#[test]
fn a_nul_is_not_understood() {
    assert_opaque("SELECT 1\0; DROP TABLE orders");
    assert_opaque("\0");
}

#[test]
fn a_text_over_the_limit_is_not_understood() {
    let longest = format!("SELECT '{}'", "x".repeat(MAX_SQL - 9));
    assert_eq!(longest.len(), MAX_SQL);
    assert_eq!(one(&longest).effect(), Effect::Read);
    assert_opaque(&format!("{longest} "));
    assert_opaque(&"x".repeat(2 * MAX_SQL));
}

#[test]
fn joins_and_long_lists_are_understood() {
    let joins = |count: usize| {
        let tables: String = (1..count).map(|n| format!(" JOIN t{n} ON t{n}.id = t0.id")).collect();
        one(&format!("SELECT * FROM t0{tables}"))
    };
    for count in [47, 500] {
        let statement = joins(count);
        assert_eq!(statement.effect(), Effect::Read);
        assert_eq!(statement.actions.len(), count);
    }
    let list = vec!["1"; 20_000].join(",");
    let statement = one(&format!("DELETE FROM orders WHERE id IN ({list})"));
    assert_eq!(verbs(&statement), ["Delete"]);
    let unions = vec!["SELECT 1"; 500].join(" UNION ALL ");
    assert_eq!(one(&unions).effect(), Effect::Read);
}

/// Whatever the depth, an answer; and the last word in the text is never lost on the way.
#[test]
fn deep_nesting_is_answered() {
    for depth in [100, 1_000, 10_000, 50_000] {
        let shapes = [
            format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth)),
            format!("SELECT 1{}", "+1".repeat(depth)),
            format!("SELECT {}purge(){}", "abs(".repeat(depth), ")".repeat(depth)),
            format!("{}SELECT 1{}", "SELECT * FROM (".repeat(depth), ") x".repeat(depth)),
            format!("SELECT {}true", "NOT ".repeat(depth)),
            format!("SELECT '{{}}'{}", "::text".repeat(depth)),
            format!("SELECT 1{}", " UNION SELECT 1".repeat(depth)),
            format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(depth), " END".repeat(depth)),
        ];
        for (number, sql) in shapes.iter().enumerate() {
            let statement = one(sql);
            let calls = number == 2;
            let expected = if calls { Effect::Opaque } else { Effect::Read };
            let given_up = verbs(&statement) == ["NotUnderstood"];
            assert!(given_up || statement.effect() == expected, "shape {number}, depth {depth}");
            assert!(!given_up || depth > 100, "shape {number}, depth {depth}");
        }
    }
}

#[test]
fn every_statement_is_its_own_part_of_the_text() {
    let sql = "SELECT 'ä;';  /* ; */ DROP TABLE \"ö;\" ; -- ;\nSELECT $$;$$";
    let statements = read(sql).statements;
    let parts: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[0], "SELECT 'ä;'");
    assert!(parts[1].ends_with("DROP TABLE \"ö;\""), "{}", parts[1]);
    assert!(parts[2].ends_with("SELECT $$;$$"), "{}", parts[2]);
    assert_eq!(statements[1].actions[0].object.name, "\"ö;\"");
    assert_eq!(statements[1].actions[0].verb, verb::DROP_TABLE);
}

/// The server's setting decides where a string ends.
#[test]
fn backslashes_in_strings_follow_the_setting() {
    let sql = r"SELECT 'a\'; DROP TABLE orders; --'";
    let plain = interpret(sql, Settings { standard_conforming_strings: true });
    assert_eq!(plain.statements.len(), 2);
    assert_eq!(plain.effect(), Effect::Destroy);
    let escapes = interpret(sql, Settings { standard_conforming_strings: false });
    assert_eq!(escapes.statements.len(), 1);
    assert_eq!(escapes.effect(), Effect::Read);

    let sql = r"SELECT 'a\\'; DROP TABLE orders; --'";
    let escapes = interpret(sql, Settings { standard_conforming_strings: false });
    assert_eq!(escapes.effect(), Effect::Destroy);
    // A prefix says more than the setting.
    for setting in [true, false] {
        let settings = Settings { standard_conforming_strings: setting };
        let sql = r"SELECT E'a\'; DROP TABLE orders; --'";
        assert_eq!(interpret(sql, settings).effect(), Effect::Read);
        let sql = r"SELECT $$a\$$; DROP TABLE orders; --$$";
        assert_eq!(interpret(sql, settings).effect(), Effect::Destroy);
    }
    let unicode = interpret("SELECT U&'a'", Settings { standard_conforming_strings: false });
    assert_eq!(unicode.effect(), Effect::Opaque, "the server refuses it too");
}

#[test]
fn reasons_are_fit_to_print() {
    let statement = one("SELECT \"a\u{1b}[2J\u{202e}\nb\"()");
    let why = statement.why.join("");
    assert!(why.starts_with("unknown function `"), "{why}");
    assert!(why.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{why}");
    let long = one(&format!("SELECT {}", "f(g(".repeat(300) + &"))".repeat(300)));
    assert!(long.why.len() <= 20);
    let broken = read("SELECT \u{7}\u{1b}").syntax_error.unwrap();
    assert!(broken.chars().all(|c| !c.is_control()), "{broken}");
}

#[test]
fn many_distinct_calls_take_no_quadratic_time() {
    let calls: Vec<String> = (0..50_000).map(|n| format!("f{n}()")).collect();
    let statement = one(&format!("SELECT {}", calls.join(",")));
    assert_eq!(statement.actions.len(), 50_000);
}

#[test]
fn readers_may_be_many() {
    let read = |n: usize| one(&format!("SELECT * FROM t{n}")).actions[0].object.name.clone();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|n| (n, scope.spawn(move || read(n)))).collect();
        for (n, thread) in threads {
            assert_eq!(thread.join().unwrap(), format!("t{n}"));
        }
    });
}

/// Pieces that make statements, or nearly.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "SELECT",
        "DELETE FROM",
        "UPDATE",
        "SET",
        "WHERE",
        "t",
        "a.b",
        "(",
        ")",
        ",",
        ";",
        "'",
        "\"",
        "$$",
        "$x$",
        "--",
        "/*",
        "*/",
        "\n",
        "\\",
        "E'",
        "U&'",
        "1",
        "=",
        "DROP",
        "TABLE",
        "ALTER",
        "DO",
        "WITH x AS",
        "RETURNING",
        "COPY",
        "TO",
        "PROGRAM",
        "FROM",
        "EXPLAIN",
        "ANALYZE",
        "RULE",
        "TRIGGER",
        "ON",
        "SET ROLE",
        "BEGIN",
        "COMMIT",
        "PREPARE",
        "AS",
        "f()",
        "::",
        "ä",
    ]);
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_is_answered(sql in any::<String>(), plain in any::<bool>()) {
        let _ = interpret(&sql, Settings { standard_conforming_strings: plain });
    }

    #[test]
    fn near_statements_are_answered(sql in pieces(), plain in any::<bool>()) {
        let found = interpret(&sql, Settings { standard_conforming_strings: plain });
        for statement in found.statements {
            prop_assert!(!statement.actions.is_empty());
            prop_assert!(sql.contains(&statement.sql));
        }
    }

    /// What stands beside it never hides a statement that destroys.
    #[test]
    fn nothing_hides_a_drop(before in pieces(), after in pieces()) {
        let whole = format!("SELECT 1; DROP TABLE orders; {after}");
        prop_assert!(read(&whole).effect() >= Effect::Destroy);
        let beside = read(&before);
        if beside.syntax_error.is_none() && !before.contains("--") && !before.contains("/*") {
            let whole = format!("{before}; DROP TABLE orders");
            prop_assert!(read(&whole).effect() >= Effect::Destroy);
        }
    }
}
