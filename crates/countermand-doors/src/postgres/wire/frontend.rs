//! What clients send after the startup.

use bytes::Bytes;

use super::body::{Body, Malformed};
use super::frame::Frame;

/// A message of a client.
#[derive(Clone, PartialEq, Eq)]
pub enum Frontend {
    /// `p`: a password, or a step of SASL. What it is only the state of the login knows, and it
    /// is not printed.
    Authentication(Bytes),
    /// `Q`: statements as one text.
    Query(String),
    /// `P`: names a statement.
    Parse(Parse),
    /// `B`: gives parameters to a statement, which makes a portal.
    Bind(Bind),
    /// `D`: asks what a statement or portal takes and gives.
    Describe(Named),
    /// `E`: runs a portal.
    Execute {
        /// The portal.
        portal: String,
        /// How many rows to give at most; 0 is all.
        max_rows: i32,
    },
    /// `C`: forgets a statement or portal.
    Close(Named),
    /// `S`: ends an implicit transaction, and asks for ReadyForQuery.
    Sync,
    /// `H`: asks for what has been held back.
    Flush,
    /// `d`: rows, in COPY mode.
    CopyData(Bytes),
    /// `c`: the end of the rows.
    CopyDone,
    /// `f`: gives up COPY.
    CopyFail(String),
    /// `F`: calls a function by its object identifier, past the SQL parser. To be refused.
    FunctionCall {
        /// `pg_proc.oid`.
        function: u32,
    },
    /// `X`: ends the session.
    Terminate,
}

/// Names a statement.
#[derive(Clone, PartialEq, Eq)]
pub struct Parse {
    /// Its name; empty for the unnamed one.
    pub name: String,
    /// One statement. Hostile text.
    pub sql: String,
    /// Types of parameters, as object identifiers; 0 leaves one to the server.
    pub types: Vec<u32>,
}

/// Gives parameters to a statement.
#[derive(Clone, PartialEq, Eq)]
pub struct Bind {
    /// The portal; empty for the unnamed one.
    pub portal: String,
    /// The statement.
    pub statement: String,
    /// Whether parameters are binary: none for all text, one for all, or one each.
    pub formats: Vec<bool>,
    /// The parameters; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// Whether results shall be binary: none for all text, one for all, or one each.
    pub results: Vec<bool>,
}

/// A statement may hold passwords: only its length is printed.
impl std::fmt::Debug for Parse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parse")
            .field("name", &self.name)
            .field("sql", &self.sql.len())
            .field("types", &self.types)
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

/// A statement or a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// `S`: made by Parse.
    Statement,
    /// `P`: made by Bind.
    Portal,
}

/// A statement or a portal, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Which of the two.
    pub kind: StatementKind,
    /// Its name; empty for the unnamed one.
    pub name: String,
}

impl Frontend {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] where the protocol knows no such message.
    pub fn decode(frame: Frame) -> Result<Frontend, Malformed> {
        let mut body = Body::new(frame.tag, frame.body);
        let message = match frame.tag {
            b'p' => return Ok(Frontend::Authentication(body.rest())),
            b'd' => return Ok(Frontend::CopyData(body.rest())),
            b'F' => return Ok(Frontend::FunctionCall { function: body.u32("the function")? }),
            b'Q' => Frontend::Query(body.text("the statements")?),
            b'P' => Frontend::Parse(parse(&mut body)?),
            b'B' => Frontend::Bind(bind(&mut body)?),
            b'D' => Frontend::Describe(named(&mut body)?),
            b'C' => Frontend::Close(named(&mut body)?),
            b'E' => Frontend::Execute {
                portal: body.text("the portal")?,
                max_rows: body.i32("the number of rows")?,
            },
            b'f' => Frontend::CopyFail(body.text("the reason")?),
            b'S' => Frontend::Sync,
            b'H' => Frontend::Flush,
            b'c' => Frontend::CopyDone,
            b'X' => Frontend::Terminate,
            tag => return Err(Malformed::Unknown { tag: char::from(tag) }),
        };
        body.end()?;
        Ok(message)
    }
}

fn parse(body: &mut Body) -> Result<Parse, Malformed> {
    Ok(Parse {
        name: body.text("the name")?,
        sql: body.text("the statement")?,
        types: body.list("the types of parameters", |body| body.u32("a type"))?,
    })
}

fn bind(body: &mut Body) -> Result<Bind, Malformed> {
    let bind = Bind {
        portal: body.text("the portal")?,
        statement: body.text("the statement")?,
        formats: body.list("the formats of parameters", format)?,
        values: body.list("the parameters", |body| body.value("a parameter"))?,
        results: body.list("the formats of results", format)?,
    };
    let formats = bind.formats.len();
    match formats {
        0 | 1 => Ok(bind),
        _ if formats == bind.values.len() => Ok(bind),
        _ => Err(body.strange("the number of formats", i64::try_from(formats).unwrap_or(i64::MAX))),
    }
}

/// A format code: 0 for text, 1 for binary.
fn format(body: &mut Body) -> Result<bool, Malformed> {
    match body.i16("a format")? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(body.strange("a format", other)),
    }
}

fn named(body: &mut Body) -> Result<Named, Malformed> {
    let kind = match body.u8("`S` or `P`")? {
        b'S' => StatementKind::Statement,
        b'P' => StatementKind::Portal,
        other => return Err(body.strange("`S` or `P`", other)),
    };
    Ok(Named { kind, name: body.text("the name")? })
}

/// Without what may be secret or is data of the site.
impl std::fmt::Debug for Frontend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Frontend::Authentication(_) => f.write_str("Authentication(..)"),
            Frontend::Query(sql) => f.debug_tuple("Query").field(&sql.len()).finish(),
            Frontend::Parse(parse) => parse.fmt(f),
            Frontend::Bind(bind) => bind.fmt(f),
            Frontend::Describe(named) => f.debug_tuple("Describe").field(named).finish(),
            Frontend::Execute { portal, max_rows } => {
                f.debug_tuple("Execute").field(portal).field(max_rows).finish()
            }
            Frontend::Close(named) => f.debug_tuple("Close").field(named).finish(),
            Frontend::Sync => f.write_str("Sync"),
            Frontend::Flush => f.write_str("Flush"),
            Frontend::CopyData(data) => f.debug_tuple("CopyData").field(&data.len()).finish(),
            Frontend::CopyDone => f.write_str("CopyDone"),
            Frontend::CopyFail(_) => f.write_str("CopyFail(..)"),
            Frontend::FunctionCall { function } => {
                f.debug_tuple("FunctionCall").field(function).finish()
            }
            Frontend::Terminate => f.write_str("Terminate"),
        }
    }
}
