//! Lines of the journal as they are read.
//!
//! In: one line without its line feed. Out: the record or mark that it says, borrowed from it. Promise: a line that is not
//! exactly one of those that the format allows, with a right checksum, is none.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fingerprint::SnapshotFingerprint;
use super::journal::{CRC_FIELD_BYTES, NUMBER_MAX, Timeline, is_whole};
use crate::codec::json;
use crate::codec::key_text::KeyForm;

/// A line after the header.
#[derive(Debug)]
pub enum Line<'a> {
    /// A record: its number and its content.
    Record(u64, Payload<'a>),
    /// A mark: all records up to this one were on disk when the line was written.
    Mark(u64),
    /// store.json of a copy was written with this fingerprint.
    Saved(SnapshotFingerprint),
    /// The records from a number on are of this timeline.
    Timeline(Timeline),
}

/// The content of a record.
#[derive(Debug)]
pub enum Payload<'a> {
    /// One change.
    Change(ParsedChange<'a>),
    /// These changes, in this order, all or none.
    Group(Vec<ParsedChange<'a>>),
    /// store.json was written with this fingerprint.
    Saved(SnapshotFingerprint),
}

/// One change, before the limits of keys and values are checked.
#[derive(Debug)]
pub enum ParsedChange<'a> {
    /// The key now has this value.
    Put(Cow<'a, [u8]>, json::Loaded<'a>),
    /// These keys are gone.
    Delete(Vec<Vec<u8>>),
    /// These keys were evicted.
    Evict(Vec<Vec<u8>>),
    /// Every key is gone.
    Clear,
}

/// The members of a line, in any order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineFields<'a> {
    #[serde(borrow)]
    put: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    del: Option<Vec<String>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    clear: Option<bool>,
    #[serde(borrow)]
    keys: Option<Cow<'a, str>>,
    #[serde(borrow)]
    group: Option<Vec<&'a RawValue>>,
    saved: Option<SnapshotFingerprint>,
    synced: Option<u64>,
    #[serde(borrow)]
    timeline: Option<Cow<'a, str>>,
    from: Option<u64>,
    own: Option<bool>,
    seq: Option<u64>,
    #[serde(rename = "crc")]
    _crc: &'a str,
}

/// The members of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeFields<'a> {
    #[serde(borrow)]
    put: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    del: Option<Vec<String>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    clear: Option<bool>,
    /// How the keys are written: `base64` for [`KeyForm::Encoded`].
    #[serde(borrow)]
    keys: Option<Cow<'a, str>>,
}

/// Parses a line after the header, without its line feed; `None` if it is not whole or not one of the format.
#[must_use]
pub fn read_line(line: &[u8]) -> Option<Line<'_>> {
    if !is_whole(line) {
        return None;
    }
    let line = read_plain_put(line).or_else(|| read_fields(line));
    line.filter(|line| !matches!(line, Line::Record(seq, _) if !(1..=NUMBER_MAX).contains(seq)))
}

/// Parses the record that nearly all are, a text value under a key, in the layout in which it was written. It is much faster
/// than a general JSON parser, and leaves everything else to that.
fn read_plain_put(line: &[u8]) -> Option<Line<'_>> {
    let rest = line.strip_prefix(b"{\"put\":")?;
    let (key, rest) = json::take_string(rest)?;
    let (value, rest) = json::take_string(rest.strip_prefix(b",\"value\":")?)?;
    let seq = rest.strip_prefix(b",\"seq\":")?;
    let seq = &seq[..seq.len().checked_sub(CRC_FIELD_BYTES)?];
    Some(Line::Record(
        serde_json::from_slice(seq).ok()?,
        Payload::Change(ParsedChange::Put(
            KeyForm::Literal.bytes(key),
            json::Loaded::text(value),
        )),
    ))
}

fn read_fields(line: &[u8]) -> Option<Line<'_>> {
    let LineFields {
        put,
        value,
        del,
        reason,
        clear,
        keys,
        group,
        saved,
        synced,
        timeline,
        from,
        own,
        seq,
        ..
    } = serde_json::from_slice(line).ok()?;
    let change = ChangeFields {
        put,
        value,
        del,
        reason,
        clear,
        keys,
    };
    let timeline = match (timeline, from, own) {
        (None, None, None) => None,
        (Some(id), Some(from), Some(is_own)) => {
            let id = id.into_owned();
            Some(Timeline { id, from, is_own })
        }
        _ => return None,
    };
    let recorded = match (group, saved, synced) {
        (None, None, None) if change.is_empty() => {
            return timeline.filter(|_| seq.is_none()).map(Line::Timeline);
        }
        _ if timeline.is_some() => return None,
        (None, None, None) => Payload::Change(change.read()?),
        _ if !change.is_empty() => return None,
        (None, Some(saved), None) if seq.is_none() => return Some(Line::Saved(saved)),
        (None, None, Some(synced)) => return seq.is_none().then_some(Line::Mark(synced)),
        (None, Some(saved), None) => Payload::Saved(saved),
        (Some(changes), None, None) => {
            let changes = changes.into_iter().map(read_member);
            Payload::Group(changes.collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some(Line::Record(seq?, recorded))
}

fn read_member(member: &RawValue) -> Option<ParsedChange<'_>> {
    // serde would take an array of the members' values, too.
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
                reason: None,
                clear: None,
                keys: None
            }
        )
    }

    fn read(self) -> Option<ParsedChange<'a>> {
        let form = match self.keys.as_deref() {
            None => KeyForm::Literal,
            Some("base64") if self.clear.is_none() => KeyForm::Encoded,
            Some(_) => return None,
        };
        let reason = self.reason.as_deref();
        let all = |keys: Vec<String>| {
            let keys = keys.into_iter();
            keys.map(|key| form.bytes(Cow::Owned(key)).into_owned())
                .collect()
        };
        match (self.put, self.value, self.del, reason, self.clear) {
            (Some(key), Some(value), None, None, None) => {
                let loaded = json::read_value(value.get()).ok()?;
                Some(ParsedChange::Put(form.bytes(key), loaded))
            }
            (None, None, Some(keys), None, None) => Some(ParsedChange::Delete(all(keys))),
            (None, None, Some(keys), Some("evicted"), None) => Some(ParsedChange::Evict(all(keys))),
            (None, None, None, None, Some(true)) => Some(ParsedChange::Clear),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Records;
    use super::*;
    use crate::model::Change;

    #[test]
    fn a_line_with_any_byte_changed_is_not_whole() {
        let mut line = Vec::new();
        Records::of(&Change::Clear).finish(7, &mut line);
        line.pop();
        assert!(matches!(
            read_line(&line),
            Some(Line::Record(7, Payload::Change(ParsedChange::Clear)))
        ));
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone();
                changed[at] ^= 1 << bit;
                assert!(read_line(&changed).is_none(), "bit {bit} of byte {at}");
            }
        }
    }
}
