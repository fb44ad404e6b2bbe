//! The crash matrix: the gateway's process is killed before and after every durable step of a
//! change's life, started again, and finds its way. On a real PostgreSQL, each time: the unit
//! ran once, the ledger and the store agree, and the store and the database agree.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in tests a failure is a panic")]

use countermand::config::Config;
use countermand::serve::Gateway;
use countermand_core::action::{Action, Object};
use countermand_core::request::ChangeNumber;
use countermand_core::statement::NAMESPACE;
use countermand_core::verb::postgres::{DROP_TABLE, INSERT};
use countermand_doors::postgres::scratch::{Options, ScratchServer};
use countermand_doors::postgres::unit::{Unit, UnitStatement};
use countermand_engine::control::{ChangeView, Command, PrepareAct, Reply};
use countermand_engine::{Admission, Caller, Clock, Engine, Home, Peer, Proposal, Refusal};
use serde_json::{Value, json};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

mod flows;
mod rotate;

/// Names the file that tells the child what to do.
const ORDERS: &str = "COUNTERMAND_CRASH_ORDERS";
const NOBODY: Peer = Peer { uid: 0, pid: None };
/// A cooling of 60 s takes a fifth of a second.
const SPEED: i32 = 300;

fn key(person: &str) -> PrivateKey {
    let mut seed = [0; 32];
    seed[..person.len()].copy_from_slice(person.as_bytes());
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), person).unwrap()
}

fn public(person: &str) -> String {
    key(person).public_key().to_openssh().unwrap()
}

/// The configuration: one target that is not production, so that plain keys count, and no
/// partner, so that two peers sign.
fn configuration(folder: &Path, server: &ScratchServer) -> String {
    let address = server.address();
    std::fs::write(folder.join("password"), "secret").unwrap();
    let mut text = format!(
        "installation = \"crash\"\nstate = \"state\"\nrestore_points = \"restore-points\"\n\
         [door]\nlisten = \"127.0.0.1:0\"\n\
         [sponsors.alice]\ntargets = [\"prod\"]\neffects = [\"read\", \"write\", \"destroy\"]\n\
         [reviewers.bob]\ngroups = []\n[reviewers.carol]\ngroups = []\n[reviewers.dave]\ngroups = []\n\
         [targets.prod]\nkind = \"postgres\"\nenvironment = \"staging\"\nhost = \"{}\"\nport = {}\n\
         database = \"app\"\ntls = \"disable\"\nrehearsal = \"none\"\n\
         [targets.prod.session]\nuser = \"session\"\nsecret = {{ file = \"password\" }}\n\
         [targets.prod.executor]\nuser = \"executor\"\nsecret = {{ file = \"password\" }}\n",
        address.ip(),
        address.port()
    );
    for person in ["alice", "bob", "carol", "dave"] {
        text.push_str(&format!("[people.{person}]\nkeys = [{:?}]\n", public(person)));
    }
    text
}

async fn sign(engine: &Engine, person: &str, act: PrepareAct) -> Reply {
    let prepare = Command::Prepare { signer: person.parse().unwrap(), act };
    let statement = match engine.control(prepare, NOBODY).await {
        Reply::Prepared { statement, .. } => statement,
        other => return other,
    };
    let signed = key(person).sign(NAMESPACE, HashAlg::Sha512, statement.as_bytes()).unwrap();
    let signature = signed.to_pem(LineEnding::LF).unwrap();
    engine.control(Command::Submit { statement, signature }, NOBODY).await
}

fn proposal(caller: Caller) -> Proposal {
    let statement = |sql: &str| UnitStatement::new(sql, Vec::new());
    let unit = Unit {
        statements: vec![
            statement("DROP TABLE public.costs"),
            statement("INSERT INTO public.runs VALUES (1)"),
        ],
        settings: Default::default(),
    };
    Proposal {
        caller,
        target: "prod".parse().unwrap(),
        actions: vec![
            Action::new(DROP_TABLE, Object::new("table", "public.costs")),
            Action::new(INSERT, Object::new("table", "public.runs")),
        ],
        payload: unit.to_payload(),
        measurable: false,
        transactional: true,
        approvable: true,
    }
}

