//! The snapshot, `store.json`: all pairs at one moment, for people and for the next start.
//!
//! # Format
//!
//! ```text
//! {
//!   "user:101:name": "Alice",
//!   "picture": {"$base64": "/9j/4A=="}
//! }
//! ```
//!
//! One flat JSON object (RFC 8259) in UTF-8, one pair to a line, in no order; values as `json` has them. Any other layout of
//! one flat object is read as well, as the older `PyKV` or an editor may leave it, with or without a byte order mark.
//!
//! It holds no checksum, so that people can edit it while the server is stopped. The journal holds one instead
//! (`Saved`: length, CRC-32 and time of modification of the file as it was written): content that differs while the time of
//! modification does not is damage, as no editor leaves it; content that differs with a later time is an edit.
//!
//! In: entries, or the file. Out: the file, or pairs. Promises: the file is written beside, synced, and only then given its
//! name, so that store.json is always whole; it is read and written in constant memory. In the layout in which it is written,
//! also after an edit that keeps it, it is read by all cores; in any other, by one.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chunks::{self, Changes, Chunk, Chunks, Load, Verdict};
use super::files::{File, Files, Reader, Stat, append_all, read_full};
use super::progress::{Counted, Progress};
use crate::codec::json;
use crate::model::entry::Entry;
use crate::model::{KEY_BYTES_MAX, Key, VALUE_BYTES_MAX, Value};

/// What is written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// After so much has been written it is synced: a disk that is given all of a large file at once makes everybody wait.
const SYNC_BYTES: u64 = 1 << 20;

/// The longest line: the longest key and value, each byte of which may take six.
const LINE_BYTES_MAX: usize = 7 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + 1024;

/// How many pairs of a file in another layout are applied at a time.
const PAIRS_AT_A_TIME: usize = 10_000;

/// A byte order mark, as some editors put it before UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not one flat JSON object of keys and values within the limits.
    #[error(
        "{path}: {reason}; nothing was loaded or changed. Mend the file at that place, put a copy in its place, or let \
         `pykv-server repair` keep what can be read"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line with the fault, from 1.
        line: u64,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// It is JSON, but not what was written, and nobody has edited it.
    #[error(
        "{path} has been damaged: its content has changed, but its time of modification has not; nothing was loaded or \
         changed. Put a copy in its place; or, if you have looked at it and want it as it is, `touch` it or run \
         `pykv-server repair` on the folder"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{path}: cannot read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a snapshot looked like from outside when it was written: kept in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its length in bytes.
    pub bytes: u64,
    /// The CRC-32 of all of it, in hexadecimal.
    pub crc: String,
    /// Its time of modification, in nanoseconds since 1970-01-01 UTC.
    pub modified: String,
}

impl Saved {
    fn of(bytes: u64, crc: u32, modified: String) -> Self {
        Self {
            bytes,
            crc: format!("{crc:08x}"),
            modified,
        }
    }

    /// A snapshot that is there, and has not been read as it should be.
    #[must_use]
    pub fn unread(stat: &Stat) -> Self {
        Self::of(stat.bytes, 0, modified(stat))
    }

    /// Whether the two files have the same content.
    #[must_use]
    pub fn is_same_content(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.crc == other.crc
    }

    /// Whether this file is one of those that were written, or an edit of one.
    #[must_use]
    pub fn is_one_of(&self, written: &[Self]) -> bool {
        written.iter().any(|saved| saved.is_same_content(self))
            || !written.iter().any(|saved| saved.modified == self.modified)
    }

    /// Whether this file, which is one of those or an edit, is an edit.
    #[must_use]
    pub fn is_edit_of(&self, written: &[Self]) -> bool {
        !written.is_empty() && !written.iter().any(|saved| saved.is_same_content(self))
    }
}

/// The time of modification of a file, as [`Saved`] keeps it.
#[must_use]
pub fn modified(stat: &Stat) -> String {
    stat.modified_ns.to_string()
}

