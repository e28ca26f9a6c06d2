//! Reading a data folder at a start.
//!
//! In: a folder. Out: all that its snapshot and its journals hold, loaded, and where they end. Promises: nothing is changed;
//! what is not as it was written, and nobody has edited, stops it.

use std::path::Path;

use super::chunks::Load;
use super::folder::{Folder, FolderError};
use super::journal;
use super::progress::Progress;
use super::replay::{self, Policy, Replayed};
use super::snapshot::{self, Saved, SnapshotError};
use super::{SNAPSHOT_NAME, StoreError};

/// Reads a whole folder; the snapshot that is there, and what the journals held.
///
/// # Errors
/// [`StoreError`].
pub(super) fn read(
    folder: &Folder,
    load: &dyn Load,
    progress: &Progress,
) -> Result<(Option<Saved>, Replayed), StoreError> {
    progress.expect(bytes_of(folder)?);
    let path = folder.join(SNAPSHOT_NAME);
    let known = snapshot::read(folder.files(), &path, load, progress)?;
    let replayed = replay::replay(folder, known.as_ref(), Policy::Stop, load, progress)?;
    if let Some(read) = &known {
        judge(&path, read, &replayed.held.saved)?;
    }
    Ok((known, replayed))
}

/// How many bytes there are to read.
///
/// # Errors
/// [`FolderError`].
pub(super) fn bytes_of(folder: &Folder) -> Result<u64, FolderError> {
    let names = folder.names()?;
    let read = names
        .iter()
        .filter(|name| *name == SNAPSHOT_NAME || journal::number_of(name).is_some());
    Ok(read
        .filter_map(|name| folder.stat(name).ok())
        .map(|stat| stat.bytes)
        .sum())
}

/// Tells an edit of store.json from damage; see `snapshot`.
fn judge(path: &Path, read: &Saved, written: &[Saved]) -> Result<(), StoreError> {
    if !read.is_one_of(written) {
        return Err(SnapshotError::Damaged {
            path: path.to_owned(),
        }
        .into());
    }
    if read.is_edit_of(written) {
        tracing::warn!("store.json has been edited since it was written; it is taken as it is");
    }
    Ok(())
}
