//! The real prover with a real cvc5: what ships is proved, and planted holes are found.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use countermand_core::effect::Effect;
use countermand_core::policy::proof::{Answer, Finding, Outcome, Proof, Refutation, Text};
use countermand_core::policy::{Grant, Policy, World};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

const PROVER: &str = env!("CARGO_BIN_EXE_countermand-policy-prover");
const SITE: &str = include_str!("../../countermand/src/init/site.cedar");

/// Whether there is a cvc5; where one is demanded, there must be.
fn solver() -> bool {
    let program = std::env::var_os("CVC5").unwrap_or_else(|| "cvc5".into());
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        let words = "no cvc5 here: install the package `cvc5`, or set CVC5";
        assert!(std::env::var_os("COUNTERMAND_REQUIRE_ALL").is_none(), "{words}");
        eprintln!("skipped: {words}");
    }
    found
}

fn grant(targets: &[&str], effects: &[Effect]) -> Grant {
    Grant {
        targets: targets.iter().map(|name| name.parse().unwrap()).collect(),
        effects: effects.iter().copied().collect(),
    }
}

/// alice may do everything on two targets; builder everything on one, writer reads and writes.
fn world() -> World {
    let alice = || "alice".parse().unwrap();
    World {
        groups: ["dba".parse().unwrap()].into(),
        sponsors: [(alice(), grant(&["shop", "crm"], &Effect::ALL))].into(),
        agents: [
            ("builder".parse().unwrap(), (alice(), grant(&["shop"], &Effect::ALL))),
            (
                "writer".parse().unwrap(),
                (alice(), grant(&["crm", "elsewhere"], &[Effect::Read, Effect::Write])),
            ),
        ]
        .into(),
    }
}

/// The policies that ship, as they are compiled.
fn shipped() -> BTreeMap<String, Text> {
    let site = [("site.cedar".to_owned(), SITE.to_owned())];
    let mut policies = Policy::load(&world(), &site).unwrap().proof().policies;
    policies.remove("countermand/any-grant");
    policies
}

