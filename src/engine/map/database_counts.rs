//! The number of keys of each numbered database, so that nobody has to walk over them.
//!
//! In: keys that come and go. Out: counts. Promise: the counts are exact whenever no shard is being changed. Database 0 has no count
//! of its own, as it is all keys.
//!
//! A count is changed under the lock of the shard of the key.

use std::iter::repeat_with;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::entry::Entry;
use crate::model::{DATABASES_MAX, Database};

/// Counts of one database.
#[derive(Debug, Default)]
struct Count {
    keys: AtomicU64,
    expiring: AtomicU64,
}

/// Counts of all databases.
#[derive(Debug)]
pub(super) struct DatabaseCounts(Box<[Count]>);

/// Keys of a database, and how many of them expire.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseSize {
    /// Number of keys, those included that have expired and are not deleted yet.
    pub keys: u64,
    /// Number of keys that expire, those included that have.
    pub expiring: u64,
}

impl DatabaseSize {
    /// Returns the size of a database with one key at most.
    pub(super) fn of(is_there: bool, expires: bool) -> Self {
        Self {
            keys: is_there.into(),
            expiring: expires.into(),
        }
    }

    /// Returns the size of a database with this entry alone, if any.
    pub(super) fn of_entry(entry: Option<&Entry>) -> Self {
        let expires = entry.is_some_and(|entry| entry.expires_at().is_some());
        Self::of(entry.is_some(), expires)
    }
}

impl DatabaseCounts {
    pub(super) fn new() -> Self {
        Self(repeat_with(Count::default).take(DATABASES_MAX).collect())
    }

    /// Counts what has gone from a database, and what has come in its place.
    #[cold]
    pub(super) fn replace(&self, database: Database, gone: DatabaseSize, come: DatabaseSize) {
        let count = &self.0[database.number()];
        // Two's complement: what is added may be negative.
        count
            .keys
            .fetch_add(come.keys.wrapping_sub(gone.keys), Relaxed);
        count
            .expiring
            .fetch_add(come.expiring.wrapping_sub(gone.expiring), Relaxed);
    }

    /// Returns the size of a database.
    pub(super) fn of(&self, database: Database) -> DatabaseSize {
        let count = &self.0[database.number()];
        DatabaseSize {
            keys: count.keys.load(Relaxed),
            expiring: count.expiring.load(Relaxed),
        }
    }

    /// Sets all counts to 0, as all keys have gone. Returns what they were.
    pub(super) fn take(&self) -> Vec<DatabaseSize> {
        let taken = self.0.iter().map(|count| DatabaseSize {
            keys: count.keys.swap(0, Relaxed),
            expiring: count.expiring.swap(0, Relaxed),
        });
        taken.collect()
    }

    /// Adds what was taken, as all these keys have come back.
    pub(super) fn put_back(&self, sizes: &[DatabaseSize]) {
        for (count, size) in self.0.iter().zip(sizes) {
            count.keys.fetch_add(size.keys, Relaxed);
            count.expiring.fetch_add(size.expiring, Relaxed);
        }
    }
}
