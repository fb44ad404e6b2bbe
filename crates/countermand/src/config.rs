//! `countermand.toml`: who there is, what is where, and where secrets are to be found.
//!
//! The file is read once, when a command starts. Relative paths in it start at its own folder.

mod console;
mod fault;
mod file;
mod metrics;
mod people;
mod shared;
mod signed;
mod targets;
mod telemetry;
mod watch;

pub use console::ConsoleConfig;
pub use fault::ConfigError;
pub use shared::SharedRole;
pub use targets::{Limits, PostgresConfig};
pub(crate) use telemetry::of_environment as telemetry_of_environment;

use countermand_core::name::TargetName;
use countermand_doors::secret::SecretRef;
use countermand_engine::Installation;
use fault::Source;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const FILE_NAME: &str = "countermand.toml";
/// Where it is looked for when nobody says where it is.
const SYSTEM_FILE: &str = "/etc/countermand/countermand.toml";

/// A configuration that was read and makes sense.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    /// What the engine needs to know.
    pub installation: Installation,
    /// Store, ledger, keys and socket: a folder nobody else may read.
    pub state: PathBuf,
    /// Where site policies are; none where there are none.
    pub policies: Option<PathBuf>,
    /// Where agents connect to.
    pub door: DoorConfig,
    /// Where people read, with a browser; none where there is no console.
    pub console: Option<ConsoleConfig>,
    /// Where a Prometheus reads metrics; none where they are not told.
    pub metrics: Option<SocketAddr>,
    /// Where traces are posted to; none where nobody wants them.
    pub telemetry: Option<String>,
    /// How each target is reached.
    pub targets: BTreeMap<TargetName, PostgresConfig>,
}

/// The side that faces agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Certificate chain and key, both PEM. None is possible on loopback only.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Config {
    /// Reads a configuration and its policies.
    ///
    /// # Errors
    /// [`ConfigError`], which names file, line and remedy.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        let mut config = Config::parse(file, &text)?;
        let policies = config.policies.as_deref().map(read_policies).transpose()?;
        config.govern(policies.unwrap_or_default());
        Ok(config)
    }

    /// Puts these policies in.
    fn govern(&mut self, policies: BTreeMap<String, String>) {
        self.installation.policies = policies.clone().into_iter().collect();
        self.installation.configuration.policies = policies;
    }

    /// Reads a configuration's text; `file` is where it stands. Policies are not read.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        let source = Source { file, text };
        let read: file::File = toml::from_str(text).map_err(|error| source.syntax(&error))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let state = folder.join(&read.state);
        let (placements, targets) = targets::read(&source, folder, read.targets)?;
        let humans =
            people::read(&source, read.people, read.reviewers, read.sponsors, &placements)?;
        let installation = Installation {
            name: read.installation,
            configuration: signed::configuration(&source)?,
            humans,
            targets: placements,
            policies: Vec::new(),
            restore_points: folder.join(&read.restore_points),
            ledger: state.join("ledger"),
            retention: read.ledger.into(),
            plain_keys_count: false,
        };
        let policies = read.policies.map(|policies| folder.join(policies));
        let door = door(&source, folder, read.door)?;
        let console =
            read.console.map(|console| console::read(&source, folder, console)).transpose()?;
        let metrics = read.metrics.map(|metrics| metrics::read(&source, &metrics)).transpose()?;
        let telemetry =
            read.telemetry.map(|telemetry| telemetry::read(&source, telemetry)).transpose()?;
        Ok(Config {
            file: file.to_owned(),
            installation,
            state,
            policies,
            door,
            console,
            metrics,
            telemetry,
            targets,
        })
    }

    /// The Unix socket that `serve` listens on.
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.state)
    }
}

/// The Unix socket of the gateway that keeps its state here.
pub(crate) fn socket_in(state: &Path) -> PathBuf {
    state.join("countermand.sock")
}

/// The configuration to use: the one that was named, or the first that is there.
pub fn find(named: Option<&Path>) -> PathBuf {
    let from_environment = std::env::var_os("COUNTERMAND_CONFIG").map(PathBuf::from);
    if let Some(file) = named.map(Path::to_owned).or(from_environment) {
        return file;
    }
    let here = PathBuf::from(FILE_NAME);
    let system = PathBuf::from(SYSTEM_FILE);
    if !here.exists() && system.exists() { system } else { here }
}

fn door(source: &Source<'_>, folder: &Path, door: file::Door) -> Result<DoorConfig, ConfigError> {
    if !door.listen.ip().is_loopback() && door.tls.is_none() {
        return Err(source.at(
            &["door", "listen"],
            "other machines can reach this address, and passwords and rows would cross the \
             network in the open: add `tls = { certificate = \"…\", key = \"…\" }`, or listen on \
             127.0.0.1",
        ));
    }
    let tls = door.tls.map(|tls| (folder.join(tls.certificate), folder.join(tls.key)));
    Ok(DoorConfig { listen: door.listen, tls })
}

/// A reference as it is meant from the configuration's folder.
fn resolve(folder: &Path, secret: SecretRef) -> SecretRef {
    match secret {
        SecretRef::File(path) => SecretRef::File(folder.join(path)),
        other => other,
    }
}

/// Every `*.cedar` of a folder, by its name.
fn read_policies(folder: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let unreadable = |file: &Path| {
        let file = file.to_owned();
        move |source| ConfigError::Unreadable { file, source }
    };
    let mut policies = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "cedar") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        policies.insert(name, text);
    }
    Ok(policies)
}

#[cfg(test)]
mod tests;