fn ask(input: &[u8]) -> (bool, String) {
    let mut child =
        Command::new(PROVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn prove(proof: &Proof) -> Vec<Finding> {
    let started = std::time::Instant::now();
    let (good, said) = ask(&serde_json::to_vec(proof).unwrap());
    assert!(good, "{said}");
    let answer: Answer = serde_json::from_str(&said).unwrap();
    eprintln!("{} questions in {:?}", answer.questions, started.elapsed());
    proof.read(&answer)
}

/// The claims that are refuted; every other must be proved.
fn refuted(policies: BTreeMap<String, Text>) -> BTreeMap<String, Refutation> {
    let findings = prove(&Proof::of(&world(), policies));
    let refuted = findings.into_iter().filter_map(|finding| match finding.outcome {
        Outcome::Proved => None,
        Outcome::Refuted(found) => Some((finding.claim, *found)),
        Outcome::NotProved { why } => panic!("`{}` is not proved: {why}", finding.claim),
    });
    refuted.collect()
}

/// What is found when one of the policies that ship has another text.
fn with(id: &str, text: &str) -> BTreeMap<String, Refutation> {
    let mut policies = shipped();
    let file = policies.get(id).and_then(|policy| policy.file.clone());
    policies.insert(id.to_owned(), Text { file, text: text.to_owned() });
    refuted(policies)
}

/// What is found when a part of one of the policies that ship reads otherwise.
fn edited(id: &str, from: &str, to: &str) -> BTreeMap<String, Refutation> {
    let text = &shipped()[id].text;
    assert!(text.contains(from), "{text}");
    with(id, &text.replace(from, to))
}

fn names(found: &BTreeMap<String, Refutation>) -> Vec<&str> {
    found.keys().map(String::as_str).collect()
}

#[test]
fn what_ships_is_proved() {
    if solver() {
        let found = refuted(shipped());
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_floor_keyed_on_a_tag_of_the_resource_is_found() {
    if solver() {
        let mut policies = shipped();
        for policy in policies.values_mut() {
            let to = "resource.tags.contains(\"scratch\")";
            policy.text = policy.text.replace("resource.environment.disposable", to);
        }
        let found = refuted(policies);
        let floor = shipped().keys().filter(|id| id.starts_with("floor/")).count();
        assert_eq!(found.len(), floor, "{:?}", names(&found));
        let found = &found["floor/hard-stop"];
        assert!(found.resource.ends_with("tagged scratch"), "{found:#?}");
        assert!(found.environment.ends_with("not disposable"), "{found:#?}");
        assert_eq!((&found.facts[..], &found.evidence[..]), (&[][..], &[][..]), "{found:#?}");
    }
}

#[test]
fn one_rule_keyed_on_a_tag_of_the_resource_is_found() {
    if solver() {
        let to = "resource.tags.contains(\"scratch\")";
        let found = edited("floor/restore-point", "resource.environment.disposable", to);
        assert_eq!(names(&found), ["floor/restore-point"]);
        let found = &found["floor/restore-point"];
        assert!(found.resource.ends_with("tagged scratch"), "{found:#?}");
        let expected = ["1 approval by a peer", "60 s cooled", "a rehearsal"];
        assert_eq!(found.evidence, expected);
    }
}

#[test]
fn a_literal_that_is_too_weak_is_found() {
    if solver() {
        let found = edited("floor/cooling", "cooled_seconds >= 60)", "cooled_seconds >= 6)");
        assert_eq!(names(&found), ["floor/cooling"]);
        let evidence = &found["floor/cooling"].evidence;
        let cooled = evidence.iter().find_map(|shown| shown.strip_suffix(" s cooled"));
        let cooled: i64 = cooled.unwrap().parse().unwrap();
        assert!((6..60).contains(&cooled), "{evidence:?}");
    }
}

#[test]
fn a_permit_that_was_smuggled_in_is_found() {
    if solver() {
        let permit = "permit (principal, action, resource) when { resource.name like \"tmp_*\" };";
        let found = with("site/dba", permit);
        // The sponsor's ceiling still holds: it is a forbid, and no permit overrides one.
        let expected = ["grant/adopted/alice", "grant/agent/builder", "grant/agent/writer"];
        assert_eq!(names(&found), expected);
        let found = &found["grant/agent/writer"];
        assert_eq!(found.permitted_by, ["site/dba"], "{found:#?}");
        assert_eq!(found.who, "agent `writer`");
    }
}

#[test]
fn an_overflow_by_which_a_forbid_is_skipped_is_found() {
    if solver() {
        // The same, where nothing overflows.
        let found = edited(
            "floor/cooling",
            "context.evidence.cooled_seconds >= 60)",
            "context.evidence.cooled_seconds + context.recovery_seconds >= \
             60 + context.recovery_seconds)",
        );
        assert_eq!(names(&found), ["answers/floor/cooling", "floor/cooling"]);
        for found in found.values() {
            assert_eq!(found.failed, ["floor/cooling (floor.cedar)"], "{found:#?}");
        }
    }
}

#[test]
fn a_grant_wider_than_the_sponsors_is_found() {
    if solver() {
        let ceiling = "forbid (principal in Sponsor::\"bob\", action, resource);";
        let found = with("grant/sponsor/alice", ceiling);
        assert_eq!(names(&found), ["grant/sponsor/alice/writer"]);
        let found = &found["grant/sponsor/alice/writer"];
        assert_eq!(found.permitted_by, ["grant/agent/writer"], "{found:#?}");
    }
}

#[test]
fn a_rule_that_forgets_a_group_of_verbs_is_found() {
    if solver() {
        let all = "action in Action::\"Destroy\"";
        let found = edited("floor/rehearsed", all, "action == Action::\"postgres:DropTable\"");
        assert_eq!(names(&found), ["floor/rehearsed"]);
        let found = &found["floor/rehearsed"];
        assert!(!found.action.starts_with("postgres:DropTable "), "{found:#?}");
        assert!(found.action.ends_with("(destroy)") || found.action.ends_with("(opaque)"));
    }
}

/// One verb among many that are alike but for this: each named one is asked about by itself.
#[test]
fn an_exemption_for_a_single_verb_is_found() {
    if solver() {
        let all = "action in Action::\"Destroy\"";
        let but = format!("({all} && !([Action::\"postgres:Truncate\"].contains(action)))");
        let found = edited("floor/cooling", all, &but);
        assert_eq!(names(&found), ["floor/cooling"]);
        assert_eq!(found["floor/cooling"].action, "postgres:Truncate (destroy)");
        assert!(!found["floor/cooling"].evidence.iter().any(|shown| shown.contains("cooled")));
    }
}

#[test]
fn a_schema_that_forgets_a_group_of_verbs_is_found() {
    if solver() {
        let mut proof = Proof::of(&world(), shipped());
        let (from, to) =
            ("action \"postgres:DropTable\" in [\"Destroy\"]", "action \"postgres:DropTable\"");
        assert!(proof.schema.contains(from));
        proof.schema = proof.schema.replace(from, to);
        let found = prove(&proof).into_iter().filter(|found| found.outcome != Outcome::Proved);
        let found: Vec<String> = found.map(|finding| finding.claim).collect();
        for claim in ["floor/cooling", "floor/hard-stop", "floor/one-resource", "floor/rehearsed"] {
            assert!(found.iter().any(|id| id == claim), "{claim}: {found:?}");
        }
    }
}

#[test]
fn what_cannot_be_put_to_the_solver_is_not_answered() {
    if solver() {
        let (good, said) = ask(b"{}");
        assert!(!good && said.contains("cannot be read"), "{said}");
        let mut policies = shipped();
        policies.insert("x".into(), Text { file: None, text: "forbid".into() });
        let proof = Proof::of(&world(), policies);
        let (good, said) = ask(&serde_json::to_vec(&proof).unwrap());
        assert!(!good && said.contains("`x`"), "{said}");
    }
}

/// A solver that is none, or that lies.
fn with_solver(script: &str) -> (bool, String) {
    let folder =
        std::env::temp_dir().join(format!("prover-{}-{}", std::process::id(), script.len()));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("cvc5");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let mut child = Command::new(PROVER)
        .env("CVC5", &program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let proof = serde_json::to_vec(&Proof::of(&world(), shipped())).unwrap();
    // It need not read what it will not answer.
    let _ = child.stdin.take().unwrap().write_all(&proof);
    let output = child.wait_with_output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

const VERSION: &str = "[ \"$1\" != --version ] || { echo This is cvc5 version 9.9; exit; }";

#[test]
fn a_solver_that_lies_is_not_believed() {
    for (script, expected) in [
        ("echo hello", "does not say that it is cvc5"),
        (
            &format!(
                "{VERSION}; while read -r l; do case $l in *check-sat*) echo unsat;; esac; done"
            ),
            "self-test",
        ),
        (
            &format!(
                "{VERSION}; while read -r l; do case $l in *check-sat*) echo unknown;; esac; done"
            ),
            "self-test",
        ),
        (&format!("{VERSION}; exit 1"), "self-test"),
    ] {
        let (good, said) = with_solver(script);
        assert!(!good && said.contains(expected), "{script}: {said}");
    }
}
