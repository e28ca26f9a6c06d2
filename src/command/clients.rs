//! The connected clients, and the outbox of each.
//!
//! In: connections, and messages for them. Out: the list of clients; for each an outbox, which its connection sends. Promise: no
//! sender waits for a client that does not read; a client whose outbox overflows is disconnected, as it could not otherwise know
//! that it has missed messages.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Context;
use std::time::Instant;

use futures_util::task::AtomicWaker;

use crate::model::now_ms;
use crate::protocol::Reply;

/// Maximum length of an outbox in bytes, Redis's limit for subscribers.
pub const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// A push from other clients.
#[derive(Debug)]
pub enum OutboxMessage {
    /// A published message: the pattern that matched, if any, channel and payload.
    Published(Option<Box<[u8]>>, Arc<[u8]>, Arc<[u8]>),
    /// A request of any client, for MONITOR.
    Request(Arc<str>),
}

impl OutboxMessage {
    /// Returns the message as a reply.
    #[must_use]
    pub fn reply(&self) -> Reply<'_> {
        match self {
            Self::Published(pattern, channel, payload) => {
                Reply::Message(pattern.as_deref(), channel, payload)
            }
            Self::Request(request) => Reply::Monitor(request),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Published(pattern, channel, payload) => {
                    pattern.as_ref().map_or(0, |pattern| pattern.len())
                        + channel.len()
                        + payload.len()
                }
                Self::Request(request) => request.len(),
            }
    }
}

/// The part of a connection's state that other connections access.
#[derive(Debug)]
pub struct Client {
    /// Number of the client, never reused.
    pub id: u64,
    pub(super) address: SocketAddr,
    pub(super) local_address: SocketAddr,
    pub(super) connected_at: Instant,
    /// Time at which it last sent something, in seconds of [`Clients::seconds`].
    active_seconds: AtomicU64,
    pub(super) names: Mutex<Names>,
    /// Place in the table of its last command, counted from 1; 0 before the first.
    pub(super) command: AtomicUsize,
    /// Number of queued requests; -1 without a transaction.
    pub(super) queued: AtomicI64,
    /// Numbers of subscribed channels and patterns.
    pub(super) subscriptions: (AtomicUsize, AtomicUsize),
    /// Version of RESP: 2 or 3.
    pub(super) resp: AtomicUsize,
    /// True if it is to be disconnected at once.
    is_killed: AtomicBool,
    /// True if it is to be disconnected once the requests that it has sent are answered.
    is_draining: AtomicBool,
    outbox: Mutex<Outbox>,
    /// Number of messages in the outbox, to be read without its lock.
    waiting: AtomicUsize,
    /// Waker of its connection, for all of these: a separate one for each would cost the connection a lock for every request.
    waker: AtomicWaker,
}

/// Names that a client has given itself.
#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
}

#[derive(Debug, Default)]
struct Outbox {
    messages: VecDeque<OutboxMessage>,
    bytes: usize,
}

impl Client {
    /// Appends a message to the outbox; disconnects the client if the outbox overflows.
    pub(super) fn post(&self, message: OutboxMessage) {
        let mut outbox = self.outbox();
        outbox.bytes += message.bytes();
        if outbox.bytes > OUTBOX_BYTES_MAX {
            outbox.messages.clear();
            drop(outbox);
            self.kill();
            return;
        }
        outbox.messages.push_back(message);
        self.waiting.store(outbox.messages.len(), Release);
        drop(outbox);
        self.waker.wake();
    }

    /// Disconnects the client at once.
    pub fn kill(&self) {
        self.is_killed.store(true, Release);
        self.waker.wake();
    }

    /// Disconnects the client once the requests that it has sent are answered.
    fn drain(&self) {
        self.is_draining.store(true, Release);
        self.waker.wake();
    }

    /// Registers the task of the connection, to be woken for messages and disconnection. Returns true if the client is to be
    /// disconnected at once.
    pub fn poll_killed(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_killed.load(Acquire)
    }

