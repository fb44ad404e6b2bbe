//! Metrics, on an address of their own: for a Prometheus, which logs in nowhere. It answers one question
//! and lets nobody do anything.

use crate::server::{MOST_CONNECTIONS, converse};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use countermand_engine::Engine;
use countermand_engine::metrics::MEDIA_TYPE;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address cannot be taken.
    #[error(
        "no metrics at `{address}`: {source}; end what listens there, or choose another `listen` under \
         `[metrics]`"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What answers a Prometheus. It has its address and serves nobody yet.
pub struct Metrics {
    listener: TcpListener,
    address: SocketAddr,
    engine: Engine,
}

impl Metrics {
    /// Takes the address.
    ///
    /// # Errors
    /// [`MetricsError`].
    pub async fn bind(address: SocketAddr, engine: Engine) -> Result<Metrics, MetricsError> {
        let refused = |source| MetricsError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Metrics { listener, address, engine })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true.
    pub async fn serve(self, stop: watch::Receiver<bool>) {
        let here = self.address.ip().is_loopback();
        let router = Router::new().route("/metrics", get(tell)).with_state((self.engine, here));
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let (mut open, mut stopped) = (JoinSet::new(), stop.clone());
        loop {
            let accepted = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(_) = open.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                    let (router, stop) = (router.clone(), stop.clone());
                    open.spawn(async move {
                        let _place = place;
                        converse(stream, router, stop).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for metrics could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

async fn tell(State((engine, here)): State<(Engine, bool)>, headers: HeaderMap) -> Response {
    if here && !names_this_machine(&headers) {
        let why = "this answers on this machine alone, by its address or as `localhost`\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    match engine.metrics().await {
        Ok(text) => {
            let media = HeaderValue::from_static(MEDIA_TYPE);
            let plain = HeaderValue::from_static("nosniff");
            ([(header::CONTENT_TYPE, media), (header::X_CONTENT_TYPE_OPTIONS, plain)], text)
                .into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "metrics could not be told");
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read; see the gateway's log\n")
                .into_response()
        }
    }
}

/// A page in a browser that was made to lead here (DNS rebinding) names the server that it came from.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let of_socket = host.parse::<SocketAddr>().map(|address| address.ip());
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = of_socket.or_else(|_| bare.parse::<IpAddr>());
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    address.map_or(name == "localhost", |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_led_here_is_told_nothing() {
        let named = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            names_this_machine(&headers)
        };
        for host in ["localhost", "localhost:6490", "127.0.0.1", "127.0.0.1:1", "[::1]:1", "[::1]"]
        {
            assert!(named(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:6490", "10.0.0.1", "", "localhost:"] {
            assert_eq!(named(host), host == "localhost:", "{host}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }
}
