//! TCP listener for HTTP with a connection limit and idle timeouts: past the limit, connections wait until another ends.
//!
//! In: a listener. Out: connections that return their permit when dropped, and that read as closed once no byte has been
//! transferred for [`IDLE_MAX`], or a request arrives at less than [`REQUEST_BYTES_PER_SECOND_MIN`]: a thousand clients that have
//! vanished, or that send a byte a minute, must not lock out all others. A client that is slow to read its response has
//! [`STALLED_MAX`], as a person may be paging through it.

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

/// Maximum number of concurrent HTTP connections, as each may hold a body of many megabytes. A browser uses six.
pub const HTTP_CONNECTIONS_MAX: usize = 1_000;
/// Maximum time without a byte from the client: longer than the interval of a page that polls once a minute.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// Maximum time for which a client may read nothing of its response.
const STALLED_MAX: Duration = Duration::from_secs(600);
/// Minimum rate of a request that takes longer than [`IDLE_MAX`], averaged over the time beyond that.
const REQUEST_BYTES_PER_SECOND_MIN: u64 = 1 << 10;

/// Timeouts of a connection.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    idle_max: Duration,
    stalled_max: Duration,
}

/// Listener with a limit on its connections.
pub struct LimitedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    timeouts: Timeouts,
}

impl LimitedListener {
    /// Limits a listener to [`HTTP_CONNECTIONS_MAX`] connections.
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX)),
            timeouts: Timeouts {
                idle_max: IDLE_MAX,
                stalled_max: STALLED_MAX,
            },
        }
    }
}

impl Listener for LimitedListener {
    type Io = LimitedConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedConnection, SocketAddr) {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        let connection = LimitedConnection {
            stream,
            idle: Box::pin(sleep(self.timeouts.idle_max)),
            timeouts: self.timeouts,
            is_writing: false,
            request: None,
            _permit: permit,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Connection, its timeouts and its permit.
pub struct LimitedConnection {
    stream: TcpStream,
    /// Timer that ends when no byte has been transferred for too long.
    idle: Pin<Box<Sleep>>,
    timeouts: Timeouts,
    /// Start of the current request and the number of its bytes; `None` once a response has begun.
    request: Option<(Instant, u64)>,
    /// True while a write waits for the client to read.
    is_writing: bool,
    _permit: OwnedSemaphorePermit,
}

impl LimitedConnection {
    fn restart_timer(&mut self, timeout: Duration) {
        let until = Instant::now() + timeout;
        self.idle.as_mut().reset(until);
    }

    /// Counts received bytes of a request; returns false if it arrives too slowly.
    fn received(&mut self, count: usize) -> bool {
        self.restart_timer(self.timeouts.idle_max);
        let (since, bytes) = self.request.get_or_insert_with(|| (Instant::now(), 0));
        *bytes += count as u64;
        let allowed = Duration::from_secs(*bytes / REQUEST_BYTES_PER_SECOND_MIN);
        since.elapsed() <= self.timeouts.idle_max + allowed
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let was_writing = std::mem::replace(&mut self.is_writing, written.is_pending());
        if written.is_ready() {
            self.request = None;
            self.restart_timer(self.timeouts.idle_max);
            return written;
        }
        if !was_writing {
            self.restart_timer(self.timeouts.stalled_max);
        }
        if self.idle.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl AsyncRead for LimitedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            let count = buffer.filled().len() - before;
            if !self.received(count) {
                buffer.set_filled(before);
            }
            return read;
        }
        if self.is_writing || self.idle.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // A read of no bytes is the end of the connection.
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LimitedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
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
        self.written(cx, written)
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

    async fn connected() -> (LimitedConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let mut listener = LimitedListener::new(listener);
        listener.timeouts = Timeouts {
            idle_max: SHORT,
            stalled_max: 6 * SHORT,
        };
        let client = TcpStream::connect(address).await.expect("a connection");
        (listener.accept().await.0, client)
    }

    #[tokio::test]
    async fn a_connection_that_is_silent_for_too_long_reads_as_ended() {
        let (mut connection, mut client) = connected().await;
        client.write_all(b"a").await.expect("room for a byte");
        let mut byte = [0];
        assert_eq!(connection.read(&mut byte).await.expect("a byte"), 1);
        let started = Instant::now();
        assert_eq!(connection.read(&mut byte).await.expect("the end"), 0);
        assert!(started.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_request_that_comes_too_slowly_reads_as_ended() {
        let (mut connection, mut client) = connected().await;
        let started = Instant::now();
        let sending = async {
            while client.write_all(b"a").await.is_ok() {
                tokio::time::sleep(SHORT / 5).await;
            }
        };
        let reading = async { while connection.read_u8().await.is_ok() {} };
        tokio::select! {
            () = sending => panic!("it is still open"),
            () = reading => {}
        }
        assert!(started.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_request_that_is_answered_bit_by_bit_may_come_as_slowly() {
        let (mut connection, mut client) = connected().await;
        let started = Instant::now();
        while started.elapsed() < 3 * SHORT {
            client.write_all(b"a").await.expect("it is open");
            assert_eq!(connection.read_u8().await.expect("it is open"), b'a');
            connection.write_all(b"b").await.expect("room for a byte");
            assert_eq!(client.read_u8().await.expect("it is open"), b'b');
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_for_too_long_is_ended() {
        let (mut connection, _client) = connected().await;
        let chunk = vec![b'x'; 1 << 20];
        let started = Instant::now();
        let error = loop {
            if let Err(error) = connection.write(&chunk).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= 6 * SHORT);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_is_not_idle() {
        let (mut connection, mut client) = connected().await;
        let chunk = vec![b'x'; 1 << 20];
        // The client reads nothing: the buffers of the sockets fill up.
        let mut sent = 0;
        while let Ok(count) = tokio::time::timeout(SHORT, connection.write(&chunk)).await {
            sent += count.expect("an open connection");
        }
        let reading = tokio::time::timeout(4 * SHORT, connection.read_u8()).await;
        assert!(reading.is_err(), "it reads as ended");
        // Nothing is lost, and once the client has read everything, the idle timeout applies again.
        let mut taken = vec![0; sent];
        client.read_exact(&mut taken).await.expect("all of it");
        connection.write_all(b"end").await.expect("room again");
        assert_eq!(connection.read(&mut [0]).await.expect("the end"), 0);
    }
}
