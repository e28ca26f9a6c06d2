//! The log in etcd: keys in the order of the records, each with a piece of the journal's lines.
//!
//! # Format
//!
//! ```text
//! /pykv/NAME/secret                        64 hexadecimal digits, which the members share
//! /pykv/NAME/origin                        {"timeline":"5b0c..","from":1}                   what the log continues
//! /pykv/NAME/leader                        {"member":{..},"since":1796..}                  with the leader's lease
//! /pykv/NAME/renewed                       nothing; put with the same lease by each renewal
//! /pykv/NAME/members/HOST:PORT             {..}                                            with a lease of each member
//! /pykv/NAME/log/000000000000002a/0000     {"fence":123,"last":true} and lines             from record 42 on
//! ```
//!
//! - A key holds whole lines, or a part of a line that is too long for one request; parts count from 0, and the last one says so.
//! - The fence is etcd's revision at which the key of the leader was created: who appends compares it in the same transaction, and it tells
//!   one's own entry from equal bytes of another leader's. Parts with different fences do not belong together: a leader that has lost its
//!   lease has left them, and the next one removes them before it appends.
//!
//! In: lines, records' numbers. Out: keys and values, and back. Promise: an entry is at most [`ENTRY_BYTES_MAX`] long.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The most bytes of lines in one entry: with the rest of its request it is below the 1.5 MiB that etcd takes by default.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;
/// The most records in one entry: who has a part of them begins to read so many before.
pub const ENTRY_RECORDS_MAX: usize = 16 << 10;

/// The keys of a cluster.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Returns the keys of the cluster with a name.
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        Self {
            prefix: format!("/pykv/{cluster}/"),
        }
    }

    /// Returns the key of what the members share.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("{}secret", self.prefix)
    }

    /// Returns the key of what the log continues.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}origin", self.prefix)
    }

    /// Returns the key of the leader.
    #[must_use]
    pub fn leader(&self) -> String {
        format!("{}leader", self.prefix)
    }

    /// Returns the key that each renewal of the leader's lease puts.
    #[must_use]
    pub fn renewed(&self) -> String {
        format!("{}renewed", self.prefix)
    }

    /// Returns the prefix of the keys of members.
    #[must_use]
    pub fn members(&self) -> String {
        format!("{}members/", self.prefix)
    }

    /// Returns the key of a part of the entry that begins with a record.
    #[must_use]
    pub fn entry(&self, seq: u64, part: u32) -> String {
        format!("{}log/{seq:016x}/{part:04x}", self.prefix)
    }

    /// Returns the key before all entries that begin with a record or a later one.
    #[must_use]
    pub fn from(&self, seq: u64) -> String {
        format!("{}log/{seq:016x}/", self.prefix)
    }

    /// Returns the key behind all entries.
    #[must_use]
    pub fn end(&self) -> String {
        format!("{}log0", self.prefix)
    }

    /// Parses the key of an entry: its first record, and its part.
    #[must_use]
    pub fn parse(&self, key: &str) -> Option<(u64, u32)> {
        let (seq, part) = key
            .strip_prefix(&self.prefix)?
            .strip_prefix("log/")?
            .split_once('/')?;
        let seq = u64::from_str_radix(seq, 16).ok()?;
        Some((seq, u32::from_str_radix(part, 16).ok()?))
    }
}

/// The first line of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The fence of the leader that has appended it.
    pub fence: i64,
    /// True if its records end with it.
    pub last: bool,
}

/// Makes the value of an entry.
#[must_use]
pub fn encode(header: &Header, lines: &[u8]) -> Vec<u8> {
    let mut value = serde_json::to_vec(header).expect("two plain fields are always JSON");
    value.push(b'\n');
    value.extend_from_slice(lines);
    value
}

/// Reads the value of an entry; `None` if it is none.
#[must_use]
pub fn decode(value: &[u8]) -> Option<(Header, &[u8])> {
    let end = memchr::memchr(b'\n', value)?;
    let header = serde_json::from_slice(&value[..end]).ok()?;
    Some((header, &value[end + 1..]))
}

