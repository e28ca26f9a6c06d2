//! How long changes have been waiting for the disk: what `everysec` promises to be at most a second.
//!
//! In: writes and syncs. Out: the age of the oldest change that is not on disk. Promise: reading it waits for nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct Waiting {
    /// Since when changes wait that the sync which is running will bring to the disk.
    syncing_since: Option<Instant>,
    /// Since when changes wait that only the next one will.
    since: Option<Instant>,
    longest: Duration,
}

/// The window of changes that a power cut would take.
#[derive(Debug, Default)]
pub struct Window(Mutex<Waiting>);

impl Window {
    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes have been handed to the system.
    pub fn written(&self) {
        self.locked().since.get_or_insert_with(Instant::now);
    }

    /// A sync begins, of all that has been written.
    pub fn sync_begins(&self) {
        let mut waiting = self.locked();
        let since = waiting.since.take();
        // What a sync that failed has left is waiting on.
        waiting.syncing_since = waiting.syncing_since.or(since);
    }

    /// That sync has succeeded.
    pub fn sync_ends(&self) {
        let mut waiting = self.locked();
        if let Some(since) = waiting.syncing_since.take() {
            waiting.longest = waiting.longest.max(since.elapsed());
        }
    }

    /// A snapshot holds it all: nothing waits.
    pub fn reset(&self) {
        let mut waiting = self.locked();
        waiting.since = None;
        waiting.syncing_since = None;
    }

    /// The age of the oldest change that is not on disk; and the longest that any has waited.
    #[must_use]
    pub fn age(&self) -> (Duration, Duration) {
        let waiting = self.locked();
        let oldest = waiting.syncing_since.or(waiting.since);
        let age = oldest.map_or(Duration::ZERO, |since| since.elapsed());
        (age, waiting.longest.max(age))
    }
}
