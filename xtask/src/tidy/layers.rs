//! Who may know whom.

use super::Violation;
use crate::rust::NamedPath;
use crate::tree::{File, Tree};

/// Crates whose time, identifiers and randomness are arguments.
const PURE: [&str; 2] = ["countermand-core", "countermand-ledger"];

/// What reaches the outside world, by the start of its path.
const OUTSIDE: &[&[&str]] = &[
    &["tokio"],
    &["std", "net"],
    &["std", "fs"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["rand"],
    &["getrandom"],
];

/// And by what a path has in it, whatever it was imported as.
const CLOCKS: &[&[&str]] =
    &[&["SystemTime"], &["Instant", "now"], &["Timestamp", "now"], &["Zoned", "now"]];

/// A library, and the places in product code that may name it.
const PLACES: &[(&str, &[&str])] = &[
    ("cedar_policy", &["crates/countermand-core/src/policy", "crates/countermand-prover/src"]),
    ("cedar_policy_symcc", &["crates/countermand-prover/src"]),
    ("opentelemetry", &["crates/countermand/src/telemetry"]),
    ("opentelemetry_http", &["crates/countermand/src/telemetry"]),
    ("opentelemetry_otlp", &["crates/countermand/src/telemetry"]),
    ("opentelemetry_sdk", &["crates/countermand/src/telemetry"]),
    ("prometheus_client", &["crates/countermand-engine/src/metrics"]),
    ("rusqlite", &["crates/countermand-engine/src/store"]),
    ("webauthn_rs_core", &["crates/countermand-engine/src/key/passkey"]),
];

/// Which crates of ours each crate may depend on. Console and doors know neither each other nor
/// the ledger's format.
const ARROWS: &[(&str, &[&str])] = &[
    ("countermand-core", &[]),
    ("countermand-ledger", &[]),
    // A program of its own, that no crate depends on.
    ("countermand-prover", &["countermand-core"]),
    ("countermand-engine", &["countermand-core", "countermand-ledger"]),
    ("countermand-doors", &["countermand-core", "countermand-engine"]),
    ("countermand-console", &["countermand-core", "countermand-engine"]),
    (
        "countermand",
        &[
            "countermand-console",
            "countermand-core",
            "countermand-doors",
            "countermand-engine",
            "countermand-ledger",
        ],
    ),
];

/// The pure crates name nothing that does I/O, tells the time or rolls dice.
pub(super) fn pure_crates_do_no_io(tree: &Tree) -> Vec<Violation> {
    let reaches_out = |path: &NamedPath| {
        OUTSIDE.iter().any(|prefix| path.starts_with(prefix))
            || CLOCKS.iter().any(|run| path.contains(run))
    };
    let pure = tree.files().iter().filter(|f| f.product_of().is_some_and(|c| PURE.contains(&c)));
    let code = pure.flat_map(|file| {
        let paths = file.product_code().paths().into_iter().filter(reaches_out);
        paths.map(move |path| {
            let name = path.segments.join("::");
            Violation::new(file, path.line, format!("a pure crate names `{name}`: pass it in"))
        })
    });
    let manifests = PURE.iter().flat_map(|name| dependencies(tree, name)).filter(|dependency| {
        OUTSIDE.iter().any(|prefix| *prefix == [dependency.name.replace('-', "_")])
    });
    let manifests = manifests.map(|dependency| {
        dependency.violation(format!("a pure crate depends on `{}`", dependency.name))
    });
    code.chain(manifests).collect()
}

/// A library that one module hides is named in that module only.
pub(super) fn libraries_stay_in_their_place(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files().iter().filter(|file| file.product_of().is_some()) {
        for path in file.product_code().paths() {
            let out_of_place = PLACES
                .iter()
                .filter(|(library, _)| path.starts_with(&[library]))
                .find(|(_, places)| !places.iter().any(|place| below(file, place)));
            if let Some((library, places)) = out_of_place {
                let message = format!("`{library}` is named outside `{}`", places.join("`, `"));
                violations.push(Violation::new(file, path.line, message));
            }
        }
    }
    violations
}

/// `countermand → {console, doors} → engine → {core, ledger}`, and no other way.
pub(super) fn arrows_point_one_way(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files() {
        let Some(name) = crate_of_manifest(&file.path) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            let message = format!("`{name}` has no place in the order of crates: give it one");
            violations.push(Violation::new(file, 1, message));
            continue;
        };
        let ours = dependencies(tree, name);
        let ours = ours.iter().filter(|d| d.name.starts_with("countermand"));
        for dependency in ours.filter(|d| !allowed.contains(&d.name.as_str())) {
            let message = format!("`{name}` must not depend on `{}`", dependency.name);
            violations.push(dependency.violation(message));
        }
    }
    violations
}

fn below(file: &File, place: &str) -> bool {
    let rest = file.path.strip_prefix(place).unwrap_or("outside");
    rest == ".rs" || rest.starts_with('/')
}

fn crate_of_manifest(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml").filter(|name| !name.contains('/'))
}

