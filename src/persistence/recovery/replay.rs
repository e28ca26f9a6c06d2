//! Reading all journals of a folder back.
//!
//! In: the journals of a folder. Out: their changes, in order, and where the next record goes. Promises: nothing is changed;
//! damage is reported with file and line, and either ends the reading or is passed over and noted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ReplayError, StoreError};
use super::finding::Finding;
use super::progress::Progress;
use super::scan::{JournalContents, ScannedSegment, Stop};
use super::sink::Load;
use crate::persistence::disk::{File, Folder};
use crate::persistence::format::{
    JournalName, Line, LineReader, Payload, SnapshotFingerprint, VERSION, read_line,
};

/// The reaction to damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It ends the reading.
    Stop,
    /// It is passed over and noted, and reading goes on after it.
    Salvage,
}

/// The reliability of journals that were read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// They are what was written, and on disk.
    Sound,
    /// One of them is provisional: its file, or one before it, may not be on disk, whatever a sync says now.
    InDoubt,
    /// Damage was passed over.
    Damaged,
}

/// The journals of a folder, read back.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The journals, oldest first.
    pub segments: Vec<ScannedSegment>,
    /// The number of the next record.
    pub next_seq: u64,
    /// The content of their records.
    pub contents: JournalContents,
    /// The highest number of a journal in the folder.
    pub highest: u64,
    /// Provisional journals that hold no record that can be used; they go with the others.
    pub leftover: Vec<PathBuf>,
    /// Journals that the snapshot has replaced.
    pub superseded: Vec<PathBuf>,
    /// Provisional journals that do not continue the one before.
    pub unusable: Vec<PathBuf>,
    /// Damage that was passed over.
    pub findings: Vec<Finding>,
    has_provisional: bool,
}

impl Replayed {
    /// Returns the reliability of the journals. A provisional name stays until a save has replaced the journal, so that
    /// the doubt outlives another crash.
    #[must_use]
    pub fn trust(&self) -> Trust {
        if !self.findings.is_empty() {
            Trust::Damaged
        } else if self.has_provisional {
            Trust::InDoubt
        } else {
            Trust::Sound
        }
    }

    /// Returns true if a provisional journal could not be used: none after it can continue where it should have ended.
    fn has_passed_over(&self) -> bool {
        !(self.unusable.is_empty() && self.leftover.is_empty())
    }

    /// Names what should stand before this journal and does not.
    fn missing_before(&self, name: JournalName, has_snapshot: bool) -> Option<String> {
        match self.segments.last() {
            _ if name.is_provisional && self.has_passed_over() => None,
            None if name.number == 1 || has_snapshot => None,
            None => Some(format!(
                "store.json, or {}, which it continues,",
                JournalName::settled(name.number - 1)
            )),
            Some(before) if before.number + 1 == name.number => None,
            Some(before) => Some(format!(
                "{}, which it continues,",
                JournalName::settled(before.number + 1)
            )),
        }
    }
}

/// Reads all journals of a folder, oldest first. What a crash has left is listed, and mended by [`mend`](super::mend()).
///
/// # Errors
/// [`StoreError::Folder`] if the folder cannot be listed; [`StoreError::Replay`] if a file cannot be read, was written by a
/// newer server or, with [`Policy::Stop`], is damaged or missing.
pub fn replay(
    folder: &Folder,
    snapshot: Option<&SnapshotFingerprint>,
    policy: Policy,
    load: &dyn Load,
    progress: &Progress,
) -> Result<Replayed, StoreError> {
    let names = folder.names()?;
    let mut found: Vec<JournalName> = names
        .iter()
        .filter_map(|name| JournalName::parse(name))
        .collect();
    found.sort_unstable();
    let mut replayed = Replayed {
        next_seq: 1,
        ..Replayed::default()
    };
    if let Some(snapshot) = snapshot
        && let Some(from) = superseding(folder, &found, snapshot)?
    {
        replayed.superseded = found
            .drain(..from)
            .map(|name| folder.join(&name.to_string()))
            .collect();
    }
    replayed.has_provisional = found.iter().any(|name| name.is_provisional);
    replayed.highest = found.last().map_or(0, |name| name.number);
    let mut replay = Replay {
        folder,
        policy,
        load,
        progress,
        replayed,
    };
    for (place, name) in found.iter().copied().enumerate() {
        let path = folder.join(&name.to_string());
        if let Some(missing) = replay.replayed.missing_before(name, snapshot.is_some()) {
            replay.note_gap(&path, missing)?;
        }
        // While a journal is provisional, those before it may not be on disk.
        let may_be_torn = found[place + 1..].iter().all(|name| name.is_provisional);
        replay.read_journal(path, name, may_be_torn)?;
    }
    // A journal is removed only once the next one holds the record of the snapshot that replaces it.
    if let Some(first) = replay.replayed.segments.first()
        && first.first_seq > 1
        && replay.replayed.contents.saved.is_empty()
    {
        let before = JournalName::settled(first.number - 1);
        let path = first.path.clone();
        replay.note_gap(&path, format!("{before}, which it continues,"))?;
    }
    Ok(replay.replayed)
}

