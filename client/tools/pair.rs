//! A pair on its way between servers and files: the key, the bytes of the value, and the expiry.

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
    /// Returns about how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// Returns whether a source or target is a server, and not a file.
pub fn is_url(name: &str) -> bool {
    name.contains("://")
}
