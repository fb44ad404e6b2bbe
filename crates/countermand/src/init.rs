//! A new installation: keys, folders, a commented configuration. Nothing is ever overwritten.

use crate::config::{Config, ConfigError, FILE_NAME};
use countermand_core::name::{HumanName, InstallationName, TargetName};
use countermand_engine::key::Key;
use countermand_engine::{Home, HomeError};
use ssh_key::PublicKey;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

const TEMPLATE: &str = include_str!("init/countermand.toml");
const SITE_POLICIES: &str = include_str!("init/site.cedar");

/// How a key is made that counts in production.
pub const MAKE_KEY: &str =
    "ssh-keygen -t ed25519-sk -O verify-required -O application=ssh:countermand";

/// What a new installation needs to know.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Its name.
    pub installation: InstallationName,
    /// The first human.
    pub human: HumanName,
    /// Their key.
    pub key: PublicKey,
    /// The others who review, with their keys.
    pub others: Vec<(HumanName, PublicKey)>,
    /// Whether the target is production; otherwise staging.
    pub production: bool,
    /// What the target is called.
    pub target: TargetName,
    /// Where it is.
    pub place: Place,
    /// Where its changes are rehearsed.
    pub partner: Option<Place>,
}

impl Answers {
    /// Everybody, with their key.
    fn people(&self) -> impl Iterator<Item = (&HumanName, &PublicKey)> {
        let others = self.others.iter().map(|(human, key)| (human, key));
        std::iter::once((&self.human, &self.key)).chain(others)
    }

    /// Every database, with what it is called here.
    pub fn databases(&self) -> Vec<(String, &Place)> {
        let target = (self.target.to_string(), &self.place);
        let partner = self.partner.iter().map(|place| (partner_name(&self.target), place));
        std::iter::once(target).chain(partner).collect()
    }
}

/// Where a database is: `db.internal:5432/shop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A name, an address, or the directory of a Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its name there.
    pub database: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let says = || "say it as `db.internal:5432/shop`".to_owned();
        // The directory of a socket has slashes of its own, an address of IPv6 colons.
        let (server, database) = text.rsplit_once('/').ok_or_else(says)?;
        let (host, port) = server.rsplit_once(':').ok_or_else(says)?;
        let port = port.parse().map_err(|_| says())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || database.is_empty() {
            return Err(says());
        }
        Ok(Place { host: host.to_owned(), port, database: database.to_owned() })
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The configuration.
    pub config: PathBuf,
    /// The ledger's public key: what an auditor trusts.
    pub vkey: String,
    /// The files that passwords go into: session and executor of each target.
    pub secrets: Vec<PathBuf>,
}

/// Why no installation was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// One is there already.
    #[error("`{}` is there already and is not overwritten: choose another folder", .0.display())]
    Exists(PathBuf),
    /// The key would never count.
    #[error(
        "the key of `{human}` (`{algorithm}`) is none for production: only a security key counts \
         there that verifies its user (PIN or fingerprint) and was made for this use. Make one with \
         `{MAKE_KEY}`, or guard a staging database first (--staging)"
    )]
    Key {
        /// Whose it is.
        human: HumanName,
        /// What it is.
        algorithm: String,
    },
    /// A file could not be made.
    #[error("cannot make `{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// What was answered is no configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Whether a key can count in production. Whether it verifies its user, only its signatures show.
pub fn counts_in_production(key: &PublicKey) -> bool {
    Key::from(key.clone()).can_count_in_production()
}

