//! A locked batch: some requests of one client, each of one key, served one after the other under the locks of all their keys.
//!
//! In: the keys, then a read or a change of each in turn. Out: values, and the records of the changes. Promises: the locks are
//! taken in one order, held for some microseconds, and never while anything is waited for; all changes are in the journal
//! before a lock is released, each as a record of its own.
//!
//! This is what makes a pipeline cheap: the look-ups of a batch wait for memory together, each shard is locked once, and so is
//! the journal, which all clients share.

use dashmap::{RwLockReadGuard, RwLockWriteGuard};
use smallvec::SmallVec;

use super::barrier::Barrier;
use super::data::Data;
use super::map::{Growth, Replaced, Table, find};
use super::read::{ReadOutcome, show_value};
use crate::model::entry::{Entry, Shard, prefetch_bucket, prefetch_entry};
use crate::model::{Change, Key, Value};
use crate::persistence::{DiskFault, Records};

/// The most requests of a batch: so many look-ups keep the memory busy, and the locks are released soon.
pub const LOCKED_BATCH_REQUESTS_MAX: usize = 16;

/// A locked shard.
enum Guard<'e> {
    Read(RwLockReadGuard<'e, Shard>),
    Write(RwLockWriteGuard<'e, Shard>),
}

impl Guard<'_> {
    fn shard(&self) -> &Shard {
        match self {
            Self::Read(shard) => shard,
            Self::Write(shard) => shard,
        }
    }
}

/// The place of the key of one request.
#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    /// The index of its shard.
    shard: usize,
    /// The index of its shard's guard in the batch.
    guard: usize,
}

/// Requests that are served under the locks of their keys.
pub struct LockedBatch<'e> {
    data: &'e Data,
    slots: SmallVec<[Slot; LOCKED_BATCH_REQUESTS_MAX]>,
    guards: SmallVec<[Guard<'e>; LOCKED_BATCH_REQUESTS_MAX]>,
    /// The latest change that was seen or made.
    barrier: Barrier,
    growth: Growth,
    changes: u64,
    records: Records,
    /// The entries that were replaced: they are freed after the locks are released.
    old: SmallVec<[Entry; LOCKED_BATCH_REQUESTS_MAX]>,
}

impl<'e> LockedBatch<'e> {
    /// Locks the shards of these keys, for writing or for reading, and prefetches their entries.
    pub(super) fn new<'k>(
        data: &'e Data,
        keys: impl Iterator<Item = &'k [u8]>,
        is_writing: bool,
    ) -> Self {
        let table = &data.table;
        let mut slots = SmallVec::new();
        for key in keys {
            let hash = table.hash(key);
            let shard = Table::shard_of(hash);
            table.prefetch_shard(shard);
            slots.push(Slot {
                hash,
                shard,
                guard: 0,
            });
        }
        let mut batch = Self {
            data,
            slots,
            guards: SmallVec::new(),
            barrier: Barrier::default(),
            growth: Growth::default(),
            changes: 0,
            records: Records::default(),
            old: SmallVec::new(),
        };
        batch.lock(is_writing);
        let guards = &*batch.guards;
        for slot in &*batch.slots {
            prefetch_entry(guards[slot.guard].shard(), slot.hash);
        }
        batch
    }

    /// Locks the shards in ascending order, as everybody does: two batches cannot wait for each other. The buckets of each key
    /// are prefetched as soon as its shard is locked: when the last is, most have arrived.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are 2^16 places of a shard and a request"
    )]
    #[inline(always)]
    fn lock(&mut self, is_writing: bool) {
        let table = &self.data.table;
        let slots = &mut *self.slots;
        // Shard and request in one number each: numbers are sorted without branches.
        let numbered = slots.iter().map(|slot| slot.shard).enumerate();
        let mut order: SmallVec<[u32; LOCKED_BATCH_REQUESTS_MAX]> = numbered
            .map(|(request, shard)| (shard * LOCKED_BATCH_REQUESTS_MAX + request) as u32)
            .collect();
        order.sort_unstable();
        let mut locked = None;
        for shard_and_request in &*order {
            let shard_and_request = *shard_and_request as usize;
            let shard = shard_and_request / LOCKED_BATCH_REQUESTS_MAX;
            let request = shard_and_request % LOCKED_BATCH_REQUESTS_MAX;
            if locked != Some(shard) {
                locked = Some(shard);
                let (guard, last_change) = if is_writing {
                    let (shard, last_change) = table.write_shard(shard);
                    (Guard::Write(shard), last_change)
                } else {
                    let (shard, last_change) = table.read_shard(shard);
                    (Guard::Read(shard), last_change)
                };
                self.guards.push(guard);
                self.barrier.raise(Barrier::of(last_change));
            }
            let (guards, slot) = (&*self.guards, &mut slots[request]);
            slot.guard = guards.len() - 1;
            prefetch_bucket(guards[slot.guard].shard(), slot.hash);
        }
    }

    /// Shows the value of the key of this request, unless it is long. It is a use of the pair, or a look that does not count.
    #[inline(always)]
    pub fn read(
        &self,
        request: usize,
        key: Key<'_>,
        is_use: bool,
        show: impl FnOnce(Value<'_>),
    ) -> ReadOutcome {
        let slot = self.slots[request];
        let shard = self.guards[slot.guard].shard();
        let Some(entry) = find(shard, slot.hash, key.as_bytes()) else {
            return ReadOutcome::Missing;
        };
        if is_use {
            self.data.table.note_use(entry);
        }
        show_value(entry, show)
    }

    /// Puts a value under the key of this request. Returns whether the key is new.
    ///
    /// # Errors
    /// [`DiskFault`], while the disk takes no changes; nothing has changed then.
    #[inline(always)]
    pub fn put(
        &mut self,
        request: usize,
        key: Key<'_>,
        value: Value<'_>,
    ) -> Result<bool, DiskFault> {
        let Data { store, table, .. } = self.data;
        store.admit()?;
        store.note(&Change::Put(key, value), &mut self.records);
        self.changes += 1;
        let slot = self.slots[request];
        let Guard::Write(shard) = &mut self.guards[slot.guard] else {
            unreachable!("a batch with a change locks its shards for writing")
        };
        let replaced = table.put(slot.shard, shard, slot.hash, (key, value), &mut self.growth);
        let is_new = replaced.is_new();
        if let Replaced::Entry(old) = replaced {
            self.old.push(old);
        }
        Ok(is_new)
    }

    /// Records the changes and releases the locks. Returns the barrier that the replies have to wait for.
    #[must_use]
    #[inline(always)]
    pub fn finish(mut self) -> Barrier {
        self.record();
        self.barrier
    }

    fn record(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        if changes == 0 {
            return;
        }
        let Data { store, table, .. } = self.data;
        let change = store.append_all(changes, std::mem::take(&mut self.records));
        for slot in &self.slots {
            table.set_last_change(slot.shard, change);
        }
        self.barrier.raise(Barrier::of(change));
        table.grow(std::mem::take(&mut self.growth));
    }
}

impl Drop for LockedBatch<'_> {
    fn drop(&mut self) {
        // Without `finish` only where a request has panicked: what was changed before is in memory, and so must be recorded.
        self.record();
    }
}
