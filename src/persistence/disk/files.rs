//! The file layer: every operation that persistence asks of a file system.
//!
//! In: paths and bytes. Out: what the operating system answers. A test's disk implements the two traits: it can count the
//! operations, fail the n-th of them, and know for every file what was written and what was synced.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The metadata of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Length in bytes.
    pub bytes: u64,
    /// Time of the last modification, in nanoseconds since 1970-01-01 UTC; it tells an edit from damage.
    pub modified_ns: i128,
    /// Device and inode number: the same for two names of one file, different for a new file under an old name.
    pub id: (u64, u64),
    /// Permission bits.
    pub mode: u32,
}

/// An open file. It is written at its end only.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads at an offset, at most the length of the buffer. Returns the number of bytes read; 0 at the end of the file.
    ///
    /// # Errors
    /// `Interrupted` if a signal came first; any other error if the disk cannot be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Appends bytes. Returns the number of bytes taken, which may be fewer than were given.
    ///
    /// # Errors
    /// `Interrupted` if a signal came first; `StorageFull` on a full disk; any other error if the disk cannot be written.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Truncates the file to a length in bytes.
    ///
    /// # Errors
    /// Any error of the operating system; the length is unknown then.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Syncs content and length to the disk.
    ///
    /// # Errors
    /// Any error of the operating system. What was written before may be lost then, and a later sync that succeeds proves
    /// nothing, because the kernel may have dropped the pages.
    fn sync_data(&self) -> io::Result<()>;
    /// Syncs content and all metadata to the disk.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
    /// Returns the metadata of the file.
    ///
    /// # Errors
    /// Any error of the operating system.
    fn stat(&self) -> io::Result<Stat>;
}

/// A file system.
pub trait Files: fmt::Debug + Send + Sync {
    /// Creates a folder in an existing one.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `NotFound` if the folder above is missing, or another error of the system.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Lists the names in a folder, in no order.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder, `NotADirectory` if it is a file, or another error of the system.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Creates an empty file in place of any that has the name, with these permission bits if they are given.
    ///
    /// # Errors
    /// Any error of the operating system; there may be no file of that name then.
    fn create(&self, path: &Path, mode: Option<u32>) -> io::Result<Arc<dyn File>>;
    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound` if there is none, or another error of the system.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file for reading and appending.
    ///
    /// # Errors
    /// `NotFound` if there is none, or another error of the system.
    fn open_to_append(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Returns the metadata of a file or folder.
    ///
    /// # Errors
    /// `NotFound` if there is none, or another error of the system.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Renames a file, in place of any that has the new name.
    ///
    /// # Errors
    /// `NotFound` if there is none, or another error of the system; the names are as they were then.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name (a hard link).
    ///
    /// # Errors
    /// Any error of the operating system; some file systems have no hard links.
    fn link(&self, path: &Path, second: &Path) -> io::Result<()>;
    /// Removes a name.
    ///
    /// # Errors
    /// `NotFound` if there is none, or another error of the system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Syncs the names in a folder to the disk.
    ///
    /// # Errors
    /// Any error of the operating system; renames and removals may not survive a power cut then.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Locks a file against every other process, until the returned file is dropped. With a text, the file is created if it
    /// is missing and holds the text, which names the holder to other processes; without one it is not changed.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the lock, with that one's text as message; or another error of the system.
    fn lock(&self, path: &Path, text: Option<&str>) -> io::Result<Arc<dyn File>>;
}

/// Appends all bytes.
///
/// # Errors
/// The first error of [`File::append`] other than `Interrupted`, or `WriteZero` if it takes nothing. A part may have been
/// written then.
pub fn append_all(file: &dyn File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.append(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills a buffer from an offset. Returns the number of bytes read: fewer than the buffer holds only at the end of the file.
///
/// # Errors
/// The first error of [`File::read_at`] other than `Interrupted`.
pub fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A sequential reader of a file.
#[derive(Debug)]
pub struct FileReader {
    file: Arc<dyn File>,
    offset: u64,
}

impl FileReader {
    /// Creates a reader that begins at an offset.
    #[must_use]
    pub fn new(file: Arc<dyn File>, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl io::Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