/// Counts and sums up what passes through.
struct Summed<T> {
    inner: T,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            bytes: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc.update(bytes);
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.add(&buffer[..count]);
        Ok(count)
    }
}

/// Reads a snapshot into `load`; what it looked like, if it is there at all.
///
/// # Errors
/// [`SnapshotError`], with the line where there is one. Some of its pairs may have been loaded then.
pub fn read(
    files: &dyn Files,
    path: &Path,
    load: &dyn Load,
    progress: &Progress,
) -> Result<Option<Saved>, SnapshotError> {
    let unreadable = |source| SnapshotError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = match files.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // Of the file that is read, and before: whoever changes it, or puts another in its place meanwhile, leaves another time.
    let stat = file.stat().map_err(unreadable)?;
    let told = match read_lines(&file, stat, load, progress).map_err(unreadable)? {
        Lines::All(bytes, crc) => return Ok(Some(Saved::of(bytes, crc, modified(&stat)))),
        Lines::None(read) => read,
    };
    let mut all = Changes::new(load);
    all.clear();
    all.apply();
    let mut reader = BufReader::with_capacity(
        BUFFER_BYTES,
        Summed::new(Counted::new(Reader::new(file, 0), progress, told)),
    );
    read_any(&mut reader, load).map_err(|error| match error.classify() {
        serde_json::error::Category::Io => unreadable(error.into()),
        _ => SnapshotError::Malformed {
            path: path.to_owned(),
            // A string that is not ended is noticed past the end of its line.
            line: (error.line()
                - usize::from(error.column() == 0 && error.line() > 1 && !error.is_eof()))
                as u64,
            reason: error.to_string(),
        },
    })?;
    let summed = reader.into_inner();
    Ok(Some(Saved::of(
        summed.bytes,
        summed.crc.finalize(),
        modified(&stat),
    )))
}

/// Reads one flat JSON object in any layout, on this thread.
///
/// # Errors
/// What is wrong with it, and where. The pairs before have been loaded then.
fn read_any<R: Read>(reader: &mut BufReader<R>, load: &dyn Load) -> Result<(), serde_json::Error> {
    skip_bom(reader).map_err(serde_json::Error::io)?;
    let mut changes = Changes::new(load);
    let mut count = 0;
    let read = json::read_pairs(reader, |key, value| {
        changes.put(key, value);
        count += 1;
        if count == PAIRS_AT_A_TIME {
            std::mem::replace(&mut changes, Changes::new(load)).apply();
            count = 0;
        }
        Ok(())
    });
    changes.apply();
    read
}

/// What the lines before may be followed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The opening brace.
    Start,
    /// A pair.
    AfterComma,
    /// The closing brace.
    AfterPair,
    /// Nothing.
    Closed,
}

/// What has come of reading a snapshot line by line.
enum Lines {
    /// All of it has been read: its length and checksum.
    All(u64, u32),
    /// It has another layout, or a fault; so many of its bytes were looked at.
    None(u64),
}

/// What one chunk of a snapshot held.
struct Part {
    /// Where its first line must stand; none, if it is all blank or is not in our layout.
    begins: Option<Place>,
    ends: Place,
    is_ours: bool,
    pairs: u64,
    bytes: u64,
    crc: crc32fast::Hasher,
}

