//! Words that do not stand in the tree. The lists take them apart, to be in the tree themselves.

use super::Violation;
use crate::rust::Code;
use crate::tree::{File, Tree};

const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// A package's name is enough; where it is fetched from is the reader's choice.
const REGISTRIES: [&str; 7] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted"),
    concat!("pypi.org", "/simple"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
];

/// Work that is left stands in an issue, with a reader, and not in the code.
pub(super) fn nothing_is_left_for_later(tree: &Tree) -> Vec<Violation> {
    per_line(tree, |line| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let mark = words.find(|word| MARKS.contains(word))?;
        Some(format!("`{mark}`: do it, or say it in an issue"))
    })
}

/// No file names the host of a package registry.
pub(super) fn no_registry_is_named(tree: &Tree) -> Vec<Violation> {
    per_line(tree, |line| {
        let host = REGISTRIES.iter().find(|host| line.contains(*host))?;
        Some(format!("`{host}`: the package's name is enough"))
    })
}

/// A test that is written runs.
pub(super) fn every_test_runs(tree: &Tree) -> Vec<Violation> {
    let rust = tree.files().iter().filter(|file| file.is_rust());
    let ignored = rust.flat_map(|file| {
        let lines = Code::of(&file.text).lines().into_iter().enumerate();
        let lines = lines.filter(|(_, line)| line.contains("#[ignore"));
        lines.map(move |(number, _)| Violation::new(file, number + 1, "a test that does not run"))
    });
    ignored.collect()
}

fn per_line(tree: &Tree, fault: impl Fn(&str) -> Option<String>) -> Vec<Violation> {
    let in_file = |file: &File| -> Vec<Violation> {
        let lines = file.text.lines().enumerate();
        lines.filter_map(|(n, line)| Some(Violation::new(file, n + 1, fault(line)?))).collect()
    };
    tree.files().iter().flat_map(in_file).collect()
}

#[cfg(test)]
mod tests {
    use super::super::verdict;
    use super::*;

    #[test]
    fn a_mark_is_seen_as_a_word_of_its_own() {
        let [later, _, placeholder] = MARKS;
        let text = format!("fine\n# {later}: x\nmktemp a.{placeholder}{placeholder} todo {later}S");
        let seen = verdict(nothing_is_left_for_later, &[("scripts/a", text.as_str())]);
        assert_eq!(seen, [format!("scripts/a:2: `{later}`: do it, or say it in an issue")]);
    }

    #[test]
    fn a_registry_is_seen() {
        for host in REGISTRIES {
            let text = format!("see\nhttps://{host}/x");
            let seen = verdict(no_registry_is_named, &[("a.md", text.as_str())]);
            assert_eq!(seen, [format!("a.md:2: `{host}`: the package's name is enough")]);
        }
        assert!(verdict(no_registry_is_named, &[("a.md", "https://rustup.rs")]).is_empty());
    }

    #[test]
    fn a_test_that_is_switched_off_is_seen() {
        let source = "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n// #[ignore]\n";
        assert_eq!(
            verdict(every_test_runs, &[("a.rs", source)]),
            ["a.rs:2: a test that does not run"]
        );
    }
}
