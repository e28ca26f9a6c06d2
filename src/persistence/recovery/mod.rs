//! Recovery: reading a data folder back, at a start and for inspection, and mending what a crash may leave.
//!
//! In: a folder. Out: its changes, handed to a [`Load`], and where the journal ends. Promise: the whole folder is read before
//! any file is changed, and damage is told from what a crash leaves.

mod chunks;
mod error;
mod finding;
mod inspect;
mod key_form;
mod mend;
mod progress;
mod replay;
mod scan;
mod sink;
mod snapshot_reader;
mod start;

pub use error::{ReplayError, SnapshotError, StoreError};
pub use finding::Finding;
pub use inspect::{Inspection, inspect};
#[cfg(fuzzing)]
pub use key_form::SnapshotKeys;
pub use mend::mend;
pub use progress::Progress;
pub use replay::{Replayed, Trust};
pub use scan::ScannedSegment;
pub use sink::{Batch, Load, Work};
#[cfg(fuzzing)]
pub use snapshot_reader::read_snapshot;
pub use start::read_folder;
