//! An installation for tests: alice sponsors `bot`; bob and carol review; two targets.

use crate::memory::Memory;
use countermand_core::action::{Action, Object};
use countermand_core::configuration::Configuration;
use countermand_core::effect::Effect;
use countermand_core::policy::Grant;
use countermand_core::request::{ChangeNumber, Payload};
use countermand_core::statement::NAMESPACE;
use countermand_core::verb::{Verb, postgres};
use countermand_engine::control::{ChangeView, Command, PrepareAct, Reply};
use countermand_engine::disk::Space;
use countermand_engine::target::Target;
use countermand_engine::{
    Admission, Caller, Clock, Engine, Home, Human, Installation, Peer, Placement, Proposal,
    Refusal, Retention,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

pub(crate) const NOBODY: Peer = Peer { uid: 0, pid: None };

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: Clock,
    pub(crate) prod: Memory,
    pub(crate) engine: Engine,
    /// What is free on every disk, in percent.
    pub(crate) free: Arc<AtomicU64>,
}

/// In the place of what is free: no disk can be measured.
pub(crate) const UNMEASURED: u64 = u64::MAX;

pub(crate) fn key(person: &str) -> PrivateKey {
    let mut seed = [0; 32];
    seed[..person.len()].copy_from_slice(person.as_bytes());
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed)), person).unwrap()
}

pub(crate) fn grant() -> Grant {
    let targets = ["prod".parse().unwrap()].into();
    Grant { targets, effects: [Effect::Read, Effect::Write, Effect::Destroy].into() }
}

pub(crate) fn installation(folder: &std::path::Path) -> Installation {
    let human = |name: &str, groups: &[&str]| Human {
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        reviewer: true,
        sponsors: (name == "alice").then(grant),
        keys: vec![key(name).public_key().clone().into()],
    };
    let place = |environment: &str, partner: Option<&str>| Placement {
        environment: environment.parse().unwrap(),
        disposable: false,
        tags: BTreeSet::new(),
        object_tags: BTreeMap::new(),
        partner: partner.map(|partner| partner.parse().unwrap()),
        limits: countermand_core::limits::Limits::default(),
        limits_of: BTreeMap::new(),
        probation: None,
        watch: BTreeMap::new(),
        backups: None,
        notify: None,
    };
    let mut installation = Installation {
        name: "test".parse().unwrap(),
        configuration: Configuration::default(),
        humans: [("alice", &[][..]), ("bob", &["dba"][..]), ("carol", &[][..])]
            .map(|(name, groups)| (name.parse().unwrap(), human(name, groups)))
            .into(),
        targets: [
            ("prod".parse().unwrap(), place("test", Some("staging"))),
            ("staging".parse().unwrap(), place("staging", None)),
        ]
        .into(),
        policies: Vec::new(),
        restore_points: folder.join("restore-points"),
        ledger: folder.join("ledger"),
        retention: Retention::default(),
        plain_keys_count: false,
    };
    installation.configuration = configuration_of(&installation);
    installation
}

/// The people of an installation as its configuration says them. Nothing else of it is there.
pub(crate) fn configuration_of(installation: &Installation) -> Configuration {
    let lines =
        |human: &Human| -> Vec<String> { human.keys.iter().map(|key| key.line()).collect() };
    let humans = || installation.humans.iter();
    let people: BTreeMap<_, _> =
        humans().map(|(name, human)| (name, json!({ "keys": lines(human) }))).collect();
    let reviewers = humans().filter(|(_, human)| human.reviewer);
    let reviewers: BTreeMap<_, _> =
        reviewers.map(|(name, human)| (name, json!({ "groups": human.groups }))).collect();
    let targets = installation.targets.iter();
    let targets: BTreeMap<_, _> = targets
        .map(|(name, target)| (name, json!({ "environment": target.environment })))
        .collect();
    let settings = json!({ "people": people, "reviewers": reviewers, "targets": targets });
    let Value::Object(settings) = settings else { panic!("{settings}") };
    Configuration { settings, policies: BTreeMap::new() }
}

