//! The start of a connection: who we are, proved without showing the password.

use super::{Address, Connection, ConnectionError, Greeting, Login, Peer, Reader, Writer};
use crate::postgres::wire::{
    Authentication, ErrorResponse, Frame, key_data, parameter_status, ready,
};
use bytes::BytesMut;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use secrecy::ExposeSecret as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

/// What cancels whatever runs on one connection at that moment.
#[derive(Clone)]
pub struct CancelKey {
    peer: Peer,
    process_id: i32,
    secret: i32,
}

impl CancelKey {
    /// The server process behind the connection: `pg_backend_pid()`.
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// Asks the server to cancel what runs now. There is no answer: the connection itself
    /// carries the error, if it came in time.
    ///
    /// The request goes to the address that was connected to and outside TLS, as `libpq` did
    /// until 17: what it could leak is the right to cancel once more.
    ///
    /// # Errors
    /// [`ConnectionError::Io`] where the server could not be reached.
    pub async fn cancel(&self) -> Result<(), ConnectionError> {
        let mut request = BytesMut::new();
        frontend::cancel_request(self.process_id, self.secret, &mut request);
        let with = format!("{:?}", self.peer);
        let send = async {
            match &self.peer {
                Peer::Tcp(address) => finish(TcpStream::connect(address).await?, &request).await,
                Peer::Unix(path) => finish(UnixStream::connect(path).await?, &request).await,
            }
        };
        send.await.map_err(super::io("send a cancel to", &with))
    }
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

/// Writes the request and waits until the server has taken it, which it shows by closing.
async fn finish(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    request: &[u8],
) -> std::io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut end = [0];
    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut end).await;
    Ok(())
}

pub(super) async fn log_in(
    reader: Reader,
    writer: Writer,
    peer: Peer,
    address: &Address,
    login: &Login,
    settings: &[(String, String)],
) -> Result<Connection, ConnectionError> {
    let mut start = LogIn { reader, writer, protected: protected(address, &peer), login };
    start.announce(&address.database, settings).await?;
    start.authenticate().await?;
    let (parameters, process_id, secret) = start.greeting().await?;
    let greeting = Greeting { parameters, cancel: CancelKey { peer, process_id, secret } };
    Ok(Connection { reader: start.reader, writer: start.writer, greeting })
}

/// Whether a password may go over this connection as it is.
fn protected(address: &Address, peer: &Peer) -> bool {
    match (peer, &address.tls) {
        (Peer::Unix(_), _) => true,
        (Peer::Tcp(_), super::Tls::Disable) => false,
        (Peer::Tcp(peer), super::Tls::Automatic) => !peer.ip().is_loopback(),
        (Peer::Tcp(_), super::Tls::VerifyFull { .. }) => true,
    }
}

struct LogIn<'a> {
    reader: Reader,
    writer: Writer,
    protected: bool,
    login: &'a Login,
}

impl LogIn<'_> {
    async fn announce(
        &mut self,
        database: &str,
        settings: &[(String, String)],
    ) -> Result<(), ConnectionError> {
        let ours = [
            ("user", self.login.user.as_str()),
            ("database", database),
            ("client_encoding", "UTF8"),
        ];
        let theirs = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.send(|out| frontend::startup_message(ours.into_iter().chain(theirs), out)).await
    }

    async fn authenticate(&mut self) -> Result<(), ConnectionError> {
        loop {
            let wanted = match self.asked().await? {
                Authentication::Ok => return Ok(()),
                Authentication::Password if self.protected => {
                    let secret = self.login.secret.read().await?;
                    let password = secret.expose_secret().as_bytes();
                    self.send(|out| frontend::password_message(password, out)).await?;
                    continue;
                }
                Authentication::Sasl(mechanisms) => return self.scram(&mechanisms).await,
                Authentication::Password => "the password itself, over a connection without TLS",
                Authentication::Md5 => "an md5 password",
                Authentication::Gssapi => "GSSAPI",
                _ => "an unknown login",
            };
            return Err(ConnectionError::Method { wanted });
        }
    }

    async fn scram(&mut self, mechanisms: &[String]) -> Result<(), ConnectionError> {
        if !mechanisms.iter().any(|mechanism| mechanism == SCRAM_SHA_256) {
            return Err(ConnectionError::Method { wanted: "SASL without SCRAM-SHA-256" });
        }
        let secret = self.login.secret.read().await?;
        // "Not supported", never "not offered": the latter fails where the server offers it.
        let binding = ChannelBinding::unsupported();
        let mut scram = ScramSha256::new(secret.expose_secret().as_bytes(), binding);
        self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out))
            .await?;
        let Authentication::SaslContinue(challenge) = self.asked().await? else {
            return Err(out_of_order());
        };
        scram.update(&challenge).map_err(|e| ConnectionError::Protocol(e.to_string()))?;
        self.send(|out| frontend::sasl_response(scram.message(), out)).await?;
        let Authentication::SaslFinal(proof) = self.asked().await? else {
            return Err(out_of_order());
        };
        // The server's own proof: one that does not know the password ends here.
        scram.finish(&proof).map_err(|e| ConnectionError::Protocol(e.to_string()))?;
        match self.asked().await? {
            Authentication::Ok => Ok(()),
            _ => Err(out_of_order()),
        }
    }

    /// The server's next step of the login.
    async fn asked(&mut self) -> Result<Authentication, ConnectionError> {
        Ok(Authentication::read(&self.next().await?)?)
    }

    async fn greeting(&mut self) -> Result<(Vec<(String, String)>, i32, i32), ConnectionError> {
        let mut parameters = Vec::new();
        let mut key = None;
        loop {
            let frame = self.next().await?;
            match frame.tag() {
                b'S' => parameters.push(parameter_status(&frame)?),
                b'K' => key = Some(key_data(&frame)?),
                _ => {
                    ready(&frame)?;
                    break;
                }
            }
        }
        let (process_id, secret) =
            key.ok_or_else(|| ConnectionError::Protocol("no BackendKeyData".to_owned()))?;
        Ok((parameters, process_id, secret))
    }

    /// The next message that is not a notice; the server's refusal is an error.
    async fn next(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            let frame = self.reader.receive().await?;
            match frame.tag() {
                b'N' | b'v' => {}
                b'E' => {
                    let ErrorResponse { code, message, .. } = ErrorResponse::read(&frame);
                    return Err(ConnectionError::Refused { code, message });
                }
                _ => return Ok(frame),
            }
        }
    }

    async fn send(
        &mut self,
        encode: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
    ) -> Result<(), ConnectionError> {
        let mut out = BytesMut::new();
        encode(&mut out).map_err(|e| ConnectionError::Protocol(e.to_string()))?;
        self.writer.send(&out).await
    }
}

fn out_of_order() -> ConnectionError {
    ConnectionError::Protocol("a step of the login out of order".to_owned())
}
