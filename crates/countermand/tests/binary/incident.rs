//! What happened, and one entry of it, told by the binary and proven offline.

use crate::gateway::{Installation, run};
use serde_json::Value;

#[test]
fn what_happened_is_reported_and_an_entry_of_it_is_proven_offline() {
    let installation = Installation::new();
    let serving = installation.serve();
    let reason = "look: [first](http://evil)";
    assert_eq!(installation.run(&["freeze", "everything", "--reason", reason]).code, 0);
    let told = installation.run(&["incident", "--json"]);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let freeze = told["timeline"].as_array().unwrap().iter().find(|it| it["kind"] == "freeze.on");
    let entry = freeze.unwrap()["entry"].as_u64().unwrap().to_string();
    let report = installation.run(&["incident", "--since", "1h", "--markdown"]);
    assert!(report.stdout.starts_with("# Incident: ` everything `\n"), "{}", report.stdout);
    let line = report.stdout.lines().find(|line| line.contains("evil")).unwrap();
    assert!(line.contains("` freeze.on ` ` "), "{line}");
    let shown = installation.run(&["incident"]);
    assert!(shown.stdout.contains("freeze.on") && shown.stdout.contains("Open questions"));
    assert_eq!(installation.run(&["incident", "--change", "9"]).code, 1);

    let proof = installation.run(&["ledger", "prove", &entry]);
    assert_eq!(proof.code, 0, "{}", proof.stderr);
    let away = tempfile::tempdir().unwrap();
    let exported = away.path().join("ledger");
    installation.run(&["ledger", "export", exported.to_str().unwrap()]);
    assert_eq!(serving.stop(), 0);
    let (file, key) = (away.path().join("proof.json"), exported.join("ledger.pub"));
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        run(&["ledger", "check", file, "--key", key, "--json"])
    };
    let checked = check(&proof.stdout);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let checked: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((&checked["kind"], checked["index"].to_string()), (&"freeze.on".into(), entry));
    let altered = proof.stdout.replacen("everything", "nothing", 1);
    assert_ne!(altered, proof.stdout);
    assert_eq!(check(&altered).code, 1);
}
