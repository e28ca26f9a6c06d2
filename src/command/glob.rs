//! Glob patterns, as in Redis: `*` matches any bytes, `?` any one byte, `[a-z]` a byte of the class, `[^a]` a byte outside it, `\`
//! the next byte literally.
//!
//! In: a pattern, and bytes. Out: a match or none. Promise: the time grows with the length of the bytes alone. The stars cut a
//! pattern into segments of fixed lengths, of which each is searched for once, behind the one before: what a star takes least
//! leaves most to the rest. A literal segment is found by `memmem`, any other by Shift-And, which follows 64 places of the segment
//! in one word, so that the longest pattern costs 16 words for a byte.
//! Sources: <https://redis.io/docs/latest/commands/keys/>; Baeza-Yates and Gonnet, A New Approach to Text Searching (1992).

use memchr::memmem;

use crate::protocol::{ErrorCode, ErrorReply};

/// Maximum length of a pattern in bytes: a search takes a step for each 64 of them and each byte of a name.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Maximum length of a segment that is compared at every place: to prepare a faster search would take longer.
const COMPARED_PLACES_MAX: usize = 8;

/// A glob pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<[u8]>,
    /// What is before, between and after the stars; empty segments in between are left out.
    segments: Box<[Segment]>,
}

/// A part of a pattern that matches a fixed number of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<[u8]>),
    Mixed(Box<[Place]>),
}

/// A part of a pattern that matches one byte.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Byte(u8),
    Any,
    Class(Box<ByteSet>),
}

/// A set of bytes: 256 bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }
}

impl Pattern {
    /// Parses a pattern. Any bytes are one: an open class ends with the pattern.
    ///
    /// # Errors
    /// `TOO_LARGE` if it is longer than [`PATTERN_BYTES_MAX`].
    pub fn parse(pattern: &[u8]) -> Result<Self, ErrorReply> {
        let bytes = pattern.len();
        if bytes > PATTERN_BYTES_MAX {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!("the pattern has {bytes} bytes, and may have {PATTERN_BYTES_MAX}"),
            ));
        }
        let (mut segments, mut places, mut rest) = (Vec::new(), Vec::new(), pattern);
        while let [first, after @ ..] = rest {
            rest = if *first == b'*' {
                if !places.is_empty() || segments.is_empty() {
                    segments.push(Segment::of(std::mem::take(&mut places)));
                }
                after
            } else {
                let (place, after) = Place::parse(*first, after);
                places.push(place);
                after
            };
        }
        segments.push(Segment::of(places));
        Ok(Self {
            text: pattern.into(),
            segments: segments.into(),
        })
    }

    /// Returns the bytes of the pattern.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Returns the prefix of all names that match.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let end = self.text.iter().position(|byte| b"*?[\\".contains(byte));
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// Returns true if these bytes match.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let [first, others @ ..] = &*self.segments else {
            unreachable!("a pattern has a segment, which may be empty")
        };
        let [between @ .., last] = others else {
            return bytes.len() == first.len() && first.matches(bytes);
        };
        if bytes.len() < first.len() + last.len() {
            return false;
        }
        let (start, rest) = bytes.split_at(first.len());
        let (mut rest, end) = rest.split_at(rest.len() - last.len());
        first.matches(start)
            && last.matches(end)
            && between.iter().all(|segment| match segment.find(rest) {
                Some(found) => {
                    rest = &rest[found..];
                    true
                }
                None => false,
            })
    }
}

impl Place {
    /// Parses the place that begins with a byte, which is no star. Returns the rest of the pattern, too.
    fn parse(first: u8, after: &[u8]) -> (Self, &[u8]) {
        match (first, after) {
            (b'?', _) => (Self::Any, after),
            (b'[', _) => Self::parse_class(after),
            (b'\\', [escaped, after @ ..]) => (Self::Byte(*escaped), after),
            _ => (Self::Byte(first), after),
        }
    }

