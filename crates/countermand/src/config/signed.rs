//! The part of a configuration that people sign, and how it becomes one again.

use super::Config;
use super::fault::{ConfigError, Source};
use countermand_core::configuration::Configuration;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What the file on this machine says whoever signed what: where this gateway is, and from where
/// its drafts of policies are read.
const LOCAL: [&str; 6] = ["state", "door", "console", "metrics", "telemetry", "policies"];

/// What a file sets, without [`LOCAL`]; policies are read elsewhere.
pub(super) fn configuration(source: &Source<'_>) -> Result<Configuration, ConfigError> {
    let mut settings: Map<String, Value> =
        toml::from_str(source.text).map_err(|error| source.syntax(&error))?;
    settings.retain(|name, _| !LOCAL.contains(&name.as_str()));
    Ok(Configuration { settings, ..Configuration::default() })
}

/// What is read of a file whose configuration is not the one in force.
#[derive(Deserialize)]
struct Local {
    state: PathBuf,
    #[serde(default)]
    door: Option<toml::Value>,
    #[serde(default)]
    console: Option<toml::Value>,
    #[serde(default)]
    metrics: Option<toml::Value>,
    #[serde(default)]
    telemetry: Option<toml::Value>,
}

impl Config {
    /// Where this file's gateway keeps its state, whatever else it says.
    ///
    /// # Errors
    /// [`ConfigError`] where it is no TOML or names no state.
    pub fn state_of(file: &Path) -> Result<PathBuf, ConfigError> {
        let text = read(file)?;
        let local = local(&Source { file, text: &text })?;
        Ok(file.parent().unwrap_or(Path::new("")).join(local.state))
    }

    /// The same with its state in this folder.
    pub(crate) fn at(mut self, state: &Path) -> Config {
        state.clone_into(&mut self.state);
        self.installation.ledger = state.join("ledger");
        self
    }

    /// The configuration that was signed, at this file's place: what the file itself says counts
    /// only for where the gateway keeps its state and where it listens.
    ///
    /// # Errors
    /// [`ConfigError`]; what was signed made sense when it was.
    pub fn signed(file: &Path, signed: &Configuration) -> Result<Config, ConfigError> {
        let text = read(file)?;
        let local = local(&Source { file, text: &text })?;
        let mut whole = signed.settings.clone();
        whole.insert("state".to_owned(), Value::from(local.state.to_string_lossy()));
        let own = [
            ("door", local.door),
            ("console", local.console),
            ("metrics", local.metrics),
            ("telemetry", local.telemetry),
        ];
        for (name, said) in own {
            let said = said.map(|said| serde_json::to_value(said).unwrap_or_default());
            whole.extend(said.map(|said| (name.to_owned(), said)));
        }
        let written = toml::to_string(&whole).unwrap_or_default();
        let mut config = Config::parse(file, &written)?;
        config.govern(signed.policies.clone());
        Ok(config)
    }
}

fn read(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file)
        .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })
}

fn local(source: &Source<'_>) -> Result<Local, ConfigError> {
    toml::from_str(source.text).map_err(|error| source.syntax(&error))
}
