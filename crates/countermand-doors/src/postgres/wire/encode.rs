//! Writing messages: a length is computed from what was written, and what does not fit its field
//! is an error. A length that wraps would let the rest of a text be read as messages of its own
//! (RUSTSEC-2024-0363).

use bytes::{BufMut, BytesMut};

use super::frame::length;

/// A message or field is longer than its length field can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes or items do not fit the length field of a message")]
pub struct TooLong {
    /// How many there are.
    pub bytes: usize,
}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Something is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// A text holds a NUL, which would end it early.
    #[error("a text with a NUL byte cannot be sent")]
    Nul,
    /// The call of a function past the SQL parser.
    #[error("a function call is never sent")]
    FunctionCall,
}

/// Appends one message whose body `write` writes; on an error, nothing.
pub(super) fn message<E: From<TooLong>>(
    out: &mut BytesMut,
    tag: u8,
    write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.put_u8(tag);
    out.put_i32(0);
    let written = write(out).and_then(|()| Ok(length(out.len() - start - 5)?));
    match written {
        Ok(length) => {
            out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// A text and its NUL.
pub(super) fn text(out: &mut BytesMut, text: &str) -> Result<(), EncodeError> {
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::Nul);
    }
    out.put_slice(text.as_bytes());
    out.put_u8(0);
    Ok(())
}

/// The number of items of a list.
pub(super) fn count(out: &mut BytesMut, items: usize) -> Result<(), TooLong> {
    out.put_u16(u16::try_from(items).map_err(|_| TooLong { bytes: items })?);
    Ok(())
}

/// A value with its length before it.
pub(super) fn value(out: &mut BytesMut, value: Option<&[u8]>) -> Result<(), TooLong> {
    match value {
        None => out.put_i32(-1),
        Some(bytes) => {
            let length = i32::try_from(bytes.len());
            out.put_i32(length.map_err(|_| TooLong { bytes: bytes.len() })?);
            out.put_slice(bytes);
        }
    }
    Ok(())
}
