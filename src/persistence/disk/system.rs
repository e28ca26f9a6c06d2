//! The file layer on the operating system's files.
//!
//! In: the calls of [`Files`] and [`File`]. Out: one system call each, or a few. Promises: no file is read, written or locked
//! before it is known to be a regular one, by a look at the open file, not at its name; no link is written through; what is
//! created is for its user alone, unless it takes the place of a file that more may read.

use std::fs::{self, DirBuilder, FileType, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
    PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::files::{File, Files, Stat};

/// Permission bits of a file that is created.
const FILE_MODE: u32 = 0o600;
/// Permission bits of a folder that is created.
const FOLDER_MODE: u32 = 0o700;
/// Permission bits of the group.
const GROUP_BITS: u32 = 0o070;
/// All permission bits.
const MODE_BITS: u32 = 0o7777;

/// The operating system's files.
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
        owner: (metadata.uid(), metadata.gid()),
    }
}

/// Opens a regular file, without waiting for whoever holds the other end of a pipe.
fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<fs::File> {
    let file = options
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)
        .map_err(|error| match fs::symlink_metadata(path) {
            // Of these the system says no more than that they cannot be opened.
            Ok(there) if !there.is_file() => irregular(there.file_type()),
            _ => error,
        })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else {
        Err(irregular(kind))
    }
}

/// Returns the error for something that is no regular file.
fn irregular(kind: FileType) -> io::Error {
    let what = if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what}, not a regular file; move it away"),
    )
}

/// Gives a new file the owner and the permissions of another, as far as that is allowed.
fn make_alike(file: &fs::File, like: &Stat) -> io::Result<()> {
    let (user, group) = like.owner;
    let mut mode = like.mode & MODE_BITS;
    let has_group =
        fchown(file, Some(user), Some(group)).is_ok() || fchown(file, None, Some(group)).is_ok();
    if !has_group {
        // What the group might do is not for the members of another one.
        mode &= !GROUP_BITS;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Locks an open file or folder against every other process.
fn lock_now(file: &fs::File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })
}

/// Returns true if the file system does not lock what it was asked to.
fn is_unsupported(error: &io::Error) -> bool {
    use nix::libc::{EBADF, EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP};
    matches!(
        error.raw_os_error(),
        Some(EBADF | EINVAL | ENOLCK | ENOSYS | EOPNOTSUPP)
    )
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

    fn set_modified(&self, modified_ns: i128) -> io::Result<()> {
        // What is before 1970 or after 2554 is no time of a file that a server has written.
        let since = u64::try_from(modified_ns).map_or(Duration::ZERO, Duration::from_nanos);
        fs::File::set_modified(self, UNIX_EPOCH + since)
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
        DirBuilder::new().mode(FOLDER_MODE).create(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, path: &Path, like: Option<&Stat>) -> io::Result<Arc<dyn File>> {
        // Removed, not truncated: the old file may be open elsewhere, or be the second name of one that is kept.
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Err(io::Error::other(format!(
                    "{} is a folder; move it away",
                    path.display()
                )));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A link that somebody puts there now is not followed, either.
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        if let Some(like) = like {
            make_alike(&file, like)?;
        }
        Ok(opened(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        open_regular(path, OpenOptions::new().read(true)).map(opened)
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        open_regular(path, OpenOptions::new().read(true).append(true)).map(opened)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&fs::symlink_metadata(path)?))
    }

    fn stat_folder(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&fs::metadata(path)?))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let is_link = |there: &fs::Metadata| there.is_symlink();
        if !fs::symlink_metadata(path).as_ref().is_ok_and(is_link) {
            return Ok(path.to_owned());
        }
        fs::canonicalize(path).map_err(|error| {
            let target = fs::read_link(path).unwrap_or_default();
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "it is a symbolic link to {}, which leads to no file ({error}); mount what holds the file, or remove the link",
                    target.display()
                ),
            )
        })
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

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }

    fn lock_folder(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_DIRECTORY)
            .open(path)?;
        match lock_now(&folder) {
            // As NFS says, which locks only what is open for writing.
            Err(error) if is_unsupported(&error) => {}
            locked => locked?,
        }
        Ok(opened(folder))
    }

    fn lock(&self, path: &Path, text: Option<&str>) -> io::Result<Arc<dyn File>> {
        loop {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(text.is_some())
                .create(text.is_some())
                .mode(FILE_MODE);
            let file = open_regular(path, &mut options)?;
            lock_now(&file)?;
            let Some(text) = text else {
                return Ok(opened(file));
            };
            if file.metadata()?.nlink() > 1 {
                // What is written here would stand under the other name, too.
                fs::remove_file(path)?;
                continue;
            }
            // The holder's name helps people; no code relies on it.
            let _ = file
                .set_len(0)
                .and_then(|()| file.write_all_at(text.as_bytes(), 0));
            return Ok(opened(file));
        }
    }
}