/// Divides lines into those of entries: ranges of bytes, each with its number of records. A line that is too long for one entry is alone.
#[must_use]
pub fn divide(lines: &[u8]) -> Vec<(Range<usize>, usize)> {
    let mut divided = Vec::new();
    let (mut start, mut end, mut records) = (0, 0, 0);
    for at in memchr::memchr_iter(b'\n', lines) {
        let is_full = at + 1 - start > ENTRY_BYTES_MAX || records == ENTRY_RECORDS_MAX;
        if is_full && records > 0 {
            divided.push((start..end, records));
            (start, records) = (end, 0);
        }
        (end, records) = (at + 1, records + 1);
    }
    if records > 0 {
        divided.push((start..end, records));
    }
    divided
}

/// Puts parts together.
#[derive(Debug, Default)]
pub struct Assembly {
    seq: u64,
    next_part: u32,
    fence: i64,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes a part of the entry that begins with a record. Returns the lines, once they are whole.
    pub fn take(&mut self, seq: u64, part: u32, value: &[u8]) -> Option<Vec<u8>> {
        let (header, lines) = decode(value)?;
        let continues = (seq, part, header.fence) == (self.seq, self.next_part, self.fence);
        if part == 0 {
            self.bytes.clear();
        } else if !continues {
            self.clear();
            return None;
        }
        (self.seq, self.next_part, self.fence) = (seq, part + 1, header.fence);
        self.bytes.extend_from_slice(lines);
        header.last.then(|| {
            self.next_part = 0;
            std::mem::take(&mut self.bytes)
        })
    }

    /// Returns true if an entry has begun that another leader than that with this fence appends.
    #[must_use]
    pub fn is_of_another(&self, fence: i64) -> bool {
        self.next_part > 0 && self.fence != fence
    }

    /// Forgets an entry that has begun.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_records_and_parts() {
        let keys = Keys::of("shop");
        let mut all = vec![
            keys.entry(9, 1),
            keys.end(),
            keys.entry(10, 0),
            keys.entry(9, 0),
            keys.entry(1 << 52, 0),
            keys.from(10),
        ];
        all.sort();
        let expected = [
            "/pykv/shop/log/0000000000000009/0000",
            "/pykv/shop/log/0000000000000009/0001",
            "/pykv/shop/log/000000000000000a/",
            "/pykv/shop/log/000000000000000a/0000",
            "/pykv/shop/log/0010000000000000/0000",
            "/pykv/shop/log0",
        ];
        assert_eq!(all, expected);
        assert_eq!(keys.parse(&all[1]), Some((9, 1)));
        assert_eq!(keys.parse("/pykv/shop/leader"), None);
    }

    #[test]
    fn lines_are_divided_between_records() {
        let line = [&vec![b'x'; 400_000][..], b"\n"].concat();
        let lines = [&line.repeat(3)[..], &vec![b'y'; 3 << 20], b"\n", &line].concat();
        let divided = divide(&lines);
        let lengths: Vec<_> = divided
            .iter()
            .map(|(range, records)| (range.len(), *records))
            .collect();
        assert_eq!(
            lengths,
            [(800_002, 2), (400_001, 1), ((3 << 20) + 1, 1), (400_001, 1)]
        );
        assert_eq!(
            divided.last().map(|(range, _)| range.end),
            Some(lines.len())
        );
        assert!(divide(b"").is_empty());
        let many = b"\n".repeat(ENTRY_RECORDS_MAX + 1);
        assert_eq!(divide(&many).len(), 2);
    }

    #[test]
    fn parts_of_two_leaders_are_never_put_together() {
        let part = |fence, last, text: &str| encode(&Header { fence, last }, text.as_bytes());
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(7, 0, &part(1, false, "a")), None);
        assert!(assembly.is_of_another(2) && !assembly.is_of_another(1));
        assert_eq!(assembly.take(7, 1, &part(2, true, "b")), None);
        assert!(!assembly.is_of_another(1));
        assert_eq!(assembly.take(7, 0, &part(2, false, "c")), None);
        assert_eq!(
            assembly.take(7, 1, &part(2, true, "d")),
            Some(b"cd".to_vec())
        );
        assert_eq!(
            assembly.take(8, 0, &part(2, true, "e")),
            Some(b"e".to_vec())
        );
        assert_eq!(assembly.take(9, 1, &part(2, true, "f")), None);
    }
}
