//! The stream to a server: a TCP socket, with or without TLS, or a Unix socket.
//!
//! In: an address. Out: a connected stream, which two threads can share: one reads, the other writes. Promise: connecting takes no
//! longer than its limit, with the look-up of the name and the handshake.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::address::{Address, Place};
use crate::deadline::{GivenUp, Step, within};
use crate::tls::TlsSession;

/// Number of bytes of records that are read at a time.
const RECORDS_BYTES: usize = 64 << 10;
/// Number of bytes that are sent at a time where progress is counted.
const PIECE_BYTES: usize = 64 << 10;

/// Why there is no stream.
pub enum OpenError {
    /// The system, the server or the name server refuses.
    Failed(io::Error),
    /// The limit was reached in this step.
    Late(Step),
    /// Ctrl-C was pressed.
    Interrupted,
}

/// A connected stream.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(TlsStream),
}

/// A handle of an encrypted stream. Of all handles, one reads and one writes.
pub struct TlsStream {
    pub socket: TcpStream,
    pub session: Arc<TlsSession>,
    /// Bytes that have been decrypted, and the number of them that have been read.
    decrypted: Vec<u8>,
    taken: usize,
}

impl Stream {
    /// Connects; each IP address of a host is tried in turn.
    ///
    /// # Errors
    /// [`OpenError::Failed`] if the host is unknown, or none of its addresses accepts; `Late` if that takes longer than the limit.
    pub fn open(address: &Address, limit: Option<Duration>) -> Result<Self, OpenError> {
        let step = Arc::new(Mutex::new(Step::Connect));
        let (place, is_tls, shared) =
            (address.place().clone(), address.is_tls(), Arc::clone(&step));
        // The system looks names up, and connects Unix sockets, without a limit of its own.
        let opened = within(limit, move || open(&place, is_tls, limit, &shared));
        let step = || step.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match opened {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if is_timeout(&error) && limit.is_some() => Err(OpenError::Late(step())),
            Ok(Err(error)) => Err(OpenError::Failed(error)),
            Err(GivenUp::Late) => Err(OpenError::Late(step())),
            Err(GivenUp::Interrupted) => Err(OpenError::Interrupted),
        }
    }

    /// Returns another handle of the same stream.
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Tls(stream) => {
                let socket = stream.socket.try_clone()?;
                let session = Arc::clone(&stream.session);
                Ok(Self::Tls(TlsStream::of(socket, session)))
            }
        }
    }

    /// Sets the time after which reading fails, and that after which writing does if nothing is taken.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_timeouts(&self, read: Duration, write: Option<Duration>) -> io::Result<()> {
        let (read, write) = (Some(read), write);
        match self {
            Self::Tcp(stream) | Self::Tls(TlsStream { socket: stream, .. }) => {
                stream.set_read_timeout(read)?;
                stream.set_write_timeout(write)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(read)?;
                stream.set_write_timeout(write)
            }
        }
    }

    /// Sets whether reading and writing fail in place of waiting.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(is_nonblocking),
            Self::Unix(stream) => stream.set_nonblocking(is_nonblocking),
            Self::Tls(stream) => stream.socket.set_nonblocking(is_nonblocking),
        }
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// Those of the system.
    pub fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(stream) => {
                let mut records = Vec::new();
                stream.session.end(&mut records)?;
                stream.socket.write_all(&records)?;
                stream.socket.shutdown(Shutdown::Write)
            }
        }
    }
}

/// Returns whether reading or writing has ended because of a time-out of the socket.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn open(
    place: &Place,
    is_tls: bool,
    limit: Option<Duration>,
    step: &Mutex<Step>,
) -> io::Result<Stream> {
    let begin = |next| *step.lock().unwrap_or_else(PoisonError::into_inner) = next;
    let (host, port) = match place {
        Place::Unix(path) => return UnixStream::connect(path).map(Stream::Unix),
        Place::Tcp(host, port) => (host, *port),
    };
    begin(Step::Lookup);
    let addresses: Vec<SocketAddr> = (host.as_str(), port).to_socket_addrs()?.collect();
    begin(Step::Connect);
    let mut socket = connect_tcp(&addresses, limit)?;
    socket.set_nodelay(true)?;
    if !is_tls {
        return Ok(Stream::Tcp(socket));
    }
    begin(Step::Handshake);
    socket.set_read_timeout(limit)?;
    let session = TlsSession::open(&mut socket, host)?;
    Ok(Stream::Tls(TlsStream::of(socket, session.into())))
}

/// Connects to the first address that accepts. Each has its share of the time that is left, so that one that is silent does not keep the
/// others from being tried.
fn connect_tcp(addresses: &[SocketAddr], limit: Option<Duration>) -> io::Result<TcpStream> {
    let began = Instant::now();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let untried = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let connected = match limit {
            None => TcpStream::connect(address),
            Some(limit) => {
                let share = limit.saturating_sub(began.elapsed()) / untried;
                TcpStream::connect_timeout(address, share.max(Duration::from_millis(1)))
            }
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The sending end of a connection whose replies another thread reads: that one sees by the number of bytes sent that the server still
/// takes them.
pub struct Outgoing {
    stream: Stream,
    sent: Arc<AtomicU64>,
}

impl Outgoing {
    /// Returns the sending end of a stream, which adds to the number of bytes sent.
    pub fn of(stream: Stream, sent: Arc<AtomicU64>) -> Self {
        Self { stream, sent }
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// As [`Stream::end`].
    pub fn end(&mut self) -> io::Result<()> {
        self.stream.end()
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(&bytes[..bytes.len().min(PIECE_BYTES)])?;
        self.sent.fetch_add(count as u64, Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl TlsStream {
    fn of(socket: TcpStream, session: Arc<TlsSession>) -> Self {
        Self {
            socket,
            session,
            decrypted: Vec::new(),
            taken: 0,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut records = Vec::new();
        while self.taken == self.decrypted.len() {
            self.decrypted.clear();
            self.taken = 0;
            records.resize(RECORDS_BYTES, 0);
            let count = self.socket.read(&mut records)?;
            if count == 0 {
                return Ok(0);
            }
            let records = &records[..count];
            self.session.decrypt(records, &mut self.decrypted)?;
        }
        let count = (&self.decrypted[self.taken..]).read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => {
                let mut records = Vec::new();
                stream.session.encrypt(bytes, &mut records)?;
                stream.socket.write_all(&records)?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
