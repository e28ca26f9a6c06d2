//! The snapshot file of an open folder: how a new one comes in the place of the old.
//!
//! In: entries. Out: store.json. Promises: there is a whole store.json under its name at every moment; an edit that somebody
//! made to it while the server ran is kept; where store.json is a link to a file elsewhere, that file is replaced, and the
//! link stays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Folder;
use super::format::{
    SNAPSHOT_NAME, SnapshotFingerprint, modified, provisional_path, write_snapshot,
};
use crate::model::entry::Entry;

/// The snapshot of a data folder.
pub struct SnapshotFile {
    folder: Arc<Folder>,
    /// The fingerprint of store.json when this server last read or wrote it.
    known: Mutex<Option<SnapshotFingerprint>>,
}

/// A snapshot that is written and not yet in its place.
pub struct NewSnapshot {
    /// Its provisional path.
    path: PathBuf,
    /// Its place.
    target: PathBuf,
    /// Its fingerprint.
    pub fingerprint: SnapshotFingerprint,
}

impl SnapshotFile {
    /// Creates it for a folder whose store.json, if there is one, has this fingerprint.
    pub fn new(folder: Arc<Folder>, known: Option<SnapshotFingerprint>) -> Self {
        Self {
            folder,
            known: Mutex::new(known),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<SnapshotFingerprint>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the data folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns the path of store.json.
    pub fn path(&self) -> PathBuf {
        self.folder.join(SNAPSHOT_NAME)
    }

    /// Writes a new snapshot beside the present one, or the one to which a link leads, with its permissions, and syncs it.
    ///
    /// # Errors
    /// The first error of following the link, or of creating, writing or syncing it; nothing is left then.
    pub fn write_beside(&self, entries: impl Iterator<Item = Entry>) -> io::Result<NewSnapshot> {
        let files = self.folder.files();
        let target = files.resolve(&self.path())?;
        let path = provisional_path(&target);
        let present = files.stat(&target).ok();
        let fingerprint = write_snapshot(files, &path, present.as_ref(), entries)?;
        Ok(NewSnapshot {
            path,
            target,
            fingerprint,
        })
    }

    /// Puts the new snapshot in the place of the present one, and syncs the name.
    ///
    /// # Errors
    /// The first error of keeping an edit or of the rename, and the present one stays then; or of the sync.
    pub fn publish(&self, new: &NewSnapshot) -> io::Result<()> {
        self.preserve_external_edit(&new.target)?;
        let files = self.folder.files();
        files.rename(&new.path, &new.target)?;
        *self.known() = Some(new.fingerprint.clone());
        let folder = new.target.parent();
        files.sync_folder(folder.expect("a file is in a folder"))
    }

    /// Removes the new snapshot: on a full disk it must not hold the space that the journal needs.
    pub fn discard(&self, new: &NewSnapshot) {
        let _ = self.folder.files().remove(&new.path);
    }

    /// Keeps a store.json that was put there, or edited, since this server read or wrote it.
    fn preserve_external_edit(&self, target: &Path) -> io::Result<()> {
        let is_ours = match (self.folder.files().stat(target), &*self.known()) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => true,
            (Err(error), _) => return Err(error),
            (Ok(_), None) => false,
            (Ok(there), Some(known)) => modified(&there) == known.modified,
        };
        if is_ours {
            return Ok(());
        }
        // Under a second name, not renamed: there must be a store.json at every moment.
        let aside = self.folder.keep(target, "edited")?;
        tracing::warn!(
            "store.json was edited while the server ran, which reads it only at its start; the edit is kept as {}",
            aside.display()
        );
        Ok(())
    }
}
