//! The reasons why a data folder cannot be opened.
//!
//! In: the file, the line, the cause. Out: an error that says what to do next. Promise: nothing in the folder was changed.

use std::io;
use std::path::{Path, PathBuf};

use crate::persistence::disk::{DiskFault, FolderError};
use crate::persistence::format::VERSION;

/// A data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The journals cannot be read back.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The journal cannot be appended to, or the first one not be created.
    #[error("cannot open the journal in {path}")]
    Journal {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The folder has journals, the server is to keep none, and the save that must come first has failed.
    #[error(
        "cannot save what the journals hold, which --durability off asks for before it starts: {0}"
    )]
    FirstSave(DiskFault),
    /// The save of what could be read of a damaged folder has failed.
    #[error(
        "cannot save what could be read: {0}; nothing was removed, and the damage is as it was. Make room, and repair again"
    )]
    Unmended(DiskFault),
}

/// A snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not one flat JSON object of keys and values within the limits.
    #[error(
        "{path}: {reason}; nothing was loaded or changed. Mend the file at that place, put a copy in its place, or let \
         `pykv-server repair` keep what can be read"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line with the fault, from 1.
        line: u64,
        /// The fault, with line and column.
        reason: String,
        /// True if the file ends before the object does.
        ends_early: bool,
    },
    /// It is JSON, but not what was written, and no edit either.
    #[error(
        "{path} has been damaged: its content has changed, but its time of modification has not; nothing was loaded or \
         changed. Put a copy in its place; or, if you have looked at it and want it as it is, `touch` it or run \
         `pykv-server repair` on the folder"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses to read it.
    #[error("{path}: cannot read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// The journals cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line is not what was written, and whole lines follow it.
    #[error(
        "{path}: line {line} is damaged ({reason}); nothing was changed. Put a copy of the folder in its place; or go on \
         without {lost}: `pykv-server repair` on the folder does that, and keeps all that it removes"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The fault.
        reason: String,
        /// The changes that only a copy could bring back.
        lost: String,
    },
    /// Journals are missing.
    #[error(
        "{path}: {missing} is missing; nothing was changed. Put it back, or put a copy of the whole folder in its place; or go on \
         without what it held: `pykv-server repair` on the folder does that, and keeps all that it removes"
    )]
    Gap {
        /// The journal that continues the missing one.
        path: PathBuf,
        /// The name of what is missing.
        missing: String,
    },
    /// A newer server wrote it.
    #[error(
        "{path} has format {version}, and this server reads formats 1 to {VERSION}; start it with a newer pykv-server"
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        version: u64,
    },
    /// The operating system refuses to read or change a file.
    #[error("{path}: cannot read or mend it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

impl ReplayError {
    /// Returns a function for `map_err` that adds the path.
    pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unreadable { path, source }
    }
}
