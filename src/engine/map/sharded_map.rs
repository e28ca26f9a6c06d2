//! The map from key to entry: a `DashMap` whose keys are whole entries, reached through its shards.
//!
//! In: keys and entries. Out: entries, shared by reference count. Promises: a shard is locked for one look-up or change, or
//! for as long as its caller holds it; never while anybody writes to a socket or a file.
//!
//! The shards are used directly (`raw-api`) for what the methods of `DashMap` cannot do: several keys under their locks at
//! once, every key under all locks at once, a scan that holds no lock between shards, and prefetching.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dashmap::{DashMap, RwLockReadGuard, RwLockWriteGuard, SharedValue};
use smallvec::SmallVec;

use super::database_counts::{DatabaseCounts, DatabaseSize};
use super::shard_meta::ShardMetas;
use super::sharding::{SHARDS, shard_of};
use super::smart::{self, Smart};
use super::uses::{self, Use};
use crate::engine::memory_cap::{Eviction, MemoryCap};
use crate::engine::missing_key_watch::MissingKeys;
use crate::engine::read::has_expired;
use crate::model::entry::{
    Entry, Shard, allocated_bytes, prefetch, prefetch_bucket, prefetch_entry,
};
use crate::model::{DATABASES_MAX, Database, Key, UnixMs, Value, now_ms};

/// Number of places for each entry from which on a hash table is sparse, while there is a cap on memory, and of places from which on
/// that is looked at.
const SHRUNK_PLACES_PER_ENTRY: usize = 4;
const SHRUNK_PLACES_MIN: usize = 64;

/// Maximum number of keys prefetched at once: more would evict each other from the first-level cache.
pub(super) const PREFETCH_KEYS_MAX: usize = 128;

/// Previous content of a key that was put.
pub enum Replaced {
    /// The key did not exist.
    Nothing,
    /// The old value was overwritten in its entry.
    InPlace,
    /// The replaced entry; free it after the locks are released.
    Entry(Entry),
}

impl Replaced {
    /// Returns true if the key is new: it did not exist, or had expired.
    #[must_use]
    pub fn is_new(&self) -> bool {
        match self {
            Self::Nothing => true,
            // No entry that expires is overwritten.
            Self::InPlace => false,
            Self::Entry(old) => has_expired(old),
        }
    }
}

/// The map from key to entry.
#[derive(Debug)]
pub struct Table {
    map: DashMap<Entry, (), ahash::RandomState>,
    pub(super) metas: ShardMetas,
    keys: AtomicU64,
    pub(super) databases: DatabaseCounts,
    data_bytes: AtomicU64,
    /// Bytes that the allocator takes for the entries and the hash tables.
    allocated_bytes: AtomicU64,
    /// Number of pairs that were removed while the data was loaded, as there were too many.
    pub(super) dropped: AtomicU64,
    /// Number of entries that were moved out of sparse slabs.
    pub(super) moved: AtomicU64,
    missing_keys: MissingKeys,
    /// True if another table with the same pairs has them in the same shards.
    has_seed: bool,
    pub(super) cap: Arc<MemoryCap>,
    pub(super) smart: Smart,
}

impl Table {
    /// Makes an empty table, whose pairs have records of use while there is a cap on memory. Its keys are in the shards that a seed chooses,
    /// or a random one.
    #[must_use]
    pub fn new(cap: Arc<MemoryCap>, seed: Option<[u64; 4]>) -> Self {
        let map = DashMap::with_capacity_and_hasher_and_shard_amount(
            0,
            seed.map_or_else(ahash::RandomState::new, |[a, b, c, d]| {
                ahash::RandomState::with_seeds(a, b, c, d)
            }),
            SHARDS,
        );
        Self {
            map,
            metas: ShardMetas::new(),
            keys: AtomicU64::new(0),
            databases: DatabaseCounts::new(),
            data_bytes: AtomicU64::new(0),
            allocated_bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            missing_keys: MissingKeys::default(),
            has_seed: seed.is_some(),
            cap,
            smart: Smart::default(),
        }
    }

    /// Returns true if another table with the same pairs has them in the same shards, as both have the same seed.
    #[must_use]
    pub fn has_seed(&self) -> bool {
        self.has_seed
    }

