//! The transport of a connection: a TCP or Unix socket, with or without TLS, or a channel inside the process.
//!
//! In: bytes of the client. Out: bytes for it. Promise: sending waits for a client that does not read, so that a bounded number of
//! bytes is buffered for it.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tokio::io::{
    AsyncBufRead as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest,
    Ready,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::receive_buffer::Room;
use crate::tls::{TLS_BYTES, TlsStream};

/// Size in bytes of the scratch buffer for input during a shutdown, and for input that is discarded while closing.
const SCRATCH_BYTES: usize = 16 << 10;
/// Number of bytes after which others have their turn: thousands of clients may ask for long values at once, and for each the system
/// copies as much as its socket takes, which is megabytes.
const SENT_BYTES_MAX: usize = 256 << 10;
/// Maximum time for which a closing connection is read from.
const LINGER: Duration = Duration::from_secs(2);
/// Time between two looks for the end of a client that has sent more than has been read.
const HANG_UP_LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Capacity of a channel in each direction, in messages: one waits while the one before is taken.
const CHANNEL_MESSAGES: usize = 1;

/// Transport of one connection.
#[derive(Debug)]
pub enum Transport {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// A TCP socket with TLS.
    Tls(Box<TlsStream>),
    /// A channel inside the process.
    Channel(Channel),
}

/// The server's end of a channel.
#[derive(Debug)]
pub struct Channel {
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Bytes>,
    /// Unread bytes of the last message.
    rest: Bytes,
    has_ended: bool,
}

/// The client's end of a channel.
#[derive(Debug)]
pub struct ClientEnd {
    /// Bytes to the server.
    pub requests: mpsc::Sender<Bytes>,
    /// Bytes from the server.
    pub replies: mpsc::Receiver<Bytes>,
}

/// Creates a channel.
#[must_use]
pub fn channel() -> (Transport, ClientEnd) {
    let (requests, incoming) = mpsc::channel(CHANNEL_MESSAGES);
    let (outgoing, replies) = mpsc::channel(CHANNEL_MESSAGES);
    let channel = Channel {
        incoming,
        outgoing,
        rest: Bytes::new(),
        has_ended: false,
    };
    (Transport::Channel(channel), ClientEnd { requests, replies })
}

impl Transport {
    /// Returns the memory that it takes beside the buffers of requests and replies, in bytes.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        match self {
            Self::Tls(_) => TLS_BYTES,
            Self::Tcp(_) | Self::Unix(_) | Self::Channel(_) => 0,
        }
    }

    /// Returns the descriptor of its socket; -1 for a channel.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_raw_fd(),
            Self::Channel(_) => -1,
        }
    }

    /// Polls until [`Self::try_read`] may find bytes, or the end.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
            Self::Tls(stream) => match Pin::new(stream).poll_fill_buf(context) {
                // A client may close without the farewell of TLS: every request has an end of its own.
                Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Err(error))
                }
                filled => filled.map(|_| Ok(())),
            },
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

    /// Reads bytes that have arrived, and returns their number; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived; those of the socket.
    #[inline(always)]
    pub fn try_read(&mut self, room: Room<'_>) -> io::Result<usize> {
        match room {
            Room::Short(mut room) => self.try_read_to(&mut room),
            Room::Long(mut room) => self.try_read_to(&mut room),
        }
    }

    #[inline(always)]
    fn try_read_to(&mut self, room: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => try_read_socket(stream, room),
            Self::Unix(stream) => stream.try_read_buf(room),
            Self::Tls(stream) => read_decrypted(stream, room),
            Self::Channel(channel) => channel.try_read(room),
        }
    }

    /// Does the same, and finds also bytes whose arrival the runtime has not noticed: a shutdown must not wait for it.
    ///
    /// # Errors
    /// Those of [`Self::try_read`].
    pub fn try_read_all(&mut self, room: Room<'_>) -> io::Result<usize> {
        match room {
            Room::Short(mut room) => self.try_read_all_to(&mut room),
            Room::Long(mut room) => self.try_read_all_to(&mut room),
        }
    }

    fn try_read_all_to(&mut self, room: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => read_waiting(stream, room),
            Self::Unix(stream) => read_waiting(stream, room),
            Self::Tls(stream) => {
                decrypt_waiting(stream)?;
                read_decrypted(stream, room)
            }
            Self::Channel(channel) => {
                if channel.rest.is_empty() {
                    match channel.incoming.try_recv() {
                        Ok(bytes) => channel.rest = bytes,
                        Err(mpsc::error::TryRecvError::Empty) => {}
                        Err(mpsc::error::TryRecvError::Disconnected) => channel.has_ended = true,
                    }
                }
                channel.try_read(room)
            }
        }
    }

    /// Returns true if [`Self::try_read`] finds all bytes that have arrived, whether or not it was polled before.
    #[must_use]
    #[inline(always)]
    pub fn is_socket(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// Waits until the client sends no more, whether or not what it has sent has been read.
    pub async fn hung_up(&self) {
        loop {
            let has_hung_up = match self {
                Self::Tcp(stream) => is_read_closed(stream.ready(Interest::READABLE).await),
                Self::Unix(stream) => is_read_closed(stream.ready(Interest::READABLE).await),
                Self::Tls(stream) => {
                    is_read_closed(stream.get_ref().0.ready(Interest::READABLE).await)
                }
                Self::Channel(channel) => channel.incoming.is_closed(),
            };
            if has_hung_up {
                return;
            }
            // More has been sent, which nobody reads now: only a look from time to time tells of the end.
            tokio::time::sleep(HANG_UP_LOOK_INTERVAL).await;
        }
    }

    /// Sends bytes to a socket, as many as it takes at once, and returns their number. Mostly it takes all, and to try that is cheaper
    /// than to poll it first.
    ///
    /// # Errors
    /// Those of the socket.
    #[inline(always)]
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > SENT_BYTES_MAX {
            return Ok(0);
        }
        let sent = match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tls(_) | Self::Channel(_) => return Ok(0),
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// Sends bytes. Returns once the client, or the buffer of its socket, has taken them.
    ///
    /// # Errors
    /// Those of the socket; `BrokenPipe` if the other end of the channel is closed.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => send_in_turns(stream, &mut { bytes }).await,
            Self::Unix(stream) => send_in_turns(stream, &mut { bytes }).await,
            Self::Tls(stream) => Box::pin(encrypt(stream, &mut { bytes })).await,
            Self::Channel(channel) => channel.send(Bytes::copy_from_slice(bytes)).await,
        }
    }

    /// Sends buffers one after the other, on a socket without copying them.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub async fn send_all(&mut self, buffers: [&[u8]; 3]) -> io::Result<()> {
        let [first, second, third] = buffers;
        let mut whole = Buf::chain(first, Buf::chain(second, third));
        match self {
            Self::Tcp(stream) => send_in_turns(stream, &mut whole).await,
            Self::Unix(stream) => send_in_turns(stream, &mut whole).await,
            Self::Tls(stream) => Box::pin(encrypt(stream, &mut whole)).await,
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
            Self::Unix(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            // A channel ends when it is dropped.
            Self::Channel(_) => Ok(()),
        }
    }

    /// Ends the sending direction, and discards input for a while: closing a socket with unread input resets the connection, and
    /// the client could lose the last reply.
    pub async fn linger(&mut self) {
        let _ = self.shutdown().await;
        match self {
            Self::Tcp(stream) => discard(stream).await,
            Self::Unix(stream) => discard(stream).await,
            Self::Tls(stream) => discard(&mut **stream).await,
            Self::Channel(_) => {}
        }
    }
}

