//! What a set of rows is, whatever their order: a table that was filled again may keep its rows
//! in another one.

use super::{SavedError, io};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// A multiset of rows: how many, and the sum of their SHA-256 modulo 2^256. Tells apart what
/// accidents make; the files themselves have digests of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Content {
    rows: u64,
    sum: [u8; 32],
}

impl Content {
    /// The rows of a copy.
    pub(in super::super) fn of_file(path: &Path) -> Result<Content, SavedError> {
        let mut from = BufReader::new(File::open(path).map_err(io("open", path))?);
        let (mut content, mut line) = (Content::default(), Vec::new());
        loop {
            line.clear();
            if from.read_until(b'\n', &mut line).map_err(io("read", path))? == 0 {
                return Ok(content);
            }
            content.add(&line);
        }
    }

    /// One row more, with its line end.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.rows += 1;
        let mut carry = 0;
        for (sum, byte) in self.sum.iter_mut().zip(Sha256::digest(line)) {
            let total = u16::from(*sum) + u16::from(byte) + carry;
            *sum = (total & 0xff) as u8;
            carry = total >> 8;
        }
    }
}

/// Takes a copy and keeps only what it is.
#[derive(Debug, Default)]
pub(in super::super) struct Counting {
    content: Content,
    line: Vec<u8>,
}

impl Counting {
    /// What was written.
    pub(in super::super) fn content(self) -> Content {
        self.content
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.content.add(&line);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn content(pieces: &[&str]) -> Content {
        let mut counting = Counting::default();
        for piece in pieces {
            counting.write_all(piece.as_bytes()).await.unwrap();
        }
        counting.content()
    }

    #[tokio::test]
    async fn order_does_not_matter_and_everything_else_does() {
        let one = content(&["a\nb\n", "b\n"]).await;
        assert_eq!(one, content(&["b\n", "a", "\nb\n"]).await);
        for other in [&["a\nb\n"][..], &["a\na\nb\n"], &["a\nb\nc\n"], &["ab\nb\n\n"]] {
            assert_ne!(one, content(other).await, "{other:?}");
        }
    }
}
