//! The connected clients, and the outbox of each.
//!
//! In: connections, and messages for them. Out: the list of clients; for each an outbox, which its connection sends. Promise: no
//! sender waits for a client that does not read; a client whose outbox overflows is disconnected, as it could not otherwise know
//! that it has missed messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::acl::Origin;
use super::client_memory::{Account, Charge, ClientMemory, SharedCharge};
use super::signals::{Signal, Signals};
use super::spec::Arguments;
use crate::config::PeerAddress;
use crate::model::now_ms;
use crate::protocol::Reply;

/// Maximum length of an outbox in bytes, Redis's limit for subscribers.
pub const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// A push from other clients.
#[derive(Debug)]
pub enum OutboxMessage {
    /// A published message, and the pattern that matched, if any.
    Published(Option<Box<[u8]>>, Arc<Published>),
    /// A request of any client, for MONITOR.
    Request(Arc<ShownRequest>),
}

/// A published message, which all receivers share.
#[derive(Debug)]
pub struct Published {
    pub(super) channel: Box<[u8]>,
    pub(super) payload: Box<[u8]>,
    pub(super) _charge: SharedCharge,
}

/// A request in the format of MONITOR, which all monitors share.
#[derive(Debug)]
pub struct ShownRequest {
    line: String,
    _charge: SharedCharge,
}

impl OutboxMessage {
    /// Returns the message as a reply.
    #[must_use]
    pub fn reply(&self) -> Reply<'_> {
        match self {
            Self::Published(pattern, message) => {
                Reply::Message(pattern.as_deref(), &message.channel, &message.payload)
            }
            Self::Request(request) => Reply::Monitor(&request.line),
        }
    }

    /// Returns the memory of its own, in bytes.
    fn own_bytes(&self) -> usize {
        let pattern = match self {
            Self::Published(pattern, _) => pattern.as_ref().map_or(0, |pattern| pattern.len()),
            Self::Request(_) => 0,
        };
        size_of::<Self>() + pattern
    }

    /// Returns the memory that it shares with the outboxes of others, in bytes.
    fn shared_bytes(&self) -> usize {
        match self {
            Self::Published(_, message) => message.channel.len() + message.payload.len(),
            Self::Request(request) => request.line.len(),
        }
    }
}

/// The part of a connection's state that other connections access.
#[derive(Debug)]
pub struct Client {
    /// Number of the client, never reused.
    pub id: u64,
    /// Address of the client.
    pub address: PeerAddress,
    pub(super) local_address: PeerAddress,
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
    outbox: Mutex<Outbox>,
    /// Memory that is held for it, and the signals to its connection.
    pub account: Arc<Account>,
}

/// Names that a client has given itself, and that of its user.
#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
    /// Name of the user; empty if the client has to sign in.
    pub(super) user: Arc<str>,
}

/// Describes a client for ACL LOG; a request of HTTP has none.
pub(super) fn describe_origin(client: Option<&Client>) -> String {
    client.map_or_else(
        || "http".to_owned(),
        |client| {
            let (id, address, name) = (client.id, &client.address, client.names().name);
            format!("id={id} addr={address} name={name}")
        },
    )
}

#[derive(Debug)]
struct Outbox {
    messages: VecDeque<OutboxMessage>,
    /// Memory of the messages' own.
    own: Charge,
    /// Memory that they share with other outboxes, in bytes.
    shared_bytes: usize,
}

impl Outbox {
    fn push(&mut self, message: OutboxMessage, account: &Account) {
        self.own.set_held(self.own.bytes() + message.own_bytes());
        self.shared_bytes += message.shared_bytes();
        account.add_shared(message.shared_bytes());
        self.messages.push_back(message);
    }