fn is_read_closed(ready: io::Result<Ready>) -> bool {
    ready.is_ok_and(Ready::is_read_closed)
}

/// Sends bytes with TLS, until the system has taken all of them.
async fn encrypt(stream: &mut TlsStream, bytes: &mut impl Buf) -> io::Result<()> {
    send_in_turns(stream, bytes).await?;
    stream.flush().await
}

/// Reads what has been decrypted.
fn read_decrypted(stream: &mut TlsStream, room: &mut impl BufMut) -> io::Result<usize> {
    let mut reader = stream.get_mut().1.reader();
    let mut count = 0;
    while room.has_remaining_mut() {
        match reader.fill_buf() {
            Ok([]) => break,
            Ok(piece) => {
                let length = piece.len().min(room.remaining_mut());
                room.put_slice(&piece[..length]);
                reader.consume(length);
                count += length;
            }
            Err(_) if count > 0 => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Decrypts what has arrived at a socket, whether or not the runtime has noticed it.
fn decrypt_waiting(stream: &mut TlsStream) -> io::Result<()> {
    let (socket, session) = stream.get_mut();
    let mut socket = File::from(socket.as_fd().try_clone_to_owned()?);
    while session.wants_read() {
        match session.read_tls(&mut socket) {
            Ok(0) => break,
            Ok(_) => {
                session.process_new_packets().map_err(io::Error::other)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Discards input for a while.
async fn discard(stream: &mut (impl AsyncRead + Unpin)) {
    let mut scratch = vec![0; SCRATCH_BYTES];
    let discard = async { while stream.read(&mut scratch).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(LINGER, discard).await;
}

/// Reads what has arrived at a socket, whether or not the runtime has noticed it.
fn read_waiting(socket: &impl AsFd, room: &mut impl BufMut) -> io::Result<usize> {
    let mut socket = File::from(socket.as_fd().try_clone_to_owned()?);
    let mut scratch = vec![0; SCRATCH_BYTES.min(room.remaining_mut())];
    let count = socket.read(&mut scratch)?;
    room.put_slice(&scratch[..count]);
    Ok(count)
}

/// Sends a long buffer, with a turn for others after each part of it.
async fn send_in_turns(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &mut impl Buf,
) -> io::Result<()> {
    while bytes.has_remaining() {
        stream
            .write_all_buf(&mut bytes.take(SENT_BYTES_MAX))
            .await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Reads what has arrived. A read that does not fill the room has emptied the socket; the runtime is told so without another
/// read, as half of the reads from a client that waits for each reply would find nothing.
#[inline(always)]
fn try_read_socket(stream: &TcpStream, room: &mut impl BufMut) -> io::Result<usize> {
    let room_bytes = room.remaining_mut();
    let mut last = None;
    let received = stream.try_io(Interest::READABLE, || {
        let count = stream.try_read_buf(room)?;
        if (1..room_bytes).contains(&count) {
            last = Some(count);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    });
    last.map_or(received, Ok)
}

impl Channel {
    fn try_read(&mut self, room: &mut impl BufMut) -> io::Result<usize> {
        if self.rest.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.rest.len().min(room.remaining_mut());
        room.put_slice(&self.rest.split_to(count));
        Ok(count)
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let sent = self.outgoing.send(bytes).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
