//! What the door costs: pgbench against the server itself, through PgBouncer in session mode, and
//! through Countermand, in turn, on the same database. `cargo xtask bench postgres [--json] [--only ROW]`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to clean up")]

use countermand::config::Config;
use countermand::serve::Gateway;
use countermand_core::statement::NAMESPACE;
use countermand_doors::postgres::scratch::{Options, SUPERUSER, ScratchServer};
use countermand_engine::control::{Command, PrepareAct, Reply};
use countermand_engine::{Clock, Engine, Home, Peer};
use serde_json::json;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Each way is measured so many times; the median counts.
const ROUNDS: usize = 3;
/// One measurement, in seconds.
const SECONDS: &str = "6";
const CLIENTS: &str = "8";
/// Branches: more than clients, or waiting for each other's rows is what is measured.
const SCALE: &str = "20";
const NOBODY: Peer = Peer { uid: 0, pid: None };

/// One way to the database.
struct Way {
    name: &'static str,
    address: SocketAddr,
    user: &'static str,
    password: String,
    database: &'static str,
}

/// What is measured: a row of the result.
struct Row {
    name: &'static str,
    /// Arguments of pgbench; none: a copy by psql.
    pgbench: &'static [&'static str],
    script: &'static str,
}

const ROWS: [Row; 7] = [
    Row { name: "TPC-B, simple", pgbench: &["-M", "simple"], script: "" },
    Row { name: "TPC-B, prepared", pgbench: &["-M", "prepared"], script: "" },
    Row { name: "select by key, simple", pgbench: &["-S", "-M", "simple"], script: "" },
    Row { name: "select by key, prepared", pgbench: &["-S", "-M", "prepared"], script: "" },
    Row {
        name: "1,000 rows",
        pgbench: &["-M", "simple"],
        script: "SELECT * FROM pgbench_accounts WHERE aid <= 1000;\n",
    },
    Row { name: "COPY out", pgbench: &[], script: "\\copy pgbench_accounts to '/dev/null'\n" },
    Row { name: "COPY in", pgbench: &[], script: "\\copy copied from 'rows.tsv'\n" },
];

#[tokio::main]
async fn main() {
    let server = ScratchServer::start(Options { fsync: true, ..Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    set_up(&server, folder.path()).await;
    let gateway = gateway(&server, folder.path()).await;
    let credential = credential(gateway.engine()).await;
    let bouncer = bouncer(&server, folder.path()).await;
    let way = |name, address, user, password: &str, database| Way {
        name,
        address,
        user,
        password: password.to_owned(),
        database,
    };
    let mut ways = vec![way("direct", server.address(), "session", "secret", "app")];
    if let Some((_, address)) = &bouncer {
        ways.push(way("pgbouncer", *address, "session", "secret", "app"));
    }
    ways.push(way("countermand", gateway.door(), "bot", &credential, "prod"));
    let only = std::env::args().skip_while(|argument| argument != "--only").nth(1);
    for row in ROWS.iter().filter(|row| only.as_ref().is_none_or(|only| row.name == only)) {
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
        for _ in 0..ROUNDS {
            for (way, figures) in ways.iter().zip(&mut figures) {
                figures.push(measure(&server, folder.path(), way, row).await);
            }
        }
        say(row, &ways, figures);
    }
    gateway.stop().await;
    if let Some((mut bouncer, _)) = bouncer {
        bouncer.kill().await.unwrap();
    }
    server.stop().await.unwrap();
}

async fn set_up(server: &ScratchServer, folder: &Path) {
    let roles = "CREATE ROLE session LOGIN PASSWORD 'secret';
        CREATE ROLE executor LOGIN PASSWORD 'secret' IN ROLE session;
        CREATE DATABASE app OWNER executor;";
    server.psql(roles).await.unwrap();
    let (address, superuser) = (server.address(), server.superuser());
    let status = tokio::process::Command::new(server.tools().program("pgbench"))
        .args(["-i", "-q", "-s", SCALE, "-h", &address.ip().to_string()])
        .args(["-p", &address.port().to_string(), "-U", SUPERUSER, "app"])
        .env("PGPASSWORD", secrecy::ExposeSecret::expose_secret(&superuser.password))
        .stderr(Stdio::null())
        .status();
    assert!(status.await.unwrap().success(), "pgbench could not fill its tables");
    let tables = "CREATE TABLE copied (LIKE pgbench_accounts INCLUDING ALL);
        ALTER TABLE copied DROP CONSTRAINT copied_pkey;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO session;
        ALTER TABLE pgbench_accounts OWNER TO executor; ALTER TABLE pgbench_branches OWNER TO executor;
        ALTER TABLE pgbench_tellers OWNER TO executor; ALTER TABLE pgbench_history OWNER TO executor;
        ALTER TABLE copied OWNER TO executor;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO session;";
    server.psql_in("app", tables).await.unwrap();
    let lines: String = (0..100_000).map(|n| format!("{n}\t1\t0\tfiller of a row\n")).collect();
    std::fs::write(folder.join("rows.tsv"), lines).unwrap();
}

async fn gateway(server: &ScratchServer, folder: &Path) -> Gateway {
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
         [targets.prod.executor]\nuser = \"executor\"\nsecret = {{ file = \"password\" }}\n\
         [targets.prod.writes]\nrows_per_hour = 1000000000\ninserted = 1000000000\n",
        key().public_key().to_openssh().unwrap(),
        address.ip(),
        address.port()
    );
    let file = folder.join("countermand.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&file).unwrap();
    let home = Home::at(&config.state);
    home.create("bench").unwrap();
    Gateway::start(config, home, Clock::system()).await.unwrap()
}

fn key() -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[7; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "alice").unwrap()
}

/// Lets the agent in, and gives its credential.
async fn credential(engine: &Engine) -> String {
    let grant = json!({ "targets": ["prod"], "effects": ["read", "write"] });
    let act = PrepareAct::AddAgent {
        agent: "bot".parse().unwrap(),
        grant: serde_json::from_value(grant).unwrap(),
        lifetime: 86_400,
    };
    let prepare = Command::Prepare { signer: "alice".parse().unwrap(), act };
    let Reply::Prepared { statement, .. } = engine.control(prepare, NOBODY).await else {
        panic!("no statement")
    };
    let signed = key().sign(NAMESPACE, HashAlg::Sha512, statement.as_bytes()).unwrap();
    let signature = signed.to_pem(LineEnding::LF).unwrap();
    match engine.control(Command::Submit { statement, signature }, NOBODY).await {
        Reply::Done { credential: Some(credential), .. } => credential,
        other => panic!("not let in: {other:?}"),
    }
}

/// PgBouncer in session mode, where it is installed.
async fn bouncer(
    server: &ScratchServer,
    folder: &Path,
) -> Option<(tokio::process::Child, SocketAddr)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let upstream = server.address();
    let text = format!(
        "[databases]\napp = host={} port={} dbname=app user=session password=secret\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {}\nauth_type = scram-sha-256\n\
         auth_file = {}\npool_mode = session\nmax_client_conn = 100\ndefault_pool_size = 50\n\
         unix_socket_dir =\nlogfile = /dev/null\n",
        upstream.ip(),
        upstream.port(),
        address.port(),
        folder.join("users").display(),
    );
    std::fs::write(folder.join("users"), "\"session\" \"secret\"\n").unwrap();
    std::fs::write(folder.join("pgbouncer.ini"), text).unwrap();
    // It refuses to run as root, and reads its files as whoever it runs as.
    let mut command = match is_root() {
        true => {
            let owned = std::process::Command::new("chown")
                .args(["-R", "postgres"])
                .arg(folder.join("users"))
                .arg(folder.join("pgbouncer.ini"))
                .status();
            assert!(owned.unwrap().success());
            std::process::Command::new("chmod").arg("a+rx").arg(folder).status().unwrap();
            let mut command = tokio::process::Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer"]);
            command
        }
        false => tokio::process::Command::new("pgbouncer"),
    };
    command.arg(folder.join("pgbouncer.ini")).kill_on_drop(true);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(child) = command.spawn() else {
        eprintln!("pgbouncer is not installed: its column is left out");
        return None;
    };
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Some((child, address));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("pgbouncer did not start: its column is left out");
    None
}

