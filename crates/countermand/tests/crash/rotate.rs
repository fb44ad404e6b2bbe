//! The crash matrix of a key that is replaced: the gateway is killed before and after every durable
//! step. It comes up again, signs with the key that the ledger says, and the ledger verifies.

use super::{Death, NOBODY, configuration, database, every_step, run_child_at, sign};
use countermand_core::statement::LedgerKey;
use countermand_doors::postgres::scratch::ScratchServer;
use countermand_engine::control::{Command, PrepareAct, Reply};
use countermand_engine::{Engine, Home};
use countermand_ledger::checkpoint::VerifyingKey;
use serde_json::{Value, json};
use std::path::Path;

/// What a child does: replaces both keys, or says how it stands.
pub(super) async fn work(engine: &Engine, work: &str) -> Value {
    if work == "rotate" {
        for key in [LedgerKey::Checkpoints, LedgerKey::Texts] {
            let reply = sign(engine, "bob", PrepareAct::RotateKey { key }).await;
            assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        }
    }
    let Reply::Checkpoint { note } = engine.control(Command::Checkpoint, NOBODY).await else {
        panic!("no checkpoint")
    };
    let Reply::Status(status) = engine.control(Command::Status, NOBODY).await else {
        panic!("no status")
    };
    let Reply::Ledger { entries, .. } =
        engine.control(Command::Ledger { from: 0, limit: 1000 }, NOBODY).await
    else {
        panic!("no entries")
    };
    let Reply::Consistency(found) = engine.control(Command::Consistency, NOBODY).await else {
        panic!("no consistency")
    };
    let told = |kind: &str| entries.iter().filter(|entry| entry.line.contains(kind)).count();
    json!({
        "note": note, "frozen": status.frozen, "differences": found.differences,
        "replaced": told("\"kind\":\"ledger.key_changed\"") + told("\"kind\":\"ledger.texts_key_changed\""),
    })
}

/// One life with this death in it. Says whether it came to that.
async fn one(server: &ScratchServer, death: Death) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countermand.toml");
    std::fs::write(&file, configuration(folder.path(), server)).unwrap();
    Home::at(folder.path().join("state")).create("crash").unwrap();
    let crashed = !run_child_at(folder.path(), Some("rotate"), Some(death)).await.success();
    let finished = run_child_at(folder.path(), Some("look"), None).await;
    assert!(finished.success(), "{death:?}: it does not come up again");
    let report = std::fs::read(folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let at = format!("{death:?}: {report:#}");
    assert_eq!(report["differences"], json!([]), "{at}");
    assert_eq!(report["frozen"], json!([]), "{at}");
    if !crashed {
        assert_eq!(report["replaced"], 2, "{at}");
    }
    let published = folder.path().join("state/ledger/ledger.pub");
    let key = std::fs::read_to_string(published).unwrap();
    let key = VerifyingKey::parse(key.trim()).unwrap();
    key.open(report["note"].as_str().unwrap()).unwrap_or_else(|error| panic!("{at}: {error}"));
    for left in ["ledger.key.new", "texts.key.new"] {
        assert!(!Path::new(&folder.path().join("state/keys").join(left)).exists(), "{at}: {left}");
    }
    crashed
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_durable_step_of_a_replaced_key_the_ledger_goes_on() {
    let server = database().await;
    let steps = every_step(async |death| one(&server, death).await).await;
    assert!(steps >= 4, "only {steps} durable steps were reached");
    server.stop().await.unwrap();
}
