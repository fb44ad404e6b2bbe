//! A real gateway and the commands that reach it over its socket.

use crate::gateway::{Installation, copy, run};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn one_gateway_serves_one_state_directory_and_stops_when_told() {
    let installation = Installation::new();
    let serving = installation.serve();
    let second = installation.run(&["serve"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("another gateway is using"), "{}", second.stderr);
    let socket = installation.folder().join("state/countermand.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(installation.run(&["changes", "list"]).code, 0);
    assert_eq!(serving.stop(), 0);
    assert!(!socket.exists());
    assert_eq!(installation.run(&["changes", "list"]).code, 4);
    // What a gateway that was killed leaves behind is in nobody's way.
    let killed = installation.serve();
    drop(killed);
    assert!(socket.exists());
    assert_eq!(installation.serve().stop(), 0);
}

#[test]
fn the_socket_speaks_json_lines_and_survives_what_is_not() {
    let installation = Installation::new();
    let _serving = installation.serve();
    let socket = installation.folder().join("state/countermand.sock");
    let mut stream = BufReader::new(UnixStream::connect(&socket).unwrap());
    let mut ask = |line: &str| {
        stream.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        json(&answer)
    };
    assert_eq!(ask("{\"command\":\"frobnicate\"}")["reply"], "refused");
    assert_eq!(ask("not json")["reply"], "refused");
    let status = ask("{\"command\":\"status\"}");
    assert_eq!((&status["reply"], &status["installation"]), (&"status".into(), &"acme".into()));
    // A request that never ends: the gateway answers others all the while.
    let mut slow = UnixStream::connect(&socket).unwrap();
    slow.write_all(b"{\"command\":").unwrap();
    assert_eq!(ask("{\"command\":\"status\"}")["open"], 0);
}

#[test]
fn stopping_needs_no_signature_and_letting_run_does() {
    let installation = Installation::new();
    let serving = installation.serve();
    let frozen = installation.run(&["freeze", "everything", "--reason", "drill\u{1b}[2J"]);
    assert_eq!(frozen.code, 0, "{}", frozen.stderr);
    let doctor = installation.run(&["doctor"]);
    assert!(doctor.stdout.contains("drill\\u{1b}[2J"), "{}", doctor.stdout);
    let stranger = installation.sign("mallory", &["thaw", "everything"]);
    assert_eq!(stranger.code, 2, "{}", stranger.stderr);
    let pretends = installation.sign("mallory", &["thaw", "everything", "--as", "bob"]);
    assert_eq!(pretends.code, 1);
    assert!(pretends.stderr.contains("not enrolled"), "{}", pretends.stderr);
    let thawed = installation.sign("bob", &["thaw", "everything", "--json"]);
    assert_eq!(json(&thawed.stdout)["reply"], "done", "{}", thawed.stderr);
    assert_eq!(serving.stop(), 0);
}

#[test]
fn nothing_is_taken_back_of_an_agent_that_wrote_nothing() {
    let installation = Installation::new();
    let _serving = installation.serve();
    let words = ["restore", "--agent", "bot", "--since", "30m"];
    let ended = installation.sign("bob", &words);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("`bot` wrote nothing in that time"), "{}", ended.stderr);
    let ended = installation.run(&[&words[..4], &["2999-01-01T00:00:00Z", "--plan"]].concat());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("still to come"), "{}", ended.stderr);
    let ended = installation.run(&[&words[..], &["--until", "40m", "--plan"]].concat());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("ends before it begins"), "{}", ended.stderr);
}

#[test]
fn a_freeze_outlives_the_gateway() {
    let installation = Installation::new();
    let serving = installation.serve();
    assert_eq!(installation.run(&["freeze", "target", "shop", "--reason", "x"]).code, 0);
    drop(serving);
    let _serving = installation.serve();
    assert!(installation.run(&["doctor"]).stdout.contains("target shop"));
}

#[test]
fn agents_are_let_in_by_their_sponsor_and_shown_their_credential_once() {
    let installation = Installation::new();
    let serving = installation.serve();
    let add = ["agent", "add", "bot", "--targets", "shop", "--effects", "read,write"];
    let refused = installation.sign("bob", &add);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("no sponsor"), "{}", refused.stderr);
    let wide = ["agent", "add", "bot", "--targets", "shop", "--effects", "read,grant"];
    assert_eq!(installation.sign("alice", &wide).code, 1);
    let added = installation.sign("alice", &[&add[..], &["--json"]].concat());
    let credential = json(&added.stdout)["credential"].as_str().unwrap().to_owned();
    let listed = installation.run(&["agent", "list", "--json"]);
    let agents = json(&listed.stdout);
    assert_eq!((&agents[0]["agent"], &agents[0]["revoked"]), (&"bot".into(), &false.into()));
    assert_eq!(installation.run(&["agent", "revoke", "bot"]).code, 0);
    assert_eq!(json(&installation.run(&["agent", "list", "--json"]).stdout)[0]["revoked"], true);
    assert_eq!(serving.stop(), 0);
    for file in walk(&installation.folder()) {
        let bytes = std::fs::read(&file).unwrap();
        let kept = bytes.windows(credential.len()).any(|part| part == credential.as_bytes());
        assert!(!kept, "the credential is in {}", file.display());
    }
}

