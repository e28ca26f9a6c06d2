//! The sockets: accept, limit, shut down.
//!
//! In: a service and two listeners. Out: a connection task for each client. Promises: clients are let in before the data is
//! loaded, as after; one client over the limit is told so and closed, and nobody else notices; a shutdown accepts nobody more, answers what has been received, saves, and ends.

pub mod connection;
pub mod pipeline;
pub mod request_buffer;

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
use crate::http::{self, HTTP_CONNECTIONS_MAX};
use crate::protocol::{ErrorCode, ErrorReply};

/// The most clients of the text port at one time: each may hold a request of many megabytes, and a file descriptor.
pub const CONNECTIONS_MAX: usize = 10_000;
/// The most clients that are being told that they are too many; one more is closed without a word.
const REFUSALS_MAX: usize = 500;
/// Open files that are neither clients nor refusals: the listeners, the journals, a snapshot, the terminal.
const OTHER_FILES: usize = 100;
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

/// How many open files all the limits together ask for.
pub const FILES_WANTED: usize = CONNECTIONS_MAX + HTTP_CONNECTIONS_MAX + REFUSALS_MAX + OTHER_FILES;

/// How many clients can be served where the system allows so many open files.
#[must_use]
pub fn connections_max(files: usize) -> usize {
    // Below what is wanted, three quarters are clients: the rest must never be wanting, or nobody could even be refused.
    if files >= FILES_WANTED {
        CONNECTIONS_MAX
    } else {
        files / 4 * 3
    }
}

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

/// A server that is ready to accept.
pub struct Server {
    service: Arc<Service>,
    text: TcpListener,
    http: Option<(TcpListener, Address)>,
    connections_max: usize,
}

impl Server {
    /// A server on a service, for so many clients at one time; the address of HTTP is the one that was asked for.
    #[must_use]
    pub fn new(
        service: Arc<Service>,
        text: TcpListener,
        http: Option<(TcpListener, Address)>,
        connections_max: usize,
    ) -> Self {
        Self {
            service,
            text,
            http,
            connections_max,
        }
    }

    /// The real addresses: text, and HTTP if it is served.
    ///
    /// # Errors
    /// What the system said.
    pub fn addresses(&self) -> io::Result<(SocketAddr, Option<SocketAddr>)> {
        Ok((
            self.text.local_addr()?,
            self.http
                .as_ref()
                .map(|(http, _)| http.local_addr())
                .transpose()?,
        ))
    }

    /// Serves until `shutdown`, then answers what has been received; all connections have ended then.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        connections.spawn(tick(Arc::clone(&self.service), shutdown.clone()));
        if let Some((listener, address)) = self.http {
            connections.spawn(http::serve(
                listener,
                address,
                Arc::clone(&self.service),
                shutdown.clone(),
            ));
        }
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
        acceptor.service.clients.stop();
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
            connection::serve(stream, service).await;
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
            self.service.clients.end();
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
