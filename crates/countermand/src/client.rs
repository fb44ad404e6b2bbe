//! The commands' side of the gateway's socket.

use crate::cli::Global;
use crate::config::{self, Config, socket_in};
use crate::exit::Failure;
use countermand_engine::control::{Command, Reply};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A connection to the gateway.
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the gateway that the options, or the configuration, name.
    ///
    /// # Errors
    /// [`Failure`] where there is no configuration, or no gateway.
    pub fn connect(global: &Global) -> Result<Client, Failure> {
        let path = match &global.socket {
            Some(path) => path.clone(),
            // A draft that makes no sense must not keep anybody from stopping things.
            None => socket_in(&Config::state_of(&config::find(global.config.as_deref()))?),
        };
        Client::at(&path)
    }

    /// Connects to the gateway at this socket.
    ///
    /// # Errors
    /// [`Failure`] with [`crate::exit::Exit::Unreachable`] where nobody answers there.
    pub fn at(path: &Path) -> Result<Client, Failure> {
        let stream = UnixStream::connect(path).map_err(|error| {
            Failure::unreachable(format!(
                "cannot reach the gateway at `{}`: {error}; start it with `countermand serve`, and \
                 run this as the user it runs as",
                path.display()
            ))
        })?;
        Ok(Client { stream: BufReader::new(stream), path: path.to_owned() })
    }

    /// The same; no answer is waited for longer than this.
    ///
    /// # Errors
    /// [`Failure`] where the socket is none any more.
    pub(crate) fn within(self, limit: std::time::Duration) -> Result<Client, Failure> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(limit)).map_err(Failure::new)?;
        stream.set_write_timeout(Some(limit)).map_err(Failure::new)?;
        Ok(self)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Failure`] where the gateway refuses, goes away, or does not make sense.
    pub fn ask(&mut self, command: &Command) -> Result<Reply, Failure> {
        let lost = |error: std::io::Error| {
            let path = self.path.display();
            Failure::unreachable(format!("lost the gateway at `{path}`: {error}; look at its log"))
        };
        let mut line = serde_json::to_vec(command).map_err(Failure::new)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(lost)?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).map_err(lost)?;
        if !answer.ends_with('\n') {
            return Err(lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_str(&answer) {
            Ok(Reply::Refused { why }) => Err(Failure::new(why)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(Failure::new(format!(
                "the gateway's answer is not understood: {error}; use a client of its version"
            ))),
        }
    }
}

/// An answer of another kind than was asked for.
pub fn unexpected() -> Failure {
    Failure::new("the gateway answered something else than was asked: use a client of its version")
}
