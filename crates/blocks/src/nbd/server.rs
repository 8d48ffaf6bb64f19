//! A server of named exports, on a unix socket or on TCP with TLS.
//!
//! ```text
//! listen ─► accept (bounded) ─► negotiate ─► serve ─┬─ the client leaves
//!                                                   ├─ `remove`: finish what runs, close
//!                                                   └─ `stop`: the same for all
//! ```
//!
//! It does not authenticate: the mode of the socket does, or the certificates behind `upgrade`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use disk::nbd::{Export, Exports, NAME_BYTES_MAX, NbdError, Session, negotiate, negotiate_tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::inner::lock;

/// Pause after a connection could not be accepted: most often there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a unix socket takes before its reader has read it, as far as the kernel allows: a large reply
/// at once, rather than half of it and a wait.
const SEND_BYTES: usize = 1 << 20;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct NbdOptions {
    /// Connections at a time; who comes then waits.
    pub connections_max: usize,
    /// Mode of the socket.
    pub socket_mode: u32,
    /// How long requests that run may take when their export goes or the server stops.
    pub drain: Duration,
}

impl Default for NbdOptions {
    fn default() -> Self {
        Self {
            connections_max: 256,
            socket_mode: 0o600,
            drain: Duration::from_secs(10),
        }
    }
}

/// A stream that a connection became.
pub trait NbdStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> NbdStream for S {}

type Later<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Makes an encrypted stream of a TCP connection; it says who may connect.
pub type Upgrade = Arc<dyn Fn(TcpStream) -> Later<Box<dyn NbdStream>> + Send + Sync>;

/// A running server; dropped, it ends at once.
pub struct NbdServer {
    shared: Arc<Shared>,
    socket: Option<Socket>,
    address: Option<SocketAddr>,
    accepting: JoinSet<()>,
}

struct Shared {
    options: NbdOptions,
    entries: Mutex<BTreeMap<String, Entry>>,
    stop: CancellationToken,
    slots: Arc<Semaphore>,
}

/// An export that is served.
struct Entry {
    export: Arc<dyn Export>,
    /// Ends its connections.
    stop: CancellationToken,
    /// How many there are.
    open: watch::Sender<usize>,
}

/// A connection that is counted.
struct InUse {
    stop: CancellationToken,
    open: watch::Sender<usize>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

/// A socket's name, and the file that it stands for.
struct Socket {
    path: PathBuf,
    file: (u64, u64),
}

enum Listener {
    Unix(UnixListener),
    Tls(TcpListener, Upgrade),
}

enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, Upgrade),
}

impl NbdServer {
    /// Listens on a unix socket. A socket that a dead server left behind is replaced in one step; one
    /// that answers is refused as in use.
    pub async fn listen(path: &Path, options: NbdOptions) -> io::Result<Self> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // Bound under another name first: clients that connect again find the old socket or the new.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push("~");
        let fresh = PathBuf::from(fresh);
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        let mode = std::fs::Permissions::from_mode(options.socket_mode);
        std::fs::set_permissions(&fresh, mode)?;
        let file = file_of(&fresh)?;
        std::fs::rename(&fresh, path)?;
        let path = path.to_owned();
        let mut server = Self::start(Listener::Unix(listener), options);
        server.socket = Some(Socket { path, file });
        Ok(server)
    }

    /// Listens on TCP; a client has to say `STARTTLS` before anything else.
    pub async fn listen_tls(
        address: SocketAddr,
        upgrade: Upgrade,
        options: NbdOptions,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mut server = Self::start(Listener::Tls(listener, upgrade), options);
        server.address = Some(address);
        Ok(server)
    }

    fn start(listener: Listener, options: NbdOptions) -> Self {
        let shared = Arc::new(Shared {
            options,
            entries: Mutex::default(),
            stop: CancellationToken::new(),
            slots: Arc::new(Semaphore::new(options.connections_max)),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_all(shared.clone(), listener));
        Self {
            shared,
            socket: None,
            address: None,
            accepting,
        }
    }

    /// Returns the address of a TCP server.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Serves a disk under a name; one that is taken is refused.
    pub fn add(&self, name: &str, export: Arc<dyn Export>) -> io::Result<()> {
        if name.len() > NAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut entries = lock(&self.shared.entries);
        if entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let entry = Entry {
            export,
            stop: self.shared.stop.child_token(),
            open: watch::Sender::new(0),
        };
        entries.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Serves a disk no more: finishes what runs, closes its connections, and returns when they are
    /// gone. Whether there was such a name.
    pub async fn remove(&self, name: &str) -> bool {
        let Some(entry) = lock(&self.shared.entries).remove(name) else {
            return false;
        };
        entry.stop.cancel();
        let mut open = entry.open.subscribe();
        // The sender is in `entry`: waiting can only end well.
        drop(open.wait_for(|open| *open == 0).await);
        true
    }

    /// Returns the names that are served.
    pub fn names(&self) -> Vec<String> {
        lock(&self.shared.entries).keys().cloned().collect()
    }

    /// Returns how many connections have chosen an export.
    pub fn connections(&self) -> usize {
        let entries = lock(&self.shared.entries);
        entries.values().map(|entry| *entry.open.borrow()).sum()
    }

    /// Returns how many connections an export has.
    pub fn connections_of(&self, name: &str) -> usize {
        let entries = lock(&self.shared.entries);
        entries.get(name).map_or(0, |entry| *entry.open.borrow())
    }

    /// Takes no more connections, finishes what runs, closes all, and takes the socket's name away.
    pub async fn stop(mut self) {
        self.shared.stop.cancel();
        while self.accepting.join_next().await.is_some() {}
    }
}

impl Drop for NbdServer {
    fn drop(&mut self) {
        // Only its own socket: another server may have taken the name over.
        if let Some(socket) = &self.socket
            && file_of(&socket.path).is_ok_and(|file| file == socket.file)
        {
            drop(std::fs::remove_file(&socket.path));
        }
    }
}

fn file_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(listener) => {
                let stream = listener.accept().await?.0;
                rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BYTES)?;
                Ok(Accepted::Unix(stream))
            }
            Self::Tls(listener, upgrade) => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, upgrade.clone()))
            }
        }
    }
}

