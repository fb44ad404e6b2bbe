//! The engine's parts, and how it starts and stops.

use crate::agents;
use crate::authority::Authority;
use crate::backup;
use crate::batch::Batch;
use crate::circuit::Circuits;
use crate::clock::Clock;
use crate::configure::{self, Drafts};
use crate::disk::Budget;
use crate::enrolment::Roll;
use crate::freeze::Freezer;
use crate::home::{Home, HomeError};
use crate::installation::Installation;
use crate::keys::Keys;
use crate::kind::Kind;
use crate::metrics::Metrics;
use crate::own_backups;
use crate::publish::Publisher;
use crate::rotate::{self, NewKeys};
use crate::store::{Store, StoreError};
use crate::target::Target;
use crate::trace::Traces;
use crate::twins::{self, Fingerprints};
use crate::watch::Watches;
use crate::web::Web;
use countermand_core::configuration::{Enrolment, Observations};
use countermand_core::name::TargetName;
use countermand_core::policy::PolicyError;
use countermand_core::request::ChangeNumber;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long a stop waits for what runs.
const LAST_RUNS: Duration = Duration::from_secs(30);

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The state directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A policy that cannot be in force.
    #[error("policy: {0}")]
    Policy(#[from] PolicyError),
    /// A target's partner that is not configured, or is the target itself.
    #[error("target `{target}` is to be rehearsed in `{partner}`, which is no other target here")]
    Partner {
        /// The target.
        target: TargetName,
        /// What it names.
        partner: TargetName,
    },
    /// A configuration that nobody has signed.
    #[error(
        "configuration {0} is not in force: `countermand config apply` proposes what is in the file"
    )]
    NotApplied(String),
    /// A configured target that nobody wired, or the reverse.
    #[error("target `{0}` is not both configured and wired")]
    Wiring(TargetName),
}

/// Admits, previews, holds, reviews, executes and restores. Cheap to clone.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) installation: Installation,
    pub(crate) targets: BTreeMap<TargetName, Arc<dyn Target>>,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Traces,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Clock,
    pub(crate) authority: RwLock<Arc<Authority>>,
    pub(crate) freezer: Freezer,
    pub(crate) batch: Batch,
    pub(crate) circuits: Circuits,
    pub(crate) watches: Watches,
    pub(crate) backups: own_backups::Known,
    pub(crate) web: tokio::sync::OnceCell<Web>,
    pub(crate) disks: Budget,
    /// Woken when something may have become startable.
    pub(crate) nudge: Notify,
    /// Counts up whenever any change moves.
    pub(crate) moved: watch::Sender<u64>,
    /// Changes whose evidence is being gathered.
    pub(crate) preparing: Mutex<BTreeSet<ChangeNumber>>,
    /// When what failed of a change was tried again.
    pub(crate) tried: Mutex<BTreeMap<ChangeNumber, Timestamp>>,
    /// Two measurements at a time in one target.
    pub(crate) previews: BTreeMap<TargetName, Arc<tokio::sync::Semaphore>>,
    /// One change at a time is prepared for one target, however many an agent asks for.
    pub(crate) benches: BTreeMap<TargetName, Arc<tokio::sync::Mutex<()>>>,
    /// One execution at a time in one target: radii that overlap never run side by side.
    pub(crate) lanes: BTreeMap<TargetName, Arc<tokio::sync::Mutex<()>>>,
    /// One who looks at rows at a time in one target.
    pub(crate) looks: BTreeMap<TargetName, Arc<tokio::sync::Mutex<()>>>,
    pub(crate) stranger: [u8; 32],
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) publisher: Publisher,
    pub(crate) roll: Roll,
    pub(crate) enrolment: Enrolment,
    pub(crate) observations: RwLock<Observations>,
    /// When this engine opened, by the ledger's time.
    pub(crate) began: Timestamp,
    pub(crate) fingerprints: Fingerprints,
    pub(crate) drafts: Mutex<Drafts>,
    /// Whether something was erased that is still in the store's log or in published files.
    pub(crate) unclean: AtomicBool,
    pub(crate) new_keys: Mutex<NewKeys>,
    pub(crate) reconfigured: watch::Sender<bool>,
    /// The state directory.
    pub(crate) home: Home,
    _lock: std::fs::File,
}

