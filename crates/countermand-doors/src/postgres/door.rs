//! The side of PostgreSQL that faces the agent.
//!
//! An agent logs in with its own name and credential; the database it names is a target. What it
//! sends is cut into *units* (what would be committed together), each unit is judged whole, and
//! what may run is sent upstream one statement at a time as Parse, Bind and Execute, its rows
//! passed on byte for byte. What may not run never leaves the gateway.
//!
//! ```text
//! bytes → session (units) → piece (what is each statement?) → judge (the gate) → run → flight
//! ```

mod copy;
mod estimate;
mod exists;
mod flight;
mod gate;
mod greet;
mod judge;
mod kept;
mod land;
mod limits;
mod measure;
mod names;
mod observe;
mod output;
mod own;
mod patience;
mod piece;
mod question;
mod run;
mod search;
mod session;
mod step;
mod weigh;

use crate::Door;
use crate::postgres::interpret::{Interpretation, Settings, interpret};
use crate::postgres::refuse::{self, Said};
use crate::postgres::target::connection::{Address, CancelKey, Login};
use crate::postgres::wire;
use async_trait::async_trait;
use countermand_core::name::TargetName;
use flight::Broken;
use greet::{Start, Wish};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use session::{Interpret, Parts, Session};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use gate::{Admitted, Gate, Right, ScramVerifier};

/// Who one is must be known after this long.
const LOG_IN_WITHIN: Duration = Duration::from_secs(10);
/// As many connections may be on their way in at the same time.
const STRANGERS: usize = 64;

/// A certificate of the door's own, and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate chain, in PEM.
    pub chain: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// How a target is reached by agents' sessions.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where it is.
    pub address: Address,
    /// The session role: no superuser, owner of nothing.
    pub login: Login,
    /// Settings that every session begins with; limits among them may be lowered by an agent.
    pub settings: BTreeMap<String, String>,
    /// As long as a transaction that writes may be open, from its first write.
    pub patience: Duration,
    /// Skips the check that the session role is harmless. Only tests of the wall behind it do.
    #[doc(hidden)]
    pub trusted_role: bool,
}

/// What a door is.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// Where it listens. Beyond the loopback interface only with a certificate.
    pub listen: SocketAddr,
    /// Its certificate.
    pub tls: Option<Certificate>,
    /// As many sessions at the same time.
    pub max_sessions: usize,
    /// The targets behind it, by the name that agents call them.
    pub targets: BTreeMap<TargetName, Upstream>,
}

/// Why a door does not open.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Others could read along.
    #[error(
        "the door would listen on `{0}` without TLS; give it a certificate, or listen on 127.0.0.1"
    )]
    Bare(SocketAddr),
    /// The address is taken, or not ours.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The certificate is none.
    #[error("cannot use the certificate `{path}`: {why}", path = path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

/// A certificate that was read.
struct DoorTls {
    acceptor: TlsAcceptor,
    /// For channel binding.
    certificate_pem: Vec<u8>,
}

/// The door for PostgreSQL clients.
pub struct PostgresDoor<G: Gate> {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared<G>>,
}

/// What all sessions share.
struct Shared<G: Gate> {
    gate: Arc<G>,
    interpret: Interpret,
    targets: BTreeMap<TargetName, Upstream>,
    tls: Option<DoorTls>,
    sessions: Semaphore,
    strangers: Arc<Semaphore>,
    cancels: Cancels,
}

/// Which session a cancel means: by the process id and secret that the agent was given, which are
/// ours and not production's.
#[derive(Default)]
struct Cancels(Mutex<HashMap<(i32, i32), Running>>);

/// What cancels a session's work, and whether there is any now.
type Running = (CancelKey, Arc<AtomicBool>);

