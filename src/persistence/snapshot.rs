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
//! name, so that store.json is always whole; it is read and written in constant memory.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::json;
use crate::record::{Entry, Key, Value};

/// What is read and written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A byte order mark, as some editors put it before UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not one flat JSON object of keys and values within the limits.
    #[error(
        "{path}: {reason}; nothing was loaded or changed. Mend the file at that place, or put a copy in its place"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// It is JSON, but not what was written, and nobody has edited it.
    #[error(
        "{path} has been damaged: its content has changed, but its time of modification has not; nothing was loaded or \
         changed. Put a copy in its place; or, if you have looked at it and want it as it is, `touch` it"
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
}

/// The time of modification of a file, as [`Saved`] keeps it.
///
/// # Errors
/// What the system said.
pub fn modified(metadata: &fs::Metadata) -> io::Result<String> {
    let since_epoch = metadata.modified()?.duration_since(std::time::UNIX_EPOCH);
    Ok(since_epoch.map_or_else(
        |before| format!("-{}", before.duration().as_nanos()),
        |after| after.as_nanos().to_string(),
    ))
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

/// Reads a snapshot, pair by pair; what it looked like, if it is there at all.
///
/// # Errors
/// [`SnapshotError`], with the line where there is one.
pub fn read(
    path: &Path,
    take: &mut dyn FnMut(Key<'_>, Value<'_>),
) -> Result<Option<Saved>, SnapshotError> {
    let unreadable = |source| SnapshotError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // Of the file that is read, and before: whoever changes it, or puts another in its place meanwhile, leaves another time.
    let modified = file
        .metadata()
        .and_then(|metadata| modified(&metadata))
        .map_err(unreadable)?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Summed::new(file));
    skip_bom(&mut reader).map_err(unreadable)?;
    let read = json::read_pairs(&mut reader, |key, value| {
        take(key, value);
        Ok(())
    });
    read.map_err(|error| SnapshotError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let summed = reader.into_inner();
    Ok(Some(Saved::of(
        summed.bytes,
        summed.crc.finalize(),
        modified,
    )))
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

/// Writes a snapshot under this name and syncs it; it is not yet store.json. Permissions are those of `like`, if it is there.
///
/// # Errors
/// What the system said; what was written is removed then.
pub fn write(
    path: &Path,
    like: &Path,
    entries: impl Iterator<Item = Vec<Entry>>,
) -> io::Result<Saved> {
    write_and_sync(path, like, entries).inspect_err(|_| {
        // Half a snapshot on a full disk must not stand in the way of the journal.
        let _ = fs::remove_file(path);
    })
}

fn write_and_sync(
    path: &Path,
    like: &Path,
    entries: impl Iterator<Item = Vec<Entry>>,
) -> io::Result<Saved> {
    let file = File::create(path)?;
    if let Ok(metadata) = fs::metadata(like) {
        file.set_permissions(metadata.permissions())?;
    }
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, Summed::new(file));
    let mut pair = Vec::new();
    let mut opening: &[u8] = b"{\n  ";
    for entry in entries.flatten() {
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
    summed.inner.sync_all()?;
    Ok(Saved::of(
        summed.bytes,
        summed.crc.finalize(),
        modified(&fs::metadata(path)?)?,
    ))
}

/// Writes one pair as it stands on its line, without the comma.
pub fn write_pair(out: &mut Vec<u8>, key: Key<'_>, value: Value<'_>) {
    json::write_string(out, key.as_str());
    out.extend_from_slice(b": ");
    json::write_value(out, value);
}
