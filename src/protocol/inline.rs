//! Inline commands of Redis: `SET a "x y"\r\n` -> words, as on the ports of `redis://` addresses.
//!
//! In: bytes as they arrive. Out: the words of a line, which borrow from it where no quotes are decoded. Promises: a line is split as
//! `redis-server` splits it; one that is malformed or over the limit is answered with Redis's error and closes the connection.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/#inline-commands>.

use std::borrow::Cow;

use memchr::memchr;

use super::{ErrorCode, ErrorReply, Refusal, Words};

/// Maximum length of a line in bytes, as in Redis.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// The first line of a buffer.
#[derive(Debug)]
pub enum Inline<'a> {
    /// The line is not complete.
    Partial,
    /// A line of this length with its end. Its words, which may be none, have been appended to those given.
    Line(&'a [u8], usize),
    /// The line cannot be split, or is too long.
    Broken(Refusal),
}

/// Splits the first line of `buffer`, whose first `seen` bytes are known to have no line feed.
#[must_use]
pub fn split<'a>(buffer: &'a [u8], seen: usize, words: &mut Words<'a>) -> Inline<'a> {
    let end = memchr(b'\n', &buffer[seen..]).map(|at| seen + at);
    if end.unwrap_or(buffer.len()) > INLINE_BYTES_MAX {
        return broken("too big inline request");
    }
    let Some(end) = end else {
        return Inline::Partial;
    };
    let line = &buffer[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let first = words.len();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let Some((word, after)) = word(rest) else {
            words.truncate(first);
            return broken("unbalanced quotes in request");
        };
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Inline::Line(line, end + 1)
}

fn broken<'a>(reason: &str) -> Inline<'a> {
    Inline::Broken(Refusal {
        error: ErrorReply::new(ErrorCode::Syntax, format!("Protocol error: {reason}")),
        closes: true,
    })
}

/// Returns the first word and what follows it; `None` if a quote is not closed, or something follows the closing one.
fn word(line: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let plain = line.iter().take_while(|byte| !is_end(**byte));
    let plain = plain
        .take_while(|byte| !matches!(byte, b'"' | b'\''))
        .count();
    if line.get(plain).is_none_or(|byte| is_end(*byte)) {
        let (word, rest) = line.split_at(plain);
        return Some((Cow::Borrowed(word), rest));
    }
    let mut word = line[..plain].to_vec();
    let mut rest = &line[plain..];
    loop {
        match *rest {
            [] => break,
            [byte, ..] if is_end(byte) => break,
            [quote @ (b'"' | b'\''), ref quoted @ ..] => {
                rest = unquote(quoted, quote, &mut word)?;
                if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                    return None;
                }
            }
            [byte, ref after @ ..] => {
                word.push(byte);
                rest = after;
            }
        }
    }
    Some((Cow::Owned(word), rest))
}

/// Returns true for a byte that ends a word outside of quotes.
fn is_end(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Decodes what stands between quotes. Returns what follows them; `None` if they are not closed.
fn unquote<'a>(mut text: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *text {
            [byte, ref rest @ ..] if byte == quote => return Some(rest),
            [b'\\', b'x', high, low, ref rest @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digits = [high, low];
                let digits = std::str::from_utf8(&digits).ok()?;
                word.push(u8::from_str_radix(digits, 16).ok()?);
                text = rest;
            }
            [b'\\', escaped, ref rest @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                text = rest;
            }
            [b'\\', b'\'', ref rest @ ..] if quote == b'\'' => {
                word.push(b'\'');
                text = rest;
            }
            [byte, ref rest @ ..] => {
                word.push(byte);
                text = rest;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let mut words = Words::new();
        match split(line.as_bytes(), 0, &mut words) {
            Inline::Line(_, taken) => {
                assert_eq!(taken, line.len());
                let words = words.iter().map(|word| word.escape_ascii().to_string());
                Some(words.collect())
            }
            Inline::Partial => panic!("{line:?} is complete"),
            Inline::Broken(_) => None,
        }
    }

    #[test]
    fn a_line_is_split_at_blanks_and_quotes_are_decoded() {
        for (line, split) in [
            ("\r\n", &[][..]),
            (" \t \n", &[]),
            ("GET a\n", &["GET", "a"]),
            ("  SET  a\t b \r\n", &["SET", "a", "b"]),
            ("SET a \"x y\"\n", &["SET", "a", "x y"]),
            (
                "SET a 'x \"y\" \\' \\n'\n",
                &["SET", "a", r#"x \"y\" \' \\n"#],
            ),
            ("SET \"\" ''\n", &["SET", "", ""]),
            ("SET a\"b c\" d\n", &["SET", "ab c", "d"]),
            ("\"GET\" a\n", &["GET", "a"]),
        ] {
            assert_eq!(words(line).expect(line), split, "{line:?}");
        }
        let escaped = words("SET a \"\\x00\\xfF\\n\\t\\\"\\q\\xg\"\n").expect("a request");
        assert_eq!(escaped[2], r#"\x00\xff\n\t\"qxg"#);
    }

    #[test]
    fn quotes_must_be_closed_and_end_a_word() {
        for line in [
            "SET a \"b\n",
            "SET a 'b\n",
            "SET \"a\"b c\n",
            "\"\n",
            "SET a \"b\\\"\n",
        ] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_line_over_the_limit_is_refused_complete_or_not() {
        let mut line = vec![b'a'; INLINE_BYTES_MAX];
        assert!(matches!(
            split(&line, 0, &mut Words::new()),
            Inline::Partial
        ));
        line.push(b'\n');
        assert!(matches!(
            split(&line, 0, &mut Words::new()),
            Inline::Line(..)
        ));
        line[INLINE_BYTES_MAX] = b'a';
        assert!(matches!(
            split(&line, 0, &mut Words::new()),
            Inline::Broken(_)
        ));
    }
}
