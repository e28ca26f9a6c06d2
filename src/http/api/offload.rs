//! CPU-bound work on inputs of any length: long inputs must not delay the other requests of a thread of the runtime.
//!
//! In: the work and the length of its input. Out: its result.

/// Maximum length of an input, in bytes, that is processed on the calling thread.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Executes work on an input of `bytes` bytes, on a blocking thread if that is over [`INLINE_BYTES_MAX`].
pub async fn offload<R: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> R + Send + 'static,
) -> R {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it does not panic, and nobody aborts it")
}
