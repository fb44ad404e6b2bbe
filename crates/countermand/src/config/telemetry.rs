//! `[telemetry]`: where traces go.

use super::fault::{ConfigError, Source};
use super::file;

/// Where traces go when the file says nothing, as every program has it.
const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The collector's address that traces are sent to.
pub(super) fn read(source: &Source<'_>, telemetry: file::Telemetry) -> Result<String, ConfigError> {
    check(&telemetry.otlp).map_err(|why| source.at(&["telemetry", "otlp"], why))
}

/// The same, from the environment: the base address of the collector.
///
/// # Errors
/// In words: it is no address, or the network in between could be listened to.
pub(crate) fn of_environment() -> Result<Option<String>, String> {
    match std::env::var(VARIABLE) {
        Ok(base) if !base.is_empty() => {
            check(&base).map(Some).map_err(|why| format!("`{VARIABLE}`: {why}"))
        }
        _ => Ok(None),
    }
}

/// Where traces are posted, from the collector's base address.
fn check(base: &str) -> Result<String, &'static str> {
    let no_url =
        "name the collector's address, such as `https://collector.example:4318`, without a query";
    let url = url::Url::parse(base).map_err(|_| no_url)?;
    let host = url.host().ok_or(no_url)?;
    let here = match host {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a secret has no place here: `OTEL_EXPORTER_OTLP_HEADERS` carries it");
    }
    match url.scheme() {
        _ if url.query().is_some() || url.fragment().is_some() => Err(no_url),
        "https" => Ok(()),
        "http" if here => Ok(()),
        "http" => {
            Err("who did what would cross the network in the open: use `https`, or a collector on \
                       this machine")
        }
        _ => Err(no_url),
    }?;
    Ok(format!("{}/v1/traces", base.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_to_this_machine_or_through_tls() {
        for (base, goes) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
            ("https://otel.example/tenant", "https://otel.example/tenant/v1/traces"),
        ] {
            assert_eq!(check(base).as_deref(), Ok(goes));
        }
        for base in [
            "http://otel.example:4318",
            "http://localhost.evil.example",
            "https://u:p@otel.example",
            "https://otel.example/?x=1",
            "grpc://127.0.0.1:4317",
            "127.0.0.1:4318",
            "unix:/run/otel",
            "",
        ] {
            assert!(check(base).is_err(), "{base}");
        }
    }
}
