//! Several shards, locked together.
//!
//! In: keys, whose shards are locked from the beginning to the end; or none, for all shards. Out: entries. Promises: nobody
//! sees the map between two changes that are made here; two that lock the same shards cannot wait for each other.

use dashmap::RwLockWriteGuard;
use smallvec::SmallVec;

use super::database_counts::DatabaseSize;
use super::shard_meta::Expiring;
use super::sharded_map::{Growth, PREFETCH_KEYS_MAX, Table, find};
use super::sharding::SHARDS;
use super::walk::{Cursor, random_of};
use crate::model::entry::{Entry, Shard, entries_of, prefetch_bucket, prefetch_entry};
use crate::model::{Database, Key, now_ms};

/// Some shards, locked against all others.
pub struct LockedShards<'a> {
    table: &'a Table,
    /// The index of each shard, ascending, and its lock.
    shards: SmallVec<[(usize, RwLockWriteGuard<'a, Shard>); 1]>,
    /// The hashes of the keys that were named, in their order, and the number of keys that have been looked up.
    hashes: SmallVec<[u64; 1]>,
    looked_up: usize,
    growth: Growth,
}

impl Drop for LockedShards<'_> {
    fn drop(&mut self) {
        self.table.grow(self.growth);
    }
}

impl<'a> LockedShards<'a> {
    /// Locks the shards of these keys.
    pub fn lock(table: &'a Table, keys: &[Key<'_>]) -> Self {
        let hashes: SmallVec<[u64; 1]> =
            keys.iter().map(|key| table.hash(key.as_bytes())).collect();
        let mut indexes: SmallVec<[usize; 1]> =
            hashes.iter().map(|hash| Table::shard_of(*hash)).collect();
        // One order for everybody: two requests that name the same keys cannot wait for each other.
        indexes.sort_unstable();
        indexes.dedup();
        Self::new(table, indexes.into_iter(), hashes)
    }

    /// Locks every shard.
    pub fn lock_all(table: &'a Table) -> Self {
        Self::new(table, 0..SHARDS, SmallVec::new())
    }

    /// Locks also the shard of this key, unless somebody else holds its lock: to wait for it, out of order, could be for ever.
    pub fn try_add(&mut self, key: Key<'_>) -> bool {
        let index = Table::shard_of(self.table.hash(key.as_bytes()));
        let place = self
            .shards
            .binary_search_by_key(&index, |(index, _)| *index);
        let Err(place) = place else {
            return true;
        };
        let Some(shard) = self.table.try_write_shard(index) else {
            return false;
        };
        self.shards.insert(place, (index, shard));
        true
    }

    /// Returns true if every shard is locked.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.shards.len() == SHARDS
    }

    fn new(
        table: &'a Table,
        indexes: impl Iterator<Item = usize>,
        hashes: SmallVec<[u64; 1]>,
    ) -> Self {
        Self {
            table,
            shards: indexes
                .map(|index| (index, table.write_shard(index).0))
                .collect(),
            hashes,
            looked_up: 0,
            growth: Growth::default(),
        }
    }

    /// Returns the index of the shard of the key with this hash, and where it stands among those that are locked.
    fn shard(&self, hash: u64) -> (usize, usize) {
        let index = Table::shard_of(hash);
        let at = self
            .shards
            .binary_search_by_key(&index, |(index, _)| *index);
        let at = at.expect("the shards of all keys that are used were locked");
        (index, at)
    }

    /// Returns the hash of a key and its shard, and prefetches the next of the named keys now and then: they are mostly
    /// looked up in the order in which they were named.
    fn look_up(&mut self, key: &[u8]) -> (u64, usize, usize) {
        if self.hashes.len() > 1 && self.looked_up.is_multiple_of(PREFETCH_KEYS_MAX) {
            self.prefetch();
        }
        self.looked_up += 1;
        let hash = self.table.hash(key);
        let (index, at) = self.shard(hash);
        (hash, index, at)
    }

    #[cold]
    fn prefetch(&self) {
        let ahead = self.hashes.iter().skip(self.looked_up);
        let ahead: SmallVec<[(usize, u64); PREFETCH_KEYS_MAX]> = ahead
            .take(PREFETCH_KEYS_MAX)
            .map(|hash| (self.shard(*hash).1, *hash))
            .collect();
        for fetch in [prefetch_bucket, prefetch_entry] {
            for (at, hash) in &ahead {
                fetch(&self.shards[*at].1, *hash);
            }
        }
    }

    /// Stores the number of a change as the last one of every locked shard.
    pub fn set_last_change(&mut self, change: u64) {
        for (index, _) in &self.shards {
            self.table.metas.set_last_change(*index, change);
        }
    }

    /// Returns the number of the last change in the locked shards.
    #[must_use]
    pub fn last_change(&self) -> u64 {
        self.shards
            .iter()
            .map(|(index, _)| self.table.metas.last_change(*index))
            .max()
            .unwrap_or(0)
    }

    /// Returns the number of keys of the whole map, with the changes that were made here.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.table.keys().wrapping_add_signed(self.growth.keys)
    }

    /// Returns the bytes of memory by which the changes that were made here have made the data larger.
    #[must_use]
    pub fn grown_bytes(&self) -> i64 {
        self.growth.allocated_bytes
    }

    /// Returns the entry of a key.
    pub fn get(&mut self, key: Key<'_>) -> Option<Entry> {
        let (hash, _, at) = self.look_up(key.as_bytes());
        find(&self.shards[at].1, hash, key.as_bytes()).cloned()
    }

    /// Puts an entry in the place of that of its key. Returns the old one.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let (hash, index, at) = self.look_up(entry.key_bytes());
        let shard = &mut self.shards[at].1;
        self.table
            .insert(index, shard, hash, entry, &mut self.growth)
    }

    /// Removes and returns the entry of a key.
    pub fn remove(&mut self, key: Key<'_>) -> Option<Entry> {
        let (hash, index, at) = self.look_up(key.as_bytes());
        let shard = &mut self.shards[at].1;
        self.table
            .remove(index, shard, hash, key.as_bytes(), &mut self.growth)
    }

    /// Returns the entries of all locked shards whose keys begin with a prefix.
    pub fn entries(&self, prefix: &[u8]) -> impl Iterator<Item = &Entry> {
        let entries = self.shards.iter().flat_map(|(_, shard)| entries_of(shard));
        entries.filter(move |entry| entry.key_bytes().starts_with(prefix))
    }

    /// Returns a page of the entries, and the cursor of the next one, as [`Table::page`] does; all shards must be locked.
    #[must_use]
    pub fn page(&self, from: Cursor, least: usize) -> (Vec<Entry>, Option<Cursor>) {
        Table::page_of(from, least, |index, from, wanted| {
            self.table.entries_from(&self.shards[index].1, from, wanted)
        })
    }

    /// Returns a random entry that has not expired; all shards must be locked.
    #[must_use]
    pub fn random(&self) -> Option<Entry> {
        let first = Table::shard_of(fastrand::u64(..));
        let (before, from) = self.shards.split_at(first);
        let now = now_ms();
        from.iter()
            .chain(before)
            .find_map(|(_, shard)| random_of(shard, now))
    }

    /// Returns the size of a database that is not 0, with the changes that were made here.
    #[must_use]
    pub fn database(&self, database: Database) -> DatabaseSize {
        self.table.database(database)
    }

    /// Removes and returns every entry; all shards must be locked. Freeing them takes long, and is left to the caller.
    pub fn remove_all(&mut self) -> RemovedEntries {
        let filled = self
            .shards
            .iter_mut()
            .filter(|(_, shard)| shard.buckets() > 1);
        let shards = filled.map(|(index, shard)| RemovedShard {
            index: *index,
            entries: std::mem::take(&mut **shard),
            expiring: self.table.metas.take_expiring(*index),
        });
        let shards = shards.collect();
        let size = Growth {
            keys: self.keys().cast_signed(),
            data_bytes: self.table.data_bytes().cast_signed() + self.growth.data_bytes,
            allocated_bytes: self.table.allocated_bytes().cast_signed()
                + self.growth.allocated_bytes,
        };
        self.growth.subtract_all(&size);
        RemovedEntries {
            shards,
            size,
            databases: self.table.databases.take(),
        }
    }

    /// Puts back every entry that was removed; all shards must be locked and empty.
    pub fn put_back(&mut self, removed: RemovedEntries) {
        for RemovedShard {
            index,
            entries,
            expiring,
        } in removed.shards
        {
            // All are locked, so that each stands at its index.
            let shard = &mut *self.shards[index].1;
            self.growth.resize(shard.buckets(), 1);
            *shard = entries;
            self.table.metas.put_back_expiring(index, expiring);
        }
        self.growth.add_all(&removed.size);
        self.table.databases.put_back(&removed.databases);
    }
}

