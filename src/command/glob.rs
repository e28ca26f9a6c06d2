//! Patterns of names, as in Redis: `*` any bytes, `?` any one, `[a-z]` one of these, `[^a]` one of the others, `\` the next one
//! as it stands.
//!
//! In: a pattern, and bytes. Out: whether they match. Promise: the time grows with the product of both lengths at most, and a
//! pattern is short, so that none holds the server up.
//! Source: <https://redis.io/docs/latest/commands/keys/>.

use crate::protocol::{ErrorCode, ErrorReply};

/// The longest pattern: each of its bytes may be compared with each of a name.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Box<[u8]>);

impl Pattern {
    /// Takes bytes of a client's as a pattern. Every byte sequence is one: what is not closed ends with it.
    ///
    /// # Errors
    /// `TOO_LARGE`: it is longer than [`PATTERN_BYTES_MAX`].
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

    /// The pattern of bytes that are known to be short enough.
    #[must_use]
    pub fn new(pattern: &[u8]) -> Self {
        Self(pattern.into())
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What every name that matches begins with.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| b"*?[\\".contains(byte));
        &self.0[..end.unwrap_or(self.0.len())]
    }

    /// Whether these bytes match.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let pattern = &*self.0;
        let (mut at, mut seen) = (0, 0);
        // Where to go on if the last star is to take one byte more.
        let mut star = None;
        loop {
            if at < pattern.len() && pattern[at] == b'*' {
                at += 1;
                star = Some((at, seen));
                continue;
            }
            let step = match bytes.get(seen) {
                None if at == pattern.len() => return true,
                // Nothing but stars stands for nothing, and no star stands here.
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

    /// How long the beginning of the pattern is that stands for one byte, if it stands for this one.
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

    /// Whether a class, from after its bracket on, holds a byte; and how long it is.
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
