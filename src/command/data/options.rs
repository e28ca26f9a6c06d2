//! Options of SET, MSETEX, GETEX and EXPIRE: words after the arguments, in any order, as in Redis.
//!
//! In: words. Out: options. Promise: options that contradict each other are refused.
//! Source: <https://redis.io/docs/latest/commands/set/>.

use std::borrow::Cow;

use crate::command::call::Call;
use crate::command::long_work;
use crate::command::refusals::bad_argument;
use crate::command::version::{DIGEST_DIGITS, digest_of};
use crate::model::{EXPIRES_AT_MAX, UnixMs, now_ms};
use crate::protocol::ErrorReply;
use crate::protocol::resp::whole_number;

/// Form of a time in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
}

impl Unit {
    fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"EX" => Some(Self::Seconds),
            b"PX" => Some(Self::Milliseconds),
            b"EXAT" => Some(Self::UnixSeconds),
            b"PXAT" => Some(Self::UnixMilliseconds),
            _ => None,
        }
    }

    /// Converts a number of this unit to a time; `None` on overflow, or after the year 9999. A time before 1970 becomes 0.
    pub fn time(self, number: i64) -> Option<UnixMs> {
        let (milliseconds, base) = match self {
            Self::Seconds => (1000, now_ms()),
            Self::Milliseconds => (1, now_ms()),
            Self::UnixSeconds => (1000, 0),
            Self::UnixMilliseconds => (1, 0),
        };
        let time = number.checked_mul(milliseconds)?;
        let time = time.checked_add(i64::try_from(base).ok()?)?;
        let time = u64::try_from(time).unwrap_or(0);
        (time <= EXPIRES_AT_MAX).then_some(time)
    }
}

/// Option for the expiry of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum ExpiryOption<'a> {
    /// No option: the default of the command.
    Default,
    /// Sets the expiry.
    At(Unit, &'a [u8]),
    /// Keeps the expiry: KEEPTTL.
    Keep,
    /// Removes the expiry: PERSIST.
    Persist,
}

impl ExpiryOption<'_> {
    /// Returns the new expiry, if the option sets one.
    ///
    /// # Errors
    /// `ARGS` if it is not a positive number, or after the year 9999.
    pub fn time(self, call: &Call<'_, '_>) -> Result<Option<UnixMs>, ErrorReply> {
        match self {
            Self::At(unit, word) => expiry_of(call, unit, word).map(Some),
            _ => Ok(None),
        }
    }
}

/// Parses an expiry, which must be a positive number.
///
/// # Errors
/// `ARGS` if it is not, or after the year 9999.
pub(in crate::command) fn expiry_of(
    call: &Call<'_, '_>,
    unit: Unit,
    word: &[u8],
) -> Result<UnixMs, ErrorReply> {
    let number = number_of(word)?;
    let time = unit.time(number).filter(|_| number > 0);
    time.ok_or_else(|| invalid_expiry(call))
}

pub(in crate::command) fn invalid_expiry(call: &Call<'_, '_>) -> ErrorReply {
    let name = call.command.name.to_lowercase();
    bad_argument(format!("invalid expire time in '{name}' command"))
}

