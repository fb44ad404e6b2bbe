//! `policy prove` with what is not there, and with a prover that says whatever a test wants.
//! The real one has its own tests, in its own workspace.

use crate::gateway::{Ended, Installation, run_with};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A program that does this.
fn program(installation: &Installation, name: &str, script: &str) -> PathBuf {
    let path = installation.folder().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Proves with a prover that keeps what it was asked in `asked` and does this.
fn prove(installation: &Installation, script: &str, words: &[&str]) -> Ended {
    let asked = installation.folder().join("asked");
    let script = format!("/bin/cat > '{}'\n{script}", asked.display());
    let prover = program(installation, "prover", &script);
    let solver = program(installation, "cvc5", "exit 0");
    let mut command = installation.command(&[&["policy", "prove"], words].concat());
    run_with(command.env("COUNTERMAND_PROVER", prover).env("CVC5", solver), "")
}

fn asked(installation: &Installation) -> Value {
    let text = std::fs::read_to_string(installation.folder().join("asked")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// An answer with this verdict for every claim, but for some.
fn answer(installation: &Installation, verdict: &Value, others: &[(&str, Value)]) -> String {
    let mut verdicts = serde_json::Map::new();
    for claim in asked(installation)["claims"].as_array().unwrap() {
        verdicts.insert(claim["id"].as_str().unwrap().to_owned(), verdict.clone());
    }
    verdicts.extend(others.iter().map(|(id, other)| ((*id).to_owned(), other.clone())));
    let answer = json!({ "solver": "cvc5 0\u{1b}[2J", "questions": 1, "verdicts": verdicts });
    let file = installation.folder().join("answer");
    std::fs::write(&file, answer.to_string()).unwrap();
    format!("/bin/cat '{}'", file.display())
}

#[test]
fn what_is_missing_is_named_with_how_to_get_it() {
    let installation = Installation::new();
    let nowhere = |words: &[&str]| {
        let mut command = installation.command(words);
        command.env("PATH", "/nowhere").env_remove("CVC5").env_remove("COUNTERMAND_PROVER");
        command
    };
    let ended = run_with(&mut nowhere(&["policy", "prove"]), "");
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    for word in ["countermand-policy-prover", "cargo build", "COUNTERMAND_PROVER"] {
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
    }
    let prover = program(&installation, "prover", "exit 0");
    let mut command = nowhere(&["policy", "prove", "--json"]);
    let ended = run_with(command.env("COUNTERMAND_PROVER", &prover), "");
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &said["exit"]), (5, &json!(5)));
    let words = said["error"].as_str().unwrap();
    assert!(words.contains("package `cvc5`") && words.contains("set CVC5"), "{words}");
    // A name that is set and is not there is not looked for elsewhere.
    let mut command = nowhere(&["policy", "prove"]);
    command.env("COUNTERMAND_PROVER", "/nowhere/prover").env("CVC5", &prover);
    assert_eq!(run_with(&mut command, "").code, 5);
}

#[test]
fn only_what_every_claim_is_proved_of_is_proved() {
    let installation = Installation::new();
    let ended = prove(&installation, "exit 3", &[]);
    assert!(ended.code == 1 && ended.stderr.contains("did not answer"), "{}", ended.stderr);
    let ended = prove(&installation, "echo '{\"error\":\"no\u{1b}[2Jsolver\"}'; exit 1", &[]);
    assert!(ended.code == 1 && ended.stderr.contains("did not answer"), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
    let ended = prove(&installation, "echo '{}'", &["--json"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);

    let good = answer(&installation, &json!("proved"), &[]);
    let ended = prove(&installation, &good, &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
    assert!(ended.stdout.contains("nothing destroys without a peer"), "{}", ended.stdout);

    let unknown = json!({ "not_proved": "timeout" });
    let other = answer(&installation, &json!("proved"), &[("floor/cooling", unknown)]);
    let ended = prove(&installation, &other, &["--json"]);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &said["proved"]), (1, &json!(false)));
    let bad: Vec<&Value> = said["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["outcome"] != "proved")
        .collect();
    assert!(bad.len() == 1 && bad[0]["claim"] == "floor/cooling", "{bad:?}");

    // No verdict is no proof.
    let script = "echo '{\"solver\":\"cvc5\",\"questions\":0,\"verdicts\":{}}'";
    let ended = prove(&installation, script, &[]);
    assert!(ended.code == 1 && ended.stdout.contains("gave no verdict"), "{}", ended.stdout);
}

#[test]
fn a_counterexample_that_does_not_replay_is_not_shown_as_one() {
    let installation = Installation::new();
    prove(&installation, "exit 3", &[]);
    let groups = json!({});
    let flags = json!({ "trial": false, "verified": false });
    let found = json!({
        "principal": { "type": "Agent", "id": "agent-of-alice" },
        "action": { "type": "Action", "id": "postgres:DropTable" },
        "resource": { "type": "Resource", "id": "r" },
        "context": {
            "solo": false, "roots": 1, "reversible": true, "recovery_seconds": 0,
            "rehearsable": true, "unavailable": false, "beyond_limits": false, "adopted": false,
            "evidence": {
                "approvals": { "peers": 0, "groups": groups }, "cooled_seconds": 0,
                "restore_point": flags, "rehearsed": false, "confirmed": false, "backup_fresh": false,
            },
        },
        "entities": [],
    });
    let lie = json!({ "refuted": found });
    let other = answer(&installation, &json!("proved"), &[("floor/cooling", lie)]);
    let ended = prove(&installation, &other, &[]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stdout.contains("does not replay"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("refuted"), "{}", ended.stdout);
}

#[test]
fn the_agents_that_are_proved_are_the_gateways() {
    let installation = Installation::new();
    let _serving = installation.serve();
    let words = ["agent", "add", "bot", "--targets", "shop", "--effects", "read"];
    assert_eq!(installation.sign("alice", &words).code, 0);
    prove(&installation, "exit 3", &[]);
    let claims = asked(&installation)["claims"].to_string();
    assert!(claims.contains("grant/agent/bot") && !claims.contains("agent-of-alice"), "{claims}");
}

/// The prover as `scripts/test` builds it, if that and cvc5 are here; where nothing is optional,
/// they are.
fn real() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let prover = target.join("prover/debug/countermand-policy-prover");
    let solver = std::env::var_os("CVC5").unwrap_or_else(|| "cvc5".into());
    let solves = std::process::Command::new(solver).arg("--version").output().is_ok();
    let found = prover.is_file() && solves;
    if !found {
        let words = "`countermand-policy-prover` or `cvc5` is missing; scripts/test brings both";
        assert!(std::env::var_os("COUNTERMAND_REQUIRE_ALL").is_none(), "{words}");
        eprintln!("skipped: {words}");
    }
    found.then_some(prover)
}

#[test]
fn what_init_writes_is_proved() {
    let Some(prover) = real() else { return };
    let installation = Installation::new();
    let site = installation.folder().join("policies/site.cedar");
    assert!(site.is_file());
    let own = "@id(\"site/views\") @reason(\"views are looked at by another\")
        forbid (principal, action in Action::\"Write\", resource)
        when { resource.kind == \"view\" } unless { context.evidence.approvals.peers >= 1 };";
    std::fs::write(installation.folder().join("policies/views.cedar"), own).unwrap();
    let mut command = installation.command(&["policy", "prove"]);
    let ended = run_with(command.env("COUNTERMAND_PROVER", prover), "");
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    for words in ["agent `agent-of-alice` may do nothing that its sponsor", "proved by cvc5"] {
        assert!(ended.stdout.contains(words), "{}", ended.stdout);
    }
}
