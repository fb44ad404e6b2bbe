//! The crash matrix of writes that flow: the gateway is killed before and after every durable step
//! while an agent writes. What the database has of it, the ledger can take back: all of it.

use super::{Death, NOBODY, configuration, database, every_step, run_child_at, sign};
use countermand::serve::Gateway;
use countermand_doors::postgres::scratch::{Login, ScratchServer, Tools, psql_as};
use countermand_engine::Home;
use countermand_engine::control::{Command, PrepareAct, Reply, Writes};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::Path;

/// As many rounds of writes has one life.
const ROUNDS: u32 = 6;
const CONTENT: &str = "SELECT md5(string_agg(c::text, ',' ORDER BY id)), \
                       (SELECT count(*) FROM runs), (SELECT count(*) FROM notes), \
                       (SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM parts p), \
                       (SELECT string_agg(s::text, ',') FROM sums s) FROM costs c";

/// What a child does: `write`, as an agent; or `take back`, as a human.
pub(super) async fn work(gateway: &Gateway, work: &str, folder: &Path) -> Value {
    match work {
        "write" => write(gateway, folder).await,
        _ => take_back(gateway).await,
    }
}

async fn write(gateway: &Gateway, folder: &Path) -> Value {
    let grant = json!({ "targets": ["prod"], "effects": ["read", "write", "destroy"] });
    let (agent, grant) = ("bot".parse().unwrap(), serde_json::from_value(grant).unwrap());
    let act = PrepareAct::AddAgent { agent, grant, lifetime: 86400 * 80 };
    let Reply::Done { credential: Some(password), .. } = sign(gateway.engine(), "alice", act).await
    else {
        panic!("the agent is not let in")
    };
    std::fs::write(folder.join("writing"), "").unwrap();
    let login = Login {
        address: gateway.door(),
        user: "bot".into(),
        password: SecretString::from(password),
        database: "prod".into(),
    };
    let mut script = String::new();
    for round in 1..=ROUNDS {
        let gone = 500 - round;
        script.push_str(&format!(
            "UPDATE costs SET cents = cents + 1 WHERE id IN ({round}, 100);\n\
             INSERT INTO runs VALUES ({round});\nINSERT INTO notes VALUES ({round});\n\
             BEGIN;\nDELETE FROM costs WHERE id = {gone};\n\
             UPDATE costs SET cents = 0 WHERE id = 100;\nINSERT INTO runs VALUES (-{round});\nCOMMIT;\n",
        ));
    }
    let ran = psql_as(&Tools::find().unwrap(), &login, &script).await.unwrap();
    json!({ "stderr": ran.stderr })
}

async fn take_back(gateway: &Gateway) -> Value {
    let engine = gateway.engine();
    let writes = Writes {
        agent: "bot".parse().unwrap(),
        target: Some("prod".parse().unwrap()),
        since: Timestamp::UNIX_EPOCH,
        until: None,
    };
    let reply = sign(engine, "bob", PrepareAct::TakeBack { writes, overwrite: false }).await;
    let Reply::Consistency(found) = engine.control(Command::Consistency, NOBODY).await else {
        panic!("no answer")
    };
    json!({ "reply": reply, "differences": found.differences })
}

/// One life with this death in it. Says whether it came to that, and whether anything was written.
async fn one(server: &ScratchServer, death: Death) -> (bool, bool) {
    super::stage(server).await;
    let grants = "DROP TABLE IF EXISTS notes, parts, sums; SET ROLE executor;
        CREATE TABLE notes (id int PRIMARY KEY);
        CREATE TABLE parts (id int PRIMARY KEY, cost int REFERENCES costs ON DELETE CASCADE);
        INSERT INTO parts SELECT g, 490 + g % 10 FROM generate_series(1, 30) g;
        CREATE TABLE sums (what text PRIMARY KEY, n int);
        INSERT INTO sums VALUES ('runs', 0);
        CREATE OR REPLACE FUNCTION add_up() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN UPDATE sums SET n = n + 1 WHERE what = 'runs'; RETURN NULL; END $$;
        CREATE TRIGGER adds_up AFTER INSERT ON runs FOR EACH ROW EXECUTE FUNCTION add_up();
        GRANT SELECT, INSERT, UPDATE, DELETE ON costs, runs, notes, parts, sums TO session";
    server.psql_in("app", grants).await.unwrap();
    let before = server.psql_in("app", CONTENT).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countermand.toml");
    std::fs::write(&file, configuration(folder.path(), server)).unwrap();
    Home::at(folder.path().join("state")).create("crash").unwrap();
    let crashed = !run_child_at(folder.path(), Some("write"), Some(death)).await.success();
    let after = server.psql_in("app", CONTENT).await.unwrap();
    if !crashed {
        // Three parts went with each of the six costs: nothing of it was held.
        assert_eq!(server.psql_in("app", "SELECT count(*) FROM parts").await.unwrap().trim(), "12");
    }
    let finished = run_child_at(folder.path(), Some("take back"), None).await;
    assert!(finished.success(), "{death:?}: it does not come up again");
    let report = std::fs::read(folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let restored = server.psql_in("app", CONTENT).await.unwrap();
    let at = format!("{death:?}: {report:#}");
    assert_eq!(report["differences"], json!([]), "{at}");
    assert_eq!(restored, before, "what was written is not taken back: {at}");
    (crashed, after != before)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_durable_step_what_was_written_can_be_taken_back() {
    let server = database().await;
    let mut wrote = 0;
    let steps = every_step(async |death| {
        let (crashed, written) = one(&server, death).await;
        wrote += u32::from(written);
        crashed
    })
    .await;
    assert!(steps >= 10, "only {steps} durable steps were reached");
    assert!(wrote >= 10, "only {wrote} lives wrote anything");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_what_was_written_can_be_taken_back() {
    let server = database().await;
    let mut killed = 0;
    for moment in 1..=24 {
        killed += u32::from(one(&server, Death::Killed(moment * 17)).await.0);
    }
    assert!(killed >= 4, "only {killed} lives were ended: the moments are too late");
    server.stop().await.unwrap();
}
