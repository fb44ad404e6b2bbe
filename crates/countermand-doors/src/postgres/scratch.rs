//! A real PostgreSQL of our own, in a scratch directory, for the demo and for tests.
//!
//! There is one way for it to end: the pipe to its supervisor closes. [`ScratchServer::stop`],
//! a drop, a panic and a `kill -9` of this process all come down to that, so that a path that is
//! taken every time is the one that cleans up after an accident.

mod account;
mod tools;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use account::Account;
pub use tools::Tools;

const SUPERVISE: &str = include_str!("scratch/supervise.sh");
const START_WITHIN: Duration = Duration::from_secs(120);
/// The name of the superuser of every scratch server, and of the database it starts with.
pub const SUPERUSER: &str = "postgres";

/// How a scratch server is to be set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether commits reach the disk. Only a test of durability wants that: it is slow.
    pub fsync: bool,
    /// Further server settings, `("log_statement", "all")`, which win over ours.
    pub settings: Vec<(String, String)>,
}

/// Why a scratch server, or a `psql` against one, did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// No complete set of PostgreSQL's programs was found.
    #[error(
        "no directory holds all of initdb, postgres, psql and pg_dump (looked in {looked}); \
         install PostgreSQL's server (Debian: `apt-get install postgresql`) or name the directory \
         in COUNTERMAND_PG_BIN"
    )]
    ToolsMissing {
        /// Where we looked.
        looked: String,
    },
    /// Running as root, and PostgreSQL refuses to.
    #[error(
        "PostgreSQL does not run as root and neither `postgres` nor `nobody` is a user of this \
         machine; add one of them or run as an ordinary user"
    )]
    NoAccount,
    /// No directory that the server's account could work in.
    #[error(
        "the account that runs the server cannot work in `{directory}`, nor in /tmp; make it and \
         its parents searchable (chmod o+x) and it writable, or point TMPDIR elsewhere"
    )]
    NoRoom {
        /// The directory for temporary files.
        directory: PathBuf,
    },
    /// The server ended before it accepted connections.
    #[error("the scratch server did not start; the end of its log: {log}")]
    Start {
        /// The last lines of the server's log.
        log: String,
    },
    /// The server was not ready in time.
    #[error("the scratch server was not ready within {} s; the end of its log: {log}", within.as_secs())]
    Slow {
        /// The deadline that passed.
        within: Duration,
        /// The server's log so far.
        log: String,
    },
    /// `psql` reported an error.
    #[error("psql failed: {stderr}")]
    Psql {
        /// What it wrote to standard error.
        stderr: String,
    },
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What we were about to do.
        doing: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
}

/// Whom `psql` connects as, and where: a scratch server or a door in front of it.
#[derive(Clone, Debug)]
pub struct Login {
    /// Where the server or the door listens.
    pub address: SocketAddr,
    /// The role, or the agent's name.
    pub user: String,
    /// Its password; never part of a command line.
    pub password: SecretString,
    /// The database to connect to.
    pub database: String,
}

/// What a `psql` said.
#[derive(Clone, Debug)]
pub struct PsqlOutput {
    /// Whether every statement succeeded.
    pub success: bool,
    /// Rows, unaligned, without headers.
    pub stdout: String,
    /// Errors, with their details and hints, and notices.
    pub stderr: String,
}

/// A running PostgreSQL that ends with this value, or with this process, whichever is first.
#[derive(Debug)]
pub struct ScratchServer {
    supervisor: Supervisor,
    tools: Tools,
    port: u16,
    password: SecretString,
}

