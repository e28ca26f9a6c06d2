//! The journal's format: every change, in the order in which it was made, one JSON object per line.
//!
//! # Format, version 6: the file `journal-N.jsonl`
//!
//! ```text
//! {"journal":6,"number":7,"first_seq":41,"crc":".."}                  the header: version, N, number of the first record
//! {"timeline":"5b0c..","from":41,"own":true,"crc":".."}              the records from 41 on are of this timeline
//! {"put":"name","value":"Ada","seq":41,"crc":"1c291ca3"}              the key now has this value (form of `codec::json`)
//! {"del":["name","user:1"],"seq":42,"crc":"0f3cb1d2"}                 these keys are gone: one request, one record
//! {"clear":true,"seq":43,"crc":"77b0e2c5"}                            every key is gone
//! {"group":[{"put":"a","value":"1"},{"del":["b"]}],"seq":44,"crc":".."}  these changes, in this order, all or none
//! {"del":["b"],"reason":"evicted","seq":45,"crc":"b7f8d493"}          the same, as the memory of the data has a cap
//! {"put":"$base64:/w==","value":"x","keys":"base64","seq":46,"crc":".."}  the key is the byte 255
//! {"saved":{"bytes":9,"crc":"..","modified":".."},"seq":47,"crc":".."}  store.json was written with this fingerprint
//! {"synced":43,"crc":"5d0fe1a7"}                                      a mark: up to record 43 all was on disk by now
//! ```
//!
//! - `seq` grows by one from record to record, across files. `crc` is the CRC-32 (IEEE 802.3) of the line up to `,"crc"`,
//!   in hexadecimal. A line is whole if it ends in a line feed and its checksum is right.
//! - Values and expiry times are absolute, so a record may be replayed on a state that has it already.
//! - A change of which a key is not text, which is UTF-8, has `"keys":"base64"`: its keys stand in the form of `codec::key_text`. The keys of
//!   other changes stand for themselves.
//! - The members of a group are changes as they stand alone, `clear` included, without number and checksum, which they
//!   share: a torn write takes all of them away. Groups do not nest.
//! - `journal-1` begins with an empty store; a journal with a higher number continues the one before, or a `store.json`. A
//!   snapshot starts a new journal first; once store.json is on disk under its name, the older journals are removed.
//! - A new journal is provisional: it is called `journal-N.jsonl.new` until those before it are on disk or, where that is in
//!   doubt, until a save has replaced them. The name records the doubt, so the doubt outlives a crash. If the machine goes
//!   down meanwhile and an older journal turns out to be short, nothing in the newer one was promised, and it is set aside.
//! - In a folder that is a copy of another server's, a store.json that was written is told of without a number: the numbers are those of
//!   the other server, whose own such records are there, too.
//! - A timeline is a run of a server during which no number was given twice: by its name and a number a replica tells whether it has
//!   the same records. Each journal begins with those that are known, oldest first; there are none before a replica has come.
//! - A mark is written with the first records after a sync, and divides what a power cut
//!   may have taken from what it cannot: all up to the marked record was on disk.
//! - The last lines of the last journal that are cut short, zero-filled or otherwise not whole were never promised: they are
//!   copied aside (`journal-N.jsonl.torn`), reported, and cut off. A bad line before a whole one is damage, not a torn tail,
//!   with one exception: a disk may write what was not synced in any order, so a power cut can leave sectors of zeros, which
//!   no line ever holds, before whole lines. It is a torn tail unless a later mark says that the place was on disk.
//!
//! Version 1 had no marks, version 2 no groups, version 3 no reasons, version 4 no timelines, and version 5 no keys but text; all are read as this one is, and not appended to.
//!
//! To change the format: raise the version, keep the old reader, add a file to `tests/persistence/fixtures/`.
//!
//! In: numbers. Out: file names, headers, marks and checksums; records are in `record`, reading them in `line`.

use std::fmt;

use serde::Deserialize;

use super::fingerprint::SnapshotFingerprint;
use crate::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The version of the format that is written.
pub const VERSION: u64 = 6;

/// The highest number of a journal or a record: far above what any server reaches, exact in every JSON reader, and low enough
/// that arithmetic on it cannot overflow.
pub(super) const NUMBER_MAX: u64 = 1 << 53;

/// The longest line of a record in bytes. The longest value and key always fit, each byte of which may take six as `\u00XX` (of a
/// value, where an older server wrote it: now two at most), and so do the most keys that one request can name. A group may
/// exceed it; [`Records::bytes`](super::Records::bytes) tells before it is appended. A longer line is no record: a reader must
/// not fill the memory with it.
pub const RECORD_BYTES_MAX: usize = 7 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + 1024;

