//! Commands on the bits of a value: GETBIT, SETBIT, BITCOUNT, BITPOS, BITOP.
//!
//! In: keys, offsets in bits or bytes, operations. Out: bits, counts, positions, lengths in bytes. Promises: bit 0 is the highest one of
//! the first byte; behind its end a value has zeros; what a request reads and what it changes is atomic.
//! Source: <https://redis.io/docs/latest/develop/data-types/bitmaps/>.

use std::ops::Range;

use crate::command::call::{Answer, Arguments, Call, keys_of};
use crate::command::data::native_forms;
use crate::command::data::options::number_of;
use crate::command::data::strings::rewrite;
use crate::command::key_events::Event;
use crate::command::limits::KEYS_PER_REQUEST_MAX;
use crate::command::long_work;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{Access, Overwrite, ReadOnly, ReadWrite, Update};
use crate::command::spec::{ANY, Flag, Group, KeySpec, NativeReply};
use crate::engine::ReadOutcome;
use crate::model::entry::Entry;
use crate::model::{Key, VALUE_BYTES_MAX, Value};
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::read("GETBIT", "<key> <place>", 2..=2, getbit)
        .group(Group::Bitmap)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native_if(NativeReply::Count, native_forms::is_bit_of_a_value)
        .example("GETBIT letter 1")
        .summary("Read a bit of a value."),
    Row::write("SETBIT", "<key> <place> <bit>", 3..=3, setbit)
        .group(Group::Bitmap)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .native_if(NativeReply::Count, native_forms::is_bit_of_a_value)
        .flags(&[Flag::GrowsMemory, Flag::Slow])
        .stores_as(Event::SETBIT)
        .example("SETBIT letter 6 1")
        .summary("Set or clear a bit of a value; answers the previous bit."),
    Row::read(
        "BITCOUNT",
        "<key> [<first> <last> [BYTE | BIT]]",
        1..=ANY,
        bitcount,
    )
    .group(Group::Bitmap)
    .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
    .native_if(NativeReply::Count, native_forms::has_one_argument)
    .flags(&[Flag::Slow])
    .example("BITCOUNT letter")
    .summary("Count the bits that are set in a value, or in a range of it."),
    Row::read(
        "BITPOS",
        "<key> <bit> [<first> [<last> [BYTE | BIT]]]",
        2..=ANY,
        bitpos,
    )
    .group(Group::Bitmap)
    .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
    .native_if(NativeReply::Signed, native_forms::has_two_arguments)
    .flags(&[Flag::Slow])
    .example("BITPOS letter 1")
    .summary("Find the first bit of a value that is set, or that is clear; -1 if there is none."),
    Row::write(
        "BITOP",
        "<operation> <new key> <key> [<key> ...]",
        3..=KEYS_PER_REQUEST_MAX,
        bitop,
    )
    .group(Group::Bitmap)
    .on_keys(&[
        KeySpec::at(1, &[Overwrite, Update]),
        KeySpec::range(2, None, &[ReadOnly, Access]),
    ])
    .flags(&[Flag::GrowsMemory, Flag::Slow])
    .example("BITOP OR lower letter spaces")
    .summary("Store what an operation makes of the bits of values; answers the length in bytes."),
];

fn getbit(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let place = bit_offset(&words[1], None)?;
    let bit = look(call, &words[0], |value| {
        bit_at(value.unwrap_or_default(), place)
    })?;
    call.done(Reply::Count(bit.into()))
}

fn setbit(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let place = bit_offset(&words[1], None)?;
    let bit = match whole_number(&words[2]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(bad_argument("bit is not an integer or out of range")),
    };
    let before = rewrite(call, &words[0], |old| {
        let old = old.unwrap_or_default();
        let before = bit_at(old, place);
        if before == bit && place / 8 < old.len() {
            return Ok((before, None));
        }
        let mut new = grown(old, place / 8 + 1);
        let mask = 0x80 >> (place % 8);
        if bit {
            new[place / 8] |= mask;
        } else {
            new[place / 8] &= !mask;
        }
        Ok((before, Some(new)))
    })?;
    call.done(Reply::Count(before.into()))
}

