//! The socket, TLS, and one task for each connection.

use crate::findings::{Doctor, Finding, Tested, Tests};
use crate::login::{Links, Logins};
use crate::pages::explain::Reading;
use crate::patient::Patient;
use crate::rounds::Rounds;
use crate::route::{App, router};
use axum::Router;
use countermand_engine::{Engine, Passkeys};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Connections at the same time.
pub(crate) const MOST_CONNECTIONS: usize = 128;
/// A write waits so long for whoever should read it.
const LAST_WORD: Duration = Duration::from_secs(30);
/// Event streams at the same time.
const MOST_STREAMS: usize = 32;
/// A handshake, and a request's head, must be whole by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// What still answers when the gateway stops may go on for so long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Where the console listens, and as what.
#[derive(Clone, Debug)]
pub struct ConsoleConfig {
    /// The address.
    pub listen: SocketAddr,
    /// Its certificate. None is possible on loopback only.
    pub tls: Option<Certificate>,
    /// The name it is reached by, where that is not this machine's own `localhost`.
    pub name: Option<String>,
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Why the console does not open.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Other machines could read along.
    #[error("the console does not listen at `{0}` without TLS: give it a certificate, or loopback")]
    Bare(SocketAddr),
    /// Nobody could tell its own name from another's.
    #[error("the console does not listen at `{0}` without its `name`: say how it is reached")]
    Nameless(SocketAddr),
    /// The address cannot be taken.
    #[error("the console cannot listen at `{address}`: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificate is none.
    #[error("cannot use the console's certificate `{}`: {why}", path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

/// A console that has its address and serves nobody yet.
pub struct Console {
    listener: TcpListener,
    /// The same port of the other loopback address, so that nobody else answers to `localhost`.
    beside: Option<TcpListener>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    names: Vec<String>,
    engine: Engine,
    logins: Arc<Logins>,
    doctor: Option<Rounds<Vec<Finding>>>,
    tests: Option<Rounds<Result<Tested, String>>>,
    reading: Option<Reading>,
}

impl Console {
    /// Takes the address.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn bind(config: ConsoleConfig, engine: Engine) -> Result<Console, ConsoleError> {
        let ConsoleConfig { listen, tls, name } = config;
        let here = listen.ip().is_loopback();
        if tls.is_none() && !here {
            return Err(ConsoleError::Bare(listen));
        }
        if name.is_none() && !here {
            return Err(ConsoleError::Nameless(listen));
        }
        // Without TLS nothing but the address tells this server from another on this machine.
        let is_local = |name: &String| name == "localhost" || name.ends_with(".localhost");
        let name = name.filter(|name| tls.is_some() || !is_local(name));
        let usual = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        if name.is_none() && !usual.contains(&listen.ip()) {
            return Err(ConsoleError::Bare(listen));
        }
        let beside = name.is_none();
        let local = || ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        let names = name.map_or_else(local, |name| vec![name]);
        let tls = tls.map(|certificate| certificate.load()).transpose()?;
        let refused = |source| ConsoleError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let beside = if beside { other_loopback(address).await? } else { None };
        let logins = Arc::default();
        Ok(Console {
            listener,
            beside,
            address,
            tls,
            names,
            engine,
            logins,
            doctor: None,
            tests: None,
            reading: None,
        })
    }

    /// The same, with somebody who looks at the whole installation for whoever reads.
    #[must_use]
    pub fn with_doctor(mut self, doctor: Doctor) -> Console {
        self.doctor = Some(Rounds::new(doctor));
        self
    }

    /// The same, with somebody who runs the cases of policies.
    #[must_use]
    pub fn with_tests(mut self, tests: Tests) -> Console {
        self.tests = Some(Rounds::new(tests));
        self
    }

    /// The same, with somebody who knows what a request would do.
    #[must_use]
    pub fn with_reading(mut self, reading: Reading) -> Console {
        self.reading = Some(reading);
        self
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What makes links into it.
    pub fn links(&self) -> Links {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Links {
            logins: self.logins.clone(),
            clock: self.engine.clock().clone(),
            origin: format!("{scheme}://{}:{}", self.names[0], self.address.port()),
        }
    }

    /// Serves until `stop` turns true, then lets answers end.
    pub async fn serve(self, stop: watch::Receiver<bool>) {
        let app = App {
            passkeys: Arc::new(Passkeys::new(self.engine.clone())),
            engine: self.engine,
            logins: self.logins,
            doctor: self.doctor,
            tests: self.tests,
            reading: self.reading,
            names: self.names.into(),
            port: self.address.port(),
            tls: self.tls.is_some(),
            stop: stop.clone(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        };
        let (router, room) = (router(app), Arc::new(Semaphore::new(MOST_CONNECTIONS)));
        let mut open = JoinSet::new();
        let mut stopped = stop.clone();
        loop {
            let accepted = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(_) = open.join_next() => continue,
                accepted = self.listener.accept() => accepted,
                accepted = accept(self.beside.as_ref()) => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    // One too many is hung up on: others must not wait behind it.
                    let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                    let attended = attend(stream, self.tls.clone(), router.clone(), stop.clone());
                    open.spawn(async move {
                        let _place = place;
                        attended.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the console could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        let ended = async { while open.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
    }
}

/// Takes the port on the other loopback address, where this machine has one: browsers go to either for
/// `localhost`, and whoever else had it would be taken for the console.
async fn other_loopback(taken: SocketAddr) -> Result<Option<TcpListener>, ConsoleError> {
    let other: IpAddr = match taken.ip() {
        IpAddr::V4(_) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(other, taken.port());
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(source) if source.kind() == ErrorKind::AddrInUse => {
            Err(ConsoleError::Listen { address, source })
        }
        Err(error) => {
            tracing::info!(%address, %error, "the console has no other loopback address");
            Ok(None)
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn attend(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(stream, router, stop).await };
    match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a handshake with the console failed"),
        Err(_) => tracing::debug!("a handshake with the console took too long"),
    }
}

pub(crate) async fn converse<S>(stream: S, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(
            TokioIo::new(Patient::new(stream, LAST_WORD)),
            TowerToHyperService::new(router),
        );
    let mut connection = std::pin::pin!(connection);
    let told_to_stop = async { stop.wait_for(|stop| *stop).await.map(|_| ()) };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = told_to_stop => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the console ended");
    }
}

impl Certificate {
    fn load(&self) -> Result<TlsAcceptor, ConsoleError> {
        let fail =
            |path: &PathBuf, why: String| ConsoleError::Certificate { path: path.clone(), why };
        let chain = CertificateDer::pem_file_iter(&self.chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fail(&self.chain, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| fail(&self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&self.chain, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| fail(&self.chain, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
