//! The progress of a load: written by the threads that read, read by those who wait.
//!
//! In: the number of bytes to read, then of those that were read. Out: their share, for people. Promises: it never goes back,
//! and never over 100%; it costs a load nothing that can be measured, as whole blocks are counted.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The progress of a load.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_total: AtomicU64,
    bytes_read: AtomicU64,
}

impl Progress {
    /// Creates the progress of a load that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of bytes to read, before the first is read.
    pub fn expect(&self, bytes: u64) {
        self.bytes_total.store(bytes, Relaxed);
    }

    /// Adds to the number of bytes read.
    pub fn add(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    /// Returns the share that has been read in percent; 0 until the total is set.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let (read, total) = (
            self.bytes_read.load(Relaxed),
            self.bytes_total.load(Relaxed),
        );
        // A file that grows meanwhile must not make it more than all.
        let hundredfold = u128::from(read.min(total)) * 100;
        let percent = hundredfold.checked_div(u128::from(total)).unwrap_or(0);
        u64::try_from(percent).expect("it is 100 at most")
    }
}

impl fmt::Display for Progress {
    /// Writes it as in `42% of 1,204,000,000 bytes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.bytes_total.load(Relaxed).to_string();
        write!(f, "{}% of ", self.percent())?;
        for (place, digit) in total.chars().enumerate() {
            if place > 0 && (total.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        f.write_str(" bytes")
    }
}

/// A reader that adds the bytes that pass through to a [`Progress`].
pub struct CountedReader<'a, R> {
    inner: R,
    progress: &'a Progress,
    counted: u64,
}

impl<'a, R> CountedReader<'a, R> {
    /// Wraps a reader whose first `counted` bytes have been added already.
    pub fn new(inner: R, progress: &'a Progress, counted: u64) -> Self {
        Self {
            inner,
            progress,
            counted,
        }
    }
}

impl<R: Read> Read for CountedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let again = self.counted.min(count as u64);
        self.counted -= again;
        self.progress.add(count as u64 - again);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn it_is_shown_in_hundredths_and_groups_of_three_digits() {
        for (read, total, shown) in [
            (0, 0, "0% of 0 bytes"),
            (7, 0, "0% of 0 bytes"),
            (0, 999, "0% of 999 bytes"),
            (998, 999, "99% of 999 bytes"),
            (425, 1_000, "42% of 1,000 bytes"),
            (1_204_000_000, 1_204_000_000, "100% of 1,204,000,000 bytes"),
            (12_346, 12_345, "100% of 12,345 bytes"),
            (
                u64::MAX,
                u64::MAX,
                "100% of 18,446,744,073,709,551,615 bytes",
            ),
        ] {
            let progress = Progress::new();
            progress.expect(total);
            progress.add(read);
            assert_eq!(progress.to_string(), shown);
        }
    }
}