/// Reads a snapshot line by line, by all cores. Another layout, or a fault, is for `read_any`.
fn read_lines(
    file: &Arc<dyn File>,
    stat: Stat,
    load: &dyn Load,
    progress: &Progress,
) -> io::Result<Lines> {
    let mut head = [0; 64];
    let count = read_full(&**file, &mut head, 0)?;
    if !opens_on_a_line_of_its_own(&head[..count]) {
        return Ok(Lines::None(0));
    }
    let mut chunks = Chunks::new(Arc::clone(file), 0, LINE_BYTES_MAX, progress)?;
    let mut place = Place::Start;
    let (mut bytes, mut crc) = (0, crc32fast::Hasher::new());
    let mut is_ours = true;
    chunks::in_rounds(&mut chunks, load, read_part, |part| {
        is_ours = part.is_ours && part.begins.is_none_or(|begins| begins == place);
        if !is_ours {
            return Verdict::LeaveOut;
        }
        if bytes == 0 {
            load.expect(part.pairs.saturating_mul(stat.bytes) / part.bytes.max(1));
        }
        if part.begins.is_some() {
            place = part.ends;
        }
        bytes += part.bytes;
        crc.combine(&part.crc);
        Verdict::GoOn
    })?;
    Ok(if is_ours && place == Place::Closed {
        Lines::All(bytes, crc.finalize())
    } else {
        Lines::None(chunks.offset())
    })
}

/// Whether nothing follows the opening brace on its line. All in one line, a file would fill the memory with its chunks.
fn opens_on_a_line_of_its_own(head: &[u8]) -> bool {
    let mut bytes = head.strip_prefix(BOM).unwrap_or(head).iter();
    let mut next = || bytes.find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    next() == Some(&b'{') && next() == Some(&b'\n')
}

fn read_part(chunk: &Chunk, changes: &mut Changes<'_>) -> Part {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&chunk.bytes);
    let mut part = Part {
        begins: None,
        ends: Place::Start,
        is_ours: false,
        pairs: 0,
        bytes: chunk.bytes.len() as u64,
        crc,
    };
    let text = match chunk.offset {
        0 => chunk.bytes.strip_prefix(BOM).unwrap_or(&chunk.bytes),
        _ => &chunk.bytes,
    };
    let mut place = None;
    let mut rest = text;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = trim(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        let (stands_at, next) = match line {
            b"" => continue,
            b"{" => (Place::Start, Place::AfterComma),
            b"}" => (Place::AfterPair, Place::Closed),
            _ => {
                let Some(next) = read_pair_line(line, changes) else {
                    return part;
                };
                part.pairs += 1;
                (Place::AfterComma, next)
            }
        };
        part.begins.get_or_insert(stands_at);
        if place.is_some_and(|place| place != stands_at) {
            return part;
        }
        place = Some(next);
    }
    part.ends = place.unwrap_or(Place::Start);
    part.is_ours = true;
    part
}

/// Text without the blanks of JSON around it, which are fewer than `trim_ascii` takes.
fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = text.iter().position(|byte| !is_blank(byte));
    let end = text.iter().rposition(|byte| !is_blank(byte));
    start
        .zip(end)
        .map_or(&[], |(start, end)| &text[start..=end])
}

/// Takes the pair of a line, without the blanks around it; what may follow it.
fn read_pair_line(line: &[u8], changes: &mut Changes<'_>) -> Option<Place> {
    let (key, rest) = json::take_string(line)?;
    let raw = trim(trim(rest).strip_prefix(b":")?);
    let (raw, next) = match raw.strip_suffix(b",") {
        Some(raw) => (trim(raw), Place::AfterComma),
        None => (raw, Place::AfterPair),
    };
    let loaded = match json::take_string(raw) {
        Some((text, b"")) => json::Loaded::text(text),
        Some(_) => return None,
        None => {
            let raw: &RawValue = serde_json::from_slice(raw).ok()?;
            json::read_value(raw.get()).ok()?
        }
    };
    let key = Key::parse(key.as_bytes()).ok()?;
    let value = Value::parse_until(&loaded.bytes, loaded.expires_at).ok()?;
    changes.put(key, value);
    Some(next)
}

