//! Keys that occur more than once in a file.
//!
//! In: keys and their lines, in the order of the file. Out: the number of pairs that a later one replaces, and the first two of them.
//! Promise: bounded memory; of a file with more keys than are remembered, the report says so.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher as _;

use super::pair::shown;
use crate::codec::key_text::key_text;

/// The keys that are remembered, as a hash and a line: about 40 MB at the most.
pub const KEYS_REMEMBERED_MAX: usize = 1_000_000;

/// The first key that occurs twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstDuplicate {
    /// The key.
    pub key: String,
    /// The lines on which it stands.
    pub lines: [u64; 2],
}

/// The keys of a file, as far as they are remembered.
pub struct Duplicates {
    lines: HashMap<u64, u64>,
    keys_max: usize,
    has_more: bool,
    count: u64,
    first: Option<FirstDuplicate>,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self::remembering(KEYS_REMEMBERED_MAX)
    }
}

impl Duplicates {
    fn remembering(keys_max: usize) -> Self {
        Self {
            lines: HashMap::default(),
            keys_max,
            has_more: false,
            count: 0,
            first: None,
        }
    }

    /// Notes the next key. (Two keys have the same hash of 64 bits once in 30 million files of a million keys.)
    pub fn note(&mut self, key: &[u8], line: u64) {
        let hash = self.lines.hasher().hash_one(key);
        if let Some(last) = self.lines.get_mut(&hash) {
            self.count += 1;
            self.first.get_or_insert_with(|| FirstDuplicate {
                key: key_text(key).into_owned(),
                lines: [*last, line],
            });
            *last = line;
        } else if self.lines.len() < self.keys_max {
            self.lines.insert(hash, line);
        } else {
            self.has_more = true;
        }
    }

    /// Returns the number of pairs that a later one of the same key replaces, and the first; `None` if there are none.
    #[must_use]
    pub fn found(&self) -> Option<(u64, &FirstDuplicate)> {
        Some(self.count).zip(self.first.as_ref())
    }
}

impl fmt::Display for Duplicates {
    /// Writes the report, or nothing if there is nothing to report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.keys_max;
        match self.found() {
            Some((count, first)) => {
                let [one, other] = first.lines;
                let pairs = if count == 1 { "pair was" } else { "pairs were" };
                write!(
                    f,
                    "{count} {pairs} replaced by a later one of the same key, first {} (lines {one} and {other})",
                    shown(&first.key)
                )?;
                if self.has_more {
                    write!(f, "; only the first {limit} keys were compared")?;
                }
                Ok(())
            }
            None if self.has_more => {
                write!(
                    f,
                    "only the first {limit} keys were looked at for duplicates"
                )
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(keys_max: usize, keys: &[&str]) -> String {
        let mut duplicates = Duplicates::remembering(keys_max);
        for (key, line) in keys.iter().zip(1..) {
            duplicates.note(key.as_bytes(), line);
        }
        duplicates.to_string()
    }

    #[test]
    fn the_first_duplicate_is_told_with_its_lines_and_all_are_counted() {
        assert_eq!(report(9, &["a", "b", "c"]), "");
        assert_eq!(
            report(9, &["a", "b", "a"]),
            "1 pair was replaced by a later one of the same key, first \"a\" (lines 1 and 3)"
        );
        assert_eq!(
            report(9, &["a", "b", "b", "b", "a"]),
            "3 pairs were replaced by a later one of the same key, first \"b\" (lines 2 and 3)"
        );
    }

    #[test]
    fn keys_beyond_those_that_are_remembered_are_told_of() {
        assert_eq!(report(2, &["a", "b"]), "");
        assert_eq!(
            report(2, &["a", "b", "c", "c"]),
            "only the first 2 keys were looked at for duplicates"
        );
        assert_eq!(
            report(2, &["a", "b", "c", "a"]),
            "1 pair was replaced by a later one of the same key, first \"a\" (lines 1 and 4); only the first 2 keys were compared"
        );
    }
}
