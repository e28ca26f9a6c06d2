//! The table while it is filled from disk, by several threads at once.
//!
//! In: changes by shard. Out: a table, and the keys that expire.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

use super::table::Table;
use crate::persistence::chunks::{Load, Op};
use crate::record::{Key, UnixMs};

/// Keys that expire, soonest first.
pub(super) type Expiring = BinaryHeap<Reverse<(UnixMs, String)>>;

/// What has been loaded so far.
#[derive(Debug, Default)]
pub(super) struct Loading {
    table: Table,
    expiring: Mutex<Expiring>,
}

impl Loading {
    pub(super) fn end(self) -> (Table, Expiring) {
        let expiring = self.expiring.into_inner();
        (self.table, expiring.unwrap_or_else(PoisonError::into_inner))
    }

    fn expires(&self, at: UnixMs, key: Key<'_>) {
        self.expiring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Reverse((at, key.as_str().to_owned())));
    }
}

impl Load for Loading {
    fn shards(&self) -> usize {
        self.table.shards()
    }

    fn hash(&self, key: Key<'_>) -> u64 {
        self.table.hash(key.as_bytes())
    }

    fn shard_of(&self, hash: u64) -> usize {
        self.table.shard_of(hash)
    }

    fn expect(&self, pairs: u64) {
        self.table.reserve(usize::try_from(pairs).unwrap_or(0));
    }

    fn clear(&self, shard: usize) {
        self.table.clear_shard(shard);
    }

    fn apply(&self, shard: usize, changes: Vec<Op>) {
        for op in &changes {
            if let Some(at) = op.entry.expires_at() {
                self.expires(at, op.entry.key());
            }
        }
        self.table.apply(shard, changes);
    }

    fn pairs(&self) -> u64 {
        self.table.keys()
    }
}
