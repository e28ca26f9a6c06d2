//! Namespaces: what keys begin with up to the next colon, and how many keys each has.
//!
//! In: the entries below a prefix, some at a time. Out: the namespaces, by name. Promise: they take a bounded memory.

use std::collections::BTreeMap;

use crate::model::entry::Entry;

/// The most namespaces that are told of at once: they are counted in memory.
pub const NAMESPACES_MAX: usize = 100_000;

/// The namespaces below a prefix.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    /// How many keys each has.
    pub by_name: BTreeMap<String, u64>,
    /// How many keys below the prefix are in none.
    pub others: u64,
}

/// There are more than [`NAMESPACES_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("there are more than {NAMESPACES_MAX} namespaces below '{0}'")]
pub struct TooManyNamespaces(String);

impl Namespaces {
    /// None yet, below this prefix.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            by_name: BTreeMap::new(),
            others: 0,
        }
    }

    /// Counts entries, whose keys begin with the prefix.
    ///
    /// # Errors
    /// `TooManyNamespaces`.
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
