//! How far a load is: told by whoever reads, asked by whoever waits.
//!
//! In: how many bytes there are to be read, then how many have been. Out: the share of them, for people. Promises: it never
//! goes back, and never over 100%; it costs a load nothing that can be measured, as it is told of whole blocks.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far a load is.
#[derive(Debug, Default)]
pub struct Progress {
    bytes_total: AtomicU64,
    bytes_read: AtomicU64,
}

impl Progress {
    /// Of a load that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// There are so many bytes to be read; said before the first is.
    pub fn expect(&self, bytes: u64) {
        self.bytes_total.store(bytes, Relaxed);
    }

    /// So many bytes more have been read.
    pub fn add(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    /// How much has been read, of a hundred; 0 while nobody knows how much there is.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let (read, total) = (
            self.bytes_read.load(Relaxed),
            self.bytes_total.load(Relaxed),
        );
        // A file that somebody lengthens meanwhile must not make it more than all.
        let hundredfold = u128::from(read.min(total)) * 100;
        let percent = hundredfold.checked_div(u128::from(total)).unwrap_or(0);
        u64::try_from(percent).expect("it is 100 at most")
    }
}

impl fmt::Display for Progress {
    /// As in `42% of 1,204,000,000 bytes`.
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

/// A reader that tells of what passes through, but for what has been told of already.
pub struct Counted<'a, R> {
    inner: R,
    progress: &'a Progress,
    told: u64,
}

impl<'a, R> Counted<'a, R> {
    /// Tells `progress` of what is read after the first `told` bytes.
    pub fn new(inner: R, progress: &'a Progress, told: u64) -> Self {
        Self {
            inner,
            progress,
            told,
        }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let again = self.told.min(count as u64);
        self.told -= again;
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
