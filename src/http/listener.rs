//! A listener with a limit: past it, connections wait until another ends; and those that ask for nothing are ended.
//!
//! In: a listener. Out: connections that give their place back when they are dropped, and that read as ended once nothing
//! has moved for [`IDLE_MAX`], or a request comes more slowly than any line carries it: a thousand clients that went away without a
//! word, or that send a byte a minute, must not keep all others out. A client that is slow to read its answer has much longer:
//! a person may be paging through it.

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
/// How long a client may take nothing of its answer.
const STALLED_MAX: Duration = Duration::from_secs(600);
/// After [`IDLE_MAX`], as many bytes of a request must have come for each second that it takes.
const REQUEST_BYTES_PER_SECOND_MIN: u64 = 1 << 10;

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
struct Patience {
    idle_max: Duration,
    stalled_max: Duration,
}

/// A listener that lets so many in.
pub struct Limited {
    listener: TcpListener,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl Limited {
    /// Limits a listener to [`HTTP_CONNECTIONS_MAX`].
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX)),
            patience: Patience {
                idle_max: IDLE_MAX,
                stalled_max: STALLED_MAX,
            },
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
            idle: Box::pin(sleep(self.patience.idle_max)),
            patience: self.patience,
            is_writing: false,
            request: None,
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
    patience: Patience,
    /// Since when a request comes, and how much of it has: nothing has been answered since.
    request: Option<(Instant, u64)>,
    /// Whether there is something to be sent that the client has not made room for.
    is_writing: bool,
    _place: OwnedSemaphorePermit,
}

impl Placed {
    fn moved(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        self.idle.as_mut().reset(until);
    }

    /// Counts what has come of a request; whether it comes fast enough.
    fn received(&mut self, count: usize) -> bool {
        self.moved(self.patience.idle_max);
        let (since, bytes) = self.request.get_or_insert_with(|| (Instant::now(), 0));
        *bytes += count as u64;
        let allowed = Duration::from_secs(*bytes / REQUEST_BYTES_PER_SECOND_MIN);
        since.elapsed() <= self.patience.idle_max + allowed
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let was_writing = std::mem::replace(&mut self.is_writing, written.is_pending());
        if written.is_ready() {
            self.request = None;
            self.moved(self.patience.idle_max);
            return written;
        }
        if !was_writing {
            self.moved(self.patience.stalled_max);
        }
        if self.idle.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
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

    async fn connected() -> (Placed, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let mut listener = Limited::new(listener);
        listener.patience = Patience {
            idle_max: SHORT,
            stalled_max: 6 * SHORT,
        };
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
    async fn a_request_that_comes_too_slowly_reads_as_ended() {
        let (mut placed, mut client) = connected().await;
        let started = Instant::now();
        let sending = async {
            while client.write_all(b"a").await.is_ok() {
                tokio::time::sleep(SHORT / 5).await;
            }
        };
        let reading = async { while placed.read_u8().await.is_ok() {} };
        tokio::select! {
            () = sending => panic!("it is still open"),
            () = reading => {}
        }
        assert!(started.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_request_that_is_answered_bit_by_bit_may_come_as_slowly() {
        let (mut placed, mut client) = connected().await;
        let started = Instant::now();
        while started.elapsed() < 3 * SHORT {
            client.write_all(b"a").await.expect("it is open");
            assert_eq!(placed.read_u8().await.expect("it is open"), b'a');
            placed.write_all(b"b").await.expect("room for a byte");
            assert_eq!(client.read_u8().await.expect("it is open"), b'b');
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_for_too_long_is_ended() {
        let (mut placed, _client) = connected().await;
        let chunk = vec![b'x'; 1 << 20];
        let started = Instant::now();
        let error = loop {
            if let Err(error) = placed.write(&chunk).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= 6 * SHORT);
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