fn is_root() -> bool {
    let id = std::process::Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

/// Transactions, or for a copy runs, a second.
async fn measure(server: &ScratchServer, folder: &Path, way: &Way, row: &Row) -> f64 {
    let script = folder.join("script.sql");
    std::fs::write(&script, row.script).unwrap();
    let program = if row.pgbench.is_empty() { "psql" } else { "pgbench" };
    let mut command = tokio::process::Command::new(server.tools().program(program));
    command.current_dir(folder).env("PGPASSWORD", &way.password).env("PGSSLMODE", "disable");
    command.args(["-h", &way.address.ip().to_string(), "-p", &way.address.port().to_string()]);
    command.args(["-U", way.user, "-d", way.database]);
    if row.pgbench.is_empty() {
        command.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&script);
    } else {
        command.args(["-n", "-c", CLIENTS, "-j", "2", "-T", SECONDS]).args(row.pgbench);
        if !row.script.is_empty() {
            command.arg("-f").arg(&script);
        }
    }
    let began = Instant::now();
    let output = command.output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {}: {words}{complaints}", way.name, row.name);
    if row.pgbench.is_empty() {
        return 1.0 / began.elapsed().as_secs_f64();
    }
    let tps = words.lines().find_map(|line| line.strip_prefix("tps = "));
    tps.and_then(|tps| tps.split(' ').next()?.parse().ok()).expect("pgbench says its tps")
}

fn say(row: &Row, ways: &[Way], figures: Vec<Vec<f64>>) {
    let unit = if row.pgbench.is_empty() { "copies/s" } else { "transactions/s" };
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    if std::env::args().any(|argument| argument == "--json") {
        let mut line = serde_json::Map::new();
        line.insert("row".into(), json!(row.name));
        line.insert("unit".into(), json!(unit));
        for (way, figure) in ways.iter().zip(&medians) {
            line.insert(way.name.into(), json!((figure * 10.0).round() / 10.0));
        }
        println!("{}", serde_json::Value::Object(line));
        return;
    }
    let figures: Vec<String> = ways
        .iter()
        .zip(&medians)
        .map(|(way, figure)| format!("{} {figure:.1}", way.name))
        .collect();
    println!("{:<24} {:<15} {}", row.name, unit, figures.join("   "));
}
