//! Compaction: entries are moved out of slabs that few others share, so that the allocator gives these back.
//!
//! In: entries that a choice of victims has passed and kept. Out: the same pairs, elsewhere in memory. Promises: nobody sees a difference;
//! an entry that anybody else holds stays where it is; it costs nothing while the process holds little more than is counted.
//!
//! Slabs have places of one size. Where values become longer, pairs of the old lengths are evicted one by one, from all slabs alike, and
//! each slab would stay for the last of its pairs.

use std::sync::atomic::Ordering::Relaxed;

use super::shard_meta::Sample;
use super::sharded_map::Table;
use crate::model::entry::{Entry, flush_thread_cache};

/// Number of moved entries after which a thread gives back what the allocator's cache holds for it.
const MOVES_PER_FLUSH: u64 = 256;

impl Table {
    /// Frees entries that were evicted, and moves those of others that lie in sparse slabs.
    pub fn compact(&self, evicted: Sample, kept: Sample) {
        if !self.cap().is_compacting() {
            return;
        }
        evicted.into_iter().for_each(Entry::leave_slab);
        let moved = kept.into_iter();
        let moved = moved.filter_map(|entry| self.move_entry(entry)).count() as u64;
        let before = self.moved.fetch_add(moved, Relaxed);
        if (before + moved) / MOVES_PER_FLUSH > before / MOVES_PER_FLUSH {
            flush_thread_cache();
        }
    }

    /// Moves an entry if it lies in a sparse slab, and nobody else holds it.
    fn move_entry(&self, entry: Entry) -> Option<()> {
        let hash = self.hash(entry.key_bytes());
        let index = Self::shard_of(hash);
        let (mut shard, _) = self.write_shard(index);
        let (there, _) = shard.get_mut(hash, |(there, _)| there.is_same(&entry))?;
        // The map, this one, and the index of what expires.
        let holders = 2 + usize::from(entry.expires_at().is_some());
        let copy = entry.moved_from_sparse_slab(holders)?;
        self.metas.replace(index, Some(&entry), Some(&copy));
        let old = std::mem::replace(there, copy);
        drop(shard);
        drop(old);
        entry.leave_slab();
        Some(())
    }
}
