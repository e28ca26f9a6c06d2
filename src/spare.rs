//! Memory that a thread keeps for its next buffers of a kind: to allocate and to free it for each request would take longer than the
//! rest of many requests.
//!
//! In: buffers that are done with. Out: empty ones, mostly with memory. Promise: of each kind a thread keeps 128 KiB at most.

use std::cell::{Cell, RefCell};
use std::thread::LocalKey;

use bytes::BytesMut;

/// Maximum size of the memory of the last buffer that a thread keeps, and of all others, in bytes. Several buffers are of use where
/// many requests wait for the disk together.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// Memory of one kind of buffer, for a `thread_local`.
pub struct Spare<B> {
    /// The buffer that was kept last, as mostly one is enough.
    last: Cell<Option<B>>,
    others: RefCell<Others<B>>,
}

struct Others<B> {
    buffers: Vec<B>,
    /// Sum of their memory.
    bytes: usize,
}

/// A buffer whose memory can be kept.
pub trait Buffer: Default {
    /// Returns its memory in bytes.
    fn memory_bytes(&self) -> usize;
    /// Empties it.
    fn clear(&mut self);
}

impl<T> Buffer for Vec<T> {
    #[inline(always)]
    fn memory_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }

    #[inline(always)]
    fn clear(&mut self) {
        self.clear();
    }
}

impl Buffer for BytesMut {
    #[inline(always)]
    fn memory_bytes(&self) -> usize {
        self.capacity()
    }

    #[inline(always)]
    fn clear(&mut self) {
        self.clear();
    }
}

impl<B: Buffer> Spare<B> {
    /// Makes a place where nothing is kept.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            last: Cell::new(None),
            others: RefCell::new(Others {
                buffers: Vec::new(),
                bytes: 0,
            }),
        }
    }

    /// Takes a buffer that this thread keeps; one without memory if there is none.
    #[must_use]
    #[inline(always)]
    pub fn take(of_thread: &'static LocalKey<Self>) -> B {
        // `try_with` is inlined where `with`, which panics in a thread that is ending, is not.
        let kept =
            of_thread.try_with(|spare| spare.last.take().unwrap_or_else(|| spare.take_other()));
        kept.unwrap_or_default()
    }

    /// Keeps the memory of a buffer for the next one.
    #[inline(always)]
    pub fn keep(of_thread: &'static LocalKey<Self>, mut buffer: B) {
        if (1..=SPARE_BYTES_MAX).contains(&buffer.memory_bytes()) {
            buffer.clear();
            // A thread that is ending keeps none.
            let _ = of_thread.try_with(|spare| {
                if let Some(before) = spare.last.replace(Some(buffer)) {
                    spare.keep_other(before);
                }
            });
        }
    }

    #[cold]
    fn take_other(&self) -> B {
        let others = &mut *self.others.borrow_mut();
        let buffer = others.buffers.pop().unwrap_or_default();
        others.bytes -= buffer.memory_bytes();
        buffer
    }

    #[cold]
    fn keep_other(&self, buffer: B) {
        let others = &mut *self.others.borrow_mut();
        let bytes = others.bytes + buffer.memory_bytes();
        if bytes <= SPARE_BYTES_MAX {
            others.bytes = bytes;
            others.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SPARE: Spare<Vec<u8>> = const { Spare::empty() };
    }

    #[test]
    fn buffers_are_kept_empty_up_to_a_sum_of_their_memory() {
        assert_eq!(Spare::take(&SPARE).capacity(), 0);
        for bytes in [SPARE_BYTES_MAX + 1, 0] {
            Spare::keep(&SPARE, vec![1; bytes]);
            assert_eq!(Spare::take(&SPARE).capacity(), 0, "{bytes} bytes");
        }
        for bytes in [SPARE_BYTES_MAX - 10, 10, 1, SPARE_BYTES_MAX] {
            Spare::keep(&SPARE, vec![1; bytes]);
        }
        for bytes in [SPARE_BYTES_MAX, 10, SPARE_BYTES_MAX - 10, 0] {
            let kept = Spare::take(&SPARE);
            assert_eq!((kept.len(), kept.capacity()), (0, bytes));
        }
    }
}
