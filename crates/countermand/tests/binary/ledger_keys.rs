//! The ledger's keys, by the commands: replaced, verified from the old one, backed up, lost.

use crate::gateway::{Installation, run};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_ledger_is_verified_from_a_key_that_was_replaced_and_a_copy_goes_on_with_the_new_one() {
    let installation = Installation::new();
    let serving = installation.serve();
    let place = |name: &str| installation.key(name).display().to_string();
    let first = place("first");
    assert_eq!(installation.run(&["ledger", "export", &first]).code, 0);
    let key = format!("{first}/ledger.pub");
    for which in ["checkpoints", "texts"] {
        let rotated = installation.sign("bob", &["ledger", "rotate-key", which]);
        assert_eq!(rotated.code, 0, "{}", rotated.stderr);
    }
    assert_eq!(installation.run(&["gateway", "backup", &place("copy")]).code, 0);
    let second = place("second");
    assert_eq!(installation.run(&["ledger", "export", &second]).code, 0);
    assert_eq!(serving.stop(), 0);
    let verified = run(&["ledger", "verify", &second, "--key", &key, "--json"]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    let report = json(&verified.stdout);
    assert_eq!(report["key_changes"][0]["vouched"], true, "{report}");
    assert_eq!(report["signatures"], 2);
    let shown = run(&["ledger", "verify", &second, "--key", &key]).stdout;
    assert!(shown.contains("vouched for by the one before"), "{shown}");

    std::fs::remove_dir_all(installation.folder().join("state")).unwrap();
    let kept = format!("{first}/checkpoint");
    let words = ["gateway", "restore", &place("copy"), "--checkpoint", &kept];
    let restored = installation.run(&words);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    let serving = installation.serve();
    assert_eq!(installation.run(&["doctor", "--consistency"]).code, 0);
    let refused = installation.run(&["ledger", "replace-key", "checkpoints"]);
    assert!(refused.code == 1 && refused.stderr.contains("not overwritten"), "{}", refused.stderr);
    assert_eq!(serving.stop(), 0);

    std::fs::remove_file(installation.folder().join("state/keys/ledger.key")).unwrap();
    let stopped = installation.run(&["serve"]);
    assert!(stopped.code != 0 && stopped.stderr.contains("replace-key"), "{}", stopped.stderr);
    assert_eq!(installation.run(&["ledger", "replace-key", "checkpoints"]).code, 0);
    let _serving = installation.serve();
    let third = place("third");
    assert_eq!(installation.run(&["ledger", "export", &third]).code, 0);
    let refused = run(&["ledger", "verify", &third, "--key", &key]);
    assert!(
        refused.code == 1 && refused.stderr.contains("NEVER VOUCHED FOR"),
        "{}",
        refused.stderr
    );
    let new = format!("{third}/ledger.pub");
    let loud = run(&["ledger", "verify", &third, "--key", &new, "--checkpoint", &kept]);
    assert!(loud.code == 0 && loud.stdout.contains("NOT VOUCHED FOR"), "{}", loud.stdout);
}
