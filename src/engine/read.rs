//! The read of one entry under the lock of its shard.
//!
//! In: an entry that was found. Out: its value, shown or handed over. Promise: an expired entry is never shown.

use crate::model::entry::Entry;
use crate::model::{Value, now_ms};

/// The longest value that is copied into the reply under the lock, in bytes. A longer one is sent from its entry, in pieces.
pub const COPIED_BYTES_MAX: usize = 64 << 10;

/// The outcome of a read.
#[derive(Debug)]
pub enum ReadOutcome {
    /// The value was shown.
    Shown,
    /// The value is too long to be copied under the lock: this is its entry, to be sent in pieces.
    Long(Entry),
    /// There is no such key.
    Missing,
}

/// Shows the value of an entry, unless it is long or the entry has expired.
#[inline(always)]
pub(super) fn show_value(entry: &Entry, show: impl FnOnce(Value<'_>)) -> ReadOutcome {
    if has_expired(entry) {
        ReadOutcome::Missing
    } else if entry.value_bytes().len() > COPIED_BYTES_MAX {
        ReadOutcome::Long(entry.clone())
    } else {
        show(entry.value());
        ReadOutcome::Shown
    }
}

/// Returns whether an entry has expired by now.
#[inline(always)]
pub(super) fn has_expired(entry: &Entry) -> bool {
    // Only an entry that expires pays for a look at the clock.
    entry.expires_at().is_some() && entry.is_expired(now_ms())
}
