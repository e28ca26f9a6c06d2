//! The journal's format: every change, in the order it was made, one JSON object per line.
//!
//! # Format, version 3: the file `journal-N.jsonl`
//!
//! ```text
//! {"journal":3,"number":7,"first_seq":41,"crc":"9ae0daaf"}            the first line: version, N, the next record's seq
//! {"put":"name","value":"Ada","seq":41,"crc":"1c291ca3"}              the key now has this value (in the form of `json`)
//! {"del":["name","user:1"],"seq":42,"crc":"0f3cb1d2"}                 these keys are gone: one request, one record
//! {"clear":true,"seq":43,"crc":"77b0e2c5"}                            every key is gone
//! {"group":[{"put":"a","value":"1"},{"del":["b"]}],"seq":44,"crc":".."}  these changes, in this order, all or none
//! {"saved":{"bytes":9,"crc":"..","modified":".."},"seq":45,"crc":".."}  store.json was written, and looks like this
//! {"synced":43,"crc":"5d0fe1a7"}                                      a mark: up to record 43 all was on disk by now
//! ```
//!
//! - `seq` grows by one from record to record, across files. `crc` is the CRC-32 (IEEE 802.3) of the line up to `,"crc"`,
//!   in hexadecimal. A line is whole if it ends in a line feed and its checksum is right.
//! - Values and expiry times are absolute, so a record may be replayed on a state that has it already.
//! - The members of a group are changes as they stand alone, `clear` included, but for the number and the checksum, which
//!   they share: a tear takes all of them away. A group is no member of another.
//! - `journal-1` begins from nothing; a journal with a higher number continues the one before, or a `store.json`. A snapshot
//!   starts a new journal first; once store.json is on disk under its name, the older journals go.
//! - A new journal is called `journal-N.jsonl.new` until those before it are on disk, or, where that is in doubt, until a
//!   save has taken their place: the name is the doubt, and outlives a crash. If the machine goes down meanwhile
//!   and an older one turns out to be short, the newer holds nothing that was promised, and is set aside.
//! - A mark is no record and has no number. It is written with the first records after a sync, and tells what a power cut
//!   may have taken from what it cannot: all that a mark speaks of was on disk.
//! - The last lines of the last journal that are cut short, zero-filled or otherwise not whole were never promised: they are
//!   copied aside (`journal-N.jsonl.torn`), reported, and cut off. A bad line before a whole one is damage, not a tear; but
//!   for one case: a disk may write what was not synced in any order, so that a power cut leaves sectors of zeros, which no
//!   line ever holds, before whole lines. It is a tear where no later mark says that the place was on disk.
//!
//! Version 1 had no marks, and version 2 no groups; both are read as this one is, and not written on with.
//!
//! To change the format: raise the version, keep the old reader, add a file to `tests/fixtures/`.
//!
//! In: changes, or lines. Out: lines, or what they record.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::snapshot::Saved;
use crate::codec::json;
use crate::model::{Change, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The version of the format.
pub const VERSION: u64 = 3;

/// The highest number of a journal or a record: no server comes to it, every reader of JSON keeps it exactly, and what is
/// counted on from it does not overflow.
const NUMBER_MAX: u64 = 1 << 53;

/// The longest line: the longest value and key, each byte of which may take six as `\u00XX`, always fit, and so do the most
/// keys that one request can name. Of a group no more than this can be kept as one; [`Record::bytes`] tells before it is
/// appended. What is longer is no record, and a reader must not fill the memory with it.
pub const RECORD_BYTES_MAX: usize = 7 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + 1024;

/// A record of this length is moved to an empty buffer rather than copied.
const MOVED_BYTES_MIN: usize = 256 << 10;

/// The length of `,"crc":"9ae0daaf"}`.
const CRC_FIELD_BYTES: usize = 18;

/// The most that a record's line has after what it says: `,"seq":9007199254740992`, the checksum, a line feed.
const END_BYTES_MAX: usize = 7 + 16 + CRC_FIELD_BYTES + 1;

/// The name of journal N.
#[must_use]
pub fn name(number: u64) -> String {
    format!("journal-{number}.jsonl")
}

/// The name of journal N while the one before it may not be on disk.
#[must_use]
pub fn new_name(number: u64) -> String {
    format!("journal-{number}.jsonl.new")
}

/// Which journal a file of this name is, and whether it is a new one.
#[must_use]
pub fn number_of(name: &str) -> Option<(u64, bool)> {
    let (stem, is_new) = name
        .strip_suffix(".new")
        .map_or((name, false), |stem| (stem, true));
    let number = stem
        .strip_prefix("journal-")?
        .strip_suffix(".jsonl")?
        .parse()
        .ok()?;
    ((1..=NUMBER_MAX).contains(&number) && self::name(number) == stem).then_some((number, is_new))
}

/// A record but for its number: made before any lock is taken, ended under it.
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

    /// The record of a change.
    #[must_use]
    pub fn of(change: &Change<'_>) -> Self {
        let mut line = Vec::with_capacity(bytes_expected(change));
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

    /// The most bytes that its line can have, whatever its number: not above [`RECORD_BYTES_MAX`], or it cannot be read back.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.line.len() + END_BYTES_MAX
    }

    /// The record of a snapshot.
    #[must_use]
    pub fn of_saved(saved: &Saved) -> Self {
        let saved = serde_json::to_string(saved).expect("three plain fields are always JSON");
        Self::new(format!("{{\"saved\":{saved}").into_bytes())
    }

    /// Writes the whole line, with its number.
    pub fn write(self, seq: u64, out: &mut Vec<u8>) {
        if out.is_empty() && self.line.len() >= MOVED_BYTES_MIN {
            *out = self.line;
        } else {
            out.extend_from_slice(&self.line);
        }
        end_record(out, self.crc, seq);
    }
}

