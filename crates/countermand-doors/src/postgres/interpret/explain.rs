//! What a text would do, for people and for `countermand explain`.

use std::collections::BTreeSet;

use countermand_core::action::Object;
use countermand_core::effect::Effect;
use countermand_core::verb::Verb;
use serde::Serialize;

use super::{Settings, interpret};

/// What a text would do, without a target: measuring may raise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The worst effect of all its statements.
    pub effect: Effect,
    /// What it does, in the order of names.
    pub verbs: Vec<Verb>,
    /// To what.
    pub objects: Vec<Object>,
    /// What led there, where that is not plain. Holds hostile text, made printable.
    pub why: Vec<String>,
}

/// Explains `sql` as a server with its standard settings would read it.
pub fn explain(sql: &str) -> Explanation {
    let statements = interpret(sql, Settings::default()).statements;
    let actions = || statements.iter().flat_map(|statement| &statement.actions);
    let verbs: BTreeSet<Verb> = actions().map(|action| action.verb).collect();
    let objects: BTreeSet<&Object> = actions().map(|action| &action.object).collect();
    Explanation {
        effect: Effect::worst(actions().map(|action| action.effect())),
        verbs: verbs.into_iter().collect(),
        objects: objects.into_iter().filter(|object| !object.name.is_empty()).cloned().collect(),
        why: statements.iter().flat_map(|statement| statement.why.clone()).collect(),
    }
}
