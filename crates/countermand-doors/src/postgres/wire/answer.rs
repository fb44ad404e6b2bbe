//! Writing what servers send, for the side that faces the agent.

use bytes::{BufMut, BytesMut};

use super::backend::TransactionStatus;
use super::encode::{EncodeError, count, message, text, value};
use super::startup::CancelKey;

/// The type of a text column: `text`.
const TEXT_OID: u32 = 25;

/// A message to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The login is done.
    AuthenticationOk,
    /// Asks for one of these SASL mechanisms.
    Sasl(&'a [&'a str]),
    /// A step of SASL.
    SaslContinue(&'a [u8]),
    /// The last step of SASL.
    SaslFinal(&'a [u8]),
    /// How to cancel this session's statements.
    KeyData(&'a CancelKey),
    /// A setting the client needs to know.
    ParameterStatus {
        /// The setting.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// An ErrorResponse or NoticeResponse.
    Report(Report<'a>),
    /// The next message may come.
    ReadyForQuery(TransactionStatus),
    /// A statement is done: `SELECT 3`.
    CommandComplete(&'a str),
    /// An empty statement is done.
    EmptyQueryResponse,
    /// Parse is done.
    ParseComplete,
    /// Bind is done.
    BindComplete,
    /// Close is done.
    CloseComplete,
    /// The statement gives no rows.
    NoData,
    /// The statement gives rows of text columns with these names.
    RowDescription(&'a [&'a str]),
    /// A row; `None` is NULL.
    DataRow(&'a [Option<&'a str>]),
}

/// An error or a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// The SQLSTATE, five characters.
    pub code: &'a str,
    /// One line.
    pub message: &'a str,
    /// More, if there is more.
    pub detail: Option<&'a str>,
    /// What to do next.
    pub hint: Option<&'a str>,
}

/// How bad a [`Report`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Ends the session.
    Fatal,
    /// Ends the statement.
    Error,
    /// Something has gone otherwise than expected.
    Warning,
    /// Something to know.
    Notice,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Fatal => "FATAL",
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
        }
    }

    fn tag(self) -> u8 {
        match self {
            Severity::Fatal | Severity::Error => b'E',
            Severity::Warning | Severity::Notice => b'N',
        }
    }
}

impl Answer<'_> {
    /// Appends the message as it goes over the wire; on an error, nothing. A NUL in a
    /// [`Report`] is left out, so that a report can always be made of hostile text.
    ///
    /// # Errors
    /// [`EncodeError`] where it does not fit, or a text other than a report's holds a NUL.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Answer::AuthenticationOk => login(out, 0, &[]),
            Answer::Sasl(mechanisms) => message(out, b'R', |out| {
                out.put_i32(10);
                mechanisms.iter().try_for_each(|name| text(out, name))?;
                out.put_u8(0);
                Ok(())
            }),
            Answer::SaslContinue(data) => login(out, 11, data),
            Answer::SaslFinal(data) => login(out, 12, data),
            Answer::KeyData(key) => message(out, b'K', |out| {
                out.put_i32(key.process);
                out.put_slice(&key.secret);
                Ok(())
            }),
            Answer::ParameterStatus { name, value } => message(out, b'S', |out| {
                text(out, name)?;
                text(out, value)
            }),
            Answer::Report(report) => {
                message(out, report.severity.tag(), |out| write_report(out, report))
            }
            Answer::ReadyForQuery(status) => message(out, b'Z', |out| {
                out.put_u8(status.letter());
                Ok(())
            }),
            Answer::CommandComplete(tag) => message(out, b'C', |out| text(out, tag)),
            Answer::EmptyQueryResponse => empty(out, b'I'),
            Answer::ParseComplete => empty(out, b'1'),
            Answer::BindComplete => empty(out, b'2'),
            Answer::CloseComplete => empty(out, b'3'),
            Answer::NoData => empty(out, b'n'),
            Answer::RowDescription(names) => message(out, b'T', |out| write_columns(out, names)),
            Answer::DataRow(values) => message(out, b'D', |out| {
                count(out, values.len())?;
                let mut values = values.iter();
                values.try_for_each(|cell| Ok(value(out, cell.map(str::as_bytes))?))
            }),
        }
    }
}

fn empty(out: &mut BytesMut, tag: u8) -> Result<(), EncodeError> {
    message(out, tag, |_| Ok(()))
}

fn login(out: &mut BytesMut, kind: i32, data: &[u8]) -> Result<(), EncodeError> {
    message(out, b'R', |out| {
        out.put_i32(kind);
        out.put_slice(data);
        Ok(())
    })
}

fn write_report(out: &mut BytesMut, report: &Report<'_>) -> Result<(), EncodeError> {
    let severity = report.severity.word();
    let fields = [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(report.code)),
        (b'M', Some(report.message)),
        (b'D', report.detail),
        (b'H', report.hint),
    ];
    for (letter, field) in fields {
        if let Some(field) = field {
            out.put_u8(letter);
            text(out, &field.replace('\0', ""))?;
        }
    }
    out.put_u8(0);
    Ok(())
}

fn write_columns(out: &mut BytesMut, names: &[&str]) -> Result<(), EncodeError> {
    count(out, names.len())?;
    for name in names {
        text(out, name)?;
        out.put_u32(0); // no table
        out.put_i16(0); // no column of one
        out.put_u32(TEXT_OID);
        out.put_i16(-1); // of any length
        out.put_i32(-1); // no modifier
        out.put_i16(0); // as text
    }
    Ok(())
}
