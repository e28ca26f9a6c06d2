//! The map from key to entry: a `DashMap` whose keys are whole entries, reached through its shards.
//!
//! In: keys and entries. Out: entries, shared by reference count. Promises: a shard is locked for one look-up or change, or
//! for as long as its caller holds it; never while anybody writes to a socket or a file.
//!
//! The shards are used directly (`raw-api`) for what the methods of `DashMap` cannot do: several keys under their locks at
//! once, every key under all locks at once, a scan that holds no lock between shards, and prefetching.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dashmap::{DashMap, RwLockReadGuard, RwLockWriteGuard, SharedValue};
use smallvec::SmallVec;

use super::shard_meta::ShardMetas;
use super::sharding::{SHARDS, shard_of};
use crate::engine::missing_key_watch::MissingKeys;
use crate::engine::read::has_expired;
use crate::model::entry::{Entry, Shard, prefetch, prefetch_bucket, prefetch_entry};
use crate::model::{Key, UnixMs, Value, now_ms};

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
    data_bytes: AtomicU64,
    missing_keys: MissingKeys,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        let map = DashMap::with_capacity_and_hasher_and_shard_amount(
            0,
            ahash::RandomState::new(),
            SHARDS,
        );
        Self {
            map,
            metas: ShardMetas::new(),
            keys: AtomicU64::new(0),
            data_bytes: AtomicU64::new(0),
            missing_keys: MissingKeys::default(),
        }
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

    /// Locks a shard for writing. Returns also the number of its last change.
    #[inline(always)]
    pub fn write_shard(&self, index: usize) -> (RwLockWriteGuard<'_, Shard>, u64) {
        let lock = &self.map.shards()[index];
        let shard = lock.try_write().unwrap_or_else(|| {
            wait_for_lock(|| lock.try_write(), || !lock.is_locked(), || lock.write())
        });
        (shard, self.metas.last_change(index))
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

    /// Puts an entry in the place of that of its key, in its locked shard. Returns the old one.
    pub(super) fn insert(
        &self,
        index: usize,
        shard: &mut Shard,
        hash: u64,
        entry: Entry,
        growth: &mut Growth,
    ) -> Option<Entry> {
        growth.data_bytes += len(&entry);
        let new = entry.expires_at().map(|_| entry.clone());
        let old = if let Some((old, _)) = shard.get_mut(hash, |(old, _)| *old == entry) {
            if old.expires_at().is_some() {
                // It may have expired: then a look-up has been told that the key is missing.
                self.missing_keys.set_appeared(entry.key());
            }
            Some(std::mem::replace(old, entry))
        } else {
            self.missing_keys.set_appeared(entry.key());
            shard.insert(hash, (entry, SharedValue::new(())), |(entry, _)| {
                self.hash(entry.key_bytes())
            });
            None
        };
        self.metas.replace(index, old.as_ref(), new.as_ref());
        match &old {
            Some(old) => growth.data_bytes -= len(old),
            None => growth.keys += 1,
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
        if let Some((old, _)) = shard.get_mut(hash, has_key)
            && old.overwrite(value)
        {
            return Replaced::InPlace;
        }
        match self.insert(index, shard, hash, Entry::new(key, value), growth) {
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
        growth.subtract(&entry);
        Some(entry)
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

/// The keys, and the bytes of keys and values, that some changes have added. They are added to the counts of the table at
/// once, when the locks are released: its counters are shared by all cores.
#[derive(Debug, Default, Clone, Copy)]
pub struct Growth {
    pub(super) keys: i64,
    pub(super) data_bytes: i64,
}

impl Growth {
    /// Subtracts an entry that has gone.
    pub(super) fn subtract(&mut self, entry: &Entry) {
        self.keys -= 1;
        self.data_bytes -= len(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_tells_a_new_key_from_one_that_was_there() {
        let table = Table::new();
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
