//! The engine: the only door to the data, and the order of map and journal.
//!
//! In: keys and values whose limits have been checked. Out: what is there now. Promises:
//! - a change is recorded before it is seen, under the lock of its key: replay order is memory order, per key;
//! - what `commit` has let pass is as safe as `--durability` says, and so is everything that a reader has been shown before;
//! - a scan shows every pair that is there from its beginning to its end exactly once, and holds no lock meanwhile.

mod load;
mod saver;
mod table;

use std::cmp::Reverse;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use table::Table;

pub use crate::persistence::Progress;
use crate::persistence::chunks::Load as _;
use crate::persistence::files::{Files, System};
use crate::persistence::{
    Disk, DiskFault, Durability, Inspection, Options, SYNC_INTERVAL, Salvaged, Store, StoreError,
};
use crate::protocol::{ErrorCode, ErrorReply};
use crate::record::{Change, Entry, Key, UnixMs, Value, now_ms};
use load::{Expiring, Loading};
use saver::Saver;

/// Values up to this length are copied to the reply under the lock; a longer one is sent from its entry, in pieces.
const COPIED_BYTES_MAX: usize = 64 << 10;

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

/// What becomes of a pair, decided by whoever has seen it.
#[derive(Debug)]
pub enum Update {
    /// It stays as it is.
    Keep,
    /// It has this value, and ceases to be then.
    Put(Vec<u8>, Option<UnixMs>),
    /// It is gone.
    Delete,
}

