//! Reading a snapshot back.
//!
//! In: the file. Out: its pairs, handed to a [`Load`], and its fingerprint. Promises: constant memory; a file in the layout in
//! which it is written, also after an edit that keeps that layout, is read by all cores, any other by one.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::chunks::{Chunk, Chunks, Decision, read_on_all_cores};
use super::error::SnapshotError;
use super::key_form::SnapshotKeys;
use super::progress::{CountedReader, Progress};
use super::sink::{Batch, Load, apply};
use crate::codec::bom::BOM;
use crate::codec::json;
use crate::model::{Key, Value};
use crate::persistence::disk::{File, FileReader, Files, Stat, read_full};
use crate::persistence::format::{Checksummed, LINE_BYTES_MAX, SnapshotFingerprint};

/// Bytes read at a time where one thread reads.
const BUFFER_BYTES: usize = 256 << 10;

/// Pairs of a file in another layout that are applied at a time.
const PAIRS_AT_A_TIME: usize = 10_000;

/// Reads a snapshot into `load`. Returns its fingerprint; `None` if there is no such file.
///
/// # Errors
/// [`SnapshotError::Malformed`] with the first line that is no part of a flat object of pairs within the limits, some of which
/// may have been loaded then; [`SnapshotError::Unreadable`] if the system refuses to read it.
pub fn read_snapshot(
    files: &dyn Files,
    path: &Path,
    keys: &SnapshotKeys<'_>,
    load: &dyn Load,
    progress: &Progress,
) -> Result<Option<SnapshotFingerprint>, SnapshotError> {
    let unreadable = |source| SnapshotError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = match files.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // Taken from the open file, before it is read: a change or replacement meanwhile leaves another time.
    let stat = file.stat().map_err(unreadable)?;
    let counted = match read_lines(&file, stat, keys, load, progress).map_err(unreadable)? {
        LineResult::Complete(fingerprint) => return Ok(Some(fingerprint)),
        LineResult::OtherLayout(read) => read,
    };
    let mut all = load.batch();
    all.clear();
    apply(all);
    let reader = CountedReader::new(FileReader::new(file, 0), progress, counted);
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Checksummed::new(reader));
    read_any_layout(&mut reader, keys, load).map_err(|error| match error.classify() {
        serde_json::error::Category::Io => unreadable(error.into()),
        _ => SnapshotError::Malformed {
            path: path.to_owned(),
            // A string that is not ended is noticed past the end of its line.
            line: (error.line()
                - usize::from(error.column() == 0 && error.line() > 1 && !error.is_eof()))
                as u64,
            reason: error.to_string(),
            ends_early: error.is_eof(),
        },
    })?;
    Ok(Some(reader.into_inner().fingerprint(&stat)))
}

/// Reads one flat JSON object in any layout, on this thread.
///
/// # Errors
/// The first syntax error with its place, or the error of the reader. The pairs before it have been loaded then.
fn read_any_layout<R: Read>(
    reader: &mut BufReader<R>,
    keys: &SnapshotKeys<'_>,
    load: &dyn Load,
) -> Result<(), serde_json::Error> {
    skip_bom(reader).map_err(serde_json::Error::io)?;
    let mut batch = load.batch();
    let mut count = 0;
    let read = json::read_pairs(reader, |text, value| {
        let key = keys.bytes(Cow::Borrowed(text));
        let key = Key::parse(&key).map_err(|error| error.to_string())?;
        batch.put(key, value);
        count += 1;
        if count == PAIRS_AT_A_TIME {
            apply(std::mem::replace(&mut batch, load.batch()));
            count = 0;
        }
        Ok(())
    });
    apply(batch);
    read
}

/// Skips a byte order mark.
fn skip_bom<R: Read>(reader: &mut BufReader<R>) -> io::Result<()> {
    if reader.fill_buf()?.starts_with(BOM.as_bytes()) {
        reader.consume(BOM.len());
    }
    Ok(())
}

/// The place after the lines so far, which says what must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// The opening brace.
    Start,
    /// A pair.
    AfterComma,
    /// The closing brace.
    AfterPair,
    /// Nothing.
    Closed,
}

/// The result of reading a snapshot line by line.
enum LineResult {
    /// All of it was read.
    Complete(SnapshotFingerprint),
    /// It has another layout, or a fault; so many of its bytes were looked at.
    OtherLayout(u64),
}

/// The report of one chunk of a snapshot.
struct SnapshotChunk {
    /// The place at which its first line must stand; `None` if it is all blank or not in our layout.
    begins: Option<Position>,
    ends: Position,
    is_our_layout: bool,
    pairs: u64,
    bytes: u64,
    crc: crc32fast::Hasher,
}

/// Reads a snapshot line by line, by all cores. Another layout, or a fault, is left to [`read_any_layout`].
fn read_lines(
    file: &Arc<dyn File>,
    stat: Stat,
    keys: &SnapshotKeys<'_>,
    load: &dyn Load,
    progress: &Progress,
) -> io::Result<LineResult> {
    let mut head = [0; 64];
    let count = read_full(&**file, &mut head, 0)?;
    if !opens_on_a_line_of_its_own(&head[..count]) {
        return Ok(LineResult::OtherLayout(0));
    }
    let mut chunks = Chunks::new(Arc::clone(file), 0, LINE_BYTES_MAX, progress)?;
    let mut position = Position::Start;
    let mut sum = Checksummed::new(());
    let mut is_first = true;
    let mut is_our_layout = true;
    let read = |chunk: &Chunk, batch: &mut dyn Batch<'_>| read_chunk(chunk, keys, batch);
    read_on_all_cores(&mut chunks, load, read, |chunk| {
        is_our_layout = chunk.is_our_layout && chunk.begins.is_none_or(|begins| begins == position);
        if !is_our_layout {
            return Decision::Stop;
        }
        if std::mem::take(&mut is_first) {
            load.expect(chunk.pairs.saturating_mul(stat.bytes) / chunk.bytes.max(1));
        }
        if chunk.begins.is_some() {
            position = chunk.ends;
        }
        sum.combine(chunk.bytes, &chunk.crc);
        Decision::Continue
    })?;
    Ok(if is_our_layout && position == Position::Closed {
        LineResult::Complete(sum.fingerprint(&stat))
    } else {
        LineResult::OtherLayout(chunks.offset())
    })
}

