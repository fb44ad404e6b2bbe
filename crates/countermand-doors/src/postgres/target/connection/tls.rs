//! How a connection to production is protected.

use super::ConnectionError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How a connection is protected. There is no TLS that checks nobody: it would look like safety.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// None over a Unix socket and to the loopback interface; otherwise as
    /// [`Tls::VerifyFull`] with this machine's roots.
    #[default]
    Automatic,
    /// None, wherever it goes: only where it is written down.
    Disable,
    /// The certificate must come from one of these roots and be for the server's name.
    VerifyFull {
        /// Whom to trust.
        roots: Roots,
        /// The name in the certificate, where it differs from the host.
        name: Option<String>,
    },
}

/// Whom to trust to name a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// What this machine trusts.
    Native,
    /// The certificates of this PEM file, and no others.
    File(PathBuf),
}

/// What makes a plain stream a protected one.
pub(super) struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    with: String,
}

impl Tls {
    /// The connector for this peer; none where the stream stays plain.
    pub(super) fn connector(
        &self,
        host: &str,
        peer: IpAddr,
        with: &str,
    ) -> Result<Option<Connector>, ConnectionError> {
        let native = Roots::Native;
        let (roots, name) = match self {
            Tls::Disable => return Ok(None),
            Tls::Automatic if peer.is_loopback() => return Ok(None),
            Tls::Automatic => (&native, host),
            Tls::VerifyFull { roots, name } => (roots, name.as_deref().unwrap_or(host)),
        };
        let failed = |why: String| ConnectionError::Tls { with: with.to_owned(), why };
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| failed(format!("`{name}` cannot stand in a certificate")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(e.to_string()))?
            .with_root_certificates(roots.load().map_err(failed)?)
            .with_no_client_auth();
        Ok(Some(Connector { config: Arc::new(config), name: server, with: with.to_owned() }))
    }
}

impl Roots {
    fn load(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        match self {
            Roots::Native => {
                let found = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(found.certs);
            }
            Roots::File(path) => {
                let certificates = CertificateDer::pem_file_iter(path)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|e| format!("cannot read roots from `{}`: {e}", path.display()))?;
                for certificate in certificates {
                    store.add(certificate).map_err(|e| {
                        format!("`{}` holds a bad certificate: {e}", path.display())
                    })?;
                }
            }
        }
        if store.is_empty() {
            return Err("there are no root certificates; name a file of them".to_owned());
        }
        Ok(store)
    }
}

impl Connector {
    pub(super) async fn connect(
        self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ConnectionError> {
        let connect = TlsConnector::from(self.config).connect(self.name, stream).await;
        connect.map_err(|e| ConnectionError::Tls { with: self.with, why: e.to_string() })
    }
}
