//! Work that takes long: requests of megabytes or of thousands of keys, and transactions of as many requests.
//!
//! In: the work and the number of bytes that it goes through. Out: its result. Promises: no other task waits for it, as another
//! thread takes the place of this one in the runtime; the system divides the processors among the threads. Requests that are long
//! together have their turns one after the other, until their changes are in the journal, so that a short request waits for few of
//! them there, and few of their records are in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of bytes from which on work is long: some milliseconds of the dearest kind.
const LONG_WORK_BYTES: usize = 256 << 10;
/// Number of bytes of the long requests that are executed at the same time. A single one may be longer.
const TURN_BYTES: usize = 16 << 20;
/// Size of a permit in bytes.
const PERMIT_BYTES: usize = 1 << 10;

/// Returns true if work that goes through so many bytes is long.
#[must_use]
#[inline(always)]
pub fn is_long(bytes: usize) -> bool {
    bytes >= LONG_WORK_BYTES
}

/// Executes work that goes through so many bytes.
#[inline(always)]
pub fn execute<R>(bytes: usize, work: impl FnOnce() -> R) -> R {
    if is_long(bytes) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Turns of long requests.
#[derive(Debug)]
pub struct Turns(Arc<Semaphore>);

/// Turn of a long request, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _permits: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TURN_BYTES / PERMIT_BYTES)))
    }
}

impl Turns {
    /// Waits for the turn of requests of so many bytes; they need none if they are short.
    pub async fn wait(&self, bytes: usize) -> Option<Turn> {
        if !is_long(bytes) {
            return None;
        }
        let permits = bytes.min(TURN_BYTES) / PERMIT_BYTES;
        let permits = u32::try_from(permits).expect("the turns have fewer");
        let permits = Arc::clone(&self.0).acquire_many_owned(permits).await;
        Some(Turn {
            _permits: permits.expect("nobody closes the semaphore"),
        })
    }
}
