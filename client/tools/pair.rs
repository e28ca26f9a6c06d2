//! A pair on its way between servers and files: the key, the bytes of the value, and the expiry.

use std::borrow::Cow;

use pykv::codec::key_text::{key_bytes, key_text};
use pykv::codec::pair_file::FilePair;
use pykv::model::{PairError, Value};

/// A pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The text of the key, as files hold it.
    pub key: String,
    /// The bytes of the value.
    pub value: Vec<u8>,
    /// The expiry, in milliseconds since 1970.
    pub expires_at: Option<u64>,
}

impl Pair {
    /// Returns the bytes of the key.
    pub fn key_bytes(&self) -> Cow<'_, [u8]> {
        key_bytes(Cow::Borrowed(&self.key))
    }

    /// Returns its value.
    ///
    /// # Errors
    /// That of a limit of PyKV that a value of another server exceeds.
    pub fn checked_value(&self) -> Result<Value<'_>, PairError> {
        Value::with_expiry(&self.value, self.expires_at)
    }

    /// Returns about how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl From<FilePair<'_>> for Pair {
    fn from(pair: FilePair<'_>) -> Self {
        Self {
            key: key_text(pair.key.as_bytes()).into_owned(),
            value: pair.value.bytes().to_vec(),
            expires_at: pair.value.expires_at(),
        }
    }
}

/// Returns whether a source or target is a server, and not a file.
pub fn is_url(name: &str) -> bool {
    name.contains("://")
}