fn bitcount(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    // As in Redis, the options of a key that is not there are not looked at.
    let count = look(call, &words[0], |value| match (value, &words[1..]) {
        (None, _) => Some(Ok(0)),
        (Some(value), []) => Some(Ok(count_bits(value, 0..8 * value.len()))),
        (Some(value), [first, last, unit @ ..]) if unit.len() < 2 => {
            let ends = number_of(first).and_then(|first| Ok((first, number_of(last)?)));
            let (first, last) = match ends {
                Ok(ends) => ends,
                Err(error) => return Some(Err(error)),
            };
            if first < 0 && last < 0 && first > last {
                return Some(Ok(0));
            }
            let is_in_bits = unit.first().map_or(Some(false), |unit| unit_of(unit))?;
            let range = bit_range(value.len(), first, Some(last), is_in_bits);
            Some(Ok(count_bits(value, range)))
        }
        _ => None,
    })?;
    let count = count.ok_or_else(|| call.syntax_error())??;
    call.done(Reply::Count(count))
}

fn bitpos(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let bit = match number_of(&words[1])? {
        0 => false,
        1 => true,
        _ => return Err(bad_argument("The bit argument must be 1 or 0.")),
    };
    let place = look(call, &words[0], |value| {
        let Some(value) = value else {
            return Some(Ok(if bit { -1 } else { 0 }));
        };
        let (first, last, is_in_bits) = match &words[2..] {
            [] => (Ok(0), None, false),
            [first] => (number_of(first), None, false),
            [first, last] => (number_of(first), Some(number_of(last)), false),
            [first, last, unit] => {
                // As in Redis, a wrong start is told before a wrong unit, and that before a wrong end.
                let first = match number_of(first) {
                    Ok(first) => first,
                    Err(error) => return Some(Err(error)),
                };
                (Ok(first), Some(number_of(last)), unit_of(unit)?)
            }
            _ => return None,
        };
        let ends = first.and_then(|first| Ok((first, last.transpose()?)));
        Some(ends.map(|(first, last)| {
            let range = bit_range(value.len(), first, last, is_in_bits);
            let place = find_bit(value, range.clone(), bit);
            // Without an end, the zeros behind the value are part of the range.
            let behind = (!bit && last.is_none() && !range.is_empty()).then_some(range.end);
            let place = place.or(behind);
            place.map_or(-1, |place| i64::try_from(place).unwrap_or(i64::MAX))
        }))
    })?;
    let place = place.ok_or_else(|| call.syntax_error())??;
    call.done(Reply::Signed(place))
}

/// Operation on the bits of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// Bits of the first value that no other one has.
    Diff,
    /// Bits of the others that the first one does not have.
    Diff1,
    /// Bits of the first value that another one has.
    AndOr,
    /// Bits that exactly one value has.
    One,
}

impl Operation {
    fn named(word: &[u8]) -> Option<Self> {
        match &*word.to_ascii_uppercase() {
            b"AND" => Some(Self::And),
            b"OR" => Some(Self::Or),
            b"XOR" => Some(Self::Xor),
            b"NOT" => Some(Self::Not),
            b"DIFF" => Some(Self::Diff),
            b"DIFF1" => Some(Self::Diff1),
            b"ANDOR" => Some(Self::AndOr),
            b"ONE" => Some(Self::One),
            _ => None,
        }
    }

    /// Checks the number of values.
    ///
    /// # Errors
    /// `ARGS`, in Redis's words.
    fn check(self, values: usize) -> Result<(), ErrorReply> {
        let name = match self {
            Self::Not if values > 1 => {
                let message = "BITOP NOT must be called with a single source key.";
                return Err(bad_argument(message));
            }
            Self::Diff if values < 2 => "DIFF",
            Self::Diff1 if values < 2 => "DIFF1",
            Self::AndOr if values < 2 => "ANDOR",
            _ => return Ok(()),
        };
        Err(bad_argument(format!(
            "BITOP {name} must be called with at least two source keys."
        )))
    }

