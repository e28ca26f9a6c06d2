//! A pair on its way between servers and files: the key, the bytes of the value, and the expiry.

use pykv::codec::pair_file::FilePair;
use pykv::model::{Key, PairError, Value};

/// A pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// The bytes of the value.
    pub value: Vec<u8>,
    /// The expiry, in milliseconds since 1970.
    pub expires_at: Option<u64>,
}

impl Pair {
    /// Returns its key and value, as files hold them.
    ///
    /// # Errors
    /// That of a limit of PyKV that a pair of another server exceeds.
    pub fn checked(&self) -> Result<(Key<'_>, Value<'_>), PairError> {
        let value = Value::with_expiry(&self.value, self.expires_at)?;
        Ok((Key::parse(self.key.as_bytes())?, value))
    }

    /// Returns about how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl From<FilePair<'_>> for Pair {
    fn from(pair: FilePair<'_>) -> Self {
        Self {
            key: pair.key.as_str().to_owned(),
            value: pair.value.bytes().to_vec(),
            expires_at: pair.value.expires_at(),
        }
    }
}

/// Returns whether a source or target is a server, and not a file.
pub fn is_url(name: &str) -> bool {
    name.contains("://")
}
