//! What `serve` runs under, from the outside: only what people signed.

use crate::gateway::Installation;
use serde_json::Value;

/// A gateway that has let an agent in: from now on the file alone changes nothing.
fn bound() -> Installation {
    let installation = Installation::new();
    let serving = installation.serve();
    let words = ["agent", "add", "builder", "--targets", "shop", "--effects", "read,write"];
    assert_eq!(installation.sign("alice", &words).code, 0);
    serving.stop();
    installation
}

fn shown(installation: &Installation) -> Value {
    let ended = installation.run(&["config", "show", "--json"]);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr))
}

#[test]
fn an_edited_file_and_edited_policies_change_nothing() {
    let installation = bound();
    let mallory = installation.public("mallory");
    installation.edit(|text| {
        format!(
            "nonsense = 1\n{text}\n[people.mallory]\nkeys = [{mallory:?}]\n[reviewers.mallory]\n"
        )
    });
    let policy = installation.folder().join("policies/site.cedar");
    std::fs::write(&policy, "not a policy").unwrap();
    // Not even one that is none keeps the gateway from running under what was signed.
    let serving = installation.serve();
    let freeze = installation.run(&["freeze", "everything", "--reason", "somebody edits the file"]);
    assert_eq!(freeze.code, 0, "{}", freeze.stderr);
    let view = shown(&installation);
    assert_eq!(view["in_force"]["configuration"]["settings"]["people"]["mallory"], Value::Null);
    let thaw = installation.sign("mallory", &["thaw", "everything", "--as", "mallory"]);
    assert!(thaw.stderr.contains("not a person of this installation"), "{}", thaw.stderr);
    installation.edit(|text| text.replace("nonsense = 1\n", ""));
    std::fs::remove_file(&policy).unwrap();
    let diff = installation.run(&["config", "diff"]);
    assert_eq!(diff.code, 1, "{}", diff.stderr);
    for said in ["loosens", "`people.mallory.keys`", "policies \"site.cedar\" is removed"] {
        assert!(diff.stdout.contains(said), "`{said}` is not in\n{}", diff.stdout);
    }
    serving.stop();
}

#[test]
fn what_loosens_is_signed_by_two_and_stopped_by_anyone() {
    let installation = bound();
    let serving = installation.serve();
    let mallory = installation.public("mallory");
    installation.edit(|text| {
        format!("{text}\n[people.mallory]\nkeys = [{mallory:?}]\n[reviewers.mallory]\n")
    });
    // The editor's own key is not enough, nor is that of who would be let in.
    let proposed = installation.sign("alice", &["config", "apply"]);
    let proofs = ["keep what they promise", "are not proved"];
    assert!(proofs.iter().any(|said| proposed.stderr.contains(said)), "{}", proposed.stderr);
    assert!(
        proposed.stdout.contains("waits for the signature of a reviewer"),
        "{}",
        proposed.stderr
    );
    assert!(
        proposed.stderr.contains("a new person, who counts after 24 hours"),
        "{}",
        proposed.stderr
    );
    let number = shown(&installation)["waiting"]["number"].to_string();
    let approve = |who: &str, typed: &str| {
        installation.sign(who, &["config", "approve", &number, "--as", who, "--typed", typed])
    };
    let own = approve("alice", &format!("{number} 2"));
    assert!(own.code != 0 && own.stderr.contains("another human approves"), "{}", own.stderr);
    assert!(approve("mallory", &format!("{number} 2")).stderr.contains("not a person"));
    let hasty = approve("bob", &format!("{number} 1"));
    assert!(hasty.stderr.contains("nothing was signed"), "{}", hasty.stderr);
    let second = approve("bob", &format!("{number} 2"));
    assert!(second.stdout.contains("waits until"), "{} {}", second.stdout, second.stderr);
    let stop = installation.run(&["config", "stop", &number, "--reason", "who is mallory?"]);
    assert_eq!(stop.code, 0, "{}", stop.stderr);
    assert_eq!(shown(&installation)["waiting"], Value::Null);
    serving.stop();
}

#[test]
fn what_tightens_is_in_force_at_once_and_the_gateway_runs_under_it() {
    let installation = bound();
    let serving = installation.serve();
    installation.edit(|text| text.replace("# tags = [\"critical\"]", "tags = [\"critical\"]"));
    let applied = installation.sign("alice", &["config", "apply"]);
    assert!(applied.stdout.contains("is in force"), "{} {}", applied.stdout, applied.stderr);
    // It may be starting again just now.
    let same = (0..500).any(|_| installation.run(&["config", "diff"]).code == 0);
    assert!(same, "{}", installation.run(&["config", "diff"]).stderr);
    let consistency = installation.run(&["doctor", "--consistency", "--json"]);
    assert_eq!(consistency.code, 0, "{}", consistency.stdout);
    serving.stop();
}

#[test]
fn what_cannot_run_is_not_given_out_to_be_signed() {
    let installation = bound();
    let serving = installation.serve();
    let proposed = |text: &str| {
        installation.edit(|whole| whole.replace("environment = \"staging\"", text));
        let ended = installation.sign("alice", &["config", "apply"]);
        installation.edit(|whole| whole.replace(text, "environment = \"staging\""));
        assert_ne!(ended.code, 0);
        ended.stderr
    };
    let disposable = proposed("environment = \"production\"\ndisposable = true");
    assert!(disposable.contains("production is not disposable"), "{disposable}");
    std::fs::write(
        installation.folder().join("policies/more.cedar"),
        "permit (principal, action, resource);",
    )
    .unwrap();
    let permits = proposed("environment = \"test\"");
    assert!(permits.contains("more.cedar"), "{permits}");
    serving.stop();
}
