//! The text port: accepts clients at all of its addresses, limits their number, shuts down.
//!
//! In: a service and listeners. Out: a task for each client. Promises: clients are accepted even while the data is being loaded;
//! a client over the limit receives an error and is closed, without effect on the others; a shutdown accepts no more clients and
//! answers the requests that have been received.

pub mod connection;
pub mod listener;
pub mod output;
pub mod pipeline;
pub mod request_buffer;
pub mod transport;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use connection::UNAUTHENTICATED_BYTES_MAX;

use crate::command::{Identity, Reserved, Service};
use crate::config::Scheme;
use crate::engine::Engine;
use crate::metrics::process::resident_bytes;
use connection::Peer;
use listener::{Accepted, Listeners, Socket};
use transport::Transport;

/// Maximum number of clients of the text port: each takes a file descriptor, and may buffer a request of many megabytes.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Maximum number of connections beyond that, which serve administration and refuse everything else with a reply; further ones are
/// closed without it.
const RESERVED_CONNECTIONS_MAX: usize = 500;
/// Time for which a shutdown waits for clients that do not read their replies.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(7);
/// Time for which a shutdown then waits for the connections that it has cut off.
const CUT_OFF_WAIT: Duration = Duration::from_secs(1);
/// Maximum number of clients in the system's queue, accepted by it but not by the server.
const BACKLOG: usize = 1024;
/// Pause after a failed accept, as when the process has no free file descriptor.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Maximum number of file descriptors of clients of the text port.
pub const FILES_MAX: usize = CONNECTIONS_MAX + RESERVED_CONNECTIONS_MAX;

/// A text port that is ready to accept clients.
pub struct Server {
    service: Arc<Service>,
    text: Listeners,
    connections_max: usize,
}

impl Server {
    /// Makes the text port of a service, for at most `connections_max` clients.
    #[must_use]
    pub fn new(service: Arc<Service>, text: Listeners, connections_max: usize) -> Self {
        Self {
            service,
            text,
            connections_max,
        }
    }

    /// Serves until `shutdown`, then answers the requests that have been received. Returns once all connections and `http`, the
    /// other interface, have ended or are cut off.
    pub async fn run(
        mut self,
        shutdown: CancellationToken,
        http: impl Future<Output = ()> + Send + 'static,
    ) {
        let connections = self.service.connections.clone();
        connections.spawn(tick(Arc::clone(&self.service), shutdown.clone()));
        connections.spawn(hold_cap(Arc::clone(&self.service), shutdown.clone()));
        connections.spawn(watch_memory(Arc::clone(&self.service), shutdown.clone()));
        if let Some(tls) = self.service.setup.tls.clone() {
            let shutdown = shutdown.clone();
            connections.spawn(async move { tls.watch(shutdown).await });
        }
        connections.spawn(http);
        let acceptor = Acceptor {
            service: self.service,
            connections,
            shutdown,
            connections_max: self.connections_max,
            room: Arc::new(Semaphore::new(self.connections_max)),
            reserved: Arc::new(Semaphore::new(RESERVED_CONNECTIONS_MAX)),
        };
        tokio::select! {
            () = acceptor.accept_all(&mut self.text) => {}
            () = acceptor.shutdown.cancelled() => {}
        }
        acceptor.service.clients.drain_all();
        // Their clients have their answer, rather than the end of the connection.
        acceptor.service.scripts.kill();
        acceptor.accept_waiting(&mut self.text).await;
        drop(self.text);
        acceptor.close().await;
    }
}

/// Returns the reply to a client that speaks no TLS, whose first byte this is.
fn no_tls(first: u8) -> &'static str {
    if first == b'*' {
        return no_tls_resp(first);
    }
    "ERR DENIED this port speaks TLS; connect with pykvs:// (or rediss://); this connection is closed\n"
}

fn no_tls_resp(_: u8) -> &'static str {
    "-ERR this port speaks TLS; connect with rediss:// (or pykvs://); this connection is closed\r\n"
}

/// Accepts clients of the text port.
struct Acceptor {
    service: Arc<Service>,
    connections: TaskTracker,
    shutdown: CancellationToken,
    connections_max: usize,
    room: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
}

