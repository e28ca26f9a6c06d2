//! Limits that several families of commands share.

/// Maximum number of keys of one request, which is Redis's maximum number of arguments: they are changed atomically, under the
/// locks of all their shards.
pub const KEYS_PER_REQUEST_MAX: usize = 1 << 20;

/// Maximum length of a request that shares the locks of a batch, in bytes of its arguments: a longer value is encoded for the
/// journal before a lock is taken.
pub(super) const BATCHABLE_BYTES_MAX: usize = 4 << 10;
