//! The binary from the outside: help, exit codes, JSON, and what it shows of hostile texts.

use crate::gateway::{Installation, countermand, run, run_with};
use serde_json::Value;

#[test]
fn every_command_has_help() {
    let top = run(&["--help"]);
    assert_eq!(top.code, 0);
    for code in [
        "0  done",
        "1  refused",
        "2  the command line",
        "3  held",
        "4  the gateway",
        "5  a program",
    ] {
        assert!(top.stdout.contains(code), "{code}");
    }
    let commands = [
        "init",
        "serve",
        "agent",
        "agent add",
        "agent list",
        "agent revoke",
        "propose",
        "changes",
        "changes list",
        "changes show",
        "changes wait",
        "changes withdraw",
        "changes stop",
        "approve",
        "reject",
        "submit",
        "restore",
        "resolve",
        "freeze",
        "thaw",
        "policy check",
        "policy test",
        "policy prove",
        "policy explain",
        "ledger verify",
        "ledger show",
        "ledger export",
        "explain postgres",
        "doctor",
        "completions",
        "man",
    ];
    for command in commands {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = run(&words);
        assert_eq!(help.code, 0, "{command}: {}", help.stderr);
        assert!(help.stdout.contains("--json"), "{command}");
        let first = words[0];
        assert!(top.stdout.contains(&format!("  {first}")), "{first} is not in the overview");
    }
}

#[test]
fn wrong_use_ends_with_2() {
    for words in [
        &["frobnicate"][..],
        &["freeze", "everything"],
        &["freeze", "agent", "--reason", "x"],
        &["approve", "7"],
        &["approve", "7", "--statement", "s"],
        &["approve", "7", "--statement", "s", "--as", "bob", "--key", "k"],
        &["submit", "/no/such/file"],
        &["restore", "--plan"],
        &["restore", "--agent", "bot", "--plan"],
        &["restore", "7", "--agent", "bot", "--since", "10m", "--plan"],
        &["restore", "7", "--since", "10m", "--plan"],
        &["restore", "--agent", "bot", "--since", "yesterday", "--plan"],
        &["restore", "--agent", "bot", "--since", "10m"],
        &["approve", "seven", "--key", "k"],
        &["agent", "add", "Bot", "--targets", "a", "--effects", "read", "--key", "k"],
        &["agent", "add", "bot", "--targets", "a", "--effects", "everything", "--key", "k"],
        &["explain", "postgres"],
        &["policy", "explain"],
        &["policy", "explain", "drop table t"],
        &["policy", "explain", "drop table t", "--agent", "bot"],
        &["policy", "explain", "drop table t", "--target", "shop"],
        &["--config", "/no/such/file", "changes", "list"],
        &["--config", "/no/such/file", "serve"],
    ] {
        let ended = run(words);
        assert_eq!(ended.code, 2, "{words:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_4_also_in_json() {
    let ended = run(&["--socket", "/no/such/socket", "changes", "list"]);
    assert_eq!(ended.code, 4);
    assert!(ended.stderr.contains("countermand serve"), "{}", ended.stderr);
    let ended = run(&["--socket", "/no/such/socket", "changes", "list", "--json"]);
    let error: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &error["exit"]), (4, &Value::from(4)));
    assert!(error["error"].as_str().unwrap().contains("/no/such/socket"));
}

#[test]
fn nothing_is_coloured_where_it_is_not_seen() {
    for words in [&["explain", "postgres", "drop table t"][..], &["changes", "list"]] {
        let ended = run(words);
        assert!(!ended.stdout.contains('\u{1b}') && !ended.stderr.contains('\u{1b}'), "{words:?}");
    }
}

#[test]
fn explain_shows_hostile_names_escaped() {
    let ended = run(&["explain", "postgres", "drop table \"a\u{202e}b\u{1b}[2K\""]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("destroy") && ended.stdout.contains("postgres:DropTable"));
    let bad = |c: char| c == '\u{202e}' || (c.is_control() && c != '\n');
    assert!(!ended.stdout.contains(bad), "{:?}", ended.stdout);
}

#[test]
fn explain_answers_line_by_line() {
    let questions =
        "{\"id\":\"a\",\"input\":\"drop table t\"}\n{\n{\"id\":7,\"input\":\"select 1\"}\n";
    let ended = run_with(countermand().args(["explain", "postgres", "--jsonl"]), questions);
    let answers: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ended.code, answers.len()), (0, 3), "{}", ended.stdout);
    assert_eq!(answers[0]["effect"], "destroy");
    assert!(answers[1]["error"].is_string() && answers[1]["id"].is_null());
    assert_eq!(
        answers[2],
        serde_json::json!({
            "id": 7, "effect": "read", "verbs": ["postgres:Select"], "objects": [], "why": []
        })
    );
}

#[test]
fn completions_and_manual_are_made_from_the_command_line() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert!(ended.code == 0 && ended.stdout.contains("countermand"), "{shell}");
    }
    assert!(run(&["man"]).stdout.contains(".TH countermand"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(run(&["man", "--directory", path]).code, 0);
    assert!(folder.path().join("countermand-approve.1").is_file());
}

#[test]
fn init_says_what_production_needs_and_overwrites_nothing() {
    let installation = Installation::new();
    let again = installation.init(&["--staging"]);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(again.stderr.contains("not overwritten"), "{}", again.stderr);
    let folder = tempfile::tempdir().unwrap();
    let key = installation.key("alice").with_extension("pub");
    let production = run(&[
        "init",
        folder.path().to_str().unwrap(),
        "--production",
        "--name",
        "acme",
        "--human",
        "alice",
        "--key",
        key.to_str().unwrap(),
        "--target",
        "shop",
        "--host",
        "db",
        "--database",
        "shop",
    ]);
    assert_eq!(production.code, 2);
    let words = production.stderr;
    assert!(words.contains("ssh-keygen -t ed25519-sk -O verify-required"), "{words}");
    assert!(words.contains("--staging"), "{words}");
}

#[test]
fn init_without_a_terminal_names_the_option_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["init", folder.path().to_str().unwrap(), "--name", "acme"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--human"), "{}", ended.stderr);
}

#[test]
fn policies_are_checked_and_tested() {
    let installation = Installation::new();
    let check = installation.run(&["policy", "check", "--json"]);
    let said: Value = serde_json::from_str(&check.stdout).unwrap();
    assert_eq!((check.code, &said["solo"]), (0, &Value::Bool(false)), "{}", check.stderr);
    assert_eq!(installation.run(&["policy", "test"]).code, 0);
    let policy = "permit (principal, action, resource);";
    std::fs::write(installation.folder().join("policies/wide.cedar"), policy).unwrap();
    let check = installation.run(&["policy", "check"]);
    assert_eq!(check.code, 2);
    assert!(check.stderr.contains("`wide.cedar`"), "{}", check.stderr);
}
