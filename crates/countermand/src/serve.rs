//! The gateway: engine, targets, doors and socket, started and stopped together.

use crate::cli::Global;
use crate::commands::policy;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::socket::Socket;
use crate::telemetry::Telemetry;
use crate::wiring;
use countermand_console::{Console, Links, Metrics};
use countermand_core::name::HumanName;
use countermand_doors::postgres::door::DoorError;
use countermand_engine::control::{Command, PrepareAct, Reply};
use countermand_engine::{Clock, Engine, EngineError, Home, HomeError, Peer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a gateway that starts again waits for the one before it.
const HANDOVER: Duration = Duration::from_secs(300);
/// What still reads files or targets for a page when everything else has ended may go on for so long.
const LAST_LOOKS: Duration = Duration::from_secs(10);
const SHORTLY: Duration = Duration::from_millis(20);

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The socket for commands.
    #[error("cannot listen at `{}`: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The door for agents.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// What makes restore points.
    #[error("{0}")]
    Tools(String),
}

/// A running gateway. It stops when [`Gateway::stop`] is called, and not before that.
pub struct Gateway {
    engine: Engine,
    door: SocketAddr,
    console: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    telemetry: Option<Telemetry>,
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Gateway {
    /// Opens the engine, then the door, then the socket: what answers is ready.
    ///
    /// # Errors
    /// [`ServeError`]; nothing runs then.
    pub async fn start(config: Config, home: Home, clock: Clock) -> Result<Gateway, ServeError> {
        let targets = wiring::targets(&config)?;
        let engine = Engine::open(config.installation.clone(), targets, home, clock).await?;
        let telemetry = wiring::telemetry(&config, &engine);
        let serving = Gateway::listen(&config, engine.clone()).await;
        if serving.is_err() {
            engine.shutdown().await;
        }
        Ok(Gateway { telemetry, ..serving? })
    }

    async fn listen(config: &Config, engine: Engine) -> Result<Gateway, ServeError> {
        let door = wiring::door(config, &engine).await?;
        let address = door.address();
        // What guards comes first: it runs without its pages too.
        let console = wiring::console(config, &engine).await.unwrap_or_else(|error| {
            tracing::error!(%error, "there is no console; end what is in its way and start again");
            None
        });
        let metrics = wiring::metrics(config, &engine).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the gateway is not watched");
            None
        });
        let links = console.as_ref().map(Console::links);
        // After the engine: its lock shows that no other gateway listens here.
        let path = config.socket();
        let socket = Socket::bind(&path).map_err(|source| ServeError::Socket { path, source })?;
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        running.spawn(door.serve(stopped.clone()));
        let (answering, file) = (engine.clone(), config.file.clone());
        let answer = move |command, peer| {
            let (engine, sense) = (answering.clone(), makes_sense(&file, &command));
            let links = links.clone();
            async move {
                match (sense, command, links) {
                    (Err(why), ..) => Reply::Refused { why },
                    (Ok(()), Command::ConsoleLink { human }, Some(links)) => {
                        link(&engine, &links, human, peer)
                    }
                    (Ok(()), command, _) => engine.control(command, peer).await,
                }
            }
        };
        let at = console.as_ref().map(Console::address);
        if let Some(console) = console {
            running.spawn(console.serve(stopped.clone()));
        }
        let told = metrics.as_ref().map(Metrics::address);
        if let Some(metrics) = metrics {
            running.spawn(metrics.serve(stopped.clone()));
        }
        running.spawn(socket.serve(answer, stopped));
        Ok(Gateway {
            engine,
            door: address,
            console: at,
            metrics: told,
            telemetry: None,
            stop,
            running,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Where agents connect to.
    pub fn door(&self) -> SocketAddr {
        self.door
    }

    /// Where people read, where there is a console.
    pub fn console(&self) -> Option<SocketAddr> {
        self.console
    }

    /// Where metrics are read, where they are told.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Stops taking requests, lets what runs end, closes the store, sends what traces are left.
    pub async fn stop(self) {
        if let Some(telemetry) = self.close().await {
            telemetry.finish().await;
        }
    }

    /// The same, for another one to start in its place: that waits for no collector.
    async fn give_way(self) {
        if let Some(telemetry) = self.close().await {
            tokio::spawn(telemetry.finish());
        }
    }

    async fn close(mut self) -> Option<Telemetry> {
        self.stop.send_replace(true);
        while self.running.join_next().await.is_some() {}
        self.engine.shutdown().await;
        self.telemetry
    }
}

/// A link into the console, for whoever is a person here.
fn link(engine: &Engine, links: &Links, human: HumanName, peer: Peer) -> Reply {
    if !engine.knows(&human) {
        let why = format!("`{human}` is not a person of this installation who counts now");
        return Reply::Refused { why };
    }
    let (link, until) = links.make(human.clone());
    tracing::info!(%human, by = %peer, "a link into the console was made");
    Reply::ConsoleLink { link, until }
}

/// Nobody is given a configuration to sign under which no gateway could run.
fn makes_sense(file: &Path, command: &Command) -> Result<(), String> {
    let Command::Prepare { act: PrepareAct::ProposeConfiguration { configuration }, .. } = command
    else {
        return Ok(());
    };
    let config = Config::signed(file, configuration).map_err(|error| error.to_string())?;
    if config.installation.configuration != **configuration {
        return Err("it sets something that no file can set".to_owned());
    }
    policy::load(&config).map(|_| ()).map_err(|error| error.to_string())
}

/// Runs `serve` until the process is told to stop.
pub(crate) fn run(global: &Global) -> Result<Exit, Failure> {
    log();
    let file = config::find(global.config.as_deref());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // It stays for as long as this process runs, whatever becomes of the file.
        let state = Config::state_of(&file)?;
        let mut patience = Duration::ZERO;
        loop {
            let gateway = start(&file, &state, patience).await?;
            patience = HANDOVER;
            let mut reconfigured = gateway.engine().reconfigured();
            let told_to_stop = tokio::select! {
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                Ok(_) = reconfigured.wait_for(|other| *other) => false,
            };
            tracing::info!("stopping");
            if told_to_stop {
                gateway.stop().await;
                return Ok(Exit::Done);
            }
            gateway.give_way().await;
        }
    });
    // What somebody looks at on a thread of its own does not keep it from ending.
    runtime.shutdown_timeout(LAST_LOOKS);
    ended
}

