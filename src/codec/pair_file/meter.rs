//! The memory of the pair that is being read.
//!
//! In: numbers of bytes, as they are taken from the text. Out: calls of a function that may refuse more.

use std::cell::Cell;
use std::io;

/// Change in bytes from which on it is told.
const STEP_BYTES: usize = 1 << 20;
/// Copies of a pair that are in memory at once: its text, and what is parsed of it.
const COPIES: usize = 2;

/// A meter of the bytes of a pair.
pub struct Meter<'m> {
    /// Bytes of text since the last pair.
    pair_bytes: &'m Cell<usize>,
    told: usize,
    hold: Box<dyn FnMut(usize) -> io::Result<()> + 'm>,
}

impl<'m> Meter<'m> {
    /// Makes a meter that tells `hold`. Whoever takes a pair sets `pair_bytes` to 0.
    pub fn new(
        pair_bytes: &'m Cell<usize>,
        hold: impl FnMut(usize) -> io::Result<()> + 'm,
    ) -> Self {
        Self {
            pair_bytes,
            told: 0,
            hold: Box::new(hold),
        }
    }

    /// Counts bytes that were taken from the text.
    pub fn count(&self, bytes: usize) {
        self.pair_bytes.set(self.pair_bytes.get() + bytes);
    }

    /// Tells the bytes if they have changed by a step.
    ///
    /// # Errors
    /// Those of the function that is told.
    pub fn tell(&mut self) -> io::Result<()> {
        let steps = self.pair_bytes.get() / STEP_BYTES;
        if steps == self.told {
            return Ok(());
        }
        self.told = steps;
        (self.hold)(steps * STEP_BYTES * COPIES)
    }
}
