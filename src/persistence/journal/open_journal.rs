//! The open journal: the file that is appended to, what is being written to it, and the files before it.
//!
//! In: lines from the tail. Out: where each record stands, and the size of all journals. It is held under one lock, which is
//! held while the file is written to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::pending::Tail;
use super::segment::Segment;
use crate::persistence::disk::{File, Files};
use crate::persistence::format::{Records, write_mark};

/// A journal that can be read.
#[derive(Debug, Clone)]
pub struct JournalFile {
    /// The number of its first record.
    pub first_seq: u64,
    /// The file, which may have no name any more.
    pub file: Arc<dyn File>,
}

/// A journal that is not appended to any more, until a save has replaced it.
#[derive(Debug, Clone)]
pub struct OlderJournal {
    /// Its path.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// The number of its first record; `None` if nothing in it is used.
    pub first_seq: Option<u64>,
    /// The open file, from just before its name is removed, if followers may need it.
    pub file: Option<Arc<dyn File>>,
}

/// The journal that is appended to, and those before it.
#[derive(Debug)]
pub struct OpenJournal {
    /// The file.
    pub segment: Segment,
    /// Room for the records that are taken from the tail; none between two calls.
    pub taken: Records,
    /// Their lines: they are being written, or could not be.
    pub lines: Vec<u8>,
    /// The number of the last record among them.
    pub lines_seq: u64,
    /// Bytes written since the last sync began.
    pub unsynced_bytes: usize,
    /// The highest number that a journal has had.
    pub highest: u64,
    /// The journals before, oldest first.
    pub older: Vec<OlderJournal>,
}

impl OpenJournal {
    /// Takes the records that wait in the tail.
    pub fn take_lines(&mut self, tail: &Tail) {
        (_, self.lines_seq) = tail.take_lines(&mut self.taken, &mut self.lines);
    }

    /// Adds a mark to the lines, if more is on disk than the last one says.
    pub fn mark(&mut self, synced: u64) {
        if synced > self.segment.marked && !self.lines.is_empty() {
            write_mark(synced, &mut self.lines);
            self.segment.marked = synced;
        }
    }

    /// Goes on in another file. Returns the one before.
    pub fn switch_to(&mut self, next: Segment) -> Arc<dyn File> {
        self.highest = next.number;
        let before = std::mem::replace(&mut self.segment, next);
        self.older.push(OlderJournal {
            path: before.path,
            bytes: before.bytes,
            first_seq: Some(before.first_seq),
            file: None,
        });
        before.file
    }

    /// Finds the file in which a record stands, or would stand as the next one; `None` if it is in none of these any more.
    ///
    /// # Errors
    /// Any error of the operating system, other than `NotFound`, while opening the file.
    pub fn find(&self, seq: u64, files: &dyn Files) -> io::Result<Option<JournalFile>> {
        let Segment {
            first_seq, file, ..
        } = &self.segment;
        if *first_seq <= seq {
            return Ok(Some(JournalFile {
                first_seq: *first_seq,
                file: Arc::clone(file),
            }));
        }
        let mut newest_first = self.older.iter().rev();
        let found = newest_first.find_map(|older| {
            let first_seq = older.first_seq.filter(|first_seq| *first_seq <= seq)?;
            Some((first_seq, older))
        });
        let Some((first_seq, older)) = found else {
            return Ok(None);
        };
        // One that is being removed may have no name any more.
        let file = match &older.file {
            Some(file) => Ok(Arc::clone(file)),
            None => files.open(&older.path),
        };
        match file {
            Ok(file) => Ok(Some(JournalFile { first_seq, file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the number of the first record of the journal after the one that holds a record; `None` if it is the last.
    #[must_use]
    pub fn next_begin(&self, seq: u64) -> Option<u64> {
        let older = self.older.iter().filter_map(|older| older.first_seq);
        let mut begins = older.chain([self.segment.first_seq]);
        begins.find(|first_seq| *first_seq > seq)
    }

    /// Returns the extent of this journal and those before it.
    #[must_use]
    pub fn extent(&self) -> Extent {
        let older_bytes: u64 = self.older.iter().map(|older| older.bytes).sum();
        let first_seq = self.older.iter().find_map(|older| older.first_seq);
        Extent {
            first_seq: first_seq.unwrap_or(self.segment.first_seq),
            bytes: older_bytes + self.segment.bytes,
            segments: self.older.len() as u64 + 1,
        }
    }
}

/// The extent of all journals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// The number of the first record in them.
    pub first_seq: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Their number.
    pub segments: u64,
}