    fn pop(&mut self, account: &Account) -> Option<OutboxMessage> {
        let message = self.messages.pop_front()?;
        self.own.set_held(self.own.bytes() - message.own_bytes());
        self.shared_bytes -= message.shared_bytes();
        account.subtract_shared(message.shared_bytes());
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    fn clear(&mut self, account: &Account) {
        self.messages = VecDeque::new();
        self.own.set_held(0);
        account.subtract_shared(std::mem::take(&mut self.shared_bytes));
    }
}

impl Client {
    /// Appends a message to the outbox; disconnects the client if the outbox overflows.
    pub(super) fn post(&self, message: OutboxMessage) {
        let mut outbox = self.outbox();
        outbox.push(message, &self.account);
        if outbox.own.bytes() + outbox.shared_bytes > OUTBOX_BYTES_MAX {
            outbox.clear(&self.account);
            drop(outbox);
            self.kill();
            return;
        }
        // Under the lock, as it is taken back there.
        self.signals().raise(Signal::Messages);
    }

    /// Returns where its attempts to sign in come from.
    pub(super) fn origin(&self) -> Origin {
        Origin::of(self.address.ip())
    }

    /// Disconnects the client at once.
    pub fn kill(&self) {
        self.signals().raise(Signal::Killed);
    }

    /// Returns the signals to its connection.
    #[must_use]
    #[inline(always)]
    pub fn signals(&self) -> &Signals {
        &self.account.signals
    }

    /// Removes the first message from the outbox.
    #[must_use]
    pub fn take_message(&self) -> Option<OutboxMessage> {
        let mut outbox = self.outbox();
        let message = outbox.pop(&self.account);
        if outbox.messages.is_empty() {
            self.signals().take(Signal::Messages);
        }
        message
    }

    /// Empties the outbox.
    pub fn clear_outbox(&self) {
        let mut outbox = self.outbox();
        outbox.clear(&self.account);
        self.signals().take(Signal::Messages);
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
    pub fn add(
        &self,
        (address, local_address): (PeerAddress, PeerAddress),
        account: Arc<Account>,
    ) -> Arc<Client> {
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
            outbox: Mutex::new(Outbox {
                messages: VecDeque::new(),
                own: account.charge(),
                shared_bytes: 0,
            }),
            account,
        });
        if self.is_stopping.load(Relaxed) {
            client.signals().raise(Signal::Draining);
        }
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
            client.signals().raise(Signal::Draining);
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

    /// Disconnects the clients whose user is gone.
    pub(super) fn kill_users(&self, is_gone: impl Fn(&str) -> bool) {
        for client in self.all() {
            let user = client.names().user;
            if !user.is_empty() && is_gone(&user) {
                client.kill();
            }
        }
    }

    /// Lets every client look at its permissions again.
    pub(super) fn renew_permissions(&self) {
        for client in self.all() {
            client.signals().raise(Signal::NewPermissions);
        }
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

    /// Posts a request to all monitors whose users may see it, in Redis's format; a request of HTTP has no address.
    pub(super) fn show_request(
        &self,
        memory: &Arc<ClientMemory>,
        from: Option<&PeerAddress>,
        name: &str,
        words: &Arguments<'_>,
        sees: impl Fn(&Client) -> bool,
    ) {
        let from = match from {
            None => "http".to_owned(),
            Some(PeerAddress::Unix(path)) => format!("unix:{}", path.display()),
            Some(address) => address.to_string(),
        };
        let now = now_ms();
        let (seconds, microseconds) = (now / 1000, now % 1000 * 1000);
        let mut line = format!(
            "{seconds}.{microseconds:06} [0 {from}] \"{}\"",
            name.to_lowercase()
        );
        for word in words {
            line += &format!(" \"{}\"", word.escape_ascii()).replace("\\'", "'");
        }
        let request = Arc::new(ShownRequest {
            _charge: memory.share(line.len()),
            line,
        });
        let monitors = self.monitors.read().unwrap_or_else(PoisonError::into_inner);
        for client in monitors.values().filter(|client| sees(client)) {
            client.post(OutboxMessage::Request(Arc::clone(&request)));
        }
    }
}
