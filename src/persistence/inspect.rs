//! A look at a whole data folder that stops at nothing: for `check` and `repair`.
//!
//! In: a folder that no server uses. Out: what is wrong with it and what is lost by that, and what can still be read. Promises:
//! it finds damage where a start would, because it reads with the same code; looking changes nothing.

use std::path::Path;

use super::chunks::Load;
use super::folder::Folder;
use super::mend;
use super::read::bytes_of;
use super::replay::{self, Finding, Policy, ReplayError, Replayed};
use super::snapshot::{self, Saved, SnapshotError};
use super::{Progress, SNAPSHOT_NAME, StoreError};

/// The most of a line that is shown.
const SHOWN_BYTES_MAX: usize = 100;

/// What was seen.
pub struct Inspection {
    pub(super) known: Option<Saved>,
    pub(super) replayed: Replayed,
    /// What a start does by itself, or what is no fault; a sentence each.
    pub notes: Vec<String>,
}

impl Inspection {
    /// What is damaged. None: a server starts on this folder.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.replayed.findings
    }

    /// How many changes the journals hold.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.replayed.held.changes
    }
}

/// Looks at a folder, and loads what can be read.
///
/// # Errors
/// [`StoreError`]: it cannot be read at all, or was written by a newer server.
pub(super) fn inspect(
    folder: &Folder,
    load: &dyn Load,
    progress: &Progress,
) -> Result<Inspection, StoreError> {
    progress.expect(bytes_of(folder)?);
    let path = folder.join(SNAPSHOT_NAME);
    let (known, mut findings) = read_snapshot(folder, &path, load, progress)?;
    let mut replayed = replay::replay(folder, known.as_ref(), Policy::Salvage, load, progress)?;
    let mut notes = notes(folder, &replayed)?;
    if let (Some(read), true) = (&known, findings.is_empty()) {
        let written = &replayed.held.saved;
        if !read.is_one_of(written) {
            findings.push(Finding {
                path,
                line: None,
                reason: "its content has changed, but its time of modification has not".to_owned(),
                lost: "it cannot be told which pairs are not as they were".to_owned(),
            });
        } else if read.is_edit_of(written) {
            notes.push(
                "store.json has been edited since it was written; a start takes it as it is"
                    .to_owned(),
            );
        }
    }
    findings.append(&mut replayed.findings);
    replayed.findings = findings;
    Ok(Inspection {
        known,
        replayed,
        notes,
    })
}

fn read_snapshot(
    folder: &Folder,
    path: &Path,
    load: &dyn Load,
    progress: &Progress,
) -> Result<(Option<Saved>, Vec<Finding>), StoreError> {
    let (line, reason) = match snapshot::read(folder.files(), path, load, progress) {
        Ok(known) => return Ok((known, Vec::new())),
        Err(SnapshotError::Malformed { line, reason, .. }) => (line, reason),
        Err(error) => return Err(error.into()),
    };
    let mut findings = Vec::new();
    snapshot::salvage(folder.files(), path, line, load, |number, text| {
        findings.push(Finding {
            path: path.to_owned(),
            line: Some(number),
            reason: if number == line {
                reason.clone()
            } else {
                "it is no pair".to_owned()
            },
            lost: format!("what it held: {}", shown(text)),
        });
    })
    .map_err(ReplayError::unreadable(path))?;
    if findings.is_empty() {
        findings.push(Finding {
            path: path.to_owned(),
            line: Some(line),
            lost: if reason.starts_with("EOF ") {
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
    Ok((Some(Saved::unread(&stat)), findings))
}

/// What is there that a start mends by itself.
fn notes(folder: &Folder, replayed: &Replayed) -> Result<Vec<String>, StoreError> {
    let mut notes = Vec::new();
    if let Some(segment) = replayed.segments.last().filter(|segment| segment.torn) {
        notes.push(format!(
            "{}: from line {} on it is not whole, as a crash leaves it: that was never promised; a start cuts it off, and keeps it as {}",
            segment.path.display(),
            segment.lines + 1,
            mend::aside_name(&segment.path, "torn")
        ));
    }
    for path in &replayed.unusable {
        notes.push(format!(
            "{} does not go on where the journal before it ends, as a power cut leaves it: nothing in it was promised; a start \
             keeps it as {}",
            path.display(),
            mend::aside_name(path, "unused")
        ));
    }
    for path in &replayed.superseded {
        notes.push(format!(
            "{}: store.json has taken its place; a start removes it",
            path.display()
        ));
    }
    for name in mend::unfinished(folder)? {
        notes.push(format!(
            "{name} is what an unfinished save has left; a start removes it"
        ));
    }
    Ok(notes)
}

/// The beginning of a line, for people: as it stands, but for what a terminal would not show.
#[must_use]
pub fn shown(line: &[u8]) -> String {
    let head = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES_MAX)]);
    let more = if line.len() > SHOWN_BYTES_MAX {
        " (and more)"
    } else {
        ""
    };
    let shown: String = head
        .chars()
        .map(|character| {
            if character.is_control() {
                character.escape_default().to_string()
            } else {
                character.to_string()
            }
        })
        .collect();
    format!("{shown}{more}")
}
