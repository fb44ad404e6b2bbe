//! One direction of a connection: frames, as they come.

use super::ConnectionError;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest message that is held as a whole, in bytes. Rows may be longer and are streamed.
pub const MAX_FRAME: usize = 256 * 1024 * 1024;
/// A row above this size is passed on in parts.
const MAX_WHOLE_ROW: usize = 64 * 1024;
const HEADER: usize = 5;
const READ: usize = 32 * 1024;

/// One message, exactly as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// The message's type.
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

    /// The whole, for `postgres_protocol`'s own parser and other readers of bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// What [`Reader::stream`] gives.
#[derive(Debug)]
pub enum Streamed {
    /// A whole message.
    Frame(Frame),
    /// A piece of one long row (`DataRow`, `CopyData`), the first one with its header. The next
    /// message follows after its last byte; nothing needs to be known but that it is passed on.
    Part(Bytes),
}

/// Reads the frames of one direction.
pub struct Reader {
    from: Box<dyn AsyncRead + Send + Unpin>,
    with: String,
    longest: usize,
    buffer: BytesMut,
    /// Bytes of a long row that were not given out yet.
    rest: usize,
}

impl Reader {
    pub(super) fn new(from: impl AsyncRead + Send + Unpin + 'static, with: &str) -> Reader {
        Reader::limited(from, with, MAX_FRAME)
    }

    /// A reader of somebody who is less trusted: no message may be longer than `longest` bytes.
    pub(in crate::postgres) fn limited(
        from: impl AsyncRead + Send + Unpin + 'static,
        with: &str,
        longest: usize,
    ) -> Reader {
        let buffer = BytesMut::with_capacity(READ);
        Reader { from: Box::new(from), with: with.to_owned(), longest, buffer, rest: 0 }
    }

    /// Lets messages be as long as this from now on, in bytes.
    pub(in crate::postgres) fn allow(&mut self, longest: usize) {
        self.longest = longest;
    }

    /// The next message, whole. Safe to drop and call again.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is then of no use. A message above [`MAX_FRAME`] is
    /// one.
    pub async fn receive(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            if let Some(length) = self.length()? {
                if length > self.longest {
                    let why = format!("a message of {length} bytes");
                    return Err(ConnectionError::Protocol(why));
                }
                if self.buffer.len() >= length {
                    return Ok(Frame(self.buffer.split_to(length).freeze()));
                }
                self.buffer.reserve(length - self.buffer.len());
            }
            self.fill().await?;
        }
    }

    /// The next message, or the next piece of a long row: rows of any size in bounded memory.
    /// Safe to drop and call again.
    ///
    /// # Errors
    /// As [`Reader::receive`].
    pub async fn stream(&mut self) -> Result<Streamed, ConnectionError> {
        loop {
            if self.rest > 0 && !self.buffer.is_empty() {
                let part = self.buffer.split_to(self.rest.min(self.buffer.len()));
                self.rest -= part.len();
                return Ok(Streamed::Part(part.freeze()));
            }
            if self.rest == 0 {
                match self.length()? {
                    Some(length) if length > MAX_WHOLE_ROW && is_row(self.buffer[0]) => {
                        self.rest = length;
                        continue;
                    }
                    Some(_) => return self.receive().await.map(Streamed::Frame),
                    None => {}
                }
            }
            self.fill().await?;
        }
    }

    /// Whether the next message has begun to arrive: while it has, what goes to the client may
    /// wait for more.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The whole length of the message that the buffer begins with.
    fn length(&self) -> Result<Option<usize>, ConnectionError> {
        let mut header = &self.buffer[..];
        if header.len() < HEADER {
            return Ok(None);
        }
        header.advance(1);
        match usize::try_from(header.get_i32()) {
            Ok(length) if length >= 4 => Ok(Some(length + 1)),
            _ => Err(ConnectionError::Protocol("a message with an impossible length".to_owned())),
        }
    }

    async fn fill(&mut self) -> Result<(), ConnectionError> {
        self.buffer.reserve(READ);
        let read = self.from.read_buf(&mut self.buffer).await;
        match read.map_err(super::io("read from", &self.with))? {
            0 => Err(ConnectionError::Closed),
            _ => Ok(()),
        }
    }
}

fn is_row(tag: u8) -> bool {
    matches!(tag, b'D' | b'd')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let (mut near, far) = tokio::io::duplex(3);
        let mut reader = Reader::new(far, "test");
        let sent = [frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat();
        let whole = sent.clone();
        let write = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut near, &sent).await.unwrap();
        });
        let (first, second) = (reader.receive().await.unwrap(), reader.receive().await.unwrap());
        assert_eq!((first.tag(), first.body()), (b'C', &b"SELECT 1\0"[..]));
        assert_eq!([&first.bytes()[..], second.bytes()].concat(), whole);
        write.await.unwrap();
        assert!(matches!(reader.receive().await, Err(ConnectionError::Closed)));
    }

    #[tokio::test]
    async fn a_long_row_is_streamed_and_what_follows_is_found() {
        let row = frame(b'D', &vec![7; 1_000_000]);
        let sent = [row.clone(), frame(b'C', b"SELECT 1\0")].concat();
        let mut reader = Reader::new(std::io::Cursor::new(sent), "test");
        let mut seen = Vec::new();
        let last = loop {
            match reader.stream().await.unwrap() {
                Streamed::Part(part) => {
                    assert!(part.len() <= 2 * READ, "{} bytes at once", part.len());
                    seen.extend_from_slice(&part);
                }
                Streamed::Frame(frame) => break frame,
            }
        };
        assert_eq!(seen, row);
        assert_eq!(last.tag(), b'C');
    }

    #[tokio::test]
    async fn an_impossible_length_is_an_error() {
        for length in [0_i32, 3, -1, i32::MIN] {
            let sent = [&b"D"[..], &length.to_be_bytes(), &[0; 8]].concat();
            let mut reader = Reader::new(std::io::Cursor::new(sent), "test");
            let error = reader.receive().await.unwrap_err();
            assert!(matches!(error, ConnectionError::Protocol(_)), "{length}: {error}");
        }
    }
}