/// A line of a manifest's `[dependencies]`.
struct Dependency<'a> {
    manifest: &'a File,
    line: usize,
    name: String,
}

impl Dependency<'_> {
    fn violation(&self, message: String) -> Violation {
        Violation::new(self.manifest, self.line, message)
    }
}

/// What product code depends on, for this or that platform. What only tests use is not among it.
fn dependencies<'a>(tree: &'a Tree, name: &str) -> Vec<Dependency<'a>> {
    let Some(manifest) = tree.file(&format!("crates/{name}/Cargo.toml")) else { return Vec::new() };
    let mut found = Vec::new();
    let mut counts = false;
    for (number, line) in manifest.text.lines().enumerate() {
        let line = line.trim();
        let mut push = |name: &str| {
            let name = name.trim().trim_matches('"').to_owned();
            found.push(Dependency { manifest, line: number + 1, name });
        };
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            counts = section == "dependencies" || section.ends_with(".dependencies");
            // `[dependencies.name]` is a section for one.
            if let Some((_, name)) = section.split_once("dependencies.")
                && !section.contains("dev-dependencies")
            {
                push(name);
            }
        } else if counts && !line.starts_with('#') && line.contains('=') {
            push(line.split(['=', '.']).next().unwrap_or_default());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::verdict;
    use super::*;

    #[test]
    fn a_pure_crate_that_reads_a_file_or_the_clock_is_seen() {
        let source = "use std::{fmt, fs};\nuse std::time;\nfn now() { time::SystemTime::now(); \
                      jiff::Timestamp::now(); rand::rng(); }\nlet rand = 1;";
        let seen = verdict(pure_crates_do_no_io, &[("crates/countermand-ledger/src/a.rs", source)]);
        let named = |line: &str, name: &str| {
            format!(
                "crates/countermand-ledger/src/a.rs:{line}: a pure crate names `{name}`: pass it in"
            )
        };
        let expected = [
            named("1", "std::fs"),
            named("3", "time::SystemTime::now"),
            named("3", "jiff::Timestamp::now"),
            named("3", "rand::rng"),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_pure_crate_that_depends_on_a_runtime_is_seen() {
        let manifest = "[dependencies]\ntokio.workspace = true\n[dev-dependencies]\nrand = \"1\"\n";
        let seen =
            verdict(pure_crates_do_no_io, &[("crates/countermand-core/Cargo.toml", manifest)]);
        assert_eq!(seen, ["crates/countermand-core/Cargo.toml:2: a pure crate depends on `tokio`"]);
    }

    #[test]
    fn tests_and_other_crates_may_do_io() {
        let clean = [
            ("crates/countermand-core/src/a.rs", "#[cfg(test)] mod tests { use std::fs; }"),
            ("crates/countermand-core/src/a/tests.rs", "use std::fs;"),
            ("crates/countermand-core/tests/a.rs", "use std::fs;"),
            ("crates/countermand-engine/src/a.rs", "use std::fs;"),
        ];
        assert!(verdict(pure_crates_do_no_io, &clean).is_empty());
    }

    #[test]
    fn a_library_outside_its_place_is_seen() {
        let seen = verdict(
            libraries_stay_in_their_place,
            &[
                ("crates/countermand-engine/src/storefront.rs", "use rusqlite::Connection;"),
                ("crates/countermand-engine/src/store.rs", "use rusqlite::Connection;"),
                ("crates/countermand-engine/src/store/row.rs", "rusqlite::Row"),
                ("crates/countermand-core/src/policy/set.rs", "use cedar_policy::PolicySet;"),
                ("crates/countermand-prover/src/claim.rs", "use cedar_policy::PolicySet;"),
                ("crates/countermand-engine/src/a.rs", "fn f(p: &cedar_policy::Policy) {}"),
            ],
        );
        let expected = [
            "crates/countermand-engine/src/storefront.rs:1: `rusqlite` is named outside \
             `crates/countermand-engine/src/store`",
            "crates/countermand-engine/src/a.rs:1: `cedar_policy` is named outside \
             `crates/countermand-core/src/policy`, `crates/countermand-prover/src`",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_arrow_the_wrong_way_is_seen() {
        let seen = verdict(
            arrows_point_one_way,
            &[
                (
                    "crates/countermand-doors/Cargo.toml",
                    "[dependencies]\ncountermand-engine.workspace = true\n\
                     countermand-ledger = { path = \"x\" }\n[dependencies.countermand-console]\n",
                ),
                (
                    "crates/countermand-core/Cargo.toml",
                    "[dev-dependencies]\ncountermand-ledger = 1",
                ),
                ("crates/stray/Cargo.toml", ""),
            ],
        );
        let expected = [
            "crates/countermand-doors/Cargo.toml:3: `countermand-doors` must not depend on \
             `countermand-ledger`",
            "crates/countermand-doors/Cargo.toml:4: `countermand-doors` must not depend on \
             `countermand-console`",
            "crates/stray/Cargo.toml:1: `stray` has no place in the order of crates: give it one",
        ];
        assert_eq!(seen, expected);
    }
}
