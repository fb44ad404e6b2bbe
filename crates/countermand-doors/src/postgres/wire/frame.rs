//! Where one message ends and the next begins.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::encode::TooLong;

/// The longest message taken from a client unless the door says otherwise, in bytes.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// One message after the startup: a type and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type, a letter.
    pub tag: u8,
    /// All after the length.
    pub body: Bytes,
}

impl Frame {
    /// Appends the message as it goes over the wire.
    ///
    /// # Errors
    /// [`TooLong`] where the length does not fit its field; nothing is appended then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), TooLong> {
        let length = length(self.body.len())?;
        out.put_u8(self.tag);
        out.put_i32(length);
        out.put_slice(&self.body);
        Ok(())
    }
}

/// The length field of a body of this many bytes, which counts itself.
pub(super) fn length(body: usize) -> Result<i32, TooLong> {
    let length = body.checked_add(4).and_then(|length| i32::try_from(length).ok());
    length.ok_or(TooLong { bytes: body })
}

/// Why bytes are not a message. The connection cannot go on: the place of the next is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is less than its own four bytes.
    #[error("message length {0} is less than 4")]
    TooShort(i64),
    /// The length is over the limit.
    #[error("a message of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// As announced.
        length: i64,
        /// The limit.
        limit: usize,
    },
}

/// Cuts a stream into messages.
#[derive(Clone, Copy, Debug)]
pub struct Framer {
    limit: usize,
}

impl Framer {
    /// Takes bodies of up to `limit` bytes.
    pub fn new(limit: usize) -> Framer {
        Framer { limit }
    }

    /// Takes the first message out of `buffer`, or `None` where it is not whole yet. An announced
    /// length costs no memory before its bytes have come.
    ///
    /// # Errors
    /// [`FrameError`] where no message can begin so.
    pub fn next(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(mut head) = buffer.get(..5) else { return Ok(None) };
        let tag = head.get_u8();
        let body = body_length(head.get_i32(), self.limit)?;
        if buffer.len() - 5 < body {
            return Ok(None);
        }
        buffer.advance(5);
        Ok(Some(Frame { tag, body: buffer.split_to(body).freeze() }))
    }
}

/// The length of a body, from the length field.
pub(super) fn body_length(length: i32, limit: usize) -> Result<usize, FrameError> {
    let too_long = FrameError::TooLong { length: i64::from(length), limit };
    match usize::try_from(i64::from(length) - 4) {
        Err(_) => Err(FrameError::TooShort(i64::from(length))),
        Ok(body) if body > limit => Err(too_long),
        Ok(body) => Ok(body),
    }
}