    /// Returns the number of keys, those included that have expired and are not deleted yet.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys.load(Relaxed)
    }

    /// Returns the number of keys that have not expired.
    #[must_use]
    pub fn live_keys(&self) -> u64 {
        self.live_of(self.keys())
    }

    /// Returns how many of so many keys of this table have not expired.
    #[must_use]
    pub fn live_of(&self, keys: u64) -> u64 {
        keys.saturating_sub(self.metas.expired(now_ms()))
    }

    /// Returns the databases with keys, without 0.
    pub fn databases(&self) -> impl Iterator<Item = Database> {
        let databases = (1..DATABASES_MAX).filter_map(Database::new);
        databases.filter(|database| self.databases.of(*database).keys > 0)
    }

    /// Returns the size of a database that is not 0, without the keys that have expired.
    #[must_use]
    pub fn database(&self, database: Database) -> DatabaseSize {
        let counted = self.databases.of(database);
        let prefix = database.prefix().as_bytes();
        let expired = match counted.expiring {
            0 => 0,
            _ => self.metas.expired_with(prefix, now_ms()),
        };
        DatabaseSize {
            keys: counted.keys.saturating_sub(expired),
            expiring: counted.expiring.saturating_sub(expired),
        }
    }

    /// Returns the number of keys that expire, those included that have.
    #[must_use]
    pub fn keys_expiring(&self) -> u64 {
        self.metas.expiring()
    }

    /// Returns the bytes of all keys and values.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes.load(Relaxed)
    }

    /// Returns the cap on its memory.
    #[must_use]
    pub fn cap(&self) -> &MemoryCap {
        &self.cap
    }

    /// Returns the bytes that the allocator takes for the entries and the hash tables.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes.load(Relaxed)
    }

    /// Returns the bytes that are compared with the cap on memory: entries, hash tables, the index of what expires, what the policy of
    /// eviction keeps, and the memory of the program before there is any data.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let data = self.allocated_bytes() + self.metas.memory_bytes() + self.smart.bytes();
        data + self.cap.program_bytes()
    }

    /// Returns the number of pairs that were removed while the data was loaded, as there were too many.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Returns the number of entries that were moved out of sparse slabs.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// Returns the keys that were looked for in vain, and that transactions depend on.
    pub fn missing_keys(&self) -> &MissingKeys {
        &self.missing_keys
    }

    /// Returns the hash of a key.
    #[must_use]
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.map.hasher().hash_one(key)
    }

    /// Returns the index of the shard of the key with this hash.
    #[must_use]
    #[inline(always)]
    pub fn shard_of(hash: u64) -> usize {
        shard_of(hash)
    }

    /// Shows the entry of a key, if there is one, under the lock of its shard. Returns also the number of the shard's last
    /// change.
    #[inline(always)]
    pub fn read<R>(&self, key: Key<'_>, show: impl FnOnce(&Entry) -> R) -> (Option<R>, u64) {
        let hash = self.hash(key.as_bytes());
        let (shard, last_change) = self.read_shard(Self::shard_of(hash));
        // Both parts of the hash table at once; then the entry, whole.
        prefetch_bucket(&shard, hash);
        (find(&shard, hash, key.as_bytes()).map(show), last_change)
    }

    /// Prefetches the entries of these keys, all at once. The look-up of one key takes three or four reads, each of which
    /// waits for the one before; those of different keys need not wait for each other.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let mut hashes = SmallVec::<[u64; PREFETCH_KEYS_MAX]>::new();
        for key in keys.take(PREFETCH_KEYS_MAX) {
            let hash = self.hash(key);
            self.prefetch_shard(Self::shard_of(hash));
            hashes.push(hash);
        }
        if hashes.len() < 2 {
            return;
        }
        for fetch in [prefetch_bucket, prefetch_entry] {
            for hash in &hashes {
                // A shard that is being changed is in a cache already.
                if let Some(shard) = self.map.shards()[Self::shard_of(*hash)].try_read() {
                    fetch(&shard, *hash);
                }
            }
        }
    }

    /// Prefetches the head of the shard of a key.
    #[inline(always)]
    pub fn prefetch_shard_of(&self, key: &[u8]) {
        self.prefetch_shard(Self::shard_of(self.hash(key)));
    }

    /// Prefetches the head of a shard.
    #[inline(always)]
    pub fn prefetch_shard(&self, index: usize) {
        prefetch(&raw const self.map.shards()[index]);
        self.metas.prefetch(index);
    }

    /// Locks a shard for reading. Returns also the number of its last change.
    #[inline(always)]
    pub fn read_shard(&self, index: usize) -> (RwLockReadGuard<'_, Shard>, u64) {
        let lock = &self.map.shards()[index];
        let shard = lock.try_read().unwrap_or_else(|| {
            wait_for_lock(
                || lock.try_read(),
                || !lock.is_locked_exclusive(),
                || lock.read(),
            )
        });
        (shard, self.metas.last_change(index))
    }

    /// Locks a shard for reading, if nobody has to be waited for.
    pub(super) fn try_read_shard(&self, index: usize) -> Option<RwLockReadGuard<'_, Shard>> {
        self.map.shards()[index].try_read()
    }

    /// Locks a shard for writing. Returns also the number of its last change.
    #[inline(always)]
    pub fn write_shard(&self, index: usize) -> (RwLockWriteGuard<'_, Shard>, u64) {
        let lock = &self.map.shards()[index];
        let shard = lock.try_write().unwrap_or_else(|| {
            wait_for_lock(|| lock.try_write(), || !lock.is_locked(), || lock.write())
        });
        (shard, self.metas.last_change(index))
    }

    /// Locks a shard for writing, if nobody holds its lock.
    pub fn try_write_shard(&self, index: usize) -> Option<RwLockWriteGuard<'_, Shard>> {
        self.map.shards()[index].try_write()
    }

    /// Stores the number of a change as the last one of a shard, which must be locked.
    pub fn set_last_change(&self, index: usize, change: u64) {
        self.metas.set_last_change(index, change);
    }

    /// Returns the first shard with expired entries, from a shard on and round to it again. It takes no lock.
    #[must_use]
    pub fn next_shard_with_expired(&self, from: usize, now: UnixMs) -> Option<usize> {
        self.metas.next_shard_with_expired(from, now)
    }

    /// Returns some expired entries of a shard, a bounded number of them.
    #[must_use]
    pub fn expired_entries(&self, index: usize, now: UnixMs) -> Vec<Entry> {
        self.metas.expired_entries(index, now)
    }

    /// Notes a use of an entry now, if there is a cap on memory.
    #[inline(always)]
    pub fn note_use(&self, entry: &Entry) {
        if let Some(record) = entry.use_record() {
            uses::note_use(&self.cap, &self.smart, record);
        }
    }

    /// Returns what is known of the uses of an entry; `None` without a cap on memory, or if the entry is older than that.
    #[must_use]
    pub fn use_of(&self, entry: &Entry) -> Option<Use> {
        let record = entry.use_record()?.load(Relaxed);
        Some(uses::use_of(&self.cap, &self.smart, record))
    }

    /// Makes an entry, with room for a record of use if there is a cap on memory: it is written when the entry is inserted.
    #[must_use]
    pub fn entry(&self, key: Key<'_>, value: Value<'_>) -> Entry {
        Entry::with_use(key, value, self.cap.is_set().then_some(0))
    }

    /// Writes the record of use of an entry that is inserted, in the place of an old one, if any.
    #[cold]
    fn begin_use(&self, hash: u64, old: Option<&Entry>, entry: &Entry) {
        let Some(record) = entry.use_record() else {
            return;
        };
        if let Some(old) = old.and_then(Entry::use_record) {
            record.store(old.load(Relaxed), Relaxed);
            uses::note_use(&self.cap, &self.smart, record);
        } else {
            let begun = match self.cap.eviction() {
                Eviction::AllKeysSmart if old.is_none() => self.begin_smart(hash),
                _ => self.unused_record(),
            };
            record.store(begun, Relaxed);
        }
    }

    /// Returns the record of a pair of which no use is known.
    pub(super) fn unused_record(&self) -> u32 {
        match self.cap.eviction() {
            Eviction::AllKeysSmart => smart::unused(self.smart.clock.tick()),
            _ => uses::new_record(&self.cap),
        }
    }

    /// Notes the time, by which uses are told apart.
    pub fn note_time(&self) {
        self.cap.note_time();
        self.smart.note_time(&self.cap);
    }

    /// Puts an entry in the place of that of its key, in its locked shard. Returns the old one.
    pub(super) fn insert(
        &self,
        index: usize,
        shard: &mut Shard,
        hash: u64,
        entry: Entry,
        growth: &mut Growth,
    ) -> Option<Entry> {
        growth.add(&entry);
        let database = Database::of_key(entry.key_bytes());
        let new = entry.expires_at().map(|_| entry.clone());
        let has_record = entry.use_record().is_some();
        let old = if let Some((old, _)) = shard.get_mut(hash, |(old, _)| *old == entry) {
            if old.expires_at().is_some() {
                // It may have expired: then a look-up has been told that the key is missing.
                self.missing_keys.set_appeared(entry.key());
            }
            if has_record {
                self.begin_use(hash, Some(old), &entry);
            }
            Some(std::mem::replace(old, entry))
        } else {
            self.missing_keys.set_appeared(entry.key());
            if has_record {
                self.begin_use(hash, None, &entry);
            }
            let places = shard.buckets();
            shard.insert(hash, (entry, SharedValue::new(())), |(entry, _)| {
                self.hash(entry.key_bytes())
            });
            growth.resize(places, shard.buckets());
            None
        };
        self.metas.replace(index, old.as_ref(), new.as_ref());
        if !database.is_default() {
            let (gone, come) = (
                DatabaseSize::of_entry(old.as_ref()),
                DatabaseSize::of(true, new.is_some()),
            );
            self.databases.replace(database, gone, come);
        }
        if let Some(old) = &old {
            growth.subtract(old);
        }
        old
    }

    /// Puts a value under a key of a locked shard. Returns what it has replaced.
    pub fn put(
        &self,
        index: usize,
        shard: &mut Shard,
        hash: u64,
        (key, value): (Key<'_>, Value<'_>),
        growth: &mut Growth,
    ) -> Replaced {
        let has_key = |(entry, _): &(Entry, _)| {
            entry.prefetch();
            entry.key_bytes() == key.as_bytes()
        };
        // A pair from before the cap gets a record of use.
        if let Some((old, _)) = shard.get_mut(hash, has_key)
            && (old.use_record().is_some() || !self.cap.is_set())
            && old.overwrite(value)
        {
            self.note_use(old);
            return Replaced::InPlace;
        }
        match self.insert(index, shard, hash, self.entry(key, value), growth) {
            Some(old) => Replaced::Entry(old),
            None => Replaced::Nothing,
        }
    }

    /// Removes and returns the entry of a key of a locked shard.
    pub(super) fn remove(
        &self,
        index: usize,
        shard: &mut Shard,
        hash: u64,
        key: &[u8],
        growth: &mut Growth,
    ) -> Option<Entry> {
        let (entry, _) = shard.remove_entry(hash, |(entry, _)| entry.key_bytes() == key)?;
        self.metas.replace(index, Some(&entry), None);
        self.count_removed(&entry);
        growth.subtract(&entry);
        if self.cap.is_set() {
            self.shrink(shard, growth);
        }
        Some(entry)
    }

    /// Counts an entry that was removed, if it belongs to a numbered database.
    #[inline(always)]
    pub(super) fn count_removed(&self, entry: &Entry) {
        let database = Database::of_key(entry.key_bytes());
        if !database.is_default() {
            let gone = DatabaseSize::of_entry(Some(entry));
            self.databases
                .replace(database, gone, DatabaseSize::default());
        }
    }

    /// Gives back the memory of a hash table that has become sparse.
    #[cold]
    fn shrink(&self, shard: &mut Shard, growth: &mut Growth) {
        let places = shard.buckets();
        if places >= SHRUNK_PLACES_MIN && shard.len() * SHRUNK_PLACES_PER_ENTRY < places {
            shard.shrink_to(2 * shard.len(), |(entry, _)| self.hash(entry.key_bytes()));
            growth.resize(places, shard.buckets());
        }
    }

    /// Adds keys and bytes that have come, and subtracts those that have gone.
    pub fn grow(&self, growth: Growth) {
        // Two's complement: what is added may be negative.
        if growth.keys != 0 {
            self.keys.fetch_add(growth.keys.cast_unsigned(), Relaxed);
        }
        if growth.data_bytes != 0 {
            self.data_bytes
                .fetch_add(growth.data_bytes.cast_unsigned(), Relaxed);
        }
        if growth.allocated_bytes != 0 {
            self.allocated_bytes
                .fetch_add(growth.allocated_bytes.cast_unsigned(), Relaxed);
        }
    }
}

