//! The table while it is filled from disk, by several threads at once.
//!
//! In: changes by lane: a lane is every n-th shard, so no shard has two threads. Out: a table, and the keys that expire.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

use super::table::Table;
use crate::persistence::chunks::{Load, Op};
use crate::record::{Key, UnixMs};

type Expiring = BinaryHeap<Reverse<(UnixMs, String)>>;

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
    fn hash(&self, key: Key<'_>) -> u64 {
        self.table.hash(key.as_bytes())
    }

    fn lane(&self, hash: u64, lanes: usize) -> usize {
        self.table.shard_of(hash) % lanes
    }

    fn expect(&self, pairs: u64) {
        self.table.reserve(usize::try_from(pairs).unwrap_or(0));
    }

    fn apply(&self, lane: usize, lanes: usize, changes: Vec<Op>) {
        for change in changes {
            match change {
                Op::Put(hash, entry) => {
                    if let Some(at) = entry.expires_at() {
                        self.expires(at, entry.key());
                    }
                    self.table.lock_hashed(hash).insert_hashed(hash, entry);
                }
                Op::Delete(hash, key) => {
                    let key = Key::parse(key.as_bytes()).expect("it was a key when it was read");
                    self.table.lock_hashed(hash).remove_hashed(hash, key);
                }
                Op::Clear => {
                    for shard in (lane..self.table.shards()).step_by(lanes) {
                        self.table.clear_shard(shard);
                    }
                }
            }
        }
    }

    fn pairs(&self) -> u64 {
        self.table.keys()
    }
}
