//! Writing on the thread of a task that commits, instead of waking the thread that writes.
//!
//! In: tasks that want what they have appended written. Out: one of them writes for all, while the disk is quick. Promises: a
//! task never waits here for a slow disk, and what it has appended is written: by it, by another task, or by the thread that the caller wakes.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// A write that takes longer has waited for the disk.
const SLOW_WRITE: Duration = Duration::from_millis(1);

/// The most writes of one task for others before the thread takes over: its own client waits meanwhile.
const ROUNDS_MAX: usize = 16;

/// No task writes.
const IDLE: u8 = 0;
/// A task writes.
const WRITING: u8 = 1;
/// A task writes, and must look again, as more has been appended.
const WANTED: u8 = 2;

/// Decides which task writes, and whether any may.
#[derive(Debug, Default)]
pub struct DirectWrite {
    turn: AtomicU8,
    /// True after a write that waited for the disk.
    is_slow: AtomicBool,
    /// True while a sync runs: a write may have to wait for it.
    is_syncing: AtomicBool,
}

impl DirectWrite {
    /// Notes the duration of a write.
    pub fn note_write(&self, took: Duration) {
        self.is_slow.store(took > SLOW_WRITE, Ordering::Relaxed);
    }

    /// Runs a sync, during which no task writes.
    pub fn during_sync<R>(&self, sync: impl FnOnce() -> R) -> R {
        self.is_syncing.store(true, Ordering::Relaxed);
        let result = sync();
        self.is_syncing.store(false, Ordering::Relaxed);
        result
    }

    /// Returns true while a sync runs.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        self.is_syncing.load(Ordering::Relaxed)
    }

    /// Writes what all tasks have appended, on this thread, or leaves it to the task that is writing, which looks again.
    /// Returns false if the thread that writes must be woken: the disk is slow, or `try_lock` gave nothing.
    pub fn run<G>(&self, try_lock: impl Fn() -> Option<G>, write: impl Fn(G)) -> bool {
        // Exchanged, not stored: the task that writes sees what was appended by those whose WANTED it takes back.
        if self.turn.swap(WANTED, Ordering::AcqRel) != IDLE {
            return true;
        }
        for _ in 0..ROUNDS_MAX {
            if self.is_slow.load(Ordering::Relaxed) || self.is_syncing() {
                break;
            }
            // The holder of the lock may have taken the records before these came.
            let Some(locked) = try_lock() else {
                break;
            };
            self.turn.swap(WRITING, Ordering::AcqRel);
            write(locked);
            let ended =
                self.turn
                    .compare_exchange(WRITING, IDLE, Ordering::AcqRel, Ordering::Relaxed);
            if ended.is_ok() {
                return true;
            }
        }
        // What is left is for the thread, which the caller wakes now.
        self.turn.swap(IDLE, Ordering::AcqRel);
        false
    }
}
