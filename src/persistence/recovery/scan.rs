//! Reading one journal back.
//!
//! In: a journal. Out: its changes, applied, and where it stops being what was written. Promises: a line is applied only if
//! it is whole and has the next number; what a power cut may leave at the end is told from damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunks::{Chunk, Chunks, Decision, read_on_all_cores};
use super::finding::excerpt;
use super::progress::Progress;
use super::sink::{Batch, Load};
use crate::model::{Key, PairError, Value};
use crate::persistence::disk::File;
use crate::persistence::format::{
    Header, Line, LineReader, ParsedChange, Payload, RECORD_BYTES_MAX, SnapshotFingerprint,
    Timeline, VERSION, read_header, read_line,
};

/// A journal that is read back, and how far.
#[derive(Debug)]
pub struct ScannedSegment {
    /// N of its name.
    pub number: u64,
    /// Its path.
    pub path: PathBuf,
    /// The version of its format.
    pub version: u64,
    /// The number of its first record.
    pub first_seq: u64,
    /// The number of its next record.
    pub next_seq: u64,
    /// The number of its records so far.
    pub records: u64,
    /// The number of its lines so far, the header included.
    pub lines: u64,
    /// The length of its lines so far, in bytes.
    pub bytes: u64,
    /// True if the rest is a tail that a crash has torn.
    pub is_torn: bool,
    /// True if its header could not be used.
    pub is_headless: bool,
}

/// The content of records, without the changes, which have been applied.
#[derive(Debug, Default)]
pub struct JournalContents {
    /// The number of changes.
    pub changes: u64,
    /// The fingerprint of each store.json that was written.
    pub saved: Vec<SnapshotFingerprint>,
    /// The timelines of the records, oldest first.
    pub timelines: Vec<Timeline>,
}

/// The reason why a journal cannot be read on where its [`ScannedSegment`] ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The line is not what was written.
    NotWhole,
    /// The line has this number, which is not the next one.
    OutOfOrder(u64),
    /// The line is whole, but no server can have written its content; the reason.
    Impossible(String),
}

/// The report of one chunk of a journal.
#[derive(Default)]
struct JournalChunk {
    first_seq: Option<u64>,
    records: u64,
    changes: u64,
    lines: u64,
    bytes: u64,
    saved: Vec<SnapshotFingerprint>,
    timelines: Vec<Timeline>,
    stop: Option<Stop>,
}

impl ScannedSegment {
    /// Reads the header of a journal. Returns it and the segment after it; `None` if the header is not whole.
    ///
    /// # Errors
    /// Any error of the operating system while reading.
    pub fn open(
        file: &Arc<dyn File>,
        path: &Path,
        number: u64,
    ) -> io::Result<Option<(Header, Self)>> {
        let mut lines = LineReader::new(file, 0);
        let header = lines.next()?.and_then(read_header);
        Ok(header.map(|header| {
            let segment = Self {
                version: header.journal,
                lines: 1,
                bytes: lines.offset(),
                is_headless: false,
                ..Self::unbegun(path, number, header.first_seq)
            };
            (header, segment)
        }))
    }

    /// Skips the header of a journal, which cannot be used: its records are taken to begin with `next_seq`.
    ///
    /// # Errors
    /// Any error of the operating system while reading.
    pub fn headless(
        file: &Arc<dyn File>,
        path: &Path,
        number: u64,
        next_seq: u64,
    ) -> io::Result<Self> {
        let mut lines = LineReader::new(file, 0);
        lines.next()?;
        Ok(Self {
            lines: 1,
            bytes: lines.offset(),
            ..Self::unbegun(path, number, next_seq)
        })
    }

    /// Creates a journal of which nothing has been read, not even the header.
    #[must_use]
    pub fn unbegun(path: &Path, number: u64, next_seq: u64) -> Self {
        Self {
            number,
            path: path.to_owned(),
            version: VERSION,
            first_seq: next_seq,
            next_seq,
            records: 0,
            lines: 0,
            bytes: 0,
            is_torn: false,
            is_headless: true,
        }
    }

    /// Applies records up to the end, or to the first line that cannot be applied. Returns why not, then.
    ///
    /// # Errors
    /// Any error of the operating system while reading.
    pub fn read(
        &mut self,
        file: &Arc<dyn File>,
        contents: &mut JournalContents,
        load: &dyn Load,
        progress: &Progress,
    ) -> io::Result<Option<Stop>> {
        let mut chunks = Chunks::new(Arc::clone(file), self.bytes, RECORD_BYTES_MAX, progress)?;
        let mut stop = None;
        let (start, end, before) = (self.bytes, chunks.end(), load.pairs());
        let mut is_expected = false;
        read_on_all_cores(&mut chunks, load, read_chunk, |chunk: JournalChunk| {
            if let Some(seq) = chunk.first_seq.filter(|seq| *seq != self.next_seq) {
                stop = Some(Stop::OutOfOrder(seq));
                // Nothing is lost by that: only lines without a number can stand before it in its chunk.
                return Decision::Stop;
            }
            let grown = load.pairs().saturating_sub(before);
            if !is_expected && grown > 0 {
                // The share of new pairs among the records of the first round is taken for that of the whole journal.
                let rounds = (end - start) / (self.bytes - start).max(1);
                load.expect(before + grown.saturating_mul(rounds));
                is_expected = true;
            }
            self.next_seq += chunk.records;
            self.records += chunk.records;
            self.lines += chunk.lines;
            self.bytes += chunk.bytes;
            contents.changes += chunk.changes;
            contents.saved.extend(chunk.saved);
            for timeline in chunk.timelines {
                // Each journal begins with those before it.
                if !contents.timelines.contains(&timeline) {
                    contents.timelines.push(timeline);
                }
            }
            stop = chunk.stop;
            if stop.is_none() {
                Decision::Continue
            } else {
                Decision::ApplyAndStop
            }
        })?;
        Ok(stop)
    }

