//! The file layer: every operation that persistence asks of a file system.
//!
//! In: paths and bytes. Out: what the operating system answers. A test's disk implements the two traits: it can count the
//! operations, fail the n-th of them, and know for every file what was written and what was synced.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
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
    /// User and group.
    pub owner: (u32, u32),
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
    /// Sets the time of modification, in nanoseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// Any error of the operating system.
    fn set_modified(&self, modified_ns: i128) -> io::Result<()>;
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
    /// Creates a folder in an existing one, which only its user may enter.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `NotFound` if the folder above is missing, or another error of the system.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Lists the names in a folder, in no order.
    ///
    /// # Errors
    /// `NotFound` if there is no such folder, `NotADirectory` if it is a file, or another error of the system.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Creates an empty file in place of any that has the name, never through a link. Its permissions and, where that is allowed,
    /// its owner are those of `like`; without one, only its user may read it.
    ///
    /// # Errors
    /// Any error of the operating system; there may be no file of that name then.
    fn create(&self, path: &Path, like: Option<&Stat>) -> io::Result<Arc<dyn File>>;
    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// `NotFound` if there is none; `InvalidInput` if it is a link, a folder, a pipe or the like, which is never waited for; or
    /// another error of the system.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a regular file for reading and appending.
    ///
    /// # Errors
    /// As [`Files::open`].
    fn open_to_append(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Returns the metadata of what has this name, which may be a link.
    ///
    /// # Errors
    /// `NotFound` if there is none, or another error of the system.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Returns the metadata of a folder, which the path may reach by links.
    ///
    /// # Errors
    /// `NotFound` if there is none, or another error of the system.
    fn stat_folder(&self, path: &Path) -> io::Result<Stat>;
    /// Returns the path of the file to which a name leads: where the name is no link, or nothing has it, the path itself.
    ///
    /// # Errors
    /// `InvalidInput` if it is a link that leads to nothing, or another error of the system.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
    /// Renames a file, in place of any that has the new name, or a folder, in place of an empty one.
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
    /// Removes an empty folder.
    ///
    /// # Errors
    /// `NotFound` if there is none, `DirectoryNotEmpty`, or another error of the system.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Syncs the names in a folder to the disk.
    ///
    /// # Errors
    /// Any error of the operating system; renames and removals may not survive a power cut then.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Opens a folder and locks it, whatever its name, against every other process, until the returned file is dropped. Where
    /// the file system locks no folders, as over some networks, it is only opened.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the lock, or another error of the system.
    fn lock_folder(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Locks a regular file against every other process, until the returned file is dropped. With a text, the file is created if
    /// it is missing and holds the text, which names the holder to other processes; without one it is not changed. A file that
    /// has a second name is replaced, not written to.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the lock; or as [`Files::open`].
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
