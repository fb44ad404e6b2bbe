//! `cases.txt`, the catalogue's examples, and what real clients send.

use std::collections::BTreeSet;

use countermand_core::effect::Effect;
use countermand_core::verb::postgres::ALL;

use super::super::{Role, SessionStatement, Settings, Statement, explain, interpret};
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
        let found: Vec<_> = explanation.verbs.iter().map(|v| &v.name()["postgres:".len()..]).collect();
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
