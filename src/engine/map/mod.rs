//! The sharded map from key to entry.
//!
//! `sharded_map` holds the shards and changes them one key at a time; `locked_shards` several keys, or all, under their locks at
//! once; `walk` reads whole shards; `bulk_load` fills them from disk; `victims` chooses what a cap on memory evicts, by `samples` or as
//! `least_needed` says, with what `smart`, `ghosts` and the clock of `turnover` keep; `compaction` moves entries together in memory. Below them,
//! `sharding` chooses the shard of a key, `shard_meta` keeps what is known of each shard beside its entries, `database_counts` the sizes of the numbered databases, and `uses` reads and writes the record of use of an entry.

mod bulk_load;
mod compaction;
mod database_counts;
mod ghosts;
mod least_needed;
mod locked_shards;
mod samples;
mod shard_meta;
mod sharded_map;
mod sharding;
mod smart;
mod turnover;
mod uses;
mod victims;
mod walk;

pub(super) use bulk_load::LoadedChange;
pub(super) use compaction::Compaction;
pub use database_counts::DatabaseSize;
pub(super) use locked_shards::{LockedShards, RemovedEntries};
pub(super) use sharded_map::{Growth, Replaced, Table, find};
pub(super) use sharding::SHARDS;
pub use uses::Use;
pub(super) use victims::Choice;
pub use walk::Cursor;
