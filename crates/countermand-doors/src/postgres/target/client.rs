//! The gateway's own conversation with production: one question at a time, over a connection that
//! no agent shares.
//!
//! Questions go as unnamed statements of the extended protocol with text parameters, so that a
//! name out of a catalogue is a value and never syntax.

use super::super::unit::UnitStatement;
use super::connection::{Address, CHECKS, Connection, ConnectionError, Login};
use crate::postgres::wire::{ErrorResponse, Frame, Malformed, command_tag, ready, row};
use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

const DATA_ROW: u8 = b'D';
const COMMAND_COMPLETE: u8 = b'C';
const COPY_IN: u8 = b'G';
const COPY_DATA: u8 = b'd';
const ERROR: u8 = b'E';
const READY: u8 = b'Z';
/// Settings under which our texts, and the rows we copy, mean one thing. As SQL writes them.
const PINNED: [(&str, &str); 12] = [
    ("search_path", "pg_catalog, pg_temp"),
    ("row_security", "off"),
    ("synchronize_seqscans", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("standard_conforming_strings", "on"),
    ("DateStyle", "'ISO, YMD'"),
    ("IntervalStyle", "'postgres'"),
    ("TimeZone", "'UTC'"),
    ("extra_float_digits", "1"),
    ("bytea_output", "'hex'"),
    ("xmloption", "'content'"),
    ("quote_all_identifiers", "off"),
];
/// A server that takes no cancel in this time is left to find the connection closed.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a restore point that are on their way at once.
const COPY_CHUNK: usize = 64 * 1024;

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientError {
    /// There is no connection, or no longer one.
    #[error("{0}")]
    Lost(String),
    /// The server refused; its own words.
    #[error("{message} (SQLSTATE {code})")]
    Server {
        /// Its SQLSTATE.
        code: String,
        /// Its message.
        message: String,
    },
    /// The other end of a copy, on this machine, failed.
    #[error("cannot copy rows: {0}")]
    Local(String),
}

impl ClientError {
    /// The SQLSTATE, where the server gave one.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            ClientError::Server { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl From<ConnectionError> for ClientError {
    fn from(error: ConnectionError) -> ClientError {
        ClientError::Lost(error.to_string())
    }
}

impl From<Malformed> for ClientError {
    fn from(error: Malformed) -> ClientError {
        ConnectionError::from(error).into()
    }
}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> ClientError {
        ClientError::Lost(format!("the server broke the protocol: {error}"))
    }
}

pub(super) use crate::postgres::wire::Row;

/// How long the server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// For one statement.
    pub(super) statement: Duration,
    /// To be granted one lock.
    pub(super) lock: Duration,
    /// Between two statements of a transaction.
    pub(super) idle: Duration,
}

/// A connection for the gateway's own use.
pub(super) struct Client {
    connection: Connection,
    status: u8,
    /// Whether a question was sent that is not answered to its end.
    asks: bool,
    limits: Limits,
    /// The role that conditions of a unit are counted as: the agents' own, so that a count tells
    /// nobody what they could not read themselves.
    pub(super) counts_as: Option<String>,
}

impl Client {
    /// Connects with settings under which our texts mean one thing.
    pub(super) async fn open(
        address: &Address,
        login: &Login,
        limits: Limits,
    ) -> Result<Client, ClientError> {
        let pinned = PINNED.map(|(name, value)| (name, value.trim_matches('\'').to_owned()));
        Client::open_with(address, login, limits, pinned.into()).await
    }

    /// Connects as agents do: with the settings that role and database have.
    pub(super) async fn open_plain(
        address: &Address,
        login: &Login,
        limits: Limits,
    ) -> Result<Client, ClientError> {
        Client::open_with(address, login, limits, Vec::new()).await
    }

