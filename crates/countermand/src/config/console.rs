//! `[console]`: where people read, with a browser.

use super::fault::{ConfigError, Source};
use super::file;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The web console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Certificate chain and key, both PEM. None is possible on loopback only.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The name that browsers reach it by. None is possible on loopback only.
    pub name: Option<String>,
}

/// What the file says of it.
pub(super) fn read(
    source: &Source<'_>,
    folder: &Path,
    console: file::Console,
) -> Result<ConsoleConfig, ConfigError> {
    let file::Console { listen, tls, name } = console;
    if !listen.ip().is_loopback() && tls.is_none() {
        return Err(source.at(
            &["console", "listen"],
            "other machines can reach this address, and what is read there would cross the network \
             in the open: add `tls = { certificate = \"…\", key = \"…\" }`, or listen on 127.0.0.1",
        ));
    }
    if !listen.ip().is_loopback() && name.is_none() {
        return Err(source.at(
            &["console", "listen"],
            "nobody could tell this server from another one: add `name = \"…\"`, as browsers reach it \
             and as the certificate has it",
        ));
    }
    let is_name = |name: &String| {
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        !name.is_empty() && name.len() < 254 && name.chars().all(plain)
    };
    if name.as_ref().is_some_and(|name| !is_name(name)) {
        return Err(source.at(
            &["console", "name"],
            "write the name alone, in lower case, without `https://` and without a port",
        ));
    }
    let tls = tls.map(|tls| (folder.join(tls.certificate), folder.join(tls.key)));
    Ok(ConsoleConfig { listen, tls, name })
}
