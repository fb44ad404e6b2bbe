//! `pg_dump` and `pg_restore`: what defines everything, and the part of it that a change took.

use super::Setup;
use super::catalog::Address;
use super::connection::{CHECKS, Host, Roots, Tls};
use secrecy::ExposeSecret as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Where certificates that this machine trusts are; `libpq` does not look by itself.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Which half of a restore: before the rows, or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Schemas, types, functions, tables, sequences, views.
    BeforeRows,
    /// Indexes, constraints, triggers, policies.
    AfterRows,
}

/// Why one of the programs did not do what it was asked. In words, with its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ProgramError(String);

/// Writes the definitions of everything in the database, as this snapshot sees it.
pub(super) async fn dump_schema(
    setup: &Setup,
    snapshot: &str,
    to: &Path,
) -> Result<(), ProgramError> {
    let mut command = program(setup, "pg_dump");
    let wait = format!("--lock-wait-timeout={}", setup.lock_wait.as_millis());
    command.args(["--format=custom", "--schema-only", "--no-password", &wait]);
    command.arg(format!("--snapshot={snapshot}"));
    let mut file = String::from("--file=");
    file.push_str(to.to_str().ok_or_else(|| fault("pg_dump", "a path that is not UTF-8"))?);
    command.arg(file);
    // Lives as long as the program.
    let _secret = reach(setup, &mut command).await?;
    run(command, "pg_dump").await.map(drop)
}

/// One line of a saved schema's table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    number: u32,
    class: u32,
    object: u32,
    line: String,
    needs: Vec<u32>,
    /// Attaches to something that stayed, and therefore has to be complete before.
    pub(super) late: bool,
}

/// What is in a saved schema, in the order in which it is re-created.
pub(super) async fn contents(setup: &Setup, dump: &Path) -> Result<Vec<Entry>, ProgramError> {
    let mut command = program(setup, "pg_restore");
    command.args(["--list", "--verbose"]).arg(dump);
    let list = run(command, "pg_restore").await?;
    let list = String::from_utf8(list).map_err(|_| fault("pg_restore", "a list not in UTF-8"))?;
    Ok(entries(&list))
}

impl Entry {
    /// Whether it makes something a partition of something else.
    fn attaches(&self) -> bool {
        let words = self.line.splitn(4, ' ').nth(3).unwrap_or_default();
        words.starts_with("TABLE ATTACH ") || words.starts_with("INDEX ATTACH ")
    }

    /// Whether it creates one of these.
    pub(super) fn is_one_of(&self, places: &BTreeSet<Address>) -> bool {
        let place = Address { class: self.class, object: self.object, part: 0 };
        self.class != 0 && places.contains(&place)
    }
}

fn entries(list: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in list.lines() {
        if let Some(needs) = line.trim_start_matches([';', '\t', ' ']).strip_prefix("depends on:") {
            if let Some(last) = entries.last_mut() {
                last.needs = needs.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            }
            continue;
        }
        entries.extend(entry(line));
    }
    entries
}

/// `219; 1259 16411 TABLE shop orders app`
fn entry(line: &str) -> Option<Entry> {
    let (number, rest) = line.split_once("; ")?;
    let mut words = rest.split(' ');
    Some(Entry {
        number: number.parse().ok()?,
        class: words.next()?.parse().ok()?,
        object: words.next()?.parse().ok()?,
        line: line.to_owned(),
        needs: Vec::new(),
        late: false,
    })
}

/// The part of a saved schema that brings these objects back: they themselves, and what has no
/// place of its own in the catalogue (comments, permissions, ownership, attachment) but needs
/// one of them.
pub(super) fn selection(entries: &[Entry], lost: &BTreeSet<Address>) -> Vec<Entry> {
    let chosen: BTreeSet<u32> =
        (entries.iter()).filter(|entry| entry.is_one_of(lost)).map(|entry| entry.number).collect();
    let comes_along =
        |entry: &Entry| entry.class == 0 && entry.needs.iter().any(|need| chosen.contains(need));
    let keep = |entry: &&Entry| chosen.contains(&entry.number) || comes_along(entry);
    let mark = |entry: &Entry| Entry {
        late: entry.attaches() && !entry.needs.iter().all(|need| chosen.contains(need)),
        ..entry.clone()
    };
    entries.iter().filter(keep).map(mark).collect()
}

/// Statements that re-create a selection.
pub(super) async fn statements(
    setup: &Setup,
    dump: &Path,
    selection: &[Entry],
    section: Section,
) -> Result<String, ProgramError> {
    if selection.is_empty() {
        return Ok(String::new());
    }
    let mut list =
        tempfile::NamedTempFile::new().map_err(|e| fault("pg_restore", &e.to_string()))?;
    for entry in selection {
        writeln!(list, "{}", entry.line).map_err(|e| fault("pg_restore", &e.to_string()))?;
    }
    let mut command = program(setup, "pg_restore");
    command.arg(match section {
        Section::BeforeRows => "--section=pre-data",
        Section::AfterRows => "--section=post-data",
    });
    command.arg("--use-list").arg(list.path()).arg("--file=-").arg(dump);
    let sql = run(command, "pg_restore").await?;
    let sql = String::from_utf8(sql);
    sql.map(unrestricted).map_err(|_| fault("pg_restore", "statements that are not UTF-8"))
}

