//! From one journal file to the next: for a snapshot, and after the open one was poisoned.
//!
//! In: the wish to save. Out: a journal that begins where the snapshot's scan does, and in the end the removal of those that
//! the snapshot has replaced. Promises: an older journal is on disk before anything in a newer one counts; a poisoned file is
//! left at once, and nothing that was acknowledged is removed before a snapshot holds it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use super::health::State;
use super::open_journal::{JournalFile, OlderJournal, OpenJournal};
use super::segment::Segment;
use super::writer::{Writer, locked};
use crate::error::error_chain;
use crate::persistence::disk::{DiskFault, Folder, FolderError};
use crate::persistence::durability::Durability;
use crate::persistence::format::{JournalName, Timeline};

/// Starts a new journal, so that every record in the older ones is in memory before a snapshot's scan begins.
///
/// # Errors
/// [`DiskFault`], if what was appended cannot be synced, or the new journal not be created.
pub fn rotate(writer: &Writer) -> Result<(), DiskFault> {
    // Nothing may be written into a folder that another server has.
    writer.check_folder();
    let _one = locked(&writer.syncing);
    match writer.health.state() {
        State::Poisoned => return start_after_failure(writer),
        // It was started by a save that then failed, and holds no change.
        State::Restarted => return Ok(()),
        State::Healthy | State::WriteFailed => {}
    }
    writer.sync_exclusively()?;
    let is_empty = {
        let OpenJournal { segment, .. } = &*locked(&writer.open);
        // The first journal begins with an empty store, and must not stand beside a store.json as if it still did.
        segment.records == 0 && segment.number > 1
    };
    if is_empty {
        return Ok(());
    }
    start_next(writer)
}

/// Goes on in the next journal.
///
/// # Errors
/// [`DiskFault`], if the open journal cannot be written or synced, or the new one not be created or renamed.
pub(super) fn start_next(writer: &Writer) -> Result<(), DiskFault> {
    let mut next = create_next(writer)?;
    let before = {
        let mut open = locked(&writer.open);
        writer.write(&mut open)?;
        next.begin(open.lines_seq + 1, &locked(&writer.timelines))
            .map_err(cannot_begin)?;
        let before = open.switch_to(next);
        writer.measure(&open);
        before
    };
    // In this order: the older journal is on disk before anything in the newer one counts.
    before
        .sync_data()
        .and_then(|()| finalize_name(writer))
        .map_err(|error| writer.poison("sync", &error))
}

/// Creates the file of the next journal; not under the lock of the open one, as it may take time.
fn create_next(writer: &Writer) -> Result<Segment, DiskFault> {
    let (number, before) = {
        let open = locked(&writer.open);
        (open.highest + 1, Arc::clone(&open.segment.file))
    };
    Segment::create(&writer.folder, number, Some(&*before)).map_err(cannot_begin)
}

/// Leaves a poisoned journal for the next one. Changes are refused, and stay so until a snapshot is on disk: it holds what the
/// records say that are discarded here, and none of them has been acknowledged.
fn start_after_failure(writer: &Writer) -> Result<(), DiskFault> {
    writer
        .folder
        .retake(|| adopt_folder(writer))
        .map_err(cannot_begin)?;
    let mut next = create_next(writer)?;
    {
        let mut open = locked(&writer.open);
        let mut begin = |next_seq| next.begin(next_seq, &locked(&writer.timelines));
        let last_seq = if writer.durability == Durability::Replicated {
            // What the log does not have yet comes after it.
            begin(open.lines_seq + 1).map(|()| open.lines_seq)
        } else {
            writer.tail.discard(begin)
        };
        let last_seq = last_seq.map_err(cannot_begin)?;
        open.lines.clear();
        open.lines_seq = last_seq;
        writer.written.raise(last_seq);
        open.switch_to(next);
        writer.measure(&open);
        writer.health.restarted();
    }
    // Its name must be on disk before the snapshot that replaces the journals before it.
    writer
        .folder
        .sync()
        .map_err(|error| writer.poison("sync", &error))
}

