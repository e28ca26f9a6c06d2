//! What a start mends by itself, as a crash may leave it.
//!
//! In: what was read, once all of it has been found good. Out: a folder that can be gone on with. Promises: what is cut off
//! or cannot be used is kept beside first, and on disk before anything is removed, so that a second crash in the middle
//! leaves a folder that can be mended just the same.

use std::io;
use std::path::Path;

use super::folder::{Folder, FolderError, copy};
use super::replay::{ReplayError, Replayed};
use super::scan::Segment;

impl Replayed {
    /// Mends what a crash may leave: removes journals that the snapshot has taken the place of, keeps what cannot be used
    /// aside, cuts off a tail that was torn.
    ///
    /// # Errors
    /// [`ReplayError::Unreadable`].
    pub fn mend(&mut self, folder: &Folder) -> Result<(), ReplayError> {
        for path in self.superseded.drain(..) {
            folder
                .remove(&path)
                .map_err(ReplayError::unreadable(&path))?;
        }
        for path in self.unusable.drain(..) {
            let aside = folder
                .keep(&path, &aside_name(&path, "unused"))
                .map_err(ReplayError::unreadable(&path))?;
            tracing::warn!(
                "{} does not go on where the journal before it ends; it is kept as {}",
                path.display(),
                aside.display()
            );
            self.leftover.push(path);
        }
        if self.segments.is_empty() {
            for path in self.leftover.drain(..) {
                folder
                    .remove(&path)
                    .map_err(ReplayError::unreadable(&path))?;
            }
        }
        if let Some(segment) = self.segments.last().filter(|segment| segment.torn) {
            cut_tail(folder, segment).map_err(ReplayError::unreadable(&segment.path))?;
        }
        Ok(())
    }
}

/// The name of a file without the mark of a new one, and with this ending.
#[must_use]
pub fn aside_name(path: &Path, ending: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}.{ending}", name.trim_end_matches(".new"))
}

/// Copies the tail aside, syncs the copy, and only then cuts: in this order, so that a crash in the middle loses nothing.
fn cut_tail(folder: &Folder, segment: &Segment) -> io::Result<()> {
    let file = folder.files().open_to_append(&segment.path)?;
    let bytes = file.stat()?.bytes - segment.bytes;
    let aside = folder.free_name(&aside_name(&segment.path, "torn"));
    let beside = folder.join(&aside_name(&aside, "new"));
    copy(folder.files(), &segment.path, segment.bytes, &beside)?;
    folder.publish(&beside, &aside)?;
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

/// Removes what an unfinished save or mend has left.
///
/// # Errors
/// [`FolderError::Unusable`].
pub fn remove_unfinished(folder: &Folder) -> Result<(), FolderError> {
    for name in unfinished(folder)? {
        let path = folder.join(&name);
        folder.files().remove(&path).map_err(FolderError::unusable(
            &path,
            "remove what an unfinished save left",
        ))?;
    }
    Ok(())
}

/// The names of files that an unfinished save or mend has left.
///
/// # Errors
/// [`FolderError::Unusable`].
pub fn unfinished(folder: &Folder) -> Result<Vec<String>, FolderError> {
    let mut names = folder.names()?;
    names.retain(|name| {
        name.strip_suffix(".new")
            .is_some_and(|stem| stem == super::SNAPSHOT_NAME || stem.contains(".torn"))
    });
    Ok(names)
}
