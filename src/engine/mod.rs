//! The engine: the only way to the data, and the order of map and journal.
//!
//! In: keys and values whose limits have been checked. Out: values, counts, entries. Promises:
//! - a change is recorded before it is seen, under the lock of its key: replay order is memory order, per key;
//! - once `wait_until_durable` returns, what a batch has made or seen is as safe as `--durability` says;
//! - a scan shows every pair that is there from its beginning to its end exactly once, and holds no lock meanwhile.

mod adoption;
mod barrier;
mod batch_access;
mod data;
mod error;
mod eviction;
mod expiry;
mod fetched_pairs;
mod huge_pages;
mod listener;
mod load;
mod map;
mod memory_cap;
mod missing_key_watch;
mod read;
mod scan;
mod shared_log;
mod snapshotter;
mod write_transaction;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use barrier::Barrier;
pub use batch_access::{LOCKED_BATCH_REQUESTS_MAX, LockedBatch};
pub use error::{ApplyError, EngineError};
pub use fetched_pairs::FetchedPairs;
pub use listener::{Cause, Listener};
pub use map::{Cursor, DatabaseSize, Use};
pub use memory_cap::{Eviction, MemoryCap};
pub use missing_key_watch::MissingKeyWatch;
pub use read::{COPIED_BYTES_MAX, ReadOutcome};
pub use scan::Scan;
pub use write_transaction::{Changed, Savepoint, WriteTransaction};

use crate::model::entry::{Entry, prefetch_bucket};
use crate::model::{Change, Database, Key, Value};
use crate::persistence::{
    BackupError, BackupReport, Disk, DiskFault, Durability, Files, Inspection, Load as _, Options,
    SYNC_INTERVAL, Salvaged, Store, StoreError, System,
};
pub use crate::persistence::{
    Changes, FollowError, Follower, OwnedChange, Progress, RecordFeed, Timeline,
};
use data::Data;
use eviction::Evictor;
use expiry::Expiry;
use huge_pages::HugePages;
use load::Loading;
use map::{Compaction, Growth, LockedShards, Table};
use read::show_value;
use snapshotter::Snapshotter;

/// The most keys that are deleted as one change where all keys with a prefix are deleted.
pub const DELETE_CHUNK_KEYS: usize = 1000;

/// The data of one server.
pub struct Engine {
    data: Arc<Data>,
    expiry: Expiry,
    evictor: Evictor,
    compaction: Compaction,
    snapshotter: Snapshotter,
    huge_pages: HugePages,
}

impl Engine {
    /// Opens a data folder and loads what it holds, under a cap on its memory; `progress` is updated on the way.
    ///
    /// # Errors
    /// [`StoreError`], if the folder cannot be used, is in use, or is damaged: nothing has been changed then. Also if
    /// `--durability off` asks for a save first, and that fails.
    pub fn open(
        options: &Options,
        cap: Arc<MemoryCap>,
        progress: &Progress,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_on(Arc::new(System), options, cap, progress)
    }

    /// Opens a data folder as `open` does, on any disk.
    ///
    /// # Errors
    /// [`StoreError`], as `open`.
    pub fn open_on(
        files: Arc<dyn Files>,
        options: &Options,
        cap: Arc<MemoryCap>,
        progress: &Progress,
    ) -> Result<Arc<Self>, StoreError> {
        let table = Table::new(cap, options.order);
        let store = Store::open(files, options, &Loading::new(&table), progress)?;
        let engine = Arc::new(Self {
            data: Arc::new(Data::new(table, store)),
            expiry: Expiry::default(),
            evictor: Evictor::default(),
            compaction: Compaction::default(),
            snapshotter: Snapshotter::new(),
            huge_pages: HugePages::default(),
        });
        let store = &engine.data.store;
        if !options.is_copy {
            // Before the first record: what a crash has taken may have been copied, under the same number.
            store.begin_another_timeline();
            while engine.expire() {}
        }
        if options.durability == Durability::Off && store.is_unsaved() {
            // Old records must not lie in the journal while newer changes go past it.
            snapshotter::save_at_full_speed(&engine.data).map_err(StoreError::FirstSave)?;
        } else if store.needs_save() || engine.data.table.dropped() > 0 {
            // What was dropped must not come back.
            // If it fails, the snapshotter tries again while reads are served.
            let _ = snapshotter::save_at_full_speed(&engine.data);
        }
        engine
            .snapshotter
            .start(&engine.data, options.save_interval);
        Ok(engine)
    }

    /// Inspects a data folder that no server uses, and changes nothing. Returns the number of pairs that can be read, and the
    /// faults.
    ///
    /// # Errors
    /// [`StoreError`], if the folder cannot be read or is in use.
    pub fn check(files: Arc<dyn Files>, path: &Path) -> Result<(u64, Inspection), StoreError> {
        let table = Table::new(Arc::default(), None);
        let loading = Loading::new(&table);
        let inspection = Store::check(files, path, &loading)?;
        Ok((loading.pairs(), inspection))
    }