    async fn open_with(
        address: &Address,
        login: &Login,
        limits: Limits,
        pinned: Vec<(&'static str, String)>,
    ) -> Result<Client, ClientError> {
        let millis = |limit: Duration| limit.as_millis().to_string();
        let settings = [
            ("application_name", "countermand".to_owned()),
            ("statement_timeout", millis(limits.statement)),
            ("lock_timeout", millis(limits.lock)),
            ("idle_in_transaction_session_timeout", millis(limits.idle)),
            // Whoever leaves in the middle leaves no locks behind.
            (CHECKS.0, CHECKS.1.to_owned()),
        ];
        let settings = settings.into_iter().chain(pinned);
        let settings: Vec<(String, String)> =
            settings.map(|(name, value)| (name.to_owned(), value)).collect();
        let connection = Connection::open_direct(address, login, &settings).await?;
        Ok(Client { connection, status: b'I', asks: false, limits, counts_as: None })
    }

    /// Whether the transaction that was begun is open and has not failed.
    pub(super) fn in_transaction(&self) -> bool {
        self.status == b'T'
    }

    /// Lets the rest of the transaction take as long as copying takes: nobody knows beforehand.
    pub(super) async fn patient(&mut self) -> Result<(), ClientError> {
        let sql = "SET LOCAL statement_timeout TO 0;
            SET LOCAL idle_in_transaction_session_timeout TO 0";
        self.batch(sql).await.map(drop)
    }

    /// Sets every limit, whatever a statement of the unit has made of it.
    pub(super) async fn limit(&mut self) -> Result<(), ClientError> {
        let Limits { statement, lock, idle } = &self.limits;
        let sql = format!(
            "SET LOCAL statement_timeout TO {}; SET LOCAL lock_timeout TO {};
             SET LOCAL idle_in_transaction_session_timeout TO {}",
            statement.as_millis(),
            lock.as_millis(),
            idle.as_millis()
        );
        self.batch(&sql).await.map(drop)
    }

    /// Sets the limits again that [`Client::patient`] has lifted.
    pub(super) async fn impatient(&mut self) -> Result<(), ClientError> {
        let (statement, idle) = (self.limits.statement.as_millis(), self.limits.idle.as_millis());
        let sql = format!(
            "SET LOCAL statement_timeout TO {statement};
             SET LOCAL idle_in_transaction_session_timeout TO {idle}"
        );
        self.batch(&sql).await.map(drop)
    }

    /// Takes back every setting that a unit may have made and that our own texts depend on, for
    /// the rest of the transaction.
    pub(super) async fn pin(&mut self) -> Result<(), ClientError> {
        let mut sql = String::from("SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE NONE;");
        for (name, value) in PINNED {
            sql.push_str(&format!(" SET LOCAL {name} TO {value};"));
        }
        self.batch(&sql).await.map(drop)
    }

    /// Asks one question; parameters are texts whose types the server infers.
    pub(super) async fn query(
        &mut self,
        sql: &str,
        parameters: &[&str],
    ) -> Result<Vec<Row>, ClientError> {
        let mut out = BytesMut::new();
        frontend::parse("", sql, [], &mut out)?;
        let write = |value: &&str, to: &mut BytesMut| {
            to.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        };
        bind(parameters.iter(), &[], write, &mut out)?;
        finish(&mut out)?;
        Ok(self.converse(&out).await?.rows)
    }

    /// Asks a question that is not ours, of which no more than so many rows are wanted.
    pub(super) async fn query_at_most(
        &mut self,
        sql: &str,
        rows: i32,
    ) -> Result<Vec<Row>, ClientError> {
        let mut out = BytesMut::new();
        frontend::parse("", sql, [], &mut out)?;
        let none = |_: &(), _: &mut BytesMut| Ok(IsNull::Yes);
        bind([].iter(), &[], none, &mut out)?;
        frontend::execute("", rows, &mut out)?;
        frontend::sync(&mut out);
        Ok(self.converse(&out).await?.rows)
    }

    /// Runs a text of our own, or of `pg_restore`, that may hold several statements.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<String, ClientError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out)?;
        Ok(self.converse(&out).await?.tag)
    }

    /// Runs one judged statement, exactly, and returns the server's command tag.
    pub(super) async fn execute(
        &mut self,
        statement: &UnitStatement,
    ) -> Result<String, ClientError> {
        Ok(self.converse(&judged(statement)?).await?.tag)
    }

    /// Lets the server say whether one judged statement means anything, and lock what it names.
    pub(super) async fn analyse(&mut self, statement: &UnitStatement) -> Result<(), ClientError> {
        let mut out = BytesMut::new();
        let types = statement.parameters.iter().map(|parameter| parameter.oid);
        frontend::parse("", &statement.sql, types, &mut out)?;
        frontend::sync(&mut out);
        self.converse(&out).await.map(drop)
    }

    /// As [`Client::execute`], for a judged question.
    pub(super) async fn ask(&mut self, statement: &UnitStatement) -> Result<Vec<Row>, ClientError> {
        Ok(self.converse(&judged(statement)?).await?.rows)
    }