/// Makes an installation in `folder`.
///
/// # Errors
/// [`InitError`]; what was there before is as it was.
pub fn create(folder: &Path, answers: &Answers) -> Result<Made, InitError> {
    let mut people = answers.people();
    if let Some((human, key)) = people.find(|(_, key)| !counts_in_production(key))
        && answers.production
    {
        let algorithm = key.algorithm().as_str().to_owned();
        return Err(InitError::Key { human: human.clone(), algorithm });
    }
    let file = folder.join(FILE_NAME);
    if file.symlink_metadata().is_ok() {
        return Err(InitError::Exists(file));
    }
    let text = render(answers);
    // What would not load is not written.
    let config = Config::parse(&file, &text)?;
    let restore_points = &config.installation.restore_points;
    for folder in [folder, &config.state, restore_points, &folder.join("secrets")] {
        make_folder(folder)?;
    }
    let vkey = Home::at(&config.state).create(&format!("countermand/{}", answers.installation))?;
    if let Some(policies) = &config.policies {
        make_folder(policies)?;
        let site = policies.join("site.cedar");
        if site.symlink_metadata().is_err() {
            write_new(&site, SITE_POLICIES)?;
        }
    }
    write_new(&file, &text)?;
    let secrets = answers.databases().into_iter().flat_map(|(target, _)| secrets(&target));
    let secrets = secrets.map(|secret| folder.join(secret)).collect();
    Ok(Made { config: file, vkey, secrets })
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What the database is called in which a target's changes are rehearsed.
fn partner_name(target: &TargetName) -> String {
    format!("{target}-staging")
}

fn other_people(answers: &Answers) -> String {
    let table = |(human, key): &(HumanName, PublicKey)| {
        let key = key.to_openssh().expect("a key that was read can be written");
        format!("[people.{}]\nkeys = [{}]", quoted(human.as_str()), quoted(&key))
    };
    let example = "# [people.bob]\n# keys = [\"ssh-ed25519 AAAA… bob\"]";
    tables(answers.others.iter().map(table), example)
}

fn other_reviewers(answers: &Answers) -> String {
    let table = |(human, _): &(HumanName, PublicKey)| {
        format!("[reviewers.{}]\ngroups = []", quoted(human.as_str()))
    };
    let example = "# [reviewers.bob]\n# groups = [\"dba\"]";
    tables(answers.others.iter().map(table), example)
}

fn tables(tables: impl Iterator<Item = String>, example: &str) -> String {
    let tables: Vec<String> = tables.collect();
    if tables.is_empty() { example.to_owned() } else { tables.join("\n\n") }
}

fn targets(answers: &Answers) -> String {
    let names: Vec<String> = answers.databases().iter().map(|(name, _)| quoted(name)).collect();
    names.join(", ")
}

fn rehearsal(answers: &Answers) -> String {
    match answers.partner {
        Some(_) => quoted(&partner_name(&answers.target)),
        None => quoted("none"),
    }
}

/// The target in which changes are rehearsed. In one cluster with the other it needs role names of
/// its own.
fn partner(answers: &Answers) -> String {
    let Some(place) = &answers.partner else { return String::new() };
    let name = partner_name(&answers.target);
    let key = quoted(&name);
    let same = (&place.host, place.port) == (&answers.place.host, answers.place.port);
    let roles = if same { "countermand_staging" } else { "countermand" };
    let [session, executor] = secrets(&name).map(|secret| quoted(&secret));
    format!(
        "\n# Where its changes are rehearsed, and rolled back: it needs everything that they are about to
# touch.
[targets.{key}]
kind = \"postgres\"
environment = \"staging\"
host = {}
port = {}
database = {}
rehearsal = \"none\"

[targets.{key}.session]
user = \"{roles}_session\"
secret = {{ file = {session} }}

[targets.{key}.executor]
user = \"{roles}_executor\"
secret = {{ file = {executor} }}\n",
        quoted(&place.host),
        place.port,
        quoted(&place.database),
    )
}

/// The template with these answers in it.
fn render(answers: &Answers) -> String {
    let environment = if answers.production { "production" } else { "staging" };
    let key = answers.key.to_openssh().expect("a key that was read can be written");
    let [session, executor] = secrets(answers.target.as_str());
    // A name may hold a dot, and a key with a dot must be quoted.
    let target_key = quoted(answers.target.as_str());
    let values = [
        ("@INSTALLATION@", quoted(answers.installation.as_str())),
        ("@HUMAN@", quoted(answers.human.as_str())),
        ("@KEY@", quoted(&key)),
        ("@TARGET_KEY@", target_key),
        ("@ENVIRONMENT@", quoted(environment)),
        ("@HOST@", quoted(&answers.place.host)),
        ("@PORT@", answers.place.port.to_string()),
        ("@DATABASE@", quoted(&answers.place.database)),
        ("@OTHER_PEOPLE@", other_people(answers)),
        ("@OTHER_REVIEWERS@", other_reviewers(answers)),
        ("@TARGETS@", targets(answers)),
        ("@REHEARSAL@", rehearsal(answers)),
        ("@PARTNER@", partner(answers)),
        ("@SESSION_SECRET@", quoted(&session)),
        ("@EXECUTOR_SECRET@", quoted(&executor)),
    ];
    // One pass: what an answer says is never looked at for further marks.
    let mut text = String::with_capacity(TEMPLATE.len() + 512);
    let mut rest = TEMPLATE;
    while let Some(at) = rest.find('@') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let mark = values.iter().find(|(mark, _)| rest.starts_with(mark));
        let (used, value) = mark.map_or((1, "@"), |(mark, value)| (mark.len(), value));
        text.push_str(value);
        rest = &rest[used..];
    }
    text.push_str(rest);
    text
}

fn secrets(target: &str) -> [String; 2] {
    ["session", "executor"].map(|role| format!("secrets/{target}-{role}"))
}

fn make_folder(path: &Path) -> Result<(), InitError> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(|source| InitError::File { path: path.to_owned(), source })
}

fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    let failed = |source| InitError::File { path: path.to_owned(), source };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti alice";

    fn answers(production: bool) -> Answers {
        Answers {
            installation: "acme".parse().unwrap(),
            human: "alice".parse().unwrap(),
            key: PublicKey::from_openssh(PLAIN).unwrap(),
            production,
            target: "shop.db".parse().unwrap(),
            others: Vec::new(),
            place: "db.internal:5433/sh\"op@HUMAN@".parse().unwrap(),
            partner: None,
        }
    }

    #[test]
    fn the_template_with_its_values_is_a_configuration() {
        let text = render(&answers(false));
        let config = Config::parse(Path::new("/etc/x/countermand.toml"), &text).unwrap();
        let installation = &config.installation;
        assert_eq!(installation.name.as_str(), "acme");
        assert!(installation.humans.len() == 1);
        let target = &config.targets[&"shop.db".parse().unwrap()];
        assert_eq!(target.address.database, "sh\"op@HUMAN@");
        assert_eq!(target.address.port, 5433);
        assert_eq!(config.state, Path::new("/etc/x/state"));
        assert!(installation.humans.values().all(|human| human.sponsors.is_some()));
    }

    /// What is commented out in the template is what a reader will try next.
    #[test]
    fn what_the_template_has_as_comments_can_be_uncommented() {
        let text = render(&answers(false))
            .replace("# tls = { certificate", "tls = { certificate")
            .replace("# tls = \"verify-full\"", "tls = \"verify-full\"")
            .replace("# tls_", "tls_")
            .replace("# tags", "tags")
            .replace("# limits", "limits")
            .replace("# disposable", "disposable")
            .replace("# [targets", "[targets")
            .replace("# [console", "[console")
            .replace("# [metrics", "[metrics")
            .replace("# [telemetry", "[telemetry")
            .replace("# otlp", "otlp")
            .replace("# listen", "listen")
            .replace("# name", "name")
            .replace("# notify", "notify")
            .replace("# sql", "sql")
            .replace("# at_least", "at_least")
            .replace("# lasts", "lasts")
            .replace("# every", "every")
            .replace("# \"billing", "\"billing")
            .replace("# \"audit", "\"audit");
        let config = Config::parse(Path::new("countermand.toml"), &text).unwrap();
        let placement = &config.installation.targets[&"shop.db".parse().unwrap()];
        assert!(placement.disposable && placement.object_tags.len() == 2);
        assert!(placement.notify.is_some() && placement.watch.len() == 1);
        assert!(config.door.tls.is_some());
        assert!(config.metrics.is_some() && config.telemetry.is_some());
        let console = config.console.unwrap();
        assert!(console.tls.is_some() && console.name.is_some());
    }

    #[test]
    fn a_team_with_a_database_to_rehearse_in_is_a_configuration() {
        let more =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHjk9iwAOsCDQWhBPwiAaT7t7qDWLqcBw8VSQbO5sDlO";
        let team = Answers {
            others: vec![("b.ob".parse().unwrap(), PublicKey::from_openssh(more).unwrap())],
            partner: Some("db.internal:5433/shop".parse().unwrap()),
            ..answers(false)
        };
        let text = render(&team);
        let config = Config::parse(Path::new("countermand.toml"), &text).unwrap();
        let installation = &config.installation;
        assert!(installation.humans.len() == 2);
        assert!(installation.humans.values().all(|human| human.reviewer));
        let target = &installation.targets[&"shop.db".parse().unwrap()];
        assert_eq!(target.partner.as_ref().map(|name| name.as_str()), Some("shop.db-staging"));
        let users = config.targets.values().map(|target| &target.session.user);
        let users: std::collections::BTreeSet<_> = users.collect();
        assert_eq!(users.len(), 2, "two targets of one cluster have roles of their own");
    }

    #[test]
    fn a_place_is_read_from_its_end() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place("/run/pg:5432/shop").unwrap().host, "/run/pg");
        assert_eq!(place("[::1]:5432/shop").unwrap().host, "::1");
        for wrong in ["shop", "db/shop", "db:x/shop", ":5432/shop", "db:5432/"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn production_needs_a_key_that_verifies_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let refused = create(folder.path(), &answers(true)).unwrap_err();
        assert!(refused.to_string().contains(MAKE_KEY), "{refused}");
        assert!(folder.path().read_dir().unwrap().next().is_none(), "nothing is left behind");
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let made = create(folder.path(), &answers(false)).unwrap();
        let before = std::fs::read(folder.path().join("state/keys/ledger.key")).unwrap();
        assert!(matches!(create(folder.path(), &answers(false)), Err(InitError::Exists(_))));
        std::fs::remove_file(&made.config).unwrap();
        assert!(matches!(create(folder.path(), &answers(false)), Err(InitError::Home(_))));
        assert!(!made.config.exists());
        assert_eq!(before, std::fs::read(folder.path().join("state/keys/ledger.key")).unwrap());
    }
}
