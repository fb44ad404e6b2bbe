//! Signing where the key is: a statement leaves as a file and comes back signed. In production, by
//! security keys.

use crate::authenticator::{Authenticator, TOUCHED, VERIFIED};
use crate::gateway::{Ended, Installation};
use crate::life::{DROP, Life};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const NUMBERS: [&str; 2] = ["--typed", "1 1000"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn submit(file: &Path) -> [&str; 3] {
    ["submit", file.to_str().unwrap(), "--json"]
}

fn signature(file: &Path) -> PathBuf {
    file.with_extension("json.sig")
}

#[test]
fn a_statement_is_signed_on_another_machine_with_the_commands_it_is_given() {
    let installation = Installation::new();
    let _serving = installation.serve();
    assert_eq!(installation.run(&["freeze", "everything", "--reason", "drill"]).code, 0);
    let away = tempfile::tempdir().unwrap();
    let file = away.path().join("thaw.json");
    let write = ["thaw", "everything", "--as", "bob", "--statement", file.to_str().unwrap()];
    let written = installation.run(&write);
    assert_eq!(written.code, 0, "{}", written.stderr);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(installation.run(&write).code, 2, "nothing is overwritten");

    // As it is told, but for where the key is.
    let told = |start: &str| {
        let line = written.stdout.lines().find(|line| line.trim().starts_with(start));
        let line = line.unwrap_or_else(|| panic!("{}", written.stdout)).trim();
        line.replace("KEY", installation.key("bob").to_str().unwrap())
    };
    let there = |line: &str| {
        let ran = Command::new("sh").args(["-c", line]).current_dir(away.path()).output().unwrap();
        assert!(ran.status.success(), "{line}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let digest = there(&told("sha256sum"))[..64].to_owned();
    assert!(written.stdout.contains(&digest), "{}", written.stdout);
    there(&told("ssh-keygen"));
    let submitted = told("countermand submit");
    let words: Vec<&str> = submitted.split(' ').skip(1).collect();
    assert_eq!(installation.run(&words).code, 0);
    let again = installation.run(&words);
    assert!(again.code == 1 && again.stderr.contains("used before"), "{}", again.stderr);
}

#[test]
fn a_statement_that_was_changed_on_the_way_does_nothing() {
    let installation = Installation::new();
    let _serving = installation.serve();
    assert_eq!(installation.run(&["freeze", "target", "shop", "--reason", "drill"]).code, 0);
    let away = tempfile::tempdir().unwrap();
    let file = away.path().join("thaw.json");
    let write = ["thaw", "everything", "--as", "bob", "--statement", file.to_str().unwrap()];
    assert_eq!(installation.run(&write).code, 0);
    let changed = std::fs::read_to_string(&file).unwrap().replace("everything", "target shop");
    std::fs::write(&file, changed).unwrap();
    let sign = ["-Y", "sign", "-q", "-n", countermand_core::statement::NAMESPACE, "-f"];
    let mut keygen = Command::new("ssh-keygen");
    let signed = keygen.args(sign).arg(installation.key("bob")).arg(&file).status();
    assert!(signed.unwrap().success());
    let refused = installation.run(&submit(&file));
    assert!(refused.code == 1 && refused.stdout.contains("was changed"), "{}", refused.stdout);
    let missing = installation.run(&["submit", file.to_str().unwrap(), "--signature", "/no/file"]);
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    assert!(installation.run(&["doctor"]).stdout.contains("target shop"), "it is still frozen");
}

impl Life {
    /// Has somebody sign with their security key what this command would do, and submits it.
    async fn by_key(&self, who: &str, key: &Authenticator, flags: u8, words: &[&str]) -> Ended {
        let file = self.installation.folder().join(format!("{who}.json"));
        let _ = std::fs::remove_file(&file);
        let path = file.to_str().unwrap();
        let written = self.run(&[words, &["--as", who, "--statement", path]].concat()).await;
        assert_eq!(written.code, 0, "{}", written.stderr);
        let statement = std::fs::read(&file).unwrap();
        std::fs::write(signature(&file), key.sign(&statement, flags)).unwrap();
        self.run(&submit(&file)).await
    }

    /// Has alice propose a configuration that loosens and bob approve it, with their security keys.
    async fn configured_by_keys(&self, alice: &Authenticator, bob: &Authenticator) {
        let erin = Authenticator::new(4).public();
        self.installation
            .edit(|text| format!("{text}\n[people.erin]\nkeys = [{erin:?}]\n[reviewers.erin]\n"));
        let plain = self.sign("alice", &["config", "apply"]).await;
        assert!(plain.code == 1 && plain.stderr.contains("user-verified"), "{}", plain.stderr);
        let proposed = self.by_key("alice", alice, VERIFIED, &["config", "apply"]).await;
        assert_eq!(proposed.code, 0, "{}", proposed.stdout);
        let shown = json(&self.run(&["config", "show", "--json"]).await.stdout);
        let number = shown["waiting"]["number"].to_string();
        let typed = format!("{number} 2");
        let approve = ["config", "approve", &number, "--typed", &typed];
        let plain = self.sign("bob", &approve).await;
        assert!(plain.code == 1 && plain.stderr.contains("user-verified"), "{}", plain.stderr);
        let approved = self.by_key("bob", bob, VERIFIED, &approve).await;
        assert_eq!(approved.code, 0, "{}", approved.stdout);
        let words = json(&self.run(&["config", "show", "--json"]).await.stdout).to_string();
        assert!(words.contains("\"bob\""), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_production_a_change_is_approved_and_taken_back_by_verified_security_keys_alone() {
    let [alice, bob, dave] = [1, 2, 3].map(Authenticator::new);
    let life = Life::begin_with(|text| {
        let enrolled = [("[people.\"alice\"]", &alice), ("[people.bob]", &bob)];
        let text = enrolled.iter().fold(text, |text, (person, key)| {
            let before = format!("{person}\nkeys = [");
            assert!(text.contains(&before), "{text}");
            text.replacen(&before, &format!("{before}{:?}, ", key.public()), 1)
        });
        let text = text.replace("environment = \"staging\"", "environment = \"production\"");
        let key = dave.public();
        format!("{text}\n[people.dave]\nkeys = [{key:?}]\n[reviewers.dave]\n")
    })
    .await;
    let effects = ["--effects", "read,write,destroy"];
    let add = [&["agent", "add", "bot", "--targets", "shop"][..], &effects].concat();
    let plain = life.sign("alice", &add).await;
    assert!(plain.code == 1 && plain.stderr.contains("user-verified"), "{}", plain.stderr);
    let added = life.by_key("alice", &alice, VERIFIED, &add).await;
    assert_eq!(added.code, 0, "{}", added.stdout);
    let credential = json(&added.stdout)["credential"].as_str().unwrap().to_owned();
    life.installation.secret("secrets/bot", &credential);
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    life.prepared().await;

    let approve = [&["approve", "1"][..], &NUMBERS].concat();
    let plain = life.sign("bob", &approve).await;
    assert!(plain.code == 1 && plain.stderr.contains("user-verified"), "{}", plain.stderr);
    let touched = life.by_key("bob", &bob, TOUCHED, &approve).await;
    assert!(touched.code == 1 && touched.stdout.contains("user-verified"), "{}", touched.stdout);
    let other = life.by_key("bob", &alice, VERIFIED, &approve).await;
    assert!(other.code == 1 && other.stdout.contains("not enrolled"), "{}", other.stdout);
    assert!(life.shown().await["approvals"].as_array().unwrap().is_empty());
    for (who, key) in [("bob", &bob), ("dave", &dave)] {
        let approved = life.by_key(who, key, VERIFIED, &approve).await;
        assert_eq!(approved.code, 0, "{}", approved.stdout);
    }
    let ended = life.run(&["changes", "wait", "1", "--timeout", "60s"]).await;
    assert_eq!((ended.code, life.rows().await), (0, "gone".into()), "{}", ended.stdout);

    let restore = [&["restore", "1"][..], &NUMBERS].concat();
    assert_eq!(life.sign("bob", &restore).await.code, 1);
    let restored = life.by_key("bob", &bob, VERIFIED, &restore).await;
    assert_eq!((restored.code, life.rows().await), (0, "1000".into()), "{}", restored.stdout);
    life.configured_by_keys(&alice, &bob).await;
}
