//! The text port: accepts clients, limits their number, shuts down.
//!
//! In: a service and a listener. Out: a task for each client. Promises: clients are accepted before the data has been loaded, as
//! after; a client over the limit is told so and closed, and no other client notices; a shutdown accepts nobody more and answers
//! what has been received.

pub mod connection;
pub mod output;
pub mod pipeline;
pub mod request_buffer;
pub mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::command::Service;
use crate::config::Address;
use crate::protocol::{ErrorCode, ErrorReply};

/// The most clients of the text port at one time: each may hold a request of many megabytes, and a file descriptor.
pub const CONNECTIONS_MAX: usize = 10_000;
/// The most clients that are being told that they are too many; one more is closed without a word.
const REFUSALS_MAX: usize = 500;
/// How long a shutdown waits for clients that do not read what they asked for.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);
/// How long it then waits for the end of those that are cut off.
const CUT_OFF_WAIT: Duration = Duration::from_secs(1);
/// How many clients the system accepts before the server does, at the most.
const BACKLOG: usize = 1024;
/// Large enough to reach the allocator's own store of memory; it is never touched.
const ALLOCATOR_NUDGE_BYTES: usize = 1 << 20;
/// How long the server waits when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The most open files that clients of the text port take.
pub const FILES_MAX: usize = CONNECTIONS_MAX + REFUSALS_MAX;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; choose another with {flag}")]
pub struct ListenError {
    address: String,
    flag: &'static str,
    source: io::Error,
}

/// Listens on an address.
///
/// # Errors
/// [`ListenError`]: it is taken, or not this machine's.
pub async fn listen(address: &Address, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(&address.0)
        .await
        .map_err(|source| ListenError {
            address: address.0.clone(),
            flag,
            source,
        })
}

/// A text port that is ready to accept.
pub struct Server {
    service: Arc<Service>,
    text: TcpListener,
    connections_max: usize,
}

impl Server {
    /// A text port on a service, for so many clients at a time.
    #[must_use]
    pub fn new(service: Arc<Service>, text: TcpListener, connections_max: usize) -> Self {
        Self {
            service,
            text,
            connections_max,
        }
    }

    /// Returns the address that it listens on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.text.local_addr()
    }

    /// Serves until `shutdown`, then answers what has been received; all connections, and `beside`, the other doors, have ended
    /// then or are cut off.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        beside: impl Future<Output = ()> + Send + 'static,
    ) {
        let connections = TaskTracker::new();
        connections.spawn(tick(Arc::clone(&self.service), shutdown.clone()));
        connections.spawn(beside);
        let acceptor = Acceptor {
            service: self.service,
            connections,
            shutdown,
            connections_max: self.connections_max,
            room: Arc::new(Semaphore::new(self.connections_max)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        };
        tokio::select! {
            () = acceptor.accept_all(&self.text) => {}
            () = acceptor.shutdown.cancelled() => {}
        }
        acceptor.service.clients.drain_all();
        acceptor.accept_waiting(&self.text).await;
        drop(self.text);
        acceptor.close().await;
    }
}

/// Where clients of the text port come in.
struct Acceptor {
    service: Arc<Service>,
    connections: TaskTracker,
    shutdown: CancellationToken,
    connections_max: usize,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

impl Acceptor {
    async fn accept_all(&self, text: &TcpListener) {
        loop {
            match text.accept().await {
                Ok((stream, _)) => self.accept(stream),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Lets in whom the system has accepted already: what they have sent has been received, too.
    async fn accept_waiting(&self, text: &TcpListener) {
        for _ in 0..BACKLOG {
            let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::ZERO, text.accept()).await
            else {
                return;
            };
            self.accept(stream);
        }
    }

    fn accept(&self, stream: TcpStream) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.refuse(stream);
        };
        let service = Arc::clone(&self.service);
        self.connections.spawn(async move {
            connection::serve_socket(stream, service).await;
            drop(place);
        });
    }

    fn refuse(&self, stream: TcpStream) {
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        let message = format!(
            "there are {} connections already; try again later",
            self.connections_max
        );
        // The data is there; to a Redis client this is no LOADING.
        let error = ErrorReply::new(ErrorCode::Busy, message).with_prefix("ERR");
        self.connections.spawn(async move {
            connection::refuse(stream, &error).await;
            drop(place);
        });
    }

    async fn close(&self) {
        self.connections.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, self.connections.wait())
            .await
            .is_err()
        {
            let (left, seconds) = (self.connections.len(), SHUTDOWN_WAIT.as_secs());
            tracing::warn!("{left} connections did not end in {seconds} s and are cut off");
            // Nobody changes anything once the last save begins.
            self.service.clients.kill_all();
            // A task ends where it waits next; only one of HTTP may not.
            let _ = tokio::time::timeout(CUT_OFF_WAIT, self.connections.wait()).await;
        }
    }
}

/// What is done once a second.
async fn tick(service: Arc<Service>, shutdown: CancellationToken) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => {
                service.stats.sample();
                service.clients.tick();
                // While the data is being loaded, what has expired in it is found by the load.
                if let Ok(engine) = service.engine() {
                    while engine.expire() {
                        // Others have their turn in between.
                        tokio::task::yield_now().await;
                    }
                }
                // The allocator gives freed memory back to the system only while it is asked for more: without this, a
                // server that falls idle after some long values keeps their room for ever.
                drop(std::hint::black_box(Vec::<u8>::with_capacity(ALLOCATOR_NUDGE_BYTES)));
            }
            () = shutdown.cancelled() => return,
        }
    }
}