#[test]
fn an_agent_on_probation_is_listed_as_such() {
    let installation = Installation::new();
    let rehearsal = "rehearsal = \"none\"\n";
    installation.edit(|text| {
        assert!(text.contains(rehearsal));
        text.replace(rehearsal, &format!("{rehearsal}probation = {{ days = 7, share = 4 }}\n"))
    });
    let serving = installation.serve();
    let add = ["agent", "add", "bot", "--targets", "shop", "--effects", "read,write"];
    assert_eq!(installation.sign("alice", &add).code, 0);
    let listed = installation.run(&["agent", "list"]);
    assert!(listed.stdout.contains("shop, from its first session"), "{}", listed.stdout);
    let agents = json(&installation.run(&["agent", "list", "--json"]).stdout);
    assert_eq!(agents[0]["probation"], serde_json::json!({ "shop": null }));
    for wrong in
        ["days = 0, share = 4", "days = 7, share = 0", "days = 7", "days = 7, share = 4, x = 1"]
    {
        let (good, bad) = ("days = 7, share = 4", wrong);
        installation.edit(|text| text.replace(good, bad));
        assert_eq!(installation.run(&["config", "diff"]).code, 2, "{wrong}");
        installation.edit(|text| text.replace(bad, good));
    }
    assert_eq!(serving.stop(), 0);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_ledger_is_verified_from_files_and_key_alone() {
    let installation = Installation::new();
    let serving = installation.serve();
    assert_eq!(installation.run(&["freeze", "everything", "--reason", "drill"]).code, 0);
    assert_eq!(installation.sign("bob", &["thaw", "everything"]).code, 0);
    let away = tempfile::tempdir().unwrap();
    let copied = away.path().join("ledger");
    let path = copied.to_str().unwrap();
    let exported = installation.run(&["ledger", "export", path]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert_eq!(installation.run(&["ledger", "export", path]).code, 1, "overwrites nothing");
    let entries = installation.run(&["ledger", "show", "--json"]);
    let count = entries.stdout.lines().map(json).count();
    assert_eq!(serving.stop(), 0);

    let key = away.path().join("ledger.pub");
    std::fs::rename(copied.join("ledger.pub"), &key).unwrap();
    let verify = |folder: &std::path::Path| {
        let (folder, key) = (folder.to_str().unwrap(), key.to_str().unwrap());
        run(&["ledger", "verify", folder, "--key", key, "--json"])
    };
    let good = verify(&copied);
    let report = json(&good.stdout);
    assert_eq!((good.code, &report["signatures"]), (0, &Value::from(1)), "{}", good.stderr);
    assert_eq!(report["covered"], count);
    let signers: Vec<&String> = report["signers"].as_object().unwrap().keys().collect();
    assert!(signers.len() == 1 && signers[0].starts_with("bob SHA256:"), "{signers:?}");

    let segment = "segments/000000000000.jsonl";
    let text = std::fs::read_to_string(copied.join(segment)).unwrap();
    let altered = [
        text.replacen("everything", "nothing", 1),
        text.lines().skip(1).map(|line| format!("{line}\n")).collect(),
        text.lines().take(2).map(|line| format!("{line}\n")).collect(),
    ];
    for (nth, altered) in altered.iter().enumerate() {
        assert_ne!(*altered, text, "{nth}");
        let bad = away.path().join(format!("bad-{nth}"));
        copy(&copied, &bad);
        std::fs::write(bad.join(segment), altered).unwrap();
        let said = verify(&bad);
        assert_eq!(said.code, 1, "{nth}: {}", said.stdout);
        assert!(json(&said.stdout)["error"].as_str().unwrap().contains("entr"), "{}", said.stdout);
    }
}

#[test]
fn store_and_ledger_say_the_same() {
    let installation = Installation::new();
    let _serving = installation.serve();
    let said = installation.run(&["doctor", "--consistency", "--json"]);
    let found = json(&said.stdout);
    assert_eq!((said.code, &found["differences"]), (0, &serde_json::json!([])), "{}", said.stderr);
}

#[test]
fn a_change_that_is_not_there_is_refused_with_words() {
    let installation = Installation::new();
    let _serving = installation.serve();
    for words in [
        &["changes", "show", "7"][..],
        &["changes", "wait", "7"],
        &["changes", "withdraw", "7"],
        &["changes", "stop", "7", "--reason", "x"],
        &["restore", "7", "--plan"],
    ] {
        let said = installation.run(words);
        assert_eq!(said.code, 1, "{words:?}: {}", said.stderr);
        assert!(!said.stderr.is_empty(), "{words:?}");
    }
    assert_eq!(installation.sign("bob", &["approve", "7"]).code, 1);
}
