//! How far a load has come, for those who wait for it.
//!
//! In: the bytes there are, and those that have been read. Out: a share of a hundred. Promise: reading it costs nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How much of a data folder has been read.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_total: AtomicU64,
    bytes_read: AtomicU64,
}

impl Progress {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// So many bytes are to be read.
    pub fn expect(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Relaxed);
    }

    /// So many more have been read.
    pub fn add(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    /// Bytes that are to be read.
    #[must_use]
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Relaxed)
    }

    /// How much has been read, of a hundred.
    #[must_use]
    pub fn percent(&self) -> u64 {
        // What is read twice, as a file in an unusual layout is, counts once.
        let (read, total) = (self.bytes_read.load(Relaxed), self.bytes_total());
        (read.saturating_mul(100) / total.max(1)).min(100)
    }
}