/// Leaves all journals for one that begins with record `next_seq`, as memory holds the pairs of another folder from now on. Changes are
/// refused until a snapshot of them is on disk; until then, a start reads what was there before.
///
/// # Errors
/// [`DiskFault`], if the new journal cannot be created.
pub fn restart_at(
    writer: &Writer,
    next_seq: u64,
    timelines: Vec<Timeline>,
) -> Result<(), DiskFault> {
    let _one = locked(&writer.syncing);
    let mut next = create_next(writer)?;
    {
        let mut open = locked(&writer.open);
        next.begin(next_seq, &timelines).map_err(cannot_begin)?;
        writer
            .health
            .replaced("the pairs of the primary have been copied, and are not saved yet");
        writer.tail.restart_at(next_seq);
        *locked(&writer.timelines) = timelines;
        open.lines.clear();
        open.lines_seq = next_seq - 1;
        let logged = &writer.gate.logged;
        for reached in [logged, &writer.written, &writer.synced, &writer.visible_seq] {
            reached.restart_at(next_seq - 1);
        }
        open.switch_to(next);
        writer.retained.clear();
        writer.measure(&open);
    }
    writer
        .folder
        .sync()
        .map_err(|error| writer.poison("sync", &error))
}

/// Takes over another folder that was put in place of ours: its journals are of another server, and are kept aside; ours are
/// not in it.
fn adopt_folder(writer: &Writer) -> Result<(), FolderError> {
    let folder = &writer.folder;
    for name in folder.names()? {
        if JournalName::parse(&name).is_none() {
            continue;
        }
        let path = folder.join(&name);
        let aside = folder
            .keep(&path, "unused")
            .and_then(|aside| folder.remove(&path).map(|()| aside))
            .map_err(FolderError::unusable(&path, "keep it aside"))?;
        tracing::warn!(
            "{} is of another server; it is kept as {}",
            path.display(),
            aside.display()
        );
    }
    locked(&writer.open).older.clear();
    Ok(())
}

/// Syncs a new journal and gives it its final name; not under the lock of the open one, as it takes time.
///
/// # Errors
/// The first error of the sync, the rename, or the sync of the folder.
pub(super) fn finalize_name(writer: &Writer) -> io::Result<()> {
    let folder: &Folder = &writer.folder;
    let file = Arc::clone(&locked(&writer.open).segment.file);
    file.sync_all()?;
    locked(&writer.open).segment.finalize_name(folder)?;
    folder.sync()
}

/// Removes the journals that the snapshot has replaced. If the open one was started after a failure, it is trusted from now on.
///
/// # Errors
/// Any error of the operating system while removing one, or while the open one is given its final name.
pub fn remove_older(writer: &Writer) -> io::Result<()> {
    let _one = locked(&writer.syncing);
    let older = locked(&writer.open).older.clone();
    for OlderJournal {
        path, first_seq, ..
    } in older
    {
        // In a fault the space is needed more than the history.
        if first_seq.is_some() && writer.retained.is_needed() && writer.health.is_healthy() {
            let file = writer.folder.files().open(&path).ok();
            locked(&writer.open).older[0].file = file;
        }
        writer.folder.remove(&path)?;
        let mut open = locked(&writer.open);
        let removed = open.older.remove(0);
        if let (Some(first_seq), Some(file)) = (removed.first_seq, removed.file) {
            let journal = JournalFile { first_seq, file };
            writer.retained.push(journal, removed.bytes);
        }
        writer.measure(&open);
    }
    if writer.health.state() == State::Restarted {
        finalize_name(writer).inspect_err(|error| drop(writer.poison("sync", error)))?;
        writer.unsynced.reset();
        writer.health.saved();
        writer.show_followers();
    }
    Ok(())
}

fn cannot_begin(error: impl Error) -> DiskFault {
    DiskFault::new(&format!(
        "cannot begin a new journal: {}",
        error_chain(&error)
    ))
}
