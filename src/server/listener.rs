//! Listeners: TCP and Unix sockets, several under one roof.
//!
//! In: endpoints. Out: accepted sockets, each with its endpoint and the address of its client. Promises: all endpoints listen, or
//! none does and the error names the one that cannot; a Unix socket that nobody listens on is replaced, anything else in its place
//! is left alone; the file of a Unix socket is removed when its listener is dropped.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::{Address, Endpoint, PeerAddress, Place};

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}; choose another with {flag}")]
pub struct ListenError {
    endpoint: String,
    flag: &'static str,
    source: io::Error,
}

/// Why the path of a Unix socket cannot be used.
#[derive(Debug, thiserror::Error)]
enum PathError {
    #[error("another server listens on this socket")]
    InUse,
    #[error("it exists and is no socket; it is left as it is")]
    Foreign,
}

impl From<PathError> for io::Error {
    fn from(error: PathError) -> Self {
        Self::new(io::ErrorKind::AddrInUse, error)
    }
}

/// Listens on every endpoint. `flag` is that which named them.
///
/// # Errors
/// [`ListenError`] if an address is in use, or not one of this machine.
pub async fn listen(endpoints: &[Endpoint], flag: &'static str) -> Result<Listeners, ListenError> {
    let mut listeners = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let listener = Listener::open(endpoint).await;
        listeners.push(listener.map_err(|source| ListenError {
            endpoint: endpoint.to_string(),
            flag,
            source,
        })?);
    }
    Ok(Listeners { listeners, next: 0 })
}

/// The listeners of an interface.
pub struct Listeners {
    listeners: Vec<Listener>,
    /// Place of the one that is asked first, so that no other is starved.
    next: usize,
}

/// An accepted connection.
pub struct Accepted {
    /// Its socket.
    pub socket: Socket,
    /// Address of the client.
    pub peer: PeerAddress,
    /// The endpoint that it was accepted at; its address is the server's end of the connection.
    pub endpoint: Endpoint<PeerAddress>,
    /// True if its listener can be reached from this machine only.
    pub is_local: bool,
}

/// A connected socket.
pub enum Socket {
    /// Of TCP.
    Tcp(TcpStream),
    /// Of Unix.
    Unix(UnixStream),
}

impl Listeners {
    /// Returns the endpoints, with the ports that the system has chosen.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint<PeerAddress>> {
        let endpoints = self.listeners.iter().map(|listener| &listener.endpoint);
        endpoints.cloned().collect()
    }

    /// Accepts a connection.
    ///
    /// # Errors
    /// Those of the system, as when the process has no free file descriptor.
    pub async fn accept(&mut self) -> io::Result<Accepted> {
        std::future::poll_fn(|context| self.poll_accept(context)).await
    }

    /// Polls for a connection.
    ///
    /// # Errors
    /// Those of [`Self::accept`].
    pub fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let count = self.listeners.len();
        for place in (0..count).map(|at| (self.next + at) % count) {
            if let Poll::Ready(accepted) = self.listeners[place].poll_accept(context) {
                self.next = place + 1;
                match accepted {
                    // The client has disconnected already.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    accepted => return Poll::Ready(accepted),
                }
            }
        }
        Poll::Pending
    }
}

struct Listener {
    socket: ListeningSocket,
    endpoint: Endpoint<PeerAddress>,
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "dropped")] SocketFile,
    ),
}

impl Listener {
    async fn open(endpoint: &Endpoint) -> io::Result<Self> {
        let (socket, address) = match &endpoint.place {
            Place::Tcp(Address(address)) => {
                let listener = TcpListener::bind(address).await?;
                let address = PeerAddress::Tcp(listener.local_addr()?);
                (ListeningSocket::Tcp(listener), address)
            }
            Place::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile::of(path)?;
                let address = PeerAddress::Unix(Arc::clone(&file.path));
                (ListeningSocket::Unix(listener, file), address)
            }
        };
        Ok(Self {
            socket,
            endpoint: endpoint.bound(address),
        })
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let accepted = match &self.socket {
            ListeningSocket::Tcp(listener) => listener.poll_accept(context).map_ok(|accepted| {
                let (stream, peer) = accepted;
                let mut endpoint = self.endpoint.clone();
                // One that listens on all addresses is reached at one of them.
                if let Ok(local) = stream.local_addr() {
                    endpoint.place = PeerAddress::Tcp(local);
                }
                // All replies of a batch are written at once, so Nagle's algorithm would only delay them.
                let _ = stream.set_nodelay(true);
                (Socket::Tcp(stream), PeerAddress::Tcp(peer), endpoint)
            }),
            ListeningSocket::Unix(listener, _) => {
                listener.poll_accept(context).map_ok(|accepted| {
                    let peer = self.endpoint.place.clone();
                    (Socket::Unix(accepted.0), peer, self.endpoint.clone())
                })
            }
        };
        accepted.map_ok(|(socket, peer, endpoint)| Accepted {
            socket,
            peer,
            endpoint,
            is_local: self.endpoint.place.is_local(),
        })
    }
}

/// Removes the file of a socket that nobody listens on.
///
/// # Errors
/// [`PathError`] if somebody does, or it is something else; that of the system if it cannot be examined or removed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(PathError::Foreign.into());
    }
    match BlockingUnixStream::connect(path) {
        Ok(_) => Err(PathError::InUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// The file of a Unix socket, removed when dropped unless another has taken its place.
struct SocketFile {
    path: Arc<Path>,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            inode: fs::symlink_metadata(path)?.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let metadata = fs::symlink_metadata(&self.path);
        if metadata.is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
