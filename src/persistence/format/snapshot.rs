//! The snapshot, `store.json`: all pairs at one moment, for people and for the next start.
//!
//! # Format
//!
//! ```text
//! {
//!   "user:101:name": "Alice",
//!   "picture": {"$base64": "/9j/4A=="},
//!   "$base64:/w==": "the key is the byte 255"
//! }
//! ```
//!
//! One flat JSON object (RFC 8259) in UTF-8, one pair per line, in no order; keys in the form of `codec::key_text`, values in that of
//! `codec::json`. Any other
//! layout of one flat object is read as well, as the older `PyKV` or an editor may leave it, with or without a byte order mark.
//!
//! It holds no checksum, so that people can edit it while the server is stopped. The journal holds its fingerprint instead.
//!
//! In: entries. Out: the file, synced, under a name beside store.json. Promise: constant memory, however many the entries.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fingerprint::{Checksummed, SnapshotFingerprint};
use crate::codec::json;
use crate::codec::key_text::key_text;
use crate::model::entry::Entry;
use crate::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::persistence::disk::{File, Files, Stat, append_all};

/// The name of the snapshot in a data folder.
pub const SNAPSHOT_NAME: &str = "store.json";

/// Returns the path of a snapshot until it is complete: beside its final one, so that it can be renamed.
#[must_use]
pub fn provisional_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// The longest line in bytes: the longest key and value, each byte of which may be escaped as six.
pub const LINE_BYTES_MAX: usize = 7 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + 1024;

/// Bytes handed to the system at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes between two syncs: a disk that is given a large file at once makes every other sync wait for all of it.
const SYNC_BYTES: u64 = 1 << 20;

/// Writes a snapshot to a new file, with the permissions of `like` if it is given, and syncs it. Returns its fingerprint.
///
/// # Errors
/// The first error of creating, writing or syncing the file, which is removed then.
pub fn write_snapshot(
    files: &dyn Files,
    path: &Path,
    like: Option<&Stat>,
    entries: impl Iterator<Item = Entry>,
) -> io::Result<SnapshotFingerprint> {
    write_and_sync(files, path, like, entries).inspect_err(|_| {
        // On a full disk half a snapshot must not hold the space that the journal needs.
        let _ = files.remove(path);
    })
}

fn write_and_sync(
    files: &dyn Files,
    path: &Path,
    like: Option<&Stat>,
    entries: impl Iterator<Item = Entry>,
) -> io::Result<SnapshotFingerprint> {
    let file = files.create(path, like)?;
    let synced = SyncedWriter {
        file: Arc::clone(&file),
        unsynced_bytes: 0,
    };
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, Checksummed::new(synced));
    let mut pair = Vec::new();
    let mut opening: &[u8] = b"{\n  ";
    for entry in entries {
        pair.clear();
        pair.extend_from_slice(opening);
        json::write_string(&mut pair, &key_text(entry.key_bytes()));
        pair.extend_from_slice(b": ");
        json::write_stored_value(&mut pair, entry.value());
        writer.write_all(&pair)?;
        opening = b",\n  ";
        // One long value must not hold its memory for all the short ones that follow.
        pair.shrink_to(BUFFER_BYTES);
    }
    writer.write_all(if opening.starts_with(b"{") {
        b"{}\n"
    } else {
        b"\n}\n"
    })?;
    let written = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(written.fingerprint(&file.stat()?))
}

/// A file that is synced as it grows.
struct SyncedWriter {
    file: Arc<dyn File>,
    unsynced_bytes: u64,
}

impl Write for SyncedWriter {
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
