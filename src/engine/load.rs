//! The map while it is filled from disk, by several threads at once.
//!
//! In: batches of changes. Out: the filled map. Promises: no two threads change the same shard at one time, and each shard is
//! locked, and its part of the memory visited, once per batch.

use super::map::{Compaction, LoadedChange, SHARDS, Table};
use crate::model::entry::Entry;
use crate::model::{Key, Value};
use crate::persistence::{Batch, Load, Work};

/// Number of changes after which a step of compaction is made.
const CHANGES_PER_STEP: usize = 64;

/// The map, as far as it has been loaded.
#[derive(Debug)]
pub(super) struct Loading<'t> {
    table: &'t Table,
    compaction: Compaction,
}

impl<'t> Loading<'t> {
    /// Begins with an empty map.
    pub(super) fn new(table: &'t Table) -> Self {
        Self {
            table,
            compaction: Compaction::default(),
        }
    }

    /// Moves some pairs together in memory, if the process holds more than the cap, after so many changes. The limit stays as it is:
    /// nothing is dropped for what is only sparse.
    fn compact(&self, changes: usize) {
        let cap = self.table.cap();
        if !cap.is_set() {
            return;
        }
        cap.note_counted(self.table.memory_bytes());
        let mut steps = changes.div_ceil(CHANGES_PER_STEP);
        while steps > 0 && self.compaction.step(self.table) {
            steps -= 1;
        }
    }
}

impl Load for Loading<'_> {
    fn batch(&self) -> Box<dyn Batch<'_> + '_> {
        Box::new(ShardedBatch {
            loading: self,
            clears: false,
            changes: Vec::new(),
        })
    }

    fn expect(&self, pairs: u64) {
        self.table.reserve(usize::try_from(pairs).unwrap_or(0));
    }

    fn pairs(&self) -> u64 {
        self.table.keys()
    }

    fn memory_bytes_max(&self) -> Option<u64> {
        let cap = self.table.cap();
        cap.is_set().then(|| cap.bytes())
    }
}

/// Changes in their order, each with its shard.
struct ShardedBatch<'a> {
    loading: &'a Loading<'a>,
    /// True if every key is gone before these.
    clears: bool,
    changes: Vec<(usize, LoadedChange)>,
}

impl ShardedBatch<'_> {
    fn push(&mut self, key: Key<'_>, entry: Entry, is_delete: bool) {
        let hash = self.loading.table.hash(key.as_bytes());
        let change = LoadedChange {
            hash,
            entry,
            is_delete,
        };
        self.changes.push((Table::shard_of(hash), change));
    }
}

impl<'a> Batch<'a> for ShardedBatch<'a> {
    fn put(&mut self, key: Key<'_>, value: Value<'_>) {
        self.push(key, self.loading.table.entry(key, value), false);
    }

    fn delete(&mut self, key: Key<'_>) {
        let empty = Value::parse(b"").expect("nothing is short enough");
        self.push(key, Entry::new(key, empty), true);
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.clears = true;
    }

    /// Sorts the changes by shard, those of each key in their order, and deals the shards out.
    fn divide(self: Box<Self>, parts: usize) -> Vec<Work<'a>> {
        let Self {
            loading,
            clears,
            changes,
        } = *self;
        let shards = SHARDS;
        let mut counts = vec![0; shards];
        for (shard, _) in &changes {
            counts[*shard] += 1;
        }
        let mut next = Vec::with_capacity(shards);
        let mut start = 0;
        for count in &counts {
            next.push(start);
            start += count;
        }
        let mut sorted: Vec<Option<LoadedChange>> = std::iter::repeat_with(|| None)
            .take(changes.len())
            .collect();
        for (shard, change) in changes {
            sorted[next[shard]] = Some(change);
            next[shard] += 1;
        }
        let mut sorted = sorted.into_iter();
        (0..parts)
            .map(|part| {
                let (from, to) = (shards * part / parts, shards * (part + 1) / parts);
                let counts = counts[from..to].to_vec();
                let len = counts.iter().sum();
                let changes: Vec<_> = sorted.by_ref().take(len).collect();
                let work: Work<'a> = Box::new(move || {
                    apply(loading.table, clears, from, &counts, changes);
                    loading.compact(len);
                });
                work
            })
            .collect()
    }
}

/// Applies changes of the shards from `first_shard` on, of which each has so many.
fn apply(
    table: &Table,
    clears: bool,
    first_shard: usize,
    counts: &[usize],
    changes: Vec<Option<LoadedChange>>,
) {
    let mut changes = changes.into_iter().flatten();
    for (shard, count) in (first_shard..).zip(counts) {
        if clears {
            table.clear_shard(shard);
        }
        if *count > 0 {
            table.apply(shard, changes.by_ref().take(*count).collect());
        }
    }
}
