//! Arithmetic on values: INCR, DECR, INCRBYFLOAT and their relatives.
//!
//! In: keys and numbers to add. Out: the sums. Promises: an addition is atomic; on overflow nothing changes; decimal fractions are
//! added exactly, so that 0.1 and 0.2 are 0.3.

use bigdecimal::{BigDecimal, RoundingMode, Zero as _};

use crate::command::call::{Answer, Arguments, Call};
use crate::command::data::options::number_of;
use crate::command::data::strings::rewrite;
use crate::command::key_events::Event;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{Access, ReadWrite, Update};
use crate::command::spec::{Flag, KeySpec, NativeReply};
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::write_string("INCR", "<key>", 1..=1, incr)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .native(NativeReply::Number)
        .flags(&[Flag::GrowsMemory])
        .stores_as(Event::INCRBY)
        .example("INCR name")
        .summary("Add 1 to an integer; answers the sum."),
    Row::write_string("DECR", "<key>", 1..=1, decr)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .native(NativeReply::Number)
        .flags(&[Flag::GrowsMemory])
        .stores_as(Event::INCRBY)
        .example("DECR stock")
        .summary("Subtract 1 from an integer; answers the difference."),
    Row::write_string("INCRBY", "<key> <number>", 2..=2, incrby)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .native(NativeReply::Number)
        .flags(&[Flag::GrowsMemory])
        .stores_as(Event::INCRBY)
        .example("INCRBY visits 40")
        .summary("Add to an integer; answers the sum."),
    Row::write_string("DECRBY", "<key> <number>", 2..=2, decrby)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .native(NativeReply::Number)
        .flags(&[Flag::GrowsMemory])
        .stores_as(Event::INCRBY)
        .example("DECRBY stock 3")
        .summary("Subtract from an integer; answers the difference."),
    Row::write_string("INCRBYFLOAT", "<key> <decimal>", 2..=2, incrbyfloat)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .flags(&[Flag::GrowsMemory])
        .stores_as(Event::INCRBYFLOAT)
        .example("INCRBYFLOAT total 0.2")
        .summary("Add to a decimal number; answers the sum."),
];

/// Maximum number of digits of a number, as in Redis.
const DIGITS_MAX: usize = 5119;
/// Maximum exponent of a number: `1e999999999` has few bytes, but its sum would have a billion digits.
const EXPONENT_MAX: i64 = 4932;
/// Number of digits after the point that are kept, as in Redis.
const FRACTION_DIGITS: i64 = 17;

fn incr(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    add(call, words, 1)
}

fn decr(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    add(call, words, -1)
}

fn incrby(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    add(call, words, number_of(&words[1])?)
}

fn decrby(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let number = number_of(&words[1])?.checked_neg();
    let number = number.ok_or_else(|| bad_argument("decrement would overflow"))?;
    add(call, words, number)
}

fn add(call: &mut Call<'_, '_>, words: &Arguments<'_>, number: i64) -> Answer {
    let sum = rewrite(call, &words[0], |old| {
        let before = old.map_or(Ok(0), number_of)?;
        let sum = before.checked_add(number);
        let sum = sum.ok_or_else(|| bad_argument("increment or decrement would overflow"))?;
        Ok((sum, Some(sum.to_string().into_bytes())))
    })?;
    call.done(Reply::Number(sum))
}

fn incrbyfloat(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let sum = rewrite(call, &words[0], |old| {
        let before = old.map_or(Ok(BigDecimal::zero()), decimal_of)?;
        let sum = before + decimal_of(&words[1])?;
        if sum.digits().cast_signed() - sum.fractional_digit_count() > EXPONENT_MAX {
            return Err(bad_argument("increment would produce NaN or Infinity"));
        }
        let sum = sum.with_scale_round(FRACTION_DIGITS, RoundingMode::HalfEven);
        let sum = sum.normalized().to_plain_string();
        Ok((sum.clone(), Some(sum.into_bytes())))
    })?;
    call.done(Reply::Value(sum.as_bytes()))
}

fn decimal_of(bytes: &[u8]) -> Result<BigDecimal, ErrorReply> {
    let unsigned = bytes.strip_prefix(b"-").or(bytes.strip_prefix(b"+"));
    let unsigned = unsigned.unwrap_or(bytes).to_ascii_lowercase();
    if matches!(&*unsigned, b"inf" | b"infinity") {
        return Err(bad_argument("increment would produce NaN or Infinity"));
    }
    let number = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() <= DIGITS_MAX && !text.contains('_'))
        .and_then(|text| text.parse::<BigDecimal>().ok())
        .filter(|number| number.fractional_digit_count().abs() <= EXPONENT_MAX);
    number.ok_or_else(|| bad_argument("value is not a valid float"))
}
