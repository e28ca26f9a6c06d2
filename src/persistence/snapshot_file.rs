//! The snapshot file of an open folder: how a new one comes in the place of the old.
//!
//! In: entries. Out: store.json. Promises: there is a whole store.json under its name at every moment; an edit that somebody
//! made to it while the server ran is kept.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Folder;
use super::format::{
    SNAPSHOT_NAME, SNAPSHOT_NEW_NAME, SnapshotFingerprint, modified, write_snapshot,
};
use crate::model::entry::Entry;

/// The snapshot of a data folder.
pub struct SnapshotFile {
    folder: Arc<Folder>,
    /// The fingerprint of store.json when this server last read or wrote it.
    known: Mutex<Option<SnapshotFingerprint>>,
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

    /// Returns the path of store.json.
    pub fn path(&self) -> PathBuf {
        self.folder.join(SNAPSHOT_NAME)
    }

    fn new_path(&self) -> PathBuf {
        self.folder.join(SNAPSHOT_NEW_NAME)
    }

    /// Writes a new snapshot beside the present one, with its permissions, and syncs it.
    ///
    /// # Errors
    /// The first error of creating, writing or syncing it; nothing is left then.
    pub fn write_beside(
        &self,
        entries: impl Iterator<Item = Entry>,
    ) -> io::Result<SnapshotFingerprint> {
        let mode = self.folder.stat(SNAPSHOT_NAME).ok().map(|stat| stat.mode);
        write_snapshot(self.folder.files(), &self.new_path(), mode, entries)
    }

    /// Puts the new snapshot in the place of the present one; the folder must be synced after it.
    ///
    /// # Errors
    /// The first error of keeping an edit or of the rename; the present one stays then.
    pub fn publish(&self, written: SnapshotFingerprint) -> io::Result<()> {
        self.preserve_external_edit()?;
        self.folder.files().rename(&self.new_path(), &self.path())?;
        *self.known() = Some(written);
        Ok(())
    }

    /// Removes the new snapshot: on a full disk it must not hold the space that the journal needs.
    pub fn discard(&self) {
        let _ = self.folder.files().remove(&self.new_path());
    }

    /// Keeps a store.json that was put there, or edited, since this server read or wrote it.
    fn preserve_external_edit(&self) -> io::Result<()> {
        let is_ours = match (self.folder.stat(SNAPSHOT_NAME), &*self.known()) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => true,
            (Err(error), _) => return Err(error),
            (Ok(_), None) => false,
            (Ok(there), Some(known)) => modified(&there) == known.modified,
        };
        if is_ours {
            return Ok(());
        }
        // Under a second name, not renamed: there must be a store.json at every moment.
        let aside = self.folder.keep(&self.path(), "edited")?;
        tracing::warn!(
            "store.json was edited while the server ran, which reads it only at its start; the edit is kept as {}",
            aside.display()
        );
        Ok(())
    }
}