    /// Executes it on values, which are as long as the longest of them, with zeros behind the others.
    fn execute(self, values: &[&[u8]]) -> Vec<u8> {
        let bytes = values.iter().map(|value| value.len()).max().unwrap_or(0);
        let Some((first, others)) = values.split_first() else {
            return Vec::new();
        };
        let mut result = grown(first, bytes);
        if let Self::Diff | Self::Diff1 | Self::AndOr = self {
            let others = grown(&Self::Or.execute(others), bytes);
            for (byte, others) in result.iter_mut().zip(others) {
                *byte = match self {
                    Self::Diff => *byte & !others,
                    Self::Diff1 => !*byte & others,
                    _ => *byte & others,
                };
            }
            return result;
        }
        let mut repeated = vec![0; if self == Self::One { bytes } else { 0 }];
        for other in others {
            // These loops are compiled to the processor's widest words.
            let (both, rest) = result.split_at_mut(other.len());
            let pairs = both.iter_mut().zip(*other);
            match self {
                Self::And => {
                    pairs.for_each(|(byte, other)| *byte &= other);
                    rest.fill(0);
                }
                Self::Or => pairs.for_each(|(byte, other)| *byte |= other),
                Self::One => {
                    for ((byte, other), repeated) in pairs.zip(&mut repeated) {
                        *repeated |= *byte & other;
                        *byte ^= other;
                    }
                }
                _ => pairs.for_each(|(byte, other)| *byte ^= other),
            }
        }
        for (byte, repeated) in result.iter_mut().zip(repeated) {
            *byte &= !repeated;
        }
        if self == Self::Not {
            for byte in &mut result {
                *byte = !*byte;
            }
        }
        result
    }
}

fn bitop(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let operation = Operation::named(&words[0]).ok_or_else(|| call.syntax_error())?;
    operation.check(words.len() - 2)?;
    let keys = keys_of(&words[1..])?;
    let (to, from) = (keys[0], &keys[1..]);
    let mut missing = Vec::new();
    let bytes = call.change(&keys, |transaction| {
        let entries: Vec<Option<Entry>> = from.iter().map(|key| transaction.get(*key)).collect();
        let pairs = from.iter().zip(&entries);
        missing.extend(
            pairs
                .filter(|(_, entry)| entry.is_none())
                .map(|(key, _)| *key),
        );
        let values = entries
            .iter()
            .map(|entry| entry.as_ref().map_or(&[][..], Entry::value_bytes));
        let values: Vec<&[u8]> = values.collect();
        long_work::execute(values.iter().map(|value| value.len()).sum(), || {
            let result = operation.execute(&values);
            if result.is_empty() {
                transaction.delete(to);
            } else {
                transaction.put(to, Value::parse(&result)?);
            }
            Ok(result.len())
        })
    })?;
    for key in missing {
        call.note_missing(key);
    }
    call.done(Reply::Count(bytes as u64))
}

/// Shows the value of a key, if it exists, to `work`, on a thread where that may take long.
///
/// # Errors
/// `TOO_LARGE` or `TEXT` if the key is not valid, `BUSY` while the data is being loaded.
fn look<R>(
    call: &mut Call<'_, '_>,
    key: &[u8],
    work: impl Fn(Option<&[u8]>) -> R,
) -> Result<R, ErrorReply> {
    let key = Key::parse(key)?;
    let work_on = |value: &[u8]| long_work::execute(value.len(), || work(Some(value)));
    let mut shown = None;
    let read = call.read(key, |_, value| shown = Some(work_on(value.bytes())))?;
    Ok(match (read, shown) {
        (ReadOutcome::Long(entry), _) => work_on(entry.value_bytes()),
        (_, Some(shown)) => shown,
        _ => work(None),
    })
}

/// Parses an offset in bits, or behind `#` in units of so many bits where these may be given.
///
/// # Errors
/// `ARGS` if it is not a number, or not within the longest value.
pub(in crate::command) fn bit_offset(word: &[u8], unit: Option<u32>) -> Result<usize, ErrorReply> {
    let offset = match (unit, word.strip_prefix(b"#")) {
        (Some(bits), Some(word)) => {
            whole_number(word).and_then(|number| number.checked_mul(bits.into()))
        }
        _ => whole_number(word),
    };
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    let offset = offset.filter(|offset| offset / 8 < VALUE_BYTES_MAX);
    offset.ok_or_else(not_an_offset)
}

