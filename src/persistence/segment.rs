//! One journal as a file that is written to.
//!
//! In: whole lines. Out: a file that ends in a whole line whatever fails, or is known not to. Promises: half a record that a
//! failing write has left is cut back; where that is not sure, or a sync has failed, `is_trusted` says so for good, as the
//! system may have dropped what the next sync then claims to have written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::{File, Stat, append_all};
use super::folder::Folder;
use super::journal;
use super::scan;

/// A journal that is written to.
#[derive(Debug)]
pub struct Segment {
    /// The file; shared with whoever syncs it, which is not done under a lock.
    pub file: Arc<dyn File>,
    /// Where it is.
    pub path: PathBuf,
    /// Which journal.
    pub number: u64,
    /// Whether it has the name of a new journal: it, or the one before it, may not be on disk.
    pub is_new: bool,
    /// Whether all that was written can still be relied on.
    pub is_trusted: bool,
    /// The number of its first record.
    pub first_seq: u64,
    /// The length of its whole lines.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// Up to which record the last mark, or the name, says that all is on disk.
    pub marked: u64,
}

impl Segment {
    /// Makes a journal without its first line, under the name of a new one.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(folder: &Folder, number: u64) -> io::Result<Self> {
        let path = folder.join(&journal::new_name(number));
        // What an attempt that failed has left goes; a journal that holds a record is never made again.
        let file = folder.files().create(&path, None)?;
        Ok(Self {
            file,
            path,
            number,
            is_new: true,
            is_trusted: true,
            first_seq: 0,
            bytes: 0,
            records: 0,
            marked: 0,
        })
    }

    /// Writes its first line.
    ///
    /// # Errors
    /// What the system said; there may be a file without a whole first line then, which counts for nothing.
    pub fn begin(&mut self, first_seq: u64) -> io::Result<()> {
        let mut header = Vec::new();
        journal::write_header(self.number, first_seq, &mut header);
        append_all(&*self.file, &header)?;
        self.first_seq = first_seq;
        self.bytes = header.len() as u64;
        self.marked = first_seq - 1;
        Ok(())
    }

    /// Goes on with a journal that was read back.
    ///
    /// # Errors
    /// What the system said.
    pub fn resume(folder: &Folder, read: &scan::Segment) -> io::Result<Self> {
        let file = folder.files().open_to_append(&read.path)?;
        // What a killed server has left to the system is not on disk yet.
        let is_trusted = file.sync_all().is_ok();
        Ok(Self {
            file,
            path: read.path.clone(),
            number: read.number,
            is_new: false,
            is_trusted,
            first_seq: read.first_seq,
            bytes: read.bytes,
            records: read.records,
            marked: read.first_seq - 1,
        })
    }

    /// Hands whole lines to the system: all of them, or none.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&mut self, lines: &[u8], records: u64) -> io::Result<()> {
        if let Err(error) = append_all(&*self.file, lines) {
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
    pub fn settle(&mut self, folder: &Folder) -> io::Result<()> {
        self.rename(folder, &journal::name(self.number))?;
        self.is_new = false;
        Ok(())
    }

    /// Takes its final name from it, so that the doubt outlives the server. Where even that fails, nothing more can be done.
    pub fn distrust(&mut self, folder: &Folder) {
        self.is_trusted = false;
        let id = |stat: io::Result<Stat>| stat.ok().map(|stat| stat.id);
        // In a folder that has come in the place of ours, another server's journal may have the name.
        let is_ours = id(folder.files().stat(&self.path)) == id(self.file.stat());
        if !self.is_new && is_ours && self.rename(folder, &journal::new_name(self.number)).is_ok() {
            self.is_new = true;
            let _ = folder.sync();
        }
    }

    fn rename(&mut self, folder: &Folder, name: &str) -> io::Result<()> {
        let path = folder.join(name);
        folder.files().rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }
}
