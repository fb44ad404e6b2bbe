//! What is behind a target's address: the server itself and no pooler, with the same time, and not
//! the database of another target.

use super::{Findings, Verdict};
use crate::at_door::simple;
use crate::config::Config;
use countermand_core::name::TargetName;
use countermand_doors::postgres::target::connection::{Connection, Greeting};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Clocks that are further apart are said, in seconds.
const APART: i64 = 60;
/// What a connection calls itself, to see whether the server hears it.
pub(super) const CALLED: &str = "countermand-doctor";

const SERVER: &str = "
SELECT pg_catalog.json_build_array(pg_catalog.pg_backend_pid(),
  pg_catalog.current_setting('application_name'),
  pg_catalog.floor(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())),
  (SELECT s.system_identifier FROM pg_catalog.pg_control_system() s)::pg_catalog.text,
  (SELECT d.oid FROM pg_catalog.pg_database d
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())::pg_catalog.text,
  pg_catalog.pg_postmaster_start_time()::pg_catalog.text)::pg_catalog.text";

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    process: i32,
    called: String,
    now: i64,
    /// System identifier and database: equal in a physical copy.
    identity: (String, String),
    /// Not equal there.
    started: String,
}

/// Asks the server behind an open connection, twice: a pooler may answer with two servers.
pub(super) async fn ask(
    found: &mut Findings,
    name: &TargetName,
    connection: &mut Connection,
) -> Option<Server> {
    let what = format!("{name} server");
    let pool = simple(connection, "SHOW pool_version").await.is_ok();
    let first = found.check(&what, said(connection).await, |_| "answers".to_owned())?;
    let second = said(connection).await.ok()?;
    let mut signs = signs(connection.greeting(), &first, &second);
    if pool {
        signs.push("it answers SHOW pool_version".to_owned());
    }
    if !signs.is_empty() {
        let words = format!(
            "a pooler stands before the server ({}): settings, locks and temporary tables of one agent \
             would be another's; name the server's own address",
            signs.join("; ")
        );
        found.add(Verdict::Bad, &what, words);
    }
    let apart = first.now - Timestamp::now().as_second();
    if apart.abs() > APART {
        let words = format!(
            "its clock is {apart} s from this machine's: times in the ledger and in the database do \
             not compare; set both by NTP"
        );
        found.add(Verdict::Warning, &what, words);
    }
    Some(first)
}

async fn said(connection: &mut Connection) -> Result<Server, String> {
    let said = simple(connection, SERVER).await.map_err(|error| error.why)?;
    let row = said.values.into_iter().flatten().next().unwrap_or_default();
    let read: (i32, String, f64, String, String, String) =
        serde_json::from_str(&row).map_err(|error| error.to_string())?;
    let (process, called, now, system, database, started) = read;
    #[allow(clippy::cast_possible_truncation, reason = "seconds of this age")]
    let now = now as i64;
    Ok(Server { process, called, now, identity: (system, database), started })
}

/// What shows that something stands between us and the server.
fn signs(greeting: &Greeting, first: &Server, second: &Server) -> Vec<String> {
    let mut signs = Vec::new();
    if greeting.cancel.process_id() != first.process {
        signs.push("the process that greeted is not the one that answers".to_owned());
    }
    if first.process != second.process {
        signs.push("two questions were answered by two processes".to_owned());
    }
    if first.called != CALLED {
        signs.push("the connection's name did not arrive".to_owned());
    }
    signs
}

/// Says which targets are one database, where production is among them.
pub(super) fn twins(found: &mut Findings, config: &Config, servers: &BTreeMap<TargetName, Server>) {
    let production = |name: &TargetName| config.installation.targets[name].is_production();
    for (name, server) in servers.iter().filter(|(name, _)| !production(name)) {
        for (other, guarded) in servers.iter().filter(|(name, _)| production(name)) {
            if server.identity != guarded.identity {
                continue;
            }
            let what = format!("{name} server");
            if server.started == guarded.started {
                let words = format!(
                    "`{name}` is the database of production `{other}`, under another name: what is \
                     let through here is done there; remove this target"
                );
                found.add(Verdict::Bad, &what, words);
            } else {
                let words = format!(
                    "`{name}` is a physical copy of production `{other}`: its rows are production's, and so is \
                     its fingerprint until it is promoted; promote it, or make it from a dump"
                );
                found.add(Verdict::Warning, &what, words);
            }
        }
    }
}

/// Compares the gateway's clock with this machine's.
pub(super) fn clock(found: &mut Findings, gateway: Timestamp, here: Timestamp) {
    let apart = gateway.as_second() - here.as_second();
    if apart.abs() > APART {
        let words = format!(
            "the gateway's time is {apart} s from this machine's: it never goes back behind its ledger, \
             and does not follow a clock that is set; set the clock by NTP, then start it again"
        );
        found.add(Verdict::Warning, "clock", words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_a_minute_apart_are_said() {
        let here = Timestamp::from_second(1_000).unwrap();
        for (gateway, said) in [(1_000, 0), (1_060, 0), (1_061, 1), (939, 1)] {
            let mut found = Findings::default();
            clock(&mut found, Timestamp::from_second(gateway).unwrap(), here);
            assert_eq!(found.0.len(), said, "{gateway}");
        }
    }
}