async fn accept_all(shared: Arc<Shared>, listener: Listener) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&shared, &listener) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                connections.spawn(connection(shared.clone(), stream, slot));
            }
            Err(error) => {
                tracing::warn!(%error, "an NBD connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    shared: &Shared,
    listener: &Listener,
) -> io::Result<(Accepted, OwnedSemaphorePermit)> {
    let slot = shared.slots.clone().acquire_owned().await;
    let slot = slot.map_err(io::Error::other)?;
    Ok((listener.accept().await?, slot))
}

/// Serves one connection from its first byte to its last.
async fn connection(shared: Arc<Shared>, stream: Accepted, slot: OwnedSemaphorePermit) {
    let exports = shared.exports();
    let served = match stream {
        Accepted::Unix(mut stream) => {
            let negotiated = tokio::select! {
                () = shared.stop.cancelled() => return,
                negotiated = negotiate(&mut stream, &exports) => negotiated,
            };
            match negotiated {
                Ok(Some(session)) => shared.serve(stream, session).await,
                other => other.map(drop),
            }
        }
        Accepted::Tcp(stream, upgrade) => {
            let negotiated = tokio::select! {
                () = shared.stop.cancelled() => return,
                negotiated = negotiate_tls(stream, &exports, |stream| upgrade(stream)) => negotiated,
            };
            match negotiated {
                Ok(Some((stream, session))) => shared.serve(stream, session).await,
                other => other.map(drop),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an NBD connection broke");
    }
    drop(slot);
}

impl Shared {
    fn exports(&self) -> Exports {
        let entries = lock(&self.entries);
        let with = |exports: Exports, (name, entry): (&String, &Entry)| {
            exports.with(name, entry.export.clone())
        };
        entries.iter().fold(Exports::default(), with)
    }

    /// Counts a connection to an export; `None` when it went in the meantime.
    fn enter(&self, session: &Session) -> Option<InUse> {
        let entries = lock(&self.entries);
        let entry = entries.get(session.name())?;
        if !Arc::ptr_eq(&entry.export, session.export()) {
            return None;
        }
        entry.open.send_modify(|open| *open += 1);
        Some(InUse {
            stop: entry.stop.clone(),
            open: entry.open.clone(),
        })
    }

    async fn serve<S: NbdStream>(&self, stream: S, session: Session) -> Result<(), NbdError> {
        let Some(in_use) = self.enter(&session) else {
            return Ok(());
        };
        let too_late = async {
            in_use.stop.cancelled().await;
            tokio::time::sleep(self.options.drain).await;
        };
        tokio::select! {
            served = session.serve(stream, in_use.stop.cancelled()) => served,
            () = too_late => Err(NbdError::Protocol("it did not take its answers in time")),
        }
    }
}