pub(crate) async fn open(
    installation: Installation,
    home: Home,
    clock: Clock,
    prod: &Memory,
) -> Result<Engine, countermand_engine::EngineError> {
    let rehearses = Some(prod.data.clone());
    let staging = Memory { rehearses, ..Memory::new("staging", &[("billing.costs", 10)]) };
    let targets: BTreeMap<_, Arc<dyn Target>> = [
        ("prod".parse().unwrap(), Arc::new(prod.clone()) as Arc<dyn Target>),
        ("staging".parse().unwrap(), Arc::new(staging) as Arc<dyn Target>),
    ]
    .into();
    Engine::open(installation, targets, home, clock).await
}

/// Opens again; the lock of the engine before goes with its last task.
pub(crate) async fn reopened(
    installation: Installation,
    home: Home,
    clock: &Clock,
    prod: &Memory,
) -> Engine {
    loop {
        match open(installation.clone(), home.clone(), clock.clone(), prod).await {
            Ok(engine) => return engine,
            Err(countermand_engine::EngineError::Home(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

impl World {
    pub(crate) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let installed = installation(folder.path());
        let world = World::built(folder, installed).await;
        world.let_in().await;
        world
    }

    /// Without any agent.
    pub(crate) async fn built(folder: TempDir, installation: Installation) -> World {
        let mut home = Home::at(folder.path().join("state"));
        let free = Arc::new(AtomicU64::new(50));
        let measured = free.clone();
        home.measure = Arc::new(move |_| match measured.load(Ordering::Relaxed) {
            UNMEASURED => Err(std::io::ErrorKind::NotFound.into()),
            free => Ok(Space { free, total: 100 }),
        });
        home.create("test").unwrap();
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
        let prod = Memory::new("prod", &[("billing.costs", 1000), ("shop.orders", 5)]);
        let engine = open(installation, home, clock.clone(), &prod).await.unwrap();
        World { folder, clock, prod, engine, free }
    }

    /// Opens the same gateway again.
    pub(crate) async fn again(
        self,
        installation: Installation,
    ) -> Result<World, countermand_engine::EngineError> {
        let World { folder, clock, prod, engine, free } = self;
        engine.shutdown().await;
        drop(engine);
        let home = Home::at(folder.path().join("state"));
        for _ in 0..100_000 {
            match open(installation.clone(), home.clone(), clock.clone(), &prod).await {
                Ok(engine) => return Ok(World { folder, clock, prod, engine, free }),
                Err(countermand_engine::EngineError::Home(_)) => tokio::task::yield_now().await,
                Err(other) => return Err(other),
            }
        }
        panic!("the engine before it does not let go of its state")
    }

    pub(crate) async fn ask_to_let_in(&self, agent: &str) -> Reply {
        let agent = agent.parse().unwrap();
        let act = PrepareAct::AddAgent { agent, grant: grant(), lifetime: 7 * 86400 };
        self.sign("alice", act).await
    }

    pub(crate) async fn let_in(&self) {
        self.let_in_as("bot").await;
    }

    pub(crate) async fn let_in_as(&self, agent: &str) {
        let reply = self.ask_to_let_in(agent).await;
        assert!(matches!(reply, Reply::Done { credential: Some(_), .. }), "{reply:?}");
    }

    pub(crate) async fn proposal(
        &self,
        verb: Verb,
        kind: &str,
        name: &str,
        body: &str,
    ) -> Proposal {
        let payload = Payload::exact("memory", body, body);
        Proposal {
            caller: self.caller().await,
            target: "prod".parse().unwrap(),
            actions: vec![Action::new(verb, Object::new(kind, name))],
            payload,
            measurable: false,
            transactional: true,
            approvable: true,
        }
    }

    pub(crate) async fn caller(&self) -> Caller {
        self.engine.open_session("bot", "prod", "psql", "local").await.unwrap()
    }

    /// The agent asks to drop a schema.
    pub(crate) async fn ask(&self, schema: &str) -> Admission<()> {
        let body = format!("drop {schema}");
        let proposal = self.proposal(postgres::DROP_SCHEMA, "schema", schema, &body).await;
        self.engine.admit(proposal, ()).await.0
    }

    /// The agent asks, and is held.
    pub(crate) async fn held(&self, schema: &str) -> u64 {
        match self.ask(schema).await {
            Admission::Refused(Refusal::Held { change, .. }) => change.0,
            Admission::Refused(other) => panic!("not held: {other:?}"),
            _ => panic!("it flowed"),
        }
    }

    pub(crate) async fn prepare(&self, person: &str, act: PrepareAct) -> Reply {
        let signer = person.parse().unwrap();
        self.engine.control(Command::Prepare { signer, act }, NOBODY).await
    }

    pub(crate) fn signature(person: &str, statement: &str) -> String {
        let signed = key(person).sign(NAMESPACE, HashAlg::Sha512, statement.as_bytes()).unwrap();
        signed.to_pem(LineEnding::LF).unwrap()
    }

    /// A person signs what the engine prepared.
    pub(crate) async fn sign(&self, person: &str, act: PrepareAct) -> Reply {
        let statement = match self.prepare(person, act).await {
            Reply::Prepared { statement, .. } => statement,
            other => return other,
        };
        let signature = World::signature(person, &statement);
        self.engine.control(Command::Submit { statement, signature }, NOBODY).await
    }

    pub(crate) async fn approve(&self, person: &str, change: u64) -> Reply {
        self.until(change, |change| change.trial.is_some() || change.line.state != "held").await;
        let act = PrepareAct::Approve { change: ChangeNumber(change), seat: None };
        self.sign(person, act).await
    }

    pub(crate) async fn show(&self, change: u64) -> Box<ChangeView> {
        let command = Command::Show { change: ChangeNumber(change) };
        match self.engine.control(command, NOBODY).await {
            Reply::Change(change) => change,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the engine's own work to bring a change to where it is wanted.
    pub(crate) async fn until(
        &self,
        change: u64,
        is: impl Fn(&ChangeView) -> bool,
    ) -> Box<ChangeView> {
        let (mut seen, mut in_vain) = (0, 0);
        while in_vain < 4 {
            let command = Command::Wait { change: ChangeNumber(change), seen };
            let Reply::Change(now) = self.engine.control(command, NOBODY).await else {
                panic!("no such change")
            };
            if is(&now) {
                return now;
            }
            // Half a minute in which nothing happened.
            in_vain += u32::from(seen == now.version);
            seen = now.version;
        }
        panic!("it never came: {:#?}", self.show(change).await.history)
    }

    pub(crate) async fn prepared(&self, change: u64) -> Box<ChangeView> {
        self.until(change, |change| change.trial.is_some() && change.rehearsed.is_some()).await
    }

    pub(crate) fn cool(&self) {
        self.clock.advance(SignedDuration::from_secs(60));
    }

    /// Whether its metrics have this line. They may be a second old: it is asked for once.
    pub(crate) async fn tells(&self, line: &str) {
        let text = self.engine.metrics().await.unwrap();
        assert!(text.lines().any(|told| told == line), "no `{line}` in\n{text}");
    }

    /// So much is free on every disk from now on.
    pub(crate) async fn fill(&self, free: u64) {
        self.free.store(free, Ordering::Relaxed);
        self.engine.look_at_disks().await;
    }

    pub(crate) async fn consistency(&self) -> countermand_engine::control::Consistency {
        match self.engine.control(Command::Consistency, NOBODY).await {
            Reply::Consistency(found) => found,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn refused(reply: &Reply) -> &str {
    match reply {
        Reply::Refused { why } => why,
        other => panic!("it was not refused: {other:?}"),
    }
}
