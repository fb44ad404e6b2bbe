//! How soon a freeze stops an agent: from the command at the socket to the refusal of the next
//! statement, and to the end of one that runs, as the server itself shows it.
//! `cargo xtask bench freeze [--json] [--rounds N]`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to clean up")]

use countermand::client::Client;
use countermand::config::Config;
use countermand::serve::Gateway;
use countermand_core::statement::NAMESPACE;
use countermand_doors::postgres::scratch::{Options, ScratchServer};
use countermand_doors::postgres::target::connection::{
    Address, Connection, ConnectionError, Host, Login, Tls,
};
use countermand_doors::secret::SecretRef;
use countermand_engine::control::{Command, PrepareAct, Reply, Scope};
use countermand_engine::{Clock, Engine, Home, Peer};
use secrecy::ExposeSecret as _;
use serde_json::json;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROUNDS: usize = 100;
const NOBODY: Peer = Peer { uid: 0, pid: None };
const RUNS: &str = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE usename = 'session' AND state = 'active'";

/// What a frozen agent is at.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    /// What runs; nothing: one short statement after another.
    runs: Option<&'static str>,
}

const ROWS: [Row; 3] = [
    Row { name: "next statement refused", runs: None },
    Row { name: "running read ended", runs: Some("SELECT pg_sleep(600)") },
    Row { name: "running write ended", runs: Some("UPDATE slow SET n = n + 1 WHERE id = 1") },
];

#[tokio::main]
async fn main() {
    let server = ScratchServer::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    set_up(&server).await;
    let (gateway, socket) = gateway(&server, folder.path()).await;
    let place = |name: &str, secret: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, secret).unwrap();
        SecretRef::File(file)
    };
    let bot = Login { user: "bot".into(), secret: place("bot", &let_in(gateway.engine()).await) };
    let superuser = server.superuser();
    let watcher = Login {
        secret: place("watcher", superuser.password.expose_secret()),
        user: superuser.user,
    };
    let mut watcher = open(server.address(), "app", &watcher).await;
    let rounds = std::env::args().skip_while(|argument| argument != "--rounds").nth(1);
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for row in ROWS {
        let mut took = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let agent = open(gateway.door(), "prod", &bot).await;
            took.push(measure(&socket, agent, &mut watcher, row).await);
            thaw(gateway.engine()).await;
        }
        say(row, took);
    }
    gateway.stop().await;
    server.stop().await.unwrap();
}

async fn set_up(server: &ScratchServer) {
    let roles = "CREATE ROLE session LOGIN PASSWORD 'secret';
        CREATE ROLE executor LOGIN PASSWORD 'secret' IN ROLE session;
        CREATE DATABASE app OWNER executor;";
    server.psql(roles).await.unwrap();
    let tables = "SET ROLE executor; CREATE TABLE slow (id int PRIMARY KEY, n int);
        INSERT INTO slow VALUES (1, 0);
        CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS
          'begin perform pg_sleep(600); return new; end';
        CREATE TRIGGER slow BEFORE UPDATE ON slow FOR EACH ROW EXECUTE FUNCTION sleep();
        GRANT SELECT, UPDATE ON slow TO session;";
    server.psql_in("app", tables).await.unwrap();
}

async fn gateway(server: &ScratchServer, folder: &Path) -> (Gateway, PathBuf) {
    let address = server.address();
    std::fs::write(folder.join("password"), "secret").unwrap();
    let text = format!(
        "installation = \"bench\"\nstate = \"state\"\nrestore_points = \"restore-points\"\n\
         [door]\nlisten = \"127.0.0.1:0\"\n\
         [people.alice]\nkeys = [{:?}]\n\
         [sponsors.alice]\ntargets = [\"prod\"]\neffects = [\"read\", \"write\"]\n\
         [targets.prod]\nkind = \"postgres\"\nenvironment = \"staging\"\nhost = \"{}\"\nport = {}\n\
         database = \"app\"\ntls = \"disable\"\nrehearsal = \"none\"\n\
         [targets.prod.session]\nuser = \"session\"\nsecret = {{ file = \"password\" }}\n\
         [targets.prod.executor]\nuser = \"executor\"\nsecret = {{ file = \"password\" }}\n",
        key().public_key().to_openssh().unwrap(),
        address.ip(),
        address.port()
    );
    let file = folder.join("countermand.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&file).unwrap();
    let (home, socket) = (Home::at(&config.state), config.state.join("countermand.sock"));
    home.create("bench").unwrap();
    (Gateway::start(config, home, Clock::system()).await.unwrap(), socket)
}

fn key() -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[7; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "alice").unwrap()
}

