//! From configuration to what the engine and the doors are made of.

use crate::commands::{doctor, policy};
use crate::config::{self, Config, PostgresConfig};
use crate::serve::ServeError;
use crate::telemetry::Telemetry;
use countermand_console::{Console, ConsoleConfig, ConsoleError, Metrics, MetricsError};
use countermand_core::name::TargetName;
use countermand_doors::Door;
use countermand_doors::postgres::door::{Certificate, DoorConfig, PostgresDoor, Upstream};
use countermand_doors::postgres::scratch::Tools;
use countermand_doors::postgres::target::{PostgresTarget, Setup};
use countermand_engine::Engine;
use countermand_engine::target::Target;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Agents' sessions at the same time.
const MOST_SESSIONS: usize = 200;
/// An agent that leaves a transaction open this long loses it: its locks stop others.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(60);
/// An agent waits no longer for others' locks: whoever comes later queues behind it.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The side of every target that faces production. Nothing is connected yet.
pub(crate) fn targets(
    config: &Config,
) -> Result<BTreeMap<TargetName, Arc<dyn Target>>, ServeError> {
    let tools = Tools::find().map_err(|error| ServeError::Tools(error.to_string()))?;
    let target = |(name, postgres): (&TargetName, &PostgresConfig)| {
        let setup = Setup {
            name: name.clone(),
            address: postgres.address.clone(),
            executor: postgres.executor.clone(),
            session: postgres.session.clone(),
            tags: config.installation.targets[name].object_tags.clone(),
            statement_timeout: postgres.limits.statement,
            lock_wait: postgres.limits.lock,
            lock_hold: postgres.limits.unavailable,
            programs: tools.directory().to_owned(),
        };
        (name.clone(), Arc::new(PostgresTarget::new(setup)) as Arc<dyn Target>)
    };
    Ok(config.targets.iter().map(target).collect())
}

/// The door, bound: it accepts nobody before it is served.
pub(crate) async fn door(config: &Config, engine: &Engine) -> Result<Box<dyn Door>, ServeError> {
    let tls = config.door.tls.clone().map(|(chain, key)| Certificate { chain, key });
    let upstreams = config.targets.iter().map(|(name, target)| (name.clone(), upstream(target)));
    let door = DoorConfig {
        listen: config.door.listen,
        tls,
        max_sessions: MOST_SESSIONS,
        targets: upstreams.collect(),
    };
    Ok(Box::new(PostgresDoor::bind(door, Arc::new(engine.clone())).await?))
}

/// The console, bound, where one is configured: it answers nobody before it is served.
pub(crate) async fn console(
    config: &Config,
    engine: &Engine,
) -> Result<Option<Console>, ConsoleError> {
    let Some(console) = config.console.clone() else { return Ok(None) };
    let tls = console.tls;
    let tls = tls.map(|(chain, key)| countermand_console::Certificate { chain, key });
    let console = ConsoleConfig { listen: console.listen, tls, name: console.name };
    let examined = config.clone();
    let doctor = Arc::new(move || doctor::findings(&examined));
    let file = config.file.clone();
    let tests = Arc::new(move || policy::tested(&file));
    let console = Console::bind(console, engine.clone()).await?.with_doctor(doctor);
    Ok(Some(console.with_tests(tests).with_reading(Arc::new(policy::explain::actions))))
}

/// What sends traces, where somebody wants them.
pub(crate) fn telemetry(config: &Config, engine: &Engine) -> Option<Telemetry> {
    let named = config.telemetry.clone().map(|address| Ok(Some(address)));
    let address = named.unwrap_or_else(config::telemetry_of_environment);
    let begun = match address {
        Ok(address) => {
            let (address, steps) = (address?, engine.steps()?);
            let name = &config.installation.name;
            Telemetry::start(address, name, steps, engine.lost_steps())
                .map_err(|error| error.to_string())
        }
        Err(error) => Err(error),
    };
    begun.inspect_err(|error| tracing::error!(error, "no traces are sent")).ok()
}

/// What answers a Prometheus, bound, where it is configured.
pub(crate) async fn metrics(
    config: &Config,
    engine: &Engine,
) -> Result<Option<Metrics>, MetricsError> {
    let Some(address) = config.metrics else { return Ok(None) };
    Ok(Some(Metrics::bind(address, engine.clone()).await?))
}

fn upstream(target: &PostgresConfig) -> Upstream {
    let millis = |limit: Duration| limit.as_millis().to_string();
    let settings = [
        ("statement_timeout", millis(target.limits.statement)),
        ("lock_timeout", millis(LOCK_WAIT)),
        ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION)),
    ];
    Upstream {
        address: target.address.clone(),
        login: target.session.clone(),
        settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        // What it locks others may wait for as long as for one statement.
        patience: target.limits.statement,
        trusted_role: false,
    }
}
