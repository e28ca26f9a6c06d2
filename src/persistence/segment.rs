//! One journal as a file that is written to.
//!
//! In: whole lines. Out: a file that ends in a whole line whatever fails, or is known not to. Promises: half a record that a
//! failing write has left is cut back; where that is not sure, or a sync has failed, `is_trusted` says so for good, as the
//! system may have dropped what the next sync then claims to have written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use super::folder::Folder;
use super::journal;
use super::replay;

/// A journal that is written to.
pub struct Segment {
    /// The file; shared with whoever syncs it, which is not done under a lock.
    pub file: Arc<File>,
    /// Where it is.
    pub path: PathBuf,
    /// Which journal.
    pub number: u64,
    /// Whether it still has the name of a new journal, as the one before it may not be on disk.
    pub is_new: bool,
    /// Whether all that was written can still be relied on.
    pub is_trusted: bool,
    /// The length of its whole lines.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
}

impl Segment {
    /// Makes a journal with its first line, under the name of a new one.
    ///
    /// # Errors
    /// What the system said; there may be a file without a whole first line then, which counts for nothing.
    pub fn create(folder: &Folder, number: u64, first_seq: u64) -> io::Result<Self> {
        let path = folder.join(&journal::new_name(number));
        let mut header = Vec::new();
        journal::write_header(number, first_seq, &mut header);
        // What an attempt that failed has left; a journal that holds a record is never made again.
        folder.remove(&path)?;
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)?;
        file.write_all(&header)?;
        let bytes = header.len() as u64;
        Ok(Self {
            file: Arc::new(file),
            path,
            number,
            is_new: true,
            is_trusted: true,
            bytes,
            records: 0,
        })
    }

    /// Goes on with a journal that was read back.
    ///
    /// # Errors
    /// What the system said.
    pub fn resume(read: &replay::Segment) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(&read.path)?;
        // What a killed server has left to the system is not on disk yet.
        let is_trusted = file.sync_all().is_ok();
        Ok(Self {
            file: Arc::new(file),
            path: read.path.clone(),
            number: read.number,
            is_new: false,
            is_trusted,
            bytes: read.bytes,
            records: read.records,
        })
    }

    /// Hands whole lines to the system: all of them, or none.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&mut self, lines: &[u8], records: u64) -> io::Result<()> {
        if let Err(error) = (&*self.file).write_all(lines) {
            self.is_trusted &= self.file.set_len(self.bytes).is_ok();
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.records += records;
        Ok(())
    }

    /// Gives it its final name; the folder is still to be synced.
    ///
    /// # Errors
    /// What the system said.
    pub fn rename(&mut self, folder: &Folder) -> io::Result<()> {
        let path = folder.join(&journal::name(self.number));
        fs::rename(&self.path, &path)?;
        self.path = path;
        self.is_new = false;
        Ok(())
    }
}
