//! A backup: a copy of a data folder as a kill at one moment would leave it, whether a server uses the folder or not.
//!
//! In: a data folder, and the folder of the backup. Out: a data folder of its own, with every change that was acknowledged
//! before. Promises: nothing in the data folder is changed, and no server waits; a backup that is not complete never has the
//! name of one; what was written of it is removed.
//!
//! A server only appends to its open journal, and replaces or removes every other file whole. So the files that have their names
//! at one moment are what recovery reads after a kill at that moment, however long they are copied afterwards: they stay open. A
//! save that comes between the first look at the names and the last one is noticed by a name or an inode number, and the files
//! are opened again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::{
    COPY_BYTES, DiskFault, File, Files, Folder, FolderError, Stat, append_all, read_full,
};
use super::durability::Durability;
use super::format::{JournalName, SNAPSHOT_NAME};

/// Name of the file of the users, beside the snapshot.
pub const USERS_NAME: &str = "users.json";
/// Ending of the folder of a backup that is being written.
const UNFINISHED: &str = ".unfinished";
/// Number of times that the files are opened until no save comes between, and the pause after each: a save replaces files once
/// a second at most, and opening them takes less than a millisecond.
const OPENINGS_MAX: usize = 1000;
const OPENING_PAUSE: Duration = Duration::from_millis(1);

/// A backup that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// Number of files.
    pub files: usize,
    /// Length of all files in bytes.
    pub bytes: u64,
}

/// A backup cannot be made. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There are files in the folder of the backup.
    #[error(
        "{path} is not empty: name a folder for the backup that does not exist yet, or is empty"
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Another backup is being written to the same folder.
    #[error(
        "{path} is there: a backup to this folder is being made, or was killed; in that case remove it, and try again"
    )]
    Unfinished {
        /// The folder in which a backup is written.
        path: PathBuf,
    },
    /// There is nothing to copy.
    #[error("data folder {path} holds no data: neither store.json nor a journal")]
    Empty {
        /// The data folder.
        path: PathBuf,
    },
    /// The server keeps its changes in memory.
    #[error(
        "a server that keeps no journal (durability off) uses data folder {path}: only it can make the backup; \
         send BACKUP to it"
    )]
    NoJournal {
        /// The data folder.
        path: PathBuf,
    },
    /// The files of the data folder were replaced all the time.
    #[error("the files of {path} are replaced again and again; try again")]
    Unsteady {
        /// The data folder.
        path: PathBuf,
    },
    /// A file of the data folder cannot be read.
    #[error("no backup was made: cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The backup cannot be written.
    #[error("no backup was made: cannot write {path}")]
    Unwritable {
        /// The file, or the folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The server cannot keep what it has promised.
    #[error(
        "no backup was made, as the data folder may not hold what the server shows; an export does: {0}"
    )]
    Fault(DiskFault),
}

/// A file of the data folder that is to be copied.
#[derive(Debug)]
pub(super) struct Original {
    name: String,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Its metadata at the moment of the backup.
    stat: Stat,
}

/// Copies a data folder that is not open in this process into another one, which must not exist yet or be empty; the folder above
/// it must exist. The durability is that of the server that may use the folder.
///
/// # Errors
/// [`BackupError`].
pub fn back_up(
    files: &Arc<dyn Files>,
    data: &Path,
    durability: Durability,
    to: &Path,
) -> Result<BackupReport, BackupError> {
    // Where no server has the folder, none may start meanwhile: it would mend what a crash has left.
    let _lock = match Folder::look(Arc::clone(files), data) {
        Err(FolderError::InUse { .. }) if durability == Durability::Off => {
            let path = data.to_owned();
            return Err(BackupError::NoJournal { path });
        }
        Err(FolderError::InUse { .. }) => None,
        looked => Some(looked?),
    };
    copy_folder(&**files, data, to)
}

/// Copies a data folder whose lock somebody holds; see [`back_up`].
///
/// # Errors
/// [`BackupError`].
pub(super) fn copy_folder(
    files: &dyn Files,
    data: &Path,
    to: &Path,
) -> Result<BackupReport, BackupError> {
    let (above, aside) = places(files, to)?;
    let originals = open_at_one_moment(files, data)?;
    match files.make_folder(&aside) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Unfinished { path: aside });
        }
        made => made.map_err(unwritable(&aside))?,
    }
    let written = copy_all(files, &originals, &aside).and_then(|bytes| {
        files.rename(&aside, to).map_err(unwritable(to))?;
        Ok(bytes)
    });
    let bytes = written.inspect_err(|_| discard(files, &originals, &aside))?;
    files
        .sync_folder(&above)
        .map_err(unwritable(&above))
        .inspect_err(|_| discard(files, &originals, to))?;
    Ok(BackupReport {
        files: originals.len(),
        bytes,
    })
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Unwritable { path, source }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Unreadable { path, source }
}

