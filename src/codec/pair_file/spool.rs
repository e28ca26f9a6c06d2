//! A source that can be read once, kept in a temporary file to be read again.
//!
//! In: bytes, as they are read. Out: the same from a file without a name, which is gone when it is dropped or the program ends. Promise: it
//! holds at most the bytes that it may.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};

/// Why the copy of a source has ended.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The source is longer than its copy may be.
    #[error("the file is longer than the {0} bytes that are kept of it to be checked as a whole")]
    TooLong(u64),
    /// There is no place for it.
    #[error(
        "cannot keep a copy in the folder for temporary files (TMPDIR), to check the file as a whole"
    )]
    Unwritable(#[source] io::Error),
}

/// A reader that keeps what it reads.
pub struct Spool<R> {
    source: R,
    copy: File,
    bytes_left: u64,
    bytes_max: u64,
}

impl<R: Read> Spool<R> {
    /// Begins a copy of at most so many bytes.
    ///
    /// # Errors
    /// [`SpoolError::Unwritable`] if there is no folder for temporary files.
    pub fn new(source: R, bytes_max: u64) -> Result<Self, SpoolError> {
        Ok(Self {
            source,
            copy: tempfile::tempfile().map_err(SpoolError::Unwritable)?,
            bytes_left: bytes_max,
            bytes_max,
        })
    }

    /// Returns the copy, to be read from its beginning.
    ///
    /// # Errors
    /// That of the file.
    pub fn into_copy(mut self) -> io::Result<File> {
        self.copy.rewind()?;
        Ok(self.copy)
    }
}

impl<R: Read> Read for Spool<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let left = self.bytes_left.checked_sub(count as u64);
        self.bytes_left =
            left.ok_or_else(|| io::Error::other(SpoolError::TooLong(self.bytes_max)))?;
        let written = self.copy.write_all(&buffer[..count]);
        written.map_err(|error| io::Error::other(SpoolError::Unwritable(error)))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_exactly_the_limit_is_kept_and_one_byte_more_is_not() {
        let mut spool = Spool::new(&b"12345678"[..], 8).expect("a temporary file");
        let mut read = Vec::new();
        spool.read_to_end(&mut read).expect("within the limit");
        let mut copy = Vec::new();
        let file = spool.into_copy().expect("a temporary file");
        (&file).read_to_end(&mut copy).expect("a temporary file");
        assert_eq!((read, copy), (b"12345678".to_vec(), b"12345678".to_vec()));
        let mut spool = Spool::new(&b"123456789"[..], 8).expect("a temporary file");
        let error = spool.read_to_end(&mut Vec::new()).expect_err("too long");
        assert!(
            error.to_string().contains("longer than the 8 bytes"),
            "{error}"
        );
    }
}