/// Finds the last provisional journal that records the present snapshot. Such a journal was started because one before it
/// could not be relied on any more, and the snapshot holds all that those before it say, and more.
fn superseding(
    folder: &Folder,
    found: &[JournalName],
    snapshot: &SnapshotFingerprint,
) -> Result<Option<usize>, ReplayError> {
    for (place, name) in found.iter().enumerate().rev() {
        let is_it = |saved: &SnapshotFingerprint| saved.is_same_content(snapshot);
        if name.is_provisional && records_snapshot(folder, *name, is_it)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Returns true if a journal holds the record of a snapshot, which `is_it` tells by its fingerprint.
pub(super) fn records_snapshot(
    folder: &Folder,
    name: JournalName,
    is_it: impl Fn(&SnapshotFingerprint) -> bool,
) -> Result<bool, ReplayError> {
    let path = folder.join(&name.to_string());
    let unreadable = |source| ReplayError::unreadable(&path)(source);
    let file = folder.files().open(&path).map_err(unreadable)?;
    let opened = ScannedSegment::open(&file, &path, name.number).map_err(unreadable)?;
    let Some((_, segment)) = opened.filter(|(header, _)| header.number == name.number) else {
        return Ok(false);
    };
    let mut lines = LineReader::new(&file, segment.bytes);
    while let Some(line) = lines.next().map_err(unreadable)? {
        match read_line(line) {
            None => break,
            Some(Line::Saved(saved) | Line::Record(_, Payload::Saved(saved))) if is_it(&saved) => {
                return Ok(true);
            }
            Some(_) => {}
        }
    }
    Ok(false)
}

/// Returns true if no record follows in a journal behind an offset.
fn holds_no_record(file: &Arc<dyn File>, offset: u64) -> io::Result<bool> {
    let mut lines = LineReader::new(file, offset);
    while let Some(line) = lines.next()? {
        if matches!(read_line(line), Some(Line::Record(..))) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A reading of all journals, in progress.
struct Replay<'a> {
    folder: &'a Folder,
    policy: Policy,
    load: &'a dyn Load,
    progress: &'a Progress,
    replayed: Replayed,
}

impl Replay<'_> {
    fn note_gap(&mut self, path: &Path, missing: String) -> Result<(), ReplayError> {
        if self.policy == Policy::Stop {
            return Err(ReplayError::Gap {
                path: path.to_owned(),
                missing,
            });
        }
        self.replayed.findings.push(Finding {
            path: path.to_owned(),
            line: None,
            reason: format!("{missing} is missing"),
            lost: "what it held".to_owned(),
        });
        Ok(())
    }

    fn note_damage(
        &mut self,
        path: &Path,
        line: u64,
        reason: String,
        lost: String,
    ) -> Result<(), ReplayError> {
        if self.policy == Policy::Stop {
            return Err(ReplayError::Damaged {
                path: path.to_owned(),
                line,
                reason,
                lost,
            });
        }
        self.replayed.findings.push(Finding {
            path: path.to_owned(),
            line: Some(line),
            reason,
            lost,
        });
        Ok(())
    }

    fn read_journal(
        &mut self,
        path: PathBuf,
        name: JournalName,
        may_be_torn: bool,
    ) -> Result<(), ReplayError> {
        let JournalName {
            number,
            is_provisional,
        } = name;
        if is_provisional && self.replayed.has_passed_over() && !self.replayed.segments.is_empty() {
            self.replayed.unusable.push(path);
            return Ok(());
        }
        let unreadable = |source| ReplayError::unreadable(&path)(source);
        let file = self.folder.files().open(&path).map_err(unreadable)?;
        let opened = ScannedSegment::open(&file, &path, number).map_err(unreadable)?;
        let mut segment = match opened {
            Some((header, _)) if header.journal > VERSION => {
                return Err(ReplayError::Newer {
                    path,
                    version: header.journal,
                });
            }
            Some((header, segment)) if header.number == number => segment,
            None if is_provisional
                && ScannedSegment::unbegun(&path, number, 0)
                    .is_at_tear(&file)
                    .map_err(unreadable)? =>
            {
                self.replayed.leftover.push(path);
                return Ok(());
            }
            opened => {
                let reason = match opened {
                    Some(_) => "it belongs to a journal with another number",
                    None => "it is no whole first line of a journal",
                };
                let lost = "nothing but the place of its records among those of other journals";
                self.note_damage(&path, 1, reason.to_owned(), lost.to_owned())?;
                let next_seq = self.replayed.next_seq;
                ScannedSegment::headless(&file, &path, number, next_seq).map_err(unreadable)?
            }
        };
        if let Some(before) = self.replayed.segments.last()
            && (before.is_torn || segment.first_seq != before.next_seq)
        {
            // One without records was begun for a copy of a primary that was not saved.
            if is_provisional
                && (segment.first_seq >= before.next_seq
                    || holds_no_record(&file, segment.bytes).map_err(unreadable)?)
            {
                self.replayed.unusable.push(path);
                return Ok(());
            }
            let reason = format!(
                "it goes on at {}, and the journal before ends at {}",
                segment.first_seq,
                before.next_seq - 1
            );
            self.note_damage(&path, 1, reason, "the records between".to_owned())?;
        }
        self.read_records(&file, &mut segment, may_be_torn)?;
        self.replayed.next_seq = segment.next_seq;
        self.replayed.segments.push(segment);
        Ok(())
    }

    fn read_records(
        &mut self,
        file: &Arc<dyn File>,
        segment: &mut ScannedSegment,
        may_be_torn: bool,
    ) -> Result<(), ReplayError> {
        let path = segment.path.clone();
        let unreadable = |source| ReplayError::unreadable(&path)(source);
        // Consecutive lines that were not whole: that their numbers are missing has been reported with them.
        let mut bad_lines = 0;
        while let Some(stop) = segment
            .read(file, &mut self.replayed.contents, self.load, self.progress)
            .map_err(unreadable)?
        {
            let line = segment.lines + 1;
            if stop == Stop::NotWhole
                && may_be_torn
                && segment.is_at_tear(file).map_err(unreadable)?
            {
                segment.is_torn = true;
                return Ok(());
            }
            let expected = segment.next_seq;
            if let Stop::OutOfOrder(seq) = stop
                && segment.is_headless
                && segment.lines == 1
                && self.replayed.segments.is_empty()
            {
                // The records before it are in store.json.
                (segment.first_seq, segment.next_seq) = (seq, seq);
                continue;
            }
            let (reason, lost) = match &stop {
                Stop::NotWhole => (
                    "it is not what was written, and whole lines follow it".to_owned(),
                    format!(
                        "the change that it held: {}",
                        segment.excerpt(file).map_err(unreadable)?
                    ),
                ),
                Stop::OutOfOrder(seq) if *seq > expected => (
                    format!("it is record {seq} where {expected} should stand"),
                    format!("the changes of records {expected} to {}", seq - 1),
                ),
                Stop::OutOfOrder(seq) => (
                    format!("it is record {seq} where {expected} should stand"),
                    "nothing but this line, which is left out".to_owned(),
                ),
                Stop::Impossible(reason) => (
                    reason.clone(),
                    format!("the change that it held, record {expected}"),
                ),
            };
            let is_reported = matches!(stop, Stop::OutOfOrder(seq) if (expected..=expected + bad_lines).contains(&seq));
            if !is_reported {
                self.note_damage(&path, line, reason, lost)?;
            }
            bad_lines = if stop == Stop::NotWhole {
                bad_lines + 1
            } else {
                0
            };
            match stop {
                Stop::OutOfOrder(seq) if seq > expected => segment.next_seq = seq,
                _ => segment.skip_line(file).map_err(unreadable)?,
            }
        }
        Ok(())
    }
}
