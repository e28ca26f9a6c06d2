//! Reading one journal back.
//!
//! In: a journal. Out: its changes, applied, and where it stops being what was written. Promises: a line is applied only if
//! it is whole and has the next number; what a power cut may leave at the end is told from damage.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunks::{self, Changes, Chunk, Chunks, Load, Verdict};
use super::files::{File, Reader};
use super::inspect::shown;
use super::journal::{self, Changed, Header, Line, RECORD_BYTES_MAX, Recorded};
use super::progress::Progress;
use super::snapshot::Saved;
use crate::model::{Key, PairError, Value};

/// A journal that is being read.
#[derive(Debug)]
pub struct Segment {
    /// Which.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// The format that it is written in.
    pub version: u64,
    /// The number of its first record.
    pub first_seq: u64,
    /// The number that its next record has, or would have.
    pub next_seq: u64,
    /// Its records.
    pub records: u64,
    /// Its lines so far, the first included.
    pub lines: u64,
    /// The length of its lines so far.
    pub bytes: u64,
    /// Whether the rest is a tail that a crash has torn.
    pub torn: bool,
    /// Whether its first line could not be used.
    pub is_headless: bool,
}

/// What the records held, but for the changes, which have been applied.
#[derive(Debug, Default)]
pub struct Held {
    /// How many changes there were.
    pub changes: u64,
    /// What store.json looked like each time that it was written.
    pub saved: Vec<Saved>,
}

/// Why a journal cannot be read on at the place where its [`Segment`] has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The line is not what was written.
    NotWhole,
    /// The line has another number than should stand here.
    OutOfOrder(u64),
    /// The line is whole, but says what no server can have written.
    Impossible(String),
}

/// What one chunk of a journal held.
#[derive(Default)]
struct Part {
    first_seq: Option<u64>,
    records: u64,
    changes: u64,
    lines: u64,
    bytes: u64,
    saved: Vec<Saved>,
    stop: Option<Stop>,
}

