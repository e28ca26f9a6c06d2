//! The sharded map from key to entry.
//!
//! `sharded_map` holds the shards and changes them one key at a time; `locked_shards` several keys, or all, under their locks at
//! once; `walk` reads whole shards; `bulk_load` fills them from disk. Below them, `sharding` chooses the shard of a key, and
//! `shard_meta` keeps what is known of each shard beside its entries.

mod bulk_load;
mod locked_shards;
mod shard_meta;
mod sharded_map;
mod sharding;
mod walk;

pub(super) use bulk_load::LoadedChange;
pub(super) use locked_shards::{LockedShards, RemovedEntries};
pub(super) use sharded_map::{Growth, Replaced, Table, find};
pub(super) use sharding::SHARDS;
pub use walk::Cursor;
