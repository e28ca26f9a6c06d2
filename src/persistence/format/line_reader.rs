//! A journal line by line, on one thread.
//!
//! In: a file, from an offset on. Out: its lines, without their line feeds. Promise: memory is bounded by the longest record.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use super::journal::RECORD_BYTES_MAX;
use crate::persistence::disk::{File, FileReader};

/// Bytes read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Memory that is kept for the next line after a long one, in bytes.
const LINE_BYTES_KEPT: usize = 1 << 20;

/// Reads the lines of a journal in order. The header, and what follows a fault, are read by it; whole journals by all cores.
pub struct LineReader {
    reader: BufReader<FileReader>,
    line: Vec<u8>,
    offset: u64,
}

impl LineReader {
    /// Creates a reader that begins at an offset.
    #[must_use]
    pub fn new(file: &Arc<dyn File>, offset: u64) -> Self {
        let reader = FileReader::new(Arc::clone(file), offset);
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            line: Vec::new(),
            offset,
        }
    }

    /// Returns the offset of the next line.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next line, without its line feed; `None` at the end of the file. A line without a line feed gets one byte
    /// more, so that its checksum cannot be right.
    ///
    /// # Errors
    /// Any error of the operating system while reading.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        self.line.shrink_to(LINE_BYTES_KEPT);
        let limit = RECORD_BYTES_MAX as u64;
        let count = (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut self.line)?;
        if count == 0 {
            return Ok(None);
        }
        self.offset += count as u64;
        match self.line.last() {
            Some(b'\n') => drop(self.line.pop()),
            _ => self.line.push(b' '),
        }
        Ok(Some(&self.line))
    }
}