    /// Skips the line where it has stopped.
    ///
    /// # Errors
    /// Any error of the operating system while reading.
    pub fn skip_line(&mut self, file: &Arc<dyn File>) -> io::Result<()> {
        let mut lines = LineReader::new(file, self.bytes);
        lines.next()?;
        self.bytes = lines.offset();
        self.lines += 1;
        Ok(())
    }

    /// Returns the beginning of the line where it has stopped, for people.
    ///
    /// # Errors
    /// Any error of the operating system while reading.
    pub fn excerpt(&self, file: &Arc<dyn File>) -> io::Result<String> {
        let mut lines = LineReader::new(file, self.bytes);
        Ok(excerpt(lines.next()?.unwrap_or_default()))
    }

    /// Returns true if the line where it has stopped, which is not whole, begins a tail that was never promised.
    ///
    /// # Errors
    /// Any error of the operating system while reading.
    pub fn is_at_tear(&self, file: &Arc<dyn File>) -> io::Result<bool> {
        let mut lines = LineReader::new(file, self.bytes);
        // No line holds a zero byte, which JSON escapes; sectors that a power cut kept from the disk are read as zeros. Without
        // marks, as before version 2, nothing tells these from zeros that have replaced what was synced.
        let has_zeros = lines.next()?.is_some_and(|line| line.contains(&0)) && self.version >= 2;
        let mut any_whole = false;
        while let Some(line) = lines.next()? {
            let Some(line) = read_line(line) else {
                continue;
            };
            any_whole = true;
            if !has_zeros || matches!(line, Line::Mark(synced) if synced >= self.next_seq) {
                return Ok(false);
            }
        }
        Ok(!any_whole || has_zeros)
    }
}

/// Reads the lines of a chunk, up to the first that cannot be applied.
fn read_chunk(chunk: &Chunk, batch: &mut dyn Batch<'_>) -> JournalChunk {
    let mut report = JournalChunk::default();
    let mut next_seq = None;
    let mut rest = &chunk.bytes[..];
    while !rest.is_empty() {
        let line = memchr::memchr(b'\n', rest).and_then(|end| {
            let line = read_line(&rest[..end])?;
            rest = &rest[end + 1..];
            Some((line, end as u64 + 1))
        });
        let Some((line, bytes)) = line else {
            report.stop = Some(Stop::NotWhole);
            return report;
        };
        let record = match line {
            Line::Record(seq, payload) => Some((seq, payload)),
            Line::Saved(saved) => {
                report.saved.push(saved);
                None
            }
            Line::Timeline(timeline) => {
                report.timelines.push(timeline);
                None
            }
            Line::Mark(_) => None,
        };
        if let Some((seq, payload)) = record {
            if next_seq.is_some_and(|next| next != seq) {
                report.stop = Some(Stop::OutOfOrder(seq));
                return report;
            }
            match read_payload(payload, batch) {
                Ok(None) => report.changes += 1,
                Ok(Some(saved)) => report.saved.push(saved),
                Err(reason) => {
                    report.stop = Some(Stop::Impossible(reason));
                    return report;
                }
            }
            report.first_seq.get_or_insert(seq);
            next_seq = Some(seq + 1);
            report.records += 1;
        }
        report.lines += 1;
        report.bytes += bytes;
    }
    report
}

fn read_payload(
    payload: Payload<'_>,
    batch: &mut dyn Batch<'_>,
) -> Result<Option<SnapshotFingerprint>, String> {
    match payload {
        Payload::Saved(saved) => return Ok(Some(saved)),
        Payload::Change(change) => validate(&change)?.add_to(batch),
        Payload::Group(group) => {
            // All or none: nothing is applied before every member has been checked.
            let group: Vec<_> = group.iter().map(validate).collect::<Result<_, _>>()?;
            for change in group {
                change.add_to(batch);
            }
        }
    }
    Ok(None)
}

/// A change whose keys and values are within the limits.
enum ValidChange<'a> {
    Put(Key<'a>, Value<'a>),
    Delete(Vec<Key<'a>>),
    Clear,
}

fn validate<'a>(change: &'a ParsedChange<'a>) -> Result<ValidChange<'a>, String> {
    let valid = || -> Result<_, PairError> {
        Ok(match change {
            ParsedChange::Put(key, loaded) => ValidChange::Put(
                Key::parse(key)?,
                Value::with_expiry(&loaded.bytes, loaded.expires_at)?,
            ),
            ParsedChange::Delete(keys) | ParsedChange::Evict(keys) => {
                let keys = keys.iter().map(|key| Key::parse(key));
                ValidChange::Delete(keys.collect::<Result<_, _>>()?)
            }
            ParsedChange::Clear => ValidChange::Clear,
        })
    };
    valid().map_err(|error| error.to_string())
}

impl ValidChange<'_> {
    fn add_to(self, batch: &mut dyn Batch<'_>) {
        match self {
            Self::Put(key, value) => batch.put(key, value),
            Self::Delete(keys) => {
                for key in keys {
                    batch.delete(key);
                }
            }
            Self::Clear => batch.clear(),
        }
    }
}