impl<G: Gate> PostgresDoor<G> {
    /// Takes the address. Nobody is served yet.
    ///
    /// # Errors
    /// [`DoorError`].
    pub async fn bind(config: DoorConfig, gate: Arc<G>) -> Result<PostgresDoor<G>, DoorError> {
        let tls = config.tls.map(|certificate| certificate.load()).transpose()?;
        if tls.is_none() && !config.listen.ip().is_loopback() {
            return Err(DoorError::Bare(config.listen));
        }
        let listen = |source| DoorError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared {
            gate,
            interpret: Arc::new(remembering()),
            targets: config.targets,
            tls,
            sessions: Semaphore::new(config.max_sessions),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            cancels: Cancels::default(),
        });
        Ok(PostgresDoor { listener, address, shared })
    }

    /// A door that believes whatever `interpret` says: to show that production is safe all the
    /// same.
    #[doc(hidden)]
    pub fn believing(
        mut self,
        interpret: impl Fn(&str, Settings) -> Interpretation + Send + Sync + 'static,
    ) -> PostgresDoor<G> {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.interpret = Arc::new(interpret);
        }
        self
    }
}

/// As many texts are remembered, each of at most so many bytes.
const MOST_TEXTS: usize = 1024;
const MOST_TEXT: usize = 4096;

/// Interprets, and remembers: clients send the same texts again and again.
fn remembering() -> impl Fn(&str, Settings) -> Interpretation + Send + Sync {
    let known: Mutex<HashMap<(String, bool), Interpretation>> = Mutex::default();
    move |sql, settings| {
        if sql.len() > MOST_TEXT {
            return interpret(sql, settings);
        }
        let key = (sql.to_owned(), settings.standard_conforming_strings);
        let remembered = || known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meaning) = remembered().get(&key) {
            return meaning.clone();
        }
        let meaning = interpret(sql, settings);
        let mut known = remembered();
        if known.len() >= MOST_TEXTS {
            known.clear();
        }
        known.insert(key, meaning.clone());
        meaning
    }
}

impl Certificate {
    fn load(&self) -> Result<DoorTls, DoorError> {
        let fail = |path: &PathBuf, why: String| DoorError::Certificate { path: path.clone(), why };
        let certificate_pem =
            std::fs::read(&self.chain).map_err(|e| fail(&self.chain, e.to_string()))?;
        let chain = CertificateDer::pem_slice_iter(&certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| fail(&self.chain, e.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|e| fail(&self.key, e.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| fail(&self.chain, e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| fail(&self.chain, e.to_string()))?;
        Ok(DoorTls { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem })
    }
}

#[async_trait]
impl<G: Gate> Door for PostgresDoor<G> {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn serve(self: Box<Self>, mut stop: watch::Receiver<bool>) {
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (shared, stop) = (self.shared.clone(), stop.clone());
                        sessions.spawn(shared.attend(stream, stop));
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: others must be able to end first.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = sessions.join_next() => {}
                () = stopped(&mut stop) => break,
            }
        }
        while sessions.join_next().await.is_some() {}
    }
}

impl<G: Gate> Shared<G> {
    /// One connection, from its first byte to its last.
    async fn attend(self: Arc<Self>, stream: TcpStream, stop: watch::Receiver<bool>) {
        let Ok(stranger) = self.strangers.clone().try_acquire_owned() else { return };
        let local = stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        let arrive = async {
            let acceptor = self.tls.as_ref().map(|tls| &tls.acceptor);
            match greet::listen(stream, acceptor).await {
                Ok(Wish::Cancel(process_id, secret)) => {
                    self.cancels.cancel(process_id, secret).await;
                    None
                }
                Ok(Wish::Session(mut start)) => {
                    let welcome = start.authenticate(&*self.gate, self.tls.as_ref(), local).await;
                    Some((start, welcome))
                }
                Ok(Wish::Gone) => None,
                Err(error) => {
                    tracing::debug!(%error, "a connection ended before it began");
                    None
                }
            }
        };
        let Ok(Some((start, welcome))) = tokio::time::timeout(LOG_IN_WITHIN, arrive).await else {
            return;
        };
        drop(stranger);
        match welcome {
            Ok(welcome) => self.session(*start, welcome, stop).await,
            Err(said) => start.output.farewell(|out| said.into_fatal().encode(out)).await,
        }
    }

