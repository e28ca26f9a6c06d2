//! Reading journals back while they are written to.
//!
//! In: the revision that was read last, and the newest that may be shown. Out: the changes between, some at a time. Promises:
//! of a file no more is looked at than the records that may be shown, all of which were written whole before: a line that is
//! being written, or cut back, is never taken for a record; memory is bounded by the longest record.

use std::io;
use std::sync::Arc;

use super::feed::FollowError;
use super::files::{File, read_full};
use super::journal::{self, Changed, Line, RECORD_BYTES_MAX, Recorded};
use super::scan::Lines;
use super::segment::Segment;
use super::writer::{Writer, locked};
use crate::model::entry::Entry;
use crate::model::{Key, Value};

/// What is read at a time: little work, and little memory; more only for a record that is longer.
const READ_BYTES: usize = 256 << 10;

/// One change, read back.
#[derive(Debug, Clone)]
pub enum OwnedChange {
    /// The pair is now this one.
    Put(Entry),
    /// The key is gone.
    Delete(String),
    /// Every key is gone.
    Clear,
}

/// Changes, each with its revision: the number of the record that it is in.
pub type Changes = Vec<(u64, OwnedChange)>;

/// What was read.
pub(super) struct Batch {
    pub(super) changes: Changes,
    /// All up to here have been read.
    pub(super) revision: u64,
}

/// A journal that can be read.
#[derive(Clone)]
pub(super) struct Journal {
    /// The number of its first record.
    pub(super) first_seq: u64,
    pub(super) file: Arc<dyn File>,
}

/// Reads on from where it was.
pub(super) struct Reader {
    writer: Arc<Writer>,
    prefix: Box<str>,
    revision: u64,
    /// Where the next record is, or will be, or some before it.
    place: Option<(Journal, u64)>,
}

impl Reader {
    pub(super) fn new(writer: Arc<Writer>, prefix: Key<'_>, after: u64) -> Self {
        Self {
            writer,
            prefix: prefix.as_str().into(),
            revision: after,
            place: None,
        }
    }

    /// Reads on, not past the record that is `safe`, which is past the last one that was read.
    ///
    /// # Errors
    /// [`FollowError::Gone`] and [`FollowError::Unreadable`].
    pub(super) fn read(&mut self, safe: u64) -> Result<Batch, FollowError> {
        let mut changes = Changes::new();
        let mut room = READ_BYTES;
        loop {
            let (journal, offset) = match self.place.take() {
                Some(place) => place,
                None => self.enter(0)?,
            };
            let there = journal.file.stat()?.bytes.saturating_sub(offset);
            let there = usize::try_from(there).map_err(io::Error::other)?;
            let mut bytes = vec![0; there.min(room)];
            let count = read_full(&*journal.file, &mut bytes, offset)?;
            let taken = self.take(&bytes[..count], safe, &mut changes)?;
            if taken > 0 {
                self.place = Some((journal, offset + taken));
                return Ok(Batch {
                    changes,
                    revision: self.revision,
                });
            }
            self.place = Some(if room < there.min(RECORD_BYTES_MAX) {
                room = (2 * room).min(RECORD_BYTES_MAX);
                (journal, offset)
            } else {
                // What is safe is written: if it is not here, it is in a journal that was begun since.
                self.enter(journal.first_seq + 1)?
            });
        }
    }

    /// Takes lines, up to the last record that is safe, and not many more than are to be read at a time; how many bytes they
    /// have.
    fn take(&mut self, bytes: &[u8], safe: u64, changes: &mut Changes) -> Result<u64, FollowError> {
        let mut rest = bytes;
        while self.revision < safe
            && bytes.len() - rest.len() < READ_BYTES
            && let Some(end) = memchr::memchr(b'\n', rest)
            && let Some(line) = journal::read_line(&rest[..end])
        {
            rest = &rest[end + 1..];
            let Line::Record(seq, recorded) = line else {
                continue;
            };
            if seq <= self.revision {
                continue;
            }
            if seq > self.revision + 1 {
                return Err(self.gone(seq - 1));
            }
            self.revision = seq;
            let mut give = |change| changes.push((seq, change));
            match recorded {
                Recorded::Change(change) => own(change, &self.prefix, &mut give)?,
                Recorded::Group(group) => {
                    for change in group {
                        own(change, &self.prefix, &mut give)?;
                    }
                }
                Recorded::Saved(_) => {}
            }
        }
        Ok((bytes.len() - rest.len()) as u64)
    }