/// The length of `,"crc":"9ae0daaf"}`.
pub(super) const CRC_FIELD_BYTES: usize = 18;

/// The name of a journal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalName {
    /// N.
    pub number: u64,
    /// True for `journal-N.jsonl.new`: this journal, or one before it, may not be on disk.
    pub is_provisional: bool,
}

impl JournalName {
    /// Returns the final name of journal N.
    #[must_use]
    pub fn settled(number: u64) -> Self {
        Self {
            number,
            is_provisional: false,
        }
    }

    /// Returns the provisional name of journal N.
    #[must_use]
    pub fn provisional(number: u64) -> Self {
        Self {
            number,
            is_provisional: true,
        }
    }

    /// Parses a file name; `None` if it is not one that this server writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_suffix(".new").unwrap_or(text);
        let number = stem
            .strip_prefix("journal-")?
            .strip_suffix(".jsonl")?
            .parse()
            .ok()?;
        let name = Self {
            number,
            is_provisional: stem.len() < text.len(),
        };
        ((1..=NUMBER_MAX).contains(&number) && name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for JournalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.is_provisional { ".new" } else { "" };
        write!(f, "journal-{}.jsonl{ending}", self.number)
    }
}

/// The header of a journal: its first line.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Header {
    /// The version of the format.
    pub journal: u64,
    /// The number of the journal.
    pub number: u64,
    /// The number of its first record.
    pub first_seq: u64,
}

/// Parses a header without its line feed; `None` if the line is not whole or no header.
#[must_use]
pub fn read_header(line: &[u8]) -> Option<Header> {
    if !is_whole(line) {
        return None;
    }
    serde_json::from_slice(line)
        .ok()
        .filter(|header: &Header| (1..=NUMBER_MAX).contains(&header.first_seq))
}

/// Writes the header of a journal.
pub fn write_header(number: u64, first_seq: u64, out: &mut Vec<u8>) {
    let header = format!("{{\"journal\":{VERSION},\"number\":{number},\"first_seq\":{first_seq}");
    write_line(&header, out);
}

/// Writes a mark: all records up to this one are on disk.
pub fn write_mark(synced: u64, out: &mut Vec<u8>) {
    write_line(&format!("{{\"synced\":{synced}"), out);
}

/// Writes that store.json was written with this fingerprint.
pub fn write_saved(saved: &SnapshotFingerprint, out: &mut Vec<u8>) {
    let saved = serde_json::to_string(saved).expect("three plain fields are always JSON");
    write_line(&format!("{{\"saved\":{saved}"), out);
}

/// A run of a server during which no number was given to two records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Name, unique among all servers: 32 hexadecimal digits.
    pub id: String,
    /// The number of its first record.
    pub from: u64,
    /// True if the server of this folder has begun it; false if it was copied from another one.
    pub is_own: bool,
}

impl Timeline {
    /// Returns a new name.
    #[must_use]
    pub fn random_id() -> String {
        let parts = (0..4).map(|_| format!("{:08x}", fastrand::u32(..)));
        parts.collect()
    }
}

/// Writes that the records from a number on are of a timeline.
pub fn write_timeline(timeline: &Timeline, out: &mut Vec<u8>) {
    let Timeline { id, from, is_own } = timeline;
    write_line(
        &format!("{{\"timeline\":\"{id}\",\"from\":{from},\"own\":{is_own}"),
        out,
    );
}

fn write_line(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    write_crc(out, start);
}

/// Ends a line, which begins at `start`, with its checksum.
pub(super) fn write_crc(out: &mut Vec<u8>, start: usize) {
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc_field(crc));
    out.push(b'\n');
}

/// Returns the last member of a line, and the end of its object.
fn crc_field(crc: u32) -> [u8; CRC_FIELD_BYTES] {
    let mut field = *b",\"crc\":\"00000000\"}";
    for (place, digit) in field[8..16].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(crc >> (28 - 4 * place)) as usize & 15];
    }
    field
}

/// Returns true if the checksum of a line, without its line feed, is right.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let Some(at) = line.len().checked_sub(CRC_FIELD_BYTES) else {
        return false;
    };
    let (summed, field) = line.split_at(at);
    field == crc_field(crc32fast::hash(summed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_written_are_journals() {
        let parse = JournalName::parse;
        assert_eq!(parse("journal-12.jsonl"), Some(JournalName::settled(12)));
        assert_eq!(
            parse("journal-12.jsonl.new"),
            Some(JournalName::provisional(12))
        );
        for name in [
            "journal-012.jsonl",
            "journal-.jsonl",
            "journal-1.jsonl.torn",
            "store.json",
            "journal-+1.jsonl",
            "journal-0.jsonl",
            "journal-18446744073709551615.jsonl",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
