//! The people, the agent, and the gateway between them.

use super::stage::{DATABASE, Stage, secret};
use crate::config::Config;
use crate::exit::Failure;
use crate::serve::{Gateway, ServeError};
use countermand_core::request::ChangeNumber;
use countermand_doors::postgres::scratch::{Login, PsqlOutput, psql_command};
use countermand_engine::control::{ChangeView, Command, Reply};
use countermand_engine::key::Key;
use countermand_engine::{Clock, Engine, EngineError, Home, HomeError, Peer};
use serde_json::Value;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How many times faster the demonstration's clock runs, where nobody has to be quick.
pub(super) const SPEED: i32 = 20;
/// The configuration, in the demonstration's folder.
const FILE: &str = "countermand.toml";
/// How long a gateway that starts again waits for the one before it.
const HANDOVER: Duration = Duration::from_secs(30);
/// Who is who: the first sponsors the agent.
pub(super) const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// A running gateway with its people.
pub(super) struct Cast {
    folder: TempDir,
    gateway: Gateway,
    program: PathBuf,
    speed: i32,
    console: Option<u16>,
}

/// What a command of this binary answered.
pub(super) struct Said {
    pub(super) ok: bool,
    pub(super) json: Value,
    pub(super) words: String,
}

impl Cast {
    /// Makes keys and configuration, and starts the gateway on its fast clock; its console, too,
    /// where it is given a port.
    pub(super) async fn gather(
        production: &Stage,
        staging: &Stage,
        speed: i32,
        console: Option<u16>,
    ) -> Result<Cast, Failure> {
        let folder = tempfile::Builder::new().prefix("countermand-demo-").tempdir()?;
        let path = folder.path();
        let mut text = String::from(
            "installation = \"demo\"\nstate = \"state\"\nrestore_points = \"restore-points\"\n\
             [door]\nlisten = \"127.0.0.1:0\"\n\
             [sponsors.alice]\ntargets = [\"costs\"]\neffects = [\"read\", \"write\", \"destroy\"]\n\
             [reviewers.bob]\ngroups = [\"dba\"]\n[reviewers.carol]\ngroups = []\n\
             [reviewers.alice]\ngroups = []\n",
        );
        if let Some(port) = console {
            text.push_str(&format!("[console]\nlisten = \"127.0.0.1:{port}\"\n"));
        }
        for person in PEOPLE {
            let key = make_key(path, person)?;
            text.push_str(&format!("[people.{person}]\nkeys = [\n  {key:?},\n]\n"));
        }
        text.push_str(&target(path, "costs", "production", "costs-staging", production)?);
        text.push_str(&target(path, "costs-staging", "staging", "none", staging)?);
        std::fs::write(path.join(FILE), text)?;
        Home::at(&Config::load(&path.join(FILE))?.state).create("demo").map_err(Failure::new)?;
        let gateway = start(path, speed).await?;
        let program = std::env::current_exe()?;
        Ok(Cast { folder, gateway, program, speed, console })
    }

    /// The same with one more key of this person's, in a gateway that has started again.
    pub(super) async fn with_key(self, person: &str, line: &str) -> Result<Cast, Failure> {
        let Cast { folder, gateway, program, speed, console } = self;
        gateway.stop().await;
        let file = folder.path().join(FILE);
        let text = std::fs::read_to_string(&file)?;
        let keys = format!("[people.{person}]\nkeys = [\n");
        std::fs::write(&file, text.replacen(&keys, &format!("{keys}  {line:?},\n"), 1))?;
        let gateway = start(folder.path(), speed).await?;
        Ok(Cast { folder, gateway, program, speed, console })
    }

    /// Whether the console runs, and people decide there.
    pub(super) fn has_console(&self) -> bool {
        self.console.is_some()
    }

    /// A change's page.
    pub(super) fn page(&self, change: u64) -> String {
        format!("{}/changes/{change}", self.origin())
    }

    fn origin(&self) -> String {
        format!("http://localhost:{}", self.console.unwrap_or_default())
    }

    /// A link that lets this person in, to read.
    pub(super) async fn link(&self, person: &str) -> Result<String, Failure> {
        let said = self.command(&["console", "link", "--as", person]).await?;
        let link = said.json.get("link").and_then(Value::as_str);
        link.map(str::to_owned).ok_or_else(|| Failure::new(said.words))
    }

    /// Whether this is a passkey that was made on this console's page.
    pub(super) fn is_passkey(&self, line: &str) -> Result<(), String> {
        if !line.starts_with(&format!("passkey {} ", self.origin())) {
            return Err(format!(
                "that is not the line: it begins with `passkey {} `",
                self.origin()
            ));
        }
        line.parse::<Key>().map(drop).map_err(|error| format!("that {error}"))
    }