impl Engine {
    /// Opens the store, recovers what a stop left behind, and starts the engine's own work.
    ///
    /// # Errors
    /// [`EngineError`]; nothing flows then.
    pub async fn open(
        installation: Installation,
        targets: BTreeMap<TargetName, Arc<dyn Target>>,
        home: Home,
        clock: Clock,
    ) -> Result<Engine, EngineError> {
        check_wiring(&installation, &targets)?;
        let lock = home.lock()?;
        backup::clear_left_over(&home);
        let keys = Arc::new(home.keys()?);
        // Before a newer format is written: one that these do not load in could not go back.
        Authority::new(&installation, Vec::new())?;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let (hook, counts) = (home.hook.clone(), Some(metrics.clone()));
        let store = Store::open(&home.store(), clock.clone(), keys.clone(), hook, counts)?;
        rotate::settle(&store, &keys, &home).await?;
        let (enrolment, observations) = configure::take_in(&store, &installation).await?;
        let roll = Roll::new(&installation, &enrolment);
        let began = clock.now();
        let fingerprints = twins::remembered(store.read(|rows| rows.fingerprints())?);
        let agents = store.read(|rows| rows.agents())?;
        let authority = Authority::new(&installation, agents)?;
        let freezer = Freezer::new(store.read(|rows| rows.frozen())?, home.freezes());
        let stranger = keys.stranger();
        let folders = [home.path.clone(), installation.restore_points.clone()];
        let disks = Budget::new(home.measure.clone(), folders);
        let publisher = Publisher::new(installation.ledger.clone());
        let each = || targets.keys().map(|name| (name.clone(), Arc::default())).collect();
        let (lanes, benches, looks) = (each(), each(), each());
        let turns = || Arc::new(tokio::sync::Semaphore::new(2));
        let previews = targets.keys().map(|name| (name.clone(), turns())).collect();
        let engine = Engine(Arc::new(Inner {
            installation,
            targets,
            store,
            metrics,
            traces: Traces::default(),
            keys,
            clock,
            authority: RwLock::new(Arc::new(authority)),
            freezer,
            batch: Batch::default(),
            circuits: Circuits::default(),
            watches: Watches::default(),
            backups: own_backups::Known::default(),
            web: tokio::sync::OnceCell::new(),
            disks,
            nudge: Notify::new(),
            moved: watch::Sender::new(0),
            preparing: Mutex::default(),
            tried: Mutex::default(),
            lanes,
            looks,
            benches,
            previews,
            stranger,
            stopping: watch::Sender::new(false),
            publisher,
            roll,
            enrolment,
            observations: RwLock::new(observations),
            began,
            fingerprints,
            drafts: Mutex::default(),
            new_keys: Mutex::default(),
            unclean: AtomicBool::new(false),
            reconfigured: watch::Sender::new(false),
            home,
            _lock: lock,
        }));
        engine.begin_counting();
        engine.began().await?;
        engine.recover().await?;
        engine.resume_watches()?;
        engine.start_work();
        Ok(engine)
    }

    /// Records that the gateway runs, with what it runs under.
    async fn began(&self) -> Result<(), StoreError> {
        let body = serde_json::json!({
            "installation": self.0.installation.name,
            "version": env!("CARGO_PKG_VERSION"),
            "policy": self.authority().policy.digest(),
            "configuration": self.0.installation.configuration.digest(),
            "ledger_key": self.0.keys.signing().verifying_key().vkey(),
            "texts_key": self.0.keys.texts().current().id(),
            "plain_keys_count": self.0.installation.plain_keys_count,
            "clock_speed": self.0.clock.speed(),
        });
        self.0.store.write(move |tx| tx.append(Kind::GatewayStarted, &body, &[])).await?;
        Ok(())
    }

    /// Lets running executions end, writes what waits, and closes the store.
    pub async fn shutdown(&self) {
        self.0.stopping.send_replace(true);
        for lane in self.0.lanes.values() {
            // What does not end in time is found out at the next start.
            let _ended = tokio::time::timeout(LAST_RUNS, lane.lock()).await;
        }
        self.flush_batch().await;
        let body = serde_json::json!({});
        let stopped =
            self.0.store.write(move |tx| tx.append(Kind::GatewayStopped, &body, &[])).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "the stop could not be recorded");
        }
        if let Err(error) = self.publish_checkpoint().await {
            tracing::error!(%error, "the last checkpoint could not be published");
        }
        self.0.store.stop();
    }

    /// The clock this engine runs on.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn authority(&self) -> Arc<Authority> {
        self.0.authority.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn preparing(&self) -> MutexGuard<'_, BTreeSet<ChangeNumber>> {
        self.0.preparing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The verifier that this agent's credential must satisfy. A stranger gets one that
    /// nothing satisfies.
    pub fn scram_verifier(&self, agent: &str) -> agents::ScramVerifier {
        let authority = self.authority();
        let known = authority.agent_named(agent).filter(|row| row.is_valid(self.0.clock.now()));
        known.map_or_else(|| agents::stranger(&self.0.stranger, agent), |row| row.verifier.clone())
    }

    /// Something about a change is different: whoever waits looks again.
    pub(crate) fn moved(&self) {
        self.0.moved.send_modify(|n| *n += 1);
        self.0.nudge.notify_one();
    }
}

fn check_wiring(
    installation: &Installation,
    targets: &BTreeMap<TargetName, Arc<dyn Target>>,
) -> Result<(), EngineError> {
    let configured: BTreeSet<_> = installation.targets.keys().collect();
    let wired: BTreeSet<_> = targets.keys().collect();
    if let Some(odd) = configured.symmetric_difference(&wired).next() {
        return Err(EngineError::Wiring((*odd).clone()));
    }
    for (target, placement) in &installation.targets {
        let Some(partner) = &placement.partner else { continue };
        if partner == target || !configured.contains(partner) {
            let (target, partner) = (target.clone(), partner.clone());
            return Err(EngineError::Partner { target, partner });
        }
    }
    Ok(())
}
