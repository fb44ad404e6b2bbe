//! A copy of a running gateway, and going on from it: nothing that was open in it runs.

use crate::gateway::{Installation, copy};
use crate::life::{DROP, Life};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// What `doctor` says of copies.
fn verdict(installation: &Installation) -> String {
    let doctor = json(&installation.run(&["doctor", "--json"]).stdout);
    let findings = doctor.as_array().unwrap();
    let copy = findings.iter().find(|finding| finding["what"] == "copy").unwrap();
    copy["verdict"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_executed_after_the_copy_was_made_does_not_run_again() {
    let life = Life::begin().await;
    life.admit_bot().await;
    assert!(life.psql(DROP).await.stderr.contains("held as change 1"));
    life.prepared().await;
    for (who, human) in [("bob", "bob"), ("mallory", "carol")] {
        // One approval is in the copy, the other is not.
        if who == "mallory" {
            let made = life.run(&["gateway", "backup", &place(&life.installation, "copy")]).await;
            assert_eq!(made.code, 0, "{}", made.stderr);
        }
        let words = ["approve", "1", "--typed", "1 1000", "--as", human];
        assert_eq!(life.sign(who, &words).await.code, 0);
    }
    assert_eq!(life.run(&["changes", "wait", "1", "--timeout", "60s"]).await.code, 0);
    assert_eq!(life.rows().await, "gone");
    let exported = life.run(&["ledger", "export", &place(&life.installation, "export")]).await;
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    // Another change, whose restore point the copy knows nothing of.
    let (installation, _server) = life.end().await;
    let folder = installation.folder();
    let kept = folder.join("restore-points/change-2");
    std::fs::create_dir_all(&kept).unwrap();
    assert_eq!(verdict(&installation), "good");
    std::fs::remove_dir_all(folder.join("state")).unwrap();

    let copied = place(&installation, "copy");
    let newest = place(&installation, "export/checkpoint");
    let words = ["gateway", "restore", &copied, "--checkpoint", &newest, "--json"];
    let cut = installation.run(&words);
    assert_eq!(cut.code, 1);
    let why = json(&cut.stdout)["error"].as_str().unwrap().to_owned();
    assert!(why.contains("could then run again"), "{why}");
    let lost = why.split("--without ").nth(1).unwrap().trim();
    assert!(!folder.join("state/keys").exists(), "nothing is made before that is said");
    assert_eq!(installation.run(&[&words[..], &["--without", "1"]].concat()).code, 1);
    let restored = installation.run(&[&words[..], &["--without", lost]].concat());
    assert_eq!(restored.code, 0, "{}{}", restored.stdout, restored.stderr);
    let restored = json(&restored.stdout);
    assert_eq!(restored["revived"]["withdrawn"], serde_json::json!([1]));
    assert_eq!(restored["revived"]["revoked"], serde_json::json!(["bot"]));
    assert!(!kept.exists() && restored["set_aside"].as_array().unwrap().len() == 1);
    let again = installation.run(&["gateway", "restore", &copied]);
    assert!(again.code == 1 && again.stderr.contains("is not empty"), "{}", again.stderr);

    let _serving = installation.serve();
    let consistency = installation.run(&["doctor", "--consistency"]);
    assert_eq!(consistency.code, 0, "{}", consistency.stdout);
    let change = json(&installation.run(&["changes", "show", "1", "--json"]).stdout);
    assert_eq!((&change["state"], &change["executions"]), (&"withdrawn".into(), &0.into()));
    let doctor = installation.run(&["doctor"]).stdout;
    assert!(doctor.contains("everything: the gateway was restored from a copy"), "{doctor}");
    let agents = json(&installation.run(&["agent", "list", "--json"]).stdout);
    assert_eq!(agents[0]["revoked"], true, "{agents}");
    assert_eq!(installation.sign("bob", &["thaw", "everything"]).code, 0);
}

#[test]
fn a_copy_is_private_whole_and_read_back() {
    let installation = Installation::new();
    assert_eq!(verdict(&installation), "warning");
    let serving = installation.serve();
    let copied = place(&installation, "copy");
    let made = installation.run(&["gateway", "backup", &copied, "--json"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let copied = Path::new(&copied);
    assert_eq!((mode(copied), mode(&copied.join("keys/ledger.key"))), (0o700, 0o600));
    assert_eq!(mode(&copied.join("store.sqlite")), 0o600);
    let left = std::fs::read_dir(installation.folder().join("state")).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.starts_with("backup-")), "the copy was moved");
    let over = installation.run(&["gateway", "backup", copied.to_str().unwrap()]);
    assert!(over.code == 1 && over.stderr.contains("not there yet"), "{}", over.stderr);
    assert_eq!(serving.stop(), 0);

    // On a machine that has nothing: the configuration comes back too.
    std::fs::rename(installation.folder(), place(&installation, "lost")).unwrap();
    std::fs::create_dir(installation.folder()).unwrap();
    for (name, spoil) in spoilers() {
        let spoiled = place(&installation, name);
        copy(copied, Path::new(&spoiled));
        for key in ["keys/ledger.key", "keys/texts.key"] {
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(Path::new(&spoiled).join(key), private).unwrap();
        }
        spoil(Path::new(&spoiled));
        let refused = installation.run(&["gateway", "restore", &spoiled]);
        assert_eq!(refused.code, 1, "{name}: {}", refused.stdout);
        assert!(!installation.folder().join("state").exists(), "{name}");
    }
    let restored = installation.run(&["gateway", "restore", copied.to_str().unwrap()]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert!(restored.stdout.contains("nothing shows whether entries are missing"));
    assert!(installation.config().exists() && installation.folder().join("policies").exists());
    let _serving = installation.serve();
    assert_eq!(installation.run(&["doctor", "--consistency"]).code, 0);
}

type Spoiler = (&'static str, fn(&Path));

fn spoilers() -> [Spoiler; 4] {
    [
        ("altered", |copy| {
            let file = copy.join("configuration/countermand.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, format!("{text}\n# mallory was here")).unwrap();
        }),
        ("missing", |copy| std::fs::remove_file(copy.join("keys/texts.key")).unwrap()),
        ("more", |copy| std::fs::write(copy.join("configuration/policies/x.cedar"), "").unwrap()),
        // Whoever alters the store can write its digest, and not the checkpoint.
        ("cut", |copy| {
            let manifest = copy.join("manifest.json");
            let text = std::fs::read_to_string(&manifest).unwrap();
            let mut read = json(&text);
            let published = std::fs::read_to_string(copy.join("ledger/checkpoint")).unwrap();
            read["checkpoint"] = published.into();
            std::fs::write(manifest, read.to_string()).unwrap();
        }),
    ]
}

/// A place beside the installation.
fn place(installation: &Installation, name: &str) -> String {
    installation.key(name).display().to_string()
}
