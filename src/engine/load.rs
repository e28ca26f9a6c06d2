//! The map while it is filled from disk, by several threads at once.
//!
//! In: changes, by shard. Out: the filled map.

use super::map::{SHARDS, Table};
use crate::model::Key;
use crate::persistence::chunks::{Load, Op};

/// The map, as far as it has been loaded.
#[derive(Debug, Default)]
pub(super) struct Loading {
    table: Table,
}

impl Loading {
    pub(super) fn end(self) -> Table {
        self.table
    }
}

impl Load for Loading {
    fn shards(&self) -> usize {
        SHARDS
    }

    fn hash(&self, key: Key<'_>) -> u64 {
        self.table.hash(key.as_bytes())
    }

    fn shard_of(&self, hash: u64) -> usize {
        Table::shard_of(hash)
    }

    fn expect(&self, pairs: u64) {
        self.table.reserve(usize::try_from(pairs).unwrap_or(0));
    }

    fn clear(&self, shard: usize) {
        self.table.clear_shard(shard);
    }

    fn apply(&self, shard: usize, changes: Vec<Op>) {
        self.table.apply(shard, changes);
    }

    fn pairs(&self) -> u64 {
        self.table.keys()
    }
}
