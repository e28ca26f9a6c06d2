//! Glob patterns, as in Redis: `*` matches any bytes, `?` any one byte, `[a-z]` a byte of the class, `[^a]` a byte outside it, `\`
//! the next byte literally.
//!
//! In: a pattern, and bytes. Out: a match or none. Promise: the time grows at most with the product of both lengths, and patterns
//! are short, so that no pattern blocks the server.
//! Source: <https://redis.io/docs/latest/commands/keys/>.

use crate::protocol::{ErrorCode, ErrorReply};

/// Maximum length of a pattern in bytes: each of them may be compared with each byte of a name.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// A glob pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Box<[u8]>);

impl Pattern {
    /// Parses a pattern. Any bytes are one: an open class ends with the pattern.
    ///
    /// # Errors
    /// `TOO_LARGE` if it is longer than [`PATTERN_BYTES_MAX`].
    pub fn parse(pattern: &[u8]) -> Result<Self, ErrorReply> {
        if pattern.len() <= PATTERN_BYTES_MAX {
            return Ok(Self::new(pattern));
        }
        let bytes = pattern.len();
        Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!("the pattern has {bytes} bytes, and may have {PATTERN_BYTES_MAX}"),
        ))
    }

    /// Makes a pattern of bytes that are known to be within the limit.
    #[must_use]
    pub fn new(pattern: &[u8]) -> Self {
        Self(pattern.into())
    }

    /// Returns the bytes of the pattern.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the prefix of all names that match.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| b"*?[\\".contains(byte));
        &self.0[..end.unwrap_or(self.0.len())]
    }

    /// Returns true if these bytes match.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let pattern = &*self.0;
        let (mut at, mut seen) = (0, 0);
        // The position after the last star and the end of what it matches, to backtrack to.
        let mut star = None;
        loop {
            if at < pattern.len() && pattern[at] == b'*' {
                at += 1;
                star = Some((at, seen));
                continue;
            }
            let step = match bytes.get(seen) {
                None if at == pattern.len() => return true,
                // Only a star matches the empty rest, and here is none.
                None => return false,
                Some(_) if at == pattern.len() => None,
                Some(byte) => Self::one(&pattern[at..], *byte),
            };
            match (step, &mut star) {
                (Some(length), _) => {
                    at += length;
                    seen += 1;
                }
                (None, Some((after, taken))) => {
                    *taken += 1;
                    (at, seen) = (*after, *taken);
                }
                (None, None) => return false,
            }
        }
    }

    /// Returns the length of the pattern's first element, which matches one byte, if it matches this one.
    fn one(pattern: &[u8], byte: u8) -> Option<usize> {
        match pattern {
            [b'?', ..] => Some(1),
            [b'[', class @ ..] => {
                let (holds, length) = Self::class(class, byte);
                holds.then_some(length + 1)
            }
            [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
            [plain, ..] => (*plain == byte).then_some(1),
            [] => None,
        }
    }

    /// Returns true if a class, given without its opening bracket, contains a byte; and the length of the class.
    fn class(class: &[u8], byte: u8) -> (bool, usize) {
        let is_negated = class.first() == Some(&b'^');
        let mut at = usize::from(is_negated);
        let mut holds = false;
        loop {
            match &class[at.min(class.len())..] {
                [b'\\', escaped, ..] => {
                    holds |= *escaped == byte;
                    at += 2;
                }
                [b']', ..] => {
                    at += 1;
                    break;
                }
                [] => break,
                [first, b'-', last, ..] => {
                    holds |= (*first.min(last)..=*first.max(last)).contains(&byte);
                    at += 3;
                }
                [plain, ..] => {
                    holds |= *plain == byte;
                    at += 1;
                }
            }
        }
        (holds != is_negated, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, matching, others) in [
            ("", &[""][..], &["a"][..]),
            ("*", &["", "a", "a:b"], &[]),
            ("h?llo", &["hello", "hxllo"], &["hllo", "heello"]),
            ("h*llo", &["hllo", "heeeello"], &["hell"]),
            ("h[ae]llo", &["hello", "hallo"], &["hillo"]),
            ("h[^e]llo", &["hallo"], &["hello"]),
            ("h[a-b]llo", &["hallo", "hbllo"], &["hcllo"]),
            ("h[b-a]llo", &["hallo"], &["hcllo"]),
            ("a\\*b", &["a*b"], &["axb"]),
            ("[\\]]", &["]"], &["\\"]),
            ("[ab", &["a", "b"], &["c"]),
            ("a\\", &["a\\"], &["a"]),
            ("*:*:c", &["a:b:c", "::c", "a:b:x:c"], &["a:c", "a:b:d"]),
            ("**a**", &["a", "bab"], &["b"]),
        ] {
            let glob = Pattern::new(pattern.as_bytes());
            for name in matching {
                assert!(glob.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in others {
                assert!(!glob.matches(name.as_bytes()), "{pattern} {name}");
            }
        }
        assert_eq!(Pattern::new(b"user:[1]*").prefix(), b"user:");
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = Pattern::new("*a".repeat(200).as_bytes());
        assert!(
            !pattern.matches(
                "a".repeat(20_000)
                    .replace("aa", "ab")
                    .as_bytes()
                    .get(..199)
                    .unwrap_or_default()
            )
        );
        assert!(pattern.matches("a".repeat(20_000).as_bytes()));
    }
}
