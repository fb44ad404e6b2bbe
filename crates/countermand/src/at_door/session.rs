//! One connection to a door, and simple queries on it.

use crate::cli::{AtDoor, Global};
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use bytes::BytesMut;
use countermand_core::name::AgentName;
use countermand_doors::postgres::target::connection::{
    Address, Connection, ConnectionError, Host, Login, Roots, Tls,
};
use countermand_doors::postgres::wire::{ErrorResponse, Malformed, command_tag, row};
use countermand_doors::secret::SecretRef;
use postgres_protocol::message::frontend;
use tokio::runtime::Runtime;

/// The variable that holds an agent's credential.
const CREDENTIAL: &str = "COUNTERMAND_CREDENTIAL";
/// The SQLSTATE of a hold.
const HELD: &str = "CM001";

/// An agent's open connection.
pub struct AgentSession {
    runtime: Runtime,
    connection: Connection,
}

/// What the door said to a query that it let through.
#[derive(Debug, Default)]
pub struct Said {
    /// The first column of every row.
    pub values: Vec<Option<String>>,
    /// The command tags.
    pub tags: Vec<String>,
    /// Notices.
    pub notices: Vec<String>,
}

impl AgentSession {
    /// Connects and logs in as `agent`.
    ///
    /// # Errors
    /// [`Failure`] where the door cannot be reached or does not let it in.
    pub fn open(global: &Global, agent: &AgentName, at: &AtDoor) -> Result<AgentSession, Failure> {
        let target = at.target.as_ref().ok_or_else(|| {
            Failure::usage("say which target the agent works on, with --target NAME")
        })?;
        let secret = match &at.credential_file {
            Some(file) => SecretRef::File(file.clone()),
            None => SecretRef::Env(CREDENTIAL.to_owned()),
        };
        let (host, port) = door(global, at)?;
        let tls = match &at.door_roots {
            Some(file) => Tls::VerifyFull { roots: Roots::File(file.clone()), name: None },
            None => Tls::Automatic,
        };
        let database = target.to_string();
        let address = Address { host: Host::Tcp(host), port, database, tls };
        let login = Login { user: agent.to_string(), secret };
        let name = [("application_name".to_owned(), "countermand".to_owned())];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let open = runtime.block_on(Connection::open(&address, &login, &name));
        let connection = open.map_err(|error| not_open(&address, &error))?;
        Ok(AgentSession { runtime, connection })
    }

    /// Sends one message and reads to its end.
    ///
    /// # Errors
    /// [`Failure`] with the door's error; a hold is [`Exit::Held`].
    pub fn ask(&mut self, sql: &str) -> Result<Said, Failure> {
        self.runtime.block_on(simple(&mut self.connection, sql))
    }

    /// The one value that a query gives.
    ///
    /// # Errors
    /// As [`AgentSession::ask`].
    pub fn value(&mut self, sql: &str) -> Result<String, Failure> {
        let value = self.ask(sql)?.values.into_iter().next().flatten();
        value.ok_or_else(|| Failure::new("the door gave no answer: is it Countermand's?"))
    }
}

fn not_open(address: &Address, error: &ConnectionError) -> Failure {
    match error {
        ConnectionError::Secret(_) => Failure::usage(format!(
            "{error}; put the agent's credential into {CREDENTIAL}, or name its file with \
             --credential-file"
        )),
        ConnectionError::Refused { .. } => Failure::new(error),
        _ => Failure::unreachable(format!("cannot reach the door at {address}: {error}")),
    }
}

/// Where the door is: as told, or as configured, or where it is by default.
fn door(global: &Global, at: &AtDoor) -> Result<(String, u16), Failure> {
    let told = at.door.clone().or_else(|| std::env::var("COUNTERMAND_DOOR").ok());
    let Some(text) = told else {
        let file = config::find(global.config.as_deref());
        let listen = match Config::load(&file) {
            Ok(config) => config.door.listen,
            // An agent's machine has no configuration, and needs none.
            Err(_) if global.config.is_none() => std::net::SocketAddr::from(([127, 0, 0, 1], 6432)),
            Err(error) => return Err(error.into()),
        };
        return Ok((listen.ip().to_string(), listen.port()));
    };
    let parts = text.rsplit_once(':');
    let parsed = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) = parsed.ok_or_else(|| {
        Failure::usage(format!(
            "`{text}` is not an address: write HOST:PORT, such as 127.0.0.1:6432"
        ))
    })?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// Sends one simple query and reads to its end.
pub(crate) async fn simple(connection: &mut Connection, sql: &str) -> Result<Said, Failure> {
    let mut message = BytesMut::new();
    frontend::query(sql, &mut message)
        .map_err(|_| Failure::usage("the text holds a zero byte, which is no SQL"))?;
    connection.send(&message).await.map_err(Failure::unreachable)?;
    read(connection).await
}

async fn read(connection: &mut Connection) -> Result<Said, Failure> {
    let mut said = Said::default();
    let mut error = None;
    loop {
        let frame = connection.receive().await;
        let frame = match (frame, &error) {
            (Ok(frame), _) => frame,
            // A door may close after an error; the error is what matters.
            (Err(_), Some(_)) => break,
            (Err(lost), None) => return Err(Failure::unreachable(lost)),
        };
        match frame.tag() {
            b'Z' => break,
            b'D' => said.values.push(row(&frame).map_err(unreadable)?.into_iter().next().flatten()),
            b'C' => said.tags.push(command_tag(&frame).map_err(unreadable)?),
            b'N' => said.notices.push(ErrorResponse::read(&frame).message),
            b'E' => error = Some(ErrorResponse::read(&frame)),
            // Nothing of ours is copied: end it, so that the door goes on.
            b'G' => {
                let mut fail = BytesMut::new();
                frontend::copy_fail("a file is proposed without its data", &mut fail)?;
                connection.send(&fail).await.map_err(Failure::unreachable)?;
            }
            _ => {}
        }
    }
    error.map_or(Ok(said), |error| Err(failure(error)))
}

fn unreadable(error: Malformed) -> Failure {
    Failure::new(format!("the door broke the protocol: {error}"))
}

/// What an error of the door's means for whoever typed the command.
fn failure(error: ErrorResponse) -> Failure {
    let exit = if error.code == HELD { Exit::Held } else { Exit::Failed };
    let mut why = format!("{} ({})", error.message, error.code);
    for (label, text) in [("detail", error.detail), ("hint", error.hint)] {
        if let Some(text) = text {
            why.push_str(&format!("\n{label}: {text}"));
        }
    }
    Failure { exit, why }
}