impl Acceptor {
    async fn accept_all(&self, text: &mut Listeners) {
        loop {
            match text.accept().await {
                Ok(accepted) => self.accept(accepted),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts the clients in the system's queue, as their requests may have been received, too.
    async fn accept_waiting(&self, text: &mut Listeners) {
        for _ in 0..BACKLOG {
            let Ok(Ok(accepted)) = tokio::time::timeout(Duration::ZERO, text.accept()).await else {
                return;
            };
            self.accept(accepted);
        }
    }

    fn accept(&self, accepted: Accepted) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            // Without a place even here, the connection is closed.
            if let Ok(place) = Arc::clone(&self.reserved).try_acquire_owned() {
                self.serve(accepted, place, Some(Reserved::new(self.connections_max)));
            } else {
                self.service.stats.refused_connection();
            }
            return;
        };
        self.serve(accepted, place, None);
    }

    fn serve(&self, accepted: Accepted, place: OwnedSemaphorePermit, reserved: Option<Reserved>) {
        let (service, shutdown) = (Arc::clone(&self.service), self.shutdown.clone());
        let is_inline = accepted.endpoint.scheme == Scheme::Redis;
        let tls = self.service.setup.tls.clone();
        let tls = tls.filter(|_| accepted.endpoint.is_tls);
        let allows_anonymous = accepted.is_local || service.setup.config.get("allow-anonymous");
        let mut peer = Peer {
            identity: Identity::anonymous(&service.users, allows_anonymous),
            addresses: (accepted.peer, accepted.endpoint.place),
            is_inline,
        };
        // Not `spawn` of the tracker, which would poll the task through one more future.
        let tracked = self.connections.token();
        tokio::spawn(async move {
            let transport = match (accepted.socket, tls) {
                (Socket::Tcp(stream), None) => Transport::Tcp(stream),
                (Socket::Unix(stream), _) => Transport::Unix(stream),
                (Socket::Tcp(stream), Some(tls)) => {
                    let no_tls = if is_inline { no_tls_resp } else { no_tls };
                    let handshake = tls.accept(stream, no_tls);
                    let handshake = shutdown.run_until_cancelled_owned(handshake);
                    let Some(Some(handshake)) = Box::pin(handshake).await else {
                        return;
                    };
                    if let Some(name) = &handshake.certificate_name {
                        peer.sign_in_by_certificate(name, &service);
                    }
                    Transport::Tls(Box::new(handshake.stream))
                }
            };
            connection::serve(transport, peer, service, reserved).await;
            drop((place, tracked));
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
            // No client may change data once the last save begins.
            self.service.clients.kill_all();
            // Tasks of the text port end at their next await; a task of HTTP may not.
            let _ = tokio::time::timeout(CUT_OFF_WAIT, self.connections.wait()).await;
        }
    }
}

/// Interval of the looks at resident memory while there is a cap on the memory of the data, and of the looks whether there is one.
const CAP_INTERVAL: Duration = Duration::from_millis(10);
const NO_CAP_INTERVAL: Duration = Duration::from_secs(1);
/// Time for which pairs are evicted or moved at once, and the pause after it, unless it is urgent: a fifth of a core is taken at most, and
/// no request waits for long.
const CAP_WORK_MAX: Duration = Duration::from_micros(250);
const CAP_WORK_PAUSE: Duration = Duration::from_millis(1);

/// Holds the data to the cap on its memory, if there is one.
async fn hold_cap(service: Arc<Service>, shutdown: CancellationToken) {
    let mut looked: Option<Instant> = None;
    loop {
        let mut interval = NO_CAP_INTERVAL;
        if service.memory_cap().is_set() {
            interval = CAP_INTERVAL;
            let engine = service.engine().ok();
            if looked.is_none_or(|looked| looked.elapsed() >= CAP_INTERVAL) {
                looked = Some(Instant::now());
                note_resident(&service, engine.map(|engine| &**engine));
            }
            let started = Instant::now();
            while let Some(engine) = engine
                && engine.reduce()
            {
                if started.elapsed() >= CAP_WORK_MAX {
                    // What is urgent only lets others have their turns.
                    interval = if service.memory_cap().is_compaction_urgent() {
                        tokio::task::yield_now().await;
                        Duration::ZERO
                    } else {
                        CAP_WORK_PAUSE
                    };
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Notes the resident memory of the process, without what it holds for clients; there is no engine while the data is loaded.
fn note_resident(service: &Service, engine: Option<&Engine>) {
    let Some(resident) = resident_bytes() else {
        return;
    };
    let resident = resident.saturating_sub(service.client_memory.bytes() as u64);
    match engine {
        Some(engine) => engine.note_resident(resident),
        None => service.memory_cap().note_resident_while_loading(resident),
    }
}

/// Ends the clients that hold too many replaced entries.
async fn watch_memory(service: Arc<Service>, shutdown: CancellationToken) {
    tokio::select! {
        () = service.client_memory.recount_when_needed() => {}
        () = shutdown.cancelled() => {}
    }
}

/// Does the periodic work, once a second: samples counters, expires keys, moves data to huge pages, returns freed memory.
async fn tick(service: Arc<Service>, shutdown: CancellationToken) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => {
                service.sample_rates();
                service.clients.tick();
                // One look at the file; hashing a password that was typed into it takes long.
                tokio::task::block_in_place(|| service.watch_users());
                // The load drops expired keys itself.
                if let Ok(engine) = service.engine() {
                    // A replica is told of what expires.
                    while !service.replication.is_replica() && engine.expire() {
                        // Let other tasks run.
                        tokio::task::yield_now().await;
                    }
                    engine.use_huge_pages();
                }
            }
            () = shutdown.cancelled() => return,
        }
    }
}
