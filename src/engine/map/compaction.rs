//! Compaction: entries are moved out of slabs that few others share, so that the allocator gives these back.
//!
//! In: the map, step by step; where that is not fast enough, entries that a choice of victims has passed and kept. Out: the same pairs,
//! elsewhere in memory. Promises: nobody sees a difference; an entry that anybody else holds stays where it is; it costs nothing while
//! the process holds little more than is counted, or has nothing to gain.
//!
//! Slabs have places of one size. Where values become longer, pairs of the old lengths are evicted one by one, from all slabs alike, and
//! each slab would stay for the last of its pairs.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use super::shard_meta::Sample;
use super::sharded_map::Table;
use super::sharding::SHARDS;
use crate::model::entry::{Entry, entry_at, flush_thread_cache};

/// Number of moved entries after which a thread gives back what the allocator's cache holds for it.
const MOVES_PER_FLUSH: u64 = 256;
/// Number of places of a hash table that a step looks at.
const PLACES_PER_STEP: usize = 256;
/// Part of the pairs that a pass through all moves at least; after one that moves less, compaction rests.
const MOVED_PARTS: u64 = 64;

/// Passes through the map that move what lies in sparse slabs.
#[derive(Debug, Default)]
pub struct Compaction(Mutex<Pass>);

#[derive(Debug, Default)]
struct Pass {
    /// Next shard, and next place there.
    at: (usize, usize),
    /// Number of entries that were moved in this pass.
    moved: u64,
}

impl Compaction {
    /// Moves those of the next entries of the map that lie in sparse slabs, if there is to be a compaction. Returns true if there is more
    /// to do.
    pub fn step(&self, table: &Table) -> bool {
        if !table.cap().is_compacting() {
            return false;
        }
        let mut pass = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, from) = pass.at;
        let (shard, _) = table.read_shard(index);
        let to = (from + PLACES_PER_STEP).min(shard.buckets());
        let entries = (from..to).filter_map(|place| entry_at(&shard, place));
        let entries = entries.filter(|entry| entry.is_in_sparse_slab());
        let sparse: Vec<Entry> = entries.cloned().collect();
        let is_whole = to == shard.buckets();
        drop(shard);
        pass.moved += table.move_entries(sparse);
        pass.at = match (is_whole, index + 1) {
            (false, _) => (index, to),
            (true, SHARDS) => (0, 0),
            (true, next) => (next, 0),
        };
        if pass.at == (0, 0) {
            let moved = std::mem::take(&mut pass.moved);
            if moved * MOVED_PARTS < table.keys() {
                table.cap().rest_compaction();
            }
        }
        true
    }
}

impl Table {
    /// Frees entries that were evicted, and moves those of others that lie in sparse slabs, if they have to be at once.
    pub fn compact(&self, evicted: Sample, kept: Sample) {
        if self.cap().is_compaction_urgent() {
            evicted.into_iter().for_each(Entry::leave_slab);
            self.move_entries(kept);
        }
    }

    /// Moves those entries that lie in sparse slabs. Returns their number.
    fn move_entries(&self, entries: impl IntoIterator<Item = Entry>) -> u64 {
        let moved = entries.into_iter();
        let moved = moved.filter_map(|entry| self.move_entry(entry)).count() as u64;
        let before = self.moved.fetch_add(moved, Relaxed);
        if (before + moved) / MOVES_PER_FLUSH > before / MOVES_PER_FLUSH {
            flush_thread_cache();
        }
        moved
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
