//! Writing what clients send, for the side that faces the target.

use bytes::{BufMut, BytesMut};

use super::encode::{EncodeError, count, message, text, value};
use super::frontend::{Bind, Frontend, Named, Parse, StatementKind};

impl Frontend {
    /// Appends the message as it goes over the wire; on an error, nothing.
    ///
    /// # Errors
    /// [`EncodeError`] where it does not fit, or a text holds a NUL. A FunctionCall is never
    /// written, as it was never read whole.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Frontend::Authentication(data) => raw(out, b'p', data),
            Frontend::Query(sql) => message(out, b'Q', |out| text(out, sql)),
            Frontend::Parse(parse) => message(out, b'P', |out| write_parse(out, parse)),
            Frontend::Bind(bind) => message(out, b'B', |out| write_bind(out, bind)),
            Frontend::Describe(named) => message(out, b'D', |out| write_named(out, named)),
            Frontend::Execute { portal, max_rows } => message(out, b'E', |out| {
                text(out, portal)?;
                out.put_i32(*max_rows);
                Ok(())
            }),
            Frontend::Close(named) => message(out, b'C', |out| write_named(out, named)),
            Frontend::Sync => raw(out, b'S', &[]),
            Frontend::Flush => raw(out, b'H', &[]),
            Frontend::CopyData(data) => raw(out, b'd', data),
            Frontend::CopyDone => raw(out, b'c', &[]),
            Frontend::CopyFail(reason) => message(out, b'f', |out| text(out, reason)),
            Frontend::FunctionCall { .. } => Err(EncodeError::FunctionCall),
            Frontend::Terminate => raw(out, b'X', &[]),
        }
    }
}

fn raw(out: &mut BytesMut, tag: u8, data: &[u8]) -> Result<(), EncodeError> {
    message(out, tag, |out| {
        out.put_slice(data);
        Ok(())
    })
}

fn write_parse(out: &mut BytesMut, parse: &Parse) -> Result<(), EncodeError> {
    text(out, &parse.name)?;
    text(out, &parse.sql)?;
    count(out, parse.types.len())?;
    for oid in &parse.types {
        out.put_u32(*oid);
    }
    Ok(())
}

fn write_bind(out: &mut BytesMut, bind: &Bind) -> Result<(), EncodeError> {
    text(out, &bind.portal)?;
    text(out, &bind.statement)?;
    write_formats(out, &bind.formats)?;
    count(out, bind.values.len())?;
    for parameter in &bind.values {
        value(out, parameter.as_deref())?;
    }
    write_formats(out, &bind.results)
}

fn write_formats(out: &mut BytesMut, formats: &[bool]) -> Result<(), EncodeError> {
    count(out, formats.len())?;
    for binary in formats {
        out.put_i16(i16::from(*binary));
    }
    Ok(())
}

fn write_named(out: &mut BytesMut, named: &Named) -> Result<(), EncodeError> {
    out.put_u8(match named.kind {
        StatementKind::Statement => b'S',
        StatementKind::Portal => b'P',
    });
    text(out, &named.name)
}
