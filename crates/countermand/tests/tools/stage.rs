//! A scratch PostgreSQL, the gateway as `serve` runs it, and an agent that was let in.

use countermand::config::Config;
use countermand::serve::Gateway;
use countermand_core::request::ChangeNumber;
use countermand_core::statement::NAMESPACE;
use countermand_doors::postgres::scratch::{Login, Options, ScratchServer, psql_command};
use countermand_engine::control::{ChangeView, Command, PrepareAct, Reply};
use countermand_engine::{Clock, Home, Peer};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// The database, and the target's name.
pub(crate) const DATABASE: &str = "shop";
/// Who connects through the door.
pub(crate) const AGENT: &str = "robo";
const NOBODY: Peer = Peer { uid: 0, pid: None };
const ROLES: &str = "
    CREATE ROLE app_owner;
    CREATE ROLE countermand_session LOGIN PASSWORD 'secret';
    CREATE ROLE countermand_executor LOGIN PASSWORD 'secret' IN ROLE app_owner, countermand_session;
    CREATE DATABASE shop OWNER app_owner;";

/// Everything between an agent and a database.
pub(crate) struct Stage {
    pub(crate) server: ScratchServer,
    gateway: Gateway,
    credential: SecretString,
    folder: TempDir,
}

impl Stage {
    /// A database made by the file `schema`, which its owner runs, and a gateway before it.
    /// `writes`: lines of `[targets.shop.writes]`.
    pub(crate) async fn up(schema: &str, writes: &str) -> Stage {
        Stage::at(schema, writes, Clock::system()).await
    }

    /// The same by another clock.
    pub(crate) async fn at(schema: &str, writes: &str, clock: Clock) -> Stage {
        let server = ScratchServer::start(Options::default()).await.unwrap();
        server.psql(ROLES).await.unwrap();
        let (schema, grants) = (text(schema), text("sql/grants.sql"));
        let sql = format!("SET ROLE app_owner;\n{schema}\n{grants}\nRESET ROLE;\nANALYZE;");
        server.psql_in(DATABASE, &sql).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countermand.toml");
        std::fs::write(&file, configuration(folder.path(), &server, writes)).unwrap();
        let mut config = Config::load(&file).unwrap();
        config.installation.plain_keys_count = true;
        let home = Home::at(&config.state);
        home.create("tools").unwrap();
        let gateway = Gateway::start(config, home, clock).await.unwrap();
        let credential = let_in(&gateway).await;
        Stage { server, gateway, credential, folder }
    }

    /// Where a test may leave files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The agent's own way in.
    pub(crate) fn agent(&self) -> Login {
        Login {
            address: self.gateway.door(),
            user: AGENT.to_owned(),
            password: self.credential.clone(),
            database: DATABASE.to_owned(),
        }
    }

    /// The way that agents' statements go on from the door: to compare with.
    pub(crate) fn direct(&self) -> Login {
        self.server.login("countermand_session", SecretString::from("secret"), DATABASE)
    }

    /// What really is in the database, by somebody who sees all.
    pub(crate) async fn truth(&self, sql: &str) -> String {
        self.server.psql_in(DATABASE, sql).await.unwrap().trim().to_owned()
    }

    /// Runs a program of PostgreSQL's as somebody.
    pub(crate) async fn program(&self, name: &str, login: &Login, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(self.server.tools().program(name));
        self.environment(&mut command, login).args(arguments).output().await.unwrap()
    }

    /// A psql with these arguments as somebody.
    pub(crate) async fn psql_with(&self, login: &Login, arguments: &[&str]) -> Output {
        let mut command = psql_command(self.server.tools(), login);
        command.current_dir(self.folder()).args(arguments).output().await.unwrap()
    }

