//! The journal file that is appended to.
//!
//! In: whole lines. Out: a file that ends in a whole line whatever fails, or is reported not to. Promise: half a record that
//! a failed write has left is cut back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::persistence::disk::{File, Folder, append_all};
use crate::persistence::format::{JournalName, Timeline, write_header, write_timeline};
use crate::persistence::recovery::ScannedSegment;

/// A journal file that is appended to.
#[derive(Debug)]
pub struct Segment {
    /// The file; shared with the thread that syncs it, which does so without a lock.
    pub file: Arc<dyn File>,
    /// Device and inode number of the file.
    id: (u64, u64),
    /// Its path.
    pub path: PathBuf,
    /// N of its name.
    pub number: u64,
    /// The number of its first record.
    pub first_seq: u64,
    /// The length of its whole lines in bytes.
    pub bytes: u64,
    /// The number of its records.
    pub records: u64,
    /// The last record that a mark in it, or its final name, says is on disk.
    pub marked: u64,
    is_provisional: bool,
}

/// A write that failed.
#[derive(Debug)]
pub enum WriteError {
    /// The file was cut back to its last whole line.
    CutBack(io::Error),
    /// The file could not be cut back: its end is unknown.
    Unknown(io::Error),
}

impl Segment {
    /// Creates a provisional journal without header, with the permissions of the one before it, if there is one.
    ///
    /// # Errors
    /// Any error of the operating system while creating the file.
    pub fn create(folder: &Folder, number: u64, before: Option<&dyn File>) -> io::Result<Self> {
        let path = folder.join(&JournalName::provisional(number).to_string());
        let like = before.map(File::stat).transpose()?;
        // It may replace what a failed attempt has left; a journal that holds a record never gets its number again.
        let file = folder.files().create(&path, like.as_ref())?;
        Ok(Self {
            id: file.stat()?.id,
            file,
            path,
            number,
            first_seq: 0,
            bytes: 0,
            records: 0,
            marked: 0,
            is_provisional: true,
        })
    }

    /// Writes the header, and the timelines of the records before.
    ///
    /// # Errors
    /// Any error of the operating system while writing; a journal without a whole header counts for nothing.
    pub fn begin(&mut self, first_seq: u64, timelines: &[Timeline]) -> io::Result<()> {
        let mut header = Vec::new();
        write_header(self.number, first_seq, &mut header);
        for timeline in timelines {
            write_timeline(timeline, &mut header);
        }
        append_all(&*self.file, &header)?;
        self.first_seq = first_seq;
        self.bytes = header.len() as u64;
        self.marked = first_seq - 1;
        Ok(())
    }

    /// Opens a journal that was read back, to append to it.
    ///
    /// # Errors
    /// Any error of the operating system while opening the file.
    pub fn resume(folder: &Folder, read: &ScannedSegment) -> io::Result<Self> {
        let provisional = folder.join(&JournalName::provisional(read.number).to_string());
        let file = folder.files().open_to_append(&read.path)?;
        Ok(Self {
            id: file.stat()?.id,
            file,
            is_provisional: read.path == provisional,
            path: read.path.clone(),
            number: read.number,
            first_seq: read.first_seq,
            bytes: read.bytes,
            records: read.records,
            marked: read.first_seq - 1,
        })
    }

    /// Hands whole lines to the system: all of them, or none.
    ///
    /// # Errors
    /// [`WriteError::CutBack`] if the system did not take them and the file is as before; [`WriteError::Unknown`] if it may
    /// end in a part of them.
    pub fn write(&mut self, lines: &[u8], records: u64) -> Result<(), WriteError> {
        if let Err(error) = append_all(&*self.file, lines) {
            return Err(match self.file.set_len(self.bytes) {
                Ok(()) => WriteError::CutBack(error),
                Err(_) => WriteError::Unknown(error),
            });
        }
        self.bytes += lines.len() as u64;
        self.records += records;
        Ok(())
    }

    /// Checks that the file is still the one under its name. It costs one call of the system.
    ///
    /// # Errors
    /// `NotFound` if nothing has its name, or something else; any other error of the system.
    pub fn check_name(&self, folder: &Folder) -> io::Result<()> {
        if folder.files().stat(&self.path)?.id == self.id {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "another file has its name",
        ))
    }

    /// Gives it its final name; the folder must be synced after it.
    ///
    /// # Errors
    /// Any error of the operating system while renaming.
    pub fn finalize_name(&mut self, folder: &Folder) -> io::Result<()> {
        self.rename(folder, JournalName::settled(self.number))
    }

    /// Takes its final name from it, so that the doubt about its content outlives the server. Where that fails, nothing more
    /// can be done.
    pub fn poison(&mut self, folder: &Folder) {
        // If the folder was replaced, the name may be that of another server's journal.
        let is_ours = self.check_name(folder).is_ok();
        let provisional = JournalName::provisional(self.number);
        if is_ours && (self.is_provisional || self.rename(folder, provisional).is_ok()) {
            // A provisional name may itself not be on disk yet.
            let _ = folder.sync();
        }
    }

    fn rename(&mut self, folder: &Folder, name: JournalName) -> io::Result<()> {
        let path = folder.join(&name.to_string());
        folder.files().rename(&self.path, &path)?;
        self.path = path;
        self.is_provisional = name.is_provisional;
        Ok(())
    }
}
