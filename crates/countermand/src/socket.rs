//! The Unix socket that commands reach the gateway over: one JSON line each way.
//!
//! Who may connect is settled by the file system: the socket is 0600 in a folder that is 0700.
//! Whoever does can stop things; whatever lets something happen is a signed statement.

use countermand_engine::Peer;
use countermand_engine::control::{Command, Reply};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// The longest request, in bytes. A signed statement names every object of a change.
const LONGEST_REQUEST: u64 = 16 * 1024 * 1024;
/// Connections at the same time.
const MOST_CONNECTIONS: usize = 64;

/// A socket that listens.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, whose folder is made if it is not there and closed to others. What an
    /// earlier gateway left there is removed: the caller holds the state directory's lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(path: &Path) -> io::Result<Socket> {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Socket { listener, path: path.to_owned() })
    }

    /// Answers until `stop` turns true, then lets running commands end and removes the socket.
    pub async fn serve<H, F>(self, handle: H, stop: watch::Receiver<bool>)
    where
        H: Fn(Command, Peer) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send,
    {
        let handle = Arc::new(handle);
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut open = JoinSet::new();
        let mut stopped = stop.clone();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(_) = open.join_next() => {}
                accepted = accept(&self.listener, &room) => match accepted {
                    Ok((stream, place)) => {
                        let (handle, stop) = (Arc::clone(&handle), stop.clone());
                        open.spawn(async move {
                            let _place = place;
                            if let Err(error) = converse(stream, &*handle, stop).await {
                                tracing::debug!(%error, "a command's connection ended");
                            }
                        });
                    }
                    Err(error) => tracing::warn!(%error, "cannot accept a command's connection"),
                },
            }
        }
        while open.join_next().await.is_some() {}
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(
    listener: &UnixListener,
    room: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// One connection: requests one after the other, until the client goes or the gateway stops.
async fn converse<H, F>(
    stream: UnixStream,
    handle: &H,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    H: Fn(Command, Peer) -> F,
    F: Future<Output = Reply>,
{
    let peer = peer_of(&stream)?;
    let (read, mut write) = stream.into_split();
    let mut requests = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut requests).take(LONGEST_REQUEST);
        let read = tokio::select! {
            read = limited.read_until(b'\n', &mut line) => read?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let why = "the request is cut short, or too long".to_owned();
            return answer(&mut write, &Reply::Refused { why }).await;
        }
        let reply = match serde_json::from_slice::<Command>(&line) {
            // Only a wait is cut short by a stop: what was begun is ended and recorded.
            Ok(command) => {
                let waits = matches!(command, Command::Wait { .. });
                tokio::select! {
                    reply = handle(command, peer) => reply,
                    _ = stop.wait_for(|stop| *stop), if waits => {
                        Reply::Refused { why: "the gateway is stopping: ask again".to_owned() }
                    }
                }
            }
            Err(error) => Reply::Refused {
                why: format!(
                    "the request is not understood: {error}; use a client of this version"
                ),
            },
        };
        answer(&mut write, &reply).await?;
    }
}

async fn answer(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    write.flush().await
}

/// Who is at the other end, as the kernel says.
fn peer_of(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = stream.peer_cred()?;
    Ok(Peer { uid: credentials.uid(), pid: credentials.pid() })
}