/// The entries of one shard.
struct RemovedShard {
    index: usize,
    entries: Shard,
    expiring: Expiring,
}

/// Every entry of a map, removed from it.
pub struct RemovedEntries {
    shards: Vec<RemovedShard>,
    size: Growth,
    databases: Vec<DatabaseSize>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Value;

    fn entry(key: &str) -> Entry {
        Entry::new(
            Key::parse(key.as_bytes()).expect("a key"),
            Value::parse(b"value").expect("a value"),
        )
    }

    #[test]
    fn what_was_all_removed_can_be_put_back() {
        let table = Table::new(Arc::default(), None);
        let (a, b) = (entry("a"), entry("b"));
        let mut locked = LockedShards::lock(&table, &[a.key(), b.key()]);
        locked.insert(a.clone());
        locked.insert(b.clone());
        drop(locked);
        let mut locked = LockedShards::lock_all(&table);
        let removed = locked.remove_all();
        assert_eq!(locked.keys(), 0);
        locked.put_back(removed);
        drop(locked);
        assert_eq!((table.keys(), table.data_bytes()), (2, 12));
        drop(LockedShards::lock_all(&table).remove_all());
        assert_eq!((table.keys(), table.data_bytes()), (0, 0));
        assert!(table.read(a.key(), |_| ()).0.is_none());
    }
}