fn len(entry: &Entry) -> i64 {
    i64::try_from(entry.data_bytes()).expect("no pair has 2^63 bytes")
}

/// Takes a lock that others have. It is looked at for a while: it is mostly released within a microsecond or two, while to sleep until then, and to be woken,
/// takes ten. Who has to sleep leaves the runtime to another thread: a change of a long value, or of many keys, holds its locks for
/// long, and must delay those alone who need them. But it is the last way: with one thread more than there are cores, holders are
/// interrupted, so that others have to sleep, too.
// Apart, so that to take a free lock is inlined.
#[cold]
fn wait_for_lock<T>(
    try_lock: impl Fn() -> Option<T>,
    may_be_free: impl Fn() -> bool,
    lock: impl FnOnce() -> T,
) -> T {
    const LOOKS: usize = 200;
    const YIELDS: usize = 100;
    let soon = (0..LOOKS + YIELDS).find_map(|look| {
        if look < LOOKS {
            std::hint::spin_loop();
        } else {
            // The holder may have been interrupted: it goes on if the core is left to it.
            std::thread::yield_now();
        }
        // A look leaves the cache line where it is, so that the holder releases the lock sooner.
        may_be_free().then(&try_lock).flatten()
    });
    soon.unwrap_or_else(|| tokio::task::block_in_place(lock))
}

