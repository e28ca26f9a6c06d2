//! The engine of a server that shares its log with others: the member of a cluster whose log etcd keeps.
//!
//! In: what the log has. Out: the pairs that it says, and no others. Promise: a change that the log did not get is taken back.

use std::sync::Arc;

use super::Engine;
use super::data::Data;
use super::load::Loading;
use super::map::{LockedShards, SHARDS};
use crate::persistence::{LogGate, LoggedLines, Progress, StoreError};

impl Engine {
    /// Returns the number of the term: a time in which the role of this server did not change.
    #[must_use]
    #[inline(always)]
    pub fn term(&self) -> u64 {
        self.gate().term()
    }

    /// Returns the gate before the log.
    #[must_use]
    pub fn gate(&self) -> &Arc<LogGate> {
        self.data.store.gate()
    }

    /// Takes the records that have been appended, which the log is to get. To be called by one task alone.
    #[must_use]
    pub fn take_for_log(&self) -> LoggedLines {
        self.data.store.take_for_log()
    }

    /// Notes that the log has these records: replies may leave that report them.
    pub fn note_logged(&self, lines: &LoggedLines) {
        self.data.store.note_logged(lines);
    }

    /// Applies lines of the log, each with its line feed; records that are here already are passed over.
    ///
    /// # Errors
    /// [`ApplyError`](super::ApplyError); the lines before are applied then.
    pub fn apply_logged(&self, lines: &[u8]) -> Result<(), super::ApplyError> {
        let mut applied = Ok(());
        for line in lines.split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                applied = self.apply(line);
            }
            if applied.is_err() {
                break;
            }
        }
        let here = self.take_for_log();
        if !here.bytes.is_empty() {
            self.note_logged(&here);
        }
        applied
    }

    /// Takes changes of clients no more. Returns once those that were admitted have been appended.
    pub fn stop_changes(&self) {
        self.data.store.gate().stop_changes();
        drop(LockedShards::lock_all(&self.data.table));
    }

    /// Takes changes of clients no more, and discards those that the log does not have. Returns true if there were any: the pairs must be
    /// loaded anew then. Waits for all who hold locks.
    #[must_use]
    pub fn follow_log(&self) -> bool {
        let _all = LockedShards::lock_all(&self.data.table);
        self.data.store.follow_log()
    }

    /// Loads all pairs again from the folder, which has what the log has. No client may use the data meanwhile.
    ///
    /// # Errors
    /// [`StoreError`], if the folder does not have all: the pairs have to be replaced then.
    pub fn reload(&self, progress: &Progress) -> Result<(), StoreError> {
        let Data { table, store, .. } = &*self.data;
        let clear = || (0..SHARDS).for_each(|shard| table.clear_shard(shard));
        store.reload(clear, &Loading::new(table), progress)?;
        for shard in 0..SHARDS {
            table.set_last_change(shard, store.appended());
        }
        self.data.note_all();
        Ok(())
    }

    /// Returns the last record that is on this disk.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.data.store.synced()
    }
}
