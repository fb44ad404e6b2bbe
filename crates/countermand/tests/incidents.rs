//! What happened elsewhere, replayed: each of `incidents/` unguarded, where the loss is real; then
//! through the gateway, where nothing is lost; and its benign twin, which passes.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in tests a failure is a panic")]

use countermand::config::Config;
use countermand::serve::Gateway;
use countermand_core::request::ChangeNumber;
use countermand_core::statement::NAMESPACE;
use countermand_doors::postgres::scratch::{Login, Options, PsqlOutput, ScratchServer, psql_as};
use countermand_engine::control::{Command, PrepareAct, Reply};
use countermand_engine::{Clock, Engine, Home, Peer};
use secrecy::SecretString;
use serde::Deserialize;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::path::{Path, PathBuf};

const NOBODY: Peer = Peer { uid: 0, pid: None };

/// One file of `incidents/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Incident {
    name: String,
    /// Where it was told.
    source: String,
    happened: String,
    /// What production has, as its owner makes it.
    setup: String,
    /// What the agent's client sends, which goes on after errors.
    act: String,
    /// Words of what the agent is told.
    told: String,
    /// True while nothing is lost, in SQL.
    stands: String,
    /// A human says no to change 1.
    rejected: Option<Rejected>,
    twin: Twin,
}

/// The same kind of thing, done as it should be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Twin {
    act: String,
    /// True afterwards, in SQL.
    truth: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejected {
    reason: String,
    /// Each is told the reason.
    again: Vec<String>,
    /// Another way to the same end is another request: held anew, and the agent's reviewers see both.
    reworded: Vec<String>,
}

fn incidents() -> Vec<Incident> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../incidents");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    files.iter().map(read).collect()
}

/// A database that is production, and its two roles.
struct Production {
    server: ScratchServer,
}

impl Production {
    async fn start() -> Production {
        let server = ScratchServer::start(Options::default()).await.unwrap();
        let roles = "CREATE ROLE session LOGIN PASSWORD 'secret';
            CREATE ROLE executor LOGIN PASSWORD 'secret' IN ROLE session;
            CREATE DATABASE app OWNER executor;";
        server.psql(roles).await.unwrap();
        Production { server }
    }

    /// As its owner made it; nothing of an earlier incident is left.
    async fn set_up(&self, incident: &Incident) {
        let sql = format!(
            "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public AUTHORIZATION executor; \
             SET ROLE executor; GRANT USAGE ON SCHEMA public TO session; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA public \
             GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO session;\n{}",
            incident.setup
        );
        self.server.psql_in("app", &sql).await.unwrap();
        assert!(self.is(&incident.stands).await, "{}: it does not stand yet", incident.name);
    }

    /// Whether this is so; what cannot even be asked is not.
    async fn is(&self, truth: &str) -> bool {
        let answer = self.server.psql_in("app", &format!("SELECT {truth}")).await;
        answer.is_ok_and(|answer| answer.trim() == "t")
    }

    /// The act with the credential that an agent inherits without a gateway.
    async fn unguarded(&self, act: &str) -> PsqlOutput {
        let secret = SecretString::from("secret");
        let login = self.server.login("executor", secret, "app");
        on(&self.server, &login, act).await
    }
}

async fn on(server: &ScratchServer, login: &Login, sql: &str) -> PsqlOutput {
    let script = format!("\\set ON_ERROR_STOP off\n{sql}");
    psql_as(server.tools(), login, &script).await.unwrap()
}

/// A gateway of its own for each incident, with one agent.
struct Guard {
    _folder: tempfile::TempDir,
    gateway: Gateway,
    agent: Login,
}

fn key(person: &str) -> PrivateKey {
    let mut seed = [0; 32];
    seed[..person.len()].copy_from_slice(person.as_bytes());
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), person).unwrap()
}

