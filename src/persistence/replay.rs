//! Reading all journals of a folder back.
//!
//! In: the journals of a folder. Out: their changes, in order, and where to go on. Promises: the files are looked at as a
//! whole before any is changed (`mend`); damage is told with file and line, and either ends the reading or is passed over
//! and noted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunks::Load;
use super::files::File;
use super::folder::{Folder, FolderError};
use super::journal::{self, Line, Recorded};
use super::progress::Progress;
use super::scan::{Held, Lines, Segment, Stop};
use super::snapshot::Saved;

/// Why the journals cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line is not what was written, and whole lines come after it.
    #[error(
        "{path}: line {line} is damaged ({reason}); nothing was changed. Put a copy of the folder in its place; or go on \
         without {lost}: `pykv-server repair` on the folder does that, and keeps all that it removes"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// What cannot be had back without a copy.
        lost: String,
    },
    /// Journals are missing.
    #[error(
        "{path}: {missing} is missing; nothing was changed. Put it back, or put a copy of the whole folder in its place; or go on \
         without what it held: `pykv-server repair` on the folder does that, and keeps all that it removes"
    )]
    Gap {
        /// The journal that needs what is missing.
        path: PathBuf,
        /// What is missing.
        missing: String,
    },
    /// A newer server wrote it.
    #[error(
        "{path} has format {version}, and this server reads formats 1 to {}; start it with a newer pykv-server",
        journal::VERSION
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        version: u64,
    },
    /// The system refuses.
    #[error("{path}: cannot read or mend it")]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ReplayError {
    pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unreadable { path, source }
    }
}

/// What is done about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It ends the reading.
    Stop,
    /// It is passed over and noted: what can be read is read.
    Salvage,
}

/// Damage that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, where it is one line.
    pub line: Option<u64>,
    /// What is wrong.
    pub reason: String,
    /// What is lost by it.
    pub lost: String,
}

/// What the journals held.
#[derive(Debug)]
pub struct Replayed {
    policy: Policy,
    /// The journals, oldest first.
    pub segments: Vec<Segment>,
    /// The number of the next record.
    pub next_seq: u64,
    /// Changes, and words of snapshots.
    pub held: Held,
    /// The highest number of a journal that is there.
    pub highest: u64,
    /// Whether a journal has the name of a new one: its file, or one before it, may not be on disk, whatever a sync says now.
    /// The name stays until a save has taken the place of all of them, so that the doubt outlives another crash.
    pub is_in_doubt: bool,
    /// New journals that hold nothing, or nothing that can be used; they go with the others.
    pub leftover: Vec<PathBuf>,
    /// Journals whose place the snapshot has taken.
    pub superseded: Vec<PathBuf>,
    /// New journals that do not go on where the one before ends.
    pub unusable: Vec<PathBuf>,
    /// Damage that was passed over.
    pub findings: Vec<Finding>,
}

/// Journals by number, and whether they have the name of a new one.
type Found = (u64, bool);