/// Reads what can be read of a snapshot that is malformed: the pairs up to the line with the fault, and every later line that
/// is a pair by itself. Shows each line that is lost, by its number.
///
/// # Errors
/// What the system said.
pub fn salvage(
    files: &dyn Files,
    path: &Path,
    from_line: u64,
    load: &dyn Load,
    mut lose: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Reader::new(files.open(path)?, 0));
    let mut line = Vec::new();
    let mut changes = Changes::new(load);
    // How far the line is indented whose value goes on in the lines after it: what stands deeper is no pair of its own.
    let mut open_at = None;
    for number in 1.. {
        line.clear();
        let limit = LINE_BYTES_MAX as u64;
        if (&mut reader).take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = trim(line.strip_prefix(BOM).unwrap_or(&line));
        let indent = line.len() - line.trim_ascii_start().len();
        let is_inside = open_at.is_some_and(|at| indent > at);
        if !is_inside {
            let is_opening = text.len() > 1 && matches!(text.last(), Some(b'{' | b'['));
            open_at = is_opening.then_some(indent);
        }
        if number + 1 == from_line
            && let Some((key, b":")) = json::take_string(text)
            && let Ok(key) = Key::parse(key.as_bytes())
        {
            // The line with the fault was taken for its value.
            changes.delete(key);
            lose(number, text);
        }
        if number < from_line || matches!(text, b"" | b"{" | b"}") {
            continue;
        }
        if is_inside {
            lose(number, text);
            continue;
        }
        if read_pair_line(text, &mut changes).is_none() {
            lose(number, text);
        }
    }
    changes.apply();
    Ok(())
}

/// Passes over a byte order mark, if the text begins with one.
///
/// # Errors
/// What the reader said.
pub fn skip_bom<R: Read>(reader: &mut BufReader<R>) -> io::Result<()> {
    if reader.fill_buf()?.starts_with(BOM) {
        reader.consume(BOM.len());
    }
    Ok(())
}

/// Writes a snapshot under this name and syncs it; it is not yet store.json. It has these permissions, if they are given.
///
/// # Errors
/// What the system said; what was written is removed then.
pub fn write(
    files: &dyn Files,
    path: &Path,
    mode: Option<u32>,
    entries: impl Iterator<Item = Entry>,
) -> io::Result<Saved> {
    write_and_sync(files, path, mode, entries).inspect_err(|_| {
        // Half a snapshot on a full disk must not stand in the way of the journal.
        let _ = files.remove(path);
    })
}

fn write_and_sync(
    files: &dyn Files,
    path: &Path,
    mode: Option<u32>,
    entries: impl Iterator<Item = Entry>,
) -> io::Result<Saved> {
    let file = files.create(path, mode)?;
    let mut writer = BufWriter::with_capacity(
        BUFFER_BYTES,
        Summed::new(Synced {
            file: Arc::clone(&file),
            unsynced_bytes: 0,
        }),
    );
    let mut pair = Vec::new();
    let mut opening: &[u8] = b"{\n  ";
    for entry in entries {
        pair.clear();
        pair.extend_from_slice(opening);
        write_pair(&mut pair, entry.key(), entry.value());
        writer.write_all(&pair)?;
        opening = b",\n  ";
        // One long value must not keep its room for all the short ones.
        pair.shrink_to(BUFFER_BYTES);
    }
    writer.write_all(if opening.starts_with(b"{") {
        b"{}\n"
    } else {
        b"\n}\n"
    })?;
    let summed = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(Saved::of(
        summed.bytes,
        summed.crc.finalize(),
        modified(&file.stat()?),
    ))
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.add(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that is synced as it grows.
struct Synced {
    file: Arc<dyn File>,
    unsynced_bytes: u64,
}

impl Write for Synced {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        append_all(&*self.file, buffer)?;
        self.unsynced_bytes += buffer.len() as u64;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced_bytes = 0;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one pair as it stands on its line, without the comma.
pub fn write_pair(out: &mut Vec<u8>, key: Key<'_>, value: Value<'_>) {
    json::write_string(out, key.as_str());
    out.extend_from_slice(b": ");
    json::write_value(out, value);
}
