//! Beliefs about a real server. In this crate and not beside it: what a permit opens is tested
//! here from behind the permit, which only the engine can make.

mod preview;

use super::super::scratch::{Options, ScratchServer};
use super::super::unit::{Parameter, Unit, UnitStatement};
use super::connection::{Address, Host, Login, Tls};
use super::{PostgresTarget, Setup};
use crate::secret::SecretRef;
use countermand_core::preview::Preview;
use countermand_core::request::Payload;
use countermand_engine::target::{Target as _, TargetError};
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
    let statement = |sql: &str| UnitStatement { sql: sql.trim().to_owned(), parameters: vec![] };
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

fn payload(sql: &str) -> Payload {
    unit(sql).to_payload()
}
