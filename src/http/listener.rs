//! Listener for HTTP, at all of its addresses, with limits on connections, their memory, and their idle time.
//!
//! In: listeners. Out: connections that return their permit when dropped, and that read as closed once no byte has been
//! transferred for [`IDLE_MAX`], or a request arrives at less than [`REQUEST_BYTES_PER_SECOND_MIN`]: a thousand clients that have
//! vanished, or that send a byte a minute, must not lock out all others. A client that is slow to read its response has
//! [`STALLED_MAX`], as a person may be paging through it. Past [`HTTP_CONNECTIONS_MAX`] connections, a few more are accepted, which
//! are reserved for the endpoints of operators; further ones wait until another ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep};

use super::stream::Stream;
use crate::command::{Account, Charge, ClientMemory, Origin};
use crate::config::{Endpoint, PeerAddress};
use crate::server::ACCEPT_PAUSE;
use crate::server::listener::{Accepted, Listeners, Socket};
use crate::tls::{HANDSHAKE_RECORD, Handshake, TLS_BYTES, Tls};

/// Maximum number of concurrent HTTP connections, as each may hold a body of many megabytes. A browser uses six.
pub const HTTP_CONNECTIONS_MAX: usize = 1_000;
/// Number of connections beyond that for the endpoints of operators, so that `/health` answers while all others are taken.
pub const RESERVED_CONNECTIONS: usize = 32;
/// Maximum time without a byte from the client of a reserved connection: others are waiting for it.
const RESERVED_IDLE_MAX: Duration = Duration::from_secs(5);
/// Maximum size of hyper's buffers of a connection in bytes, rounded up.
const BUFFER_BYTES_MAX: usize = 512 << 10;
/// Time for which a connection that is to be ended may send the error.
const ENDING_WAIT: Duration = Duration::from_millis(100);
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
    listeners: Listeners,
    memory: Arc<ClientMemory>,
    permits: Permits,
    timeouts: Timeouts,
    allows_anonymous: bool,
    tls: Option<Arc<Tls>>,
    /// Handshakes of TLS that are not finished; each becomes a connection, or nothing.
    handshakes: JoinSet<Option<Ready>>,
}

struct Permits {
    general: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
}

/// Permit of a connection.
struct Permit {
    _permit: OwnedSemaphorePermit,
    /// True if it is one of [`RESERVED_CONNECTIONS`].
    is_reserved: bool,
}

/// A connection that can be served.
struct Ready {
    stream: Stream,
    peer: PeerAddress,
    endpoint: Endpoint<PeerAddress>,
    is_local: bool,
    certificate_name: Option<String>,
    permit: Permit,
}

/// Client of an HTTP connection.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// Address.
    pub address: PeerAddress,
    /// Address of the server that it has connected to.
    pub local_address: PeerAddress,
    /// Name in its certificate, which has been verified; `None` without one.
    pub certificate_name: Option<String>,
    /// Memory that is held for it.
    pub account: Arc<Account>,
    /// True if only the endpoints of operators are served.
    pub is_reserved: bool,
    /// True if it need not sign in.
    pub allows_anonymous: bool,
    /// True if the connection is encrypted.
    pub is_tls: bool,
    /// True once a request of the connection has signed in.
    pub has_signed_in: Arc<AtomicBool>,
}

impl HttpClient {
    /// Returns where its attempts to sign in come from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::of(self.address.ip())
    }

    /// Returns true the first time that a request of the connection signs in.
    #[must_use]
    pub fn is_first_sign_in(&self) -> bool {
        !self.has_signed_in.swap(true, Relaxed)
    }
}

impl Connected<IncomingStream<'_, LimitedListener>> for HttpClient {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Self {
        stream.io().client.clone()
    }
}

