//! The deletion of expired keys.
//!
//! In: calls, from time to time. Out: the number of keys deleted. Promises: one call takes at most one shard's lock and deletes
//! a bounded number of keys, as one change; calls go round the shards, so that none waits for ever; while the disk takes no
//! changes nothing is deleted, and expired keys are only hidden.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::data::Data;
use super::listener::Cause;
use crate::model::entry::Entry;
use crate::model::{Change, UnixMs, now_ms};
use crate::persistence::DiskFault;

/// The progress of expiry, and its total.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// The shard where the next call begins to look.
    next_shard: AtomicUsize,
    expired: AtomicU64,
    /// True while expired keys are only hidden.
    is_off: AtomicBool,
}

impl Expiry {
    /// Returns the number of keys that were deleted since the start because they had expired.
    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    /// Lets calls delete expired keys, or only hide them.
    pub(super) fn set_deletes(&self, deletes: bool) {
        self.is_off.store(!deletes, Relaxed);
    }

    /// Deletes some of the expired keys of the next shard that has any. Returns whether there may be more.
    pub(super) fn expire(&self, data: &Data) -> bool {
        if self.is_off.load(Relaxed) {
            return false;
        }
        let now = now_ms();
        let from = self.next_shard.load(Relaxed);
        let Some(shard) = data.table.next_shard_with_expired(from, now) else {
            return false;
        };
        self.next_shard.store(shard + 1, Relaxed);
        let expired = data.table.expired_entries(shard, now);
        self.delete(data, &expired, now).is_ok()
    }

    /// Deletes these entries of one shard where their keys still hold an expired value.
    fn delete(&self, data: &Data, expired: &[Entry], now: UnixMs) -> Result<(), DiskFault> {
        let removed = data.remove(
            expired,
            |there, _| there.is_expired(now),
            (|keys| Change::Delete(keys), Cause::Expired),
        )?;
        self.expired.fetch_add(removed.len() as u64, Relaxed);
        Ok(())
    }
}
