//! The options of SET, GETEX and EXPIRE: words after the arguments, in any order, as Redis reads them.
//!
//! In: the words. Out: what they ask for. Promise: options that contradict each other are refused, and nothing has happened.
//! Source: <https://redis.io/docs/latest/commands/set/>.

use std::borrow::Cow;

use crate::command::call::Call;
use crate::command::refusals::bad_argument;
use crate::model::{EXPIRES_AT_MAX, UnixMs, now_ms};
use crate::protocol::ErrorReply;
use crate::protocol::resp::whole_number;

/// How a moment is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) struct Unit {
    /// How many milliseconds it counts at a time.
    pub milliseconds: i64,
    /// Whether it counts from 1970, and not from now.
    pub is_absolute: bool,
}

pub(in crate::command) const SECONDS: Unit = Unit {
    milliseconds: 1000,
    is_absolute: false,
};
pub(in crate::command) const MILLISECONDS: Unit = Unit {
    milliseconds: 1,
    is_absolute: false,
};
pub(in crate::command) const UNIX_SECONDS: Unit = Unit {
    milliseconds: 1000,
    is_absolute: true,
};
pub(in crate::command) const UNIX_MILLISECONDS: Unit = Unit {
    milliseconds: 1,
    is_absolute: true,
};

impl Unit {
    fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"EX" => Some(SECONDS),
            b"PX" => Some(MILLISECONDS),
            b"EXAT" => Some(UNIX_SECONDS),
            b"PXAT" => Some(UNIX_MILLISECONDS),
            _ => None,
        }
    }

    /// So many milliseconds since 1970; `None` is no moment that there is, or one after the year 9999. One that is long past is
    /// told as 0.
    pub fn moment(self, number: i64) -> Option<UnixMs> {
        let base = if self.is_absolute { 0 } else { now_ms() };
        let moment = number.checked_mul(self.milliseconds)?;
        let moment = moment.checked_add(i64::try_from(base).ok()?)?;
        let moment = u64::try_from(moment).unwrap_or(0);
        (moment <= EXPIRES_AT_MAX).then_some(moment)
    }
}

/// What becomes of the expiry of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum ExpiryOption<'a> {
    /// What the command does by itself.
    Default,
    /// It expires then.
    At(Unit, &'a [u8]),
    /// It stays as it is.
    Keep,
    /// It does not expire any more.
    Persist,
}

impl ExpiryOption<'_> {
    /// The moment that is asked for, if one is.
    ///
    /// # Errors
    /// It is not a number, or not in the future, or too far in it.
    pub fn moment(self, call: &Call<'_, '_>) -> Result<Option<UnixMs>, ErrorReply> {
        match self {
            Self::At(unit, word) => expiry_of(call, unit, word).map(Some),
            _ => Ok(None),
        }
    }
}

/// A moment that must be asked for by a positive number.
pub(in crate::command) fn expiry_of(
    call: &Call<'_, '_>,
    unit: Unit,
    word: &[u8],
) -> Result<UnixMs, ErrorReply> {
    let number = number_of(word)?;
    let moment = unit.moment(number).filter(|_| number > 0);
    moment.ok_or_else(|| invalid_expiry(call))
}

pub(in crate::command) fn invalid_expiry(call: &Call<'_, '_>) -> ErrorReply {
    let name = call.command.name.to_lowercase();
    bad_argument(format!("invalid expire time in '{name}' command"))
}

/// Under which condition a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Condition<'a> {
    /// Under none.
    Always,
    /// There is no such key.
    Missing,
    /// There is such a key.
    There,
    /// It has this value.
    Equal(&'a [u8]),
}

/// The options of SET and of GETEX.
pub(in crate::command) struct SetOptions<'a> {
    pub condition: Condition<'a>,
    pub expiry: ExpiryOption<'a>,
    /// Whether the old value is asked for.
    pub gets_old: bool,
}

impl<'a> SetOptions<'a> {
    /// Those of SET.
    ///
    /// # Errors
    /// Words that are no options, or contradict each other.
    pub fn of_set(call: &Call<'_, '_>, words: &'a [Cow<'_, [u8]>]) -> Result<Self, ErrorReply> {
        Self::read(call, words, |options, word, next| {
            match word {
                b"NX" if options.condition == Condition::Always => {
                    options.condition = Condition::Missing;
                }
                b"XX" if options.condition == Condition::Always => {
                    options.condition = Condition::There;
                }
                b"NX" => return options.condition == Condition::Missing,
                b"XX" => return options.condition == Condition::There,
                b"IFEQ" if options.condition == Condition::Always => match next() {
                    Some(value) => options.condition = Condition::Equal(value),
                    None => return false,
                },
                b"GET" => options.gets_old = true,
                b"KEEPTTL" => return options.set_expiry(ExpiryOption::Keep),
                _ => return false,
            }
            true
        })
    }

    /// Those of GETEX.
    ///
    /// # Errors
    /// Words that are no options, or contradict each other.
    pub fn of_getex(call: &Call<'_, '_>, words: &'a [Cow<'_, [u8]>]) -> Result<Self, ErrorReply> {
        Self::read(call, words, |options, word, _| {
            word == b"PERSIST" && options.set_expiry(ExpiryOption::Persist)
        })
    }

    /// Reads options; `take` takes those that are not a time.
    fn read(
        call: &Call<'_, '_>,
        words: &'a [Cow<'_, [u8]>],
        take: impl Fn(&mut Self, &[u8], &mut dyn FnMut() -> Option<&'a [u8]>) -> bool,
    ) -> Result<Self, ErrorReply> {
        let mut options = Self {
            condition: Condition::Always,
            expiry: ExpiryOption::Default,
            gets_old: false,
        };
        let mut words = words.iter().map(|word| &**word);
        while let Some(word) = words.next() {
            let upper = word.to_ascii_uppercase();
            let is_taken = match Unit::named(&upper) {
                Some(unit) => match words.next() {
                    Some(number) => options.set_expiry(ExpiryOption::At(unit, number)),
                    None => false,
                },
                None => take(&mut options, &upper, &mut || words.next()),
            };
            if !is_taken {
                return Err(call.syntax_error());
            }
        }
        Ok(options)
    }

    fn set_expiry(&mut self, expiry: ExpiryOption<'a>) -> bool {
        let fits = match (self.expiry, expiry) {
            (ExpiryOption::Default, _) => true,
            // The last one of a kind counts.
            (ExpiryOption::At(before, _), ExpiryOption::At(unit, _)) => before == unit,
            (before, expiry) => before == expiry,
        };
        self.expiry = expiry;
        fits
    }
}

pub(in crate::command) fn number_of(bytes: &[u8]) -> Result<i64, ErrorReply> {
    whole_number(bytes).ok_or_else(|| bad_argument("value is not an integer or out of range"))
}