    /// Runs `COPY … TO STDOUT` into a writer.
    pub(super) async fn copy_out(
        &mut self,
        sql: &str,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ClientError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out)?;
        self.asks = true;
        self.connection.send(&out).await?;
        let mut refused = None;
        loop {
            let frame = self.connection.receive().await?;
            match frame.tag() {
                COPY_DATA => to
                    .write_all(frame.body())
                    .await
                    .map_err(|error| ClientError::Local(error.to_string()))?,
                ERROR => refused = Some(server(&frame)),
                READY => {
                    self.ready(&frame)?;
                    return refused.map_or(Ok(()), Err);
                }
                _ => {}
            }
        }
    }

    /// Runs `COPY … FROM STDIN` out of a reader.
    pub(super) async fn copy_in(
        &mut self,
        sql: &str,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<String, ClientError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out)?;
        self.asks = true;
        self.connection.send(&out).await?;
        loop {
            let frame = self.connection.receive().await?;
            match frame.tag() {
                COPY_IN => break,
                ERROR => {
                    let refused = server(&frame);
                    self.converse(&[]).await?;
                    return Err(refused);
                }
                _ => {}
            }
        }
        // The server reads all of it, also after an error of its own.
        let mut chunk = vec![0; COPY_CHUNK];
        loop {
            let read = from.read(&mut chunk).await;
            let read = read.map_err(|error| ClientError::Local(error.to_string()))?;
            if read == 0 {
                break;
            }
            out.clear();
            frontend::CopyData::new(&chunk[..read])?.write(&mut out);
            self.connection.send(&out).await?;
        }
        out.clear();
        frontend::copy_done(&mut out);
        Ok(self.converse(&out).await?.tag)
    }

    /// Sends, and takes all there is up to the server's being ready again.
    async fn converse(&mut self, out: &[u8]) -> Result<Answer, ClientError> {
        self.asks = true;
        if !out.is_empty() {
            self.connection.send(out).await?;
        }
        let mut answer = Answer::default();
        let mut refused = None;
        loop {
            let frame = self.connection.receive().await?;
            match frame.tag() {
                DATA_ROW => answer.rows.push(row(&frame)?),
                COMMAND_COMPLETE => answer.tag = command_tag(&frame)?,
                ERROR => refused = Some(server(&frame)),
                // A unit carries no rows for it. Both messages: the server, in copy mode, may
                // have read past the Sync that came with the statement.
                COPY_IN => {
                    let mut no = BytesMut::new();
                    frontend::copy_fail("a unit carries no rows", &mut no)?;
                    frontend::sync(&mut no);
                    self.connection.send(&no).await?;
                }
                READY => {
                    self.ready(&frame)?;
                    return refused.map_or(Ok(answer), Err);
                }
                _ => {}
            }
        }
    }

    fn ready(&mut self, frame: &Frame) -> Result<(), ClientError> {
        self.status = ready(frame)?;
        self.asks = false;
        Ok(())
    }
}

impl Drop for Client {
    /// Whoever turns away in the middle of a question has the server stop at once, not at the end
    /// of a statement. What cannot be cancelled finds the connection closed, which ends it as well.
    fn drop(&mut self) {
        let Some(runtime) = Handle::try_current().ok().filter(|_| self.asks) else { return };
        let cancel = self.connection.greeting().cancel.clone();
        runtime.spawn(async move {
            if !matches!(timeout(CANCEL_WITHIN, cancel.cancel()).await, Ok(Ok(()))) {
                tracing::warn!("a statement could not be cancelled; its connection is closed");
            }
        });
    }
}

/// What a conversation brought.
#[derive(Debug, Default)]
struct Answer {
    rows: Vec<Row>,
    tag: String,
}

/// A judged statement as messages: parameters with the types, formats and bytes that were judged.
fn judged(statement: &UnitStatement) -> Result<BytesMut, ClientError> {
    let mut out = BytesMut::new();
    let types = statement.parameters.iter().map(|parameter| parameter.oid);
    frontend::parse("", &statement.sql, types, &mut out)?;
    let formats: Vec<i16> = statement.parameters.iter().map(|p| p.format).collect();
    let write = |parameter: &super::super::unit::Parameter, to: &mut BytesMut| {
        let Some(value) = &parameter.value else { return Ok(IsNull::Yes) };
        to.extend_from_slice(&hex::decode(value)?);
        Ok(IsNull::No)
    };
    bind(statement.parameters.iter(), &formats, write, &mut out)?;
    finish(&mut out)?;
    Ok(out)
}

fn bind<T>(
    values: impl Iterator<Item = T>,
    formats: &[i16],
    write: impl FnMut(T, &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>>,
    out: &mut BytesMut,
) -> Result<(), ClientError> {
    let bound = frontend::bind("", "", formats.iter().copied(), values, write, [0_i16], out);
    bound.map_err(|error| match error {
        frontend::BindError::Serialization(error) => ClientError::Local(error.to_string()),
        frontend::BindError::Conversion(error) => ClientError::Local(error.to_string()),
    })
}

fn finish(out: &mut BytesMut) -> Result<(), ClientError> {
    frontend::describe(b'P', "", out)?;
    frontend::execute("", 0, out)?;
    frontend::sync(out);
    Ok(())
}

fn server(error: &Frame) -> ClientError {
    let ErrorResponse { code, message, detail, .. } = ErrorResponse::read(error);
    let message = match detail {
        Some(detail) => format!("{message}; {detail}"),
        None => message,
    };
    ClientError::Server { code, message }
}
