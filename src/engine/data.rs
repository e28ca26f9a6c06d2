//! The two halves of the engine's state: the map in memory and the store on disk.
//!
//! Transactions, batches, scans, expiry and snapshots work on both and know nothing of the engine that owns them.

use std::fmt;

use super::map::Table;
use crate::persistence::Store;

/// The map, and the store that records its changes.
pub(super) struct Data {
    pub(super) table: Table,
    pub(super) store: Store,
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} keys)", self.table.live_keys())
    }
}
