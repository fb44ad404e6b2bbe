//! A raw connection to production: one login, bytes and frames, no opinion about either.
//!
//! The door opens one per agent session with the session role; the target opens its own with the
//! executor role. They are never the same connection.

mod direct;
mod login;
mod read;
mod tls;

use crate::postgres::wire::{Frame, Malformed};
use crate::secret::{SecretError, SecretRef};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

pub use login::CancelKey;
pub use read::Reader;
pub use tls::{Roots, Tls};

/// How often a server that runs a statement looks whether anybody waits for it: what cannot be
/// cancelled, since its own code catches that, ends then.
pub(crate) const CHECKS: (&str, &str) = ("client_connection_check_interval", "500ms");
/// Resolving, connecting, TLS and login together take no longer.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Where a PostgreSQL listens, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The machine, or the directory of a Unix socket.
    pub host: Host,
    /// The port; also part of a Unix socket's name.
    pub port: u16,
    /// The database.
    pub database: String,
    /// How the connection is protected.
    pub tls: Tls,
}

/// The machine side of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an IP address.
    Tcp(String),
    /// The directory that holds `.s.PGSQL.<port>`.
    Unix(PathBuf),
}

/// Who logs in. The secret is read at every login, so that a rotated one is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password.
    pub secret: SecretRef,
}

/// Why there is no connection, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It could not be opened in time.
    #[error("cannot open a connection to {to} within {} s", OPEN_WITHIN.as_secs())]
    Late {
        /// Where to.
        to: String,
    },
    /// The network, or the machine, refused.
    #[error("cannot {doing} {with}: {source}")]
    Io {
        /// `connect to`, `read from`, `write to`.
        doing: &'static str,
        /// Whom.
        with: String,
        /// Its answer.
        source: std::io::Error,
    },
    /// TLS is needed and could not be had.
    #[error("no TLS with {with}: {why}")]
    Tls {
        /// Whom.
        with: String,
        /// In words, with the remedy.
        why: String,
    },
    /// The password could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The server refused the login; its own words.
    #[error("the server refused the login: {message} (SQLSTATE {code})")]
    Refused {
        /// Its SQLSTATE.
        code: String,
        /// Its message.
        message: String,
    },
    /// The server wants a login that this side does not give.
    #[error("the server asks for {wanted}; let it ask this role for scram-sha-256 (pg_hba.conf)")]
    Method {
        /// What it asks for.
        wanted: &'static str,
    },
    /// Something between shares the server's sessions out.
    #[error(
        "a pooler stands before the server at {to} ({why}): settings, locks and temporary tables of \
         one session would be another's; name the server's own address"
    )]
    Pooler {
        /// Where to.
        to: String,
        /// What shows it.
        why: &'static str,
    },
    /// The server broke the protocol, or is not who it should be.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
}

impl From<Malformed> for ConnectionError {
    fn from(error: Malformed) -> ConnectionError {
        ConnectionError::Protocol(error.to_string())
    }
}

/// What was negotiated at the login.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// Every `ParameterStatus` so far, in order.
    pub parameters: Vec<(String, String)>,
    /// What cancels what runs on this connection.
    pub cancel: CancelKey,
}

impl Greeting {
    /// The value of a reported parameter, such as `server_version`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An open, logged-in connection that is ready for a query.
pub struct Connection {
    reader: Reader,
    writer: Writer,
    greeting: Greeting,
}

impl Connection {
    /// Connects, protects, logs in, and waits until the server is ready.
    ///
    /// `settings` are sent with the start-up message, where they hold from the first statement
    /// on and `RESET` returns to them: `application_name`, `statement_timeout`, …. The encoding
    /// is always UTF8.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is then closed.
    pub async fn open(
        address: &Address,
        login: &Login,
        settings: &[(String, String)],
    ) -> Result<Connection, ConnectionError> {
        let open = async {
            let (reader, writer, peer) = halves(address).await?;
            login::log_in(reader, writer, peer, address, login, settings).await
        };
        let late = || ConnectionError::Late { to: address.to_string() };
        tokio::time::timeout(OPEN_WITHIN, open).await.map_err(|_| late())?
    }

    /// As [`Connection::open`], to the server itself: a pooler in between is refused.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is then closed.
    pub async fn open_direct(
        address: &Address,
        login: &Login,
        settings: &[(String, String)],
    ) -> Result<Connection, ConnectionError> {
        let opened = Connection::open(address, login, settings).await?;
        let to = address.to_string();
        let checked = tokio::time::timeout(OPEN_WITHIN, opened.directly(&to)).await;
        checked.map_err(|_| ConnectionError::Late { to })?
    }