/// As many as mostly come together.
const RECORDS_EXPECTED: usize = 16;

/// Records of several changes but for their numbers, one behind the other: made apart, ended under the lock of the journal.
#[derive(Default)]
pub struct Records {
    lines: Vec<u8>,
    /// Where each ends, and its checksum so far.
    ends: SmallVec<[(usize, crc32fast::Hasher); RECORDS_EXPECTED]>,
}

impl Records {
    /// Adds the record of a change, which is no group.
    pub fn push(&mut self, change: &Change<'_>) {
        let start = self.lines.len();
        if start == 0 {
            // Others like it mostly follow.
            self.lines
                .reserve(RECORDS_EXPECTED * bytes_expected(change));
        }
        write_change(&mut self.lines, change);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.lines[start..]);
        self.ends.push((self.lines.len(), crc));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Writes the whole lines, the first with this number.
    pub fn write(self, first_seq: u64, out: &mut Vec<u8>) {
        out.reserve(self.lines.len() + self.count() * END_BYTES_MAX);
        let mut start = 0;
        for ((end, crc), seq) in self.ends.into_iter().zip(first_seq..) {
            out.extend_from_slice(&self.lines[start..end]);
            end_record(out, crc, seq);
            start = end;
        }
    }
}

/// About as long as the record of a change is.
fn bytes_expected(change: &Change<'_>) -> usize {
    const AROUND: usize = 64;
    AROUND
        + match change {
            Change::Put(key, value) => key.as_bytes().len() + value.bytes().len(),
            _ => 0,
        }
}

/// Ends the line of a record, whose checksum so far this is.
fn end_record(out: &mut Vec<u8>, mut crc: crc32fast::Hasher, seq: u64) {
    let start = out.len();
    out.extend_from_slice(b",\"seq\":");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    crc.update(&out[start..]);
    write_crc(out, crc);
}

/// Writes one change as an object that is not closed yet.
fn write_change(out: &mut Vec<u8>, change: &Change<'_>) {
    match change {
        Change::Put(key, value) => {
            out.extend_from_slice(b"{\"put\":");
            json::write_text(out, key.as_bytes());
            out.extend_from_slice(b",\"value\":");
            json::write_value(out, *value);
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

/// Writes the first line of a journal.
pub fn write_header(number: u64, first_seq: u64, out: &mut Vec<u8>) {
    let start = out.len();
    write!(
        out,
        "{{\"journal\":{VERSION},\"number\":{number},\"first_seq\":{first_seq}"
    )
    .expect("writing to memory cannot fail");
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out[start..]);
    write_crc(out, crc);
}

/// Writes a mark: up to this record all is on disk.
pub fn write_mark(synced: u64, out: &mut Vec<u8>) {
    let start = out.len();
    write!(out, "{{\"synced\":{synced}").expect("writing to memory cannot fail");
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out[start..]);
    write_crc(out, crc);
}

fn write_crc(out: &mut Vec<u8>, crc: crc32fast::Hasher) {
    out.extend_from_slice(&crc_field(crc.finalize()));
    out.push(b'\n');
}

/// The last member of a line, and the end of its object.
fn crc_field(crc: u32) -> [u8; CRC_FIELD_BYTES] {
    let mut field = *b",\"crc\":\"00000000\"}";
    for (place, digit) in field[8..16].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(crc >> (28 - 4 * place)) as usize & 15];
    }
    field
}

/// The first line of a journal, read.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Header {
    /// The version of the format.
    pub journal: u64,
    /// Which journal it is.
    pub number: u64,
    /// The number of its first record.
    pub first_seq: u64,
}

/// What a line after the first says.
#[derive(Debug)]
pub enum Line<'a> {
    /// Changes, or word of a snapshot, and their number.
    Record(u64, Recorded<'a>),
    /// Up to this record all was on disk when the line was written.
    Mark(u64),
}

/// What a record says.
#[derive(Debug)]
pub enum Recorded<'a> {
    /// One change.
    Change(Changed<'a>),
    /// These changes, in this order, all or none.
    Group(Vec<Changed<'a>>),
    /// store.json was written.
    Saved(Saved),
}

/// One change, before the limits of keys and values are checked.
#[derive(Debug)]
pub enum Changed<'a> {
    /// The key now has this value.
    Put(Cow<'a, str>, json::Loaded<'a>),
    /// These keys are gone.
    Delete(Vec<String>),
    /// Every key is gone.
    Clear,
}

