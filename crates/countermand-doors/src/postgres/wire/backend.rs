//! What servers send: what the door must understand. All else goes on as it came.

use bytes::Bytes;

use super::body::{Body, Malformed};
use super::frame::Frame;
use super::startup::CancelKey;

/// A message of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `R`: a step of the login.
    Authentication(Authentication),
    /// `K`: how to cancel this session's statements.
    KeyData(CancelKey),
    /// `S`: a setting the client needs to know.
    ParameterStatus {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
    /// `Z`: the next message may come.
    ReadyForQuery(TransactionStatus),
    /// `C`: a statement is done.
    CommandComplete(String),
    /// `E`: a statement failed.
    Error(ErrorFields),
    /// `N`: something to know.
    Notice(ErrorFields),
    /// Anything else.
    Other(Frame),
}

/// A step of the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// The login is done.
    Ok,
    /// Asks for the password as it is.
    CleartextPassword,
    /// Asks for the password, hashed with this salt.
    Md5Password([u8; 4]),
    /// Asks for one of these mechanisms.
    Sasl(Vec<String>),
    /// A step of the mechanism.
    SaslContinue(Bytes),
    /// The last step of the mechanism.
    SaslFinal(Bytes),
    /// A way that is not supported here, by its number.
    Unsupported(i32),
}

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: in no transaction.
    Idle,
    /// `T`: in a transaction.
    Open,
    /// `E`: in a transaction that can only be rolled back.
    Failed,
}

impl TransactionStatus {
    pub(super) fn letter(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::Open => b'T',
            TransactionStatus::Failed => b'E',
        }
    }
}

/// The fields of an error or notice, each under its letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields(pub Vec<(u8, String)>);

impl ErrorFields {
    /// `V`, else `S`: `ERROR`, `FATAL`, `NOTICE`, …
    pub fn severity(&self) -> &str {
        self.field(b'V').or_else(|| self.field(b'S')).unwrap_or_default()
    }

    /// `C`: the SQLSTATE.
    pub fn code(&self) -> &str {
        self.field(b'C').unwrap_or_default()
    }

    /// `M`: the message.
    pub fn message(&self) -> &str {
        self.field(b'M').unwrap_or_default()
    }

    /// The field of this letter.
    pub fn field(&self, letter: u8) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == letter).map(|(_, text)| text.as_str())
    }
}

impl Backend {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] where it is of a known type but not what the protocol says.
    pub fn decode(frame: Frame) -> Result<Backend, Malformed> {
        let mut body = Body::new(frame.tag, frame.body.clone());
        let message = match frame.tag {
            b'R' => return authentication(body).map(Backend::Authentication),
            b'K' => {
                let process = body.i32("the process")?;
                return Ok(Backend::KeyData(CancelKey { process, secret: body.rest() }));
            }
            b'S' => Backend::ParameterStatus {
                name: body.text("the setting")?,
                value: body.text("the value")?,
            },
            b'Z' => Backend::ReadyForQuery(status(&mut body)?),
            b'C' => Backend::CommandComplete(body.text("the command")?),
            b'E' => Backend::Error(fields(&mut body)?),
            b'N' => Backend::Notice(fields(&mut body)?),
            _ => return Ok(Backend::Other(frame)),
        };
        body.end()?;
        Ok(message)
    }
}

fn authentication(mut body: Body) -> Result<Authentication, Malformed> {
    let step = match body.i32("the kind of login")? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => {
            let salt = body.u32("the salt")?;
            Authentication::Md5Password(salt.to_be_bytes())
        }
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                let mechanism = body.text("a mechanism")?;
                if mechanism.is_empty() {
                    break Authentication::Sasl(mechanisms);
                }
                mechanisms.push(mechanism);
            }
        }
        11 => return Ok(Authentication::SaslContinue(body.rest())),
        12 => return Ok(Authentication::SaslFinal(body.rest())),
        other => return Ok(Authentication::Unsupported(other)),
    };
    body.end()?;
    Ok(step)
}

fn status(body: &mut Body) -> Result<TransactionStatus, Malformed> {
    match body.u8("the transaction status")? {
        b'I' => Ok(TransactionStatus::Idle),
        b'T' => Ok(TransactionStatus::Open),
        b'E' => Ok(TransactionStatus::Failed),
        other => Err(body.strange("the transaction status", other)),
    }
}

fn fields(body: &mut Body) -> Result<ErrorFields, Malformed> {
    let mut fields = Vec::new();
    loop {
        match body.u8("a field")? {
            0 => return Ok(ErrorFields(fields)),
            letter => fields.push((letter, body.text("the text of a field")?)),
        }
    }
}
