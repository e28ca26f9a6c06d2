//! Reading journals back while they are appended to.
//!
//! In: the revision that was read last, and the newest that may be shown. Out: the changes between, a page at a time.
//! Promises: of a file no more is looked at than the records that may be shown, all of which were written whole before: a line
//! that is being written, or cut back, is never taken for a record; memory is bounded by the longest record.

use std::io;
use std::sync::Arc;

use super::error::FollowError;
use crate::model::entry::Entry;
use crate::model::{Key, Value};
use crate::persistence::disk::{File, read_full};
use crate::persistence::format::{
    Line, LineReader, ParsedChange, Payload, RECORD_BYTES_MAX, read_line,
};
use crate::persistence::journal::{JournalFile, Writer};

/// Bytes read at a time: little work, and little memory; more only for a longer record.
const READ_BYTES: usize = 256 << 10;

/// One change, read back.
#[derive(Debug, Clone)]
pub enum OwnedChange {
    /// The key now has this value.
    Put(Entry),
    /// The key is gone.
    Delete(Vec<u8>),
    /// The key was evicted.
    Evict(Vec<u8>),
    /// Every key is gone.
    Clear,
}

/// Changes, each with its revision: the number of the record that it is in.
pub type Changes = Vec<(u64, OwnedChange)>;

/// Changes that were read at one time.
pub struct Page {
    /// The changes of keys with the prefix; there may be none.
    pub changes: Changes,
    /// All records up to this one have been read.
    pub revision: u64,
}

/// Lines that were read at one time.
pub struct LinesPage {
    /// The lines of records, each with its line feed.
    pub bytes: Vec<u8>,
    /// All records up to this one have been read.
    pub revision: u64,
}

/// Takes a record: its number, its content, and its line.
type Give<'g> = dyn FnMut(u64, Payload<'_>, &[u8]) -> Result<(), FollowError> + 'g;

/// Reads the records after a revision.
pub struct JournalReader {
    writer: Arc<Writer>,
    prefix: Box<[u8]>,
    revision: u64,
    /// A journal and an offset, at or before which the next record stands or will stand.
    position: Option<(JournalFile, u64)>,
}

impl JournalReader {
    /// Creates a reader of the changes of keys with a prefix, after a revision.
    #[must_use]
    pub fn new(writer: Arc<Writer>, prefix: Key<'_>, after: u64) -> Self {
        Self {
            writer,
            prefix: prefix.as_bytes().into(),
            revision: after,
            position: None,
        }
    }

    /// Reads on, not past record `safe`, which is after the last one that was read.
    ///
    /// # Errors
    /// [`FollowError::Gone`] if the next record is in no journal any more; [`FollowError::Unreadable`] if the system refuses to
    /// read one.
    pub fn read(&mut self, safe: u64) -> Result<Page, FollowError> {
        let mut changes = Changes::new();
        let prefix = self.prefix.clone();
        self.read_records(safe, &mut |seq, payload, _| {
            let mut give = |change| changes.push((seq, change));
            match payload {
                Payload::Change(change) => to_owned_changes(change, &prefix, &mut give)?,
                Payload::Group(group) => {
                    for change in group {
                        to_owned_changes(change, &prefix, &mut give)?;
                    }
                }
                Payload::Saved(_) => {}
            }
            Ok(())
        })?;
        Ok(Page {
            changes,
            revision: self.revision,
        })
    }