/// The data of one server.
pub struct Engine {
    table: Table,
    store: Store,
    saver: Saver,
    /// Keys that expire, soonest first; an item whose key has changed since is passed over when its time comes.
    expiring: Mutex<Expiring>,
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
        engine.expire();
        if options.durability == Durability::Off && engine.store.is_unsaved() {
            // Old records must not lie in the journal while newer changes go past it.
            saver::save(&engine).map_err(StoreError::FirstSave)?;
        } else if engine.store.needs_save() {
            // If it fails, it is tried again while reads are served.
            let _ = saver::save(&engine);
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
            saver::save(&engine).map_err(StoreError::Unmended)?;
        }
        Ok((pairs, salvaged))
    }

    fn new(loading: Loading, store: Store) -> Arc<Self> {
        let (table, expiring) = loading.end();
        Arc::new(Self {
            table,
            store,
            saver: Saver::new(),
            expiring: Mutex::new(expiring),
        })
    }

    /// Shows the value of a key, unless it is long.
    pub fn read(&self, key: Key<'_>, seen: &mut Barrier, show: impl FnOnce(&[u8])) -> Read {
        let (read, changed) = self.table.read(key, |entry| {
            if is_gone(entry) {
                Read::Missing
            } else if entry.value_bytes().len() > COPIED_BYTES_MAX {
                Read::Long(entry.clone())
            } else {
                show(entry.value_bytes());
                Read::Shown
            }
        });
        seen.raise(Barrier(changed));
        read.unwrap_or(Read::Missing)
    }

    /// How many of these keys there are, at one moment; a key that is named twice counts twice.
    pub fn exist(&self, keys: &[Key<'_>], seen: &mut Barrier) -> u64 {
        let mut locked = self.table.lock(keys);
        seen.raise(Barrier(locked.changed()));
        let there = keys
            .iter()
            .filter(|key| locked.get(**key).is_some_and(|entry| !is_gone(&entry)));
        there.count() as u64
    }

    /// Puts a value under a key.
    ///
    /// # Errors
    /// `DISK`, while the disk takes no changes; nothing has changed then.
    pub fn put(&self, key: Key<'_>, value: Value<'_>, made: &mut Barrier) -> Result<(), DiskFault> {
        let record = self.store.encode(&Change::Put(key, value));
        let entry = Entry::new(key, value);
        let mut locked = self.table.lock(&[key]);
        let change = self.store.append(record)?;
        let old = locked.insert(entry);
        locked.note(change);
        drop(locked);
        made.raise(Barrier(change));
        // Freed here, not under the lock.
        drop(old);
        self.will_expire(key, value);
        Ok(())
    }

    fn will_expire(&self, key: Key<'_>, value: Value<'_>) {
        if let Some(expires_at) = value.expires_at() {
            self.expiring()
                .push(Reverse((expires_at, key.as_str().to_owned())));
        }
    }

    /// Changes a pair by what it is, in one step that nobody comes between; what `decide` has found besides.
    ///
    /// # Errors
    /// What `decide` says; `TOO_LARGE`; `DISK`, while the disk takes no changes. Nothing has changed then.
    pub fn update<R>(
        &self,
        key: Key<'_>,
        made: &mut Barrier,
        decide: impl FnOnce(Option<&Entry>) -> Result<(R, Update), ErrorReply>,
    ) -> Result<R, ErrorReply> {
        let mut locked = self.table.lock(&[key]);
        // What is decided is news of the pair, even where nothing changes.
        made.raise(Barrier(locked.changed()));
        let old = locked.get(key).filter(|entry| !is_gone(entry));
        let (found, update) = decide(old.as_ref())?;
        let taken = match update {
            Update::Keep => return Ok(found),
            // There is nothing to delete where nothing is.
            Update::Delete if old.is_none() => return Ok(found),
            Update::Put(bytes, expires_at) => {
                let value = Value::parse_until(&bytes, expires_at)?;
                let change = self
                    .store
                    .append(self.store.encode(&Change::Put(key, value)))?;
                let taken = locked.insert(Entry::new(key, value));
                locked.note(change);
                made.raise(Barrier(change));
                if expires_at != old.as_ref().and_then(Entry::expires_at) {
                    self.will_expire(key, value);
                }
                taken
            }
            Update::Delete => {
                let change = self
                    .store
                    .append(self.store.encode(&Change::Delete(&[key])))?;
                let taken = locked.remove(key);
                locked.note(change);
                made.raise(Barrier(change));
                taken
            }
        };
        drop(locked);
        // Freed here, not under the lock.
        drop(taken);
        Ok(found)
    }

    /// Deletes keys, as one change; how many there were.
    ///
    /// # Errors
    /// `DISK`, while the disk takes no changes; nothing has changed then.
    pub fn delete(&self, keys: &[Key<'_>], made: &mut Barrier) -> Result<u64, DiskFault> {
        let mut locked = self.table.lock(keys);
        // That a key is not there may be news, too.
        made.raise(Barrier(locked.changed()));
        let mut there: Vec<Key<'_>> = keys
            .iter()
            .copied()
            .filter(|key| locked.get(*key).is_some())
            .collect();
        there.sort_unstable_by_key(|key| key.as_str());
        there.dedup();
        if there.is_empty() {
            return Ok(0);
        }
        let record = self.store.encode(&Change::Delete(&there));
        let change = self.store.append(record)?;
        let taken: Vec<Option<Entry>> = there.into_iter().map(|key| locked.remove(key)).collect();
        locked.note(change);
        drop(locked);
        made.raise(Barrier(change));
        Ok(taken
            .iter()
            .flatten()
            .filter(|entry| !is_gone(entry))
            .count() as u64)
    }

    /// Deletes every key, as one change.
    ///
    /// # Errors
    /// `DISK`, while the disk takes no changes; nothing has changed then.
    pub fn clear(&self, made: &mut Barrier) -> Result<(), DiskFault> {
        let record = self.store.encode(&Change::Clear);
        let mut locked = self.table.lock_all();
        let change = self.store.append(record)?;
        let taken = locked.take_all();
        locked.note(change);
        self.expiring().clear();
        drop(locked);
        made.raise(Barrier(change));
        // Ten million entries take a second to free; no request waits for it, unless there is no thread to be had.
        let _ = std::thread::Builder::new().spawn(move || drop(taken));
        Ok(())
    }

    /// How many keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.table.keys()
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

    /// Waits until what a batch has made or seen is as safe as `--durability` promises. No reply may leave before: neither that
    /// of a write, nor that of a read, which may have seen another's.
    ///
    /// # Errors
    /// `DISK`: the changes that were waiting are in memory, and are written as soon as the disk takes them, but may be lost
    /// if the server ends before. Reads are still true.
    pub async fn commit(&self, barrier: Barrier) -> Result<(), DiskFault> {
        self.store.commit(barrier.0).await
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

    /// Whether there are changes that store.json does not hold.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        self.store.is_unsaved()
    }

    /// Deletes what has expired. Called once a second.
    pub fn expire(&self) {
        let now = now_ms();
        loop {
            let mut expiring = self.expiring();
            if expiring
                .peek()
                .is_none_or(|Reverse((expires_at, _))| *expires_at > now)
            {
                return;
            }
            let Some(Reverse((expires_at, key))) = expiring.pop() else {
                return;
            };
            drop(expiring);
            if self.delete_expired(&key, now).is_err() {
                // Until the disk takes changes again, the pair is only hidden.
                self.expiring().push(Reverse((expires_at, key)));
                return;
            }
        }
    }

    fn delete_expired(&self, key: &str, now: UnixMs) -> Result<(), DiskFault> {
        let key = Key::parse(key.as_bytes()).expect("it was a key when it was put");
        let mut locked = self.table.lock(&[key]);
        if locked.get(key).is_some_and(|entry| entry.is_expired(now)) {
            let record = self.store.encode(&Change::Delete(&[key]));
            let change = self.store.append(record)?;
            locked.remove(key);
            locked.note(change);
        }
        Ok(())
    }

    /// The state of the disk and of the last save.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.store.disk()
    }

    fn expiring(&self) -> MutexGuard<'_, Expiring> {
        self.expiring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} keys)", self.keys())
    }
}

fn is_gone(entry: &Entry) -> bool {
    // Only a pair that expires pays for a look at the clock.
    entry.expires_at().is_some() && entry.is_expired(now_ms())
}

impl From<DiskFault> for ErrorReply {
    fn from(fault: DiskFault) -> Self {
        Self::new(ErrorCode::Disk, fault.to_string())
    }
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
