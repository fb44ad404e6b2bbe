//! A real server, a door in front of it, and a gate that decides by effect alone.

use bytes::BytesMut;
use countermand_core::action::Action;
use countermand_core::change::Outcome;
use countermand_core::configuration::Observation;
use countermand_core::effect::Effect;
use countermand_core::limits::{Beyond, Limits};
use countermand_core::name::{AgentName, HumanName, TargetName};
use countermand_core::policy::{Missing, Reason};
use countermand_core::request::{ChangeNumber, RequestKey};
use countermand_doors::Door as _;
use countermand_doors::postgres::door::{
    Admitted, Certificate, DoorConfig, Gate, PostgresDoor, Right, ScramVerifier, Upstream,
};
use countermand_doors::postgres::interpret::{Interpretation, Settings, interpret};
use countermand_doors::postgres::scratch::{
    Login as Psql, Options, PsqlOutput, ScratchServer, psql_as,
};
use countermand_doors::postgres::target::connection::{Address, Connection, Host, Login, Tls};
use countermand_doors::postgres::target::{PostgresTarget, Setup};
use countermand_doors::secret::SecretRef;
use countermand_engine::control::AgentQuery;
use countermand_engine::target::{KeptWrite, Tags, Target as _};
use countermand_engine::{Caller, Proposal, Refusal, Weighing};
use pgwire::api::auth::sasl::scram::{ScramSecret, gen_salted_password};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) const AGENT: &str = "robo";
pub(crate) const PASSWORD: &str = "cmd_robo";

/// Lets through what is not worse than `most`; holds what destroys or is opaque; forbids the rest.
pub(crate) struct TestGate {
    most: Effect,
    /// What can be measured runs up to its commit, and is weighed by the default limits.
    weighs: bool,
    held: Mutex<Vec<(RequestKey, Option<Outcome>, Proposal)>>,
    pub(crate) admitted: Mutex<Vec<Proposal>>,
    pub(crate) settled: Mutex<Vec<(bool, String)>>,
    /// What ran up to its commit, and in which ways it was too much.
    pub(crate) weighed: Mutex<Vec<(Weighing, Vec<Beyond>)>>,
    /// What it is weighed against.
    pub(crate) limits: Mutex<Limits>,
    pub(crate) frozen: watch::Sender<Option<String>>,
    /// What is held is carried by standing approvals, and ends like this.
    pub(crate) carries: Mutex<Option<Outcome>>,
    /// It is so when it is held, and not any more when somebody waits.
    pub(crate) forgets: AtomicBool,
    /// Nothing is held: what is no read runs up to its commit, and commits whatever it did.
    pub(crate) observed: Mutex<Option<Observation>>,
}

pub(crate) struct TestPermit<T>(T);

impl<T: Send> Right<T> for TestPermit<T> {
    fn spend(self) -> T {
        self.0
    }
}

impl TestGate {
    fn new(most: Effect, weighs: bool) -> TestGate {
        TestGate {
            most,
            weighs,
            held: Mutex::default(),
            admitted: Mutex::default(),
            settled: Mutex::default(),
            weighed: Mutex::default(),
            limits: Mutex::default(),
            frozen: watch::Sender::new(None),
            carries: Mutex::default(),
            forgets: AtomicBool::new(false),
            observed: Mutex::default(),
        }
    }

    /// What was held as this change.
    pub(crate) fn change(&self, number: u64) -> Proposal {
        self.held.lock().unwrap()[number as usize - 1].2.clone()
    }

    pub(crate) fn changes(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    /// As if the engine had run it.
    pub(crate) fn executed(&self, number: u64, tags: &[&str]) {
        let said = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let outcome = Outcome { said, ..Outcome::default() };
        self.held.lock().unwrap()[number as usize - 1].1 = Some(outcome);
    }

    fn hold<P>(&self, proposal: &Proposal) -> Admitted<P> {
        let key = RequestKey::of(&proposal.caller.agent, &proposal.target, &proposal.payload);
        let mut held = self.held.lock().unwrap();
        let known = held.iter_mut().enumerate().find(|(_, change)| change.0 == key);
        if let Some((index, (_, outcome, _))) = known {
            let change = ChangeNumber(index as u64 + 1);
            return match outcome.take() {
                Some(outcome) => {
                    Admitted::Done { change, at: "2026-01-01T00:00:00Z".to_owned(), outcome }
                }
                None => Admitted::Refused(self.refusal(change)),
            };
        }
        if !proposal.approvable {
            return Admitted::Refused(Refusal::HeldUnit {
                summary: "destroy something".into(),
                beyond: Vec::new(),
            });
        }
        held.push((key, None, proposal.clone()));
        Admitted::Refused(self.refusal(ChangeNumber(held.len() as u64)))
    }

    fn refusal(&self, change: ChangeNumber) -> Refusal {
        Refusal::Held {
            change,
            summary: "destroy something".into(),
            beyond: Vec::new(),
            missing: vec![Missing::Peers { have: 0, need: 1 }],
            underway: Vec::new(),
            carried: self.carries.lock().unwrap().is_some(),
        }
    }
}

impl Gate for TestGate {
    type Permit<T: Send> = TestPermit<T>;
    type Receipt = ();
    type Attended = ();