/// The change, once there is one.
async fn change(engine: &Engine) -> Option<Box<ChangeView>> {
    match engine.control(Command::Show { change: ChangeNumber(1) }, NOBODY).await {
        Reply::Change(change) => Some(change),
        _ => None,
    }
}

/// Brings the change as far as it goes: whatever is still to be done is done, in order.
async fn live(engine: &Engine) -> Value {
    loop {
        let Some(now) = change(engine).await else {
            let Reply::Agents { agents } = engine.control(Command::Agents, NOBODY).await else {
                panic!("no agents")
            };
            if agents.is_empty() {
                let grant = serde_json::from_value(
                    json!({ "targets": ["prod"], "effects": ["read", "write", "destroy"] }),
                );
                let (agent, grant) = ("bot".parse().unwrap(), grant.unwrap());
                let act = PrepareAct::AddAgent { agent, grant, lifetime: 86400 * 80 };
                let added = sign(engine, "alice", act).await;
                assert!(matches!(added, Reply::Done { .. }), "{added:?}");
            }
            let caller = engine.open_session("bot", "prod", "crash", "local").await.unwrap();
            let (admission, _) = engine.admit(proposal(caller), ()).await;
            if let Admission::Refused(refusal) = admission {
                assert!(matches!(refusal, Refusal::Held { .. }), "{refusal:?}");
            }
            continue;
        };
        match now.line.state.as_str() {
            "held" if now.trial.is_some() && now.approvals.len() < 2 => {
                for person in ["bob", "carol"] {
                    let act = PrepareAct::Approve { change: ChangeNumber(1), seat: None };
                    let reply = sign(engine, person, act).await;
                    let known = matches!(&reply, Reply::Done { .. })
                        || matches!(&reply, Reply::Refused { why } if why.contains("one seat"));
                    assert!(known, "{reply:?}");
                }
            }
            "held" | "running" | "committing" => {
                let wait = Command::Wait { change: ChangeNumber(1), seen: now.version };
                let waiting = engine.control(wait, NOBODY);
                let _ = tokio::time::timeout(Duration::from_secs(2), waiting).await;
            }
            state => {
                let Reply::Consistency(found) = engine.control(Command::Consistency, NOBODY).await
                else {
                    panic!("no consistency")
                };
                return json!({
                    "state": state, "executions": now.executions, "ended": now.ended,
                    "differences": found.differences, "history": now.history,
                });
            }
        }
    }
}

/// Runs only as the process that is killed; by itself it has nothing to do.
#[test]
fn child() {
    let Some(orders) = std::env::var_os(ORDERS) else { return };
    let orders: Value = serde_json::from_slice(&std::fs::read(&orders).unwrap()).unwrap();
    let config = Config::load(Path::new(orders["config"].as_str().unwrap())).unwrap();
    let mut home = Home::at(&config.state);
    if let Some(step) = orders["step"].as_u64() {
        let after = orders["after"].as_bool().unwrap();
        home.hook = Some(Arc::new(move |commit, done| {
            if commit == step && done == after {
                std::process::abort();
            }
        }));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        let gateway = Gateway::start(config, home, Clock::fast(SPEED)).await.unwrap();
        let report = match orders["work"].as_str() {
            Some(work @ ("rotate" | "look")) => rotate::work(gateway.engine(), work).await,
            Some(work) => {
                flows::work(&gateway, work, Path::new(&orders["folder"].as_str().unwrap())).await
            }
            None => live(gateway.engine()).await,
        };
        gateway.stop().await;
        report
    });
    std::fs::write(orders["report"].as_str().unwrap(), report.to_string()).unwrap();
}

/// How a child's life ends before its work is done.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// By its own hand, before or after this commit of its store.
    Step(u64, bool),
    /// By `kill -9` after so many milliseconds, wherever it is then.
    Killed(u64),
}