    /// Where everything of the demonstration is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn engine(&self) -> &Engine {
        self.gateway.engine()
    }

    /// Runs a command of this binary, as a person would.
    pub(super) async fn command(&self, arguments: &[&str]) -> Result<Said, Failure> {
        let output = tokio::process::Command::new(&self.program)
            .arg("--config")
            .arg(self.folder().join(FILE))
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let json: Value = serde_json::from_str(stdout.trim()).unwrap_or(Value::Null);
        let why = json.get("error").or(json.get("words")).and_then(Value::as_str);
        let words = why.map_or_else(
            || String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            str::to_owned,
        );
        Ok(Said { ok: output.status.success(), json, words })
    }

    /// Lets the agent in; its credential is shown to nobody but the agent.
    pub(super) async fn let_in(&self, agent: &str) -> Result<String, Failure> {
        let key = self.key("alice");
        let said = self
            .command(&[
                "agent",
                "add",
                agent,
                "--targets",
                "costs",
                "--effects",
                "read,write,destroy",
                "--lifetime",
                "12h",
                "--as",
                "alice",
                "--key",
                &key,
            ])
            .await?;
        let credential = said.json.get("credential").and_then(Value::as_str);
        credential
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("the agent was not let in: {}", said.words)))
    }

    /// A person approves, typing back what they saw.
    pub(super) async fn approve(&self, person: &str, change: u64) -> Result<Said, Failure> {
        let typed =
            format!("{change} {}", self.change(change).await?.preview.ceiling.largest_measured());
        let (number, key) = (change.to_string(), self.key(person));
        self.command(&["approve", &number, "--as", person, "--key", &key, "--typed", &typed]).await
    }

    /// A person takes a change back.
    pub(super) async fn restore(&self, person: &str, change: u64) -> Result<Said, Failure> {
        let typed =
            format!("{change} {}", self.change(change).await?.preview.ceiling.largest_measured());
        let (number, key) = (change.to_string(), self.key(person));
        self.command(&["restore", &number, "--as", person, "--key", &key, "--typed", &typed]).await
    }

    /// The change as it is now.
    pub(super) async fn change(&self, number: u64) -> Result<Box<ChangeView>, Failure> {
        let command = Command::Show { change: ChangeNumber(number) };
        match self.engine().control(command, Peer { uid: 0, pid: None }).await {
            Reply::Change(change) => Ok(change),
            Reply::Refused { why } => Err(Failure::new(why)),
            _ => Err(Failure::new("the gateway answered something else")),
        }
    }

    fn key(&self, person: &str) -> String {
        self.folder().join(person).display().to_string()
    }

    /// The agent's `psql`: one message, at the door.
    pub(super) async fn agent(
        &self,
        stage: &Stage,
        credential: &str,
        sql: &str,
    ) -> Result<PsqlOutput, Failure> {
        let login = Login {
            address: self.gateway.door(),
            user: "claude".to_owned(),
            password: secret(credential),
            database: "costs".to_owned(),
        };
        let output = psql_command(stage.server.tools(), &login)
            .args(["-X", "-c", sql])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        Ok(PsqlOutput {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Stops the gateway; the folder goes with the value.
    pub(super) async fn leave(self) {
        self.gateway.stop().await;
    }
}

/// Starts the gateway, once the one before it has let go of its state.
async fn start(folder: &Path, speed: i32) -> Result<Gateway, Failure> {
    let mut config = Config::load(&folder.join(FILE))?;
    // Said aloud by the story, by every approval, and in the ledger.
    config.installation.plain_keys_count = true;
    let home = Home::at(&config.state);
    let began = Instant::now();
    loop {
        match Gateway::start(config.clone(), home.clone(), Clock::fast(speed)).await {
            Err(ServeError::Engine(EngineError::Home(HomeError::InUse(_))))
                if began.elapsed() < HANDOVER =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            started => return started.map_err(Failure::new),
        }
    }
}

/// Makes a plain key for a person, and gives its public line.
fn make_key(folder: &Path, person: &str) -> Result<String, Failure> {
    let file = folder.join(person);
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", person, "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::new(format!("cannot run `ssh-keygen`: {error}")))?;
    if !made.success() {
        return Err(Failure::new("`ssh-keygen` made no key"));
    }
    Ok(std::fs::read_to_string(file.with_extension("pub"))?.trim().to_owned())
}

fn target(
    folder: &Path,
    name: &str,
    environment: &str,
    partner: &str,
    stage: &Stage,
) -> Result<String, Failure> {
    for (role, password) in [("session", &stage.session), ("executor", &stage.executor)] {
        let file = folder.join(format!("{name}-{role}"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
        std::io::Write::write_all(&mut file, password.as_bytes())?;
    }
    let address = stage.server.address();
    Ok(format!(
        "[targets.{name}]\nkind = \"postgres\"\nenvironment = \"{environment}\"\n\
         host = \"{}\"\nport = {}\ndatabase = \"{DATABASE}\"\ntls = \"disable\"\n\
         rehearsal = \"{partner}\"\n\
         [targets.{name}.session]\nuser = \"countermand_session\"\n\
         secret = {{ file = \"{name}-session\" }}\n\
         [targets.{name}.executor]\nuser = \"countermand_executor\"\n\
         secret = {{ file = \"{name}-executor\" }}\n",
        address.ip(),
        address.port()
    ))
}
