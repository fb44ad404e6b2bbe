//! The first packet of a connection, which has no type.

use bytes::{Buf, Bytes, BytesMut};

use super::body::{Body, Malformed};
use super::frame::{FrameError, body_length};

/// The longest first packet, in bytes, as in the server.
pub const MAX_STARTUP: usize = 10_000;

const CANCEL: i32 = 80_877_102;
const SSL: i32 = 80_877_103;
const GSSENC: i32 = 80_877_104;

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// Asks for TLS.
    Ssl,
    /// Asks for GSSAPI encryption.
    GssEnc,
    /// Asks to cancel what another connection runs; no answer is sent.
    Cancel(CancelKey),
    /// Begins a session.
    Session {
        /// The minor version of protocol 3 that the client speaks.
        minor: u16,
        /// `user`, `database`, `options` and settings, in order. Hostile text.
        parameters: Vec<(String, String)>,
    },
}

/// What names a session to whoever wants to cancel its statement. Its secret is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// The process.
    pub process: i32,
    /// The secret; 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: Bytes,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey").field("process", &self.process).finish_non_exhaustive()
    }
}

/// Why a first packet is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// Its length is out of bounds.
    #[error("first packet: {0}")]
    Frame(#[from] FrameError),
    /// What it holds is not what the protocol says.
    #[error("first packet: {0}")]
    Malformed(#[from] Malformed),
    /// A major version other than 3.
    #[error("protocol {major}.{minor} is not spoken here: use version 3")]
    Version {
        /// The major version.
        major: u16,
        /// The minor version.
        minor: u16,
    },
    /// A parameter stands there twice, and servers differ in which one counts.
    #[error("parameter `{}` is given twice", .0.escape_debug())]
    Twice(String),
}

/// Takes the first packet out of `buffer`, or `None` where it is not whole yet.
///
/// # Errors
/// [`StartupError`] where no connection can begin so.
pub fn startup(buffer: &mut BytesMut) -> Result<Option<Startup>, StartupError> {
    let Some(mut head) = buffer.get(..4) else { return Ok(None) };
    let length = body_length(head.get_i32(), MAX_STARTUP - 4)?;
    if buffer.len() - 4 < length {
        return Ok(None);
    }
    buffer.advance(4);
    let mut body = Body::new(b'0', buffer.split_to(length).freeze());
    let startup = match body.i32("the protocol version")? {
        SSL => Startup::Ssl,
        GSSENC => Startup::GssEnc,
        CANCEL => return Ok(Some(cancel(body)?)),
        version => return session(version, body).map(Some),
    };
    body.end()?;
    Ok(Some(startup))
}

fn cancel(mut body: Body) -> Result<Startup, Malformed> {
    let process = body.i32("the process")?;
    let secret = body.rest();
    match secret.len() {
        4..=256 => Ok(Startup::Cancel(CancelKey { process, secret })),
        _ => Err(Malformed::Truncated { tag: '0', what: "the secret of a cancel request" }),
    }
}

fn session(version: i32, mut body: Body) -> Result<Startup, StartupError> {
    let [a, b, c, d] = version.to_be_bytes();
    let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if major != 3 {
        return Err(StartupError::Version { major, minor });
    }
    let mut parameters: Vec<(String, String)> = Vec::new();
    loop {
        let name = body.text("a parameter")?;
        if name.is_empty() {
            break;
        }
        if parameters.iter().any(|(known, _)| *known == name) {
            return Err(StartupError::Twice(name));
        }
        parameters.push((name, body.text("the value of a parameter")?));
    }
    body.end()?;
    Ok(Startup::Session { minor, parameters })
}
