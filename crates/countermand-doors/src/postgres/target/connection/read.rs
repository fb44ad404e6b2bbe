//! One direction of a connection: frames, as they come.

use super::ConnectionError;
use crate::postgres::wire::{Frame, FrameError, Framer, Streamed};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest message that is held as a whole, in bytes. Rows may be longer and are streamed.
const MAX_FRAME: usize = 256 * 1024 * 1024;
/// As many bytes are read at a time.
const READ: usize = 32 * 1024;

/// Reads the frames of one direction.
pub struct Reader {
    from: Box<dyn AsyncRead + Send + Unpin>,
    with: String,
    framer: Framer,
    buffer: BytesMut,
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
        let framer = Framer::new(longest);
        Reader { from: Box::new(from), with: with.to_owned(), framer, buffer }
    }

    /// Lets messages be as long as this from now on, in bytes.
    pub(in crate::postgres) fn allow(&mut self, longest: usize) {
        self.framer.allow(longest);
    }

    /// The next message, whole; what is left of a long row that was begun is skipped. Safe to drop
    /// and call again.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is then of no use. A message above the limit is one.
    pub async fn receive(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            if let Some(frame) = self.framer.next(&mut self.buffer)? {
                return Ok(frame);
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
            if let Some(streamed) = self.framer.stream(&mut self.buffer)? {
                return Ok(streamed);
            }
            self.fill().await?;
        }
    }

    /// Whether the next message has begun to arrive: while it has, what goes to the client may
    /// wait for more.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether [`Reader::stream`] has given out the beginning of a row and not yet its end.
    pub(in crate::postgres) fn is_within_row(&self) -> bool {
        self.framer.is_within_row()
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

impl From<FrameError> for ConnectionError {
    fn from(error: FrameError) -> ConnectionError {
        ConnectionError::Protocol(error.to_string())
    }
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