impl ScratchServer {
    /// Starts a server on a free port of the loopback interface and waits until it accepts
    /// connections.
    pub async fn start(options: Options) -> Result<ScratchServer, ScratchError> {
        let tools = Tools::find()?;
        let password = random_password();
        let mut supervisor = Supervisor::spawn(&tools, &options, &password, &free_ports()?)?;
        let port = supervisor.ready(Instant::now() + START_WITHIN).await?;
        Ok(ScratchServer { supervisor, tools, port, password })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The directory that holds all of the server, its Unix socket included. Only this user and
    /// the server's own account can enter it.
    pub fn directory(&self) -> &Path {
        &self.supervisor.directory
    }

    /// The superuser's login over TCP.
    pub fn superuser(&self) -> Login {
        self.login(SUPERUSER, self.password.clone(), SUPERUSER)
    }

    /// A login of another role that the caller has created.
    pub fn login(&self, user: &str, password: SecretString, database: &str) -> Login {
        let address = self.address();
        Login { address, user: user.to_owned(), password, database: database.to_owned() }
    }

    /// The programs that belong to this server, `pg_dump` among them.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        self.supervisor.log()
    }

    /// Runs SQL as the superuser over the Unix socket, statement by statement, and stops at the
    /// first error. Returns the rows, unaligned, without headers.
    pub async fn psql(&self, sql: &str) -> Result<String, ScratchError> {
        self.psql_in(SUPERUSER, sql).await
    }

    /// As [`ScratchServer::psql`], in another database.
    pub async fn psql_in(&self, database: &str, sql: &str) -> Result<String, ScratchError> {
        let mut command = self.tools.psql();
        command.arg("-h").arg(self.directory()).args(["-p", &self.port.to_string()]);
        command.args(["-U", SUPERUSER, "-d", database]);
        let output = feed(command, sql).await?;
        if output.success {
            return Ok(output.stdout);
        }
        Err(ScratchError::Psql { stderr: output.stderr })
    }

    /// Stops the server in good order (open transactions are rolled back) and removes all of it.
    pub async fn stop(mut self) -> Result<(), ScratchError> {
        self.supervisor.ask_to_stop();
        let stopped = tokio::task::spawn_blocking(move || self.supervisor.wait()).await;
        stopped.map_err(std::io::Error::other).flatten().map_err(io("wait for the scratch server"))
    }
}

/// Runs SQL through the real `psql` as somebody, statement by statement, against a server or a
/// door, and stops at the first error, which is in the output.
pub async fn psql_as(tools: &Tools, login: &Login, sql: &str) -> Result<PsqlOutput, ScratchError> {
    feed(psql_command(tools, login), sql).await
}

/// A `psql` that will connect as somebody; the caller adds `-c`, `-f` or input.
pub fn psql_command(tools: &Tools, login: &Login) -> tokio::process::Command {
    let mut command = tools.psql();
    command.args(["-h", &login.address.ip().to_string(), "-p", &login.address.port().to_string()]);
    command.args(["-U", &login.user, "-d", &login.database]);
    command.env("PGPASSWORD", login.password.expose_secret());
    command
}

