//! The fingerprint of a snapshot, which the journal keeps because store.json itself, which people edit, holds no checksum.
//!
//! In: the bytes of a snapshot as they are read or written. Out: its length, checksum and time of modification. Promise:
//! content that differs while the time of modification does not is damage, as no editor leaves it; content that differs with
//! another time is an edit.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::persistence::disk::Stat;

/// The length, checksum and time of modification of a snapshot when it was written or read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFingerprint {
    /// Length in bytes.
    pub bytes: u64,
    /// CRC-32 of the whole file, in hexadecimal.
    pub crc: String,
    /// Time of modification, in nanoseconds since 1970-01-01 UTC; a string, because JSON readers round long numbers.
    pub modified: String,
}

/// A snapshot compared with those that this server has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It is one of them, or none was recorded.
    Unchanged,
    /// It was edited since, and is used as it is.
    Edited,
    /// It is neither: its content has changed while its time of modification has not.
    Damaged,
}

impl SnapshotFingerprint {
    /// Creates the fingerprint of a file that cannot be read as a whole. It equals that of no file that can.
    #[must_use]
    pub fn unread(stat: &Stat) -> Self {
        Self {
            bytes: stat.bytes,
            crc: format!("{:08x}", 0),
            modified: modified(stat),
        }
    }

    /// Returns true if a file has the length and the time of modification of this one.
    #[must_use]
    pub fn is_like(&self, stat: &Stat) -> bool {
        self.bytes == stat.bytes && self.modified == modified(stat)
    }

    /// Returns true if two files have the same content.
    #[must_use]
    pub fn is_same_content(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.crc == other.crc
    }

    /// Compares a file with all that were written.
    #[must_use]
    pub fn compare(&self, written: &[Self]) -> Comparison {
        if written.is_empty() || written.iter().any(|saved| saved.is_same_content(self)) {
            Comparison::Unchanged
        } else if written.iter().any(|saved| saved.modified == self.modified) {
            Comparison::Damaged
        } else {
            Comparison::Edited
        }
    }
}

/// Returns the time of modification of a file, as [`SnapshotFingerprint`] keeps it.
#[must_use]
pub fn modified(stat: &Stat) -> String {
    stat.modified_ns.to_string()
}

/// A reader or writer that counts and checksums the bytes that pass through.
pub struct Checksummed<T> {
    inner: T,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl<T> Checksummed<T> {
    /// Wraps a reader or writer from which nothing has been read, or to which nothing has been written.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            bytes: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Returns the fingerprint of what has passed through, as of a file with this metadata.
    pub fn fingerprint(self, stat: &Stat) -> SnapshotFingerprint {
        SnapshotFingerprint {
            bytes: self.bytes,
            crc: format!("{:08x}", self.crc.finalize()),
            modified: modified(stat),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc.update(bytes);
    }
}

impl Checksummed<()> {
    /// Appends another part of the file, of which length and checksum are known.
    pub fn combine(&mut self, bytes: u64, crc: &crc32fast::Hasher) {
        self.bytes += bytes;
        self.crc.combine(crc);
    }
}

impl<T: Read> Read for Checksummed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.add(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Checksummed<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.add(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
