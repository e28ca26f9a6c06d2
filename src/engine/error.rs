//! The errors of a change: what the engine refuses, and why.
//!
//! In: faults of the disk, and transactions over the limit of a record. Out: one error, whose text is fit for clients.

use crate::model::PairError;
use crate::persistence::{DiskFault, RECORD_BYTES_MAX};

/// A change was refused; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The disk takes no changes.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// There is no room under the cap on memory, and none can be made.
    #[error(
        "the data may take {cap} bytes of memory (--max-memory), and {bytes} more cannot be freed; nothing was changed"
    )]
    Full {
        /// The bytes that are needed.
        bytes: u64,
        /// The cap.
        cap: u64,
    },
    /// The changes of a transaction do not fit into one record, which may have [`RECORD_BYTES_MAX`] bytes.
    #[error(
        "these changes together take at least {bytes} bytes as one record, and may take {RECORD_BYTES_MAX}; nothing was changed"
    )]
    TooLarge {
        /// The length of their record, or a lower bound of it.
        bytes: usize,
    },
}

/// A record of another server cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The line is not one of the journal.
    #[error("it is no line of a journal")]
    Malformed,
    /// A record is missing.
    #[error("it is record {seq}, and {expected} is the next one")]
    Gap {
        /// Its number.
        seq: u64,
        /// The number of the next record.
        expected: u64,
    },
    /// A key or a value is over its limit.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The disk does not take it.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}