    /// Returns true if only the requests that it has sent already are to be answered.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Acquire)
    }

    /// Returns true if the outbox has messages, including all that were posted before the client sent its next request.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        self.waiting.load(Acquire) > 0
    }

    /// Removes the first message from the outbox.
    #[must_use]
    pub fn take_message(&self) -> Option<OutboxMessage> {
        let mut outbox = self.outbox();
        let message = outbox.messages.pop_front()?;
        outbox.bytes -= message.bytes();
        self.waiting.store(outbox.messages.len(), Relaxed);
        if outbox.messages.is_empty() {
            outbox.messages = VecDeque::new();
        }
        Some(message)
    }

    /// Empties the outbox.
    pub(super) fn clear_outbox(&self) {
        *self.outbox() = Outbox::default();
        self.waiting.store(0, Relaxed);
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn names(&self) -> Names {
        self.names_mut().clone()
    }

    pub(super) fn names_mut(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All clients, by number, and those that use MONITOR.
#[derive(Debug, Default)]
pub struct Clients {
    last_id: AtomicU64,
    all: RwLock<BTreeMap<u64, Arc<Client>>>,
    monitors: RwLock<BTreeMap<u64, Arc<Client>>>,
    /// Number of monitors, which every request reads without a lock.
    monitor_count: AtomicUsize,
    /// Seconds since the start, counted by [`Clients::tick`]: reading the clock for each request would be slower.
    seconds: AtomicU64,
    /// True during the shutdown; set under the lock of `all`.
    is_stopping: AtomicBool,
}

impl Clients {
    /// Adds a client that has connected.
    pub fn add(&self, address: SocketAddr, local_address: SocketAddr) -> Arc<Client> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Relaxed) + 1,
            address,
            local_address,
            connected_at: Instant::now(),
            active_seconds: AtomicU64::new(self.seconds.load(Relaxed)),
            names: Mutex::default(),
            command: AtomicUsize::default(),
            queued: AtomicI64::new(-1),
            subscriptions: (AtomicUsize::default(), AtomicUsize::default()),
            resp: AtomicUsize::new(2),
            is_killed: AtomicBool::default(),
            is_draining: AtomicBool::new(self.is_stopping.load(Relaxed)),
            outbox: Mutex::default(),
            waiting: AtomicUsize::default(),
            waker: AtomicWaker::new(),
        });
        all.insert(client.id, Arc::clone(&client));
        client
    }

    /// Advances the clock by one second.
    pub fn tick(&self) {
        self.seconds.fetch_add(1, Relaxed);
    }

    /// Notes that a client has sent something.
    pub fn note_activity(&self, client: &Client) {
        let seconds = self.seconds.load(Relaxed);
        client.active_seconds.store(seconds, Relaxed);
    }

    /// Returns the seconds since a client last sent something.
    pub(super) fn idle_seconds(&self, client: &Client) -> u64 {
        let active = client.active_seconds.load(Relaxed);
        self.seconds.load(Relaxed).saturating_sub(active)
    }

    /// Begins the shutdown: disconnects every client, also those added later, once the requests that it has sent are answered.
    pub fn drain_all(&self) {
        let all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        self.is_stopping.store(true, Relaxed);
        for client in all.values() {
            client.drain();
        }
    }

    /// Disconnects every client at once.
    pub fn kill_all(&self) {
        for client in self.all() {
            client.kill();
        }
    }

    /// Removes a client that has disconnected.
    pub fn remove(&self, client: &Client) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&client.id);
        drop(all);
        self.end_monitoring(client.id);
    }

    /// Returns all clients, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    }

    /// Begins to show all requests to a client.
    pub(super) fn monitor(&self, client: &Arc<Client>) {
        let monitors = self.monitors.write();
        let mut monitors = monitors.unwrap_or_else(PoisonError::into_inner);
        monitors.insert(client.id, Arc::clone(client));
        self.monitor_count.store(monitors.len(), Relaxed);
    }

    /// Ends showing requests to a client.
    pub(super) fn end_monitoring(&self, id: u64) {
        if self.is_monitored() {
            let monitors = self.monitors.write();
            let mut monitors = monitors.unwrap_or_else(PoisonError::into_inner);
            monitors.remove(&id);
            self.monitor_count.store(monitors.len(), Relaxed);
        }
    }

    /// Returns true if any client uses MONITOR.
    #[must_use]
    pub fn is_monitored(&self) -> bool {
        self.monitor_count.load(Relaxed) > 0
    }

    /// Posts a request to all monitors, in Redis's format; a request of HTTP has no address.
    pub fn show_request<'a>(
        &self,
        from: Option<SocketAddr>,
        name: &str,
        words: impl Iterator<Item = &'a [u8]>,
    ) {
        let from = from.map_or("http".to_owned(), |address| address.to_string());
        let now = now_ms();
        let (seconds, microseconds) = (now / 1000, now % 1000 * 1000);
        let mut line = format!(
            "{seconds}.{microseconds:06} [0 {from}] \"{}\"",
            name.to_lowercase()
        );
        for word in words {
            line += &format!(" \"{}\"", word.escape_ascii()).replace("\\'", "'");
        }
        let request: Arc<str> = line.into();
        let monitors = self.monitors.read().unwrap_or_else(PoisonError::into_inner);
        for client in monitors.values() {
            client.post(OutboxMessage::Request(Arc::clone(&request)));
        }
    }
}