/// Starts the gateway under the configuration in force. The engine before it lets go of its state
/// with its last task: so long that is waited for.
async fn start(file: &Path, state: &Path, patience: Duration) -> Result<Gateway, Failure> {
    let config = in_force(file, state)?;
    let home = Home::at(&config.state);
    let (name, socket) = (config.installation.name.clone(), config.socket());
    let until = Instant::now() + patience;
    let gateway = loop {
        match Gateway::start(config.clone(), home.clone(), Clock::system()).await {
            Err(ServeError::Engine(EngineError::Home(HomeError::InUse(_))))
                if Instant::now() < until =>
            {
                tokio::time::sleep(SHORTLY).await;
            }
            started => break started.map_err(Failure::new)?,
        }
    };
    for observed in gateway.engine().observed() {
        tracing::error!("{observed}");
    }
    let (door, socket) = (gateway.door(), socket.display());
    if let Some(console) = gateway.console() {
        tracing::info!(%console, "the console answers: `countermand console link` lets people in");
    }
    tracing::info!(installation = %name, %door, %socket, "serving");
    if let Some(metrics) = gateway.metrics() {
        tracing::info!(%metrics, "metrics are told");
    }
    Ok(gateway)
}

/// The configuration that was signed, once there is one; the file's until then.
fn in_force(file: &Path, state: &Path) -> Result<Config, Failure> {
    let home = Home::at(state);
    let Some(signed) = home.binding_configuration().map_err(Failure::new)? else {
        return Ok(Config::load(file)?.at(state));
    };
    let config = Config::signed(file, &signed)?.at(state);
    let differs =
        Config::load(file).ok().is_none_or(|file| file.installation.configuration != signed);
    if differs {
        let file = file.display();
        tracing::warn!(
            %file,
            "the file says something else than what was signed, and what was signed is in force: \
             `countermand config diff` shows it, `countermand config apply` proposes it"
        );
    }
    Ok(config)
}

/// Logs to standard error: what happens, never what was asked in whose words. `RUST_LOG` widens
/// or narrows it.
fn log() {
    use std::io::IsTerminal as _;
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .init();
}
