//! From one journal to the next: for a snapshot, and after a loss of trust.
//!
//! In: the wish to save. Out: a journal that begins where the snapshot's scan does, and in the end the removal of those whose
//! place the snapshot has taken. Promises: an older journal is on disk before anything in a newer one counts; what is not
//! relied on any more is left at once, and nothing that was acknowledged is removed before a snapshot holds it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use super::DiskFault;
use super::files::File;
use super::folder::FolderError;
use super::journal::{self, Record};
use super::mend;
use super::reread::Journal;
use super::segment::Segment;
use super::snapshot::Saved;
use super::writer::{Older, Open, Writer, locked};
use crate::error::error_chain;

impl Writer {
    /// Begins a new journal, so that every record in the older ones is in memory before a snapshot's scan begins.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn rotate(&self) -> Result<(), DiskFault> {
        // Nothing may be written into a folder that another server has.
        self.check_folder();
        let _one = locked(&self.syncing);
        let (is_trusted, is_new, records, number) = {
            let Open { segment, .. } = &*locked(&self.open);
            (
                segment.is_trusted,
                segment.is_new,
                segment.records,
                segment.number,
            )
        };
        if !is_trusted {
            return self.begin_anew();
        }
        // A new journal that is trusted was begun anew by a save that then failed; nothing has come since.
        if is_new {
            return Ok(());
        }
        self.sync_alone()?;
        // The first journal begins from nothing, and must not stand beside a store.json as if it still did.
        if records == 0 && number > 1 && locked(&self.open).segment.records == 0 {
            return Ok(());
        }
        self.begin_next()
    }

    /// Goes on in the next journal.
    pub(super) fn begin_next(&self) -> Result<(), DiskFault> {
        let mut next = self.create_next()?;
        let before = {
            let mut open = locked(&self.open);
            self.write_to(&mut open)?;
            next.begin(open.lines_seq + 1).map_err(cannot_begin)?;
            let before = open.switch_to(next);
            self.measure(&open);
            before
        };
        // In this order: the older journal is on disk before anything in the newer one counts.
        before
            .sync_data()
            .and_then(|()| self.settle())
            .map_err(|error| self.lose_trust("sync", &error))
    }

    /// Not under the lock of the file: to make one may take time.
    fn create_next(&self) -> Result<Segment, DiskFault> {
        let number = locked(&self.open).highest + 1;
        Segment::create(&self.folder, number).map_err(cannot_begin)
    }

    /// Leaves a journal that is not trusted any more for the next one. Changes are refused, and stay so until a snapshot is
    /// on disk: it holds what the records say that are dropped here, and none of them has been acknowledged.
    fn begin_anew(&self) -> Result<(), DiskFault> {
        self.folder
            .retake(|| self.move_in())
            .map_err(cannot_begin)?;
        let mut next = self.create_next()?;
        {
            let mut open = locked(&self.open);
            let mut tail = locked(&self.tail);
            // It stands still: changes are refused.
            next.begin(tail.next_seq).map_err(cannot_begin)?;
            tail.lines.clear();
            open.lines.clear();
            open.lines_seq = tail.next_seq - 1;
            self.written.raise(open.lines_seq);
            open.switch_to(next);
            self.measure(&open);
        }
        // It must be in the folder before the snapshot is that takes the place of the journals before it.
        self.folder
            .sync()
            .map_err(|error| self.lose_trust("sync", &error))
    }

    /// Makes another folder ours: journals in it are not, and are kept aside; ours are not in it.
    fn move_in(&self) -> Result<(), FolderError> {
        for name in self.folder.names()? {
            if journal::number_of(&name).is_none() {
                continue;
            }
            let path = self.folder.join(&name);
            let aside = self
                .folder
                .keep(&path, &mend::aside_name(&path, "unused"))
                .and_then(|aside| self.folder.remove(&path).map(|()| aside))
                .map_err(FolderError::unusable(&path, "keep it aside"))?;
            tracing::warn!(
                "{} is of another server; it is kept as {}",
                path.display(),
                aside.display()
            );
        }
        locked(&self.open).older.clear();
        Ok(())
    }

    /// Brings a new journal to the disk and gives it its final name; not under the lock of the file, as it takes time.
    pub(super) fn settle(&self) -> io::Result<()> {
        let file = Arc::clone(&locked(&self.open).segment.file);
        file.sync_all()?;
        locked(&self.open).segment.settle(&self.folder)?;
        self.folder.sync()
    }

    /// Records that store.json has been written, and brings everything to the disk that it may hold.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn record_saved(&self, saved: &Saved) -> Result<(), DiskFault> {
        self.check_folder();
        self.push(&mut locked(&self.tail), Record::of_saved(saved));
        self.sync()
    }

    /// Removes the journals that the snapshot has taken the place of; after a loss of trust, trust begins anew.
    ///
    /// # Errors
    /// What the system said.
    pub fn drop_older(&self) -> io::Result<()> {
        let _one = locked(&self.syncing);
        let older = locked(&self.open).older.clone();
        for Older {
            path, first_seq, ..
        } in older
        {
            if first_seq.is_some() && self.is_followed() {
                let file = self.folder.files().open(&path).ok();
                locked(&self.open).older[0].file = file;
            }
            self.folder.remove(&path)?;
            let mut open = locked(&self.open);
            let removed = open.older.remove(0);
            if let (Some(first_seq), Some(file)) = (removed.first_seq, removed.file) {
                locked(&self.kept).push(Journal { first_seq, file }, removed.bytes);
            }
            self.measure(&open);
        }
        let is_begun_anew = {
            let Open { segment, .. } = &*locked(&self.open);
            segment.is_new && segment.is_trusted
        };
        if is_begun_anew {
            self.settle()
                .inspect_err(|error| drop(self.lose_trust("sync", error)))?;
            self.window.reset();
            self.faults.end();
            self.feed();
        }
        Ok(())
    }
}

fn cannot_begin(error: impl Error) -> DiskFault {
    DiskFault::new(&format!(
        "cannot begin a new journal: {}",
        error_chain(&error)
    ))
}

impl Open {
    /// Goes on in another journal; the file that was written to before.
    fn switch_to(&mut self, next: Segment) -> Arc<dyn File> {
        self.highest = next.number;
        let before = std::mem::replace(&mut self.segment, next);
        self.older.push(Older {
            path: before.path,
            bytes: before.bytes,
            first_seq: Some(before.first_seq),
            file: None,
        });
        before.file
    }
}
