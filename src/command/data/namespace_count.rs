//! Namespaces: prefixes of keys up to a colon, and their numbers of keys.
//!
//! In: the entries below a prefix, in parts. Out: the namespaces, by name. Promise: their memory is bounded.

use std::collections::BTreeMap;

use crate::model::entry::Entry;

/// Maximum number of namespaces in a reply, as they are counted in memory.
pub const NAMESPACES_MAX: usize = 100_000;

/// The namespaces below a prefix.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    /// Number of keys of each namespace.
    pub by_name: BTreeMap<String, u64>,
    /// Number of keys below the prefix that are in no namespace.
    pub others: u64,
}

/// More than [`NAMESPACES_MAX`] namespaces are below a prefix.
#[derive(Debug, thiserror::Error)]
#[error("there are more than {NAMESPACES_MAX} namespaces below '{0}'")]
pub struct TooManyNamespaces(String);

impl Namespaces {
    /// Makes an empty count of the namespaces below this prefix.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            by_name: BTreeMap::new(),
            others: 0,
        }
    }

    /// Counts entries, whose keys must begin with the prefix.
    ///
    /// # Errors
    /// [`TooManyNamespaces`] if they have more than [`NAMESPACES_MAX`] namespaces.
    pub fn count(&mut self, entries: &[Entry]) -> Result<(), TooManyNamespaces> {
        for entry in entries {
            let key = entry.key().as_str();
            let Some(colon) = key[self.prefix.len()..].find(':') else {
                self.others += 1;
                continue;
            };
            let name = &key[..=self.prefix.len() + colon];
            if let Some(keys) = self.by_name.get_mut(name) {
                *keys += 1;
            } else if self.by_name.len() < NAMESPACES_MAX {
                self.by_name.insert(name.to_owned(), 1);
            } else {
                return Err(TooManyNamespaces(self.prefix.clone()));
            }
        }
        Ok(())
    }
}
