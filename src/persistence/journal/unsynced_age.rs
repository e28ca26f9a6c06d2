//! The age of the oldest change that is not on disk, which `everysec` promises to be at most a second.
//!
//! In: writes and syncs. Out: that age, and the longest so far. Promise: reading it never waits for the disk.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct Waiting {
    /// When the oldest change was written that the running sync will bring to the disk.
    syncing_since: Option<Instant>,
    /// When the oldest change was written that only the next sync will.
    since: Option<Instant>,
    longest: Duration,
}

/// The age of the oldest change that a power cut would take.
#[derive(Debug, Default)]
pub struct UnsyncedAge(Mutex<Waiting>);

impl UnsyncedAge {
    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that changes were handed to the system.
    pub fn written(&self) {
        self.locked().since.get_or_insert_with(Instant::now);
    }

    /// Notes that a sync begins, of all that was written.
    pub fn sync_begins(&self) {
        let mut waiting = self.locked();
        let since = waiting.since.take();
        // What a failed sync has left is still waiting.
        waiting.syncing_since = waiting.syncing_since.or(since);
    }

    /// Notes that the sync succeeded.
    pub fn sync_ends(&self) {
        let mut waiting = self.locked();
        if let Some(since) = waiting.syncing_since.take() {
            waiting.longest = waiting.longest.max(since.elapsed());
        }
    }

    /// Notes that a snapshot holds all changes.
    pub fn reset(&self) {
        let mut waiting = self.locked();
        waiting.since = None;
        waiting.syncing_since = None;
    }

    /// Returns the age of the oldest change that is not on disk, and the longest that any has waited.
    #[must_use]
    pub fn get(&self) -> (Duration, Duration) {
        let waiting = self.locked();
        let oldest = waiting.syncing_since.or(waiting.since);
        let age = oldest.map_or(Duration::ZERO, |since| since.elapsed());
        (age, waiting.longest.max(age))
    }
}
