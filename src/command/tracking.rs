//! Client-side caching: which clients may hold copies of which pairs, and the invalidations that they are sent.
//!
//! In: keys that clients have read, prefixes that they name, and changes. Out: invalidations in outboxes. Promises: a client that has read
//! a pair while it tracks is told of the next change of it, after the reply to its read; the table is bounded, and what falls out of it is
//! told as if it had changed.
//!
//! Source: <https://redis.io/docs/latest/develop/reference/client-side-caching/>.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use indexmap::IndexMap;
use smallvec::SmallVec;

use super::acl::KeyFilter;
use super::client_memory::Charge;
use super::clients::{Client, OutboxMessage};
use crate::model::Database;

/// Number of parts of the table, each under a lock of its own.
const PARTS: usize = 64;
/// Memory of a key in the table for one client in bytes, without its name.
const PER_KEY_BYTES: usize = 160;
/// Maximum number of prefixes that one client tracks: each change is compared with all.
pub const TRACKED_PREFIXES_MAX: usize = 1_000;
/// Maximum total length of the prefixes that one client tracks, in bytes: they are kept.
pub const TRACKED_PREFIXES_BYTES_MAX: usize = 1 << 20;

/// A client that tracks.
#[derive(Debug)]
pub(super) struct Tracker {
    client: Arc<Client>,
    is_on: AtomicBool,
    /// True if it tracks prefixes rather than what it reads.
    pub is_broadcast: bool,
    options: Mutex<TrackerOptions>,
    /// Charge of its part of the table.
    charge: Mutex<Charge>,
}

/// What a client has chosen, and may choose again while it tracks.
#[derive(Debug, Default)]
pub(super) struct TrackerOptions {
    /// The client that is sent the invalidations in its place, with its number.
    pub redirect: Option<(u64, Weak<Client>)>,
    /// True if it is not told of its own changes.
    pub skips_own: bool,
    /// Prefixes, of one that tracks these; none are all keys.
    pub prefixes: Vec<Box<[u8]>>,
    /// The keys that its user may see; `None` if these are all.
    pub filter: Option<KeyFilter>,
}

impl TrackerOptions {
    /// Returns true if the client is gone that is to be sent the invalidations.
    pub fn has_lost_target(&self) -> bool {
        let target = self.redirect.as_ref().map(|(_, target)| target.upgrade());
        target.is_some_and(|target| target.is_none_or(|target| target.is_closing()))
    }
}

impl Tracker {
    /// Returns what the client has chosen.
    pub fn options(&self) -> MutexGuard<'_, TrackerOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn charged(&self) -> MutexGuard<'_, Charge> {
        self.charge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Charges a key that it has read.
    fn charge(&self, key: &[u8]) {
        let mut charge = self.charged();
        let held = charge.bytes();
        charge.set_held(held + PER_KEY_BYTES + key.len());
    }

    /// Takes back the charge of a key.
    fn release(&self, key: &[u8]) {
        let mut charge = self.charged();
        let held = charge.bytes();
        charge.set_held(held.saturating_sub(PER_KEY_BYTES + key.len()));
    }

    /// Sends an invalidation of a key, or of all.
    fn send(&self, name: Option<&[u8]>) {
        if !self.is_on.load(Relaxed) {
            return;
        }
        let options = self.options();
        let Some((id, target)) = &options.redirect else {
            drop(options);
            if self.client.resp.load(Relaxed) == 3 {
                self.client
                    .post(OutboxMessage::Invalidated(name.map(Into::into)));
            }
            return;
        };
        let is_there = |target: &Arc<Client>| !target.is_closing();
        let (id, target) = (*id, target.upgrade().filter(is_there));
        drop(options);
        match target {
            // In RESP2 a message can only be told from a reply by one who has subscribed.
            Some(target) if target.resp.load(Relaxed) == 3 || target.is_subscribed() => {
                target.post(OutboxMessage::Invalidated(name.map(Into::into)));
            }
            None if self.client.resp.load(Relaxed) == 3 => {
                self.client.post(OutboxMessage::RedirectionBroken(id));
            }
            _ => {}
        }
    }

    /// Sends an invalidation of a key that has changed, if the client tracks its prefix.
    fn broadcast(&self, key: &[u8], by: Option<u64>) {
        let database = Database::new(self.client.database.load(Relaxed)).unwrap_or_default();
        let is_there = database.is_default() || Database::of_key(key) == database;
        let name = name_in(key, database);
        let options = self.options();
        let is_own = by == Some(self.client.id) && options.skips_own;
        let is_tracked = options.prefixes.is_empty()
            || options
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix));
        let is_permitted = options
            .filter
            .as_ref()
            .is_none_or(|filter| filter.permits(key));
        drop(options);
        if is_there && is_tracked && is_permitted && !is_own {
            self.send(Some(name));
        }
    }
}

