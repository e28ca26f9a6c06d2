//! A run: some requests of one client, each of one key, done one after the other under the locks of all their keys.
//!
//! In: the keys, then a read or a change of each in turn. Out: what is there, and the records of what has changed. Promises:
//! the locks are taken in one order, held for some microseconds, and never while anything is waited for; what has
//! changed is in the journal before a lock is given up, each change as a record of its own.
//!
//! It is what makes a pipeline cheap: the look-ups of a run wait for memory together, each shard is locked once, and the
//! journal, which all clients share, once for all of them.

use dashmap::{RwLockReadGuard, RwLockWriteGuard};
use smallvec::SmallVec;

use super::map::{Growth, Table, find};
use super::{Barrier, Engine, Read, is_gone, shown};
use crate::model::entry::{Entry, Shard, prefetch_entry, prefetch_place};
use crate::model::{Change, Key, Value};
use crate::persistence::{DiskFault, Records};

/// The most requests of a run: so many look-ups keep memory busy, and the locks are given up soon.
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

/// The key of one request.
#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    shard: usize,
    /// Which of the locks is that of its shard.
    guard: usize,
}

/// Some requests in the making.
pub struct LockedBatch<'e> {
    engine: &'e Engine,
    places: SmallVec<[Place; LOCKED_BATCH_REQUESTS_MAX]>,
    guards: SmallVec<[Guard<'e>; LOCKED_BATCH_REQUESTS_MAX]>,
    /// The last change that was seen or made.
    barrier: Barrier,
    growth: Growth,
    changes: u64,
    records: Records,
    /// What was changed, and is freed without the locks.
    old: SmallVec<[Entry; LOCKED_BATCH_REQUESTS_MAX]>,
}

impl<'e> LockedBatch<'e> {
    /// Locks the shards of these keys, against changes or against all others, and has their entries fetched from memory.
    pub(super) fn new<'k>(
        engine: &'e Engine,
        keys: impl Iterator<Item = &'k [u8]>,
        is_writing: bool,
    ) -> Self {
        let table = &engine.table;
        let places = keys.map(|key| {
            let hash = table.hash(key);
            let shard = Table::shard_of(hash);
            table.prefetch_shard(shard);
            Place {
                hash,
                shard,
                guard: 0,
            }
        });
        let mut run = Self {
            engine,
            places: places.collect(),
            guards: SmallVec::new(),
            barrier: Barrier::default(),
            growth: Growth::default(),
            changes: 0,
            records: Records::default(),
            old: SmallVec::new(),
        };
        run.lock(is_writing);
        for place in &run.places {
            prefetch_entry(run.guards[place.guard].shard(), place.hash);
        }
        run
    }

    /// One order for everybody: two runs cannot wait for each other. The place of each entry is fetched as soon as its shard is
    /// locked: by the end most have come.
    fn lock(&mut self, is_writing: bool) {
        let numbered = self.places.iter().map(|place| place.shard).enumerate();
        let mut order: SmallVec<[(usize, usize); LOCKED_BATCH_REQUESTS_MAX]> =
            numbered.map(|(request, shard)| (shard, request)).collect();
        order.sort_unstable();
        let mut locked = None;
        for (shard, request) in order {
            if locked != Some(shard) {
                locked = Some(shard);
                let table = &self.engine.table;
                let (guard, changed) = if is_writing {
                    let (shard, changed) = table.write_shard(shard);
                    (Guard::Write(shard), changed)
                } else {
                    let (shard, changed) = table.read_shard(shard);
                    (Guard::Read(shard), changed)
                };
                self.guards.push(guard);
                self.barrier.raise(Barrier(changed));
            }
            let guard = self.guards.len() - 1;
            let place = &mut self.places[request];
            place.guard = guard;
            prefetch_place(self.guards[guard].shard(), place.hash);
        }
    }

    /// Shows the value of the key of this request, unless it is long.
    pub fn read(&self, request: usize, key: Key<'_>, show: impl FnOnce(Value<'_>)) -> Read {
        let place = self.places[request];
        let shard = self.guards[place.guard].shard();
        find(shard, place.hash, key.as_bytes()).map_or(Read::Missing, |entry| shown(entry, show))
    }

    /// Stores a value under the key of this request; returns true if the key did not exist.
    ///
    /// # Errors
    /// `DISK`, while the disk takes no changes; nothing has changed then.
    pub fn put(
        &mut self,
        request: usize,
        key: Key<'_>,
        value: Value<'_>,
    ) -> Result<bool, DiskFault> {
        let Engine { store, table, .. } = self.engine;
        store.admit()?;
        store.note(&Change::Put(key, value), &mut self.records);
        self.changes += 1;
        let place = self.places[request];
        let Guard::Write(shard) = &mut self.guards[place.guard] else {
            unreachable!("a run with a change locks its shards against all others")
        };
        let (is_new, old) = table.put(
            place.shard,
            shard,
            place.hash,
            (key, value),
            &mut self.growth,
        );
        let is_new = is_new || old.as_ref().is_some_and(is_gone);
        self.old.extend(old);
        Ok(is_new)
    }

    /// Gives the locks up; what the replies have to wait for.
    #[must_use]
    pub fn end(mut self) -> Barrier {
        self.record();
        self.barrier
    }

    fn record(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        if changes == 0 {
            return;
        }
        let Engine { store, table, .. } = self.engine;
        let change = store.append_all(changes, std::mem::take(&mut self.records));
        for place in &self.places {
            table.note(place.shard, change);
        }
        self.barrier.raise(Barrier(change));
        table.grow(std::mem::take(&mut self.growth));
    }
}

impl Drop for LockedBatch<'_> {
    fn drop(&mut self) {
        // Not ended only where a request has panicked: what was changed before is recorded all the same.
        self.record();
    }
}
