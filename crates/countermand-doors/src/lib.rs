//! What faces agents and what faces production: one folder per protocol.
#![forbid(unsafe_code)]

pub mod postgres;
pub mod secret;

use async_trait::async_trait;
use std::net::SocketAddr;
use tokio::sync::watch;

/// A protocol's side that faces agents. It is bound before anything else starts, so that a
/// second gateway fails at once, and serves when everything behind it is ready.
#[async_trait]
pub trait Door: Send {
    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// Serves agents until `stop` becomes true; then ends what is open, with words to the agent.
    async fn serve(self: Box<Self>, stop: watch::Receiver<bool>);
}