/// Returns the folder above that of a backup, and the one beside it in which the backup is written.
///
/// # Errors
/// [`BackupError::Occupied`] if there is something in the folder.
fn places(files: &dyn Files, to: &Path) -> Result<(PathBuf, PathBuf), BackupError> {
    let is_empty = match files.names(to) {
        Ok(names) => names.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(unwritable(to)(error)),
    };
    let (Some(above), Some(name), true) = (to.parent(), to.file_name(), is_empty) else {
        let path = to.to_owned();
        return Err(BackupError::Occupied { path });
    };
    let above = if above.as_os_str().is_empty() {
        Path::new(".")
    } else {
        above
    };
    let mut aside = name.to_owned();
    aside.push(UNFINISHED);
    Ok((above.to_owned(), above.join(aside)))
}

/// Opens the files that make up the data, all as they are at one moment.
///
/// # Errors
/// [`BackupError`].
pub(super) fn open_at_one_moment(
    files: &dyn Files,
    data: &Path,
) -> Result<Vec<Original>, BackupError> {
    for _ in 0..OPENINGS_MAX {
        let names = names_of(files, data)?;
        let opened = names.iter().map(|name| open(files, data.join(name), name));
        match opened.collect::<Result<Vec<_>, _>>() {
            Ok(originals)
                if names_of(files, data)? == names
                    && originals.iter().all(|original| original.is_named(files)) =>
            {
                return Ok(originals);
            }
            Err(BackupError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        std::thread::sleep(OPENING_PAUSE);
    }
    let path = data.to_owned();
    Err(BackupError::Unsteady { path })
}

/// Lists the files that make up the data: the snapshot, the accounts, and the journals in their order.
fn names_of(files: &dyn Files, data: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = files.names(data).map_err(unreadable(data))?;
    names.retain(|name| is_whole_file(name) || JournalName::parse(name).is_some());
    if names.iter().all(|name| name == USERS_NAME) {
        let path = data.to_owned();
        return Err(BackupError::Empty { path });
    }
    names.sort_by_key(|name| JournalName::parse(name));
    Ok(names)
}

/// Returns true if a file of this name is the snapshot or a journal.
#[must_use]
pub fn is_data_file(name: &str) -> bool {
    name == SNAPSHOT_NAME || JournalName::parse(name).is_some()
}

/// Returns true if a file of this name is never appended to, but replaced.
fn is_whole_file(name: &str) -> bool {
    [SNAPSHOT_NAME, USERS_NAME].contains(&name)
}

fn open(files: &dyn Files, path: PathBuf, name: &str) -> Result<Original, BackupError> {
    let opened = files
        .resolve(&path)
        .and_then(|target| files.open(&target))
        .and_then(|file| Ok((file.stat()?, file)));
    let (stat, file) = opened.map_err(unreadable(&path))?;
    Ok(Original {
        name: name.to_owned(),
        path,
        file,
        stat,
    })
}

impl Original {
    /// Returns its name in the folder.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns its length in bytes at the moment of the backup.
    pub(super) fn bytes(&self) -> u64 {
        self.stat.bytes
    }

    /// Returns the open file.
    pub(super) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Returns true if the file still has its name.
    fn is_named(&self, files: &dyn Files) -> bool {
        let now = files
            .resolve(&self.path)
            .and_then(|target| files.stat(&target));
        now.is_ok_and(|now| now.id == self.stat.id)
    }

    /// Copies what the file held at the moment of the backup, and syncs it. Returns the length of the copy in bytes.
    fn copy(&self, files: &dyn Files, to: &Path, is_growing: bool) -> Result<u64, BackupError> {
        let copy = files.create(to, None).map_err(unwritable(to))?;
        let mut buffer = vec![0; COPY_BYTES];
        let (mut copied, mut whole) = (0, 0);
        while copied < self.stat.bytes {
            let room = usize::try_from(self.stat.bytes - copied).unwrap_or(COPY_BYTES);
            let piece = &mut buffer[..room.min(COPY_BYTES)];
            let count = read_full(&*self.file, piece, copied).map_err(unreadable(&self.path))?;
            if count == 0 {
                break;
            }
            append_all(&*copy, &piece[..count]).map_err(unwritable(to))?;
            if let Some(end) = memchr::memrchr(b'\n', &piece[..count]) {
                whole = copied + end as u64 + 1;
            }
            copied += count as u64;
        }
        if is_growing && whole < copied {
            // A record that was being written then, and is not acknowledged.
            copy.set_len(whole).map_err(unwritable(to))?;
            copied = whole;
        }
        // The journal knows the time of the snapshot, by which damage is told from an edit.
        copy.set_modified(self.stat.modified_ns)
            .and_then(|()| copy.sync_all())
            .map_err(unwritable(to))?;
        Ok(copied)
    }
}

/// Copies files into a folder, and syncs it. Returns their length in bytes.
fn copy_all(files: &dyn Files, originals: &[Original], into: &Path) -> Result<u64, BackupError> {
    let mut bytes = 0;
    for (place, original) in originals.iter().enumerate() {
        let is_last = place + 1 == originals.len();
        let is_growing = is_last && !is_whole_file(&original.name);
        bytes += original.copy(files, &into.join(&original.name), is_growing)?;
    }
    files.sync_folder(into).map_err(unwritable(into))?;
    Ok(bytes)
}

/// Removes a backup that is not complete, as far as the disk lets it.
fn discard(files: &dyn Files, originals: &[Original], folder: &Path) {
    for original in originals {
        let _ = files.remove(&folder.join(&original.name));
    }
    let _ = files.remove_folder(folder);
}
