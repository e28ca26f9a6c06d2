//! What is stored and what a change is: `Key`, `Value`, `Entry` (one pair in memory), `Change` (one journal record).
//!
//! In: bytes from any door. Out: values whose limits have been checked once, here, so that no layer below asks again.
//! An `Entry` is one allocation behind one thin pointer, shared by counting: a slow reader keeps the pair it is being
//! sent, and nothing else, and no lock.

use std::fmt;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;
use triomphe::ThinArc;

/// The longest key, in bytes: long enough for any name, short enough that keys alone cannot exhaust a buffer. (A fuzzer is to
/// come to each limit with inputs of a few hundred bytes.)
pub const KEY_BYTES_MAX: usize = if cfg!(fuzzing) { 16 } else { 64 << 10 };

/// The longest value, in bytes: a picture or a document fits, and ten that are being received as they are stay under a
/// gigabyte.
pub const VALUE_BYTES_MAX: usize = if cfg!(fuzzing) { 256 } else { 64 << 20 };

/// A moment, in milliseconds since 1970-01-01 UTC.
pub type UnixMs = u64;

/// The last moment at which a pair can expire: the end of the year 9999, as far as RFC 3339 and its readers go.
pub const EXPIRES_AT_MAX: UnixMs = 253_402_207_200_000;

/// Why bytes cannot be a key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The key is longer than [`KEY_BYTES_MAX`].
    #[error("the key has {0} bytes, and may have {KEY_BYTES_MAX}")]
    KeyTooLarge(usize),
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value has {0} bytes, and may have {VALUE_BYTES_MAX}")]
    ValueTooLarge(usize),
    /// The key is not UTF-8.
    #[error("the key is not UTF-8 (its byte {0})")]
    KeyNotText(usize),
}

/// A key: UTF-8, at most [`KEY_BYTES_MAX`] bytes, the empty one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// Takes bytes as a key.
    ///
    /// # Errors
    /// [`PairError::KeyTooLarge`] and [`PairError::KeyNotText`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PairError> {
        if bytes.len() > KEY_BYTES_MAX {
            return Err(PairError::KeyTooLarge(bytes.len()));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self(text)),
            Err(error) => Err(PairError::KeyNotText(error.valid_up_to() + 1)),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The key as bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

/// A value: any bytes, at most [`VALUE_BYTES_MAX`] of them, and when they cease to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    bytes: &'a [u8],
    expires_at: Option<UnixMs>,
}

impl<'a> Value<'a> {
    /// Takes bytes as a value that stays until it is deleted.
    ///
    /// # Errors
    /// [`PairError::ValueTooLarge`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PairError> {
        Self::parse_until(bytes, None)
    }

    /// Takes bytes as a value that ceases to be at `expires_at`.
    ///
    /// # Errors
    /// [`PairError::ValueTooLarge`].
    pub fn parse_until(bytes: &'a [u8], expires_at: Option<UnixMs>) -> Result<Self, PairError> {
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(PairError::ValueTooLarge(bytes.len()));
        }
        Ok(Self { bytes, expires_at })
    }

    /// The bytes of the value.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// When the value ceases to be, if ever.
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
    /// Every key is gone.
    Clear,
    /// These changes, in this order, all or none. A group holds no groups.
    Group(&'a [Change<'a>]),
}

/// Marks, in the head of an entry, that eight bytes with its expiry stand before the key.
const EXPIRES: u32 = 1 << 31;
const EXPIRY_BYTES: usize = size_of::<UnixMs>();

/// One pair in one allocation: a count of its holders, the key's length, then `[expiry] key value`.
///
/// It is hashed and compared by its key alone, so that a map of entries is a map from key to value.
#[derive(Clone)]
pub struct Entry(ThinArc<u32, u8>);

impl Entry {
    /// Copies a pair into one allocation.
    #[must_use]
    pub fn new(key: Key<'_>, value: Value<'_>) -> Self {
        let mut packed = SmallVec::<[u8; 512]>::new();
        let mut head = u32::try_from(key.as_bytes().len()).expect("KEY_BYTES_MAX fits 31 bits");
        if let Some(expires_at) = value.expires_at {
            head |= EXPIRES;
            packed.extend_from_slice(&expires_at.to_le_bytes());
        }
        packed.extend_from_slice(key.as_bytes());
        packed.extend_from_slice(value.bytes);
        Self(ThinArc::from_header_and_slice(head, &packed))
    }

    fn key_start(&self) -> usize {
        if self.0.header.header & EXPIRES == 0 {
            0
        } else {
            EXPIRY_BYTES
        }
    }

    fn value_start(&self) -> usize {
        self.key_start() + (self.0.header.header & !EXPIRES) as usize
    }

    /// The key's bytes, always UTF-8.
    #[must_use]
    pub fn key_bytes(&self) -> &[u8] {
        &self.0.slice[self.key_start()..self.value_start()]
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        Key(std::str::from_utf8(self.key_bytes())
            .expect("an entry is made of a Key, which is UTF-8"))
    }

    /// The value's bytes.
    #[must_use]
    pub fn value_bytes(&self) -> &[u8] {
        &self.0.slice[self.value_start()..]
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        Value {
            bytes: self.value_bytes(),
            expires_at: self.expires_at(),
        }
    }

    /// When the pair ceases to be, if ever.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixMs> {
        (self.0.header.header & EXPIRES != 0).then(|| {
            let bytes = self.0.slice[..EXPIRY_BYTES]
                .try_into()
                .expect("the head says that eight bytes are there");
            UnixMs::from_le_bytes(bytes)
        })
    }

    /// Whether the pair has ceased to be at `now`.
    #[must_use]
    pub fn is_expired(&self, now: UnixMs) -> bool {
        self.expires_at()
            .is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether it is this very entry, and not another of the same key.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }

    /// Where it lies in memory.
    #[must_use]
    pub fn as_ptr(&self) -> *const std::ffi::c_void {
        self.0.as_ptr()
    }

    /// Bytes in memory: the allocation, and the place in the table.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        const COUNT_AND_LENGTHS: usize = 24;
        // Eight bytes and a byte of the hash, and an eighth of the places stays free.
        const PLACE: usize = 10;
        COUNT_AND_LENGTHS + self.0.slice.len() + PLACE
    }

    /// Bytes of key and value together.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.0.slice.len() - self.key_start()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key_bytes() == other.key_bytes()
    }
}

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key_bytes().cmp(other.key_bytes())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key_bytes().hash(state);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Entry({:?}, {} bytes)",
            self.key().as_str(),
            self.value_bytes().len()
        )
    }
}

/// The time now, in milliseconds since 1970-01-01 UTC.
#[must_use]
pub fn now_ms() -> UnixMs {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_gives_back_what_it_was_made_of() {
        for expires_at in [None, Some(1_795_400_000_123)] {
            let key = Key::parse("ключ".as_bytes()).expect("text");
            let entry = Entry::new(
                key,
                Value::parse_until(b"\x00\xff", expires_at).expect("short"),
            );
            assert_eq!(entry.key().as_str(), "ключ");
            assert_eq!(entry.value_bytes(), b"\x00\xff");
            assert_eq!(entry.expires_at(), expires_at);
            assert_eq!(entry.data_bytes(), 8 + 2);
        }
    }

    #[test]
    fn a_key_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
        let longest = vec![b'k'; 65_536];
        assert!(Key::parse(&longest).is_ok());
        let longer = vec![b'k'; 65_537];
        assert_eq!(Key::parse(&longer), Err(PairError::KeyTooLarge(65_537)));
    }
}
