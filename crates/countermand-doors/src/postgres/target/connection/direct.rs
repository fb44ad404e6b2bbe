//! Whether the server itself is behind a connection, and nothing that shares its sessions out.
//!
//! Settings, locks, temporary tables, the counters of a transaction: all that is known of a session is
//! the server's process that it talks to. A pooler gives that process to the next one.

use super::{Connection, ConnectionError};
use crate::postgres::wire::{ready, row};
use bytes::BytesMut;
use postgres_protocol::message::frontend;

/// Who answers. A pooler hands out a key of its own at the login, and not this process.
const WHO: &str = "SELECT pg_catalog.pg_backend_pid()::pg_catalog.text";
/// What no server answers, and pgpool does.
const POOL: &str = "SHOW pool_version";

impl Connection {
    /// Refuses the connection where a pooler stands before the server. One round trip.
    pub(super) async fn directly(mut self, to: &str) -> Result<Connection, ConnectionError> {
        let mut bytes = BytesMut::new();
        for question in [WHO, POOL, WHO] {
            frontend::query(question, &mut bytes).expect("a fixed text");
        }
        self.send(&bytes).await?;
        let (first, pool, second) =
            (self.answer().await?, self.answer().await?, self.answer().await?);
        let greeted = Some(self.greeting().cancel.process_id().to_string());
        let why = if first != greeted {
            "the process that greeted is not the one that answers"
        } else if second != first {
            "two questions were answered by two processes"
        } else if pool.is_some() {
            "it answers SHOW pool_version"
        } else {
            return Ok(self);
        };
        Err(ConnectionError::Pooler { to: to.to_owned(), why })
    }

    /// The first value of the answer to one simple query; none where the server had an error.
    async fn answer(&mut self) -> Result<Option<String>, ConnectionError> {
        let (mut value, mut failed) = (None, false);
        loop {
            let frame = self.receive().await?;
            match frame.tag() {
                b'D' => value = value.or(row(&frame)?.into_iter().next().flatten()),
                b'E' => failed = true,
                b'Z' => {
                    ready(&frame)?;
                    return Ok(value.filter(|_| !failed));
                }
                _ => {}
            }
        }
    }
}
