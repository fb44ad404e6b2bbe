//! `cases.txt`, the catalogue's examples, and what real clients send.

use std::collections::BTreeSet;

use countermand_core::effect::Effect;
use countermand_core::verb::postgres::ALL;

use super::super::{Role, SessionStatement, Statement, explain};
use super::{one, read, verbs};

/// Lines of `effect | Verb, Verb | sql`.
#[test]
fn every_case_has_its_effect_and_its_verbs() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("cases.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        count += 1;
        let parts: Vec<&str> = line.splitn(3, " | ").collect();
        let [effect, expected, sql] = parts[..] else { panic!("not a case: {line}") };
        let explanation = explain(sql);
        let found: Vec<_> =
            explanation.verbs.iter().map(|v| &v.name()["postgres:".len()..]).collect();
        let found = format!("{} | {}", explanation.effect, found.join(", "));
        if found != format!("{effect} | {expected}") {
            wrong.push(format!("{sql}\n  expected {effect} | {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 250, "{count} cases");
}

#[test]
fn every_example_of_the_catalogue_is_its_verb_and_no_worse() {
    for verb in ALL {
        let statement = one(verb.example());
        assert!(
            statement.actions.iter().any(|action| action.verb == *verb),
            "{verb}: `{}` is {:?}",
            verb.example(),
            statement.actions
        );
        assert_eq!(statement.effect(), verb.effect(), "{verb}: `{}`", verb.example());
    }
}

fn statements_of(corpus: &'static str) -> Vec<&'static str> {
    let statements: Vec<_> = corpus.split("\n;;\n").collect();
    assert!(statements.len() > 100, "{} statements", statements.len());
    statements
}

/// What the statement does; EXECUTE does what was prepared under its name.
fn effect(statement: &Statement, prepared: &BTreeSet<String>) -> Effect {
    match &statement.role {
        Role::Session(SessionStatement::Execute { name }) if prepared.contains(name) => {
            Effect::Read
        }
        _ => statement.effect(),
    }
}

/// Every statement of a client that only looks is Read.
fn only_reads(corpus: &'static str) {
    let mut prepared = BTreeSet::new();
    let mut wrong = Vec::new();
    for sql in statements_of(corpus) {
        for statement in read(sql).statements {
            if let Role::Session(SessionStatement::Prepare { name, inner }) = &statement.role {
                assert_eq!(inner.effect(), Effect::Read, "{sql}");
                prepared.insert(name.clone());
            }
            if effect(&statement, &prepared) != Effect::Read {
                wrong.push(format!("{sql}\n  {:?} {:?}", verbs(&statement), statement.why));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_psql_asks_for_its_commands_only_reads() {
    only_reads(include_str!("psql.sql"));
}

#[test]
fn what_pg_dump_asks_only_reads() {
    only_reads(include_str!("pg_dump.sql"));
}

/// The page of verbs, from the catalogue.
fn page() -> String {
    let mut page = String::from(include_str!("statements.head.md"));
    for effect in Effect::ALL {
        page += &format!(
            "\n## {}\n\n| verb | what it does | example |\n| --- | --- | --- |\n",
            effect.group()
        );
        for verb in ALL.iter().filter(|verb| verb.effect() == effect) {
            let example = verb.example().replace('|', "\\|");
            page += &format!("| `{verb}` | {} | `{example}` |\n", verb.doc());
        }
    }
    page
}

/// With `COUNTERMAND_WRITE_DOCS` set, writes it.
#[test]
fn the_page_of_verbs_is_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/postgres-statements.md");
    if std::env::var_os("COUNTERMAND_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let hint = "run this test with COUNTERMAND_WRITE_DOCS=1";
    assert!(std::fs::read_to_string(path).unwrap() == page(), "{path} is not up to date: {hint}");
}
