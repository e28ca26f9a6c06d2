//! Work that takes as long as its input is: long inputs are worked on beside the threads that serve other requests.

/// The longest input, in bytes, that is worked on at once.
const AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// Does work on so many bytes, on a thread of its own if they are many.
pub async fn offload<R: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> R + Send + 'static,
) -> R {
    if bytes <= AT_ONCE_BYTES_MAX {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it does not panic, and nobody aborts it")
}
