//! The filling of the map from disk.
//!
//! In: the changes of one shard, many at a time, from several threads that have different shards. Out: nothing; the map
//! holds them. Promise: a shard is locked once for all its changes of a call.

use super::sharded_map::{Growth, Table};
use super::sharding::{SHARDS, expected_keys};
use crate::model::entry::{Entry, prefetch_entry};

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
                self.remove(index, &mut shard, hash, entry.key_bytes(), &mut growth);
            } else {
                self.insert(index, &mut shard, hash, entry, &mut growth);
            }
        }
        drop(shard);
        self.grow(growth);
    }

    /// Removes every entry of one shard.
    pub fn clear_shard(&self, shard: usize) {
        let mut growth = Growth::default();
        let (mut locked, _) = self.write_shard(shard);
        let expiring = self.metas.take_expiring(shard);
        let removed = std::mem::take(&mut *locked);
        drop(locked);
        for (entry, _) in removed {
            growth.subtract(&entry);
        }
        self.grow(growth);
        drop(expiring);
    }

    /// Makes room for so many keys. Growing step by step, each shard would hash every key again and again.
    pub fn reserve(&self, keys: usize) {
        for index in 0..SHARDS {
            let (mut shard, _) = self.write_shard(index);
            let room = expected_keys(keys, index).saturating_sub(shard.len());
            shard.reserve(room + room / 8, |(entry, _)| self.hash(entry.key_bytes()));
        }
    }
}