    /// Parses a class without its opening bracket.
    fn parse_class(class: &[u8]) -> (Self, &[u8]) {
        let negated = class.strip_prefix(b"^");
        let mut rest = negated.unwrap_or(class);
        let mut set = ByteSet::default();
        loop {
            rest = match rest {
                [b'\\', escaped, after @ ..] => {
                    set.insert(*escaped);
                    after
                }
                [b']', after @ ..] => {
                    rest = after;
                    break;
                }
                [] => break,
                [first, b'-', last, after @ ..] => {
                    (*first.min(last)..=*first.max(last)).for_each(|byte| set.insert(byte));
                    after
                }
                [plain, after @ ..] => {
                    set.insert(*plain);
                    after
                }
            };
        }
        if negated.is_some() {
            set.0 = set.0.map(|bits| !bits);
        }
        (Self::Class(Box::new(set)), rest)
    }

    fn matches(&self, byte: u8) -> bool {
        match self {
            Self::Byte(expected) => *expected == byte,
            Self::Any => true,
            Self::Class(set) => set.contains(byte),
        }
    }
}

impl Segment {
    fn of(places: Vec<Place>) -> Self {
        let literal: Option<Box<[u8]>> = places
            .iter()
            .map(|place| match place {
                Place::Byte(byte) => Some(*byte),
                Place::Any | Place::Class(_) => None,
            })
            .collect();
        literal.map_or_else(|| Self::Mixed(places.into()), Self::Literal)
    }

    /// Returns the number of bytes that match.
    fn len(&self) -> usize {
        match self {
            Self::Literal(bytes) => bytes.len(),
            Self::Mixed(places) => places.len(),
        }
    }

    /// Returns true if these bytes, which are as many, match.
    fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => **literal == *bytes,
            Self::Mixed(places) => places
                .iter()
                .zip(bytes)
                .all(|(place, byte)| place.matches(*byte)),
        }
    }

    /// Returns the end of the first match in a text.
    fn find(&self, text: &[u8]) -> Option<usize> {
        let start = match self {
            _ if text.len() < self.len() => None,
            Self::Literal(literal) => memmem::find(text, literal),
            Self::Mixed(places) if places.len() > COMPARED_PLACES_MAX => {
                return shift_and(places, text);
            }
            Self::Mixed(places) => text
                .windows(places.len())
                .position(|bytes| self.matches(bytes)),
        };
        Some(start? + self.len())
    }
}

