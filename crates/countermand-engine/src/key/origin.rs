//! The page that a passkey was made on: scheme, name and port, as browsers write them.

use std::fmt::{self, Display};
use std::str::FromStr;

/// The origin of a page on which passkeys can be made: `https://gate.example`, with its port where
/// that is not 443, or `http://localhost` with a port. Spelled as browsers spell it, and compared so:
/// another port of this machine is another origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    text: String,
    host: std::ops::Range<usize>,
}

/// Why a text is no such origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It has no scheme that browsers make passkeys under.
    #[error("`{0}` is neither `https://NAME` nor `http://localhost`")]
    Scheme(String),
    /// It has no name that passkeys can belong to.
    #[error("`{0}` has no name that a passkey can belong to: addresses have none")]
    Name(String),
    /// Its port is none, or is said though it goes without saying.
    #[error("`{0}` does not say its port as browsers do")]
    Port(String),
}

impl Origin {
    /// The name that a passkey belongs to: WebAuthn's RP id. The port is no part of it.
    pub fn host(&self) -> &str {
        &self.text[self.host.clone()]
    }

    /// As browsers write it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Origin, OriginError> {
        let shown = || countermand_core::visible::line(text);
        let schemes = [("https://", "443"), ("http://", "80")];
        let scheme = schemes.into_iter().find(|(scheme, _)| text.starts_with(scheme));
        let (scheme, usual) = scheme.ok_or_else(|| OriginError::Scheme(shown()))?;
        let rest = &text[scheme.len()..];
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        if !is_name(host) {
            return Err(OriginError::Name(shown()));
        }
        if scheme == "http://" && host != "localhost" {
            return Err(OriginError::Scheme(shown()));
        }
        if port.is_some_and(|port| !is_port(port) || port == usual) {
            return Err(OriginError::Port(shown()));
        }
        let host = scheme.len()..scheme.len() + host.len();
        Ok(Origin { text: text.to_owned(), host })
    }
}

/// Whether it is a name in lower case that is no address: the last label of a name has a letter.
fn is_name(host: &str) -> bool {
    let of_labels = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(of_labels)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    // `0x7f` is a number to a browser.
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    host.len() <= 253 && host.split('.').all(is_label) && !is_number
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_spelled_as_browsers_spell_it() {
        for good in [
            "https://gate.example",
            "https://gate.example:8443",
            "http://localhost:6480",
            "http://localhost",
            "https://localhost:6480",
            "https://xn--bcher-kva.example",
        ] {
            let origin: Origin = good.parse().unwrap();
            assert_eq!(origin.as_str(), good);
        }
        let origin: Origin = "https://gate.example:8443".parse().unwrap();
        assert_eq!(origin.host(), "gate.example");
    }

    #[test]
    fn nothing_else_is_one() {
        for bad in [
            "",
            "gate.example",
            "HTTPS://gate.example",
            "https://Gate.example",
            "https://gate.example/",
            "https://gate.example:443",
            "http://localhost:80",
            "http://gate.example",
            "http://localhost.example",
            "https://gate.example.",
            "https://.example",
            "https://-a.example",
            "https://127.0.0.1",
            "https://0x7f",
            "https://127.1:6480",
            "https://[::1]:6480",
            "https://user@gate.example",
            "https://gate.example:0",
            "https://gate.example:08443",
            "https://gate.example:70000",
            "https://gate.example:+1",
            "https://gate.example:",
            "https://bücher.example",
            "android:apk-key-hash:AA",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