    async fn session(
        &self,
        mut start: Start,
        welcome: greet::Welcome,
        stop: watch::Receiver<bool>,
    ) {
        let Ok(_place) = self.sessions.try_acquire() else {
            let said = Said::fatal("53300", "too many sessions here; try again later");
            return start.output.farewell(|out| said.encode(out)).await;
        };
        let _counted = self.gate.attended(&welcome.target);
        let Some(upstream) = self.targets.get(&welcome.target) else {
            let said = Said::fatal("3D000", "there is no such target behind this door");
            return start.output.farewell(|out| said.encode(out)).await;
        };
        start.output.put(|out| wire::put_authentication(out, 0, &[]));
        let (line, limits) = match greet::open(upstream, &welcome, &mut start.output).await {
            Ok(opened) => opened,
            Err(said) => return start.output.farewell(|out| said.encode(out)).await,
        };
        start.trust();
        let busy = Arc::new(AtomicBool::new(false));
        let key = self.cancels.enter(line.cancel.clone(), busy.clone());
        start.output.put(|out| {
            wire::put_key_data(out, key.0, key.1);
            wire::put_ready(out, b'I');
        });
        let mut session = Session::new(Parts {
            gate: self.gate.clone(),
            interpret: self.interpret.clone(),
            caller: welcome.caller,
            target: welcome.target,
            input: start.input,
            output: start.output,
            line,
            limits,
            busy,
            upstream: upstream.clone(),
        });
        let ended = serve(&mut session, stop).await;
        self.cancels.leave(key);
        leave(session, ended).await;
    }
}

/// Serves until the agent leaves, it is frozen, or the gateway stops.
async fn serve<G: Gate>(session: &mut Session<G>, mut stop: watch::Receiver<bool>) -> Broken {
    let (gate, caller, target) =
        (session.gate.clone(), session.caller.clone(), session.target.clone());
    let served = async {
        match session.output.flush().await {
            Ok(()) => session.serve().await,
            Err(gone) => Err(gone),
        }
    };
    tokio::select! {
        ended = served => ended.err().unwrap_or(Broken::Terminated),
        why = gate.frozen(&caller, &target) => Broken::Fatal(refuse::frozen_session(&why)),
        () = stopped(&mut stop) => {
            Broken::Fatal(Said::fatal("57P01", "the gateway is stopping"))
        }
    }
}

/// Ends when the gateway is to stop, or nobody is left who could say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Ends a session: production first, so that nothing goes on that nobody waits for.
async fn leave<G: Gate>(mut session: Session<G>, ended: Broken) {
    let words = if session.busy.load(Ordering::Relaxed) {
        let _ = tokio::time::timeout(Duration::from_secs(1), session.line.cancel.cancel()).await;
        "the session was cut; whether it was committed is not known"
    } else {
        "the session ended; rolled back"
    };
    session.settle(false, words).await;
    let said = match ended {
        Broken::Terminated | Broken::Client(_) => None,
        Broken::Fatal(said) => Some(said),
        Broken::Upstream(error) => {
            tracing::warn!(target_name = %session.target, %error, "a session lost its target");
            Some(Said::fatal("08006", "the connection to the target was lost"))
        }
    };
    let Session { line, output, .. } = session;
    line.writer.terminate().await;
    output
        .farewell(|out| {
            if let Some(said) = said {
                said.encode(out);
            }
        })
        .await;
}

impl Cancels {
    fn enter(&self, cancel: CancelKey, busy: Arc<AtomicBool>) -> (i32, i32) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let key = (rand::random_range(1..=i32::MAX), rand::random::<i32>());
            if !known.keys().any(|(process_id, _)| *process_id == key.0) {
                known.insert(key, (cancel, busy));
                return key;
            }
        }
    }

    fn leave(&self, key: (i32, i32)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Cancels what runs in that session now; between units there is nothing to cancel.
    async fn cancel(&self, process_id: i32, secret: i32) {
        let known = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&(process_id, secret)).cloned()
        };
        if let Some((cancel, busy)) = known
            && busy.load(Ordering::Relaxed)
            && let Err(error) = cancel.cancel().await
        {
            tracing::debug!(%error, "a cancel did not reach the target");
        }
    }
}