    /// Returns the lines of the records after a revision, as [`Self::read`] does; at least one.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_lines(&mut self, after: u64, safe: u64) -> Result<LinesPage, FollowError> {
        if after != self.revision {
            // Others have read meanwhile.
            self.revision = after;
            self.position = None;
        }
        let mut bytes = Vec::new();
        // At first there may be nothing but records before.
        while self.revision == after {
            self.read_records(safe, &mut |_, _, line| {
                bytes.extend_from_slice(line);
                Ok(())
            })?;
        }
        Ok(LinesPage {
            bytes,
            revision: self.revision,
        })
    }

    fn read_records(&mut self, safe: u64, give: &mut Give<'_>) -> Result<(), FollowError> {
        let mut room = READ_BYTES;
        loop {
            let (journal, offset) = match self.position.take() {
                Some(position) => position,
                None => self.open_segment_for(0)?,
            };
            let there = journal.file.stat()?.bytes.saturating_sub(offset);
            let there = usize::try_from(there).map_err(io::Error::other)?;
            let mut bytes = vec![0; there.min(room)];
            let count = read_full(&*journal.file, &mut bytes, offset)?;
            let taken = self.take(&bytes[..count], safe, give)?;
            if taken > 0 {
                self.position = Some((journal, offset + taken));
                return Ok(());
            }
            self.position = Some(if room < there.min(RECORD_BYTES_MAX) {
                room = (2 * room).min(RECORD_BYTES_MAX);
                (journal, offset)
            } else {
                // What is safe was written: if it is not here, it is in a journal that was started since.
                self.open_segment_for(journal.first_seq + 1)?
            });
        }
    }

    /// Takes lines, up to the last record that is safe, and not many more than are read at a time. Returns their length in
    /// bytes.
    fn take(&mut self, bytes: &[u8], safe: u64, give: &mut Give<'_>) -> Result<u64, FollowError> {
        let mut rest = bytes;
        while self.revision < safe
            && bytes.len() - rest.len() < READ_BYTES
            && let Some(end) = memchr::memchr(b'\n', rest)
            && let Some(line) = read_line(&rest[..end])
        {
            let (whole, after) = rest.split_at(end + 1);
            rest = after;
            let Line::Record(seq, payload) = line else {
                continue;
            };
            if seq <= self.revision {
                continue;
            }
            if seq > self.revision + 1 {
                return Err(self.gone(seq - 1));
            }
            self.revision = seq;
            give(seq, payload, whole)?;
        }
        Ok((bytes.len() - rest.len()) as u64)
    }

    /// Opens the journal in which the next record stands, at that record or not far before it. A journal whose first record is
    /// before `least` has been read to its end.
    fn open_segment_for(&self, least: u64) -> Result<(JournalFile, u64), FollowError> {
        let seq = self.revision + 1;
        match self.writer.find(seq)? {
            (Some(journal), _) if journal.first_seq >= least => {
                let offset = seek_to_record(&journal.file, seq)?;
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

/// Gives the effects of a change on keys with a prefix.
fn to_owned_changes(
    change: ParsedChange<'_>,
    prefix: &[u8],
    give: &mut impl FnMut(OwnedChange),
) -> Result<(), FollowError> {
    match change {
        ParsedChange::Put(key, loaded) => {
            if key.starts_with(prefix) {
                let pair = Key::parse(&key).and_then(|key| {
                    Ok((key, Value::with_expiry(&loaded.bytes, loaded.expires_at)?))
                });
                let (key, value) = pair.map_err(io::Error::other)?;
                give(OwnedChange::Put(Entry::new(key, value)));
            }
        }
        ParsedChange::Delete(keys) => {
            let keys = keys.into_iter().filter(|key| key.starts_with(prefix));
            keys.map(OwnedChange::Delete).for_each(give);
        }
        ParsedChange::Evict(keys) => {
            let keys = keys.into_iter().filter(|key| key.starts_with(prefix));
            keys.map(OwnedChange::Evict).for_each(give);
        }
        ParsedChange::Clear => give(OwnedChange::Clear),
    }
    Ok(())
}

/// Finds the offset of a line after the header at or not far before the record with this number, by binary search, as the
/// numbers grow.
fn seek_to_record(file: &Arc<dyn File>, seq: u64) -> io::Result<u64> {
    let mut header = LineReader::new(file, 0);
    header.next()?;
    let (mut from, mut to) = (header.offset(), file.stat()?.bytes);
    while to.saturating_sub(from) > READ_BYTES as u64 {
        let middle = from + (to - from) / 2;
        match record_after(file, middle)? {
            Some((offset, found)) if found <= seq => from = offset,
            _ => to = middle,
        }
    }
    Ok(from)
}

/// Returns the offset and the number of the first record that begins behind an offset.
fn record_after(file: &Arc<dyn File>, offset: u64) -> io::Result<Option<(u64, u64)>> {
    let mut lines = LineReader::new(file, offset);
    lines.next()?;
    loop {
        let offset = lines.offset();
        let line = lines.next()?;
        match line.map(read_line) {
            Some(Some(Line::Record(seq, _))) => return Ok(Some((offset, seq))),
            Some(Some(_)) => {}
            // What follows is not written to its end.
            None | Some(None) => return Ok(None),
        }
    }
}
