//! Tools for all pairs of a server: what they are, where they are read from, and where they are written to.
//!
//! In: servers of PyKV or Redis, files of JSON, JSON lines or CSV. Out: pairs. Promise: they take a bounded memory, however many pairs
//! there are; a pair is its key, its bytes and when it expires, wherever it comes from.

pub mod diff;
pub mod export;
pub mod format;
pub mod import;
pub mod keyspace;
pub mod store;

/// A pair on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// The bytes of the value.
    pub value: Vec<u8>,
    /// When it expires, in milliseconds since 1970.
    pub expires_at: Option<u64>,
}

impl Pair {
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// Whether this names a server, and no file.
pub fn is_url(name: &str) -> bool {
    name.contains("://")
}