/// Returns the error for an offset in bits that is none.
pub(in crate::command) fn not_an_offset() -> ErrorReply {
    bad_argument("bit offset is not an integer or out of range")
}

/// Returns a copy of a value, which has at least so many bytes.
pub(in crate::command) fn grown(value: &[u8], bytes: usize) -> Vec<u8> {
    let mut new = Vec::with_capacity(value.len().max(bytes));
    new.extend_from_slice(value);
    new.resize(value.len().max(bytes), 0);
    new
}

fn bit_at(value: &[u8], place: usize) -> bool {
    let byte = value.get(place / 8).copied().unwrap_or(0);
    byte & (0x80 >> (place % 8)) != 0
}

/// Returns true for BIT, false for BYTE.
fn unit_of(word: &[u8]) -> Option<bool> {
    match &*word.to_ascii_uppercase() {
        b"BIT" => Some(true),
        b"BYTE" => Some(false),
        _ => None,
    }
}

/// Returns the range of bits from one offset to another, inclusive, or to the end of a value of so many bytes; negative offsets count
/// from the end.
fn bit_range(bytes: usize, first: i64, last: Option<i64>, is_in_bits: bool) -> Range<usize> {
    let unit = if is_in_bits { 1 } else { 8 };
    let total = i64::try_from(8 * bytes / unit).unwrap_or(i64::MAX);
    let place = |place: i64| {
        let place = if place < 0 {
            total.saturating_add(place)
        } else {
            place
        };
        place.clamp(0, total)
    };
    let (start, end) = (
        place(first),
        last.map_or(total, |last| place(last).min(total - 1) + 1),
    );
    if start >= end {
        return 0..0;
    }
    let bits = |place: i64| usize::try_from(place).unwrap_or(0) * unit;
    bits(start)..bits(end)
}

/// Returns the bytes that a range of bits touches, and the masks of its bits in the first and in the last of them.
fn bytes_of(range: &Range<usize>) -> (Range<usize>, u8, u8) {
    let first = 0xff >> (range.start % 8);
    let last = 0xff << ((8 - range.end % 8) % 8);
    (range.start / 8..range.end.div_ceil(8), first, last)
}

/// Counts the bits that are set in a range of bits.
fn count_bits(value: &[u8], range: Range<usize>) -> u64 {
    let (bytes, first, last) = bytes_of(&range);
    let bytes = &value[bytes];
    let (Some(head), Some(tail)) = (bytes.first(), bytes.last()) else {
        return 0;
    };
    let (words, rest) = bytes.as_chunks();
    let words = words
        .iter()
        .map(|word| u64::from_ne_bytes(*word).count_ones());
    let rest = rest.iter().map(|byte| byte.count_ones());
    let all: u64 = words.chain(rest).map(u64::from).sum();
    let outside = (head & !first).count_ones() + (tail & !last).count_ones();
    all - u64::from(outside)
}

/// Finds the first bit in a range of bits that is set, or that is clear.
fn find_bit(value: &[u8], range: Range<usize>, bit: bool) -> Option<usize> {
    let (bytes, first, last) = bytes_of(&range);
    let start = bytes.start;
    let bytes = &value[bytes];
    let end = bytes.len().checked_sub(1)?;
    // The bits that are looked for, as ones.
    let wanted = |place: usize| {
        let byte = if bit { bytes[place] } else { !bytes[place] };
        let byte = if place == 0 { byte & first } else { byte };
        if place == end { byte & last } else { byte }
    };
    let place_of = |place: usize| 8 * (start + place) + wanted(place).leading_zeros() as usize;
    if wanted(0) != 0 {
        return Some(place_of(0));
    }
    let skipped: u8 = if bit { 0 } else { 0xff };
    let word = u64::from_ne_bytes([skipped; 8]);
    let (words, _) = bytes[1..].as_chunks();
    let words = words
        .iter()
        .take_while(|found| u64::from_ne_bytes(**found) == word);
    let from = (1 + 8 * words.count()).min(end);
    let place = (from..=end).find(|place| wanted(*place) != 0)?;
    Some(place_of(place))
}
