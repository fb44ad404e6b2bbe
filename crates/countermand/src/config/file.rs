//! The file's own shape, as it is written. What it means is settled in the parent module.

use super::watch::{Backups, Notify, Probe};
use countermand_core::configuration::Observe;
use countermand_core::effect::Effect;
use countermand_core::limits::Limits as WriteLimits;
use countermand_core::name::{
    AgentName, EnvironmentName, GroupName, HumanName, InstallationName, ProbeName, TargetName,
};
use countermand_core::probation::Probation;
use countermand_doors::secret::SecretRef;
use countermand_engine::Retention;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) installation: InstallationName,
    pub(super) state: PathBuf,
    pub(super) restore_points: PathBuf,
    #[serde(default)]
    pub(super) policies: Option<PathBuf>,
    #[serde(default)]
    pub(super) door: Door,
    #[serde(default)]
    pub(super) ledger: Ledger,
    #[serde(default)]
    pub(super) console: Option<Console>,
    #[serde(default)]
    pub(super) metrics: Option<Metrics>,
    #[serde(default)]
    pub(super) telemetry: Option<Telemetry>,
    #[serde(default)]
    pub(super) people: BTreeMap<HumanName, Person>,
    #[serde(default)]
    pub(super) reviewers: BTreeMap<HumanName, Reviewer>,
    #[serde(default)]
    pub(super) sponsors: BTreeMap<HumanName, Sponsor>,
    #[serde(default)]
    pub(super) targets: BTreeMap<TargetName, Target>,
}

/// For how many days texts are kept; for ever where nothing stands here.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    #[serde(default)]
    keep_texts_days: Option<NonZeroU32>,
    #[serde(default)]
    keep_reads_texts_days: Option<NonZeroU32>,
    #[serde(default)]
    keep_rows_days: Option<NonZeroU32>,
}

impl From<Ledger> for Retention {
    fn from(ledger: Ledger) -> Retention {
        Retention {
            texts: ledger.keep_texts_days.map(NonZeroU32::get),
            reads: ledger.keep_reads_texts_days.map(NonZeroU32::get),
            rows: ledger.keep_rows_days.map(NonZeroU32::get),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Door {
    #[serde(default = "loopback")]
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) tls: Option<Certificate>,
}

impl Default for Door {
    fn default() -> Door {
        Door { listen: loopback(), tls: None }
    }
}

/// The web console. There is one where the table is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Console {
    #[serde(default = "console_loopback")]
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) tls: Option<Certificate>,
    #[serde(default)]
    pub(super) name: Option<String>,
}

/// Metrics. They are told where the table is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    #[serde(default = "metrics_loopback")]
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) anyone_may_read: bool,
}

/// Where traces go. None are made where it is not there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Telemetry {
    pub(super) otlp: String,
}

fn metrics_loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6490))
}

fn console_loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6480))
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6432))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    pub(super) keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reviewer {
    #[serde(default)]
    pub(super) groups: BTreeSet<GroupName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sponsor {
    pub(super) targets: BTreeSet<TargetName>,
    pub(super) effects: BTreeSet<Effect>,
}

/// The protocols that a target can speak.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Postgres,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) environment: EnvironmentName,
    #[serde(default)]
    pub(super) disposable: bool,
    /// A name, an address, or the directory of a Unix socket.
    pub(super) host: String,
    #[serde(default = "postgres_port")]
    pub(super) port: u16,
    pub(super) database: String,
    #[serde(default)]
    pub(super) tls: Tls,
    /// Roots for `verify-full`, instead of this machine's.
    #[serde(default)]
    pub(super) tls_roots: Option<PathBuf>,
    /// The name in the certificate, where it differs from the host.
    #[serde(default)]
    pub(super) tls_name: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeSet<String>,
    /// Tags by pattern over qualified names.
    #[serde(default)]
    pub(super) object_tags: BTreeMap<String, BTreeSet<String>>,
    /// A target's name, or `none`.
    #[serde(default)]
    pub(super) rehearsal: Option<String>,
    pub(super) session: Login,
    pub(super) executor: Login,
    #[serde(default)]
    pub(super) limits: Limits,
    /// How much an agent may change without asking.
    #[serde(default)]
    pub(super) writes: WriteLimits,
    /// The same for single agents.
    #[serde(default)]
    pub(super) writes_of: BTreeMap<AgentName, WriteLimits>,
    /// How much less for an agent that is new, or was told no.
    #[serde(default)]
    pub(super) probation: Option<Probation>,
    /// Nothing is held there for some days. For how long the ledger says.
    #[serde(default)]
    pub(super) observe: Option<Observe>,
    /// What it is asked after a change.
    #[serde(default)]
    pub(super) watch: BTreeMap<ProbeName, Probe>,
    /// How it is known that its own backups are being made.
    #[serde(default)]
    pub(super) backups: Option<Backups>,
    /// Who is told of a watch that failed.
    #[serde(default)]
    pub(super) notify: Option<Notify>,
}

fn postgres_port() -> u16 {
    5432
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Tls {
    #[default]
    Automatic,
    VerifyFull,
    Disable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) user: String,
    #[serde(deserialize_with = "reference")]
    pub(super) secret: SecretRef,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    #[serde(default)]
    pub(super) statement: Option<jiff::SignedDuration>,
    #[serde(default)]
    pub(super) lock: Option<jiff::SignedDuration>,
    #[serde(default)]
    pub(super) unavailable: Option<jiff::SignedDuration>,
}

/// Reads a reference to a secret. What stands there instead is not repeated: it may be one.
fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretRef, D::Error> {
    const REMEDY: &str = "a secret is never written here, only where it is: \
        `{ file = \"…\" }`, `{ command = [\"…\"] }` or `{ env = \"…\" }`";
    let refused = || serde::de::Error::custom(REMEDY);
    let toml::Value::Table(table) = toml::Value::deserialize(deserializer)? else {
        return Err(refused());
    };
    let mut members = table.into_iter();
    let (Some((kind, value)), None) = (members.next(), members.next()) else {
        return Err(refused());
    };
    match (kind.as_str(), value) {
        ("file", toml::Value::String(path)) if !path.is_empty() => Ok(SecretRef::File(path.into())),
        ("env", toml::Value::String(name)) if is_variable(&name) => Ok(SecretRef::Env(name)),
        ("command", toml::Value::Array(words)) if !words.is_empty() => {
            let word = |value: toml::Value| value.as_str().map(str::to_owned);
            let words: Option<Vec<String>> = words.into_iter().map(word).collect();
            words.map(SecretRef::Command).ok_or_else(refused)
        }
        _ => Err(refused()),
    }
}

/// Whether it is spelled like an environment variable, and so is hardly a password.
fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(plain)
}