    fn attended(&self, _: &TargetName) {}

    fn login_refused(&self) {}

    fn scram_verifier(&self, agent: &str) -> ScramVerifier {
        // A stranger's verifier is of a password that nobody has.
        let password = if agent == AGENT { PASSWORD } else { "\u{1}nobody" };
        let salt = format!("salt of {agent}").into_bytes();
        let salted = gen_salted_password(password, &salt, 4096);
        match ScramSecret::verifier_from_salted_password(salt, salted, 4096) {
            ScramSecret::Verifier { salt, iterations, stored_key, server_key } => {
                ScramVerifier { salt, iterations, stored_key, server_key }
            }
            ScramSecret::SaltedPassword { .. } => unreachable!("a verifier was asked for"),
        }
    }

    async fn open_session(
        &self,
        agent: &str,
        target: &str,
        said: &str,
        _peer: &str,
    ) -> Result<Caller, Refusal> {
        if target != "shop" {
            return Err(Refusal::CannotJudge { why: "there is no such agent or target".into() });
        }
        Ok(Caller {
            agent: AgentName::new(agent).unwrap(),
            sponsor: HumanName::new("alice").unwrap(),
            session: "s1".into(),
            said: said.to_owned(),
            observed: *self.observed.lock().unwrap(),
        })
    }

    async fn admit<T: Send>(&self, proposal: Proposal, act: T) -> (Admitted<TestPermit<T>>, ()) {
        let worst = Effect::worst(proposal.actions.iter().map(Action::effect));
        let observed = self.observed.lock().unwrap().is_some();
        let admitted = match worst {
            Effect::Write | Effect::Destroy | Effect::Opaque
                if observed && proposal.transactional =>
            {
                let limits = *self.limits.lock().unwrap();
                Admitted::UpToCommit { permit: TestPermit(act), limits, observed }
            }
            Effect::Write | Effect::Destroy | Effect::Opaque if observed => {
                self.admitted.lock().unwrap().push(proposal);
                Admitted::Allowed(TestPermit(act))
            }
            worst if self.weighs && worst > Effect::Read && proposal.measurable => {
                let limits = *self.limits.lock().unwrap();
                Admitted::UpToCommit { permit: TestPermit(act), limits, observed }
            }
            worst if worst <= self.most => {
                self.admitted.lock().unwrap().push(proposal);
                Admitted::Allowed(TestPermit(act))
            }
            Effect::Read | Effect::Write | Effect::Destroy | Effect::Opaque => self.hold(&proposal),
            Effect::Grant | Effect::Network => Admitted::Refused(Refusal::Forbidden {
                reasons: vec![Reason { policy: "floor/grant".into(), reason: "never".into() }],
                kept: None,
            }),
        };
        (admitted, ())
    }

    async fn weigh<T: Send>(
        &self,
        weighing: Weighing,
        _: Vec<()>,
        commit: T,
    ) -> (Admitted<TestPermit<T>>, ()) {
        let beyond = self.limits.lock().unwrap().judge(&weighing.written, 0);
        let whole = weighing.whole.clone();
        self.weighed.lock().unwrap().push((weighing, beyond.clone()));
        match beyond.is_empty() || self.observed.lock().unwrap().is_some() {
            true => (Admitted::Allowed(TestPermit(commit)), ()),
            false => (self.hold(&whole), ()),
        }
    }

    async fn too_much(&self, whole: Proposal, _: Vec<Beyond>) -> Admitted<TestPermit<()>> {
        self.hold(&whole)
    }

    async fn outcome(&self, _: &Caller, change: ChangeNumber) -> Admitted<TestPermit<()>> {
        let at = "2026-01-01T00:00:00Z".to_owned();
        let carried = self.carries.lock().unwrap().clone();
        match carried.filter(|_| !self.forgets.load(Ordering::Relaxed)) {
            Some(outcome) => Admitted::Done { change, at, outcome },
            None => Admitted::Refused(self.refusal(change)),
        }
    }

