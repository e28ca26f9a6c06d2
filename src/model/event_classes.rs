//! Classes of events of keys, as `notify-keyspace-events` has them: a letter for each.
//!
//! In: letters. Out: a set of classes, and its letters. Promise: what Redis accepts is accepted, also classes of types that are not here.

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

/// A set of classes of events, and of the channels on which they are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventClasses(u16);

/// Every letter; those of [`EventClasses::ALL`] come first, in the order in which Redis writes them.
const LETTERS: &[u8] = b"g$lshzxetdKEmn";
/// Number of the letters for which `A` stands.
const LETTERS_OF_ALL: usize = 10;

impl EventClasses {
    /// No events.
    pub const NONE: Self = Self(0);
    /// `g`: commands on keys of any type.
    pub const GENERIC: Self = Self::of(b'g');
    /// `$`: commands on strings.
    pub const STRING: Self = Self::of(b'$');
    /// `x`: keys that were deleted because they had expired.
    pub const EXPIRED: Self = Self::of(b'x');
    /// `e`: keys that were evicted.
    pub const EVICTED: Self = Self::of(b'e');
    /// `K`: channels `__keyspace@<database>__:<key>`.
    pub const KEYSPACE: Self = Self::of(b'K');
    /// `E`: channels `__keyevent@<database>__:<event>`.
    pub const KEYEVENT: Self = Self::of(b'E');
    /// `m`: reads of keys that do not exist.
    pub const MISSING: Self = Self::of(b'm');
    /// `n`: keys that did not exist before.
    pub const NEW: Self = Self::of(b'n');
    /// `A`: all classes but those of missing and new keys.
    const ALL: Self = Self((1 << LETTERS_OF_ALL) - 1);

    const fn of(letter: u8) -> Self {
        let mut place = 0;
        while LETTERS[place] != letter {
            place += 1;
        }
        Self(1 << place)
    }

    /// Returns the set as a number.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Returns the set that is this number.
    #[must_use]
    pub fn of_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Returns true if the set has one of these classes.
    #[must_use]
    pub fn has(self, classes: Self) -> bool {
        self.0 & classes.0 != 0
    }
}

impl FromStr for EventClasses {
    type Err = String;

    fn from_str(letters: &str) -> Result<Self, String> {
        letters.bytes().try_fold(Self::NONE, |classes, letter| {
            let class = match letter {
                b'A' => Some(Self::ALL),
                _ if LETTERS.contains(&letter) => Some(Self::of(letter)),
                _ => None,
            };
            let class = class.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
            Ok(classes | class)
        })
    }
}

impl BitOr for EventClasses {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for EventClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_all = self.0 & Self::ALL.0 == Self::ALL.0;
        if has_all {
            f.write_str("A")?;
        }
        let first = if has_all { LETTERS_OF_ALL } else { 0 };
        for letter in &LETTERS[first..] {
            if self.has(Self::of(*letter)) {
                write!(f, "{}", char::from(*letter))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::EventClasses;

    #[test]
    fn letters_are_read_and_written_in_the_order_of_redis() {
        let pairs = [
            ("", ""),
            ("KEA", "AKE"),
            ("Ex", "xE"),
            ("nmA", "Amn"),
            ("g$lshzxetdK", "AK"),
            ("K$g", "g$K"),
        ];
        for (letters, written) in pairs {
            assert_eq!(
                letters
                    .parse()
                    .map(|classes: EventClasses| classes.to_string()),
                Ok(written.to_owned()),
                "{letters}"
            );
        }
        assert!("KEq".parse::<EventClasses>().is_err());
    }
}
