//! Ways round, tried: a forbidden act at every door, and every credential at every server itself.

use super::{Findings, Verdict};
use crate::at_door::{AgentSession, simple};
use crate::cli::{AtDoor, Doctor, Global};
use crate::client::Client;
use crate::config::{Config, PostgresConfig};
use crate::exit::{Exit, Failure};
use countermand_core::name::{AgentName, TargetName};
use countermand_doors::postgres::target::connection::{
    Address, Connection, ConnectionError, Host, Login, Tls,
};
use countermand_doors::secret::SecretRef;
use countermand_engine::control::{Command, Reply};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use tempfile::NamedTempFile;

/// What a role that got in may do, in words.
const POWERS: &str = "
SELECT pg_catalog.concat_ws(', ',
  CASE WHEN r.rolsuper THEN 'is a superuser' END,
  CASE WHEN r.rolcreaterole THEN 'creates roles' END,
  (SELECT pg_catalog.concat('may drop ', pg_catalog.count(*), ' tables')
     FROM pg_catalog.pg_class c WHERE c.relkind OPERATOR(pg_catalog.=) 'r'
      AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND pg_catalog.pg_has_role(CURRENT_USER, c.relowner, 'USAGE')),
  (SELECT pg_catalog.concat('may write ', pg_catalog.count(*), ' tables')
     FROM pg_catalog.pg_class c WHERE c.relkind OPERATOR(pg_catalog.=) 'r'
      AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE')))
  FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER";

/// Tries what it was told of.
pub(super) fn examine(found: &mut Findings, global: &Global, config: &Config, told: &Doctor) {
    if let Some(agent) = &told.agent {
        let granted = granted(global, config, agent);
        for name in targets(config, told) {
            match &granted {
                Some(granted) if !granted.contains(name) => {
                    outside(found, global, agent, name, &told.door);
                }
                _ => at_door(found, global, config, agent, name, &told.door),
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let mut credentials = Vec::new();
    for file in &told.try_direct {
        match read(file) {
            Ok(read) => credentials.extend(read),
            Err(why) => found.add(Verdict::Bad, "way round", why),
        }
    }
    if let Some(agent) = &told.agent {
        let secret = match &told.door.credential_file {
            Some(file) => SecretRef::File(file.clone()),
            None => SecretRef::Env("COUNTERMAND_CREDENTIAL".to_owned()),
        };
        let login = Login { user: agent.to_string(), secret };
        credentials.push(Credential { login, address: None, _file: None });
    }
    for name in targets(config, told) {
        let target = &config.targets[name];
        runtime.block_on(async {
            without_password(found, name, target).await;
            for credential in &credentials {
                direct(found, name, target, credential).await;
            }
        });
    }
}

fn targets<'a>(config: &'a Config, told: &'a Doctor) -> impl Iterator<Item = &'a TargetName> {
    let wanted = told.door.target.as_ref();
    config.targets.keys().filter(move |name| wanted.is_none_or(|wanted| wanted == *name))
}

/// Where the agent may be, by the gateway's own word; nothing where that is not there or knows no
/// such agent.
fn granted(global: &Global, config: &Config, agent: &AgentName) -> Option<BTreeSet<TargetName>> {
    let path = global.socket.clone().unwrap_or_else(|| config.socket());
    match Client::at(&path).and_then(|mut client| client.ask(&Command::World)) {
        Ok(Reply::World(world)) => world.agents.get(agent).map(|(_, grant)| grant.targets.clone()),
        _ => None,
    }
}

/// A target that the agent was not given: its door stays shut.
fn outside(
    found: &mut Findings,
    global: &Global,
    agent: &AgentName,
    name: &TargetName,
    door: &AtDoor,
) {
    let what = format!("{name} door");
    let at = AtDoor { target: Some(name.clone()), ..door.clone() };
    match AgentSession::open(global, agent, &at) {
        Ok(_) => {
            let words =
                format!("`{agent}` was not given `{name}`, and the door lets it in: stop it");
            found.add(Verdict::Bad, &what, words);
        }
        Err(error) if error.exit == Exit::Unreachable => {
            found.add(Verdict::Bad, &what, error.why);
        }
        Err(_) => {
            let words = format!("`{agent}` was not given `{name}`, and is refused there");
            found.add(Verdict::Good, &what, words);
        }
    }
}

/// Asks to drop a table that is not there, inside a transaction: that is refused and opens no change,
/// and where it reaches the server after all there is nothing to drop.
fn at_door(
    found: &mut Findings,
    global: &Global,
    config: &Config,
    agent: &AgentName,
    name: &TargetName,
    door: &AtDoor,
) {
    let what = format!("{name} door");
    if config.installation.targets[name].disposable {
        return found.add(Verdict::Good, &what, "disposable: nothing is held here");
    }
    let at = AtDoor { target: Some(name.clone()), ..door.clone() };
    let mut session = match AgentSession::open(global, agent, &at) {
        Ok(session) => session,
        Err(error) => return found.add(Verdict::Bad, &what, error.why),
    };
    let table = format!("countermand_doctor_probe_{:016x}", rand::random::<u64>());
    let asked = session.ask("BEGIN").and_then(|_| session.ask(&format!("DROP TABLE {table}")));
    let (verdict, words) = judged(asked.map(drop));
    found.add(verdict, &what, words);
}

/// What an answer to the probe means.
fn judged(answer: Result<(), Failure>) -> (Verdict, String) {
    let through = "a DROP TABLE went through to the server: nothing is held here; stop agents, and look \
                   at policies and at what listens at the door";
    match answer {
        Ok(()) => (Verdict::Bad, through.to_owned()),
        Err(Failure { exit: Exit::Held, .. }) => {
            (Verdict::Good, "a DROP TABLE is held; nothing is left of it".to_owned())
        }
        Err(error) if error.why.contains("(CM002)") => {
            (Verdict::Good, "a DROP TABLE is forbidden".to_owned())
        }
        Err(error) if error.why.contains("(CM00") => {
            (Verdict::Warning, format!("a DROP TABLE is refused, but not judged: {}", error.why))
        }
        Err(error) if error.exit == Exit::Unreachable => (Verdict::Bad, error.why),
        Err(error) => (Verdict::Bad, format!("{through}: {}", error.why)),
    }
}

/// Whether the server lets in whoever says a role's name.
async fn without_password(found: &mut Findings, name: &TargetName, target: &PostgresConfig) {
    for user in [&target.session.user, &target.executor.user] {
        let Ok(file) = kept(&format!("{:032x}", rand::random::<u128>())) else { return };
        let login = Login { user: user.clone(), secret: SecretRef::File(file.path().to_owned()) };
        if Connection::open(&target.address, &login, &[]).await.is_ok() {
            let words = format!(
                "the server lets `{user}` in with any password: whoever reaches it needs none; \
                 ask for scram-sha-256 in pg_hba.conf"
            );
            found.add(Verdict::Bad, &format!("{name} server"), words);
        }
    }
}

/// One credential at one server, at its configured address and at its own.
async fn direct(
    found: &mut Findings,
    name: &TargetName,
    target: &PostgresConfig,
    credential: &Credential,
) {
    let what = format!("{name} way round");
    let user = &credential.login.user;
    let own = credential.address.as_ref().map(|(host, port)| Address {
        host: if host.starts_with('/') { Host::Unix(host.into()) } else { Host::Tcp(host.clone()) },
        port: *port,
        database: target.address.database.clone(),
        tls: Tls::Automatic,
    });
    for address in std::iter::once(&target.address).chain(own.as_ref()) {
        match Connection::open(address, &credential.login, &[]).await {
            Ok(mut connection) => {
                let powers = simple(&mut connection, POWERS).await.map(|said| said.values);
                let powers = powers.unwrap_or_default().into_iter().flatten().collect::<Vec<_>>();
                let words = format!(
                    "`{user}` gets into {address} past the gateway, and {}: take its password away, or \
                     let pg_hba.conf admit only the gateway",
                    powers.join(", ")
                );
                found.add(Verdict::Bad, &what, words);
            }
            Err(ConnectionError::Refused { code, .. }) if code.starts_with("28") => {
                found.add(Verdict::Good, &what, format!("`{user}` is refused at {address}"));
            }
            Err(error @ ConnectionError::Secret(_)) => {
                found.add(Verdict::Bad, &what, error.to_string());
            }
            Err(error) => {
                let words = format!(
                    "`{user}` did not get into {address}, but not for its password: {error}"
                );
                found.add(Verdict::Warning, &what, words);
            }
        }
    }
}

/// A credential that somebody may hold.
struct Credential {
    login: Login,
    /// Where it says that it is for.
    address: Option<(String, u16)>,
    /// Its password, as long as it is tried.
    _file: Option<NamedTempFile>,
}

/// Reads `postgres://` addresses, one in a line, or libpq's password and service files.
fn read(file: &Path) -> Result<Vec<Credential>, String> {
    let shown = file.display();
    if shown.to_string().contains("://") {
        return Err(
            "an address with its password is not for a command line, where everybody reads it: \
                    put it into a file and name that"
                .to_owned(),
        );
    }
    let text = std::fs::read_to_string(file).map(zeroize::Zeroizing::new);
    let text = text.map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    let found = parse(&text);
    if found.is_empty() {
        return Err(format!(
            "`{shown}` holds no credential: write postgres://USER:PASSWORD@HOST:PORT/DATABASE, a line \
             of a .pgpass, or a service file"
        ));
    }
    found.into_iter().map(Parsed::kept).collect::<std::io::Result<_>>().map_err(|e| e.to_string())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    user: String,
    password: String,
    address: Option<(String, u16)>,
}

impl Parsed {
    fn kept(self) -> std::io::Result<Credential> {
        let file = kept(&self.password)?;
        let secret = SecretRef::File(file.path().to_owned());
        let login = Login { user: self.user, secret };
        Ok(Credential { login, address: self.address, _file: Some(file) })
    }
}

/// A password in a file of ours, 0600, gone with the value.
fn kept(password: &str) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(password.as_bytes())?;
    Ok(file)
}

fn parse(text: &str) -> Vec<Parsed> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    if lines().any(|line| line.starts_with('[')) {
        return services(lines());
    }
    lines().filter_map(|line| url(line).or_else(|| pgpass(line))).collect()
}

fn url(line: &str) -> Option<Parsed> {
    // A variable of an .env file may stand before it.
    let rest = line.split_once("://").filter(|(scheme, _)| scheme.contains("postgres"))?.1;
    let (login, place) = rest.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let host = place.split(['/', '?', '"', '\'']).next()?;
    // The colons of an address in brackets are its own.
    let name = host.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match host[name..].rsplit_once(':') {
        Some((rest, port)) => (&host[..name + rest.len()], port),
        None => (host, "5432"),
    };
    let address = Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?));
    Some(Parsed { user: decoded(user), password: decoded(password), address })
}

fn pgpass(line: &str) -> Option<Parsed> {
    let mut fields: Vec<String> = vec![String::new()];
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => fields.last_mut()?.extend(characters.next()),
            ':' => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    let [host, port, _database, user, password] = <[String; 5]>::try_from(fields).ok()?;
    let port = if port == "*" { Some(5432) } else { port.parse().ok() };
    let address = port.filter(|_| host != "*").map(|port| (host, port));
    let is_one = !user.is_empty() && user != "*" && !line.contains("://");
    is_one.then_some(Parsed { user, password, address })
}

fn services<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Parsed> {
    let mut found: Vec<Parsed> = Vec::new();
    for line in lines {
        if line.starts_with('[') {
            found.push(Parsed::default());
            continue;
        }
        let (Some(service), Some((key, value))) = (found.last_mut(), line.split_once('=')) else {
            continue;
        };
        let value = value.trim();
        let (host, port) = service.address.clone().unwrap_or((String::new(), 5432));
        match key.trim() {
            "user" => value.clone_into(&mut service.user),
            "password" => value.clone_into(&mut service.password),
            "host" => service.address = Some((value.to_owned(), port)),
            "port" => service.address = value.parse().ok().map(|port| (host, port)),
            _ => {}
        }
    }
    found.retain(|service| !service.user.is_empty() && !service.password.is_empty());
    found
}

/// Text with its `%20` read.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(user: &str, password: &str, address: Option<(&str, u16)>) -> Parsed {
        let address = address.map(|(host, port)| (host.to_owned(), port));
        Parsed { user: user.to_owned(), password: password.to_owned(), address }
    }

    #[test]
    fn credentials_are_read_as_people_keep_them() {
        let text = "# old\nDATABASE_URL=\"postgres://app:p%40ss@db.internal:6543/shop\"\n\
                    postgresql://a:b@[::1]/x?sslmode=require\n";
        let wanted = [
            parsed("app", "p@ss", Some(("db.internal", 6543))),
            parsed("a", "b", Some(("::1", 5432))),
        ];
        assert_eq!(parse(text), wanted);
        assert_eq!(parse("*:*:*:me:p\\:w\\\\"), [parsed("me", "p:w\\", None)]);
        let service = "[shop]\nhost=h\nport=7\nuser=u\npassword=p\n[none]\nhost=x\n";
        assert_eq!(parse(service), [parsed("u", "p", Some(("h", 7)))]);
        assert_eq!(parse("nonsense"), []);
    }

    #[test]
    fn only_a_refusal_of_the_gateways_own_is_good() {
        let held = Failure { exit: Exit::Held, why: "held (CM001)".to_owned() };
        assert_eq!(judged(Err(held)).0, Verdict::Good);
        for (answer, verdict) in [
            ("forbidden: x (CM002)", Verdict::Good),
            ("frozen (CM004)", Verdict::Warning),
            ("table \"x\" does not exist (42P01)", Verdict::Bad),
        ] {
            assert_eq!(judged(Err(Failure::new(answer))).0, verdict, "{answer}");
        }
        assert_eq!(judged(Ok(())).0, Verdict::Bad);
    }
}
