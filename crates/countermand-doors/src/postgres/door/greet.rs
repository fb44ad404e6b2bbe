//! The start of an agent's connection: TLS, who it is, and a session of production's for it.

use super::flight::{Errors, Line, Report};
use super::gate::Gate;
use super::limits::{LIMITS, Limits};
use super::output::Output;
use super::step::Step;
use super::{DoorTls, Upstream};
use crate::postgres::refuse::{self, CANNOT_JUDGE, FORBIDDEN, Said};
use crate::postgres::target::connection::{CHECKS, Connection, ConnectionError, Reader};
use crate::postgres::wire::{self, Startup, StartupError};
use bytes::BytesMut;
use countermand_core::name::TargetName;
use countermand_engine::Caller;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// No message of an agent may be longer, in bytes.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// While nobody knows who it is, messages are short, in bytes.
const MAX_STRANGER: usize = 16 * 1024;
const PLAIN: &str = "SCRAM-SHA-256";
const BOUND: &str = "SCRAM-SHA-256-PLUS";

/// What a connection turned out to want.
pub(super) enum Wish {
    /// A session.
    Session(Box<Start>),
    /// To cancel what runs in another: process id and secret.
    Cancel(i32, i32),
    /// Nothing any more.
    Gone,
}

/// A client that wants a session.
pub(super) struct Start {
    pub(super) input: Reader,
    pub(super) output: Output,
    pub(super) peer: String,
    encrypted: bool,
    parameters: Vec<(String, String)>,
}

/// A client whose credential was checked.
pub(super) struct Welcome {
    pub(super) caller: Caller,
    pub(super) target: TargetName,
    settings: Vec<(String, String)>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Reads start-up packets until one asks for something.
pub(super) async fn listen(stream: TcpStream, tls: Option<&TlsAcceptor>) -> std::io::Result<Wish> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?;
    let mut stream: Box<dyn Stream> = Box::new(stream);
    let mut encrypted = false;
    loop {
        let Some(packet) = packet(&mut stream).await? else { return Ok(Wish::Gone) };
        match packet {
            // Exactly the packet was read: what was pushed in behind it meets the handshake.
            Ok(Startup::Ssl) if !encrypted && tls.is_some() => {
                stream.write_all(b"S").await?;
                let Some(tls) = tls else { return Ok(Wish::Gone) };
                stream = Box::new(tls.accept(stream).await?);
                encrypted = true;
            }
            Ok(Startup::Ssl | Startup::GssEnc) => {
                stream.write_all(b"N").await?;
                stream.flush().await?;
            }
            Ok(Startup::Cancel { process_id, secret }) => {
                return Ok(Wish::Cancel(process_id, secret));
            }
            Ok(Startup::Session { minor, parameters }) => {
                let (read, write) = tokio::io::split(stream);
                let mut output = Output::new(write);
                negotiate(minor, &parameters, &mut output);
                let input = Reader::limited(read, "the agent", MAX_STRANGER);
                let peer = peer.to_string();
                let start = Start { input, output, peer, encrypted, parameters };
                return Ok(Wish::Session(Box::new(start)));
            }
            Err(error) => {
                let said = Said::fatal("08P01", error.to_string());
                Output::new(stream).farewell(|out| said.encode(out)).await;
                return Ok(Wish::Gone);
            }
        }
    }
}