/// Runs a prepared `psql` with this text as its input.
async fn feed(mut command: tokio::process::Command, sql: &str) -> Result<PsqlOutput, ScratchError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(io("start psql"))?;
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    // psql may stop reading at an error: that the rest does not go through is its answer to give.
    let write = async move {
        let _ = stdin.write_all(sql.as_bytes()).await;
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(io("wait for psql"))?;
    Ok(PsqlOutput {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The shell that owns the server, and our end of the pipe that keeps it alive.
#[derive(Debug)]
struct Supervisor {
    child: Child,
    lifeline: Option<ChildStdin>,
    directory: PathBuf,
}

impl Supervisor {
    fn spawn(
        tools: &Tools,
        options: &Options,
        password: &SecretString,
        ports: &[u16],
    ) -> Result<Supervisor, ScratchError> {
        let account = Account::for_server()?;
        let scratch = account.scratch_directory()?;
        let directory = scratch.path().to_owned();
        let script = directory.join("supervise.sh");
        for (path, text) in
            [(&directory.join("password"), password.expose_secret()), (&script, SUPERVISE)]
        {
            std::fs::write(path, text).map_err(io("write into the scratch directory"))?;
            account.own(path)?;
        }

        let mut command = std::process::Command::new("/bin/sh");
        command.arg(script).arg(tools.directory()).arg(&directory);
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        command.arg(ports.join(" ")).args(server_arguments(options, &directory));
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        account.run_as(&mut command);
        let mut child = command.spawn().map_err(io("start the scratch server's supervisor"))?;
        let lifeline = child.stdin.take();
        // From here on the supervisor removes the directory.
        let _ = scratch.keep();
        Ok(Supervisor { child, lifeline, directory })
    }

    /// Waits until the server accepts connections; returns its port.
    async fn ready(&mut self, deadline: Instant) -> Result<u16, ScratchError> {
        let pid_file = self.directory.join("data/postmaster.pid");
        loop {
            if self.child.try_wait().map_err(io("wait for the scratch server"))?.is_some() {
                return Err(ScratchError::Start { log: self.last_words() });
            }
            if let Some(port) = std::fs::read_to_string(&pid_file).ok().and_then(ready_port) {
                return Ok(port);
            }
            if Instant::now() >= deadline {
                return Err(ScratchError::Slow { within: START_WITHIN, log: self.log() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What a supervisor that has ended wrote: the end of the log it removed.
    fn last_words(&mut self) -> String {
        let mut words = Vec::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            let _ = stdout.read_to_end(&mut words);
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    }

    fn ask_to_stop(&mut self) {
        if let Some(lifeline) = &mut self.lifeline {
            // A supervisor that does not listen any more has ended, which is what we want.
            let _ = lifeline.write_all(b"stop\n");
        }
    }

    fn wait(&mut self) -> std::io::Result<()> {
        self.child.wait().map(drop)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.wait();
    }
}

/// The port in a `postmaster.pid` whose server accepts connections. This is what `pg_ctl` reads.
fn ready_port(pid_file: String) -> Option<u16> {
    const PORT: usize = 3;
    const STATUS: usize = 7;
    let lines: Vec<&str> = pid_file.lines().map(str::trim).collect();
    (lines.get(STATUS) == Some(&"ready")).then(|| lines[PORT].parse().ok())?
}

/// Ports that are free now. Any of them may be taken by the time the server asks for it, so the
/// supervisor tries one after the other.
fn free_ports() -> Result<Vec<u16>, ScratchError> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All at once, or they would be the same.
    let held: Result<Vec<TcpListener>, _> = (0..5).map(|_| bind()).collect();
    let addresses = held.and_then(|held| held.iter().map(TcpListener::local_addr).collect());
    let addresses: Vec<SocketAddr> = addresses.map_err(io("find a free port"))?;
    Ok(addresses.iter().map(SocketAddr::port).collect())
}

fn server_arguments(options: &Options, directory: &Path) -> Vec<String> {
    let fsync = if options.fsync { "on" } else { "off" };
    let socket = directory.display().to_string();
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", &socket),
        // Seen in the process titles, so that what is left of a server can be found.
        ("cluster_name", &name),
        ("max_connections", "60"),
        ("shared_buffers", "32MB"),
        ("fsync", fsync),
        ("synchronous_commit", fsync),
        ("full_page_writes", fsync),
    ];
    let theirs = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all = ours.into_iter().chain(theirs);
    all.flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect()
}

fn random_password() -> SecretString {
    SecretString::from(hex::encode(rand::rng().random::<[u8; 24]>()))
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> ScratchError {
    move |source| ScratchError::Io { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_somebody_took_meanwhile_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut ports = free_ports().unwrap();
        ports.insert(0, taken.local_addr().unwrap().port());
        let (tools, options) = (Tools::find().unwrap(), Options::default());
        let mut supervisor =
            Supervisor::spawn(&tools, &options, &random_password(), &ports).unwrap();
        let port = supervisor.ready(Instant::now() + START_WITHIN).await.unwrap();
        assert!(ports[1..].contains(&port), "{port} of {ports:?}");
    }

    #[test]
    fn a_server_that_is_still_starting_has_no_port_yet() {
        let file = |status| format!("1\n/d\n2\n5432\n/s\n127.0.0.1\n  3  4\n{status}\n");
        assert_eq!(ready_port(file("ready   ")), Some(5432));
        assert_eq!(ready_port(file("starting")), None);
        assert_eq!(ready_port("1\n/d\n2\n5432\n".to_owned()), None);
        assert_eq!(ready_port(String::new()), None);
    }
}
