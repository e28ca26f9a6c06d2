//! The forms of requests that a cluster's own commands answer as ours do.
//!
//! In: arguments. Out: true if both do the same with them. Promise: what is not certain is false: such a request is emulated.

use crate::command::spec::Arguments;
use crate::model::{EXPIRES_AT_MAX, VALUE_BYTES_MAX};
use crate::protocol::resp::whole_number;

/// Durations, and times since 1970, that end before the year 9999: 300 years.
const SECONDS_MAX: u64 = 10_000_000_000;
const MS_MAX: u64 = 1000 * SECONDS_MAX;

/// Returns true for SET with options that the cluster's SET has, and that change nothing in the reply.
pub(in crate::command) fn is_plain_set(arguments: &Arguments<'_>) -> bool {
    let mut options = arguments[2..].iter();
    let (mut has_condition, mut has_expiry) = (false, false);
    while let Some(option) = options.next() {
        match &*option.to_ascii_uppercase() {
            b"NX" | b"XX" if !has_condition => has_condition = true,
            b"KEEPTTL" if !has_expiry => has_expiry = true,
            b"EX" | b"PX" | b"EXAT" | b"PXAT" if !has_expiry => {
                has_expiry = true;
                let latest = match &*option.to_ascii_uppercase() {
                    b"EX" => SECONDS_MAX,
                    b"PX" => MS_MAX,
                    b"EXAT" => EXPIRES_AT_MAX / 1000,
                    _ => EXPIRES_AT_MAX,
                };
                if !options
                    .next()
                    .is_some_and(|number| is_up_to(latest, number))
                {
                    return false;
                }
            }
            _ => return false,
        }
    }
    true
}

/// Returns true if the second argument is a number of seconds that both accept, as a duration or as a time.
pub(in crate::command) fn has_seconds(arguments: &Arguments<'_>) -> bool {
    is_up_to(SECONDS_MAX, &arguments[1])
}

/// Returns true if the second argument is a number of milliseconds that both accept, as a duration or as a time.
pub(in crate::command) fn has_milliseconds(arguments: &Arguments<'_>) -> bool {
    is_up_to(MS_MAX, &arguments[1])
}

/// Returns true for a positive number up to another one.
fn is_up_to(most: u64, number: &[u8]) -> bool {
    let number = whole_number(number).and_then(|number| u64::try_from(number).ok());
    number.is_some_and(|number| (1..=most).contains(&number))
}

/// Returns true if there are no options.
pub(in crate::command) fn has_one_argument(arguments: &Arguments<'_>) -> bool {
    arguments.len() == 1
}

/// Returns true if there are two keys and no options.
pub(in crate::command) fn has_two_arguments(arguments: &Arguments<'_>) -> bool {
    arguments.len() == 2
}

/// Returns true for SETRANGE that makes no value longer than one may be.
pub(in crate::command) fn ends_within_a_value(arguments: &Arguments<'_>) -> bool {
    let place = std::str::from_utf8(&arguments[1]).ok();
    let place = place.and_then(|place| place.parse::<usize>().ok());
    place.is_some_and(|place| place.saturating_add(arguments[2].len()) <= VALUE_BYTES_MAX)
}

/// Returns true if the second argument is the offset of a bit that a value may have.
pub(in crate::command) fn is_bit_of_a_value(arguments: &Arguments<'_>) -> bool {
    let place = whole_number(&arguments[1]).and_then(|place| usize::try_from(place).ok());
    place.is_some_and(|place| place / 8 < VALUE_BYTES_MAX)
}

/// Returns true for MEMORY USAGE of a key.
pub(in crate::command) fn asks_for_usage(arguments: &Arguments<'_>) -> bool {
    arguments.len() == 2 && arguments[0].eq_ignore_ascii_case(b"USAGE")
}

/// Returns true for OBJECT IDLETIME and OBJECT FREQ of a key.
pub(in crate::command) fn asks_for_uses(arguments: &Arguments<'_>) -> bool {
    let word = arguments[0].to_ascii_uppercase();
    arguments.len() == 2 && matches!(&*word, b"IDLETIME" | b"FREQ")
}
