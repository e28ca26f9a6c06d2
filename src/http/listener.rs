//! A listener with a limit: past it, connections wait until another ends; and those that ask for nothing are ended.
//!
//! In: a listener. Out: connections that give their place back when they are dropped, and that read as ended once nothing
//! has moved for [`IDLE_MAX`]: a thousand clients that went away without a word must not keep all others out. A client
//! that is slow to read its answer is not idle, however long it takes: a person may be paging through it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// The most HTTP connections at one time: each may hold a body of many megabytes. A browser uses six.
pub const HTTP_CONNECTIONS_MAX: usize = 1_000;
/// How long a connection may be silent: longer than a page that asks once a minute.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// A listener that lets so many in.
pub struct Limited {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle_max: Duration,
}

impl Limited {
    /// Limits a listener to [`HTTP_CONNECTIONS_MAX`].
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX)),
            idle_max: IDLE_MAX,
        }
    }
}

impl Listener for Limited {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        let place = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        let placed = Placed {
            stream,
            idle: Box::pin(sleep(self.idle_max)),
            idle_max: self.idle_max,
            is_writing: false,
            _place: place,
        };
        (placed, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection and its place.
pub struct Placed {
    stream: TcpStream,
    /// Ends when nothing has moved for as long as that is allowed.
    idle: Pin<Box<Sleep>>,
    idle_max: Duration,
    /// Whether there is something to be sent that the client has not made room for.
    is_writing: bool,
    _place: OwnedSemaphorePermit,
}

impl Placed {
    fn moved(&mut self) {
        let until = Instant::now() + self.idle_max;
        self.idle.as_mut().reset(until);
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_writing = written.is_pending();
        if written.is_ready() {
            self.moved();
        }
        written
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.moved();
            return read;
        }
        if self.is_writing || self.idle.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // Nothing read is the end.
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Placed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    async fn connected() -> (Placed, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let mut listener = Limited::new(listener);
        listener.idle_max = SHORT;
        let client = TcpStream::connect(address).await.expect("a connection");
        (listener.accept().await.0, client)
    }

    #[tokio::test]
    async fn a_connection_that_is_silent_for_too_long_reads_as_ended() {
        let (mut placed, mut client) = connected().await;
        client.write_all(b"a").await.expect("room for a byte");
        let mut byte = [0];
        assert_eq!(placed.read(&mut byte).await.expect("a byte"), 1);
        let started = Instant::now();
        assert_eq!(placed.read(&mut byte).await.expect("the end"), 0);
        assert!(started.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_is_not_idle() {
        let (mut placed, mut client) = connected().await;
        let chunk = vec![b'x'; 1 << 20];
        // The client reads nothing: at some time there is no room for more.
        let mut sent = 0;
        while let Ok(count) = tokio::time::timeout(SHORT, placed.write(&chunk)).await {
            sent += count.expect("an open connection");
        }
        let reading = tokio::time::timeout(4 * SHORT, placed.read_u8()).await;
        assert!(reading.is_err(), "it reads as ended");
        // Nothing was lost, and once all has been taken, silence counts again.
        let mut taken = vec![0; sent];
        client.read_exact(&mut taken).await.expect("all of it");
        placed.write_all(b"end").await.expect("room again");
        assert_eq!(placed.read(&mut [0]).await.expect("the end"), 0);
    }
}