impl Permits {
    /// Waits for a permit.
    async fn acquire(&self) -> Permit {
        let (general, reserved) = (Arc::clone(&self.general), Arc::clone(&self.reserved));
        let (permit, is_reserved) = tokio::select! {
            biased;
            permit = general.acquire_owned() => (permit, false),
            permit = reserved.acquire_owned() => (permit, true),
        };
        Permit {
            _permit: permit.expect("nobody closes the semaphores"),
            is_reserved,
        }
    }
}

impl LimitedListener {
    /// Limits listeners to [`HTTP_CONNECTIONS_MAX`] connections and [`RESERVED_CONNECTIONS`] more, whose memory counts here.
    pub fn new(
        listeners: Listeners,
        tls: Option<Arc<Tls>>,
        memory: &Arc<ClientMemory>,
        allows_anonymous: bool,
    ) -> Self {
        Self {
            listeners,
            memory: Arc::clone(memory),
            permits: Permits {
                general: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX)),
                reserved: Arc::new(Semaphore::new(RESERVED_CONNECTIONS)),
            },
            timeouts: Timeouts {
                idle_max: IDLE_MAX,
                stalled_max: STALLED_MAX,
            },
            allows_anonymous,
            tls,
            handshakes: JoinSet::new(),
        }
    }

    /// Waits for a connection that can be served; handshakes go on meanwhile.
    async fn ready(&mut self) -> Ready {
        loop {
            let (permit, accepted) = tokio::select! {
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(ready)) => return ready,
                    _ => continue,
                },
                accepted = accept(&self.permits, &mut self.listeners) => accepted,
            };
            let Accepted {
                socket,
                peer,
                endpoint,
                is_local,
            } = accepted;
            let tls = self.tls.clone().filter(|_| endpoint.is_tls);
            let ready = move |stream, certificate_name| Ready {
                stream,
                peer,
                endpoint,
                is_local,
                certificate_name,
                permit,
            };
            match (socket, tls) {
                (Socket::Tcp(stream), Some(tls)) => drop(self.handshakes.spawn(async move {
                    let Handshake {
                        stream,
                        certificate_name,
                    } = tls.accept(stream, no_tls).await?;
                    Some(ready(Stream::Tls(Box::new(stream)), certificate_name))
                })),
                (Socket::Tcp(stream), None) => return ready(Stream::Tcp(stream), None),
                (Socket::Unix(stream), _) => return ready(Stream::Unix(stream), None),
            }
        }
    }
}

