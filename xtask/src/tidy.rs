//! The architecture's invariants, most of them absences, as functions of the files.

mod layers;
mod promises;
mod shape;
mod words;

use std::fmt;

use crate::tree::{File, Tree};

/// One place where the tree is not as it is meant to be.
#[derive(Debug, PartialEq)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    message: String,
}

impl Violation {
    fn new(file: &File, line: usize, message: impl Into<String>) -> Violation {
        Violation { path: file.path.clone(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule looks at all of the tree, and says what is wrong with it.
type Rule = fn(&Tree) -> Vec<Violation>;

const RULES: &[Rule] = &[
    layers::pure_crates_do_no_io,
    layers::libraries_stay_in_their_place,
    layers::arrows_point_one_way,
    shape::names_say_something,
    shape::files_are_short,
    shape::crates_take_the_lints,
    words::nothing_is_left_for_later,
    words::no_registry_is_named,
    words::every_test_runs,
    promises::promises_name_tests_that_exist,
];

/// What is wrong with the tree, in the order of its files.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations: Vec<Violation> = RULES.iter().flat_map(|rule| rule(tree)).collect();
    violations.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    violations
}

/// What a rule says about a sample, for its tests.
#[cfg(test)]
fn verdict(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    assert!(RULES.contains(&rule), "a rule that is never applied");
    rule(&Tree::sample(files)).iter().map(Violation::to_string).collect()
}
