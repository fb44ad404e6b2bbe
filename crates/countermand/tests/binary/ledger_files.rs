//! The ledger's files beside a running gateway, by the commands: texts erased, segments moved.

use crate::gateway::{Installation, run};
use countermand::client::Client;
use countermand_engine::control::{Command, Reply, Scope};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The entry whose texts hold these words.
fn entry_with(installation: &Installation, words: &str) -> Option<u64> {
    let shown = installation.run(&["ledger", "show", "--json"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let entry = json(shown.stdout.lines().find(|line| line.contains(words))?);
    json(entry["line"].as_str().unwrap())["index"].as_u64()
}

#[test]
fn a_text_is_erased_and_the_ledger_still_verifies() {
    let installation = Installation::new();
    let _serving = installation.serve();
    let secret = "the name of somebody";
    assert_eq!(installation.run(&["freeze", "everything", "--reason", secret]).code, 0);
    let entry = entry_with(&installation, secret).unwrap().to_string();
    let words = ["ledger", "erase", "--entry", &entry, "--reason", "request 4711"];
    let erased = installation.sign("bob", &words);
    assert_eq!(erased.code, 0, "{}", erased.stderr);
    let left = installation.run(&["ledger", "show", "--json"]).stdout;
    assert!(!left.contains(secret) && left.contains("4711"), "{left}");
    let folder = installation.key("export").display().to_string();
    assert_eq!(installation.run(&["ledger", "export", &folder]).code, 0);
    let key = format!("{folder}/ledger.pub");
    let verified = run(&["ledger", "verify", &folder, "--key", &key, "--json"]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    let again = installation.sign("bob", &words);
    assert!(again.code == 1, "{}", again.stdout);
    assert_eq!(installation.run(&["doctor", "--consistency"]).code, 0);
}

#[test]
fn a_full_segment_is_moved_away_and_the_gateway_goes_on() {
    let installation = Installation::new();
    let serving = installation.serve();
    let ledger = installation.folder().join("state/ledger");
    let socket = installation.folder().join("state/countermand.sock");
    let mut client = Client::at(&socket).ok().unwrap();
    for _ in 0..4100 {
        let what = Scope::Target("shop".parse().unwrap());
        let reply = client.ask(&Command::Freeze { what, reason: "drill".to_owned() });
        assert!(matches!(reply, Ok(Reply::Done { .. })));
    }
    let place = |name: &str| installation.key(name).display().to_string();
    assert_eq!(installation.run(&["ledger", "export", &place("first")]).code, 0);
    let elsewhere = place("elsewhere");
    // The gateway's clock may be ahead of this machine's: then the last entries are still to come.
    let began = std::time::Instant::now();
    let moved = loop {
        let now = jiff::Timestamp::now().to_string();
        let words = ["ledger", "move", "--to", &elsewhere, "--before", &now, "--json"];
        let moved = installation.run(&words);
        assert_eq!(moved.code, 0, "{}", moved.stderr);
        if json(&moved.stdout)["moved"].as_array().map(Vec::len) == Some(1) {
            break moved;
        }
        assert!(began.elapsed().as_secs() < 60, "{}", moved.stdout);
    };
    let there = json(&moved.stdout)["moved"][0].as_str().unwrap().to_owned();
    assert!(
        !ledger.join(&there).exists() && std::path::Path::new(&elsewhere).join(&there).exists()
    );
    // It goes on, also after a start, and writes the segment no second time.
    assert_eq!(installation.run(&["freeze", "everything", "--reason", "after"]).code, 0);
    assert_eq!(serving.stop(), 0);
    let _serving = installation.serve();
    assert_eq!(installation.run(&["ledger", "export", &place("second")]).code, 0);
    assert!(!ledger.join(&there).exists(), "it was written again");
    let (here, key) = (ledger.display().to_string(), format!("{}/ledger.pub", place("first")));
    let verified = run(&["ledger", "verify", &here, &elsewhere, "--key", &key, "--json"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stderr, verified.stdout);
    let without = run(&["ledger", "verify", &here, "--key", &key]);
    assert!(without.code != 0, "{}", without.stdout);
    assert_eq!(installation.run(&["doctor", "--consistency"]).code, 0);
}

#[test]
fn events_are_told_as_the_gateway_publishes_them_each_once() {
    let installation = Installation::new();
    let serving = installation.serve();
    let publish = |name: &str| {
        let folder = installation.key(name).display().to_string();
        assert_eq!(installation.run(&["ledger", "export", &folder]).code, 0);
    };
    publish("first");
    let words = ["ledger", "export", "--format", "ocsf", "--follow"];
    let mut following =
        installation.command(&words).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut told = std::io::BufReader::new(following.stdout.take().unwrap());
    let mut lines = Vec::new();
    let mut until = |kind: &str| {
        while !lines.last().is_some_and(|last: &String| last.contains(kind)) {
            let mut line = String::new();
            assert!(std::io::BufRead::read_line(&mut told, &mut line).unwrap() > 0, "it ended");
            lines.push(line);
        }
        lines.clone()
    };
    until("\"event_code\":\"gateway.started\"");
    assert_eq!(installation.run(&["freeze", "everything", "--reason", "drill"]).code, 0);
    publish("second");
    until("\"event_code\":\"freeze.on\"");
    // It waits for a gateway that starts again, and goes on.
    assert_eq!(serving.stop(), 0);
    let _serving = installation.serve();
    publish("third");
    until("\"event_code\":\"gateway.stopped\"");
    let lines = until("\"event_code\":\"gateway.started\"");
    following.kill().unwrap();
    following.wait().unwrap();
    let at_once = installation.run(&["ledger", "export", "--format", "ocsf"]);
    assert!(at_once.stdout.starts_with(&lines.concat()), "{}", lines.concat());
    let beyond = installation.run(&["ledger", "export", "--format", "ocsf", "--from", "9999"]);
    assert!(
        beyond.code == 2 && beyond.stderr.contains("is this the same ledger?"),
        "{}",
        beyond.stderr
    );
    assert_eq!(installation.run(&["ledger", "export"]).code, 2, "a folder, or a format");
}
