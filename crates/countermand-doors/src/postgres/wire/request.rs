//! What agents send after the start-up, as far as the door must understand it.

use super::body::{Body, Malformed};
use super::frame::Frame;
use bytes::Bytes;

/// `Parse`: gives a statement a name.
#[derive(Clone, PartialEq, Eq)]
pub struct Parse {
    /// Its name; empty for the unnamed one.
    pub name: String,
    /// One statement. Hostile text.
    pub sql: String,
    /// Types of parameters, as object identifiers; 0 leaves one to the server.
    pub oids: Vec<u32>,
}

/// `Bind`: gives parameters to a statement, which makes a portal.
#[derive(Clone, PartialEq, Eq)]
pub struct Bind {
    /// The portal; empty for the unnamed one.
    pub portal: String,
    /// The statement.
    pub statement: String,
    /// Formats of the parameters, 0 for text and 1 for binary: none for all text, one for all, or
    /// one each.
    pub formats: Vec<i16>,
    /// The parameters; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
}

impl Parse {
    /// Reads the message.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(frame: &Frame) -> Result<Parse, Malformed> {
        let mut body = Body::of(frame, b'P')?;
        let (name, sql) = (body.text("the name")?, body.text("the statement")?);
        let oids = body.list("the types of parameters", |body| body.u32("a type"))?;
        body.end()?;
        Ok(Parse { name, sql, oids })
    }
}

impl Bind {
    /// Reads the message. The formats wanted for the result are the server's to judge.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(frame: &Frame) -> Result<Bind, Malformed> {
        let mut body = Body::of(frame, b'B')?;
        let (portal, statement) = (body.text("the portal")?, body.text("the statement")?);
        let formats = body.list("the formats of parameters", |body| body.i16("a format"))?;
        let values = body.list("the parameters", |body| body.value("a parameter"))?;
        body.list("the formats of results", |body| body.i16("a format"))?;
        let known = formats.iter().all(|format| matches!(format, 0 | 1));
        if !known || (formats.len() > 1 && formats.len() != values.len()) {
            return Err(body.wrong("the formats of parameters"));
        }
        body.end()?;
        Ok(Bind { portal, statement, formats, values })
    }

    /// The format of the parameter at `index`, which there must be.
    pub fn format(&self, index: usize) -> i16 {
        match self.formats.as_slice() {
            [] => 0,
            [all] => *all,
            each => each[index],
        }
    }
}

/// `Query`: its text. Hostile.
///
/// # Errors
/// [`Malformed`].
pub fn query(frame: &Frame) -> Result<String, Malformed> {
    let mut body = Body::of(frame, b'Q')?;
    let sql = body.text("the statements")?;
    body.end()?;
    Ok(sql)
}

/// `Describe` or `Close`: of a statement (`S`) or a portal (`P`), and its name.
///
/// # Errors
/// [`Malformed`].
pub fn named(frame: &Frame) -> Result<(u8, String), Malformed> {
    let tag = if frame.tag() == b'C' { b'C' } else { b'D' };
    let mut body = Body::of(frame, tag)?;
    let (kind, name) = (body.u8("`S` or `P`")?, body.text("the name")?);
    if !matches!(kind, b'S' | b'P') {
        return Err(body.wrong("`S` or `P`"));
    }
    body.end()?;
    Ok((kind, name))
}

/// `Execute`: the portal. How many rows are wanted is between client and server.
///
/// # Errors
/// [`Malformed`].
pub fn executed(frame: &Frame) -> Result<String, Malformed> {
    let mut body = Body::of(frame, b'E')?;
    let portal = body.text("the portal")?;
    body.i32("the number of rows")?;
    body.end()?;
    Ok(portal)
}

/// `SASLInitialResponse`: the mechanism, and its first message.
///
/// # Errors
/// [`Malformed`].
pub fn sasl_initial(frame: &Frame) -> Result<(String, Bytes), Malformed> {
    let mut body = Body::of(frame, b'p')?;
    let mechanism = body.text("the mechanism")?;
    let first = body.value("the first message")?;
    let first = first.ok_or_else(|| body.wrong("the first message"))?;
    body.end()?;
    Ok((mechanism, first))
}

/// `SASLResponse`: what the mechanism says.
///
/// # Errors
/// [`Malformed`].
pub fn sasl_response(frame: &Frame) -> Result<Bytes, Malformed> {
    Ok(Body::of(frame, b'p')?.rest())
}

/// A statement may hold passwords: only its length is printed.
impl std::fmt::Debug for Parse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parse")
            .field("name", &self.name)
            .field("sql", &self.sql.len())
            .field("oids", &self.oids)
            .finish()
    }
}

/// Parameters are data of the site: only how many there are is printed.
impl std::fmt::Debug for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bind")
            .field("portal", &self.portal)
            .field("statement", &self.statement)
            .field("values", &self.values.len())
            .finish_non_exhaustive()
    }
}