    async fn settle(&self, (): (), ok: Option<bool>, words: String) {
        self.settled.lock().unwrap().push((ok == Some(true), words));
    }

    async fn agent_query(&self, _: &Caller, what: AgentQuery) -> Result<String, Refusal> {
        Ok(format!("{{\"asked\":\"{what:?}\"}}"))
    }

    fn is_frozen(&self, _: &Caller, _: &TargetName) -> Option<String> {
        self.frozen.borrow().clone()
    }

    async fn frozen(&self, _: &Caller, _: &TargetName) -> String {
        let mut frozen = self.frozen.subscribe();
        let why = frozen.wait_for(Option::is_some).await.unwrap().clone();
        why.unwrap()
    }
}

const PATIENCE: Duration = Duration::from_secs(300);

/// A server with a shop in it, and a door.
pub(crate) struct Stand {
    pub(crate) server: ScratchServer,
    pub(crate) gate: Arc<TestGate>,
    pub(crate) door: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    directory: tempfile::TempDir,
}

const SHOP: &str = "
    create role shop_owner;
    create role session_role login password 'session';
    create database shop owner shop_owner;
";
const TABLES: &str = "
    set role shop_owner;
    create table orders (id int primary key, note text);
    insert into orders select g, 'n' || g from generate_series(1, 1000) g;
    create table log (id int primary key deferrable initially deferred, what text);
    create sequence numbers;
    create function sneak() returns int language sql as 'delete from orders returning 1';
    grant select, insert, update, delete on orders, log to session_role;
    grant usage on sequence numbers to session_role;
";

impl Stand {
    pub(crate) async fn up() -> Stand {
        Stand::with(Effect::Write, interpret).await
    }

    /// A stand whose door believes `interpret`.
    pub(crate) async fn with(
        most: Effect,
        interpret: impl Fn(&str, Settings) -> Interpretation + Send + Sync + 'static,
    ) -> Stand {
        Stand::behind(None, most, interpret).await
    }

    /// A stand whose gate lets what can be measured run up to its commit.
    pub(crate) async fn weighing() -> Stand {
        Stand::patient_for(PATIENCE).await
    }

    /// The same, where a transaction that writes may be open for so long.
    pub(crate) async fn patient_for(patience: Duration) -> Stand {
        Stand::set_up(None, TestGate::new(Effect::Read, true), interpret, patience).await
    }

    /// A stand whose door has a certificate.
    pub(crate) async fn behind(
        tls: Option<Certificate>,
        most: Effect,
        interpret: impl Fn(&str, Settings) -> Interpretation + Send + Sync + 'static,
    ) -> Stand {
        Stand::set_up(tls, TestGate::new(most, false), interpret, PATIENCE).await
    }

    async fn set_up(
        tls: Option<Certificate>,
        gate: TestGate,
        interpret: impl Fn(&str, Settings) -> Interpretation + Send + Sync + 'static,
        patience: Duration,
    ) -> Stand {
        let server = ScratchServer::start(Options::default()).await.unwrap();
        server.psql(SHOP).await.unwrap();
        server.psql_in("shop", TABLES).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("session");
        std::fs::write(&secret, "session").unwrap();
        let upstream = upstream(server.address().port(), directory.path(), patience);
        let gate = Arc::new(gate);
        let (stop, stopping) = watch::channel(false);
        let address = open_door(upstream, tls, gate.clone(), interpret, stopping).await;
        Stand { server, gate, door: address, stop, directory }
    }

    pub(crate) fn login(&self) -> Psql {
        Psql {
            address: self.door,
            user: AGENT.into(),
            password: SecretString::from(PASSWORD),
            database: "shop".into(),
        }
    }

    /// A door to whatever listens at this port in the server's place.
    pub(crate) async fn door_to(&self, port: u16) -> Psql {
        let upstream = upstream(port, self.directory.path(), PATIENCE);
        let door = open_door(upstream, None, self.gate.clone(), interpret, self.stop.subscribe());
        Psql { address: door.await, ..self.login() }
    }

    /// The real psql, through the door; stops at the first error.
    pub(crate) async fn psql(&self, sql: &str) -> PsqlOutput {
        psql_as(self.server.tools(), &self.login(), sql).await.unwrap()
    }

    /// The real psql, through the door; goes on after errors.
    pub(crate) async fn psql_on(&self, sql: &str) -> PsqlOutput {
        self.psql(&format!("\\set ON_ERROR_STOP off\n{sql}")).await
    }