/// Accepts a connection; waits where the system has none to give, as when no file descriptor is free.
async fn accept(permits: &Permits, listeners: &mut Listeners) -> (Permit, Accepted) {
    let permit = permits.acquire().await;
    loop {
        match listeners.accept().await {
            Ok(accepted) => return (permit, accepted),
            Err(error) => {
                tracing::warn!("cannot accept a connection of HTTP: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Returns the response to a client that speaks no TLS.
fn no_tls(_first: u8) -> &'static str {
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 48\r\nConnection: close\r\n\r\n\
     this port speaks TLS; connect with https://HOST\n"
}

/// Response to a client that speaks TLS where nobody does.
const NO_TLS_HERE: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 54\r\nConnection: close\r\n\r\n\
      this port does not speak TLS; connect with http://...\n";

impl Listener for LimitedListener {
    type Io = LimitedConnection;
    type Addr = PeerAddress;

    async fn accept(&mut self) -> (LimitedConnection, PeerAddress) {
        let Ready {
            stream,
            peer,
            endpoint,
            is_local,
            certificate_name,
            permit,
        } = self.ready().await;
        let mut timeouts = self.timeouts;
        if permit.is_reserved {
            timeouts.idle_max = timeouts.idle_max.min(RESERVED_IDLE_MAX);
            timeouts.stalled_max = timeouts.stalled_max.min(RESERVED_IDLE_MAX);
        }
        let account = self.memory.account();
        let mut encryption = account.charge();
        if matches!(stream, Stream::Tls(_)) {
            encryption.set_held(TLS_BYTES);
        }
        let connection = LimitedConnection {
            stream,
            idle: Box::pin(sleep(timeouts.idle_max)),
            timeouts,
            beginning: Beginning::Awaited,
            is_writing: false,
            request: None,
            charge: account.charge(),
            client: HttpClient {
                address: peer.clone(),
                local_address: endpoint.place,
                certificate_name,
                account,
                is_reserved: permit.is_reserved,
                allows_anonymous: is_local || self.allows_anonymous,
                is_tls: endpoint.is_tls,
                has_signed_in: Arc::default(),
            },
            is_ending: false,
            _permit: permit,
            _encryption: encryption,
        };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<PeerAddress> {
        let mut endpoints = self.listeners.endpoints().into_iter();
        let first = endpoints.next().map(|endpoint| endpoint.place);
        first.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

/// The first byte of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// It has not arrived.
    Awaited,
    /// It has arrived.
    Seen,
    /// It was that of TLS, on a stream without it: what follows is not read.
    Foreign,
}

/// Connection, its timeouts and its permit.
pub struct LimitedConnection {
    stream: Stream,
    /// Timer that ends when no byte has been transferred for too long.
    idle: Pin<Box<Sleep>>,
    timeouts: Timeouts,
    /// Start of the current request and the number of its bytes; `None` once a response has begun.
    request: Option<(Instant, u64)>,
    /// True while a write waits for the client to read.
    is_writing: bool,
    client: HttpClient,
    /// Charge of hyper's buffers, while the connection waits.
    charge: Charge,
    beginning: Beginning,
    /// True if the client holds too much, and the timer waits for the error to be sent.
    is_ending: bool,
    _permit: Permit,
    /// Charge of the state of TLS.
    _encryption: Charge,
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

    /// Charges the buffers while the connection waits for the client. Returns false if it is to be ended.
    fn hold(&mut self, cx: &Context<'_>, bytes: usize) -> bool {
        self.client.account.signals.register(cx.waker());
        // A buffer grows by doubling.
        let bytes = bytes.next_power_of_two().min(BUFFER_BYTES_MAX);
        let is_within = bytes == self.charge.bytes() || self.charge.set(bytes).is_ok();
        is_within && !self.client.account.is_ended()
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let was_writing = std::mem::replace(&mut self.is_writing, written.is_pending());
        if written.is_ready() {
            self.request = None;
            self.charge.set_held(0);
            self.restart_timer(self.timeouts.idle_max);
            return written;
        }
        if !self.hold(cx, BUFFER_BYTES_MAX) {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
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
        if self.beginning == Beginning::Foreign {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            let count = buffer.filled().len() - before;
            if self.beginning == Beginning::Awaited {
                self.beginning = Beginning::Seen;
                if buffer.filled().get(before) == Some(&HANDSHAKE_RECORD) {
                    self.beginning = Beginning::Foreign;
                    self.stream.refuse(NO_TLS_HERE);
                    buffer.set_filled(before);
                    return read;
                }
            }
            if !self.received(count) {
                buffer.set_filled(before);
            }
            return read;
        }
        if !self.is_writing {
            let received = self.request.map_or(0, |(_, bytes)| bytes);
            let received = usize::try_from(received).unwrap_or(usize::MAX);
            if !self.hold(cx, received) && !self.is_ending {
                self.is_ending = true;
                self.restart_timer(ENDING_WAIT);
            }
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
    use crate::config::HttpEndpoint;
    use crate::server::listener::listen;
    use tokio::net::TcpStream;

    const SHORT: Duration = Duration::from_millis(50);

    async fn connected() -> (LimitedConnection, TcpStream) {
        let HttpEndpoint(endpoint) = "127.0.0.1:0".parse().expect("an address");
        let listeners = listen(&[endpoint.expect("it is not off")], "--http").await;
        let listeners = listeners.expect("a free port");
        let address = listeners.endpoints()[0].place.to_string();
        let memory = Arc::new(ClientMemory::new(1 << 30));
        let mut listener = LimitedListener::new(listeners, None, &memory, false);
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