async fn run_child(folder: &Path, death: Option<Death>) -> ExitStatus {
    run_child_at(folder, None, death).await
}

/// A child with this work; none: the life of a change.
async fn run_child_at(folder: &Path, work: Option<&str>, death: Option<Death>) -> ExitStatus {
    let orders = folder.join("orders.json");
    let (step, after) = match death {
        Some(Death::Step(step, after)) => (Some(step), Some(after)),
        Some(Death::Killed(_)) | None => (None, None),
    };
    let order = json!({
        "config": folder.join("countermand.toml"), "report": folder.join("report.json"),
        "step": step, "after": after, "work": work, "folder": folder,
    });
    std::fs::write(&orders, order.to_string()).unwrap();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(ORDERS, &orders)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    if let Some(Death::Killed(millis)) = death {
        // The moment is what is tested, not something to be waited for.
        if tokio::time::timeout(Duration::from_millis(millis), child.wait()).await.is_err() {
            child.kill().await.unwrap();
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(120), child.wait()).await;
    ended.expect("the child hangs").unwrap()
}

async fn stage(server: &ScratchServer) {
    let sql = "DROP TABLE IF EXISTS costs, runs CASCADE;
        CREATE TABLE costs (id int PRIMARY KEY, cents int);
        INSERT INTO costs SELECT n, n * 7 FROM generate_series(1, 500) n;
        CREATE TABLE runs (id int);
        ALTER TABLE costs OWNER TO executor; ALTER TABLE runs OWNER TO executor;";
    server.psql_in("app", sql).await.unwrap();
}

/// One life with this death in it. Says whether it came to that.
async fn one(server: &ScratchServer, death: Death) -> bool {
    stage(server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countermand.toml");
    std::fs::write(&file, configuration(folder.path(), server)).unwrap();
    Home::at(folder.path().join("state")).create("crash").unwrap();
    let crashed = !run_child(folder.path(), Some(death)).await.success();
    if crashed {
        let finished = run_child(folder.path(), None).await;
        assert!(finished.success(), "{death:?}: it does not come up again");
    }
    let report = std::fs::read(folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let sql = "SELECT (SELECT count(*) FROM runs), to_regclass('public.costs') IS NULL";
    let database = server.psql_in("app", sql).await.unwrap();
    let at = format!("{death:?}: {report:#}");
    assert_eq!(report["state"], "executed", "{at}");
    assert_eq!(report["executions"], 1, "{at}");
    assert_eq!(report["differences"], json!([]), "{at}");
    assert_eq!(database.trim(), "1|t", "{at}");
    crashed
}

/// Lives one life with a death before and one with a death after every durable step, until there are no
/// more. Says how many there are.
async fn every_step(mut one: impl AsyncFnMut(Death) -> bool) -> u64 {
    for step in 1.. {
        let before = one(Death::Step(step, false)).await;
        let after = one(Death::Step(step, true)).await;
        if !before && !after {
            return step - 1;
        }
    }
    unreachable!("the steps end")
}

async fn database() -> ScratchServer {
    let server = ScratchServer::start(Options::default()).await.unwrap();
    let roles = "CREATE ROLE session LOGIN PASSWORD 'secret';
        CREATE ROLE executor LOGIN PASSWORD 'secret' IN ROLE session;
        CREATE DATABASE app OWNER executor;";
    server.psql(roles).await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_durable_step_it_runs_once_and_everything_agrees() {
    let server = database().await;
    let steps = every_step(async |death| one(&server, death).await).await;
    assert!(steps >= 10, "only {steps} durable steps were reached");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_runs_once_and_everything_agrees() {
    let server = database().await;
    let mut killed = 0;
    for moment in 1..=24 {
        killed += u32::from(one(&server, Death::Killed(moment * 83)).await);
    }
    assert!(killed >= 5, "only {killed} lives were ended: the moments are too late");
    server.stop().await.unwrap();
}
