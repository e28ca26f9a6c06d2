//! Work that takes long: requests of megabytes or of thousands of keys, and transactions of as many requests.
//!
//! In: the work and the number of bytes that it goes through. Out: its result. Promise: no other task waits for it, as another
//! thread takes the place of this one in the runtime; the system divides the processors among the threads.

/// Number of bytes from which on work is long: some milliseconds of the dearest kind.
const LONG_WORK_BYTES: usize = 256 << 10;

/// Executes work that goes through so many bytes.
pub fn execute<R>(bytes: usize, work: impl FnOnce() -> R) -> R {
    if bytes < LONG_WORK_BYTES {
        work()
    } else {
        tokio::task::block_in_place(work)
    }
}
