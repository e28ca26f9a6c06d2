//! The engine: the only door to the data, and the order of map and journal.
//!
//! In: keys and values whose limits have been checked. Out: what is there now. Promises:
//! - a change is recorded before it is seen, under the lock of its key: replay order is memory order, per key;
//! - what `commit` has let pass is as safe as `--durability` says, and so is everything that a reader has been shown before;
//! - a scan shows every pair that is there from its beginning to its end exactly once, and holds no lock meanwhile.

mod batch_access;
mod load;
mod map;
mod missing_key_watch;
mod snapshotter;
mod write_transaction;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use map::Table;

pub use batch_access::{LOCKED_BATCH_REQUESTS_MAX, LockedBatch};
pub use map::Position;
pub use missing_key_watch::MissingKeyWatch;
pub use write_transaction::{Mark, WriteTransaction};

use crate::model::entry::Entry;
use crate::model::{Change, Key, UnixMs, Value, now_ms};
pub use crate::persistence::{Changes, FollowError, Follower, OwnedChange, Progress};
use crate::persistence::{
    Disk, DiskFault, Durability, Files, Inspection, Load as _, Options, SYNC_INTERVAL, Salvaged,
    Store, StoreError, System,
};
use crate::protocol::ErrorReply;
use load::Loading;
use snapshotter::Saver;

/// Values up to this length are copied to the reply under the lock; a longer one is sent from its entry, in pieces.
const COPIED_BYTES_MAX: usize = 64 << 10;

/// How many keys are deleted as one change where all with a prefix are.
pub const DELETED_AT_A_TIME: usize = 1000;

/// The last change that a batch of requests has made or seen: what its replies have to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Barrier(u64);

impl Barrier {
    /// Another change was made or seen.
    pub fn raise(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
    }
}

/// What a read found.
#[derive(Debug)]
pub enum Read {
    /// The value was shown.
    Shown,
    /// The value is long: here is its entry, to be sent in pieces.
    Long(Entry),
    /// There is no such key.
    Missing,
}

/// The data of one server.
pub struct Engine {
    table: Table,
    store: Store,
    saver: Saver,
    /// How many pairs have expired since the start.
    expired: AtomicU64,
}

impl Engine {
    /// Opens a data folder and loads what it holds; `progress` is told how far it is.
    ///
    /// # Errors
    /// [`StoreError`]: the folder cannot be used, is in use, or is damaged. Nothing has been changed then.
    pub fn open(options: &Options, progress: &Progress) -> Result<Arc<Self>, StoreError> {
        Self::open_on(Arc::new(System), options, progress)
    }

