//! The two halves of the engine's state: the map in memory and the store on disk.
//!
//! Transactions, batches, scans, expiry and snapshots work on both and know nothing of the engine that owns them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::listener::{Cause, Listener};
use super::map::{LockedShards, Table};
use crate::model::entry::Entry;
use crate::model::{Change, Key};
use crate::persistence::{DiskFault, Store};

/// The map, and the store that records its changes.
pub(super) struct Data {
    pub(super) table: Table,
    pub(super) store: Store,
    /// Who is told of changes that no command has made.
    pub(super) listener: OnceLock<Arc<dyn Listener>>,
}

impl Data {
    pub(super) fn new(table: Table, store: Store) -> Self {
        Self {
            table,
            store,
            listener: OnceLock::new(),
        }
    }

    /// Tells the listener of a change.
    pub(super) fn note(&self, key: &[u8], cause: Cause) {
        if let Some(listener) = self.listener.get() {
            listener.note(key, cause);
        }
    }

    /// Tells the listener that all pairs may have changed.
    pub(super) fn note_all(&self) {
        if let Some(listener) = self.listener.get() {
            listener.note_all();
        }
    }

    /// Removes the keys of these entries as one change, where what is there now is still to go: `is_due` compares it with the entry that
    /// was listed. Returns what is removed, and tells the listener the cause.
    ///
    /// # Errors
    /// [`DiskFault`], while the disk takes no changes; nothing is removed then.
    pub(super) fn remove(
        &self,
        listed: &[Entry],
        is_due: impl Fn(&Entry, &Entry) -> bool,
        (change, cause): (for<'k> fn(&'k [Key<'k>]) -> Change<'k>, Cause),
    ) -> Result<Vec<Entry>, DiskFault> {
        let keys: Vec<Key<'_>> = listed.iter().map(Entry::key).collect();
        let mut locked = LockedShards::lock(&self.table, &keys);
        // Between the look and the lock a key may have got a new value.
        let due = listed.iter().filter(|entry| {
            let there = locked.get(entry.key());
            there.is_some_and(|there| is_due(&there, entry))
        });
        let keys: Vec<Key<'_>> = due.map(Entry::key).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let change = self.store.append(self.store.encode(&change(&keys)))?;
        let removed = keys.iter().filter_map(|key| locked.remove(*key)).collect();
        locked.set_last_change(change);
        for key in &keys {
            self.note(key.as_bytes(), cause);
        }
        Ok(removed)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} keys)", self.table.live_keys())
    }
}
