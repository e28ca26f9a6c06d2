//! The words of a request line, as the server splits them.
//!
//! In: a line, complete or not. Out: its words with their places. A JSON string is one word, blanks included.

use std::ops::Range;

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'l> {
    /// The text, with its quotes.
    pub text: &'l str,
    /// Its bytes in the line.
    pub range: Range<usize>,
    /// True if it is a string without its closing quote, so that anything may follow.
    pub is_open: bool,
}

/// Returns the words of a line.
pub fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = line[at..].trim_start_matches([' ', '\t']);
        let start = line.len() - rest.len();
        if rest.is_empty() {
            return None;
        }
        let string = rest.starts_with('"').then(|| string_end(rest));
        let is_open = string == Some(None);
        let after_string = string.flatten().unwrap_or(0);
        let length = rest[after_string..]
            .find([' ', '\t'])
            .filter(|_| !is_open)
            .map_or(rest.len(), |blank| after_string + blank);
        at = start + length;
        Some(Word {
            text: &rest[..length],
            range: start..at,
            is_open,
        })
    })
}

/// Returns the end of the JSON string that a text begins with.
fn string_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_string_is_one_word() {
        let texts = |line| words(line).map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(
            texts(" PUT \"a \\\" b\"\t c d "),
            ["PUT", "\"a \\\" b\"", "c", "d"]
        );
        assert_eq!(texts("PUT \"a b"), ["PUT", "\"a b"]);
        assert_eq!(texts("a\"b c\""), ["a\"b", "c\""]);
        assert_eq!(texts(" "), [""; 0]);
        let open: Vec<bool> = words("a \"b\" \"c d").map(|word| word.is_open).collect();
        assert_eq!(open, [false, false, true]);
    }
}