    /// As `open`, on any disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_on(
        files: Arc<dyn Files>,
        options: &Options,
        progress: &Progress,
    ) -> Result<Arc<Self>, StoreError> {
        let loading = Loading::default();
        let store = Store::open(files, options, &loading, progress)?;
        let engine = Self::new(loading, store);
        while engine.expire() {}
        if options.durability == Durability::Off && engine.store.is_unsaved() {
            // Old records must not lie in the journal while newer changes go past it.
            snapshotter::save(&engine).map_err(StoreError::FirstSave)?;
        } else if engine.store.needs_save() {
            // If it fails, it is tried again while reads are served.
            let _ = snapshotter::save(&engine);
        }
        Saver::start(&engine, options.save_interval);
        Ok(engine)
    }

    /// Looks at a data folder that no server uses, and changes nothing; how many pairs can be read, and what is wrong.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be looked at.
    pub fn check(files: Arc<dyn Files>, path: &Path) -> Result<(u64, Inspection), StoreError> {
        let loading = Loading::default();
        let inspection = Store::check(files, path, &loading)?;
        Ok((loading.pairs(), inspection))
    }

    /// Mends a damaged data folder: what can be read is saved, what was there before is kept beside it. Nothing is changed if
    /// nothing is damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn repair(files: Arc<dyn Files>, path: &Path) -> Result<(u64, Salvaged), StoreError> {
        let loading = Loading::default();
        let options = Options {
            data: path.to_owned(),
            durability: Durability::Always,
            save_interval: Duration::MAX,
            sync_interval: SYNC_INTERVAL,
        };
        let mut salvaged = Store::salvage(files, &options, &loading)?;
        let pairs = loading.pairs();
        if let Some(store) = salvaged.store.take() {
            let engine = Self::new(loading, store);
            snapshotter::save(&engine).map_err(StoreError::Unmended)?;
        }
        Ok((pairs, salvaged))
    }

    fn new(loading: Loading, store: Store) -> Arc<Self> {
        Arc::new(Self {
            table: loading.end(),
            store,
            saver: Saver::new(),
            expired: AtomicU64::new(0),
        })
    }

    /// Has the pairs of these keys fetched from memory, all at once: they are about to be looked up. It changes nothing.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        self.table.prefetch(keys);
    }

    /// Shows the value of a key, unless it is long.
    pub fn read(&self, key: Key<'_>, seen: &mut Barrier, show: impl FnOnce(Value<'_>)) -> Read {
        let (read, changed) = self.table.read(key, |entry| shown(entry, show));
        seen.raise(Barrier(changed));
        read.unwrap_or(Read::Missing)
    }

    /// Begins a run of requests with these keys, one each; whether any of them may change its key.
    #[must_use]
    pub fn run<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
        is_writing: bool,
    ) -> LockedBatch<'_> {
        LockedBatch::new(self, keys, is_writing)
    }

    /// Begins changes of these keys that belong together.
    #[must_use]
    pub fn begin(&self, keys: &[Key<'_>]) -> WriteTransaction<'_> {
        WriteTransaction::new(self, self.table.lock(keys))
    }

    /// Begins changes of any keys that belong together: everybody else waits.
    #[must_use]
    pub fn begin_on_all(&self) -> WriteTransaction<'_> {
        WriteTransaction::new(self, self.table.lock_all())
    }

    /// Stores a value under a key; returns true if the key did not exist.
    ///
    /// # Errors
    /// `DISK`, while the disk takes no changes; nothing has changed then.
    pub fn put(
        &self,
        key: Key<'_>,
        value: Value<'_>,
        made: &mut Barrier,
    ) -> Result<bool, DiskFault> {
        let record = self.store.encode(&Change::Put(key, value));
        let mut locked = self.table.lock(&[key]);
        let change = self.store.append(record)?;
        let (is_new, old) = locked.put(key, value);
        locked.note(change);
        drop(locked);
        made.raise(Barrier(change));
        // It is freed here, not under the lock.
        Ok(is_new || old.is_some_and(|old| is_gone(&old)))
    }

    /// How many keys, without those that have expired and are still to be deleted.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.unexpired(self.table.keys())
    }

    /// How many of so many keys are left without those that have expired.
    fn unexpired(&self, keys: u64) -> u64 {
        keys.saturating_sub(self.table.expired_keys(now_ms()))
    }

    /// How many of the keys expire.
    #[must_use]
    pub fn keys_expiring(&self) -> u64 {
        self.table.keys_expiring()
    }

    /// How many pairs have expired since the start.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    /// What whoever is shown anything of all the data has seen.
    #[must_use]
    pub fn everything(&self) -> Barrier {
        Barrier(self.store.appended())
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.table.data_bytes()
    }

    /// Begins a scan of the pairs whose key begins with a prefix.
    #[must_use]
    pub fn scan(self: &Arc<Self>, prefix: Key<'_>) -> Scan {
        Scan {
            engine: Arc::clone(self),
            prefix: prefix.as_bytes().to_vec(),
            shard: 0,
            seen: Barrier::default(),
        }
    }

    /// Deletes those of these entries that are still there, as one change; how many.
    ///
    /// # Errors
    /// As [`Group::end`].
    pub fn delete(&self, entries: &[Entry], made: &mut Barrier) -> Result<u64, ErrorReply> {
        let keys: Vec<Key<'_>> = entries.iter().map(Entry::key).collect();
        let mut group = self.begin(&keys);
        let deleted = keys.iter().filter(|key| group.delete(**key)).count();
        group.end(made)?;
        Ok(deleted as u64)
    }

    /// Waits until what a batch has made or seen is as safe as `--durability` promises. No reply may leave before: neither that
    /// of a write, nor that of a read, which may have seen another's.
    ///
    /// # Errors
    /// `DISK`: the changes that were waiting are in memory, and are written as soon as the disk takes them, but may be lost
    /// if the server ends before. Reads are still true.
    pub async fn commit(&self, barrier: Barrier) -> Result<(), DiskFault> {
        self.store.commit(barrier.0).await
    }

    /// Follows the changes of keys with a prefix, after a revision or from now on. Who begins to follow and then reads the
    /// pairs misses none.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn follow(&self, prefix: Key<'_>, after: Option<u64>) -> Result<Follower, FollowError> {
        self.store.follow(prefix, after)
    }

    /// Saves all pairs, and waits for it. Changes that were made before the call are in store.json when it returns.
    ///
    /// # Errors
    /// Why it could not be done. The old store.json and the journals are kept then.
    pub async fn save(&self) -> Result<(), DiskFault> {
        self.saver.save().await
    }

    /// From now on a save takes all of a core: the server stops, and nobody is served any more.
    pub fn hurry(&self) {
        self.saver.hurry();
    }

    /// How many changes there are that store.json does not hold.
    #[must_use]
    pub fn unsaved_changes(&self) -> u64 {
        self.store.unsaved_changes()
    }

    /// Whether there are changes that store.json does not hold.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        self.store.is_unsaved()
    }

    /// At least `least` pairs from a position on, if there are so many, and the position where the next ones begin; none after
    /// the last. A walk from page to page, which begins at 0, shows every pair that is there from its beginning to its end.
    pub fn page(
        &self,
        from: Position,
        least: usize,
        seen: &mut Barrier,
    ) -> (Vec<Entry>, Option<Position>) {
        let (mut page, next, changed) = self.table.page(from, least);
        seen.raise(Barrier(changed));
        page.retain(|entry| !is_gone(entry));
        (page, next)
    }

    /// Deletes some of what has expired, and says whether there may be more. It looks at what is due alone, not at all the data.
    pub fn expire(&self) -> bool {
        if self.table.keys_expiring() == 0 {
            return false;
        }
        let now = now_ms();
        for shard in 0..self.table.shards() {
            let due = self.table.expired(shard, now);
            // Until the disk takes changes again, a pair is only hidden.
            if !due.is_empty() {
                return self.delete_expired(&due, now).is_ok();
            }
        }
        false
    }

    /// Deletes entries of one shard, if they are still the ones that have expired.
    fn delete_expired(&self, due: &[Entry], now: UnixMs) -> Result<(), DiskFault> {
        let mut keys: Vec<Key<'_>> = due.iter().map(Entry::key).collect();
        let mut locked = self.table.lock(&keys);
        keys.retain(|key| locked.get(*key).is_some_and(|entry| entry.is_expired(now)));
        if keys.is_empty() {
            return Ok(());
        }
        let record = self.store.encode(&Change::Delete(&keys));
        let change = self.store.append(record)?;
        for key in &keys {
            locked.remove(*key);
        }
        locked.note(change);
        self.expired.fetch_add(keys.len() as u64, Relaxed);
        Ok(())
    }

    /// The state of the disk and of the last save.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.store.disk()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} keys)", self.keys())
    }
}

