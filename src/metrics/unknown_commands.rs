//! Requests for commands that are not here, by name: what an application misses.
//!
//! In: names that clients have sent. Out: counts. Promise: clients cannot fill the memory with names; what is too much is counted together.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of names that are counted each for itself: Redis and its modules have a few hundred, of which an application uses some.
pub const UNKNOWN_NAMES_MAX: usize = 100;
/// Maximum length of such a name in bytes: that of the longest name of Redis and its modules is 26.
const NAME_BYTES_MAX: usize = 32;
/// Name under which all others are counted.
const OTHERS: &str = "others";

/// Counts of requests by name.
#[derive(Debug, Default)]
pub struct UnknownCommands(Mutex<BTreeMap<String, u64>>);

impl UnknownCommands {
    /// Counts a request. Returns the name if it is the first one under this name.
    pub fn count(&self, name: &[u8]) -> Option<String> {
        let is_name = name.len() <= NAME_BYTES_MAX
            && name.first().is_some_and(u8::is_ascii_alphabetic)
            && name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
        let name = String::from_utf8_lossy(name).to_lowercase();
        let mut counts = self.counts();
        let is_known = counts.contains_key(&name);
        let name = if is_name && (is_known || counts.len() < UNKNOWN_NAMES_MAX) {
            name
        } else {
            OTHERS.to_owned()
        };
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        (*count == 1).then_some(name)
    }

    /// Returns the names and their counts.
    #[must_use]
    pub fn all(&self) -> Vec<(String, u64)> {
        let counts = self.counts();
        counts
            .iter()
            .map(|(name, count)| (name.clone(), *count))
            .collect()
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.counts().clear();
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{UNKNOWN_NAMES_MAX, UnknownCommands};

    #[test]
    fn names_are_counted_in_any_case_and_no_more_than_a_number_of_them() {
        let counts = UnknownCommands::default();
        assert_eq!(counts.count(b"LPUSH"), Some("lpush".to_owned()));
        assert_eq!(counts.count(b"lpush"), None);
        for name in [&b"a b"[..], b"", b"1abc", &[b'x'; 33], b"\xff"] {
            counts.count(name);
        }
        for number in 0..2 * UNKNOWN_NAMES_MAX {
            counts.count(format!("name.{number}").as_bytes());
        }
        let all = counts.all();
        // The last name is that of all others.
        assert!(all.len() <= UNKNOWN_NAMES_MAX + 1, "{}", all.len());
        let total: u64 = all.iter().map(|(_, count)| count).sum();
        assert_eq!(total, 2 + 5 + 2 * UNKNOWN_NAMES_MAX as u64);
        assert!(all.contains(&("lpush".to_owned(), 2)));
        counts.clear();
        assert_eq!(counts.all(), []);
    }
}
