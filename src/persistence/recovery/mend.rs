//! Mending what a crash may leave.
//!
//! In: a folder that was read and found good. Out: a folder that can be appended to. Promises: what is cut off or cannot be
//! used is kept aside first, and synced before anything is removed, so that a second crash in the middle leaves a folder that
//! can be mended just the same.

use std::io;
use std::path::PathBuf;

use super::error::{ReplayError, StoreError};
use super::replay::Replayed;
use super::scan::ScannedSegment;
use crate::persistence::disk::{Folder, FolderError, aside_name, copy};
use crate::persistence::format::{SNAPSHOT_NAME, provisional_path};

/// Mends a folder: removes journals that the snapshot has replaced, keeps those that cannot be used aside, cuts off a torn
/// tail, and removes what an unfinished save or mend has left.
///
/// # Errors
/// [`StoreError::Replay`] if a journal cannot be kept aside, cut or removed; [`StoreError::Folder`] if another file cannot be
/// removed. Mending can be tried again then.
pub fn mend(folder: &Folder, replayed: &mut Replayed) -> Result<(), StoreError> {
    for path in replayed.superseded.drain(..) {
        folder
            .remove(&path)
            .map_err(ReplayError::unreadable(&path))?;
    }
    for path in replayed.unusable.drain(..) {
        let aside = folder
            .keep(&path, "unused")
            .map_err(ReplayError::unreadable(&path))?;
        tracing::warn!(
            "{} does not go on where the journal before it ends; it is kept as {}",
            path.display(),
            aside.display()
        );
        replayed.leftover.push(path);
    }
    if replayed.segments.is_empty() {
        for path in replayed.leftover.drain(..) {
            folder
                .remove(&path)
                .map_err(ReplayError::unreadable(&path))?;
        }
    }
    if let Some(segment) = replayed.segments.last().filter(|segment| segment.is_torn) {
        cut_tail(folder, segment).map_err(ReplayError::unreadable(&segment.path))?;
    }
    for path in unfinished(folder)? {
        folder.files().remove(&path).map_err(FolderError::unusable(
            &path,
            "remove what an unfinished save left",
        ))?;
    }
    Ok(())
}

/// Copies the tail aside, syncs the copy, and only then cuts: in this order, so that a crash in the middle loses nothing.
fn cut_tail(folder: &Folder, segment: &ScannedSegment) -> io::Result<()> {
    let file = folder.files().open_to_append(&segment.path)?;
    let bytes = file.stat()?.bytes - segment.bytes;
    let aside = folder.free_name(&aside_name(&segment.path, "torn"));
    let unfinished = folder.join(&aside_name(&aside, "new"));
    copy(folder.files(), &segment.path, segment.bytes, &unfinished)?;
    folder.publish(&unfinished, &aside)?;
    file.set_len(segment.bytes)?;
    file.sync_all()?;
    tracing::warn!(
        "{}: the last {bytes} bytes, from line {}, are not whole: they were never promised, and are kept in {}",
        segment.path.display(),
        segment.lines + 1,
        aside.display()
    );
    Ok(())
}

/// Lists the files that an unfinished save or mend has left.
///
/// # Errors
/// [`FolderError::Unusable`] if the folder cannot be listed.
pub fn unfinished(folder: &Folder) -> Result<Vec<PathBuf>, FolderError> {
    let snapshot = folder.join(SNAPSHOT_NAME);
    let names = folder.names()?;
    let mut paths: Vec<PathBuf> = names
        .iter()
        .filter(|name| {
            name.strip_suffix(".new")
                .is_some_and(|stem| stem == SNAPSHOT_NAME || stem.contains(".torn"))
        })
        .map(|name| folder.join(name))
        .collect();
    // Where store.json is a link, a new one is written beside the file to which it leads.
    if let Ok(target) = folder.files().resolve(&snapshot)
        && target != snapshot
    {
        let provisional = provisional_path(&target);
        paths.extend(
            folder
                .files()
                .stat(&provisional)
                .is_ok()
                .then_some(provisional),
        );
    }
    Ok(paths)
}
