//! The connected clients, and the outbox of each.
//!
//! In: connections, and messages for them. Out: the list of clients; for each an outbox, which its connection sends. Promise: no
//! sender waits for a client that does not read; a client whose outbox overflows is disconnected, as it could not otherwise know
//! that it has missed messages.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::acl::Origin;
use super::client_memory::{Account, Charge, ClientMemory, SharedCharge};
use super::signals::{Signal, Signals};
use super::spec::Arguments;
use crate::config::PeerAddress;
use crate::metrics::counter::Counter;
use crate::metrics::counters::Traffic;
use crate::model::Database;
use crate::protocol::Reply;

/// Maximum length of an outbox in bytes, Redis's limit for subscribers.
pub const OUTBOX_BYTES_MAX: usize = 32 << 20;

/// A push from other clients.
#[derive(Debug)]
pub enum OutboxMessage {
    /// A published message, and the pattern that matched, if any.
    Published(Option<Box<[u8]>>, Arc<Published>),
    /// A message of a shard channel.
    ShardPublished(Arc<Published>),
    /// A request of any client, for MONITOR.
    Request(Arc<ShownRequest>),
    /// A key whose copies are not to be used any more, or all keys.
    Invalidated(Option<Box<[u8]>>),
    /// The client with this number is gone, which invalidations were to be sent to.
    RedirectionBroken(u64),
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
            Self::ShardPublished(message) => {
                Reply::ShardMessage(&message.channel, &message.payload)
            }
            Self::Request(request) => Reply::Monitor(&request.line),
            Self::Invalidated(key) => Reply::Invalidated(key.as_deref()),
            Self::RedirectionBroken(client) => Reply::RedirectionBroken(*client),
        }
    }

    /// Returns the memory of its own, in bytes.
    fn own_bytes(&self) -> usize {
        let pattern = match self {
            Self::Published(own, _) | Self::Invalidated(own) => {
                own.as_ref().map_or(0, |own| own.len())
            }
            Self::ShardPublished(_) | Self::Request(_) | Self::RedirectionBroken(_) => 0,
        };
        size_of::<Self>() + pattern
    }

    /// Returns the memory that it shares with the outboxes of others, in bytes.
    fn shared_bytes(&self) -> usize {
        match self {
            Self::Published(_, message) | Self::ShardPublished(message) => {
                message.channel.len() + message.payload.len()
            }
            Self::Request(request) => request.line.len(),
            Self::Invalidated(_) | Self::RedirectionBroken(_) => 0,
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
    /// Descriptor of its socket; -1 for the console.
    pub(super) descriptor: RawFd,
    pub(super) connected_at: Instant,
    /// Time at which it last sent something, in seconds of [`Clients::seconds`].
    active_seconds: AtomicU64,
    pub(super) names: Mutex<Names>,
    /// Number of its last command or subcommand, counted from 1; 0 before the first.
    pub(super) command: AtomicUsize,
    /// Number of queued requests; -1 without a transaction.
    pub(super) queued: AtomicI64,
    /// Length of the queued requests in bytes.
    pub(super) queued_bytes: AtomicUsize,
    /// True while it waits in WAIT.
    pub(super) is_waiting: AtomicBool,
    /// True if its wait was ended by an error.
    pub(super) is_unblocked_by_error: AtomicBool,
    /// True if it uses MONITOR.
    pub(super) is_monitor: AtomicBool,
    /// True once it is sent nothing more but the replies that it waits for.
    pub is_closing: AtomicBool,
    /// True after CLIENT NO-TOUCH ON.
    pub(super) is_no_touch: AtomicBool,
    /// Bytes of its connection.
    pub buffers: Buffers,
    /// Numbers of subscribed channels, patterns and shard channels.
    pub(super) subscriptions: [AtomicUsize; 3],
    /// Number of its database.
    pub(super) database: AtomicUsize,
    /// Version of RESP: 2 or 3.
    pub(super) resp: AtomicUsize,
    outbox: Mutex<Outbox>,
    /// Memory that is held for it, and the signals to its connection.
    pub account: Arc<Account>,
}

/// Bytes of a connection: what has gone through it, and what is held in its buffers while it waits. Only the connection writes them.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Bytes that the client has sent.
    pub received: Counter,
    /// Bytes that the client has been sent.
    pub sent: Counter,
    /// Bytes of a request that has arrived in part.
    pub partial: AtomicUsize,
    /// Memory of the input buffer.
    pub input: AtomicUsize,
    /// Memory of replies that the client does not read.
    pub output: AtomicUsize,
}

impl Buffers {
    fn traffic(&self) -> Traffic {
        Traffic {
            received: self.received.get(),
            sent: self.sent.get(),
        }
    }
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
    /// Ends its wait, with an error or as at the end of its time.
    pub(super) fn unblock(&self, is_error: bool) {
        self.is_unblocked_by_error.store(is_error, Relaxed);
        self.signals().raise(Signal::Unblocked);
    }