/// Without the two lines that keep `psql` from reading commands of its own in between. The first
/// stands in the head, before any definition, and its key is random, so no definition holds it.
fn unrestricted(sql: String) -> String {
    let is_head = |line: &&str| line.is_empty() || line.starts_with("--") || line.starts_with('\\');
    let mut head = sql.lines().take_while(is_head);
    let Some(key) = head.find_map(|line| line.strip_prefix("\\restrict ")) else {
        return sql;
    };
    let (on, off) = (format!("\\restrict {key}"), format!("\\unrestrict {key}"));
    let kept = sql.split_inclusive('\n').filter(|line| {
        let line = line.trim_end_matches('\n');
        line != on && line != off
    });
    kept.collect()
}

fn fault(program: &str, why: &str) -> ProgramError {
    ProgramError(format!("{program} failed: {why}"))
}

fn program(setup: &Setup, name: &str) -> Command {
    let mut command = Command::new(setup.programs.join(name));
    command.env_clear().env("LC_ALL", "C").env("PGCLIENTENCODING", "UTF8");
    command.env("PGAPPNAME", "countermand").env("PGCONNECT_TIMEOUT", "10");
    // Killed, it leaves nothing that runs on.
    command.env("PGOPTIONS", format!("-c {}={}", CHECKS.0, CHECKS.1));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Says where to connect to and as whom, by the environment and a file: never by arguments,
/// which every user of a machine can read.
async fn reach(setup: &Setup, command: &mut Command) -> Result<tempfile::TempDir, ProgramError> {
    let local = |error: std::io::Error| fault("pg_dump", &error.to_string());
    let secret = setup.executor.secret.read().await;
    let secret = secret.map_err(|error| fault("pg_dump", &error.to_string()))?;
    // Made for this user alone.
    let room = tempfile::tempdir().map_err(local)?;
    let path = room.path().join("passwords");
    let escaped = secret.expose_secret().replace('\\', "\\\\").replace(':', "\\:");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| writeln!(file, "*:*:*:*:{escaped}")).map_err(local)?;
    command.env("PGPASSFILE", &path).env("PGUSER", &setup.executor.user);
    command.env("PGDATABASE", &setup.address.database);
    command.env("PGPORT", setup.address.port.to_string());
    match &setup.address.host {
        Host::Unix(directory) => command.env("PGHOST", directory),
        Host::Tcp(name) => command.env("PGHOST", name),
    };
    for (name, value) in protection(setup).await? {
        command.env(name, value);
    }
    Ok(room)
}

/// TLS exactly as our own connections have it.
async fn protection(setup: &Setup) -> Result<BTreeMap<&'static str, String>, ProgramError> {
    let Host::Tcp(host) = &setup.address.host else { return Ok(BTreeMap::new()) };
    let found = tokio::net::lookup_host((host.as_str(), setup.address.port)).await;
    let first = found.map_err(|error| fault("pg_dump", &error.to_string()))?.next();
    let near = first.is_some_and(|address| address.ip().is_loopback());
    let native = Roots::Native;
    let (roots, name) = match &setup.address.tls {
        Tls::Disable => return Ok([("PGSSLMODE", "disable".to_owned())].into()),
        Tls::Automatic if near => return Ok([("PGSSLMODE", "disable".to_owned())].into()),
        Tls::Automatic => (&native, None),
        Tls::VerifyFull { roots, name } => (roots, name.as_ref()),
    };
    let roots = match roots {
        Roots::File(path) => path.display().to_string(),
        Roots::Native => {
            let bundle = BUNDLES.iter().find(|path| Path::new(path).is_file());
            (*bundle.ok_or_else(|| fault("pg_dump", "this machine has no list of roots"))?)
                .to_owned()
        }
    };
    let mut settings = BTreeMap::from([("PGSSLMODE", "verify-full".to_owned())]);
    settings.insert("PGSSLROOTCERT", roots);
    if let (Some(name), Some(address)) = (name, first) {
        settings.insert("PGHOST", name.clone());
        settings.insert("PGHOSTADDR", address.ip().to_string());
    }
    Ok(settings)
}

async fn run(mut command: Command, name: &str) -> Result<Vec<u8>, ProgramError> {
    let output = command.output().await.map_err(|error| {
        fault(name, &format!("{error}; name the directory of PostgreSQL's programs"))
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(fault(name, words.trim().chars().take(2000).collect::<String>().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_with_the_key_are_left_out() {
        let sql = "--\n\\restrict k1\nSELECT 1;\n\\unrestrict k2\n\\unrestrict k1\n".to_owned();
        assert_eq!(unrestricted(sql), "--\nSELECT 1;\n\\unrestrict k2\n");
    }

    const LIST: &str = "\
;\n; Archive created at 2026\n;\n
7; 2615 16387 SCHEMA - shop postgres
3431; 0 0 ACL - SCHEMA shop postgres
;\tdepends on: 7
219; 1259 16411 TABLE shop orders app
;\tdepends on: 857 7
3435; 0 0 COMMENT shop COLUMN orders.n app
;\tdepends on: 219
220; 1259 16423 TABLE other a b c postgres
;\tdepends on: 6
";

    #[test]
    fn what_has_no_place_of_its_own_comes_with_what_it_needs() {
        let entries = entries(LIST);
        assert_eq!(entries.len(), 5);
        let names = |lost: &[u32]| {
            let lost = lost.iter().map(|oid| Address::relation(*oid)).collect();
            selection(&entries, &lost).iter().map(|entry| entry.number).collect::<Vec<_>>()
        };
        assert_eq!(names(&[16411]), [219, 3435]);
        assert_eq!(names(&[16423]), [220]);
        assert!(names(&[16387]).is_empty(), "a schema is not a relation");
    }
}
