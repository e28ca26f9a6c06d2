//! The stream to a server: a TCP socket, with or without TLS, or a Unix socket.
//!
//! In: an address. Out: a connected stream, which two threads can share: one reads, the other writes. Promise: connecting takes no
//! longer than its timeout for each IP address of the host.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use crate::address::{Address, Place};
use crate::tls::TlsSession;

/// Number of bytes of records that are read at a time.
const RECORDS_BYTES: usize = 64 << 10;

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
    /// The host is unknown, or none of its addresses accepts in time.
    pub fn open(address: &Address, timeout: Duration) -> io::Result<Self> {
        match address.place() {
            Place::Unix(path) => UnixStream::connect(path).map(Self::Unix),
            Place::Tcp(host, port) => {
                let mut socket = open_tcp(host, *port, timeout)?;
                if !address.is_tls() {
                    return Ok(Self::Tcp(socket));
                }
                socket.set_read_timeout(Some(timeout))?;
                let session = TlsSession::open(&mut socket, host)?;
                socket.set_read_timeout(None)?;
                Ok(Self::Tls(TlsStream::of(socket, session.into())))
            }
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

    /// Sets the time after which reading fails.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Tls(stream) => stream.socket.set_read_timeout(Some(timeout)),
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

fn open_tcp(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for place in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
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