    /// Returns true while it waits in WAIT.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_waiting.load(Relaxed)
    }

    /// Returns true if it is sent nothing more but the replies that it waits for.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Relaxed)
    }

    /// Returns true if it has subscribed to anything.
    pub(super) fn is_subscribed(&self) -> bool {
        let mut numbers = self.subscriptions.iter();
        numbers.any(|number| number.load(Relaxed) > 0)
    }

    /// Returns the number of messages in the outbox, and their memory in bytes.
    pub(super) fn outbox_size(&self) -> (usize, usize) {
        let outbox = self.outbox();
        (
            outbox.messages.len(),
            outbox.own.bytes() + outbox.shared_bytes,
        )
    }

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
    /// Bytes of those that have disconnected; added to under the lock of `all`.
    received_before: AtomicU64,
    sent_before: AtomicU64,
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
        descriptor: RawFd,
        account: Arc<Account>,
    ) -> Arc<Client> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Relaxed) + 1,
            address,
            local_address,
            descriptor,
            connected_at: Instant::now(),
            active_seconds: AtomicU64::new(self.seconds.load(Relaxed)),
            names: Mutex::default(),
            command: AtomicUsize::default(),
            queued: AtomicI64::new(-1),
            queued_bytes: AtomicUsize::default(),
            is_waiting: AtomicBool::default(),
            is_unblocked_by_error: AtomicBool::default(),
            is_monitor: AtomicBool::default(),
            is_closing: AtomicBool::default(),
            is_no_touch: AtomicBool::default(),
            buffers: Buffers::default(),
            subscriptions: Default::default(),
            database: AtomicUsize::new(0),
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
        if all.remove(&client.id).is_some() {
            let Traffic { received, sent } = client.buffers.traffic();
            self.received_before.fetch_add(received, Relaxed);
            self.sent_before.fetch_add(sent, Relaxed);
        }
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

    /// Returns the client with a number.
    pub(super) fn get(&self, id: u64) -> Option<Arc<Client>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let client = all.get(&id).filter(|client| !client.is_closing());
        client.cloned()
    }

    /// Returns all clients, the oldest first, but for those that are being closed.
    pub(super) fn all(&self) -> Vec<Arc<Client>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let clients = all.values().filter(|client| !client.is_closing());
        clients.cloned().collect()
    }

    /// Returns the bytes that all clients have sent and been sent, those included that have disconnected.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Traffic {
            received: self.received_before.load(Relaxed),
            sent: self.sent_before.load(Relaxed),
        };
        for client in all.values() {
            sum += client.buffers.traffic();
        }
        sum
    }

    /// Returns the number of clients for which something holds.
    pub(super) fn count(&self, holds: impl Fn(&Client) -> bool) -> usize {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|client| holds(client)).count()
    }

    /// Returns the memory of the largest input buffer of a client, and of the largest output buffer, in bytes.
    pub(super) fn largest_buffers(&self) -> (usize, usize) {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values().fold((0, 0), |(input, output), client| {
            let buffers = &client.buffers;
            (
                input.max(buffers.input.load(Relaxed)),
                output.max(buffers.output.load(Relaxed)),
            )
        })
    }

    /// Begins to show all requests to a client.
    pub(super) fn monitor(&self, client: &Arc<Client>) {
        let monitors = self.monitors.write();
        let mut monitors = monitors.unwrap_or_else(PoisonError::into_inner);
        monitors.insert(client.id, Arc::clone(client));
        client.is_monitor.store(true, Relaxed);
        self.monitor_count.store(monitors.len(), Relaxed);
    }

    /// Ends showing requests to a client.
    pub(super) fn end_monitoring(&self, id: u64) {
        if self.is_monitored() {
            let monitors = self.monitors.write();
            let mut monitors = monitors.unwrap_or_else(PoisonError::into_inner);
            if let Some(client) = monitors.remove(&id) {
                client.is_monitor.store(false, Relaxed);
            }
            self.monitor_count.store(monitors.len(), Relaxed);
        }
    }

    /// Returns true if any client uses MONITOR.
    #[must_use]
    #[inline(always)]
    pub fn is_monitored(&self) -> bool {
        self.monitor_count.load(Relaxed) > 0
    }

    /// Posts a request to all monitors whose users may see it, in Redis's format.
    pub(super) fn show_request(
        &self,
        memory: &Arc<ClientMemory>,
        (database, from): (Database, &str),
        verb: &[u8],
        words: &Arguments<'_>,
        sees: impl Fn(&Client) -> bool,
    ) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let (seconds, us) = now.map_or((0, 0), |now| (now.as_secs(), now.subsec_micros()));
        let quoted = |word: &[u8]| format!("\"{}\"", word.escape_ascii()).replace("\\'", "'");
        let number = database.number();
        let mut line = format!("{seconds}.{us:06} [{number} {from}] {}", quoted(verb));
        for word in words {
            line.push(' ');
            line += &quoted(word);
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
