//! What files and crates look like.

use super::Violation;
use crate::rust::Code;
use crate::tree::Tree;

/// Names that say where code was put, and not what it is.
const EMPTY_NAMES: [&str; 8] =
    ["common", "util", "utils", "helper", "helpers", "types", "prelude", "misc"];

/// A file holds one idea, and one idea fits in this many lines.
const LONGEST: usize = 600;

/// The files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// No module and no crate has a name that would fit any other as well.
pub(super) fn names_say_something(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files() {
        let manifest_or_rust = file.is_rust() || file.path.ends_with("/Cargo.toml");
        let directories = file.path.split('/').rev().skip(1);
        let named = directories.chain([file.stem()]).find(|name| is_empty_name(name));
        if let Some(name) = named.filter(|_| manifest_or_rust) {
            violations.push(Violation::new(
                file,
                1,
                format!("`{name}` says nothing: name the idea"),
            ));
        }
        for (number, line) in
            Code::of(&file.text).lines().iter().enumerate().filter(|_| file.is_rust())
        {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let module = words.find(|word| *word == "mod").and_then(|_| words.next());
            if let Some(name) = module.filter(|name| is_empty_name(name)) {
                let message = format!("module `{name}` says nothing: name the idea");
                violations.push(Violation::new(file, number + 1, message));
            }
        }
    }
    violations
}

fn is_empty_name(name: &str) -> bool {
    let last = name.rsplit('-').next().unwrap_or_default();
    EMPTY_NAMES.contains(&last)
}

/// Files are short, and the list of exceptions holds nothing that is none.
pub(super) fn files_are_short(tree: &Tree) -> Vec<Violation> {
    short_but_for(tree, LONGER)
}

fn short_but_for(tree: &Tree, longer: &[(&str, &str)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files().iter().filter(|file| file.is_rust()) {
        let lines = file.text.lines().count();
        let excepted = longer.iter().any(|(path, _)| *path == file.path);
        if lines > LONGEST && !excepted {
            let message = format!("{lines} lines: more than {LONGEST} are more than one idea");
            violations.push(Violation::new(file, LONGEST + 1, message));
        } else if lines <= LONGEST && excepted {
            violations.push(Violation::new(file, 1, "is listed as too long, and is not"));
        }
    }
    violations
}

/// Every crate forbids unsafe code at its root and takes the workspace's lints.
pub(super) fn crates_take_the_lints(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files().iter().filter(|file| of_the_workspace(&file.path)) {
        if is_root(&file.path)
            && !Code::of(&file.text).lines().join("\n").contains("#![forbid(unsafe_code)]")
        {
            violations.push(Violation::new(file, 1, "does not say `#![forbid(unsafe_code)]`"));
        }
        let manifest = file.path.ends_with("/Cargo.toml");
        if manifest && !file.text.contains("[lints]\nworkspace = true") {
            violations.push(Violation::new(file, 1, "does not take the workspace's lints"));
        }
    }
    violations
}

fn of_the_workspace(path: &str) -> bool {
    path.starts_with("crates/") || path.starts_with("xtask/")
}

fn is_root(path: &str) -> bool {
    let binary = path.ends_with(".rs") && path.contains("/src/bin/");
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs") || binary
}

#[cfg(test)]
mod tests {
    use super::super::verdict;
    use super::*;

    #[test]
    fn a_name_without_a_meaning_is_seen_wherever_it_stands() {
        let seen = verdict(
            names_say_something,
            &[
                ("crates/countermand-common/Cargo.toml", ""),
                ("crates/countermand/src/utils.rs", ""),
                ("crates/countermand/src/helpers/date.rs", ""),
                ("crates/countermand/src/a.rs", "// mod util\n    pub(crate) mod types {}\n"),
                ("crates/countermand/src/module.rs", "mod typesetting;\nlet a = model.types;"),
                ("docs/common.md", ""),
            ],
        );
        let expected = [
            "crates/countermand-common/Cargo.toml:1: `countermand-common` says nothing: name the idea",
            "crates/countermand/src/utils.rs:1: `utils` says nothing: name the idea",
            "crates/countermand/src/helpers/date.rs:1: `helpers` says nothing: name the idea",
            "crates/countermand/src/a.rs:2: module `types` says nothing: name the idea",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_long_file_is_seen_and_so_is_a_needless_exception() {
        let (long, short) = ("x\n".repeat(LONGEST + 1), "x\n".repeat(LONGEST));
        let files = [("a.rs", long.as_str()), ("b.rs", &short), ("c.md", &long)];
        assert_eq!(
            verdict(files_are_short, &files),
            ["a.rs:601: 601 lines: more than 600 are more than one idea"]
        );
        let excepted = [("a.rs", "because"), ("b.rs", "no more")];
        let seen = short_but_for(&Tree::sample(&files), &excepted);
        assert_eq!(seen[0].to_string(), "b.rs:1: is listed as too long, and is not");
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_is_seen() {
        let seen = verdict(
            crates_take_the_lints,
            &[
                ("crates/a/src/lib.rs", "// #![forbid(unsafe_code)]"),
                ("crates/a/src/other.rs", ""),
                ("crates/a/Cargo.toml", "[lints.clippy]\nall = \"allow\""),
                ("crates/b/src/lib.rs", "#![forbid(unsafe_code)]"),
                ("crates/b/src/bin/tool.rs", ""),
                ("crates/b/Cargo.toml", "[lints]\nworkspace = true\n"),
                ("fuzz/Cargo.toml", ""),
            ],
        );
        let expected = [
            "crates/a/src/lib.rs:1: does not say `#![forbid(unsafe_code)]`",
            "crates/a/Cargo.toml:1: does not take the workspace's lints",
            "crates/b/src/bin/tool.rs:1: does not say `#![forbid(unsafe_code)]`",
        ];
        assert_eq!(seen, expected);
    }
}