/// One start-up packet, and none of the bytes behind it; none where there cannot be one.
async fn packet(
    stream: &mut (impl AsyncRead + Unpin),
) -> std::io::Result<Option<Result<Startup, StartupError>>> {
    let length = match stream.read_i32().await {
        Ok(length) => wire::startup_length(length),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(length) = length else { return Ok(None) };
    let mut packet = BytesMut::zeroed(length);
    stream.read_exact(&mut packet).await?;
    Ok(Some(wire::startup(packet.freeze())))
}

/// Tells a newer client that this is 3.0, without the extensions it may have asked for.
fn negotiate(minor: u16, parameters: &[(String, String)], output: &mut Output) {
    let names = parameters.iter().map(|(name, _)| name.as_str());
    let unknown: Vec<&str> = names.filter(|name| name.starts_with("_pq_.")).collect();
    if minor > 0 || !unknown.is_empty() {
        output.put(|out| wire::put_negotiate(out, &unknown));
    }
}

impl Start {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Checks who it is, and opens a session in the ledger.
    pub(super) async fn authenticate<G: Gate>(
        &mut self,
        gate: &G,
        tls: Option<&DoorTls>,
        local: bool,
    ) -> Result<Welcome, Said> {
        if tls.is_some() && !self.encrypted && !local {
            return Err(Said::fatal("28000", "connect with TLS (sslmode=verify-full)"));
        }
        let user = self.parameter("user").unwrap_or_default().to_owned();
        let database = self.parameter("database").unwrap_or(&user).to_owned();
        let settings = self.settings()?;
        self.scram(gate, &user, tls.filter(|_| self.encrypted)).await?;
        let said = self.parameter("application_name").unwrap_or_default().to_owned();
        let opened = gate.open_session(&user, &database, &said, &self.peer).await;
        let caller = opened.map_err(|refusal| refuse::refusal(&refusal))?;
        let target = TargetName::new(database.clone())
            .map_err(|_| Said::fatal("3D000", format!("there is no target `{database}`")))?;
        Ok(Welcome { caller, target, settings })
    }

    /// The settings that it asks for, through the same list as SET.
    fn settings(&self) -> Result<Vec<(String, String)>, Said> {
        let mut settings = Vec::new();
        for (name, value) in &self.parameters {
            match name.as_str() {
                "user" | "database" => {}
                "replication" if ["false", "off", "no", "0"].contains(&value.as_str()) => {}
                "replication" => {
                    return Err(Said::fatal(FORBIDDEN, "forbidden: a replication connection"));
                }
                "options" => settings.extend(options(value)?),
                name if name.starts_with("_pq_.") => {}
                _ => settings.push((name.to_ascii_lowercase(), value.clone())),
            }
        }
        Ok(settings)
    }

    async fn scram<G: Gate>(
        &mut self,
        gate: &G,
        user: &str,
        tls: Option<&DoorTls>,
    ) -> Result<(), Said> {
        let failed = || {
            gate.login_refused();
            let words = format!("password authentication failed for agent `{user}`");
            Said::fatal("28P01", words)
        };
        let mut server = ScramServerAuth::new();
        let mut methods = vec![PLAIN];
        if tls.is_some_and(|tls| server.configure_certificate(&tls.certificate_pem).is_ok()) {
            methods.insert(0, BOUND);
        }
        self.output.put(|out| wire::put_sasl(out, &methods));
        self.output.flush().await.map_err(|_| gone())?;
        let answer = self.input.receive().await.map_err(|_| gone())?;
        let (method, first) = wire::sasl_initial(&answer).map_err(|_| malformed())?;
        if !methods.contains(&method.as_str()) || (method == BOUND) != first.starts_with(b"p=") {
            return Err(failed());
        }
        let verifier = gate.scram_verifier(user);
        let secret = ScramSecret::Verifier {
            salt: verifier.salt,
            iterations: verifier.iterations,
            stored_key: verifier.stored_key,
            server_key: verifier.server_key,
        };
        let (challenge, waiting) =
            server.on_client_first_message_with_secret(&first, secret).map_err(|_| failed())?;
        self.output.put(|out| wire::put_authentication(out, 11, challenge.as_bytes()));
        self.output.flush().await.map_err(|_| gone())?;
        let answer = self.input.receive().await.map_err(|_| gone())?;
        let last = wire::sasl_response(&answer).map_err(|_| malformed())?;
        let proof = waiting.on_client_final_message(&last).map_err(|_| failed())?;
        self.output.put(|out| wire::put_authentication(out, 12, proof.as_bytes()));
        Ok(())
    }

    /// From here on its messages may be long.
    pub(super) fn trust(&mut self) {
        self.input.allow(MAX_MESSAGE);
    }
}

fn gone() -> Said {
    Said::fatal("08006", "the client is gone")
}

fn malformed() -> Said {
    Said::fatal("08P01", "invalid message format")
}

/// `-c name=value`, `-cname=value` and `--name=value`; a backslash takes what follows as it is.
fn options(text: &str) -> Result<Vec<(String, String)>, Said> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => words.last_mut().expect("never empty").extend(chars.next()),
            c if c.is_ascii_whitespace() => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            Some("") => words.next(),
            Some(pair) => Some(pair.to_owned()),
            None => None,
        };
        let pair = pair.as_deref().and_then(|pair| pair.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            Said::fatal(FORBIDDEN, format!("forbidden: the option `{word}`; only -c name=value is"))
        })?;
        settings.push((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()));
    }
    Ok(settings)
}

