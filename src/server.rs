//! The sockets: accept, limit, shut down.
//!
//! In: an engine and two listeners. Out: a connection task for each client. Promises: one client over the limit is told so
//! and closed, and nobody else notices; a shutdown accepts nobody more, answers what has been received, saves, and ends.

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
use crate::connection;
use crate::engine::Engine;
use crate::http;
use crate::protocol::{ErrorCode, ErrorReply};

/// The most clients of the text port at one time: each may hold a request of many megabytes, and a file descriptor.
pub const CONNECTIONS_MAX: usize = 10_000;
/// The file descriptors that the limits ask for: text and HTTP clients, those who are being refused, files.
pub const FILES_WANTED: u64 = 2 * CONNECTIONS_MAX as u64 + 1_000;
/// The most clients that are being told that they are too many; one more is closed without a word.
const REFUSALS_MAX: usize = 500;
/// How long a shutdown waits for clients that do not read what they asked for.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);
/// How long the server waits when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
}

impl Server {
    /// A server on an engine; the address of HTTP is the one that was asked for.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        text: TcpListener,
        http: Option<(TcpListener, Address)>,
    ) -> Self {
        Self {
            service: Arc::new(Service::new(engine)),
            text,
            http,
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
        tokio::select! {
            () = accept(&self.text, &self.service, &connections, &shutdown) => {}
            () = shutdown.cancelled() => {}
        }
        // Who has been let in by the system but not yet by us has been received, too.
        while let Ok(Ok((stream, _))) =
            tokio::time::timeout(Duration::ZERO, self.text.accept()).await
        {
            connections.spawn(connection::serve(
                stream,
                Arc::clone(&self.service),
                shutdown.clone(),
            ));
        }
        drop(self.text);
        connections.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "{} connections did not end in {} s and are cut off",
                connections.len(),
                SHUTDOWN_WAIT.as_secs()
            );
        }
    }
}

async fn accept(
    text: &TcpListener,
    service: &Arc<Service>,
    connections: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let stream = match text.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(place) => {
                let served = connection::serve(stream, Arc::clone(service), shutdown.clone());
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(_) => refuse(stream, &refusals, connections),
        }
    }
}

fn refuse(stream: TcpStream, refusals: &Arc<Semaphore>, connections: &TaskTracker) {
    let Ok(place) = Arc::clone(refusals).try_acquire_owned() else {
        return;
    };
    connections.spawn(async move {
        let message = format!("there are {CONNECTIONS_MAX} connections already; try again later");
        connection::refuse(stream, &ErrorReply::new(ErrorCode::Busy, message)).await;
        drop(place);
    });
}

/// What is done once a second.
async fn tick(service: Arc<Service>, shutdown: CancellationToken) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => {
                service.stats.sample();
                service.engine.expire();
            }
            () = shutdown.cancelled() => return,
        }
    }
}
