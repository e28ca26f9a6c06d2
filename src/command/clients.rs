//! Who is connected, and what comes to a client by itself.
//!
//! In: connections, and messages for them. Out: the list of clients; for each a mailbox that its connection empties. Promise:
//! nobody waits for a client that does not read: one whose mailbox overflows is disconnected, as what it missed could not be
//! told otherwise.

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

/// The most bytes that wait for one client, as in Redis for those that subscribe.
pub const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// What comes to a client by itself.
#[derive(Debug)]
pub enum OutboxMessage {
    /// Published to a channel; the pattern by which it came here, if any.
    Published(Option<Box<[u8]>>, Arc<[u8]>, Arc<[u8]>),
    /// A request of somebody, for MONITOR.
    Request(Arc<str>),
}

impl OutboxMessage {
    /// Returns the message as a push.
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

/// One client of the text port, as others see it.
#[derive(Debug)]
pub struct Client {
    /// Its number; no other has had it.
    pub id: u64,
    pub(super) address: SocketAddr,
    pub(super) local_address: SocketAddr,
    pub(super) since: Instant,
    /// When it was last heard of, in seconds of the clock of all clients.
    heard_seconds: AtomicU64,
    pub(super) names: Mutex<Names>,
    /// The place in the table of its last command, counted from 1.
    pub(super) command: AtomicUsize,
    /// How many requests wait for EXEC; -1 without a transaction.
    pub(super) queued: AtomicI64,
    /// How many channels, and how many patterns it listens to.
    pub(super) subscriptions: (AtomicUsize, AtomicUsize),
    /// 2 or 3.
    pub(super) resp: AtomicUsize,
    /// Whether it has to go, and whether only what it has sent already is to be answered.
    is_killed: AtomicBool,
    is_draining: AtomicBool,
    outbox: Mutex<Outbox>,
    /// How many messages wait.
    waiting: AtomicUsize,
    /// Wakes its connection, to look at all these. (One waker for all: each that a connection waited for by itself would cost
    /// it some locks for every request.)
    waker: AtomicWaker,
}

/// What a client has said of itself.
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
    /// Lets it have a message, as soon as its connection comes to it.
    pub(super) fn post(&self, message: OutboxMessage) {
        let mut outbox = self.outbox();
        outbox.bytes += message.bytes();
        if outbox.bytes > OUTBOX_BYTES_MAX {
            outbox.messages.clear();
            drop(outbox);
            self.end();
            return;
        }
        outbox.messages.push_back(message);
        self.waiting.store(outbox.messages.len(), Release);
        drop(outbox);
        self.waker.wake();
    }

    /// It has to go.
    pub fn end(&self) {
        self.is_killed.store(true, Release);
        self.waker.wake();
    }

    /// Only what it has sent already is to be answered.
    fn drain(&self) {
        self.is_draining.store(true, Release);
        self.waker.wake();
    }

    /// Has this task woken when there is something to look at; whether its client has to go.
    pub fn listen(&self, context: &Context<'_>) -> bool {
        self.waker.register(context.waker());
        self.is_killed.load(Acquire)
    }

    /// Whether only what it has sent already is to be answered.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Acquire)
    }

    /// Whether there is outbox. One that was sent before this client's next request was, is seen.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        self.waiting.load(Acquire) > 0
    }

    /// The next message.
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

    /// Forgets what has not been sent.
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

/// All clients, by number, and those of them that watch all requests.
#[derive(Debug, Default)]
pub struct Clients {
    last_id: AtomicU64,
    all: RwLock<BTreeMap<u64, Arc<Client>>>,
    monitors: RwLock<BTreeMap<u64, Arc<Client>>>,
    /// How many watch: looked at for every request.
    monitor_count: AtomicUsize,
    /// Seconds since the start: to ask the system for the time at each request would cost more than it is worth.
    seconds: AtomicU64,
    /// Whether the server is stopping; set under the lock of `all`.
    is_stopping: AtomicBool,
}

impl Clients {
    /// A client has come.
    pub fn enter(&self, address: SocketAddr, local_address: SocketAddr) -> Arc<Client> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Relaxed) + 1,
            address,
            local_address,
            since: Instant::now(),
            heard_seconds: AtomicU64::new(self.seconds.load(Relaxed)),
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

    /// A second has gone by.
    pub fn tick(&self) {
        self.seconds.fetch_add(1, Relaxed);
    }

    /// A client has sent something.
    pub fn heard_of(&self, client: &Client) {
        let seconds = self.seconds.load(Relaxed);
        client.heard_seconds.store(seconds, Relaxed);
    }

    /// For how long nothing has come from a client.
    pub(super) fn idle_seconds(&self, client: &Client) -> u64 {
        let heard = client.heard_seconds.load(Relaxed);
        self.seconds.load(Relaxed).saturating_sub(heard)
    }

    /// The server is stopping: of every client, also of those that may still come, only what it has sent is to be answered.
    pub fn stop(&self) {
        let all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        self.is_stopping.store(true, Relaxed);
        for client in all.values() {
            client.drain();
        }
    }

    /// Every client has to go.
    pub fn end(&self) {
        for client in self.all() {
            client.end();
        }
    }

    /// It has gone.
    pub fn leave(&self, client: &Client) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&client.id);
        drop(all);
        self.end_monitoring(client.id);
    }

    /// Those that are there, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    }

    pub(super) fn monitor(&self, client: &Arc<Client>) {
        let mut monitors = self
            .monitors
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        monitors.insert(client.id, Arc::clone(client));
        self.monitor_count.store(monitors.len(), Relaxed);
    }

    pub(super) fn end_monitoring(&self, id: u64) {
        if self.is_monitored() {
            let mut monitors = self
                .monitors
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            monitors.remove(&id);
            self.monitor_count.store(monitors.len(), Relaxed);
        }
    }

    /// Whether anybody watches all requests.
    #[must_use]
    pub fn is_monitored(&self) -> bool {
        self.monitor_count.load(Relaxed) > 0
    }

    /// Shows a request to those who watch, as Redis writes it; one of HTTP has no address.
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