    /// Opens the journal in which the next record stands, at that record or not far before it. A journal whose first record is
    /// before `least` has been read to its end.
    fn enter(&self, least: u64) -> Result<(Journal, u64), FollowError> {
        let seq = self.revision + 1;
        match self.writer.journal_of(seq)? {
            (Some(journal), _) if journal.first_seq >= least => {
                let offset = near(&journal.file, seq)?;
                Ok((journal, offset))
            }
            (_, from) => Err(self.gone(from)),
        }
    }

    fn gone(&self, from: u64) -> FollowError {
        FollowError::Gone {
            after: self.revision,
            from,
        }
    }
}

/// Gives what a change has done to keys with this prefix.
fn own(
    change: Changed<'_>,
    prefix: &str,
    give: &mut impl FnMut(OwnedChange),
) -> Result<(), FollowError> {
    match change {
        Changed::Put(key, loaded) => {
            if key.starts_with(prefix) {
                let pair = Key::parse(key.as_bytes()).and_then(|key| {
                    Ok((key, Value::parse_until(&loaded.bytes, loaded.expires_at)?))
                });
                let (key, value) = pair.map_err(io::Error::other)?;
                give(OwnedChange::Put(Entry::new(key, value)));
            }
        }
        Changed::Delete(keys) => {
            for key in keys.into_iter().filter(|key| key.starts_with(prefix)) {
                give(OwnedChange::Delete(key));
            }
        }
        Changed::Clear => give(OwnedChange::Clear),
    }
    Ok(())
}

/// Where a line begins from which on the record with this number stands, if it is there, after the first line and not far
/// behind: found by looking into the middle of what is left, as the numbers grow.
fn near(file: &Arc<dyn File>, seq: u64) -> io::Result<u64> {
    let mut first = Lines::new(file, 0);
    first.next()?;
    let (mut from, mut to) = (first.at, file.stat()?.bytes);
    while to.saturating_sub(from) > READ_BYTES as u64 {
        let middle = from + (to - from) / 2;
        match record_after(file, middle)? {
            Some((at, there)) if there <= seq => from = at,
            _ => to = middle,
        }
    }
    Ok(from)
}

/// The first record that begins behind a place: where, and its number.
fn record_after(file: &Arc<dyn File>, place: u64) -> io::Result<Option<(u64, u64)>> {
    let mut lines = Lines::new(file, place);
    lines.next()?;
    loop {
        let at = lines.at;
        let line = lines.next()?;
        match line.map(journal::read_line) {
            Some(Some(Line::Record(seq, _))) => return Ok(Some((at, seq))),
            Some(Some(Line::Mark(_))) => {}
            // What comes from here on is not written to its end.
            None | Some(None) => return Ok(None),
        }
    }
}

impl Writer {
    /// The journal in which the record with this number stands, if it is in any; and after which revision one begins.
    fn journal_of(&self, seq: u64) -> io::Result<(Option<Journal>, u64)> {
        let open = locked(&self.open);
        let older = open
            .older
            .iter()
            .filter_map(|older| Some((older.first_seq?, older.file.as_ref(), &older.path)));
        let Segment {
            first_seq,
            file,
            path,
            ..
        } = &open.segment;
        let all = older.chain([(*first_seq, Some(file), path)]);
        let later = all.clone().find(|(first_seq, ..)| *first_seq > seq);
        let from = later.map_or_else(|| self.appended(), |(first_seq, ..)| first_seq - 1);
        if let Some((first_seq, file, path)) = all.rev().find(|(first, ..)| *first <= seq) {
            // Under the lock no journal gets another name; one that is being removed may have none any more.
            let file = match file {
                Some(file) => Ok(Arc::clone(file)),
                None => self.folder.files().open(path),
            };
            return match file {
                Ok(file) => Ok((Some(Journal { first_seq, file }), from)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, from)),
                Err(error) => Err(error),
            };
        }
        Ok((locked(&self.kept).journal_of(seq), from))
    }
}
