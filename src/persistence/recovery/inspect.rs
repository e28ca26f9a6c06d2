//! Reading a whole data folder past all damage: for `check` and `repair`.
//!
//! In: a folder that no server uses. Out: what is wrong with it, what is lost by that, and what can still be read. Promises:
//! it finds damage where a start would, because it reads with the same code; inspecting changes nothing.

use std::path::{Path, PathBuf};

use super::error::{ReplayError, SnapshotError, StoreError};
use super::finding::{Finding, excerpt};
use super::key_form::SnapshotKeys;
use super::mend::unfinished;
use super::progress::Progress;
use super::replay::{Policy, Replayed, replay};
use super::sink::Load;
use super::snapshot_reader::{read_snapshot, salvage_snapshot};
use super::start::{bytes_of, snapshot_path};
use crate::persistence::disk::{Folder, aside_name};
use crate::persistence::format::{Comparison, SnapshotFingerprint};

/// A folder that was inspected.
pub struct Inspection {
    pub(in crate::persistence) snapshot: Option<SnapshotFingerprint>,
    pub(in crate::persistence) replayed: Replayed,
    /// Notes on what a start mends by itself and what is no fault; a sentence each.
    pub notes: Vec<String>,
}

impl Inspection {
    /// Returns the damage. If there is none, a server starts on this folder.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.replayed.findings
    }

    /// Returns the number of changes in the journals.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.replayed.contents.changes
    }

    /// Keeps every damaged file under a second name. Returns the names.
    ///
    /// # Errors
    /// [`ReplayError::Unreadable`] if a file can be neither linked nor copied.
    pub(in crate::persistence) fn keep_damaged(
        &mut self,
        folder: &Folder,
    ) -> Result<Vec<PathBuf>, ReplayError> {
        let Replayed {
            findings, segments, ..
        } = &mut self.replayed;
        let mut damaged: Vec<&PathBuf> = findings.iter().map(|finding| &finding.path).collect();
        damaged.dedup();
        let kept = damaged.into_iter().map(|path| {
            let aside = folder.keep(path, "damaged");
            aside.map_err(ReplayError::unreadable(path))
        });
        let kept = kept.collect::<Result<_, _>>()?;
        for segment in segments {
            // A hard link shares the content, and what is kept whole must not be cut. The save removes it with its tail.
            segment.is_torn &= !findings.iter().any(|finding| finding.path == segment.path);
        }
        Ok(kept)
    }
}

/// Inspects a folder, and loads what can be read.
///
/// # Errors
/// [`StoreError::Folder`] if the folder cannot be listed; [`StoreError::Snapshot`] and [`StoreError::Replay`] if a file cannot
/// be read at all, or was written by a newer server.
pub fn inspect(
    folder: &Folder,
    load: &dyn Load,
    progress: &Progress,
) -> Result<Inspection, StoreError> {
    progress.expect(bytes_of(folder)?);
    let path = snapshot_path(folder)?;
    let (snapshot, mut findings) = inspect_snapshot(folder, &path, load, progress)?;
    let mut replayed = replay(folder, snapshot.as_ref(), Policy::Salvage, load, progress)?;
    let mut notes = notes(folder, &replayed)?;
    if let (Some(read), true) = (&snapshot, findings.is_empty()) {
        match read.compare(&replayed.contents.saved) {
            Comparison::Unchanged => {}
            Comparison::Edited => notes.push(
                "store.json has been edited since it was written; a start takes it as it is"
                    .to_owned(),
            ),
            Comparison::Damaged => findings.push(Finding {
                path,
                line: None,
                reason: "its content has changed, but its time of modification has not".to_owned(),
                lost: "it cannot be told which pairs are not as they were".to_owned(),
            }),
        }
    }
    findings.append(&mut replayed.findings);
    replayed.findings = findings;
    Ok(Inspection {
        snapshot,
        replayed,
        notes,
    })
}

fn inspect_snapshot(
    folder: &Folder,
    path: &Path,
    load: &dyn Load,
    progress: &Progress,
) -> Result<(Option<SnapshotFingerprint>, Vec<Finding>), StoreError> {
    let keys = SnapshotKeys::beside(folder, path);
    let (line, reason, ends_early) =
        match read_snapshot(folder.files(), path, &keys, load, progress) {
            Ok(snapshot) => return Ok((snapshot, Vec::new())),
            Err(SnapshotError::Malformed {
                line,
                reason,
                ends_early,
                ..
            }) => (line, reason, ends_early),
            Err(error) => return Err(error.into()),
        };
    let mut findings = Vec::new();
    salvage_snapshot(folder.files(), path, line, &keys, load, |number, text| {
        findings.push(Finding {
            path: path.to_owned(),
            line: Some(number),
            reason: if number == line {
                reason.clone()
            } else {
                "it is no pair".to_owned()
            },
            lost: format!("what it held: {}", excerpt(text)),
        });
    })
    .map_err(ReplayError::unreadable(path))?;
    if findings.is_empty() {
        findings.push(Finding {
            path: path.to_owned(),
            line: Some(line),
            lost: if ends_early {
                "what came after it, if there was more: the file ends too early".to_owned()
            } else {
                "nothing that can be told: every line can be read by itself".to_owned()
            },
            reason,
        });
    }
    let stat = folder
        .files()
        .stat(path)
        .map_err(ReplayError::unreadable(path))?;
    Ok((Some(SnapshotFingerprint::unread(&stat)), findings))
}

/// Describes what a start mends by itself.
fn notes(folder: &Folder, replayed: &Replayed) -> Result<Vec<String>, StoreError> {
    let mut notes = Vec::new();
    if let Some(segment) = replayed.segments.last().filter(|segment| segment.is_torn) {
        notes.push(format!(
            "{}: from line {} on it is not whole, as a crash leaves it: that was never promised; a start cuts it off, and keeps it as {}",
            segment.path.display(),
            segment.lines + 1,
            aside_name(&segment.path, "torn")
        ));
    }
    for path in &replayed.unusable {
        notes.push(format!(
            "{} does not go on where the journal before it ends, as a power cut leaves it: nothing in it was promised; a start \
             keeps it as {}",
            path.display(),
            aside_name(path, "unused")
        ));
    }
    for path in &replayed.superseded {
        notes.push(format!(
            "{}: store.json has taken its place; a start removes it",
            path.display()
        ));
    }
    for path in unfinished(folder)? {
        notes.push(format!(
            "{} is what an unfinished save has left; a start removes it",
            path.display()
        ));
    }
    Ok(notes)
}
