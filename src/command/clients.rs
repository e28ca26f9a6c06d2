//! Who is connected, and what comes to a client by itself.
//!
//! In: connections, and messages for them. Out: the list of clients; for each a mailbox that its connection empties. Promise:
//! nobody waits for a client that does not read: one whose mailbox overflows is disconnected, as what it missed could not be
//! told otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::record::now_ms;

/// The most bytes that wait for one client, as in Redis for those that subscribe.
pub const MAIL_BYTES_MAX: usize = 32 << 20;

/// What comes to a client by itself.
#[derive(Debug)]
pub enum Message {
    /// Published to a channel; the pattern by which it came here, if any.
    Published(Option<Box<[u8]>>, Arc<[u8]>, Arc<[u8]>),
    /// A request of somebody, for MONITOR.
    Request(Arc<str>),
}

impl Message {
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
    /// When it was last heard of, in milliseconds since it came.
    heard_ms: AtomicU64,
    pub(super) names: Mutex<Names>,
    /// The place in the table of its last command, counted from 1.
    pub(super) command: AtomicUsize,
    /// How many requests wait for EXEC; -1 without a transaction.
    pub(super) queued: AtomicI64,
    /// How many channels, and how many patterns it listens to.
    pub(super) subscriptions: (AtomicUsize, AtomicUsize),
    /// 2 or 3.
    pub(super) resp: AtomicUsize,
    /// Whether it has to go.
    pub ended: CancellationToken,
    mail: Mutex<Mail>,
    /// How many messages wait.
    waiting: AtomicUsize,
    /// Told when there is mail.
    pub mail_has_come: Notify,
}

/// What a client has said of itself.
#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    pub(super) name: String,
    pub(super) library: String,
    pub(super) library_version: String,
}

#[derive(Debug, Default)]
struct Mail {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Client {
    /// Lets it have a message, as soon as its connection comes to it.
    pub(super) fn post(&self, message: Message) {
        let mut mail = self.mail();
        mail.bytes += message.bytes();
        if mail.bytes > MAIL_BYTES_MAX {
            mail.messages.clear();
            self.ended.cancel();
            return;
        }
        mail.messages.push_back(message);
        self.waiting.store(mail.messages.len(), Relaxed);
        drop(mail);
        self.mail_has_come.notify_one();
    }

    /// Whether there is mail. One that was sent before this client's next request was, is seen.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// The next message.
    #[must_use]
    pub fn take_mail(&self) -> Option<Message> {
        let mut mail = self.mail();
        let message = mail.messages.pop_front()?;
        mail.bytes -= message.bytes();
        self.waiting.store(mail.messages.len(), Relaxed);
        if mail.messages.is_empty() {
            mail.messages = VecDeque::new();
        }
        Some(message)
    }

    /// Forgets what has not been sent.
    pub(super) fn drop_mail(&self) {
        *self.mail() = Mail::default();
        self.waiting.store(0, Relaxed);
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has sent something.
    pub fn heard(&self) {
        let ms = self.since.elapsed().as_millis();
        self.heard_ms
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn idle_seconds(&self) -> u64 {
        let heard = std::time::Duration::from_millis(self.heard_ms.load(Relaxed));
        self.since.elapsed().saturating_sub(heard).as_secs()
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
}

impl Clients {
    /// A client has come.
    pub fn enter(&self, address: SocketAddr, local_address: SocketAddr) -> Arc<Client> {
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Relaxed) + 1,
            address,
            local_address,
            since: Instant::now(),
            heard_ms: AtomicU64::default(),
            names: Mutex::default(),
            command: AtomicUsize::default(),
            queued: AtomicI64::new(-1),
            subscriptions: (AtomicUsize::default(), AtomicUsize::default()),
            resp: AtomicUsize::new(2),
            ended: CancellationToken::new(),
            mail: Mutex::default(),
            waiting: AtomicUsize::default(),
            mail_has_come: Notify::new(),
        });
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(client.id, Arc::clone(&client));
        client
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
            client.post(Message::Request(Arc::clone(&request)));
        }
    }
}
