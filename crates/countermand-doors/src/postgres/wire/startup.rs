//! The packets that a connection begins with, which have no type.

use super::body::{Body, Malformed};
use super::frame::{FrameError, announced};
use bytes::Bytes;

/// The longest start-up packet, in bytes, as in the server.
pub const MAX_STARTUP: usize = 10_000;

const CANCEL: i32 = 80_877_102;
const SSL: i32 = 80_877_103;
const GSSENC: i32 = 80_877_104;

/// What a connection begins with.
#[derive(Clone, PartialEq, Eq)]
pub enum Startup {
    /// Asks for TLS.
    Ssl,
    /// Asks for GSSAPI encryption.
    GssEnc,
    /// Asks to cancel what another connection runs; no answer is sent.
    Cancel {
        /// The process.
        process_id: i32,
        /// Its secret, of protocol 3.0.
        secret: i32,
    },
    /// Begins a session.
    Session {
        /// The minor version of protocol 3 that the client speaks.
        minor: u16,
        /// `user`, `database`, `options` and settings, in order. Hostile text.
        parameters: Vec<(String, String)>,
    },
}

/// Why a start-up packet is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// What it holds is not what the protocol says.
    #[error(transparent)]
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
    #[error("parameter `{}` is given twice: give it once", .0.escape_debug())]
    Twice(String),
}

/// How many bytes follow the length field of a start-up packet.
///
/// # Errors
/// [`FrameError`] where there cannot be such a packet.
pub fn startup_length(field: i32) -> Result<usize, FrameError> {
    match announced(field)? {
        length if length > MAX_STARTUP => Err(FrameError::TooLong { length, limit: MAX_STARTUP }),
        length => Ok(length - 4),
    }
}

/// Reads what follows the length field of a start-up packet.
///
/// # Errors
/// [`StartupError`] where no connection can begin so.
pub fn startup(packet: Bytes) -> Result<Startup, StartupError> {
    let mut body = Body::new(b'0', packet);
    let startup = match body.i32("the protocol version")? {
        SSL => Startup::Ssl,
        GSSENC => Startup::GssEnc,
        CANCEL => {
            let (process_id, secret) = (body.i32("the process")?, body.i32("the secret")?);
            Startup::Cancel { process_id, secret }
        }
        version => session(version, &mut body)?,
    };
    body.end()?;
    Ok(startup)
}

fn session(version: i32, body: &mut Body) -> Result<Startup, StartupError> {
    let [a, b, c, d] = version.to_be_bytes();
    let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if major != 3 {
        return Err(StartupError::Version { major, minor });
    }
    let mut parameters: Vec<(String, String)> = Vec::new();
    loop {
        let name = body.text("a parameter")?;
        if name.is_empty() {
            return Ok(Startup::Session { minor, parameters });
        }
        if parameters.iter().any(|(known, _)| *known == name) {
            return Err(StartupError::Twice(name));
        }
        parameters.push((name, body.text("the value of a parameter")?));
    }
}

/// Without the secret of a cancel request.
impl std::fmt::Debug for Startup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Startup::Ssl => f.write_str("Ssl"),
            Startup::GssEnc => f.write_str("GssEnc"),
            Startup::Cancel { process_id, .. } => {
                f.debug_struct("Cancel").field("process_id", process_id).finish_non_exhaustive()
            }
            Startup::Session { minor, parameters } => f
                .debug_struct("Session")
                .field("minor", minor)
                .field("parameters", parameters)
                .finish(),
        }
    }
}
