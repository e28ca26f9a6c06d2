//! The two ways in which bytes of a client arrive and leave: a TCP socket, and a channel inside the process.
//!
//! In: bytes of the client. Out: bytes for it. Promise: whoever does not take what is sent is waited for, and no more than
//! a bounded number of bytes is held for it.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// The size of the scratch buffer for input that is discarded while closing.
const SCRATCH_BYTES: usize = 16 << 10;
/// How long a connection that is closed on a client's mistake is still read from, so that its last reply is not lost with
/// what the client had sent on.
const LINGER: Duration = Duration::from_secs(2);
/// The number of messages that a channel holds in each direction.
const CHANNEL_MESSAGES: usize = 4;

/// The connection to one client.
#[derive(Debug)]
pub enum Transport {
    /// A socket.
    Tcp(TcpStream),
    /// A channel.
    Channel(Channel),
}

/// The server's end of a channel.
#[derive(Debug)]
pub struct Channel {
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Bytes>,
    /// The rest of the last message that has arrived.
    rest: Bytes,
    has_ended: bool,
}

/// The client's end of a channel.
#[derive(Debug)]
pub struct Peer {
    /// Bytes for the server.
    pub requests: mpsc::Sender<Bytes>,
    /// Bytes of the server.
    pub replies: mpsc::Receiver<Bytes>,
}

/// Creates a channel.
#[must_use]
pub fn channel() -> (Transport, Peer) {
    let (requests, incoming) = mpsc::channel(CHANNEL_MESSAGES);
    let (outgoing, replies) = mpsc::channel(CHANNEL_MESSAGES);
    let channel = Channel {
        incoming,
        outgoing,
        rest: Bytes::new(),
        has_ended: false,
    };
    (Transport::Channel(channel), Peer { requests, replies })
}

impl Transport {
    /// Returns once [`Self::try_read`] may find bytes, or the end.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Channel(channel) => {
                if channel.rest.is_empty() && !channel.has_ended {
                    match ready!(channel.incoming.poll_recv(context)) {
                        Some(bytes) => channel.rest = bytes,
                        None => channel.has_ended = true,
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Appends bytes that have arrived to a buffer; 0 bytes are the end.
    ///
    /// # Errors
    /// `WouldBlock`, if nothing has arrived; those of the socket.
    pub fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => try_read_socket(stream, buffer),
            Self::Channel(channel) => channel.try_read(buffer),
        }
    }

    /// The same, including bytes of which the runtime has not been told yet: after a shutdown nothing waits for it.
    ///
    /// # Errors
    /// The same.
    pub fn try_read_all(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                let socket = std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?);
                let start = buffer.len();
                buffer.resize(buffer.capacity(), 0);
                let received = (&socket).read(&mut buffer[start..]);
                buffer.truncate(start + received.as_ref().map_or(0, |count| *count));
                received
            }
            Self::Channel(channel) => {
                if channel.rest.is_empty() {
                    match channel.incoming.try_recv() {
                        Ok(bytes) => channel.rest = bytes,
                        Err(mpsc::error::TryRecvError::Empty) => {}
                        Err(mpsc::error::TryRecvError::Disconnected) => channel.has_ended = true,
                    }
                }
                channel.try_read(buffer)
            }
        }
    }

    /// Sends bytes; returns once the client, or the system on its behalf, has taken them.
    ///
    /// # Errors
    /// Those of the socket; `BrokenPipe` if the other end of the channel is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Channel(channel) => channel.send(Bytes::copy_from_slice(bytes)).await,
        }
    }

    /// Sends buffers one after the other, on a socket without copying them.
    ///
    /// # Errors
    /// The same.
    pub async fn send_all(&mut self, buffers: [&[u8]; 3]) -> io::Result<()> {
        let [first, second, third] = buffers;
        let mut whole = Buf::chain(first, Buf::chain(second, third));
        match self {
            Self::Tcp(stream) => stream.write_all_buf(&mut whole).await,
            Self::Channel(channel) => {
                let bytes = whole.copy_to_bytes(whole.remaining());
                channel.send(bytes).await
            }
        }
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            // It ends when the channel is dropped.
            Self::Channel(_) => Ok(()),
        }
    }

    /// Ends the sending direction, and discards what still arrives for a while: a socket that is closed with bytes unread
    /// resets the connection, which would take the last reply away from the client.
    pub async fn linger(&mut self) {
        let _ = self.shutdown().await;
        if let Self::Tcp(stream) = self {
            let mut scratch = vec![0; SCRATCH_BYTES];
            let discard =
                async { while stream.read(&mut scratch).await.is_ok_and(|count| count > 0) {} };
            let _ = tokio::time::timeout(LINGER, discard).await;
        }
    }
}

/// Reads what has arrived. Once that is less than there is room for, nothing is left, and the runtime is told so without
/// another read: half of the reads of a client that waits for each reply would find nothing.
fn try_read_socket(stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let room = buffer.capacity() - buffer.len();
    let mut last = None;
    let received = stream.try_io(Interest::READABLE, || {
        let count = stream.try_read_buf(buffer)?;
        if (1..room).contains(&count) {
            last = Some(count);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    });
    last.map_or(received, Ok)
}

impl Channel {
    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if self.rest.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.rest.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&self.rest.split_to(count));
        Ok(count)
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let sent = self.outgoing.send(bytes).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