/// Returns the end of the first match of some places in a text.
fn shift_and(places: &[Place], text: &[u8]) -> Option<usize> {
    let words = places.len().div_ceil(64);
    // For each byte, a bit for each place that it matches. It is made for each search: kept, it would take sixty times the memory
    // of the pattern, and it takes less time than the search.
    let mut matching = vec![0_u64; 256 * words];
    let set = |matching: &mut [u64], byte: u8, at: usize| {
        matching[usize::from(byte) * words + at / 64] |= 1 << (at % 64);
    };
    for (at, place) in places.iter().enumerate() {
        match place {
            Place::Byte(byte) => set(&mut matching, *byte, at),
            place => (0..=u8::MAX)
                .filter(|byte| place.matches(*byte))
                .for_each(|byte| set(&mut matching, byte, at)),
        }
    }
    // Bit `at` is set if the places up to `at` match the bytes up to here.
    let mut matched = vec![0_u64; words];
    let last = 1 << ((places.len() - 1) % 64);
    text.iter()
        .position(|byte| {
            let matching = &matching[usize::from(*byte) * words..][..words];
            let mut carry = 1;
            for (matched, matching) in matched.iter_mut().zip(matching) {
                let next = *matched << 1 | carry;
                carry = *matched >> 63;
                *matched = next & matching;
            }
            matched[words - 1] & last != 0
        })
        .map(|end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pattern: &[u8]) -> Pattern {
        Pattern::parse(pattern).expect("it is short enough")
    }

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
            let glob = parsed(pattern.as_bytes());
            for name in matching {
                assert!(glob.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in others {
                assert!(!glob.matches(name.as_bytes()), "{pattern} {name}");
            }
        }
        assert_eq!(parsed(b"user:[1]*").prefix(), b"user:");
    }

    /// The plainest matcher of the same patterns, to compare with: it tries everything.
    fn matches_plainly(pattern: &[u8], bytes: &[u8]) -> bool {
        match (pattern, bytes) {
            ([], _) => bytes.is_empty(),
            ([b'*', rest @ ..], _) => {
                (0..=bytes.len()).any(|taken| matches_plainly(rest, &bytes[taken..]))
            }
            (_, []) => false,
            ([b'?', rest @ ..], [_, bytes @ ..]) => matches_plainly(rest, bytes),
            ([b'\\', escaped, rest @ ..], [byte, bytes @ ..]) => {
                escaped == byte && matches_plainly(rest, bytes)
            }
            ([b'[', class @ ..], [byte, bytes @ ..]) => {
                let (is_negated, mut class) = match class {
                    [b'^', class @ ..] => (true, class),
                    _ => (false, class),
                };
                let mut holds = false;
                loop {
                    class = match class {
                        [b'\\', escaped, rest @ ..] => {
                            holds |= escaped == byte;
                            rest
                        }
                        [b']', rest @ ..] => {
                            class = rest;
                            break;
                        }
                        [] => break,
                        [first, b'-', last, rest @ ..] => {
                            holds |=
                                (first <= byte && byte <= last) || (last <= byte && byte <= first);
                            rest
                        }
                        [plain, rest @ ..] => {
                            holds |= plain == byte;
                            rest
                        }
                    }
                }
                holds != is_negated && matches_plainly(class, bytes)
            }
            ([plain, rest @ ..], [byte, bytes @ ..]) => {
                plain == byte && matches_plainly(rest, bytes)
            }
        }
    }

    #[test]
    fn random_patterns_match_what_the_plainest_matcher_matches() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut text = |alphabet: &[u8], length: usize| -> Vec<u8> {
            let letters =
                (0..random.usize(..=length)).map(|_| *random.choice(alphabet).expect("one"));
            letters.collect()
        };
        let mut matching = 0;
        for _ in 0..100_000 {
            let pattern = text(b"aab*?[]^-\\", 12);
            let bytes = text(b"aab]^-", 10);
            let expected = matches_plainly(&pattern, &bytes);
            matching += usize::from(expected);
            let shown = || format!("{} {}", pattern.escape_ascii(), bytes.escape_ascii());
            assert_eq!(parsed(&pattern).matches(&bytes), expected, "{}", shown());
        }
        assert!(matching > 1_000, "{matching}");
    }

    /// Goal: segments of more than a word are followed across the ends of words.
    /// Method: a segment of each length around those ends, hidden in noise of the same two letters, then with its last byte changed.
    #[test]
    fn a_segment_of_any_length_is_found() {
        let mut random = fastrand::Rng::with_seed(2);
        for length in [1, 8, 9, 63, 64, 65, 127, 128, 129, 500, 1000] {
            let hidden: Vec<u8> = (0..length).map(|_| b"ab"[random.usize(..2)]).collect();
            let mut pattern = hidden.clone();
            for at in 0..length / 3 {
                pattern[3 * at] = b'?';
            }
            let pattern = [b"*".as_slice(), &pattern[..length - 1], b"c*"].concat();
            let noise: Vec<u8> = (0..3000).map(|_| b"ab"[random.usize(..2)]).collect();
            let with = |last: &[u8]| {
                [&noise[..1500], &hidden[..length - 1], last, &noise[1500..]].concat()
            };
            assert!(parsed(&pattern).matches(&with(b"c")), "{length}");
            assert!(!parsed(&pattern).matches(&with(b"a")), "{length}");
        }
    }

    /// Goal: no pattern is a weapon. Method: what nearly matches at every place of a long name, of each kind of segment; the number
    /// of comparisons of a quadratic matcher would take minutes here.
    #[test]
    fn no_pattern_takes_long() {
        let name = vec![b'a'; 64 << 10];
        let began = std::time::Instant::now();
        for pattern in [
            format!("*{}b", "a".repeat(1022)),
            format!("*{}b*", "a".repeat(1021)),
            format!("*{}b*", "?".repeat(1021)),
            format!("*{}b*", "[ab]?".repeat(204)),
            "*a".repeat(511) + "*b",
            "*?a".repeat(340) + "*b",
        ] {
            let pattern = parsed(pattern.as_bytes());
            for _ in 0..20 {
                assert!(!pattern.matches(&name));
            }
        }
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn a_pattern_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
        assert!(Pattern::parse(&[b'a'; 1024]).is_ok());
        assert!(Pattern::parse(&[b'a'; 1025]).is_err());
    }
}
