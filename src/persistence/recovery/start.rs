//! Reading a data folder at a start.
//!
//! In: a folder. Out: all that its snapshot and its journals hold, loaded, and where they end. Promises: nothing is changed;
//! what is not as it was written, and was not edited, ends the reading.

use std::path::{Path, PathBuf};

use super::error::{SnapshotError, StoreError};
use super::key_form::SnapshotKeys;
use super::progress::Progress;
use super::replay::{Policy, Replayed, replay};
use super::sink::Load;
use super::snapshot_reader::read_snapshot;
use crate::persistence::disk::{Folder, FolderError};
use crate::persistence::format::{Comparison, JournalName, SNAPSHOT_NAME, SnapshotFingerprint};

/// Reads a whole folder. Returns the fingerprint of the snapshot, if there is one, and what the journals held.
///
/// # Errors
/// [`StoreError::Snapshot`] if store.json is malformed, damaged or unreadable; [`StoreError::Replay`] if a journal is damaged,
/// missing, unreadable or of a newer format; [`StoreError::Folder`] if the folder cannot be listed.
pub fn read_folder(
    folder: &Folder,
    load: &dyn Load,
    progress: &Progress,
) -> Result<(Option<SnapshotFingerprint>, Replayed), StoreError> {
    progress.expect(bytes_of(folder)?);
    let path = snapshot_path(folder)?;
    let keys = SnapshotKeys::beside(folder, &path);
    let snapshot = read_snapshot(folder.files(), &path, &keys, load, progress)?;
    let replayed = replay(folder, snapshot.as_ref(), Policy::Stop, load, progress)?;
    if let Some(read) = &snapshot {
        verify_snapshot(&path, read, &replayed.contents.saved)?;
    }
    Ok((snapshot, replayed))
}

/// Returns the path of the snapshot, or of the file to which a link in its place leads.
///
/// # Errors
/// [`SnapshotError::Unreadable`] if it is a link that leads to nothing.
pub fn snapshot_path(folder: &Folder) -> Result<PathBuf, SnapshotError> {
    let path = folder.join(SNAPSHOT_NAME);
    let target = folder.files().resolve(&path);
    target.map_err(|source| SnapshotError::Unreadable { path, source })
}

/// Returns the number of bytes that reading a folder reads.
///
/// # Errors
/// [`FolderError::Unusable`] if the folder cannot be listed.
pub fn bytes_of(folder: &Folder) -> Result<u64, FolderError> {
    let names = folder.names()?;
    let read = names
        .iter()
        .filter(|name| *name == SNAPSHOT_NAME || JournalName::parse(name).is_some());
    Ok(read
        .filter_map(|name| folder.files().resolve(&folder.join(name)).ok())
        .filter_map(|path| folder.files().stat(&path).ok())
        .map(|stat| stat.bytes)
        .sum())
}

fn verify_snapshot(
    path: &Path,
    read: &SnapshotFingerprint,
    written: &[SnapshotFingerprint],
) -> Result<(), SnapshotError> {
    match read.compare(written) {
        Comparison::Unchanged => {}
        Comparison::Edited => {
            tracing::warn!("store.json has been edited since it was written; it is taken as it is");
        }
        Comparison::Damaged => {
            return Err(SnapshotError::Damaged {
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}