    /// Repairs a damaged data folder: saves what can be read, and keeps what was there before beside it. A sound folder is not
    /// changed. Returns the number of pairs, and what was found.
    ///
    /// # Errors
    /// [`StoreError`], if the folder cannot be read or is in use, or if what could be read cannot be saved.
    pub fn repair(files: Arc<dyn Files>, path: &Path) -> Result<(u64, Salvaged), StoreError> {
        let table = Table::new(Arc::default(), None);
        let loading = Loading::new(&table);
        let options = Options {
            data: path.to_owned(),
            durability: Durability::Always,
            save_interval: Duration::MAX,
            sync_interval: SYNC_INTERVAL,
            is_copy: false,
            order: None,
        };
        let mut salvaged = Store::salvage(files, &options, &loading)?;
        let pairs = loading.pairs();
        if let Some(store) = salvaged.store.take() {
            let data = Arc::new(Data::new(table, store));
            snapshotter::save_at_full_speed(&data).map_err(StoreError::Unmended)?;
        }
        Ok((pairs, salvaged))
    }

    /// Prefetches the pairs of keys that are about to be looked up, all at once. It changes nothing.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        self.data.table.prefetch(keys);
    }

    /// Prefetches what the look-up of a key begins with. It changes nothing.
    #[inline(always)]
    pub fn prefetch_shard_of(&self, key: &[u8]) {
        self.data.table.prefetch_shard_of(key);
    }

    /// Shows the value of a key, unless it is long, and raises `seen` to the change that this shows. It is a use of the pair, or a look
    /// that does not count.
    pub fn read(
        &self,
        key: Key<'_>,
        is_use: bool,
        seen: &mut Barrier,
        show: impl FnOnce(Value<'_>),
    ) -> ReadOutcome {
        let table = &self.data.table;
        let (read, last_change) = table.read(key, |entry| {
            if is_use {
                table.note_use(entry);
            }
            show_value(entry, show)
        });
        seen.raise(Barrier::of(last_change));
        read.unwrap_or(ReadOutcome::Missing)
    }

    /// Locks the keys of some requests, one each: for writing if any of them may change its key, else for reading.
    #[must_use]
    pub fn lock_batch<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
        is_writing: bool,
    ) -> LockedBatch<'_> {
        LockedBatch::new(&self.data, keys, is_writing)
    }

    /// Begins a transaction on these keys. Others wait for them until it ends.
    #[must_use]
    pub fn begin(&self, keys: &[Key<'_>]) -> WriteTransaction<'_> {
        WriteTransaction::new(&self.data, LockedShards::lock(&self.data.table, keys))
    }

    /// Begins a transaction on any keys. Everybody else waits until it ends.
    #[must_use]
    pub fn begin_on_all(&self) -> WriteTransaction<'_> {
        WriteTransaction::new(&self.data, LockedShards::lock_all(&self.data.table))
    }

    /// Puts a value under a key, and raises `made` to this change. Returns whether the key is new.
    ///
    /// # Errors
    /// [`DiskFault`], while the disk takes no changes; nothing has changed then.
    pub fn put(
        &self,
        key: Key<'_>,
        value: Value<'_>,
        made: &mut Barrier,
    ) -> Result<bool, DiskFault> {
        let Data { store, table, .. } = &*self.data;
        let record = store.encode(&Change::Put(key, value));
        let hash = table.hash(key.as_bytes());
        let index = Table::shard_of(hash);
        let (mut shard, _) = table.write_shard(index);
        prefetch_bucket(&shard, hash);
        // Appended before it is put, under the lock: two racing puts of one key must not be replayed in the other order.
        let change = store.append(record)?;
        let mut growth = Growth::default();
        let replaced = table.put(index, &mut shard, hash, (key, value), &mut growth);
        table.set_last_change(index, change);
        table.grow(growth);
        drop(shard);
        made.raise(Barrier::of(change));
        // The old entry is freed here, after the lock is released.
        Ok(replaced.is_new())
    }

    /// Makes a pair that a transaction puts later.
    #[must_use]
    pub fn entry(&self, key: Key<'_>, value: Value<'_>) -> Entry {
        self.data.table.entry(key, value)
    }

    /// Returns true if there is a cap on the memory of the data: a change that needs memory has to make room first.
    #[must_use]
    #[inline(always)]
    pub fn is_capped(&self) -> bool {
        self.data.table.cap().is_set()
    }

    /// Makes room for so many bytes under the cap, by evictions if the policy has any. No lock may be held.
    ///
    /// # Errors
    /// [`EngineError::Full`], if there is none; [`EngineError::Disk`], while the disk takes no changes.
    pub fn make_room(&self, bytes: u64) -> Result<(), EngineError> {
        self.evictor.make_room(&self.data, &self.expiry, bytes)
    }

    /// Notes the time and the resident memory of the process, without what it holds for clients, by which the data is held to the cap.
    /// After a change of the policy, it begins to make the records of use anew, on a thread of their own. To be called every few
    /// milliseconds.
    pub fn note_resident(&self, resident_bytes: u64) {
        let cap = self.data.table.cap();
        self.data.table.note_time();
        if cap.begin_renewal() {
            let data = Arc::clone(&self.data);
            std::thread::spawn(move || data.table.renew_uses());
        }
        cap.note_resident(resident_bytes, self.memory_bytes(), self.evicted());
    }

    /// Evicts some pairs if there are too many for the cap, else moves some together in memory if that has to be. Returns true if there
    /// may be more to do.
    pub fn reduce(&self) -> bool {
        self.evictor.reduce(&self.data, &self.expiry) || self.compaction.step(&self.data.table)
    }

    /// Returns the bytes that the data takes in memory, as they are compared with the cap.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.data.table.memory_bytes()
    }

    /// Returns the number of pairs that were evicted since the start, those included that were while the data was loaded.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.data.table.dropped() + self.evictor.evicted()
    }

    /// Returns true while pairs are moved together in memory, as the process holds more than the cap allows; and the number of those
    /// that were since the start.
    #[must_use]
    pub fn compaction(&self) -> (bool, u64) {
        let table = &self.data.table;
        (table.cap().is_compacting(), table.moved())
    }

    /// Returns what is known of the uses of an entry; `None` without a cap on memory, or if the entry is older than that.
    #[must_use]
    pub fn use_of(&self, entry: &Entry) -> Option<Use> {
        self.data.table.use_of(entry)
    }

    /// Returns the number of keys, without those that have expired.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.data.table.live_keys()
    }

    /// Returns the size of a database, without the keys that have expired; that of database 0 is all keys.
    #[must_use]
    pub fn database(&self, database: Database) -> DatabaseSize {
        if database.is_default() {
            return DatabaseSize {
                keys: self.keys(),
                expiring: self.keys_expiring(),
            };
        }
        self.data.table.database(database)
    }

    /// Returns true if no key belongs to a numbered database.
    #[must_use]
    pub fn has_one_database(&self) -> bool {
        self.data.table.databases().next().is_none()
    }

    /// Returns the numbered databases with keys that have not expired, and their sizes.
    pub fn databases(&self) -> impl Iterator<Item = (Database, DatabaseSize)> {
        let databases = self.data.table.databases();
        let sizes = databases.map(|database| (database, self.database(database)));
        sizes.filter(|(_, size)| size.keys > 0)
    }

    /// Returns the number of keys that expire, those included that have and are not deleted yet.
    #[must_use]
    pub fn keys_expiring(&self) -> u64 {
        self.data.table.keys_expiring()
    }

    /// Returns the number of keys that were deleted since the start because they had expired.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expiry.expired()
    }

    /// Returns the latest change of all: the barrier of a look at all the data.
    #[must_use]
    pub fn latest_change(&self) -> Barrier {
        Barrier::of(self.data.store.appended())
    }

    /// Moves the data to huge pages on a blocking thread, if it has grown enough. To be called once a second.
    pub fn use_huge_pages(self: &Arc<Self>) {
        let data_bytes = self.data_bytes();
        if self.huge_pages.is_due(data_bytes) {
            let engine = Arc::clone(self);
            tokio::task::spawn_blocking(move || engine.huge_pages.make(data_bytes));
        }
    }

    /// Returns the bytes of all keys and values.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data.table.data_bytes()
    }

    /// Begins a scan of the pairs whose keys begin with a prefix.
    #[must_use]
    pub fn scan(&self, prefix: Key<'_>) -> Scan {
        Scan::new(&self.data, prefix)
    }

    /// Returns at least `least` pairs from a cursor on, if there are so many, and the cursor of the next page; `None` after the
    /// last. Expired pairs count, and are left out then. A walk from page to page that begins at 0 shows every pair that is
    /// there from its beginning to its end.
    #[must_use]
    pub fn page(
        &self,
        from: Cursor,
        least: usize,
        seen: &mut Barrier,
    ) -> (Vec<Entry>, Option<Cursor>) {
        scan::page(&self.data.table, from, least, seen)
    }

    /// Returns the cursor at which a walk comes to an entry.
    #[must_use]
    pub fn cursor_of(&self, entry: &Entry) -> Cursor {
        self.data.table.cursor_of(entry)
    }

    /// Returns the pairs of many keys, all at one moment. Others read meanwhile, whom a transaction would keep waiting.
    #[must_use]
    pub fn read_all(
        &self,
        keys: &[Key<'_>],
        is_use: bool,
        seen: &mut Barrier,
    ) -> Vec<Option<Entry>> {
        let table = &self.data.table;
        let entries = scan::read_all(table, keys, seen);
        if is_use {
            let found = entries.iter().flatten();
            found.for_each(|entry| table.note_use(entry));
        }
        entries
    }

    /// Returns a random pair, or `None` if there is none. It reads one shard, and more only where that holds none.
    #[must_use]
    pub fn random(&self, seen: &mut Barrier) -> Option<Entry> {
        scan::random(&self.data.table, seen)
    }

    /// Lets a listener be told of the changes that no command makes. To be called once.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        let first = self.data.listener.set(listener);
        first.expect("there is one listener");
    }

    /// Deletes the keys of these entries where they are still there, as one change. Returns their number.
    ///
    /// # Errors
    /// As [`WriteTransaction::commit`].
    pub fn delete(
        &self,
        entries: &[Entry],
        made: &mut Barrier,
        tell: impl FnOnce(&WriteTransaction<'_>),
    ) -> Result<u64, EngineError> {
        let keys: Vec<Key<'_>> = entries.iter().map(Entry::key).collect();
        let mut transaction = self.begin(&keys);
        let deleted = keys.iter().filter(|key| transaction.delete(**key)).count();
        transaction.commit(made, tell)?;
        Ok(deleted as u64)
    }

    /// Deletes some of the keys that have expired, under one lock. Returns whether there may be more.
    pub fn expire(&self) -> bool {
        self.expiry.expire(&self.data)
    }

    /// Lets [`Self::expire`] delete expired keys, or only hide them.
    pub fn set_deletes_expired(&self, deletes: bool) {
        self.expiry.set_deletes(deletes);
    }

    /// Returns whether changes are written to a journal.
    #[must_use]
    pub fn has_journal(&self) -> bool {
        self.disk().durability != Durability::Off
    }

    /// Returns whether the changes up to a barrier are as safe as `--durability` promises by now.
    #[must_use]
    pub fn is_durable(&self, barrier: Barrier) -> bool {
        self.data.store.is_safe(barrier.seq, barrier.term)
    }

    /// Waits until the changes up to a barrier are as safe as `--durability` promises. No reply may leave before: neither that
    /// of a write, nor that of a read, which may have seen another's.
    ///
    /// # Errors
    /// [`DiskFault`], while the disk takes no changes. The changes are in memory, and are written as soon as it does, but may be
    /// lost if the server ends before. Reads are still true.
    pub async fn wait_until_durable(&self, barrier: Barrier) -> Result<(), DiskFault> {
        self.data.store.commit(barrier.seq, barrier.term).await
    }

    /// Follows the changes of keys with a prefix, after a revision or from now on. Who begins to follow and then reads the
    /// pairs misses none.
    ///
    /// # Errors
    /// [`FollowError`], if there is no journal, or if it does not hold the changes after that revision.
    pub fn follow(&self, prefix: Key<'_>, after: Option<u64>) -> Result<Follower, FollowError> {
        self.data.store.follow(prefix, after)
    }

    /// Saves all pairs, and waits for it. Changes that were made before the call are in store.json when it returns.
    ///
    /// # Errors
    /// [`DiskFault`], if the disk does not take the snapshot, or the server is stopping. The old store.json and the journals
    /// are kept then.
    pub async fn save(&self) -> Result<(), DiskFault> {
        self.snapshotter.save().await
    }

    /// Copies the data folder into another one, on a blocking thread: all changes that were acknowledged before the call.
    ///
    /// # Errors
    /// [`BackupError`]. Nothing is left of the backup then.
    pub async fn back_up(self: Arc<Self>, to: PathBuf) -> Result<BackupReport, BackupError> {
        if self.disk().durability == Durability::Off {
            self.save().await.map_err(BackupError::Fault)?;
        }
        let copying = tokio::task::spawn_blocking(move || self.data.store.back_up(&to));
        copying.await.expect("a copy does not panic")
    }

    /// From now on, lets saves take all of a core. For the end of the server, when no client is served any more.
    pub fn save_at_full_speed(&self) {
        self.snapshotter.save_at_full_speed();
    }

    /// Returns the number of changes that store.json does not hold.
    #[must_use]
    pub fn unsaved_changes(&self) -> u64 {
        self.data.store.unsaved_changes()
    }

    /// Returns whether there are changes that store.json does not hold.
    #[must_use]
    pub fn is_unsaved(&self) -> bool {
        self.data.store.is_unsaved()
    }

    /// Returns the state of the disk and of the last save.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.data.store.disk()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} keys)", self.keys())
    }
}
