//! Where one message ends and the next begins.

use bytes::{Buf as _, Bytes, BytesMut};

/// The tag and the length.
pub(super) const HEADER: usize = 5;
/// A row above this size is passed on in parts, in bytes.
const MAX_WHOLE_ROW: usize = 64 * 1024;

/// One message after the start-up, exactly as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// The message's type, a letter.
    pub fn tag(&self) -> u8 {
        self.0[0]
    }

    /// What follows the length.
    pub fn body(&self) -> &[u8] {
        &self.0[HEADER..]
    }

    /// The whole, with tag and length.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Without its body, which may be secret or is data of the site.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", char::from(self.tag()).escape_default(), self.0.len())
    }
}

/// What [`Framer::stream`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streamed {
    /// A whole message.
    Frame(Frame),
    /// A piece of one long row (`DataRow`, `CopyData`), the first one with its header. The next
    /// message follows after its last byte; nothing needs to be known but that it is passed on.
    Part(Bytes),
}

/// Why bytes are not a message. The connection cannot go on: the place of the next is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is less than its own four bytes, or negative.
    #[error("a message with an impossible length")]
    Impossible,
    /// The length is over the limit.
    #[error("a message of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// As announced, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Cuts the bytes of one direction into messages.
#[derive(Clone, Debug)]
pub struct Framer {
    limit: usize,
    /// Bytes of a row that was begun in parts, and which have not come yet.
    rest: usize,
}

impl Framer {
    /// Takes whole messages of up to `limit` bytes.
    pub fn new(limit: usize) -> Framer {
        Framer { limit, rest: 0 }
    }

    /// Lets messages be as long as this from now on, in bytes.
    pub fn allow(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether [`Framer::stream`] has given out the beginning of a row and not yet its end.
    pub fn is_within_row(&self) -> bool {
        self.rest > 0
    }

    /// Takes the first message out of `buffer`, or `None` where it is not whole yet. What is left
    /// of a row that [`Framer::stream`] has begun is skipped: its bytes are no messages. An
    /// announced length costs no memory before its bytes have come.
    ///
    /// # Errors
    /// [`FrameError`] where no message can begin so; it stays so.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let skipped = self.rest.min(buffer.len());
        buffer.advance(skipped);
        self.rest -= skipped;
        match whole_length(buffer)? {
            None => Ok(None),
            Some(length) if length > self.limit => {
                Err(FrameError::TooLong { length, limit: self.limit })
            }
            Some(length) if buffer.len() < length => Ok(None),
            Some(length) => Ok(Some(Frame(buffer.split_to(length).freeze()))),
        }
    }

    /// As [`Framer::next`], but a long row comes in parts as its bytes do, and is never held as a
    /// whole: it may be of any length that the protocol knows.
    ///
    /// # Errors
    /// As [`Framer::next`].
    pub fn stream(&mut self, buffer: &mut BytesMut) -> Result<Option<Streamed>, FrameError> {
        if self.rest == 0 {
            match whole_length(buffer)? {
                Some(length) if length > MAX_WHOLE_ROW && is_row(buffer[0]) => self.rest = length,
                _ => return Ok(self.next(buffer)?.map(Streamed::Frame)),
            }
        }
        let part = buffer.split_to(self.rest.min(buffer.len()));
        self.rest -= part.len();
        Ok((!part.is_empty()).then(|| Streamed::Part(part.freeze())))
    }
}

fn is_row(tag: u8) -> bool {
    matches!(tag, b'D' | b'd')
}

/// The whole length, with the tag, of the message that the buffer begins with.
fn whole_length(buffer: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(mut length) = buffer.get(1..HEADER) else { return Ok(None) };
    Ok(Some(1 + announced(length.get_i32())?))
}

/// A length field, which counts its own four bytes.
pub(super) fn announced(length: i32) -> Result<usize, FrameError> {
    match usize::try_from(length) {
        Ok(length) if length >= 4 => Ok(length),
        _ => Err(FrameError::Impossible),
    }
}
