//! Journals that saves have removed and that are kept open for followers.
//!
//! In: journals without a name, and how many follow. Out: the one that holds a record. Promises: only while there are
//! followers is any kept, or once there was a replica, which may come back; at most [`JOURNALS_MAX`] of them and [`BYTES_MAX`] bytes, so
//! that a follower who is a few saves behind goes on, and the disk does not fill with space that no one sees.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::open_journal::JournalFile;

/// The most journals that are kept.
const JOURNALS_MAX: usize = 16;

/// The most bytes of all of them.
const BYTES_MAX: u64 = 64 << 20;

/// The last journals that saves have removed, oldest first, each with its length in bytes.
#[derive(Debug, Default)]
pub struct Retained {
    journals: Mutex<VecDeque<(JournalFile, u64)>>,
    followers: AtomicUsize,
    /// True once there was a replica.
    was_replicated: AtomicBool,
}

impl Retained {
    fn locked(&self) -> MutexGuard<'_, VecDeque<(JournalFile, u64)>> {
        self.journals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one follower more.
    pub fn add_follower(&self) {
        self.followers.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one follower less; after the last one nothing is kept.
    pub fn remove_follower(&self) {
        if self.followers.fetch_sub(1, Ordering::Relaxed) == 1 && !self.is_needed() {
            self.clear();
        }
    }

    /// Notes that there is a replica, or was one.
    pub fn note_replica(&self) {
        self.was_replicated.store(true, Ordering::Relaxed);
    }

    /// Returns true if there are followers, or a replica may come back.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0 || self.was_replicated.load(Ordering::Relaxed)
    }

    /// Keeps one more, and drops the oldest beyond the limits.
    pub fn push(&self, journal: JournalFile, bytes: u64) {
        let mut journals = self.locked();
        journals.push_back((journal, bytes));
        while journals.len() > JOURNALS_MAX
            || journals.iter().map(|(_, bytes)| bytes).sum::<u64>() > BYTES_MAX
        {
            journals.pop_front();
        }
    }

    /// Drops all.
    pub fn clear(&self) {
        self.locked().clear();
    }

    /// Returns the last journal that begins at or before a record.
    #[must_use]
    pub fn find(&self, seq: u64) -> Option<JournalFile> {
        let journals = self.locked();
        let mut newest_first = journals.iter().rev().map(|(journal, _)| journal);
        newest_first
            .find(|journal| journal.first_seq <= seq)
            .cloned()
    }
}
