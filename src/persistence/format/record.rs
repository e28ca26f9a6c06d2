//! Records as they are written: encoded before any lock is taken, numbered under the lock of the journal.
//!
//! In: changes. Out: whole lines of the journal. Promise: all that depends on a record's content is done beforehand, so that
//! numbering it costs a copy and a few bytes of checksum.

use smallvec::SmallVec;

use super::fingerprint::SnapshotFingerprint;
use super::journal::{CRC_FIELD_BYTES, write_crc};
use crate::codec::json;
use crate::model::Change;
use crate::spare::Spare;

/// A record from this length on, in bytes, is moved to an empty buffer rather than copied.
const MOVED_BYTES_MIN: usize = 256 << 10;

thread_local! {
    static SPARE: Spare<Vec<u8>> = const { Spare::empty() };
}

/// The most bytes after a record's content: `,"seq":9007199254740992`, the checksum, a line feed.
const END_BYTES_MAX: usize = 7 + 16 + CRC_FIELD_BYTES + 1;

/// A record without its number.
pub struct Record {
    line: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl Record {
    fn new(line: Vec<u8>) -> Self {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&line);
        Self { line, crc }
    }

    /// Encodes the record of a change.
    #[must_use]
    pub fn of(change: &Change<'_>) -> Self {
        let mut line = Spare::take(&SPARE);
        line.reserve(bytes_expected(change));
        if let Change::Group(changes) = change {
            line.extend_from_slice(b"{\"group\":[");
            for (place, change) in changes.iter().enumerate() {
                if place > 0 {
                    line.push(b',');
                }
                write_change(&mut line, change);
                line.push(b'}');
            }
            line.push(b']');
        } else {
            write_change(&mut line, change);
        }
        Self::new(line)
    }

    /// Returns the most bytes that its line can have, whatever its number. Above
    /// [`RECORD_BYTES_MAX`](super::RECORD_BYTES_MAX) it could not be read back.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.line.len() + END_BYTES_MAX
    }

    /// Encodes the record of a snapshot that was written.
    #[must_use]
    pub fn of_saved(saved: &SnapshotFingerprint) -> Self {
        let saved = serde_json::to_string(saved).expect("three plain fields are always JSON");
        Self::new(format!("{{\"saved\":{saved}").into_bytes())
    }

    /// Writes the whole line, with its number.
    pub fn write(self, seq: u64, out: &mut Vec<u8>) {
        if out.is_empty() && self.line.len() >= MOVED_BYTES_MIN {
            *out = self.line;
        } else {
            out.extend_from_slice(&self.line);
            Spare::keep(&SPARE, self.line);
        }
        end_record(out, self.crc, seq);
    }
}

/// Records that mostly come together.
const RECORDS_EXPECTED: usize = 16;

/// Records of several changes without their numbers, one behind the other.
#[derive(Default)]
pub struct Records {
    lines: Vec<u8>,
    /// The end of each, and its checksum so far.
    ends: SmallVec<[(usize, crc32fast::Hasher); RECORDS_EXPECTED]>,
}

impl Records {
    /// Encodes the record of one more change, which is no group.
    pub fn push(&mut self, change: &Change<'_>) {
        let start = self.lines.len();
        if start == 0 {
            self.lines = Spare::take(&SPARE);
            // More of about the same length mostly follow.
            self.lines
                .reserve(RECORDS_EXPECTED * bytes_expected(change));
        }
        write_change(&mut self.lines, change);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.lines[start..]);
        self.ends.push((self.lines.len(), crc));
    }

    /// Returns the number of records.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Writes the whole lines, numbered from `first_seq` on.
    pub fn write(self, first_seq: u64, out: &mut Vec<u8>) {
        out.reserve(self.lines.len() + self.count() * END_BYTES_MAX);
        let mut start = 0;
        for ((end, crc), seq) in self.ends.into_iter().zip(first_seq..) {
            out.extend_from_slice(&self.lines[start..end]);
            end_record(out, crc, seq);
            start = end;
        }
        Spare::keep(&SPARE, self.lines);
    }
}

/// Estimates the length of the record of a change in bytes.
fn bytes_expected(change: &Change<'_>) -> usize {
    const AROUND: usize = 64;
    AROUND
        + match change {
            Change::Put(key, value) => key.as_bytes().len() + value.bytes().len(),
            Change::Delete(keys) => keys.iter().map(|key| key.as_bytes().len() + 3).sum(),
            Change::Clear => 0,
            Change::Group(changes) => changes.iter().map(bytes_expected).sum(),
        }
}

/// Ends the line of a record, given the checksum of its content.
fn end_record(out: &mut Vec<u8>, mut crc: crc32fast::Hasher, seq: u64) {
    let start = out.len();
    out.extend_from_slice(b",\"seq\":");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    crc.update(&out[start..]);
    write_crc(out, crc);
}

/// Writes one change as a JSON object that is not closed yet.
fn write_change(out: &mut Vec<u8>, change: &Change<'_>) {
    match change {
        Change::Put(key, value) => {
            out.extend_from_slice(b"{\"put\":");
            json::write_text(out, key.as_bytes());
            out.extend_from_slice(b",\"value\":");
            json::write_stored_value(out, *value);
        }
        Change::Delete(keys) => {
            out.extend_from_slice(b"{\"del\":[");
            for (place, key) in keys.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                json::write_string(out, key.as_str());
            }
            out.push(b']');
        }
        Change::Clear => out.extend_from_slice(b"{\"clear\":true"),
        Change::Group(_) => unreachable!("a group holds no groups"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{NUMBER_MAX, write_header, write_mark};
    use super::*;
    use crate::model::{Key, Value};

    #[test]
    fn lines_look_as_the_format_says() {
        let mut out = Vec::new();
        write_header(7, 41, &mut out);
        let key = Key::parse(b"name").expect("a key");
        let value = Value::parse(b"Ada").expect("a value");
        Record::of(&Change::Put(key, value)).write(41, &mut out);
        Record::of(&Change::Delete(&[
            key,
            Key::parse(b"user:1").expect("a key"),
        ]))
        .write(42, &mut out);
        Record::of(&Change::Clear).write(43, &mut out);
        Record::of(&Change::Group(&[
            Change::Put(key, value),
            Change::Delete(&[key]),
            Change::Clear,
        ]))
        .write(44, &mut out);
        write_mark(43, &mut out);
        // The checksums were computed with Python's zlib.crc32.
        let expected = concat!(
            "{\"journal\":3,\"number\":7,\"first_seq\":41,\"crc\":\"562d2f80\"}\n",
            "{\"put\":\"name\",\"value\":\"Ada\",\"seq\":41,\"crc\":\"a1659ea4\"}\n",
            "{\"del\":[\"name\",\"user:1\"],\"seq\":42,\"crc\":\"94e52f37\"}\n",
            "{\"clear\":true,\"seq\":43,\"crc\":\"fee1443e\"}\n",
            "{\"group\":[{\"put\":\"name\",\"value\":\"Ada\"},{\"del\":[\"name\"]},{\"clear\":true}],\"seq\":44,\"crc\":\"3cd4f8e4\"}\n",
            "{\"synced\":43,\"crc\":\"dd0aa011\"}\n",
        );
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn no_line_of_a_record_is_longer_than_it_has_said() {
        let record = || Record::of(&Change::Clear);
        let mut line = Vec::new();
        record().write(NUMBER_MAX, &mut line);
        assert_eq!(line.len(), record().bytes());
    }
}