/// The clients that have read a key, each with its database then.
type Readers = SmallVec<[(Arc<Tracker>, Database); 1]>;

type Part = IndexMap<Box<[u8]>, Readers>;

/// All clients that track, and what they have read.
#[derive(Debug)]
pub(super) struct Tracking {
    parts: Vec<Mutex<Part>>,
    hasher: RandomState,
    /// Number of keys in the table, and of keys of each client.
    keys: AtomicU64,
    items: AtomicU64,
    /// Maximum number of keys in the table; 0 for no limit.
    keys_max: Arc<AtomicI64>,
    trackers: RwLock<BTreeMap<u64, Arc<Tracker>>>,
    /// Number of trackers, and of those that track prefixes: looked at for each change.
    count: AtomicUsize,
    broadcasts: AtomicUsize,
}

impl Tracking {
    /// Makes a table of at most so many keys.
    pub fn new(keys_max: Arc<AtomicI64>) -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            keys: AtomicU64::new(0),
            items: AtomicU64::new(0),
            keys_max,
            trackers: RwLock::default(),
            count: AtomicUsize::new(0),
            broadcasts: AtomicUsize::new(0),
        }
    }

    /// Returns true if any client tracks.
    #[inline(always)]
    pub fn is_used(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Returns the number of clients that track.
    pub fn clients(&self) -> u64 {
        self.count.load(Relaxed) as u64
    }

    /// Returns the number of keys in the table, and that of keys of each client.
    pub fn sizes(&self) -> (u64, u64) {
        (self.keys.load(Relaxed), self.items.load(Relaxed))
    }

    /// Returns the number of different prefixes that are tracked.
    pub fn prefixes(&self) -> u64 {
        let trackers = self.all();
        let trackers = trackers.iter().filter(|tracker| tracker.is_broadcast);
        let mut prefixes: Vec<Box<[u8]>> = trackers
            .flat_map(|tracker| {
                let prefixes = tracker.options().prefixes.clone();
                if prefixes.is_empty() {
                    vec![Box::default()]
                } else {
                    prefixes
                }
            })
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes.len() as u64
    }

    /// Returns the tracker of a client.
    pub fn of(&self, client: u64) -> Option<Arc<Tracker>> {
        let trackers = self.trackers.read();
        let trackers = trackers.unwrap_or_else(PoisonError::into_inner);
        trackers.get(&client).cloned()
    }

    fn all(&self) -> Vec<Arc<Tracker>> {
        let trackers = self.trackers.read();
        let trackers = trackers.unwrap_or_else(PoisonError::into_inner);
        trackers.values().cloned().collect()
    }

    /// Begins to track for a client.
    pub fn begin(
        &self,
        client: &Arc<Client>,
        is_broadcast: bool,
        options: TrackerOptions,
    ) -> Arc<Tracker> {
        let tracker = Arc::new(Tracker {
            client: Arc::clone(client),
            is_on: AtomicBool::new(true),
            is_broadcast,
            options: Mutex::new(options),
            charge: Mutex::new(client.account.charge()),
        });
        let trackers = self.trackers.write();
        let mut trackers = trackers.unwrap_or_else(PoisonError::into_inner);
        trackers.insert(client.id, Arc::clone(&tracker));
        // Ordered before the reads that follow: who changes what they have read must see it.
        self.count.fetch_add(1, SeqCst);
        self.broadcasts.fetch_add(is_broadcast.into(), SeqCst);
        tracker
    }

    /// Ends the tracking for a client. What it has read is forgotten on another thread.
    pub fn end(self: &Arc<Self>, tracker: &Arc<Tracker>) {
        tracker.is_on.store(false, Relaxed);
        let trackers = self.trackers.write();
        let mut trackers = trackers.unwrap_or_else(PoisonError::into_inner);
        trackers.remove(&tracker.client.id);
        drop(trackers);
        self.count.fetch_sub(1, SeqCst);
        self.broadcasts
            .fetch_sub(tracker.is_broadcast.into(), SeqCst);
        let has_read = tracker.charged().bytes() > 0;
        if has_read {
            let (tracking, tracker) = (Arc::clone(self), Arc::clone(tracker));
            tokio::task::spawn_blocking(move || tracking.forget(&tracker));
        }
    }

    fn forget(&self, tracker: &Arc<Tracker>) {
        for place in 0..PARTS {
            self.part(place).retain(|key, readers| {
                let before = readers.len();
                readers.retain(|(reader, _)| !Arc::ptr_eq(reader, tracker));
                for _ in readers.len()..before {
                    tracker.release(key);
                    self.items.fetch_sub(1, Relaxed);
                }
                if readers.is_empty() {
                    self.keys.fetch_sub(1, Relaxed);
                }
                !readers.is_empty()
            });
        }
    }

    fn part(&self, place: usize) -> MutexGuard<'_, Part> {
        let part = self.parts[place % PARTS].lock();
        part.unwrap_or_else(PoisonError::into_inner)
    }

    fn part_of(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        let hash = self.hasher.hash_one(key);
        self.part(usize::try_from(hash % PARTS as u64).unwrap_or(0))
    }

    /// Notes that a client reads a key. To be called before the read, so that a change after it finds the note.
    pub fn note_read(&self, tracker: &Arc<Tracker>, key: &[u8], database: Database) {
        let mut part = self.part_of(key);
        if let Some(readers) = part.get_mut(key) {
            let mut others = readers.iter();
            if others.any(|(reader, of)| Arc::ptr_eq(reader, tracker) && *of == database) {
                return;
            }
            readers.push((Arc::clone(tracker), database));
        } else {
            let mut readers = Readers::new();
            readers.push((Arc::clone(tracker), database));
            part.insert(key.into(), readers);
            self.keys.fetch_add(1, Relaxed);
        }
        drop(part);
        self.items.fetch_add(1, Relaxed);
        tracker.charge(key);
        self.drop_excess();
    }

    /// Drops keys until there are as few as there may be.
    pub fn drop_excess(&self) {
        let most = u64::try_from(self.keys_max.load(Relaxed)).unwrap_or(0);
        while most > 0 && self.keys.load(Relaxed) > most && self.drop_one() {}
    }

    /// Drops a random key of the table, and tells those who have read it. Returns false if there is none.
    fn drop_one(&self) -> bool {
        let first = fastrand::usize(..PARTS);
        for place in first..first + PARTS {
            let mut part = self.part(place);
            if part.is_empty() {
                continue;
            }
            let place = fastrand::usize(..part.len());
            let chosen = part.swap_remove_index(place);
            drop(part);
            if let Some((key, readers)) = chosen {
                self.tell(&key, readers, None);
            }
            return true;
        }
        false
    }

    /// Tells of the change of a key those who may hold a copy, but for the client that has made it if it does not want to know.
    pub fn invalidate(&self, key: &[u8], by: Option<u64>) {
        let readers = self.part_of(key).swap_remove(key);
        if let Some(readers) = readers {
            self.tell(key, readers, by);
        }
        if self.broadcasts.load(Relaxed) > 0 {
            for tracker in self.all().iter().filter(|tracker| tracker.is_broadcast) {
                tracker.broadcast(key, by);
            }
        }
    }

    fn tell(&self, key: &[u8], readers: Readers, by: Option<u64>) {
        self.keys.fetch_sub(1, Relaxed);
        for (tracker, database) in readers {
            self.items.fetch_sub(1, Relaxed);
            tracker.release(key);
            if by == Some(tracker.client.id) && tracker.options().skips_own {
                continue;
            }
            tracker.send(Some(name_in(key, database)));
        }
    }

    /// Tells all clients that every pair may have changed.
    pub fn invalidate_all(&self) {
        for place in 0..PARTS {
            let all = std::mem::take(&mut *self.part(place));
            self.keys.fetch_sub(all.len() as u64, Relaxed);
            for (key, readers) in all {
                self.items.fetch_sub(readers.len() as u64, Relaxed);
                for (tracker, _) in readers {
                    tracker.release(&key);
                }
            }
        }
        for tracker in self.all() {
            tracker.send(None);
        }
    }
}

/// Returns the name of a key for a client of a database.
fn name_in(key: &[u8], database: Database) -> &[u8] {
    if Database::of_key(key) == database {
        return database.name_of(key);
    }
    key
}

/// Which of the keys that a client reads are tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// All.
    All,
    /// Those that the request behind CLIENT CACHING YES reads.
    OptIn,
    /// All but those that the request behind CLIENT CACHING NO reads.
    OptOut,
    /// None: it tracks prefixes.
    Broadcast,
}

/// The tracking of a session.
#[derive(Debug)]
pub(super) struct SessionTracking {
    pub tracker: Arc<Tracker>,
    pub choice: Choice,
    /// True if CLIENT CACHING was sent: the next request is an exception.
    pub is_exception: bool,
}

impl SessionTracking {
    /// Returns true if what the next request reads is tracked.
    pub fn tracks_next(&self) -> bool {
        match self.choice {
            Choice::All => true,
            Choice::OptIn => self.is_exception,
            Choice::OptOut => !self.is_exception,
            Choice::Broadcast => false,
        }
    }
}
