//! Integers of any width in a value: BITFIELD, BITFIELD_RO.
//!
//! In: a key, and operations on integers of 1 to 64 bits at offsets in bits. Out: an array with a number for each operation; none where
//! the number would overflow and the operation is to fail then. Promise: all operations of a request are one change.
//! Source: <https://redis.io/docs/latest/commands/bitfield/>.

use std::borrow::Cow;

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::data::bits::{bit_offset, grown, not_an_offset};
use crate::command::data::options::number_of;
use crate::command::key_events::Event;
use crate::command::long_work;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{Access, ReadOnly, ReadWrite, Update, Variable};
use crate::command::spec::{ANY, Flag, Group, KeySpec};
use crate::model::entry::Entry;
use crate::model::{Key, VALUE_BYTES_MAX, Value};
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::write(
        "BITFIELD",
        "<key> [GET <type> <place> | [OVERFLOW <overflow>] SET <type> <place> <number> | \
         [OVERFLOW <overflow>] INCRBY <type> <place> <number>] ...",
        1..=ANY,
        bitfield,
    )
    .group(Group::Bitmap)
    .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update, Variable])])
    .flags(&[Flag::GrowsMemory, Flag::Slow])
    .stores_as(Event::SETBIT)
    .example("BITFIELD counters SET u8 #0 200 INCRBY u8 #1 10 GET u8 #0")
    .summary("Read, store and add to integers of any width in a value."),
    Row::read(
        "BITFIELD_RO",
        "<key> [GET <type> <place>] ...",
        1..=ANY,
        bitfield_ro,
    )
    .group(Group::Bitmap)
    .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
    .example("BITFIELD_RO counters GET i8 0")
    .summary("Read integers of any width in a value."),
];

/// Type of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Integer {
    is_signed: bool,
    bits: u32,
}

/// Handling of a number that its type does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    /// Its lowest bits are stored.
    Wrap,
    /// The nearest number of the type is stored.
    Saturate,
    /// Nothing is stored.
    Fail,
}

/// What is done with an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// Operation on an integer of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operation {
    integer: Integer,
    /// Offset of its highest bit.
    place: usize,
    action: Action,
}

fn bitfield(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let operations = operations_of(call, &words[1..])?;
    let key = Key::parse(&words[0])?;
    let end = end_of_writes(&operations);
    let (numbers, is_missed) = call.change(&[key], |transaction| {
        let old = transaction.get(key);
        let value = old.as_ref().map_or(&[][..], Entry::value_bytes);
        let Some(end) = end else {
            return Ok((read_all(value, &operations), old.is_none()));
        };
        // Checked before memory is allocated.
        if end > VALUE_BYTES_MAX {
            return Err(not_an_offset());
        }
        long_work::execute(value.len().max(end), || {
            let mut new = grown(value, end);
            let numbers = operations.iter().map(|one| one.execute(&mut new)).collect();
            if new != value {
                let expires_at = old.as_ref().and_then(Entry::expires_at);
                transaction.put(key, Value::with_expiry(&new, expires_at)?);
            }
            Ok((numbers, false))
        })
    })?;
    if is_missed {
        call.note_missing(key);
    }
    show(call, &numbers)
}

fn bitfield_ro(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let operations = operations_of(call, &words[1..])?;
    if end_of_writes(&operations).is_some() {
        let message = "BITFIELD_RO only supports the GET subcommand";
        return Err(bad_argument(message));
    }
    let found = call.read_all(&[Key::parse(&words[0])?])?;
    let value = found[0].as_ref().map_or(&[][..], Entry::value_bytes);
    show(call, &read_all(value, &operations))
}

fn show(call: &mut Call<'_, '_>, numbers: &[Option<i64>]) -> Answer {
    call.replies.reply(Reply::Array(numbers.len()));
    for number in numbers {
        call.replies
            .reply(number.map_or(Reply::Unchanged, Reply::Signed));
    }
    Ok(Outcome::Done)
}

/// Parses operations.
///
/// # Errors
/// `ARGS` for the first word that is wrong.
fn operations_of(
    call: &Call<'_, '_>,
    words: &[Cow<'_, [u8]>],
) -> Result<Vec<Operation>, ErrorReply> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = words;
    while let [verb, others @ ..] = rest {
        let (integer, place, number, after) = match (&*verb.to_ascii_uppercase(), others) {
            (b"OVERFLOW", [name, after @ ..]) => {
                overflow = Overflow::named(name)?;
                rest = after;
                continue;
            }
            (b"GET", [integer, place, after @ ..]) => (integer, place, None, after),
            (b"SET" | b"INCRBY", [integer, place, number, after @ ..]) => {
                (integer, place, Some(number), after)
            }
            _ => return Err(call.syntax_error()),
        };
        let integer = Integer::named(integer)?;
        let place = bit_offset(place, Some(integer.bits))?;
        let action = match number {
            None => Action::Get,
            Some(number) if verb.eq_ignore_ascii_case(b"SET") => {
                Action::Set(number_of(number)?, overflow)
            }
            Some(number) => Action::Add(number_of(number)?, overflow),
        };
        operations.push(Operation {
            integer,
            place,
            action,
        });
        rest = after;
    }
    Ok(operations)
}