fn configuration(folder: &Path, server: &ScratchServer) -> String {
    let address = server.address();
    std::fs::write(folder.join("password"), "secret").unwrap();
    let mut text = format!(
        "installation = \"incidents\"\nstate = \"state\"\nrestore_points = \"restore-points\"\n\
         [door]\nlisten = \"127.0.0.1:0\"\n\
         [sponsors.alice]\ntargets = [\"app\"]\neffects = [\"read\", \"write\", \"destroy\", \"opaque\"]\n\
         [reviewers.bob]\ngroups = []\n\
         [targets.app]\nkind = \"postgres\"\nenvironment = \"production\"\nhost = \"{}\"\nport = {}\n\
         database = \"app\"\ntls = \"disable\"\nrehearsal = \"none\"\n\
         [targets.app.session]\nuser = \"session\"\nsecret = {{ file = \"password\" }}\n\
         [targets.app.executor]\nuser = \"executor\"\nsecret = {{ file = \"password\" }}\n",
        address.ip(),
        address.port()
    );
    for person in ["alice", "bob"] {
        let public = key(person).public_key().to_openssh().unwrap();
        text.push_str(&format!("[people.{person}]\nkeys = [{public:?}]\n"));
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

impl Guard {
    async fn stand(production: &Production) -> Guard {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countermand.toml");
        std::fs::write(&file, configuration(folder.path(), &production.server)).unwrap();
        let mut config = Config::load(&file).unwrap();
        config.installation.plain_keys_count = true;
        let home = Home::at(&config.state);
        home.create("incidents").unwrap();
        let gateway = Gateway::start(config, home, Clock::system()).await.unwrap();
        let grant = serde_json::json!({
            "targets": ["app"], "effects": ["read", "write", "destroy", "opaque"]
        });
        let act = PrepareAct::AddAgent {
            agent: "bot".parse().unwrap(),
            grant: serde_json::from_value(grant).unwrap(),
            lifetime: 86400,
        };
        let added = sign(gateway.engine(), "alice", act).await;
        let Reply::Done { credential: Some(credential), .. } = added else { panic!("{added:?}") };
        let agent = Login {
            address: gateway.door(),
            user: "bot".into(),
            password: SecretString::from(credential),
            database: "app".into(),
        };
        Guard { _folder: folder, gateway, agent }
    }

    async fn reject(&self, reason: &str) {
        let act = PrepareAct::Reject { change: ChangeNumber(1), reason: reason.to_owned() };
        let rejected = sign(self.gateway.engine(), "bob", act).await;
        assert!(matches!(rejected, Reply::Done { .. }), "{rejected:?}");
    }
}

async fn replay(production: &Production, incident: &Incident) {
    let Incident { name, .. } = incident;
    assert!(!incident.source.is_empty() && !incident.happened.is_empty(), "{name}");
    production.set_up(incident).await;
    production.unguarded(&incident.act).await;
    assert!(!production.is(&incident.stands).await, "{name}: unguarded, nothing is lost");

    production.set_up(incident).await;
    let guard = Guard::stand(production).await;
    let told = on(&production.server, &guard.agent, &incident.act).await.stderr;
    assert!(told.contains(&incident.told), "{name}: {told}");
    assert!(production.is(&incident.stands).await, "{name}: lost behind the gateway: {told}");
    if let Some(rejected) = &incident.rejected {
        say_no(production, &guard, incident, rejected).await;
    }

    let told = on(&production.server, &guard.agent, &incident.twin.act).await;
    assert_eq!(told.stderr, "", "{name}: its twin");
    assert!(production.is(&incident.twin.truth).await, "{name}: its twin: {told:?}");
    guard.gateway.stop().await;
}

async fn say_no(production: &Production, guard: &Guard, incident: &Incident, no: &Rejected) {
    let Incident { name, .. } = incident;
    guard.reject(&no.reason).await;
    for act in &no.again {
        let told = on(&production.server, &guard.agent, act).await.stderr;
        assert!(told.contains(&no.reason), "{name}: {told}");
    }
    for act in &no.reworded {
        let told = on(&production.server, &guard.agent, act).await.stderr;
        assert!(told.contains("held as change"), "{name}: {act}: {told}");
    }
    assert!(production.is(&incident.stands).await, "{name}: lost after a no");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_elsewhere_is_not_lost_here() {
    let incidents = incidents();
    assert!(incidents.len() >= 9, "{}", incidents.len());
    let production = Production::start().await;
    for incident in &incidents {
        replay(&production, incident).await;
    }
    production.server.stop().await.unwrap();
}
