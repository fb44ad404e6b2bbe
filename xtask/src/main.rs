//! Tasks of the repository itself.
#![forbid(unsafe_code)]

mod rust;
mod tidy;
mod tree;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy(),
        ["bench", "postgres", ref rest @ ..] => bench("bench_postgres", AS_SHIPPED, rest),
        ["bench", "freeze", ref rest @ ..] => bench("bench_freeze", AS_TESTED, rest),
        ["bench", "console", ref rest @ ..] => bench("bench_console", AS_TESTED, rest),
        ["screenshots"] => screenshots(),
        _ => {
            eprintln!(
                "usage: cargo xtask tidy                      checks the architecture's invariants"
            );
            eprintln!(
                "       cargo xtask bench postgres [--json] [--only ROW]   measures what the door costs"
            );
            eprintln!("       cargo xtask bench console [--json]    measures the console's pages");
            eprintln!(
                "       cargo xtask bench freeze [--json] [--rounds N]     measures how soon a freeze stops an agent"
            );
            eprintln!(
                "       cargo xtask screenshots               makes the pictures in docs/console"
            );
            ExitCode::from(2)
        }
    }
}

/// The parser has assertions and little is optimized in any other way.
const AS_SHIPPED: &[&str] = &["--release", "--package", "countermand"];
/// What is fast enough there is faster as it is shipped.
const AS_TESTED: &[&str] = &[];

fn bench(example: &str, built: &[&str], arguments: &[&str]) -> ExitCode {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--locked", "--quiet"])
        .args(built)
        .args(["--example", example, "--"])
        .args(arguments)
        .status();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A test makes them; here they are kept.
fn screenshots() -> ExitCode {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/console");
    let status = Command::new(env!("CARGO"))
        .args([
            "test",
            "--locked",
            "--workspace",
            "--test",
            "browser",
            "--",
            "pictures",
            "is_legible",
        ])
        .envs([("COUNTERMAND_SCREENSHOTS", folder), ("COUNTERMAND_REQUIRE_ALL", "1")])
        .status();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tidy() -> ExitCode {
    let tree = match tree::Tree::of_repository() {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: {error}");
            return ExitCode::FAILURE;
        }
    };
    let violations = tidy::check(&tree);
    for violation in &violations {
        eprintln!("{violation}");
    }
    println!("tidy: {} files, {} violations", tree.files().len(), violations.len());
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
