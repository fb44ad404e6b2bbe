//! `[metrics]`: where a Prometheus reads what the gateway counts.

use super::fault::{ConfigError, Source};
use super::file;
use std::net::SocketAddr;

/// The address that a Prometheus scrapes.
pub(super) fn read(
    source: &Source<'_>,
    metrics: &file::Metrics,
) -> Result<SocketAddr, ConfigError> {
    if !metrics.listen.ip().is_loopback() && !metrics.anyone_may_read {
        return Err(source.at(
            &["metrics", "listen"],
            "other machines can reach this address, and nobody logs in: names of agents and targets, and \
             how much they do, are read by whoever asks. Listen on 127.0.0.1, or say that you know with \
             `anyone_may_read = true`",
        ));
    }
    Ok(metrics.listen)
}
