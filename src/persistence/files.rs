//! The file layer: all that persistence asks of a disk, so that a test can put one in its place that fails, or loses power.
//!
//! In: paths and bytes. Out: what the system says. Promises: nothing else in `persistence` touches a file. A test's disk can
//! therefore count the operations, let the n-th of them fail, and know of every file what was written and what was synced.

use std::fmt;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

/// What the system knows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its length.
    pub bytes: u64,
    /// When its content was last changed, in nanoseconds since 1970-01-01 UTC; an edit is told from damage by it.
    pub modified_ns: i128,
    /// Device and number: the same for two names of one file, another for a new file under an old name.
    pub id: (u64, u64),
    /// The bits of its permissions.
    pub mode: u32,
}

/// An open file. It is written at its end only.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads from an offset, up to the length of the buffer; 0 at the end.
    ///
    /// # Errors
    /// What the system said.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Hands bytes to the system; how many it took, which may be fewer.
    ///
    /// # Errors
    /// What the system said.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to this length.
    ///
    /// # Errors
    /// What the system said.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Brings what was written to the disk: content and length.
    ///
    /// # Errors
    /// What the system said. What was written before may be lost then, and a later sync that succeeds proves nothing.
    fn sync_data(&self) -> io::Result<()>;
    /// Brings the file to the disk with all that the system knows of it.
    ///
    /// # Errors
    /// As `sync_data`.
    fn sync_all(&self) -> io::Result<()>;
    /// What the system knows of it.
    ///
    /// # Errors
    /// What the system said.
    fn stat(&self) -> io::Result<Stat>;
}

/// A disk.
pub trait Files: fmt::Debug + Send + Sync {
    /// Makes a folder in one that is there.
    ///
    /// # Errors
    /// What the system said.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder.
    ///
    /// # Errors
    /// What the system said.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes a file, empty, in the place of any that has the name; with these permissions, if they are given.
    ///
    /// # Errors
    /// What the system said.
    fn create(&self, path: &Path, mode: Option<u32>) -> io::Result<Arc<dyn File>>;
    /// Opens a file to be read.
    ///
    /// # Errors
    /// What the system said.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file to be read and written on.
    ///
    /// # Errors
    /// What the system said.
    fn open_to_append(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// What the system knows of a file or folder.
    ///
    /// # Errors
    /// What the system said.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Gives a file another name, in the place of what had it.
    ///
    /// # Errors
    /// What the system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    ///
    /// # Errors
    /// What the system said; some disks cannot.
    fn link(&self, path: &Path, second: &Path) -> io::Result<()>;
    /// Takes a name away.
    ///
    /// # Errors
    /// What the system said.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Brings the names in a folder to the disk.
    ///
    /// # Errors
    /// What the system said.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Locks a file against every other process, for as long as the return value lives. The text is for whoever is kept out;
    /// with one the file is made if it is not there, without one it is not changed.
    ///
    /// # Errors
    /// `WouldBlock` if another has the lock, with that one's text; or what the system said.
    fn lock(&self, path: &Path, text: Option<&str>) -> io::Result<Arc<dyn File>>;
}

/// The system's files.
#[derive(Debug)]
pub struct System;

fn opened(file: fs::File) -> Arc<dyn File> {
    Arc::new(file)
}

fn stat_of(metadata: &fs::Metadata) -> Stat {
    Stat {
        bytes: metadata.len(),
        modified_ns: i128::from(metadata.mtime()) * 1_000_000_000
            + i128::from(metadata.mtime_nsec()),
        id: (metadata.dev(), metadata.ino()),
        mode: metadata.mode(),
    }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        fs::File::set_len(self, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        fs::File::sync_all(self)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&self.metadata()?))
    }
}

impl Files for System {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, path: &Path, mode: Option<u32>) -> io::Result<Arc<dyn File>> {
        // What is there may be open elsewhere, or a second name of something that is to be kept.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o666)
            .open(path)?;
        if let Some(mode) = mode {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
        Ok(opened(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        fs::File::open(path).map(opened)
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .open(path)
            .map(opened)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&fs::metadata(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, path: &Path, second: &Path) -> io::Result<()> {
        fs::hard_link(path, second)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path, text: Option<&str>) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(text.is_some())
            .create(text.is_some())
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(path).unwrap_or_default();
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    holder.trim().to_owned(),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if let Some(text) = text {
            // Who holds it is a help to people, nothing that anything relies on.
            let _ = file
                .set_len(0)
                .and_then(|()| file.write_all_at(text.as_bytes(), 0));
        }
        Ok(opened(file))
    }
}

/// Hands all bytes to the system.
///
/// # Errors
/// What the system said; a part may have been written then.
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

/// Fills a buffer from an offset; how much there was up to the end of the file.
///
/// # Errors
/// What the system said.
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

/// A file, read from its beginning to its end.
#[derive(Debug)]
pub struct Reader {
    file: Arc<dyn File>,
    offset: u64,
}

impl Reader {
    /// From this offset.
    #[must_use]
    pub fn new(file: Arc<dyn File>, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
