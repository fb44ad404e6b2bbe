//! `docs/promises.md` names, for each promise, what shows it. After `tests:` on a line, every
//! `code span` is either a file of the tree or a test function, alone or as `file::function`.

use super::Violation;
use crate::rust::Code;
use crate::tree::{File, Tree};

const PROMISES: &str = "docs/promises.md";
const MARK: &str = "tests:";

/// Whatever is said to show a promise exists.
pub(super) fn promises_name_tests_that_exist(tree: &Tree) -> Vec<Violation> {
    let Some(promises) = tree.file(PROMISES) else { return Vec::new() };
    let tests: Vec<(&File, Vec<String>)> =
        tree.files().iter().map(|file| (file, test_functions(file))).collect();
    let exists = |name: &str| match name.split_once("::") {
        None => {
            tree.file(name).is_some()
                || tests.iter().any(|(_, functions)| functions.iter().any(|f| f == name))
        }
        Some((path, function)) => tests
            .iter()
            .any(|(file, functions)| file.path == path && functions.iter().any(|f| f == function)),
    };
    let mut violations = Vec::new();
    for (number, line) in promises.text.lines().enumerate() {
        let Some((_, named)) = line.split_once(MARK) else { continue };
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            violations.push(Violation::new(promises, number + 1, "names no test"));
        }
        for name in names.into_iter().filter(|name| !exists(name)) {
            let message = format!("`{name}` is neither a file nor a test");
            violations.push(Violation::new(promises, number + 1, message));
        }
    }
    violations
}

/// Functions under a test attribute: `#[test]`, `#[tokio::test]`, and with arguments.
fn test_functions(file: &File) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut pending = false;
    for line in Code::of(&file.text).lines() {
        let line = line.trim();
        if line.starts_with("#[") && (line.contains("test]") || line.contains("test(")) {
            pending = !line.contains("cfg");
        }
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(name) = words.find(|word| *word == "fn").and_then(|_| words.next()) {
            if pending {
                found.push(name.to_owned());
            }
            pending = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::verdict;
    use super::*;

    const TESTS: &str = "#[cfg(test)]\nfn helper() {}\n#[test]\nfn holds() {}\n\
                         #[tokio::test(flavor = \"x\")]\nasync fn waits() {}\n// #[test]\nfn plain() {}\n";

    #[test]
    fn a_promise_whose_test_is_missing_is_seen() {
        let promises = "1. One. tests: `holds`, `waits`\n2. Two. tests: `gone`, `tests/a.rs`\n\
                        3. Three. tests: `tests/a.rs::holds` and `tests/b.rs::holds`\n\
                        4. Four. tests: none\n5. `Five` has none.\n6. Six. tests: `plain` `helper`\n";
        let seen =
            verdict(promises_name_tests_that_exist, &[(PROMISES, promises), ("tests/a.rs", TESTS)]);
        let expected = [
            "docs/promises.md:2: `gone` is neither a file nor a test",
            "docs/promises.md:3: `tests/b.rs::holds` is neither a file nor a test",
            "docs/promises.md:4: names no test",
            "docs/promises.md:6: `plain` is neither a file nor a test",
            "docs/promises.md:6: `helper` is neither a file nor a test",
        ];
        assert_eq!(seen, expected);
    }
}
