//! The data model: `Key`, `Value`, and `Change` (one journal record).
//!
//! In: bytes from any interface. Out: keys and values. Promise: their limits are checked once, here, so that no layer below
//! asks again.

mod clock;
mod database;
pub mod entry;
mod event_classes;

use std::fmt;

pub use clock::{StoppedClock, UnixMs, now_ms};
pub use database::{DATABASES_MAX, Database};
pub use event_classes::EventClasses;

/// The longest key, in bytes: long enough for any name, short enough that keys alone cannot exhaust a buffer. (Shorter for
/// fuzzers, which reach each limit with inputs of a few hundred bytes then.)
pub const KEY_BYTES_MAX: usize = if cfg!(fuzzing) { 16 } else { 64 << 10 };

/// The longest value, in bytes: a picture or a document fits, and ten that are received at the same time stay under a gigabyte.
pub const VALUE_BYTES_MAX: usize = if cfg!(fuzzing) { 256 } else { 64 << 20 };

/// The latest expiry: the end of the year 9999, as far as RFC 3339 and its readers go.
pub const EXPIRES_AT_MAX: UnixMs = 253_402_207_200_000;

/// Bytes cannot be a key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The key is longer than [`KEY_BYTES_MAX`].
    #[error("the key has {0} bytes, and may have {KEY_BYTES_MAX}")]
    KeyTooLarge(usize),
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value has {0} bytes, and may have {VALUE_BYTES_MAX}")]
    ValueTooLarge(usize),
}

/// A key: any bytes, at most [`KEY_BYTES_MAX`] of them, none included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    /// Takes bytes as a key.
    ///
    /// # Errors
    /// [`PairError::KeyTooLarge`], if they are over the limit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PairError> {
        if bytes.len() > KEY_BYTES_MAX {
            return Err(PairError::KeyTooLarge(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// Returns the key as bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", String::from_utf8_lossy(self.0))
    }
}

/// Returns whether bytes are text, which is UTF-8.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// A value: any bytes, at most [`VALUE_BYTES_MAX`] of them, and its expiry, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    bytes: &'a [u8],
    expires_at: Option<UnixMs>,
}

impl<'a> Value<'a> {
    /// Takes bytes as a value that does not expire.
    ///
    /// # Errors
    /// [`PairError::ValueTooLarge`], if they are over the limit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PairError> {
        Self::with_expiry(bytes, None)
    }

    /// Takes bytes as a value that expires at `expires_at`, or never.
    ///
    /// # Errors
    /// [`PairError::ValueTooLarge`], if they are over the limit.
    pub fn with_expiry(bytes: &'a [u8], expires_at: Option<UnixMs>) -> Result<Self, PairError> {
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(PairError::ValueTooLarge(bytes.len()));
        }
        Ok(Self { bytes, expires_at })
    }

    /// Returns the bytes of the value.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the time at which the value expires, if it does.
    #[must_use]
    pub fn expires_at(self) -> Option<UnixMs> {
        self.expires_at
    }
}

/// One change, as the journal records it: absolute values and times, so that replaying it twice is harmless.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// The key now has this value.
    Put(Key<'a>, Value<'a>),
    /// These keys are gone: one request, one record, however many keys.
    Delete(&'a [Key<'a>]),
    /// These keys are gone, as the memory of the data has a cap.
    Evict(&'a [Key<'a>]),
    /// Every key is gone.
    Clear,
    /// These changes, in this order, all or none. A group holds no groups.
    Group(&'a [Change<'a>]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
        let longest = vec![b'k'; 65_536];
        assert!(Key::parse(&longest).is_ok());
        let longer = vec![b'k'; 65_537];
        assert_eq!(Key::parse(&longer), Err(PairError::KeyTooLarge(65_537)));
    }
}
