//! Reading the journals back, at the start of a server.
//!
//! In: the journals of a folder. Out: their changes, in order, and where to go on. Promises: the files are looked at as a
//! whole before any is changed; a tear at the very end is mended, and what was cut off kept; damage anywhere else is told
//! with file and line, and nothing is changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::folder::{Folder, FolderError};
use super::journal::{self, RECORD_BYTES_MAX, Recorded};
use super::snapshot::Saved;
use crate::record::{Change, Key, Value};

/// Why the journals cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line is not what was written, and whole lines come after it.
    #[error(
        "{path}: line {line} is damaged ({reason}); nothing was changed. Put a copy of the folder in its place; or, to go on \
         with what stands before that line, cut the file there (keep a copy) and move the journals after it away"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Journals are missing.
    #[error(
        "{path}: {missing} is missing; nothing was changed. Put it back, or put a copy of the whole folder in its place; to begin \
         with what is there without the journals, move them out of the folder"
    )]
    Gap {
        /// The journal that needs what is missing.
        path: PathBuf,
        /// What is missing.
        missing: String,
    },
    /// A newer server wrote it.
    #[error(
        "{path} has format {version}, and this server reads format 1; start it with a newer pykv-server"
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
    fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Unreadable { path, source }
    }
}

/// A journal that was read.
#[derive(Debug)]
pub struct Segment {
    /// Which.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// The length of its whole lines.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    first_seq: u64,
    next_seq: u64,
    torn: bool,
}

/// What the journals held.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The journals, oldest first.
    pub segments: Vec<Segment>,
    /// The number of the next record.
    pub next_seq: u64,
    /// How many changes there were.
    pub changes: u64,
    /// What store.json looked like each time that it was written.
    pub saved: Vec<Saved>,
    /// The highest number of a journal that is there.
    pub highest: u64,
    /// Whether a journal has the name of a new one: its file, or one before it, may not be on disk, whatever a sync says now.
    /// The name stays until a save has taken the place of all of them, so that the doubt outlives another crash.
    pub is_in_doubt: bool,
    /// New journals that hold nothing, or nothing that can be used; they go with the others.
    pub leftover: Vec<PathBuf>,
    /// Journals whose place the snapshot has taken.
    superseded: Vec<PathBuf>,
    /// New journals that do not go on where the one before ends.
    unusable: Vec<PathBuf>,
}

/// Reads all journals of a folder, oldest first. Nothing is changed yet: see [`Replayed::mend`].
///
/// # Errors
/// [`ReplayError`] and [`FolderError`].
pub fn replay(
    folder: &Folder,
    snapshot: Option<&Saved>,
    apply: &mut dyn FnMut(Change<'_>),
) -> Result<Replayed, super::StoreError> {
    let mut replayed = Replayed {
        next_seq: 1,
        ..Replayed::default()
    };
    let mut found = journals(folder)?;
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
        let missing = match replayed.segments.last() {
            _ if is_new && replayed.has_passed_over() => None,
            None if number == 1 || snapshot.is_some() => None,
            None => Some(format!(
                "store.json, or {}, which it continues,",
                journal::name(number - 1)
            )),
            Some(before) if before.number + 1 == number => None,
            Some(before) => Some(format!(
                "{}, which it continues,",
                journal::name(before.number + 1)
            )),
        };
        if let Some(missing) = missing {
            return Err(ReplayError::Gap { path, missing }.into());
        }
        // While a journal has the name of a new one, those before it may not be on disk.
        let may_be_torn = found[place + 1..].iter().all(|(_, is_new)| *is_new);
        read_segment(&mut replayed, path, number, is_new, may_be_torn, apply)?;
    }
    // Before a journal goes, the next one holds the record of the snapshot that has taken its place.
    if let Some(first) = replayed.segments.first()
        && first.first_seq > 1
        && replayed.saved.is_empty()
    {
        let missing = format!("{}, which it continues,", journal::name(first.number - 1));
        return Err(ReplayError::Gap {
            path: first.path.clone(),
            missing,
        }
        .into());
    }
    Ok(replayed)
}