/// Condition under which a value is stored, or a key deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Condition<'a> {
    /// No condition.
    Always,
    /// The key does not exist.
    Missing,
    /// The key exists.
    Existing,
    /// The key has this value.
    Equal(&'a [u8]),
    /// The key has another value than this, or none.
    Different(&'a [u8]),
    /// The key has a value of this digest.
    DigestEqual(&'a [u8]),
    /// The key has a value of another digest than this, or none.
    DigestDifferent(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// Returns the condition that compares the value with a word; `None` if no condition has this name.
    fn comparing(name: &[u8], word: &'a [u8]) -> Option<Self> {
        match name {
            b"IFEQ" => Some(Self::Equal(word)),
            b"IFNE" => Some(Self::Different(word)),
            b"IFDEQ" => Some(Self::DigestEqual(word)),
            b"IFDNE" => Some(Self::DigestDifferent(word)),
            _ => None,
        }
    }

    /// Parses the options of DELEX.
    ///
    /// # Errors
    /// `ARGS` for unknown options, and for what is no digest.
    pub fn of_delex(call: &Call<'_, '_>, words: &'a [Cow<'_, [u8]>]) -> Result<Self, ErrorReply> {
        let condition = match words {
            [] => Some(Self::Existing),
            [name, word] => Self::comparing(&name.to_ascii_uppercase(), word),
            _ => None,
        };
        condition.ok_or_else(|| call.syntax_error())?.checked()
    }

    /// Returns the condition, if a digest in it is one.
    fn checked(self) -> Result<Self, ErrorReply> {
        if let Self::DigestEqual(digest) | Self::DigestDifferent(digest) = self
            && (digest.len() != DIGEST_DIGITS || !digest.iter().all(u8::is_ascii_hexdigit))
        {
            return Err(bad_argument(format!(
                "must be exactly {DIGEST_DIGITS} hexadecimal characters"
            )));
        }
        Ok(self)
    }

    /// Returns true if it holds for a key with this value, or without one.
    pub fn holds(self, value: Option<&[u8]>) -> bool {
        let has_digest = |digest: &[u8]| {
            value.is_some_and(|value| {
                let found = long_work::execute(value.len(), || digest_of(value));
                digest.eq_ignore_ascii_case(found.as_bytes())
            })
        };
        match self {
            Self::Always => true,
            Self::Missing => value.is_none(),
            Self::Existing => value.is_some(),
            Self::Equal(word) => value == Some(word),
            Self::Different(word) => value != Some(word),
            Self::DigestEqual(digest) => has_digest(digest),
            Self::DigestDifferent(digest) => !has_digest(digest),
        }
    }
}

/// The options of SET, MSETEX and GETEX.
pub(in crate::command) struct SetOptions<'a> {
    pub condition: Condition<'a>,
    pub expiry: ExpiryOption<'a>,
    /// True if the previous value is returned: GET.
    pub gets_old: bool,
}

impl<'a> SetOptions<'a> {
    /// Parses the options of SET.
    ///
    /// # Errors
    /// `ARGS` for unknown options, and those that contradict each other.
    pub fn of_set(call: &Call<'_, '_>, words: &'a [Cow<'_, [u8]>]) -> Result<Self, ErrorReply> {
        let options = Self::parse(call, words, |options, word, next| match word {
            b"IFEQ" | b"IFNE" | b"IFDEQ" | b"IFDNE" => {
                let found = next().and_then(|value| Condition::comparing(word, value));
                let Some(found) = found.filter(|_| options.condition == Condition::Always) else {
                    return false;
                };
                options.condition = found;
                true
            }
            b"GET" => {
                options.gets_old = true;
                true
            }
            _ => options.take_of_all(word),
        })?;
        options.condition.checked()?;
        Ok(options)
    }

    /// Parses the options of MSETEX.
    ///
    /// # Errors
    /// `ARGS` for unknown options, and those that contradict each other.
    pub fn of_msetex(call: &Call<'_, '_>, words: &'a [Cow<'_, [u8]>]) -> Result<Self, ErrorReply> {
        Self::parse(call, words, |options, word, _| options.take_of_all(word))
    }

    /// Takes an option that every command with conditions has. Returns false if it is none, or contradicts another one.
    fn take_of_all(&mut self, word: &[u8]) -> bool {
        let condition = match word {
            b"NX" => Condition::Missing,
            b"XX" => Condition::Existing,
            b"KEEPTTL" => return self.set_expiry(ExpiryOption::Keep),
            _ => return false,
        };
        let is_first = self.condition == Condition::Always;
        if is_first {
            self.condition = condition;
        }
        is_first || self.condition == condition
    }

    /// Parses the options of GETEX.
    ///
    /// # Errors
    /// `ARGS` for unknown options, and those that contradict each other.
    pub fn of_getex(call: &Call<'_, '_>, words: &'a [Cow<'_, [u8]>]) -> Result<Self, ErrorReply> {
        Self::parse(call, words, |options, word, _| {
            word == b"PERSIST" && options.set_expiry(ExpiryOption::Persist)
        })
    }

    /// Parses options: times here, the others in `take`, which returns false for a wrong one.
    fn parse(
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
            // As in Redis, an option may be repeated, and the last one counts.
            (ExpiryOption::At(before, _), ExpiryOption::At(unit, _)) => before == unit,
            (before, expiry) => before == expiry,
        };
        self.expiry = expiry;
        fits
    }
}

/// Parses an integer.
///
/// # Errors
/// `ARGS` if it is not one, or over 64 bits.
pub(in crate::command) fn number_of(bytes: &[u8]) -> Result<i64, ErrorReply> {
    whole_number(bytes).ok_or_else(|| bad_argument("value is not an integer or out of range"))
}

/// Parses `ON` or `OFF`, in any case.
pub(in crate::command) fn switch_of(word: &[u8]) -> Option<bool> {
    match &*word.to_ascii_uppercase() {
        b"ON" => Some(true),
        b"OFF" => Some(false),
        _ => None,
    }
}

/// Parses the number of a client.
pub(in crate::command) fn client_number(word: &[u8]) -> Option<u64> {
    let id = number_of(word).ok()?;
    u64::try_from(id).ok().filter(|id| *id > 0)
}
