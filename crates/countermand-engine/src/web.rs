//! Asks a URL of the site's: no redirects, no proxy of the environment's, a short answer, and this
//! machine's own roots.

use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;

/// An answer is one value, not a page.
const LONGEST: usize = 64 * 1024;

/// Asks web servers.
pub(crate) struct Web(reqwest::Client);

/// Why a URL gave no answer. Nothing of what it sent is in it.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Nobody can be asked.
    #[error("cannot ask web servers: {0}")]
    Setup(String),
    /// Nobody answered, or not in HTTP.
    #[error("`{url}` cannot be asked: {why}")]
    Unreachable {
        /// Which.
        url: String,
        /// Why, with what caused it.
        why: String,
    },
    /// It answered, and not with a success.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// Which.
        url: String,
        /// Its status.
        status: u16,
    },
    /// It answered with more than one value has.
    #[error("`{url}` answered with more than {LONGEST} bytes, or not with text")]
    NoValue {
        /// Which.
        url: String,
    },
}

impl Web {
    pub(crate) fn new() -> Result<Web, WebError> {
        client().map(Web)
    }

    /// The body of a success, as text.
    pub(crate) async fn get(&self, url: &str, within: Duration) -> Result<String, WebError> {
        let named = || url.to_owned();
        let unreachable = |error: reqwest::Error| WebError::Unreachable {
            url: named(),
            why: whole(&error.without_url()),
        };
        let mut answer = self.0.get(url).timeout(within).send().await.map_err(unreachable)?;
        if !answer.status().is_success() {
            return Err(WebError::Status { url: named(), status: answer.status().as_u16() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err(WebError::NoValue { url: named() });
            }
        }
        String::from_utf8(body).map_err(|_| WebError::NoValue { url: named() })
    }
}

/// What asks web servers of the site's: no redirects, no proxy, and this machine's own roots.
///
/// # Errors
/// [`WebError::Setup`].
pub fn client() -> Result<reqwest::Client, WebError> {
    let setup = |error: &dyn std::error::Error| WebError::Setup(whole(error));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("countermand/", env!("CARGO_PKG_VERSION")));
    client.build().map_err(|error| setup(&error))
}

/// An error with everything that caused it.
fn whole(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Answers every request with these bytes.
    async fn server(answer: Vec<u8>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _read = stream.read(&mut request).await;
                let _written = stream.write_all(&answer).await;
            }
        });
        url
    }

    fn http(head: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    async fn ask(answer: Vec<u8>) -> Result<String, WebError> {
        Web::new().unwrap().get(&server(answer).await, Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn the_body_of_a_success_is_the_answer() {
        assert_eq!(ask(http("200 OK", b"fine")).await.unwrap(), "fine");
        assert_eq!(ask(http("204 No Content", b"")).await.unwrap(), "");
    }

    #[tokio::test]
    async fn everything_else_is_no_answer() {
        for status in ["503 Service Unavailable", "404 Not Found", "401 Unauthorized"] {
            let error = ask(http(status, b"secret")).await.unwrap_err().to_string();
            assert!(error.contains(&status[..3]) && !error.contains("secret"), "{error}");
        }
        let elsewhere = server(http("200 OK", b"fine")).await;
        let away = http(&format!("302 Found\r\nlocation: {elsewhere}"), b"");
        assert!(ask(away).await.unwrap_err().to_string().contains("302"));
        for body in [vec![b'x'; LONGEST + 1], vec![0xff]] {
            assert!(matches!(ask(http("200 OK", &body)).await, Err(WebError::NoValue { .. })));
        }
        let error = ask(b"SSH-2.0-OpenSSH_9\r\n".to_vec()).await.unwrap_err();
        assert!(matches!(error, WebError::Unreachable { .. }), "{error}");
    }
}