/// Returns the number of bytes that a value has at least after operations, if one of them stores something.
fn end_of_writes(operations: &[Operation]) -> Option<usize> {
    let writes = operations.iter().filter(|one| one.action != Action::Get);
    let ends = writes.map(|one| one.place + one.integer.bits as usize);
    ends.max().map(|bits| bits.div_ceil(8))
}

fn read_all(value: &[u8], operations: &[Operation]) -> Vec<Option<i64>> {
    let numbers = operations
        .iter()
        .map(|one| number_in(one.integer.read(value, one.place)));
    numbers.collect()
}

/// Returns a number as it is sent: every type holds numbers of 64 bits with a sign.
fn number_in(number: i128) -> Option<i64> {
    i64::try_from(number).ok()
}

impl Overflow {
    fn named(word: &[u8]) -> Result<Self, ErrorReply> {
        match &*word.to_ascii_uppercase() {
            b"WRAP" => Ok(Self::Wrap),
            b"SAT" => Ok(Self::Saturate),
            b"FAIL" => Ok(Self::Fail),
            _ => Err(bad_argument("Invalid OVERFLOW type specified")),
        }
    }
}

impl Operation {
    /// Executes it on a value that is long enough for it; returns the number to be sent, if it does not fail.
    fn execute(self, value: &mut [u8]) -> Option<i64> {
        let before = self.integer.read(value, self.place);
        let (number, overflow) = match self.action {
            Action::Get => return number_in(before),
            // As in Redis, a negative number is above all those without a sign.
            Action::Set(number, overflow) if !self.integer.is_signed => {
                (number.cast_unsigned().into(), overflow)
            }
            Action::Set(number, overflow) => (number.into(), overflow),
            Action::Add(number, overflow) => (before + i128::from(number), overflow),
        };
        let number = self.integer.fit(number, overflow)?;
        self.integer.write(value, self.place, number);
        let is_set = matches!(self.action, Action::Set(..));
        number_in(if is_set { before } else { number })
    }
}

impl Integer {
    /// Parses a type: `i1` to `i64`, `u1` to `u63`.
    ///
    /// # Errors
    /// `ARGS` if it is none.
    fn named(word: &[u8]) -> Result<Self, ErrorReply> {
        let (is_signed, bits_max) = match word.first() {
            Some(b'i') => (true, 64),
            Some(b'u') => (false, 63),
            _ => (false, 0),
        };
        let bits = word.get(1..).and_then(whole_number);
        let bits = bits.and_then(|bits| u32::try_from(bits).ok());
        let bits = bits.filter(|bits| (1..=bits_max).contains(bits));
        let integer = bits.map(|bits| Self { is_signed, bits });
        integer.ok_or_else(|| {
            bad_argument(
                "Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
                 but i64 is.",
            )
        })
    }

    /// Returns the lowest bits of a number, as a number of this type.
    fn wrap(self, number: i128) -> i128 {
        let unused = i128::BITS - self.bits;
        if self.is_signed {
            number << unused >> unused
        } else {
            (number.cast_unsigned() << unused >> unused).cast_signed()
        }
    }

    /// Returns the number of this type that is stored in the place of another one, if one is.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let wrapped = self.wrap(number);
        if wrapped == number {
            return Some(number);
        }
        let (least, most) = if self.is_signed {
            (-1 << (self.bits - 1), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        };
        match overflow {
            Overflow::Wrap => Some(wrapped),
            Overflow::Saturate => Some(number.clamp(least, most)),
            Overflow::Fail => None,
        }
    }

    /// Returns the places of the bytes that an integer at an offset touches, and the number of bits behind it in the last of them.
    fn bytes_at(self, place: usize) -> (std::ops::Range<usize>, u32) {
        let end = place + self.bits as usize;
        let bytes = place / 8..end.div_ceil(8);
        let behind = 8 * bytes.end - end;
        (bytes, u32::try_from(behind).expect("it is below 8"))
    }

    /// Reads an integer; behind its end a value has zeros.
    fn read(self, value: &[u8], place: usize) -> i128 {
        let (bytes, behind) = self.bytes_at(place);
        let bytes = bytes.map(|place| value.get(place).copied().unwrap_or(0));
        let all = bytes.fold(0, |number, byte| number << 8 | i128::from(byte));
        self.wrap(all >> behind)
    }

    /// Stores an integer in a value that is long enough.
    fn write(self, value: &mut [u8], place: usize, number: i128) {
        let (bytes, behind) = self.bytes_at(place);
        let mask = (((1_u128 << self.bits) - 1) << behind).to_be_bytes();
        let number = (number.cast_unsigned() << behind).to_be_bytes();
        let unused = mask.len() - bytes.len();
        let new = number[unused..].iter().zip(&mask[unused..]);
        for (byte, (new, mask)) in value[bytes].iter_mut().zip(new) {
            *byte = *byte & !mask | new & mask;
        }
    }
}
