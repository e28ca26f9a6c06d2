//! Namespaces: prefixes of keys up to a colon, and their numbers of keys.
//!
//! In: the entries below a prefix, in parts. Out: the namespaces, by name. Promise: their memory is bounded.

use std::collections::BTreeMap;

use memchr::memchr;

use crate::codec::key_text::key_text;
use crate::model::entry::Entry;

/// Maximum number of namespaces in a reply, as they are counted in memory.
pub const NAMESPACES_MAX: usize = 100_000;

/// Maximum length of their names in bytes, for the same reason.
pub const NAMESPACE_NAMES_BYTES_MAX: usize = 16 << 20;

/// The namespaces below a prefix.
#[derive(Debug)]
pub struct Namespaces {
    prefix: Box<[u8]>,
    /// Number of keys of each namespace.
    pub by_name: BTreeMap<Box<[u8]>, u64>,
    /// Number of keys below the prefix that are in no namespace.
    pub others: u64,
    /// Length of all names in bytes.
    name_bytes: usize,
}

/// There are too many namespaces below a prefix.
#[derive(Debug, thiserror::Error)]
pub enum TooManyNamespaces {
    /// More than [`NAMESPACES_MAX`].
    #[error("there are more than {NAMESPACES_MAX} namespaces below '{0}'")]
    Number(String),
    /// Their names are longer than [`NAMESPACE_NAMES_BYTES_MAX`].
    #[error(
        "the names of the namespaces below '{0}' have more than {NAMESPACE_NAMES_BYTES_MAX} bytes"
    )]
    Names(String),
}

impl Namespaces {
    /// Makes an empty count of the namespaces below this prefix.
    #[must_use]
    pub fn below(prefix: &[u8]) -> Self {
        Self {
            prefix: prefix.into(),
            by_name: BTreeMap::new(),
            others: 0,
            name_bytes: 0,
        }
    }

    fn shown_prefix(&self) -> String {
        key_text(&self.prefix).into_owned()
    }

    /// Counts entries, whose keys must begin with the prefix.
    ///
    /// # Errors
    /// [`TooManyNamespaces`].
    pub fn count(&mut self, entries: &[Entry]) -> Result<(), TooManyNamespaces> {
        for entry in entries {
            let key = entry.key_bytes();
            let Some(colon) = memchr(b':', &key[self.prefix.len()..]) else {
                self.others += 1;
                continue;
            };
            let name = &key[..=self.prefix.len() + colon];
            if let Some(keys) = self.by_name.get_mut(name) {
                *keys += 1;
                continue;
            }
            self.name_bytes += name.len();
            if self.by_name.len() == NAMESPACES_MAX {
                return Err(TooManyNamespaces::Number(self.shown_prefix()));
            }
            if self.name_bytes > NAMESPACE_NAMES_BYTES_MAX {
                return Err(TooManyNamespaces::Names(self.shown_prefix()));
            }
            self.by_name.insert(name.into(), 1);
        }
        Ok(())
    }
}
