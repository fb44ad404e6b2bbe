//! Beliefs about a real server. In this crate and not beside it: what a permit opens is tested
//! here from behind the permit, which only the engine can make.

mod halt;
mod preview;
mod probe;
mod reads;
mod restore;
mod run;
mod sample;
mod take_back;
mod writer;

use super::super::scratch::{Options, ScratchServer};
use super::super::unit::{Parameter, Unit, UnitStatement};
use super::connection::{Address, Host, Login, Tls};
use super::run::Waiting;
use super::{PostgresTarget, Setup};
use crate::secret::SecretRef;
use countermand_core::change::{CommitToken, RestorePoint};
use countermand_core::preview::Preview;
use countermand_core::radius::Reversibility;
use countermand_core::request::ChangeNumber;
use countermand_engine::Halt;
use countermand_engine::target::{
    Aborted, Commit, Ended, Restore, Restored, Run, Target as _, TargetError,
};
use secrecy::ExposeSecret as _;
use std::path::PathBuf;
use std::time::Duration;

/// A server with a target on it.
struct Site {
    server: ScratchServer,
    target: PostgresTarget,
    room: tempfile::TempDir,
}

/// Everything that a cascade can reach, in one schema and beside it.
const ZOO: &str = include_str!("tests/zoo.sql");
/// The rows of its schema.
const ALL: [(&str, u64); 5] = [
    ("shop.customers", 100),
    ("shop.odd", 5),
    ("shop.orders", 1000),
    ("shop.parts_1", 100),
    ("shop.parts_2", 100),
];

impl Site {
    async fn start(sql: &str) -> Site {
        let server = ScratchServer::start(Options::default()).await.unwrap();
        server.psql(sql).await.unwrap();
        let room = tempfile::tempdir().unwrap();
        let login = server.superuser();
        let secret = room.path().join("password");
        std::fs::write(&secret, login.password.expose_secret()).unwrap();
        let setup = Setup {
            name: "shop".parse().unwrap(),
            address: Address {
                host: Host::Tcp(login.address.ip().to_string()),
                port: login.address.port(),
                database: login.database,
                tls: Tls::Automatic,
            },
            session: Login { user: login.user.clone(), secret: SecretRef::File(secret.clone()) },
            executor: Login { user: login.user, secret: SecretRef::File(secret) },
            tags: [("shop.*".to_owned(), ["critical".to_owned()].into())].into(),
            statement_timeout: Duration::from_secs(60),
            lock_wait: Duration::from_millis(500),
            lock_hold: Duration::from_secs(5),
            programs: server.tools().directory().to_owned(),
        };
        Site { server, target: PostgresTarget::new(setup), room }
    }

    async fn preview(&self, sql: &str) -> Result<Preview, TargetError> {
        self.preview_unit(&unit(sql)).await
    }

    async fn preview_unit(&self, unit: &Unit) -> Result<Preview, TargetError> {
        let actions = super::preview::read(unit)?.actions;
        self.target.preview(&unit.to_payload(), &actions).await
    }

    async fn psql(&self, sql: &str) -> String {
        self.server.psql(sql).await.unwrap().trim().to_owned()
    }

    /// A folder that does not exist yet.
    fn folder(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }
}

/// One statement per line that ends in a semicolon, under a session's usual settings.
fn unit(sql: &str) -> Unit {
    let statement = |sql: &str| UnitStatement::new(sql.trim(), vec![]);
    let statements = sql.split(";\n").filter(|part| !part.trim().is_empty()).map(statement);
    let settings = [("search_path", "shop, public")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Unit { statements: statements.collect(), settings: settings.into() }
}

fn with_parameters(mut unit: Unit, parameters: &[&str]) -> Unit {
    let text = |value: &&str| Parameter { oid: 0, format: 0, value: Some(hex::encode(value)) };
    unit.statements[0].parameters = parameters.iter().map(text).collect();
    unit
}

fn commit(token: &CommitToken) -> Option<Commit> {
    Some(Commit { token: token.clone() })
}

impl Site {
    /// The permit that a preview leads to.
    fn permit(&self, unit: &Unit, preview: Preview, folder: &str) -> Run {
        Run {
            change: ChangeNumber(7),
            attempt: 1,
            payload: unit.to_payload(),
            identity: preview.identity,
            ceiling: preview.ceiling,
            reversible: preview.reversibility == Reversibility::Restorable,
            restore_point: self.folder(folder),
        }
    }

    /// Previews, and runs up to the verdict.
    async fn run(&self, sql: &str, folder: &str) -> Result<Waiting, Aborted> {
        let unit = unit(sql);
        let preview = self.preview_unit(&unit).await.unwrap();
        super::run::run(&self.target, self.permit(&unit, preview, folder)).await
    }

    /// Previews, runs and commits.
    async fn change(&self, sql: &str, folder: &str) -> RestorePoint {
        let waiting = self.run(sql, folder).await.unwrap();
        let (token, point) = (waiting.token.clone(), waiting.restore_point());
        let ended = waiting.settle(commit(&token)).await;
        assert!(matches!(ended, Ended::Committed(_)), "{ended:?}");
        point.expect("a restore point")
    }

    async fn restore(
        &self,
        point: &RestorePoint,
        overwrite: bool,
    ) -> Result<Restored, TargetError> {
        let folder = self.folder(&point.folder);
        let restore = Restore {
            change: ChangeNumber(7),
            folder,
            restore_point: point.clone(),
            overwrite,
            halt: Halt::never(),
        };
        super::restore::restore(&self.target, restore).await
    }

    /// Every definition, as `pg_dump` writes it.
    async fn schema(&self) -> String {
        let mut command = tokio::process::Command::new(self.server.tools().program("pg_dump"));
        command.arg("-h").arg(self.server.directory()).args(["-U", "postgres", "--schema-only"]);
        command.args(["-p", &self.server.address().port().to_string(), "postgres"]);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Newer versions of the program write a random key into every dump.
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("\\"));
        let mut lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        // Objects of equal rank come in the order of their names and then of their places.
        lines.sort_unstable();
        lines.join("\n")
    }

    /// All rows of these tables, in an order of their own.
    async fn rows(&self, tables: &[&str]) -> String {
        let each = tables.iter().map(|t| format!("SELECT '{t}', t::text FROM {t} t ORDER BY 2;"));
        self.psql(&each.collect::<String>()).await
    }
}
