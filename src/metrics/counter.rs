//! A counter, which one thread or many write to.
//!
//! In: additions. Out: the count. Promises: any thread may read it; it never decreases.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many threads write to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// This one alone: it need not be an atomic addition, which takes several times as long.
    One,
    /// Any number.
    Many,
}

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the counter.
    #[inline(always)]
    pub fn add(&self, more: u64, writers: Writers) {
        match writers {
            Writers::One => self.0.store(self.get().wrapping_add(more), Relaxed),
            Writers::Many => drop(self.0.fetch_add(more, Relaxed)),
        }
    }

    /// Returns the count.
    #[must_use]
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