/// Returns the entry of a key in a shard.
#[inline(always)]
pub fn find<'s>(shard: &'s Shard, hash: u64, key: &[u8]) -> Option<&'s Entry> {
    let found = shard.get(hash, |(entry, _)| {
        entry.prefetch();
        entry.key_bytes() == key
    });
    found.map(|(entry, _)| entry)
}

/// The keys, the bytes of keys and values, and the bytes of memory, that some changes have added. They are added to the counts of the
/// table at once, when the locks are released: its counters are shared by all cores.
#[derive(Debug, Default, Clone, Copy)]
pub struct Growth {
    pub(super) keys: i64,
    pub(super) data_bytes: i64,
    pub(super) allocated_bytes: i64,
}

impl Growth {
    /// Adds an entry that has come.
    fn add(&mut self, entry: &Entry) {
        self.keys += 1;
        self.data_bytes += len(entry);
        self.allocated_bytes += entry.allocated_bytes().cast_signed() as i64;
    }

    /// Subtracts an entry that has gone.
    pub(super) fn subtract(&mut self, entry: &Entry) {
        self.keys -= 1;
        self.data_bytes -= len(entry);
        self.allocated_bytes -= entry.allocated_bytes().cast_signed() as i64;
    }

    /// Adds what other changes have added.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.keys += other.keys;
        self.data_bytes += other.data_bytes;
        self.allocated_bytes += other.allocated_bytes;
    }

    /// Subtracts what other changes have added.
    pub(super) fn subtract_all(&mut self, other: &Self) {
        self.keys -= other.keys;
        self.data_bytes -= other.data_bytes;
        self.allocated_bytes -= other.allocated_bytes;
    }

    /// Adds what a hash table has grown by, from so many places to so many.
    pub(super) fn resize(&mut self, from: usize, to: usize) {
        if from != to {
            self.allocated_bytes += table_bytes(to) - table_bytes(from);
        }
    }
}

/// Returns the bytes that the allocator takes for a hash table with so many places: a pointer and a control byte for each, and a group
/// of control bytes behind them. The smallest, of one place, is not allocated.
pub(super) fn table_bytes(places: usize) -> i64 {
    const GROUP_BYTES: usize = 16;
    if places <= 1 {
        return 0;
    }
    let bytes = places * (size_of::<Entry>() + 1) + GROUP_BYTES;
    allocated_bytes(bytes).cast_signed() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_tells_a_new_key_from_one_that_was_there() {
        let table = Table::new(Arc::default(), None);
        let key = Key::parse(b"a").expect("a key");
        let (hash, mut growth) = (table.hash(key.as_bytes()), Growth::default());
        let index = Table::shard_of(hash);
        let mut put = |value: &[u8], expires_at| {
            let value = Value::with_expiry(value, expires_at).expect("a value");
            let (mut shard, _) = table.write_shard(index);
            let replaced = table.put(index, &mut shard, hash, (key, value), &mut growth);
            replaced.is_new()
        };
        assert!(put(b"1", None));
        assert!(!put(b"2", None), "of the same length");
        assert!(!put(b"longer", Some(1)));
        assert!(put(b"3", None), "it had expired");
    }
}