/// The journals of a folder, oldest first, and how many bytes they have.
///
/// # Errors
/// [`FolderError`].
pub fn journals(folder: &Folder) -> Result<Vec<Found>, FolderError> {
    let mut found: Vec<_> = folder
        .names()?
        .iter()
        .filter_map(|name| journal::number_of(name))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Reads all journals of a folder, oldest first. Nothing is changed yet: see [`Replayed::mend`].
///
/// # Errors
/// [`ReplayError`] and [`FolderError`].
pub fn replay(
    folder: &Folder,
    snapshot: Option<&Saved>,
    policy: Policy,
    load: &dyn Load,
    progress: &Progress,
) -> Result<Replayed, super::StoreError> {
    let mut found = journals(folder)?;
    let mut replayed = Replayed {
        policy,
        segments: Vec::new(),
        next_seq: 1,
        held: Held::default(),
        highest: 0,
        is_in_doubt: false,
        leftover: Vec::new(),
        superseded: Vec::new(),
        unusable: Vec::new(),
        findings: Vec::new(),
    };
    if let Some(snapshot) = snapshot
        && let Some(from) = superseding(folder, &found, snapshot)?
    {
        replayed.superseded = found
            .drain(..from)
            .map(|journal| path_of(folder, journal))
            .collect();
    }
    replayed.is_in_doubt = found.iter().any(|(_, is_new)| *is_new);
    replayed.highest = found.last().map_or(0, |(number, _)| *number);
    for (place, (number, is_new)) in found.iter().copied().enumerate() {
        let path = path_of(folder, (number, is_new));
        if let Some(missing) = replayed.missing_before(number, is_new, snapshot.is_some()) {
            replayed.miss(&path, missing)?;
        }
        // While a journal has the name of a new one, those before it may not be on disk.
        let may_be_torn = found[place + 1..].iter().all(|(_, is_new)| *is_new);
        replayed.read_journal(folder, path, number, is_new, may_be_torn, load, progress)?;
    }
    // Before a journal goes, the next one holds the record of the snapshot that has taken its place.
    if let Some(first) = replayed.segments.first()
        && first.first_seq > 1
        && replayed.held.saved.is_empty()
    {
        let missing = format!("{}, which it continues,", journal::name(first.number - 1));
        let path = first.path.clone();
        replayed.miss(&path, missing)?;
    }
    Ok(replayed)
}

fn path_of(folder: &Folder, (number, is_new): Found) -> PathBuf {
    folder.join(&if is_new {
        journal::new_name(number)
    } else {
        journal::name(number)
    })
}

/// The place of the last new journal that records the snapshot which is there. Such a journal was begun because one before
/// it could not be relied on any more, and the snapshot holds all that those before it say, and more.
fn superseding(
    folder: &Folder,
    found: &[Found],
    snapshot: &Saved,
) -> Result<Option<usize>, ReplayError> {
    for (place, (number, is_new)) in found.iter().copied().enumerate().rev() {
        let path = path_of(folder, (number, is_new));
        if is_new
            && records(folder, &path, number, snapshot).map_err(ReplayError::unreadable(&path))?
        {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Whether a journal holds the record of this snapshot.
fn records(folder: &Folder, path: &Path, number: u64, snapshot: &Saved) -> io::Result<bool> {
    let file = folder.files().open(path)?;
    let Some((_, segment)) =
        Segment::open(&file, path, number)?.filter(|(header, _)| header.number == number)
    else {
        return Ok(false);
    };
    let mut lines = Lines::new(&file, segment.bytes);
    while let Some(line) = lines.next()? {
        match journal::read_line(line) {
            None => break,
            Some(Line::Record(_, Recorded::Saved(saved))) if saved.is_same_content(snapshot) => {
                return Ok(true);
            }
            Some(_) => {}
        }
    }
    Ok(false)
}

impl Replayed {
    /// Whether a new journal could not be used: then none after it can go on where it should have ended.
    fn has_passed_over(&self) -> bool {
        !(self.unusable.is_empty() && self.leftover.is_empty())
    }

    /// What should stand before this journal and does not.
    fn missing_before(&self, number: u64, is_new: bool, has_snapshot: bool) -> Option<String> {
        match self.segments.last() {
            _ if is_new && self.has_passed_over() => None,
            None if number == 1 || has_snapshot => None,
            None => Some(format!(
                "store.json, or {}, which it continues,",
                journal::name(number - 1)
            )),
            Some(before) if before.number + 1 == number => None,
            Some(before) => Some(format!(
                "{}, which it continues,",
                journal::name(before.number + 1)
            )),
        }
    }

    fn miss(&mut self, path: &Path, missing: String) -> Result<(), ReplayError> {
        if self.policy == Policy::Stop {
            return Err(ReplayError::Gap {
                path: path.to_owned(),
                missing,
            });
        }
        self.findings.push(Finding {
            path: path.to_owned(),
            line: None,
            reason: format!("{missing} is missing"),
            lost: "what it held".to_owned(),
        });
        Ok(())
    }

    fn damage(
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
        self.findings.push(Finding {
            path: path.to_owned(),
            line: Some(line),
            reason,
            lost,
        });
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a name, two things known of it, and where what it holds goes"
    )]
    fn read_journal(
        &mut self,
        folder: &Folder,
        path: PathBuf,
        number: u64,
        is_new: bool,
        may_be_torn: bool,
        load: &dyn Load,
        progress: &Progress,
    ) -> Result<(), ReplayError> {
        if is_new && self.has_passed_over() && !self.segments.is_empty() {
            self.unusable.push(path);
            return Ok(());
        }
        let unreadable = |source| ReplayError::unreadable(&path)(source);
        let file = folder.files().open(&path).map_err(unreadable)?;
        let opened = Segment::open(&file, &path, number).map_err(unreadable)?;
        let mut segment = match opened {
            Some((header, _)) if header.journal > journal::VERSION => {
                return Err(ReplayError::Newer {
                    path,
                    version: header.journal,
                });
            }
            Some((header, segment)) if header.number == number => segment,
            None if is_new
                && Segment::unbegun(&path, number, 0)
                    .is_at_tear(&file)
                    .map_err(unreadable)? =>
            {
                self.leftover.push(path);
                return Ok(());
            }
            opened => {
                let reason = match opened {
                    Some(_) => "it belongs to a journal with another number",
                    None => "it is no whole first line of a journal",
                };
                let lost = "nothing but the place of its records among those of other journals";
                self.damage(&path, 1, reason.to_owned(), lost.to_owned())?;
                Segment::headless(&file, &path, number, self.next_seq).map_err(unreadable)?
            }
        };
        if let Some(before) = self.segments.last()
            && (before.torn || segment.first_seq != before.next_seq)
        {
            if is_new && segment.first_seq >= before.next_seq {
                self.unusable.push(path);
                return Ok(());
            }
            let reason = format!(
                "it goes on at {}, and the journal before ends at {}",
                segment.first_seq,
                before.next_seq - 1
            );
            self.damage(&path, 1, reason, "the records between".to_owned())?;
        }
        self.read_records(&file, &mut segment, may_be_torn, load, progress)?;
        self.next_seq = segment.next_seq;
        self.segments.push(segment);
        Ok(())
    }

    fn read_records(
        &mut self,
        file: &Arc<dyn File>,
        segment: &mut Segment,
        may_be_torn: bool,
        load: &dyn Load,
        progress: &Progress,
    ) -> Result<(), ReplayError> {
        let path = segment.path.clone();
        let unreadable = |source| ReplayError::unreadable(&path)(source);
        // Lines in a row that were not whole: that their numbers are missing has been told.
        let mut bad_lines = 0;
        while let Some(stop) = segment
            .read(file, &mut self.held, load, progress)
            .map_err(unreadable)?
        {
            let line = segment.lines + 1;
            if stop == Stop::NotWhole
                && may_be_torn
                && segment.is_at_tear(file).map_err(unreadable)?
            {
                segment.torn = true;
                return Ok(());
            }
            let expected = segment.next_seq;
            if let Stop::OutOfOrder(seq) = stop
                && segment.is_headless
                && segment.lines == 1
                && self.segments.is_empty()
            {
                // What came before is in store.json.
                (segment.first_seq, segment.next_seq) = (seq, seq);
                continue;
            }
            let (reason, lost) = match &stop {
                Stop::NotWhole => (
                    "it is not what was written, and whole lines follow it".to_owned(),
                    format!(
                        "the change that it held: {}",
                        segment.shown_line(file).map_err(unreadable)?
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
            let was_told = matches!(stop, Stop::OutOfOrder(seq) if (expected..=expected + bad_lines).contains(&seq));
            if !was_told {
                self.damage(&path, line, reason, lost)?;
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
