//! Limits that several families of commands share.

/// The most keys that one request may name, as many as Redis takes words: they are changed as one, under the locks of all their
/// shards at once.
pub const KEYS_PER_REQUEST_MAX: usize = 1 << 20;

/// The longest request, in bytes of its arguments, that shares the locks of a batch: a long value is recorded before any lock is
/// taken.
pub(super) const BATCHABLE_BYTES_MAX: usize = 4 << 10;