/// Opens production's side of a session, with the session role.
pub(super) async fn open(
    upstream: &Upstream,
    welcome: &Welcome,
    output: &mut Output,
) -> Result<(Line, Limits), Said> {
    let mut settings: Vec<(String, String)> =
        upstream.settings.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    let name = format!("countermand {} {}", welcome.caller.agent, welcome.caller.session);
    settings.push(("application_name".to_owned(), name));
    settings.push((CHECKS.0.to_owned(), CHECKS.1.to_owned()));
    let cannot = |error: ConnectionError| {
        // What went wrong between the gateway and production is not the agent's business.
        tracing::warn!(target_name = %welcome.target, %error, "no session with the target");
        Said::fatal(CANNOT_JUDGE, "the target cannot be reached now; ask who runs the gateway")
    };
    let opened = Connection::open_direct(&upstream.address, &upstream.login, &settings).await;
    let (reader, writer, greeting) = opened.map_err(cannot)?.split();
    let strings = greeting.parameter("standard_conforming_strings") == Some("on");
    let mut line = Line::new(reader, writer, greeting.cancel.clone(), strings);
    for (name, value) in &greeting.parameters {
        output.put(|out| wire::put_parameter(out, name, value));
    }
    let broken = |error: super::flight::Broken| {
        tracing::warn!(target_name = %welcome.target, %error, "no session with the target");
        Said::fatal(CANNOT_JUDGE, "the target cannot be reached now; ask who runs the gateway")
    };
    if !upstream.trusted_role {
        let steps = vec![Step::own(ROLE), Step::own(OWNS), Step::sync()];
        let report = line.fly(steps, output, Errors::Kept).await.map_err(broken)?;
        harmless(welcome, report)?;
    }
    let steps = vec![Step::own(LIMITS), Step::sync()];
    let report = line.fly(steps, output, Errors::Kept).await.map_err(broken)?;
    let limits = Limits::of(report.rows);
    ask_for(&mut line, &limits, welcome, output).await?;
    Ok((line, limits))
}

/// Refuses a session role that could do harm by itself. Where an observation says so, it may own what
/// it changes; for as long as that lasts.
fn harmless(welcome: &Welcome, report: Report) -> Result<(), Said> {
    let mut rows = report.rows.into_iter();
    let mut fault = || match (&report.error, rows.next().as_deref()) {
        (None, Some([Some(fault)])) => fault.clone(),
        _ => "is not known".to_owned(),
    };
    let (rights, owns) = (fault(), fault());
    let may_own = welcome.caller.observed.is_some_and(|on| on.observe.session_may_own);
    if may_own && rights.is_empty() && owns.starts_with(OWNER) {
        tracing::warn!(target_name = %welcome.target, "observed: the session role {owns}");
        return Ok(());
    }
    let fault = if rights.is_empty() { owns } else { rights };
    if fault.is_empty() {
        return Ok(());
    }
    tracing::error!(target_name = %welcome.target, %fault, "refused: the session role");
    let words = format!("the role that agents' sessions run as {fault}");
    Err(Said::fatal(CANNOT_JUDGE, words)
        .hint("Give the target a session role that owns nothing and has no such right."))
}