impl Segment {
    /// Reads the first line of a journal; the segment after it, or nothing if the line is not whole.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(
        file: &Arc<dyn File>,
        path: &Path,
        number: u64,
    ) -> io::Result<Option<(Header, Self)>> {
        let mut lines = Lines::new(file, 0);
        let header = lines.next()?.and_then(journal::read_header);
        Ok(header.map(|header| {
            let segment = Self {
                version: header.journal,
                lines: 1,
                bytes: lines.at,
                is_headless: false,
                ..Self::unbegun(path, number, header.first_seq)
            };
            (header, segment)
        }))
    }

    /// A journal whose first line cannot be used: its records are taken to go on at `next_seq`.
    ///
    /// # Errors
    /// What the system said.
    pub fn headless(
        file: &Arc<dyn File>,
        path: &Path,
        number: u64,
        next_seq: u64,
    ) -> io::Result<Self> {
        let mut lines = Lines::new(file, 0);
        lines.next()?;
        Ok(Self {
            lines: 1,
            bytes: lines.at,
            ..Self::unbegun(path, number, next_seq)
        })
    }

    /// A journal of which nothing has been read, with the number that its first record would have.
    #[must_use]
    pub fn unbegun(path: &Path, number: u64, next_seq: u64) -> Self {
        Self {
            number,
            path: path.to_owned(),
            version: journal::VERSION,
            first_seq: next_seq,
            next_seq,
            records: 0,
            lines: 0,
            bytes: 0,
            torn: false,
            is_headless: true,
        }
    }

    /// Applies records up to the end, or to the first line that cannot be applied: why not, then.
    ///
    /// # Errors
    /// What the system said.
    pub fn read(
        &mut self,
        file: &Arc<dyn File>,
        held: &mut Held,
        load: &dyn Load,
        progress: &Progress,
    ) -> io::Result<Option<Stop>> {
        let mut chunks = Chunks::new(Arc::clone(file), self.bytes, RECORD_BYTES_MAX, progress)?;
        let mut stop = None;
        let (start, end, before) = (self.bytes, chunks.end(), load.pairs());
        let mut is_expected = false;
        chunks::in_rounds(&mut chunks, load, read_part, |part: Part| {
            if let Some(seq) = part.first_seq.filter(|seq| *seq != self.next_seq) {
                stop = Some(Stop::OutOfOrder(seq));
                // The marks before it change nothing.
                return Verdict::LeaveOut;
            }
            let grown = load.pairs().saturating_sub(before);
            if !is_expected && grown > 0 {
                // The first round has shown how many of its records are new pairs: so it may go on.
                let rounds = (end - start) / (self.bytes - start).max(1);
                load.expect(before + grown.saturating_mul(rounds));
                is_expected = true;
            }
            self.next_seq += part.records;
            self.records += part.records;
            self.lines += part.lines;
            self.bytes += part.bytes;
            held.changes += part.changes;
            held.saved.extend(part.saved);
            stop = part.stop;
            if stop.is_none() {
                Verdict::GoOn
            } else {
                Verdict::Last
            }
        })?;
        Ok(stop)
    }

    /// Passes over the line where it has stopped.
    ///
    /// # Errors
    /// What the system said.
    pub fn skip_line(&mut self, file: &Arc<dyn File>) -> io::Result<()> {
        let mut lines = Lines::new(file, self.bytes);
        lines.next()?;
        self.bytes = lines.at;
        self.lines += 1;
        Ok(())
    }

    /// The beginning of the line where it has stopped, for people.
    ///
    /// # Errors
    /// What the system said.
    pub fn shown_line(&self, file: &Arc<dyn File>) -> io::Result<String> {
        let mut lines = Lines::new(file, self.bytes);
        Ok(shown(lines.next()?.unwrap_or_default()))
    }

    /// Whether the line where it has stopped, which is not whole, is the beginning of a tail that was never promised.
    ///
    /// # Errors
    /// What the system said.
    pub fn is_at_tear(&self, file: &Arc<dyn File>) -> io::Result<bool> {
        let mut lines = Lines::new(file, self.bytes);
        // No line holds a zero, which JSON escapes; sectors that a power cut has kept from the disk are read as zeros.
        // Without marks, as before version 2, nothing tells these from zeros that were put in the place of what was synced.
        let has_zeros = lines.next()?.is_some_and(|line| line.contains(&0)) && self.version >= 2;
        let mut any_whole = false;
        while let Some(line) = lines.next()? {
            let Some(line) = journal::read_line(line) else {
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
fn read_part(chunk: &Chunk, changes: &mut Changes<'_>) -> Part {
    let mut part = Part::default();
    let mut next_seq = None;
    let mut rest = &chunk.bytes[..];
    while !rest.is_empty() {
        let line = memchr::memchr(b'\n', rest).and_then(|end| {
            let line = journal::read_line(&rest[..end])?;
            rest = &rest[end + 1..];
            Some((line, end as u64 + 1))
        });
        let Some((line, bytes)) = line else {
            part.stop = Some(Stop::NotWhole);
            return part;
        };
        if let Line::Record(seq, recorded) = line {
            if next_seq.is_some_and(|next| next != seq) {
                part.stop = Some(Stop::OutOfOrder(seq));
                return part;
            }
            match read_recorded(recorded, changes) {
                Ok(None) => part.changes += 1,
                Ok(Some(saved)) => part.saved.push(saved),
                Err(reason) => {
                    part.stop = Some(Stop::Impossible(reason));
                    return part;
                }
            }
            part.first_seq.get_or_insert(seq);
            next_seq = Some(seq + 1);
            part.records += 1;
        }
        part.lines += 1;
        part.bytes += bytes;
    }
    part
}

fn read_recorded(
    recorded: Recorded<'_>,
    changes: &mut Changes<'_>,
) -> Result<Option<Saved>, String> {
    match recorded {
        Recorded::Saved(saved) => return Ok(Some(saved)),
        Recorded::Change(change) => checked(&change)?.make(changes),
        Recorded::Group(group) => {
            // All or none: nothing is made before everything has been checked.
            let group: Vec<_> = group.iter().map(checked).collect::<Result<_, _>>()?;
            for change in group {
                change.make(changes);
            }
        }
    }
    Ok(None)
}

/// A change whose keys and values keep the limits.
enum Checked<'a> {
    Put(Key<'a>, Value<'a>),
    Delete(Vec<Key<'a>>),
    Clear,
}

fn checked<'a>(change: &'a Changed<'a>) -> Result<Checked<'a>, String> {
    let checked = || -> Result<_, PairError> {
        Ok(match change {
            Changed::Put(key, loaded) => Checked::Put(
                Key::parse(key.as_bytes())?,
                Value::parse_until(&loaded.bytes, loaded.expires_at)?,
            ),
            Changed::Delete(keys) => {
                let keys = keys.iter().map(|key| Key::parse(key.as_bytes()));
                Checked::Delete(keys.collect::<Result<_, _>>()?)
            }
            Changed::Clear => Checked::Clear,
        })
    };
    checked().map_err(|error| error.to_string())
}

impl Checked<'_> {
    fn make(self, changes: &mut Changes<'_>) {
        match self {
            Self::Put(key, value) => changes.put(key, value),
            Self::Delete(keys) => {
                for key in keys {
                    changes.delete(key);
                }
            }
            Self::Clear => changes.clear(),
        }
    }
}

/// A journal line by line, on one thread: for its first line, and for what comes after a fault.
pub struct Lines {
    reader: BufReader<Reader>,
    line: Vec<u8>,
    /// How far the lines reach that were given.
    pub at: u64,
}

impl Lines {
    /// From this offset on.
    #[must_use]
    pub fn new(file: &Arc<dyn File>, offset: u64) -> Self {
        let reader = Reader::new(Arc::clone(file), offset);
        Self {
            reader: BufReader::with_capacity(256 << 10, reader),
            line: Vec::new(),
            at: offset,
        }
    }

    /// The next line without its line feed, or `None` at the end of the file. A line without a line feed is given with one
    /// byte too many, so that no checksum can be right.
    ///
    /// # Errors
    /// What the system said.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        self.line.shrink_to(1 << 20);
        let limit = RECORD_BYTES_MAX as u64;
        let count = (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut self.line)?;
        if count == 0 {
            return Ok(None);
        }
        self.at += count as u64;
        match self.line.last() {
            Some(b'\n') => drop(self.line.pop()),
            _ => self.line.push(b' '),
        }
        Ok(Some(&self.line))
    }
}
