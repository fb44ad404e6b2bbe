//! The direction towards the agent.

use super::flight::Broken;
use crate::postgres::target::connection::ConnectionError;
use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// What is gathered before it is written, in bytes. An agent that does not read stops us here.
const LARGE: usize = 64 * 1024;

/// Gathers messages and writes them.
pub(super) struct Output {
    to: Box<dyn AsyncWrite + Send + Unpin>,
    buffer: BytesMut,
    /// A write was begun and its end is not known: what follows might land inside a message.
    writing: bool,
}

impl Output {
    pub(super) fn new(to: impl AsyncWrite + Send + Unpin + 'static) -> Output {
        Output { to: Box::new(to), buffer: BytesMut::new(), writing: false }
    }

    /// Appends whole messages, or the next part of one.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends messages of ours.
    pub(super) fn put(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        encode(&mut self.buffer);
    }

    pub(super) async fn drain_if_large(&mut self) -> Result<(), Broken> {
        if self.buffer.len() >= LARGE { self.flush().await } else { Ok(()) }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.writing = true;
        let write = async {
            self.to.write_all(&self.buffer).await?;
            self.to.flush().await
        };
        write.await.map_err(|source| {
            Broken::Client(ConnectionError::Io {
                doing: "write to",
                with: "the agent".to_owned(),
                source,
            })
        })?;
        self.writing = false;
        self.buffer.clear();
        Ok(())
    }

    /// The last words, where they can be said at a message's boundary.
    pub(super) async fn farewell(mut self, encode: impl FnOnce(&mut BytesMut)) {
        if !self.writing {
            encode(&mut self.buffer);
            // What waits may end inside a row; then nothing can be said, and the words are lost.
            let _ = self.flush().await;
        }
        let _ = self.to.shutdown().await;
    }
}
