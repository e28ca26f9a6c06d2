//! The seam between recovery and the holder of the data.
//!
//! In: changes, as they are read back from disk by several threads. Out: the state that they leave. Persistence knows the
//! order of the changes; the implementor alone knows how its data is divided.

use crate::model::{Key, Value};

/// One piece of work that applies a part of a [`Batch`].
pub type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Receives what is read back from disk.
pub trait Load: Sync {
    /// Begins an empty batch. Each thread that reads fills one of its own.
    fn batch(&self) -> Box<dyn Batch<'_> + '_>;
    /// Announces about how many pairs there will be, so that room for them is made at once rather than in steps.
    fn expect(&self, pairs: u64);
    /// Returns the number of pairs so far.
    fn pairs(&self) -> u64;
    /// Returns the bytes of memory that the data may take, if there is a cap.
    fn memory_bytes_max(&self) -> Option<u64> {
        None
    }
}

/// Changes in the order of the file, not applied yet.
pub trait Batch<'a>: Send {
    /// Adds: the key now has this value.
    fn put(&mut self, key: Key<'_>, value: Value<'_>);
    /// Adds: the key is gone.
    fn delete(&mut self, key: Key<'_>);
    /// Adds: every key is gone, and no change before counts any more.
    fn clear(&mut self);
    /// Divides the changes into `parts` pieces of work. The pieces with one index are run in the order of their batches;
    /// those with different indices run at the same time. So all changes of a key must go to the same index.
    fn divide(self: Box<Self>, parts: usize) -> Vec<Work<'a>>;
}

/// Applies a batch on this thread.
pub fn apply(batch: Box<dyn Batch<'_> + '_>) {
    for work in batch.divide(1) {
        work();
    }
}
