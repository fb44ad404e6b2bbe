//! What servers send, as far as door and target must understand it. All else goes on unread.

use super::body::{Body, Malformed};
use super::frame::Frame;
use bytes::Bytes;

/// One row in text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// `Authentication…`: a step of the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// The login is done.
    Ok,
    /// Asks for the password as it is.
    Password,
    /// Asks for an MD5 hash of the password.
    Md5,
    /// Asks for GSSAPI or SSPI.
    Gssapi,
    /// Asks for one of these mechanisms.
    Sasl(Vec<String>),
    /// A step of the mechanism.
    SaslContinue(Bytes),
    /// The last step of the mechanism.
    SaslFinal(Bytes),
    /// A way that is not known here, by its number.
    Other(i32),
}

impl Authentication {
    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(frame: &Frame) -> Result<Authentication, Malformed> {
        let mut body = Body::of(frame, b'R')?;
        let step = match body.i32("the kind of login")? {
            0 => Authentication::Ok,
            3 => Authentication::Password,
            5 => return Ok(Authentication::Md5),
            7..=9 => return Ok(Authentication::Gssapi),
            10 => Authentication::Sasl(mechanisms(&mut body)?),
            11 => return Ok(Authentication::SaslContinue(body.rest())),
            12 => return Ok(Authentication::SaslFinal(body.rest())),
            other => return Ok(Authentication::Other(other)),
        };
        body.end()?;
        Ok(step)
    }
}

fn mechanisms(body: &mut Body) -> Result<Vec<String>, Malformed> {
    let mut mechanisms = Vec::new();
    loop {
        let mechanism = body.text("a mechanism")?;
        if mechanism.is_empty() {
            return Ok(mechanisms);
        }
        mechanisms.push(mechanism);
    }
}

/// `BackendKeyData`: process id and secret, which cancel what runs.
///
/// # Errors
/// [`Malformed`].
pub fn key_data(frame: &Frame) -> Result<(i32, i32), Malformed> {
    let mut body = Body::of(frame, b'K')?;
    let key = (body.i32("the process")?, body.i32("the secret")?);
    body.end()?;
    Ok(key)
}

/// `ParameterStatus`: a setting that clients need to know, and its value.
///
/// # Errors
/// [`Malformed`].
pub fn parameter_status(frame: &Frame) -> Result<(String, String), Malformed> {
    let mut body = Body::of(frame, b'S')?;
    let pair = (body.text("the setting")?, body.text("the value")?);
    body.end()?;
    Ok(pair)
}

/// `ReadyForQuery`: in no transaction (`I`), in one (`T`), or in one that has failed (`E`).
///
/// # Errors
/// [`Malformed`].
pub fn ready(frame: &Frame) -> Result<u8, Malformed> {
    let mut body = Body::of(frame, b'Z')?;
    let status = body.u8("the transaction status")?;
    if !matches!(status, b'I' | b'T' | b'E') {
        return Err(body.wrong("the transaction status"));
    }
    body.end()?;
    Ok(status)
}

/// `CommandComplete`: its tag, such as `SELECT 3`.
///
/// # Errors
/// [`Malformed`].
pub fn command_tag(frame: &Frame) -> Result<String, Malformed> {
    let mut body = Body::of(frame, b'C')?;
    let tag = body.text("the command")?;
    body.end()?;
    Ok(tag)
}

/// `DataRow`, of columns in text.
///
/// # Errors
/// [`Malformed`].
pub fn row(frame: &Frame) -> Result<Row, Malformed> {
    let mut body = Body::of(frame, b'D')?;
    let row = body.list("the columns", |body| {
        let text = body.value("a column")?.map(|value| String::from_utf8(value.into()));
        text.transpose().map_err(|_| body.wrong("text in UTF-8"))
    })?;
    body.end()?;
    Ok(row)
}

/// `DataRow`, as it came: in whatever format was asked for.
///
/// # Errors
/// [`Malformed`].
pub fn values(frame: &Frame) -> Result<Vec<Option<Bytes>>, Malformed> {
    let mut body = Body::of(frame, b'D')?;
    let values = body.list("the columns", |body| body.value("a column"))?;
    body.end()?;
    Ok(values)
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the result.
    pub name: String,
    /// The table that it is a column of, by OID; 0 where it is none's.
    pub table: u32,
    /// Its type's OID.
    pub kind: u32,
}

/// `RowDescription`.
///
/// # Errors
/// [`Malformed`].
pub fn columns(frame: &Frame) -> Result<Vec<Column>, Malformed> {
    let mut body = Body::of(frame, b'T')?;
    let columns = body.list("the columns", |body| {
        let name = body.text("a column's name")?;
        let table = body.u32("its table")?;
        body.i16("its number")?;
        let kind = body.u32("its type")?;
        body.i16("its size")?;
        body.i32("its modifier")?;
        body.i16("its format")?;
        Ok(Column { name, table, kind })
    })?;
    body.end()?;
    Ok(columns)
}

/// `ParameterDescription`: the types of a statement's parameters, by OID.
///
/// # Errors
/// [`Malformed`].
pub fn parameters(frame: &Frame) -> Result<Vec<u32>, Malformed> {
    let mut body = Body::of(frame, b't')?;
    let types = body.list("the parameters", |body| body.u32("a type"))?;
    body.end()?;
    Ok(types)
}

/// `ErrorResponse`, and `NoticeResponse`: the server's words. Hostile text.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ErrorResponse {
    /// The SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// More, if there is more.
    pub detail: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl ErrorResponse {
    /// Reads as much as there is: an error that is cut, or in another encoding, is one all the
    /// same.
    pub fn read(frame: &Frame) -> ErrorResponse {
        let mut error = ErrorResponse::default();
        for field in frame.body().split(|byte| *byte == 0) {
            let Some((letter, text)) = field.split_first() else { continue };
            let text = || String::from_utf8_lossy(text).into_owned();
            match letter {
                b'C' => error.code = text(),
                b'M' => error.message = text(),
                b'D' => error.detail = Some(text()),
                b'H' => error.hint = Some(text()),
                _ => {}
            }
        }
        error
    }
}
