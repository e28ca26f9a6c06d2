//! Records as they are written: encoded before the lock of the journal is taken, numbered under it, and finished after it.
//!
//! In: changes. Out: whole lines of the journal. Promise: the lock, which all share, is held for a copy of the content alone.

use smallvec::{SmallVec, smallvec};

use super::fingerprint::SnapshotFingerprint;
use super::journal::{CRC_FIELD_BYTES, write_crc};
use crate::codec::json;
use crate::codec::key_text::key_text;
use crate::model::{Change, Key, is_text};
use crate::spare::Spare;

/// A record from this length on, in bytes, is moved to an empty buffer rather than copied.
const MOVED_BYTES_MIN: usize = 256 << 10;

/// Bytes of memory that removed records keep, and number of ends: one long record, or very many, must not hold their memory for ever.
const CONTENTS_BYTES_KEPT: usize = 1 << 20;
const ENDS_KEPT: usize = 8 << 10;

thread_local! {
    static SPARE: Spare<Vec<u8>> = const { Spare::empty() };
}

/// The most bytes after a record's content: `,"seq":9007199254740992`, the checksum, a line feed.
const END_BYTES_MAX: usize = 7 + 16 + CRC_FIELD_BYTES + 1;

/// Records that mostly come together.
const RECORDS_EXPECTED: usize = 16;

/// Records without their numbers, one behind the other.
#[derive(Debug, Default)]
pub struct Records {
    contents: Vec<u8>,
    /// The end of each in `contents`.
    ends: SmallVec<[usize; RECORDS_EXPECTED]>,
}

impl Records {
    fn of_content(content: Vec<u8>) -> Self {
        let ends = smallvec![content.len()];
        Self {
            contents: content,
            ends,
        }
    }

    /// Encodes the record of a change.
    #[must_use]
    pub fn of(change: &Change<'_>) -> Self {
        let mut content = Spare::take(&SPARE);
        content.reserve(bytes_expected(change));
        if let Change::Group(changes) = change {
            content.extend_from_slice(b"{\"group\":[");
            for (place, change) in changes.iter().enumerate() {
                if place > 0 {
                    content.push(b',');
                }
                write_change(&mut content, change);
                content.push(b'}');
            }
            content.push(b']');
        } else {
            write_change(&mut content, change);
        }
        Self::of_content(content)
    }

    /// Encodes the record of a snapshot that was written.
    #[must_use]
    pub fn of_saved(saved: &SnapshotFingerprint) -> Self {
        let saved = serde_json::to_string(saved).expect("three plain fields are always JSON");
        Self::of_content(format!("{{\"saved\":{saved}").into_bytes())
    }

    /// Returns the record of a whole line, which gets a new number; `None` if the line has none.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let unsummed = line.len().checked_sub(CRC_FIELD_BYTES)?;
        let end = memchr::memmem::rfind(&line[..unsummed], b",\"seq\":")?;
        Some(Self::of_content(line[..end].to_vec()))
    }

    /// Encodes the record of one more change, which is no group.
    pub fn push(&mut self, change: &Change<'_>) {
        if self.contents.is_empty() {
            self.contents = Spare::take(&SPARE);
            // More of about the same length mostly follow.
            self.contents
                .reserve(RECORDS_EXPECTED * bytes_expected(change));
        }
        write_change(&mut self.contents, change);
        self.ends.push(self.contents.len());
    }

    /// Appends other records.
    pub fn append(&mut self, others: Self) {
        let start = self.contents.len();
        self.ends.extend(others.ends.iter().map(|end| start + end));
        if start == 0 && others.contents.len() >= MOVED_BYTES_MIN {
            self.contents = others.contents;
        } else {
            self.contents.extend_from_slice(&others.contents);
            Spare::keep(&SPARE, others.contents);
        }
    }

    /// Returns the number of records.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the most bytes that their lines can have, whatever their numbers. A line above
    /// [`RECORD_BYTES_MAX`](super::RECORD_BYTES_MAX) could not be read back.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.contents.len() + self.count() * END_BYTES_MAX
    }

    /// Writes the whole lines, numbered from `first_seq` on, and removes the records.
    pub fn finish(&mut self, first_seq: u64, out: &mut Vec<u8>) {
        if out.is_empty() && self.count() == 1 && self.contents.len() >= MOVED_BYTES_MIN {
            *out = std::mem::take(&mut self.contents);
            end_record(out, 0, first_seq);
        } else {
            out.reserve(self.bytes());
            let mut start = 0;
            for (end, seq) in self.ends.iter().zip(first_seq..) {
                let start_of_line = out.len();
                out.extend_from_slice(&self.contents[start..*end]);
                end_record(out, start_of_line, seq);
                start = *end;
            }
        }
        self.clear();
    }

    /// Removes the records, and most of their memory if it is much.
    pub fn clear(&mut self) {
        self.contents.clear();
        self.contents.shrink_to(CONTENTS_BYTES_KEPT);
        self.ends.clear();
        if self.ends.capacity() > ENDS_KEPT {
            self.ends.shrink_to_fit();
        }
    }
}