/// The journals of a folder, by number.
fn journals(folder: &Folder) -> Result<Vec<(u64, bool)>, FolderError> {
    let mut found: Vec<_> = folder
        .names()?
        .iter()
        .filter_map(|name| journal::number_of(name))
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn path_of(folder: &Folder, (number, is_new): (u64, bool)) -> PathBuf {
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
    found: &[(u64, bool)],
    snapshot: &Saved,
) -> Result<Option<usize>, ReplayError> {
    for (place, (number, is_new)) in found.iter().copied().enumerate().rev() {
        if !is_new {
            continue;
        }
        let mut lines = Lines::open(&path_of(folder, (number, is_new)))?;
        let header = lines.next()?.and_then(journal::read_header);
        if header.is_none_or(|header| header.number != number) {
            continue;
        }
        while let Some(line) = lines.next()? {
            let Some((_, recorded)) = journal::read_record(line) else {
                break;
            };
            if matches!(recorded, Recorded::Saved(saved) if saved.is_same_content(snapshot)) {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}

fn read_segment(
    replayed: &mut Replayed,
    path: PathBuf,
    number: u64,
    is_new: bool,
    may_be_torn: bool,
    apply: &mut dyn FnMut(Change<'_>),
) -> Result<(), ReplayError> {
    if is_new && replayed.has_passed_over() && !replayed.segments.is_empty() {
        replayed.unusable.push(path);
        return Ok(());
    }
    let mut lines = Lines::open(&path)?;
    let damaged = |line, reason: &str| {
        Err(ReplayError::Damaged {
            path: path.clone(),
            line,
            reason: reason.to_owned(),
        })
    };
    let header = lines.next()?.and_then(journal::read_header);
    let Some(header) = header else {
        if is_new {
            replayed.leftover.push(path);
            return Ok(());
        }
        return damaged(1, "it is no whole first line of a journal");
    };
    if header.journal > journal::VERSION {
        return Err(ReplayError::Newer {
            path,
            version: header.journal,
        });
    }
    if header.number != number {
        return damaged(1, "it belongs to a journal with another number");
    }
    if let Some(before) = replayed.segments.last()
        && (before.torn || header.first_seq != before.next_seq)
    {
        if is_new && header.first_seq >= before.next_seq {
            replayed.unusable.push(path);
            return Ok(());
        }
        let ends = before.next_seq - 1;
        return damaged(
            1,
            &format!(
                "it goes on at {}, and the journal before ends at {ends}",
                header.first_seq
            ),
        );
    }
    let segment = Segment {
        number,
        path,
        bytes: lines.at,
        records: 0,
        first_seq: header.first_seq,
        next_seq: header.first_seq,
        torn: false,
    };
    let segment = read_records(replayed, segment, lines, may_be_torn, apply)?;
    replayed.next_seq = segment.next_seq;
    replayed.segments.push(segment);
    Ok(())
}

fn read_records(
    replayed: &mut Replayed,
    mut segment: Segment,
    mut lines: Lines,
    may_be_torn: bool,
    apply: &mut dyn FnMut(Change<'_>),
) -> Result<Segment, ReplayError> {
    loop {
        let number = segment.records + 2;
        let damaged = |reason: String| ReplayError::Damaged {
            path: segment.path.clone(),
            line: number,
            reason,
        };
        let Some(line) = lines.next()? else {
            return Ok(segment);
        };
        let Some((seq, recorded)) = journal::read_record(line) else {
            if !may_be_torn || lines.any_whole_record()? {
                return Err(damaged(
                    "it is not what was written, and whole records follow it".to_owned(),
                ));
            }
            segment.torn = true;
            return Ok(segment);
        };
        if seq != segment.next_seq {
            return Err(damaged(format!(
                "it is record {seq} where {} should stand",
                segment.next_seq
            )));
        }
        apply_record(recorded, replayed, apply).map_err(damaged)?;
        segment.bytes = lines.at;
        segment.records += 1;
        segment.next_seq += 1;
    }
}

fn apply_record(
    recorded: Recorded<'_>,
    replayed: &mut Replayed,
    apply: &mut dyn FnMut(Change<'_>),
) -> Result<(), String> {
    match recorded {
        Recorded::Saved(saved) => {
            replayed.saved.push(saved);
            return Ok(());
        }
        Recorded::Put(key, loaded) => {
            let key = Key::parse(key.as_bytes()).map_err(|error| error.to_string())?;
            let value = Value::parse_until(&loaded.bytes, loaded.expires_at)
                .map_err(|error| error.to_string())?;
            apply(Change::Put(key, value));
        }
        Recorded::Delete(keys) => {
            let keys: Result<Vec<Key<'_>>, _> =
                keys.iter().map(|key| Key::parse(key.as_bytes())).collect();
            apply(Change::Delete(&keys.map_err(|error| error.to_string())?));
        }
        Recorded::Clear => apply(Change::Clear),
    }
    replayed.changes += 1;
    Ok(())
}

impl Replayed {
    /// Whether a new journal could not be used: then none after it can go on where it should have ended.
    fn has_passed_over(&self) -> bool {
        !(self.unusable.is_empty() && self.leftover.is_empty())
    }

    /// Mends what a crash may leave: removes journals that the snapshot has taken the place of, keeps what cannot be used
    /// aside, cuts off a tail that was torn. Called once everything has been read and found good.
    ///
    /// # Errors
    /// [`ReplayError::Unreadable`]. A second crash in its middle leaves a folder that can be mended just the same.
    pub fn mend(&mut self, folder: &Folder) -> Result<(), ReplayError> {
        for path in self.superseded.drain(..) {
            folder
                .remove(&path)
                .map_err(ReplayError::unreadable(&path))?;
        }
        for path in self.unusable.drain(..) {
            let aside = folder.free_name(&aside_name(&path, "unused"));
            let kept = fs::hard_link(&path, &aside).or_else(|_| fs::copy(&path, &aside).map(drop));
            kept.and_then(|()| folder.sync())
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

fn aside_name(path: &Path, ending: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}.{ending}", name.trim_end_matches(".new"))
}

/// Copies the tail aside, syncs the copy, and only then cuts: in this order, so that a crash in the middle loses nothing.
fn cut_tail(folder: &Folder, segment: &Segment) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment.path)?;
    let bytes = file.metadata()?.len() - segment.bytes;
    let aside = folder.free_name(&aside_name(&segment.path, "torn"));
    let beside = folder.join(&aside_name(&aside, "new"));
    file.seek(SeekFrom::Start(segment.bytes))?;
    let mut copy = File::create(&beside)?;
    io::copy(&mut file, &mut copy)?;
    copy.sync_all()?;
    folder.publish(&beside, &aside)?;
    file.set_len(segment.bytes)?;
    file.sync_all()?;
    tracing::warn!(
        "{}: the last {bytes} bytes, from line {}, are not whole: they were never promised, and are kept in {}",
        segment.path.display(),
        segment.records + 2,
        aside.display()
    );
    Ok(())
}

/// The lines of a journal, and how far whole ones reach.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    at: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(ReplayError::unreadable(path))?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(256 << 10, file),
            line: Vec::new(),
            at: 0,
        })
    }

    /// The next line without its line feed, or `None` at the end of the file. A line without a line feed is given with one
    /// byte too many, so that no checksum can be right.
    fn next(&mut self) -> Result<Option<&[u8]>, ReplayError> {
        self.line.clear();
        self.line.shrink_to(1 << 20);
        let limit = RECORD_BYTES_MAX as u64;
        let count = (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut self.line)
            .map_err(ReplayError::unreadable(&self.path))?;
        if count == 0 {
            return Ok(None);
        }
        self.at += count as u64;
        match self.line.last() {
            Some(b'\n') => drop(self.line.pop()),
            _ => self.line.push(0),
        }
        Ok(Some(&self.line))
    }

    /// Whether a whole record is to come.
    fn any_whole_record(&mut self) -> Result<bool, ReplayError> {
        while let Some(line) = self.next()? {
            if journal::read_record(line).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Removes what an unfinished save or mend has left.
///
/// # Errors
/// [`FolderError::Unusable`].
pub fn remove_unfinished(folder: &Folder) -> Result<(), FolderError> {
    for name in folder.names()? {
        let unfinished = name
            .strip_suffix(".new")
            .is_some_and(|stem| stem == super::SNAPSHOT_NAME || stem.contains(".torn"));
        if unfinished {
            let path = folder.join(&name);
            fs::remove_file(&path).map_err(FolderError::unusable(
                &path,
                "remove what an unfinished save left",
            ))?;
        }
    }
    Ok(())
}