/// Sets what the client asked for at its start.
async fn ask_for(
    line: &mut Line,
    limits: &Limits,
    welcome: &Welcome,
    output: &mut Output,
) -> Result<(), Said> {
    for (name, value) in &welcome.settings {
        limits.allow(name, Some(value)).map_err(Said::into_fatal)?;
        let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
        if name.contains(['\\', '\0']) || value.contains(['\\', '\0']) {
            let words = format!("forbidden: a backslash in the value of `{name}`");
            return Err(Said::fatal(FORBIDDEN, words));
        }
        let set = format!("SELECT pg_catalog.set_config({}, {}, false)", text(name), text(value));
        let steps = vec![Step::own(&set), Step::sync()];
        let report = line.fly(steps, output, Errors::Kept).await;
        let error = match report {
            Ok(report) => report.error,
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error {
            return Err(Said::fatal("22023", error));
        }
    }
    Ok(())
}

/// What makes a role unfit for agents; empty where nothing does.
const ROLE: &str = "SELECT CASE \
    WHEN r.rolsuper THEN 'is a superuser' \
    WHEN r.rolbypassrls THEN 'bypasses row security' \
    WHEN r.rolreplication THEN 'may replicate' \
    WHEN r.rolcreaterole THEN 'may create roles' \
    WHEN EXISTS (SELECT FROM pg_catalog.pg_roles b WHERE b.rolname OPERATOR(pg_catalog.=) ANY \
        (ARRAY['pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', \
        'pg_signal_backend', 'pg_write_all_data', 'pg_checkpoint', 'pg_maintain', \
        'pg_create_subscription', 'pg_use_reserved_connections']\
        ::pg_catalog.name[]) AND pg_catalog.pg_has_role(r.oid, b.oid, 'MEMBER')) \
        THEN 'is a member of a dangerous built-in role' \
    WHEN EXISTS (SELECT FROM pg_catalog.pg_roles b \
        WHERE (b.rolsuper OR b.rolbypassrls OR b.rolreplication OR b.rolcreaterole) \
        AND pg_catalog.pg_has_role(r.oid, b.oid, 'MEMBER')) \
        THEN 'is a member of a role with rights that no agent may have' \
    ELSE '' END FROM pg_catalog.pg_roles r \
    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER";

/// How it begins where a role owns something.
const OWNER: &str = "owns ";

/// What a role owns; empty where nothing.
const OWNS: &str = "SELECT CASE WHEN EXISTS (SELECT FROM (SELECT DISTINCT c.relowner FROM pg_catalog.pg_class c) o \
        WHERE pg_catalog.pg_has_role(r.oid, o.relowner, 'MEMBER')) \
        THEN 'owns tables, or is a member of a role that does' \
    WHEN EXISTS (SELECT FROM (SELECT n.nspowner AS owner FROM pg_catalog.pg_namespace n \
        UNION SELECT p.proowner FROM pg_catalog.pg_proc p) o \
        WHERE pg_catalog.pg_has_role(r.oid, o.owner, 'MEMBER')) \
        THEN 'owns schemas or functions, or is a member of a role that does' \
    WHEN EXISTS (SELECT FROM pg_catalog.pg_roles b \
        WHERE b.rolname OPERATOR(pg_catalog.=) 'pg_database_owner' \
        AND pg_catalog.pg_has_role(r.oid, b.oid, 'MEMBER')) \
        THEN 'owns the database, or is a member of a role that does' \
    ELSE '' END FROM pg_catalog.pg_roles r \
    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_the_server_reads_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let read = options(r"-c statement_timeout=5s  -csearch_path=a\ b --work-mem=64kB").unwrap();
        let expected =
            [pair("statement_timeout", "5s"), pair("search_path", "a b"), pair("work_mem", "64kB")];
        assert_eq!(read, expected);
        for wrong in ["-f", "-c", "-c x", "--", "-B 4"] {
            assert!(options(wrong).is_err(), "{wrong}");
        }
    }
}