/// Shows the value of an entry, unless it is long or gone.
fn shown(entry: &Entry, show: impl FnOnce(Value<'_>)) -> Read {
    if is_gone(entry) {
        Read::Missing
    } else if entry.value_bytes().len() > COPIED_BYTES_MAX {
        Read::Long(entry.clone())
    } else {
        show(entry.value());
        Read::Shown
    }
}

fn is_gone(entry: &Entry) -> bool {
    // Only a pair that expires pays for a look at the clock.
    entry.expires_at().is_some() && entry.is_expired(now_ms())
}

/// A walk over the pairs whose key begins with a prefix.
#[derive(Debug)]
pub struct Scan {
    engine: Arc<Engine>,
    prefix: Vec<u8>,
    shard: usize,
    seen: Barrier,
}

impl Scan {
    /// What it has shown so far.
    #[must_use]
    pub fn seen(&self) -> Barrier {
        self.seen
    }
}

impl Iterator for Scan {
    type Item = Vec<Entry>;

    /// The pairs of one shard more; they may be none.
    fn next(&mut self) -> Option<Vec<Entry>> {
        if self.shard == self.engine.table.shards() {
            return None;
        }
        let (mut entries, changed) = self.engine.table.entries(self.shard, &self.prefix);
        self.seen.raise(Barrier(changed));
        self.shard += 1;
        entries.retain(|entry| !is_gone(entry));
        Some(entries)
    }
}