    /// What really is in production.
    pub(crate) async fn truth(&self, sql: &str) -> String {
        self.server.psql_in("shop", sql).await.unwrap().trim().to_owned()
    }

    /// The number of orders, which most tests try to lower.
    pub(crate) async fn orders(&self) -> String {
        self.truth("select count(*) from orders").await
    }

    /// What taking back what was weighed last would do: rows by table, and what is in the way.
    pub(crate) async fn plan_back(&self) -> (String, Vec<String>) {
        let images = self.gate.weighed.lock().unwrap().last().unwrap().0.images.clone();
        let images = images.expect("it wrote").body;
        let secret = self.directory.path().join("executor");
        let superuser = self.server.superuser();
        std::fs::write(&secret, superuser.password.expose_secret()).unwrap();
        let (address, _) = self.raw();
        let target = PostgresTarget::new(Setup {
            name: TargetName::new("shop").unwrap(),
            address: Address { port: self.server.address().port(), ..address },
            executor: Login { user: superuser.user, secret: SecretRef::File(secret) },
            session: Login {
                user: "session_role".into(),
                secret: SecretRef::File(self.directory.path().join("session")),
            },
            tags: Tags::default(),
            statement_timeout: Duration::from_secs(30),
            lock_wait: Duration::from_secs(5),
            lock_hold: Duration::from_secs(1),
            programs: self.server.tools().directory().to_owned(),
        });
        let plan = target.plan_take_back(vec![KeptWrite { index: 1, images }]).await.unwrap();
        let mut all = plan.rows;
        for (table, rows) in plan.removed {
            *all.entry(table).or_default() += rows;
        }
        let rows: Vec<String> = all.iter().map(|(name, n)| format!("{name} {n}")).collect();
        (rows.join(", "), plan.conflicts)
    }

    /// A connection of the owner's, beside the door.
    pub(crate) async fn owner(&self) -> Owner {
        let secret = self.directory.path().join("owner");
        let superuser = self.server.superuser();
        std::fs::write(&secret, superuser.password.expose_secret()).unwrap();
        let (address, _) = self.raw();
        let address = Address { port: self.server.address().port(), ..address };
        let login = Login { user: superuser.user, secret: SecretRef::File(secret) };
        Owner(Connection::open(&address, &login, &[]).await.unwrap())
    }

    /// Where a raw client connects, and as whom.
    pub(crate) fn raw(&self) -> (Address, Login) {
        let secret = self.directory.path().join("agent");
        std::fs::write(&secret, PASSWORD).unwrap();
        let address = Address {
            host: Host::Tcp("127.0.0.1".into()),
            port: self.door.port(),
            database: "shop".into(),
            tls: Tls::Automatic,
        };
        (address, Login { user: AGENT.into(), secret: SecretRef::File(secret) })
    }
}

/// The owner's own connection.
pub(crate) struct Owner(Connection);

impl Owner {
    /// Runs statements, and waits for their end.
    pub(crate) async fn run(&mut self, sql: &str) {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).unwrap();
        self.0.send(&out).await.unwrap();
        loop {
            let frame = self.0.receive().await.unwrap();
            match frame.tag() {
                b'Z' => return,
                b'E' => panic!("{sql}: {:?}", frame.bytes()),
                _ => {}
            }
        }
    }
}

/// How the server at this port is reached.
fn upstream(port: u16, directory: &std::path::Path, patience: Duration) -> Upstream {
    let secret = SecretRef::File(directory.join("session"));
    let (host, database) = (Host::Tcp("127.0.0.1".into()), "shop".into());
    Upstream {
        address: Address { host, port, database, tls: Tls::Automatic },
        login: Login { user: "session_role".into(), secret },
        settings: BTreeMap::from([("statement_timeout".to_owned(), "30s".to_owned())]),
        patience,
        trusted_role: false,
    }
}

async fn open_door(
    upstream: Upstream,
    tls: Option<Certificate>,
    gate: Arc<TestGate>,
    interpret: impl Fn(&str, Settings) -> Interpretation + Send + Sync + 'static,
    stop: watch::Receiver<bool>,
) -> SocketAddr {
    let config = DoorConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls,
        max_sessions: 20,
        targets: BTreeMap::from([(TargetName::new("shop").unwrap(), upstream)]),
    };
    let door = PostgresDoor::bind(config, gate).await.unwrap().believing(interpret);
    let address = door.address();
    tokio::spawn(Box::new(door).serve(stop));
    address
}
