//! Numbered databases, as Redis has them: database N is the keys that begin with `dbN:`, and database 0 is all keys.
//!
//! In: a number, or a key as it is stored. Out: the prefix of the keys, names with and without it. Promise: every key belongs to one
//! database, and its name tells to which.

use std::sync::LazyLock;

/// Maximum number of databases: their keys are counted, with two counters for each.
pub const DATABASES_MAX: usize = 256;

/// Prefixes of the keys of all databases.
static PREFIXES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let numbered = (1..DATABASES_MAX).map(|number| format!("db{number}:"));
    std::iter::once(String::new()).chain(numbered).collect()
});

/// A numbered database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Database(u8);

impl Database {
    /// Returns the database with a number; `None` from [`DATABASES_MAX`] on.
    #[must_use]
    pub fn new(number: usize) -> Option<Self> {
        u8::try_from(number).ok().map(Self)
    }

    /// Returns the database that a stored key belongs to.
    #[must_use]
    #[inline(always)]
    pub fn of_key(key: &[u8]) -> Self {
        if key.starts_with(b"db") {
            return Self::of_digits(&key[2..]);
        }
        Self(0)
    }

    // Apart, as few keys begin so.
    #[cold]
    fn of_digits(rest: &[u8]) -> Self {
        let end = rest.iter().take(4).position(|byte| *byte == b':');
        let digits = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        let digits = digits.filter(|digits| digits.starts_with(|first| matches!(first, '1'..='9')));
        Self(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    /// Returns its number.
    #[must_use]
    pub fn number(self) -> usize {
        self.0.into()
    }

    /// Returns true for database 0, whose keys have no prefix.
    #[must_use]
    #[inline(always)]
    pub fn is_default(self) -> bool {
        self.0 == 0
    }

    /// Returns what its keys begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        if self.is_default() {
            return "";
        }
        &PREFIXES[self.number()]
    }

    /// Returns the stored key of a name in this database.
    #[must_use]
    pub fn key_of(self, name: &[u8]) -> Vec<u8> {
        [self.prefix().as_bytes(), name].concat()
    }

    /// Returns the name of one of its keys, or of a prefix of some: what follows its own prefix.
    ///
    /// # Panics
    /// If the key is shorter than the prefix.
    #[must_use]
    pub fn name_of(self, key: &[u8]) -> &[u8] {
        &key[self.prefix().len()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_key_tells_its_database() {
        let number = |key: &str| Database::of_key(key.as_bytes()).number();
        assert_eq!(
            ["db1:a", "db9:", "db15:x:y", "db255:a"].map(number),
            [1, 9, 15, 255]
        );
        let others = [
            "", "a", "db", "db:", "db1", "db01:a", "db0:a", "db256:a", "db+1:a", "db1000:a",
            "dbx:a", "DB1:a",
        ];
        assert_eq!(others.map(number), [0; 12]);
        for number in 0..DATABASES_MAX {
            let database = Database::new(number).expect("there are so many");
            let key = database.key_of(b"a:b");
            assert_eq!(Database::of_key(&key), database);
            assert_eq!(database.name_of(&key), b"a:b");
        }
        assert_eq!(Database::new(DATABASES_MAX), None);
    }
}