/// Estimates the length of the record of a change in bytes.
fn bytes_expected(change: &Change<'_>) -> usize {
    const AROUND: usize = 64;
    AROUND
        + match change {
            Change::Put(key, value) => key.as_bytes().len() + value.bytes().len(),
            Change::Delete(keys) | Change::Evict(keys) => {
                keys.iter().map(|key| key.as_bytes().len() + 3).sum()
            }
            Change::Clear => 0,
            Change::Group(changes) => changes.iter().map(bytes_expected).sum(),
        }
}

/// Ends the line of a record, whose content begins at `start`.
fn end_record(out: &mut Vec<u8>, start: usize, seq: u64) {
    out.extend_from_slice(b",\"seq\":");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    write_crc(out, start);
}

/// Writes one change as a JSON object that is not closed yet.
fn write_change(out: &mut Vec<u8>, change: &Change<'_>) {
    match change {
        Change::Put(key, value) => {
            let is_text = json::write_if_text(out, "{\"put\":", key.as_bytes());
            if !is_text {
                out.extend_from_slice(b"{\"put\":");
                json::write_string(out, &key_text(key.as_bytes()));
            }
            out.extend_from_slice(b",\"value\":");
            json::write_stored_value(out, *value);
            if !is_text {
                out.extend_from_slice(ENCODED_KEYS);
            }
        }
        Change::Delete(keys) => write_deleted(out, keys),
        Change::Evict(keys) => {
            write_deleted(out, keys);
            out.extend_from_slice(b",\"reason\":\"evicted\"");
        }
        Change::Clear => out.extend_from_slice(b"{\"clear\":true"),
        Change::Group(_) => unreachable!("a group holds no groups"),
    }
}

/// Says that the keys of a change stand as their [`key_text`], as one of them is no text.
const ENCODED_KEYS: &[u8] = b",\"keys\":\"base64\"";

fn write_deleted(out: &mut Vec<u8>, keys: &[Key<'_>]) {
    out.extend_from_slice(b"{\"del\":[");
    let are_text = keys.iter().all(|key| is_text(key.as_bytes()));
    for (place, key) in keys.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if are_text {
            json::write_text(out, key.as_bytes());
        } else {
            json::write_string(out, &key_text(key.as_bytes()));
        }
    }
    out.push(b']');
    if !are_text {
        out.extend_from_slice(ENCODED_KEYS);
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{NUMBER_MAX, write_header, write_mark};
    use super::*;
    use crate::model::Value;

    #[test]
    fn lines_look_as_the_format_says() {
        let mut out = Vec::new();
        write_header(7, 41, &mut out);
        let key = Key::parse(b"name").expect("a key");
        let value = Value::parse(b"Ada").expect("a value");
        Records::of(&Change::Put(key, value)).finish(41, &mut out);
        Records::of(&Change::Delete(&[
            key,
            Key::parse(b"user:1").expect("a key"),
        ]))
        .finish(42, &mut out);
        Records::of(&Change::Clear).finish(43, &mut out);
        Records::of(&Change::Group(&[
            Change::Put(key, value),
            Change::Delete(&[key]),
            Change::Clear,
        ]))
        .finish(44, &mut out);
        Records::of(&Change::Evict(&[key])).finish(45, &mut out);
        let bytes = Key::parse(b"\xff").expect("a key");
        Records::of(&Change::Put(bytes, value)).finish(46, &mut out);
        Records::of(&Change::Delete(&[bytes, key])).finish(47, &mut out);
        write_mark(43, &mut out);
        // The checksums were computed with Python's zlib.crc32.
        let expected = concat!(
            "{\"journal\":6,\"number\":7,\"first_seq\":41,\"crc\":\"59e05f84\"}\n",
            "{\"put\":\"name\",\"value\":\"Ada\",\"seq\":41,\"crc\":\"a1659ea4\"}\n",
            "{\"del\":[\"name\",\"user:1\"],\"seq\":42,\"crc\":\"94e52f37\"}\n",
            "{\"clear\":true,\"seq\":43,\"crc\":\"fee1443e\"}\n",
            "{\"group\":[{\"put\":\"name\",\"value\":\"Ada\"},{\"del\":[\"name\"]},{\"clear\":true}],\"seq\":44,\"crc\":\"3cd4f8e4\"}\n",
            "{\"del\":[\"name\"],\"reason\":\"evicted\",\"seq\":45,\"crc\":\"cc9d8af7\"}\n",
            "{\"put\":\"$base64:/w==\",\"value\":\"Ada\",\"keys\":\"base64\",\"seq\":46,\"crc\":\"466320d7\"}\n",
            "{\"del\":[\"$base64:/w==\",\"name\"],\"keys\":\"base64\",\"seq\":47,\"crc\":\"f2bd2238\"}\n",
            "{\"synced\":43,\"crc\":\"dd0aa011\"}\n",
        );
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn no_line_of_a_record_is_longer_than_it_has_said() {
        let mut record = Records::of(&Change::Clear);
        let bytes_max = record.bytes();
        let mut line = Vec::new();
        record.finish(NUMBER_MAX, &mut line);
        assert_eq!(line.len(), bytes_max);
    }
}