/// The members of a record, in any order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    put: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    del: Option<Vec<String>>,
    clear: Option<bool>,
    #[serde(borrow)]
    group: Option<Vec<&'a RawValue>>,
    saved: Option<Saved>,
    synced: Option<u64>,
    seq: Option<u64>,
    #[serde(rename = "crc")]
    _crc: &'a str,
}

/// Those of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeFields<'a> {
    #[serde(borrow)]
    put: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    del: Option<Vec<String>>,
    clear: Option<bool>,
}

/// Reads the first line, without its line feed; `None` if it is not whole.
#[must_use]
pub fn read_header(line: &[u8]) -> Option<Header> {
    if !is_whole(line) {
        return None;
    }
    serde_json::from_slice(line)
        .ok()
        .filter(|header: &Header| (1..=NUMBER_MAX).contains(&header.first_seq))
}

/// Reads a line after the first, without its line feed; `None` if it is not whole.
#[must_use]
pub fn read_line(line: &[u8]) -> Option<Line<'_>> {
    if !is_whole(line) {
        return None;
    }
    let line = read_plain_put(line).or_else(|| read_fields(line));
    line.filter(|line| !matches!(line, Line::Record(seq, _) if !(1..=NUMBER_MAX).contains(seq)))
}

/// Reads the record that nearly all are: text under a key, in the layout in which it was written.
fn read_plain_put(line: &[u8]) -> Option<Line<'_>> {
    let rest = line.strip_prefix(b"{\"put\":")?;
    let (key, rest) = json::take_string(rest)?;
    let (value, rest) = json::take_string(rest.strip_prefix(b",\"value\":")?)?;
    let seq = rest.strip_prefix(b",\"seq\":")?;
    let seq = &seq[..seq.len().checked_sub(CRC_FIELD_BYTES)?];
    Some(Line::Record(
        serde_json::from_slice(seq).ok()?,
        Recorded::Change(Changed::Put(key, json::Loaded::text(value))),
    ))
}

fn read_fields(line: &[u8]) -> Option<Line<'_>> {
    let Fields {
        put,
        value,
        del,
        clear,
        group,
        saved,
        synced,
        seq,
        ..
    } = serde_json::from_slice(line).ok()?;
    let change = ChangeFields {
        put,
        value,
        del,
        clear,
    };
    let recorded = match (group, saved, synced) {
        (None, None, None) => Recorded::Change(change.read()?),
        _ if !change.is_empty() => return None,
        (None, None, Some(synced)) => return seq.is_none().then_some(Line::Mark(synced)),
        (None, Some(saved), None) => Recorded::Saved(saved),
        (Some(changes), None, None) => {
            let changes = changes.into_iter().map(read_member);
            Recorded::Group(changes.collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some(Line::Record(seq?, recorded))
}

fn read_member(member: &RawValue) -> Option<Changed<'_>> {
    // As serde reads it, an array of the members' values would do, too.
    let is_object = member.get().starts_with('{');
    let fields = || serde_json::from_str::<ChangeFields<'_>>(member.get()).ok();
    is_object.then(fields)??.read()
}

impl<'a> ChangeFields<'a> {
    fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                put: None,
                value: None,
                del: None,
                clear: None
            }
        )
    }

    fn read(self) -> Option<Changed<'a>> {
        match (self.put, self.value, self.del, self.clear) {
            (Some(key), Some(value), None, None) => {
                Some(Changed::Put(key, json::read_value(value.get()).ok()?))
            }
            (None, None, Some(keys), None) => Some(Changed::Delete(keys)),
            (None, None, None, Some(true)) => Some(Changed::Clear),
            _ => None,
        }
    }
}

/// Whether the line's checksum is right.
fn is_whole(line: &[u8]) -> bool {
    let Some(at) = line.len().checked_sub(CRC_FIELD_BYTES) else {
        return false;
    };
    let (summed, field) = line.split_at(at);
    field == crc_field(crc32fast::hash(summed))
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_line_with_any_byte_changed_is_not_whole() {
        let mut line = Vec::new();
        Record::of(&Change::Clear).write(7, &mut line);
        line.pop();
        assert!(matches!(
            read_line(&line),
            Some(Line::Record(7, Recorded::Change(Changed::Clear)))
        ));
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone();
                changed[at] ^= 1 << bit;
                assert!(read_line(&changed).is_none(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn only_names_that_are_written_are_journals() {
        assert_eq!(number_of("journal-12.jsonl"), Some((12, false)));
        assert_eq!(number_of("journal-12.jsonl.new"), Some((12, true)));
        for name in [
            "journal-012.jsonl",
            "journal-.jsonl",
            "journal-1.jsonl.torn",
            "store.json",
            "journal-+1.jsonl",
            "journal-0.jsonl",
            "journal-18446744073709551615.jsonl",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
