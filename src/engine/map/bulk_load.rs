//! The filling of the map from disk.
//!
//! In: the changes of one shard, many at a time, from several threads that have different shards. Out: nothing; the map
//! holds them. Promise: a shard is locked once for all its changes of a call.

use std::sync::atomic::Ordering::Relaxed;

use super::sharded_map::{Growth, Table};
use super::sharding::{SHARDS, expected_keys};
use crate::model::entry::{Entry, Shard, entries_of, prefetch_entry};

/// A change that is read back from disk.
#[derive(Debug)]
pub struct LoadedChange {
    /// The hash of the key.
    pub hash: u64,
    /// The pair; of a deleted one only the key counts.
    pub entry: Entry,
    /// True if the key is deleted, rather than has this value.
    pub is_delete: bool,
}

impl Table {
    /// Applies changes of one shard, in their order.
    pub fn apply(&self, shard: usize, changes: Vec<LoadedChange>) {
        let index = shard;
        let mut growth = Growth::default();
        let (mut shard, _) = self.write_shard(index);
        // Each look-up waits for memory; those of this pass do not depend on each other, and wait all together.
        for change in &changes {
            prefetch_entry(&shard, change.hash);
        }
        for LoadedChange {
            hash,
            entry,
            is_delete,
        } in changes
        {
            if is_delete {
                let removed = self.remove(index, &mut shard, hash, entry.key_bytes(), &mut growth);
                if let Some(removed) = removed.filter(|_| self.cap.is_set()) {
                    // Its place is filled before a new slab is begun.
                    removed.leave_slab();
                }
            } else {
                self.insert(index, &mut shard, hash, entry, &mut growth);
            }
        }
        if self.cap.is_set() {
            self.drop_excess(index, &mut shard, &mut growth);
        }
        drop(shard);
        self.grow(growth);
    }

    /// Removes as much from a shard as it has grown by, if there is more than fits in memory. It is recorded nowhere, as no journal is
    /// open yet: the cap itself is kept once all is read.
    fn drop_excess(&self, index: usize, shard: &mut Shard, growth: &mut Growth) {
        if self.memory_bytes() <= self.cap.load_limit() {
            return;
        }
        let mut excess = growth.allocated_bytes;
        let is_dropped = |entry: &&Entry| {
            let is_dropped = excess > 0;
            excess -= entry.allocated_bytes().cast_signed() as i64;
            is_dropped
        };
        let dropped: Vec<Entry> = entries_of(shard).take_while(is_dropped).cloned().collect();
        for entry in &dropped {
            let hash = self.hash(entry.key_bytes());
            self.remove(index, shard, hash, entry.key_bytes(), growth);
        }
        self.dropped.fetch_add(dropped.len() as u64, Relaxed);
    }

    /// Removes every entry of one shard.
    pub fn clear_shard(&self, shard: usize) {
        let mut growth = Growth::default();
        let (mut locked, _) = self.write_shard(shard);
        let expiring = self.metas.take_expiring(shard);
        let removed = std::mem::take(&mut *locked);
        growth.resize(removed.buckets(), locked.buckets());
        drop(locked);
        for (entry, _) in removed {
            self.count_removed(&entry);
            growth.subtract(&entry);
        }
        self.grow(growth);
        drop(expiring);
    }

    /// Makes room for so many keys. Growing step by step, each shard would hash every key again and again. Under a cap they do: not all
    /// may stay.
    pub fn reserve(&self, keys: usize) {
        if self.cap.is_set() {
            return;
        }
        let mut growth = Growth::default();
        for index in 0..SHARDS {
            let (mut shard, _) = self.write_shard(index);
            let room = expected_keys(keys, index).saturating_sub(shard.len());
            let places = shard.buckets();
            shard.reserve(room + room / 8, |(entry, _)| self.hash(entry.key_bytes()));
            growth.resize(places, shard.buckets());
        }
        self.grow(growth);
    }
}