    /// What every client of PostgreSQL reads to find its server.
    pub(crate) fn environment<'a>(
        &self,
        command: &'a mut tokio::process::Command,
        login: &Login,
    ) -> &'a mut tokio::process::Command {
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG"))
        {
            command.env_remove(name);
        }
        command.env("PGHOST", login.address.ip().to_string());
        command.env("PGPORT", login.address.port().to_string());
        command.env("PGUSER", &login.user).env("PGDATABASE", &login.database);
        command.env("PGPASSWORD", login.password.expose_secret());
        command.current_dir(self.folder()).kill_on_drop(true).stdin(std::process::Stdio::null())
    }

    /// Proposes a text as one unit, as the agent would; gives what it is told.
    pub(crate) async fn propose(&self, sql: &str) -> String {
        let proposed = self.folder().join("proposed.sql");
        std::fs::write(&proposed, sql).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_countermand"));
        command
            .env_remove("COUNTERMAND_CONFIG")
            .arg("propose")
            .arg(&proposed)
            .args(["--as", AGENT]);
        command.args(["--target", DATABASE]);
        command.env("COUNTERMAND_DOOR", self.gateway.door().to_string());
        command.env("COUNTERMAND_CREDENTIAL", self.credential.expose_secret());
        let output = command.current_dir(self.folder()).output().await.unwrap();
        let (stdout, stderr) = said(&output);
        format!("{stdout}{stderr}")
    }

    /// Runs SQL as the owner of everything: what the executor does once it was approved.
    pub(crate) async fn as_owner(&self, sql: &str) {
        self.truth(&format!("SET ROLE app_owner;\n{sql}\n{}", text("sql/grants.sql"))).await;
    }

    /// Has two reviewers approve a change, and waits until the engine has executed it.
    pub(crate) async fn approve(&self, change: u64) {
        let change = ChangeNumber(change);
        let mut signers = ["bob", "carol"].into_iter();
        let mut ask = Command::Show { change };
        loop {
            let asked = self.gateway.engine().control(ask, NOBODY).await;
            let Reply::Change(view) = asked else { panic!("{asked:?}") };
            match view.line.state.as_str() {
                "executed" => return,
                "held" if !view.line.missing.iter().any(|what| what.contains("trial")) => {
                    for person in signers.by_ref() {
                        let act = PrepareAct::Approve { change, seat: None };
                        let reply = sign(&self.gateway, person, act).await;
                        assert!(matches!(reply, Reply::Done { .. }), "{person}: {reply:?}");
                    }
                }
                "held" | "running" | "committing" => {}
                ended => panic!("change {change} is {ended}: {view:?}"),
            }
            ask = Command::Wait { change, seen: view.version };
        }
    }

    /// All changes, the first one first.
    pub(crate) async fn changes(&self) -> Vec<ChangeView> {
        let asked = self
            .gateway
            .engine()
            .control(Command::Changes { open: false, wanted: Default::default() }, NOBODY)
            .await;
        let Reply::Changes { changes, .. } = asked else { panic!("{asked:?}") };
        let mut views = Vec::new();
        for line in changes.iter().rev() {
            let show = Command::Show { change: line.number };
            let shown = self.gateway.engine().control(show, NOBODY).await;
            let Reply::Change(view) = shown else { panic!("{shown:?}") };
            views.push(*view);
        }
        views
    }

    /// Fails the test with what was held, if anything was.
    pub(crate) async fn nothing_held(&self) {
        self.only_held(&[]).await;
    }

    /// Exactly these were held, in this order, each with these words in it.
    pub(crate) async fn only_held(&self, expected: &[&str]) {
        let held: Vec<String> =
            self.changes().await.iter().map(|change| change.payload.clone()).collect();
        let fits = held.iter().zip(expected).all(|(held, words)| held.contains(words));
        assert!(fits && held.len() == expected.len(), "held: {held:#?}, expected: {expected:?}");
    }

    /// Ends in good order; what the ledger says is what happened.
    pub(crate) async fn down(self) {
        let asked = self.gateway.engine().control(Command::Consistency, NOBODY).await;
        let Reply::Consistency(found) = asked else { panic!("{asked:?}") };
        assert!(found.differences.is_empty(), "{:?}", found.differences);
        self.gateway.stop().await;
        self.server.stop().await.unwrap();
    }
}

/// A file beside this one.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools").join(name)
}

/// What is in it.
pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// What a program said, as text.
pub(crate) fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A program that some tests need and that this machine lacks: said, and a failure where nothing
/// is optional.
pub(crate) fn lacks(program: &str, how: &str) {
    let words = format!("`{program}` is missing; {how}");
    assert!(std::env::var_os("COUNTERMAND_REQUIRE_ALL").is_none(), "{words}");
    eprintln!("skipped: {words}");
}

fn key(person: &str) -> PrivateKey {
    let mut seed = [0; 32];
    seed[..person.len()].copy_from_slice(person.as_bytes());
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), person).unwrap()
}

fn configuration(folder: &Path, server: &ScratchServer, writes: &str) -> String {
    let address = server.address();
    std::fs::write(folder.join("password"), "secret").unwrap();
    let mut text = format!(
        "installation = \"tools\"\nstate = \"state\"\nrestore_points = \"restore-points\"\n\
         [door]\nlisten = \"127.0.0.1:0\"\n\
         [sponsors.alice]\ntargets = [\"{DATABASE}\"]\neffects = [\"read\", \"write\", \"destroy\"]\n\
         [reviewers.bob]\n[reviewers.carol]\n\
         [targets.{DATABASE}]\nkind = \"postgres\"\nenvironment = \"production\"\n\
         host = \"{}\"\nport = {}\ndatabase = \"{DATABASE}\"\ntls = \"disable\"\nrehearsal = \"none\"\n\
         [targets.{DATABASE}.session]\nuser = \"countermand_session\"\nsecret = {{ file = \"password\" }}\n\
         [targets.{DATABASE}.executor]\nuser = \"countermand_executor\"\nsecret = {{ file = \"password\" }}\n\
         [targets.{DATABASE}.writes]\n{writes}\n",
        address.ip(),
        address.port()
    );
    for person in ["alice", "bob", "carol"] {
        let public = key(person).public_key().to_openssh().unwrap();
        text.push_str(&format!("[people.{person}]\nkeys = [{public:?}]\n"));
    }
    text
}

/// A human does something that needs a signature.
async fn sign(gateway: &Gateway, person: &str, act: PrepareAct) -> Reply {
    let prepare = Command::Prepare { signer: person.parse().unwrap(), act };
    let asked = gateway.engine().control(prepare, NOBODY).await;
    let Reply::Prepared { statement, .. } = asked else { return asked };
    let signed = key(person).sign(NAMESPACE, HashAlg::Sha512, statement.as_bytes()).unwrap();
    let signature = signed.to_pem(LineEnding::LF).unwrap();
    gateway.engine().control(Command::Submit { statement, signature }, NOBODY).await
}

/// Lets the agent in, as its sponsor would; gives its credential.
async fn let_in(gateway: &Gateway) -> SecretString {
    let grant = json!({ "targets": [DATABASE], "effects": ["read", "write", "destroy"] });
    let grant = serde_json::from_value(grant).unwrap();
    let act = PrepareAct::AddAgent { agent: AGENT.parse().unwrap(), grant, lifetime: 43_200 };
    let reply = sign(gateway, "alice", act).await;
    let Reply::Done { credential, .. } = reply else { panic!("{reply:?}") };
    SecretString::from(credential.unwrap())
}