async fn sign(engine: &Engine, act: PrepareAct) -> Reply {
    let prepare = Command::Prepare { signer: "alice".parse().unwrap(), act };
    let Reply::Prepared { statement, .. } = engine.control(prepare, NOBODY).await else {
        panic!("no statement")
    };
    let signed = key().sign(NAMESPACE, HashAlg::Sha512, statement.as_bytes()).unwrap();
    let signature = signed.to_pem(LineEnding::LF).unwrap();
    engine.control(Command::Submit { statement, signature }, NOBODY).await
}

/// Lets the agent in, and gives its credential.
async fn let_in(engine: &Engine) -> String {
    let grant = json!({ "targets": ["prod"], "effects": ["read", "write"] });
    let grant = serde_json::from_value(grant).unwrap();
    let act = PrepareAct::AddAgent { agent: "bot".parse().unwrap(), grant, lifetime: 86_400 };
    match sign(engine, act).await {
        Reply::Done { credential: Some(credential), .. } => credential,
        other => panic!("not let in: {other:?}"),
    }
}

async fn thaw(engine: &Engine) {
    let thawed = sign(engine, PrepareAct::Thaw { what: bot() }).await;
    assert!(matches!(thawed, Reply::Done { .. }), "{thawed:?}");
}

fn bot() -> Scope {
    Scope::Agent("bot".parse().unwrap())
}

async fn open(to: std::net::SocketAddr, database: &str, login: &Login) -> Connection {
    let host = Host::Tcp(to.ip().to_string());
    let database = database.to_owned();
    let address = Address { host, port: to.port(), database, tls: Tls::Disable };
    Connection::open(&address, login, &[]).await.unwrap()
}

/// Asks one simple query; gives the first value of its first row, or the server's error.
async fn ask(connection: &mut Connection, sql: &str) -> Result<Option<String>, String> {
    let words = |error: ConnectionError| error.to_string();
    connection.send(&query(sql)).await.map_err(words)?;
    let (mut value, mut refused) = (None, None);
    loop {
        let frame = connection.receive().await.map_err(words)?;
        match frame.tag() {
            b'D' => value = Some(String::from_utf8_lossy(&frame.body()[6..]).into_owned()),
            b'E' => refused = Some(String::from_utf8_lossy(frame.body()).into_owned()),
            b'Z' => return refused.map_or(Ok(value), Err),
            _ => {}
        }
        // After a fatal one nothing follows.
        if let Some(why) = refused.take_if(|why| why.contains("FATAL")) {
            return Err(why);
        }
    }
}

fn query(sql: &str) -> Vec<u8> {
    let mut out = vec![b'Q'];
    out.extend(u32::try_from(sql.len() + 5).unwrap().to_be_bytes());
    out.extend(sql.as_bytes());
    out.push(0);
    out
}

/// From the command to its effect.
async fn measure(
    socket: &Path,
    mut agent: Connection,
    watcher: &mut Connection,
    row: Row,
) -> Duration {
    let Some(runs) = row.runs else {
        ask(&mut agent, "SELECT 1").await.unwrap();
        let (began, freezing) = freeze(socket);
        let why = loop {
            if let Err(why) = ask(&mut agent, "SELECT 1").await {
                break why;
            }
        };
        let took = began.elapsed();
        assert!(why.contains("frozen"), "{why}");
        freezing.await.unwrap();
        return took;
    };
    agent.send(&query(runs)).await.unwrap();
    let asleep = format!("{RUNS} AND wait_event = 'PgSleep'");
    while ask(watcher, &asleep).await.unwrap().as_deref() != Some("1") {}
    let (began, freezing) = freeze(socket);
    while ask(watcher, RUNS).await.unwrap().as_deref() != Some("0") {}
    let took = began.elapsed();
    freezing.await.unwrap();
    took
}

/// As `countermand freeze` does it, from when it connects.
fn freeze(socket: &Path) -> (Instant, tokio::task::JoinHandle<()>) {
    let (socket, began) = (socket.to_owned(), Instant::now());
    let freezing = tokio::task::spawn_blocking(move || {
        let command = Command::Freeze { what: bot(), reason: "bench".to_owned() };
        let frozen = Client::at(&socket).and_then(|mut client| client.ask(&command));
        assert!(matches!(frozen, Ok(Reply::Done { .. })), "it was not frozen");
    });
    (began, freezing)
}

fn say(row: Row, mut took: Vec<Duration>) {
    took.sort_unstable();
    let millis = |took: Duration| (took.as_secs_f64() * 10_000.0).round() / 10.0;
    let (median, max) = (millis(took[took.len() / 2]), millis(took[took.len() - 1]));
    if std::env::args().any(|argument| argument == "--json") {
        let rounds = took.len();
        println!(
            "{}",
            json!({ "row": row.name, "rounds": rounds, "median_ms": median, "max_ms": max })
        );
        return;
    }
    println!("{:<24} median {median:>7.1} ms   max {max:>7.1} ms   of {}", row.name, took.len());
}