    /// What was negotiated at the login.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Writes whole messages and flushes them.
    ///
    /// # Errors
    /// [`ConnectionError::Io`]; the connection is then of no use.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.writer.send(bytes).await
    }

    /// The next message, whole. Safe to drop and call again.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is then of no use.
    pub async fn receive(&mut self) -> Result<Frame, ConnectionError> {
        self.reader.receive().await
    }

    /// Both directions apart, to be used at the same time: a server that cannot get rid of its
    /// rows stops reading.
    pub fn split(self) -> (Reader, Writer, Greeting) {
        (self.reader, self.writer, self.greeting)
    }
}

/// The direction towards the server.
pub struct Writer {
    to: Box<dyn AsyncWrite + Send + Unpin>,
    with: String,
}

impl Writer {
    /// Writes whole messages and flushes them. Not safe to drop before it is done.
    ///
    /// # Errors
    /// [`ConnectionError::Io`]; the connection is then of no use.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let write = async {
            self.to.write_all(bytes).await?;
            self.to.flush().await
        };
        write.await.map_err(|source| ConnectionError::Io {
            doing: "write to",
            with: self.with.clone(),
            source,
        })
    }

    /// Says goodbye. The server rolls back what is open; errors no longer matter.
    pub async fn terminate(mut self) {
        let mut bytes = BytesMut::new();
        frontend::terminate(&mut bytes);
        let _ = self.send(&bytes).await;
        let _ = self.to.shutdown().await;
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Tcp(name) => write!(f, "{name}:{}", self.port),
            Host::Unix(directory) => {
                write!(f, "{}", directory.join(format!(".s.PGSQL.{}", self.port)).display())
            }
        }
    }
}

/// Where a connection really went, so that a cancel goes there too.
#[derive(Clone, Debug)]
enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A protected stream, in two halves.
async fn halves(address: &Address) -> Result<(Reader, Writer, Peer), ConnectionError> {
    let with = address.to_string();
    match &address.host {
        Host::Unix(directory) => {
            let path = directory.join(format!(".s.PGSQL.{}", address.port));
            let stream = UnixStream::connect(&path).await.map_err(io("connect to", &with))?;
            let (read, write) = stream.into_split();
            Ok((Reader::new(read, &with), Writer { to: Box::new(write), with }, Peer::Unix(path)))
        }
        Host::Tcp(name) => {
            let (stream, peer) = dial(name, address.port, &with).await?;
            match address.tls.connector(name, peer.ip(), &with)? {
                None => {
                    let (read, write) = stream.into_split();
                    let writer = Writer { to: Box::new(write), with: with.clone() };
                    Ok((Reader::new(read, &with), writer, Peer::Tcp(peer)))
                }
                Some(connector) => {
                    let stream = ask_for_tls(stream, &with).await?;
                    let stream = connector.connect(stream).await?;
                    let (read, write) = tokio::io::split(stream);
                    let writer = Writer { to: Box::new(write), with: with.clone() };
                    Ok((Reader::new(read, &with), writer, Peer::Tcp(peer)))
                }
            }
        }
    }
}

/// Connects to the first address of the name that answers.
async fn dial(
    name: &str,
    port: u16,
    with: &str,
) -> Result<(TcpStream, SocketAddr), ConnectionError> {
    let found = tokio::net::lookup_host((name, port)).await.map_err(io("resolve", with))?;
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in found {
        match dial_one(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(io("connect to", with)(last))
}

async fn dial_one(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(true)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks the server to go on in TLS. Exactly one byte is read: whatever a stranger pushed in
/// behind it belongs to the handshake, which fails on it (CVE-2021-23222).
async fn ask_for_tls(mut stream: TcpStream, with: &str) -> Result<TcpStream, ConnectionError> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(io("write to", with))?;
    match stream.read_u8().await.map_err(io("read from", with))? {
        b'S' => Ok(stream),
        _ => Err(ConnectionError::Tls {
            with: with.to_owned(),
            why: "the server does not offer it; switch its `ssl` on, or set tls = \"disable\" \
                  for this target"
                .to_owned(),
        }),
    }
}

fn io(doing: &'static str, with: &str) -> impl FnOnce(std::io::Error) -> ConnectionError {
    let with = with.to_owned();
    move |source| ConnectionError::Io { doing, with, source }
}