/// Returns true if nothing follows the opening brace on its line. A file that is one long line would fill the memory.
fn opens_on_a_line_of_its_own(head: &[u8]) -> bool {
    let mut bytes = head.strip_prefix(BOM.as_bytes()).unwrap_or(head).iter();
    let mut next = || bytes.find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    next() == Some(&b'{') && next() == Some(&b'\n')
}

fn read_chunk(chunk: &Chunk, keys: &SnapshotKeys<'_>, batch: &mut dyn Batch<'_>) -> SnapshotChunk {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&chunk.bytes);
    let mut report = SnapshotChunk {
        begins: None,
        ends: Position::Start,
        is_our_layout: false,
        pairs: 0,
        bytes: chunk.bytes.len() as u64,
        crc,
    };
    let text = match chunk.offset {
        0 => chunk
            .bytes
            .strip_prefix(BOM.as_bytes())
            .unwrap_or(&chunk.bytes),
        _ => &chunk.bytes,
    };
    let mut position = None;
    let mut rest = text;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = trim(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        let (stands_at, next) = match line {
            b"" => continue,
            b"{" => (Position::Start, Position::AfterComma),
            b"}" => (Position::AfterPair, Position::Closed),
            _ => {
                let Some(next) = read_pair_line(line, keys, batch) else {
                    return report;
                };
                report.pairs += 1;
                (Position::AfterComma, next)
            }
        };
        report.begins.get_or_insert(stands_at);
        if position.is_some_and(|position| position != stands_at) {
            return report;
        }
        position = Some(next);
    }
    report.ends = position.unwrap_or(Position::Start);
    report.is_our_layout = true;
    report
}

/// Returns text without the blanks of JSON around it, which are fewer than `trim_ascii` takes.
fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = text.iter().position(|byte| !is_blank(byte));
    let end = text.iter().rposition(|byte| !is_blank(byte));
    start
        .zip(end)
        .map_or(&[], |(start, end)| &text[start..=end])
}

/// Parses a line with a pair, without the blanks around it. Returns what must follow it; `None` if it is no pair.
fn read_pair_line(
    line: &[u8],
    keys: &SnapshotKeys<'_>,
    batch: &mut dyn Batch<'_>,
) -> Option<Position> {
    let (key, rest) = json::take_string(line)?;
    let raw = trim(trim(rest).strip_prefix(b":")?);
    let (raw, next) = match raw.strip_suffix(b",") {
        Some(raw) => (trim(raw), Position::AfterComma),
        None => (raw, Position::AfterPair),
    };
    let loaded = match json::take_string(raw) {
        Some((text, b"")) => json::Loaded::text(text),
        Some(_) => return None,
        None => {
            let raw: &RawValue = serde_json::from_slice(raw).ok()?;
            json::read_value(raw.get()).ok()?
        }
    };
    let key = keys.bytes(key);
    let key = Key::parse(&key).ok()?;
    let value = Value::with_expiry(&loaded.bytes, loaded.expires_at).ok()?;
    batch.put(key, value);
    Some(next)
}

/// Reads what can be read of a malformed snapshot, whose pairs before the line with the fault have been loaded: every later
/// line that is a pair by itself. Reports each line that is lost, with its number.
///
/// # Errors
/// Any error of the operating system while reading.
pub fn salvage_snapshot(
    files: &dyn Files,
    path: &Path,
    from_line: u64,
    keys: &SnapshotKeys<'_>,
    load: &dyn Load,
    mut lose: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, FileReader::new(files.open(path)?, 0));
    let mut line = Vec::new();
    let mut batch = load.batch();
    // The indent of a line whose value continues on the lines after it: what is indented deeper is no pair of its own.
    let mut open_at = None;
    for number in 1.. {
        line.clear();
        let limit = LINE_BYTES_MAX as u64;
        if (&mut reader).take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = trim(line.strip_prefix(BOM.as_bytes()).unwrap_or(&line));
        let indent = line.len() - line.trim_ascii_start().len();
        let is_inside = open_at.is_some_and(|at| indent > at);
        if !is_inside {
            let is_opening = text.len() > 1 && matches!(text.last(), Some(b'{' | b'['));
            open_at = is_opening.then_some(indent);
        }
        if number + 1 == from_line
            && let Some((key, b":")) = json::take_string(text)
            && let Ok(key) = Key::parse(&keys.bytes(key))
        {
            // The line with the fault was taken for its value.
            batch.delete(key);
            lose(number, text);
        }
        if number < from_line || matches!(text, b"" | b"{" | b"}") {
            continue;
        }
        if is_inside {
            lose(number, text);
            continue;
        }
        if read_pair_line(text, keys, &mut *batch).is_none() {
            lose(number, text);
        }
    }
    apply(batch);
    Ok(())
}
