//! JSON strings, and bytes as base64 in one.
//!
//! In: text or bytes, or JSON. Out: the other. Promise: a string without escapes, as most are, is written in one pass over its
//! bytes, and read without a copy.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::model::is_text;

/// Writes text as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write_text(out, text.as_bytes());
}

/// Writes the bytes of text as a JSON string.
pub fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    if has_any(text, is_escaped) {
        let text = std::str::from_utf8(text).expect("it is known to be text");
        return serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
    }
    write_plain(out, text);
}

/// Writes bytes as a JSON string, after something else, if they are text. Returns whether they are; if not, nothing is written.
#[must_use]
pub fn write_if_text(out: &mut Vec<u8>, before: &str, bytes: &[u8]) -> bool {
    write_text_if(out, before, bytes, |_| true)
}

/// Writes bytes as [`write_if_text`] does, unless escapes would add more than this many bytes. Returns whether they are written.
#[must_use]
pub(super) fn write_if_short_text(
    out: &mut Vec<u8>,
    before: &str,
    bytes: &[u8],
    added_max: usize,
) -> bool {
    write_text_if(out, before, bytes, |text| {
        // Most text has no control characters, and of what else is escaped none takes more than two bytes.
        !has_any(text, |byte| byte < b' ') || escape_bytes(text) <= added_max
    })
}

/// Writes bytes as a JSON string if they are text and, where they are not plain, suit.
#[inline]
fn write_text_if(
    out: &mut Vec<u8>,
    before: &str,
    bytes: &[u8],
    suits: impl Fn(&[u8]) -> bool,
) -> bool {
    // Nearly all text has neither escapes nor bytes beyond ASCII: then one look is enough.
    let is_plain = !has_any(bytes, is_not_plain);
    let is_written = is_plain || (is_text(bytes) && suits(bytes));
    if is_written {
        out.extend_from_slice(before.as_bytes());
    }
    if is_plain {
        write_plain(out, bytes);
    } else if is_written {
        write_text(out, bytes);
    }
    is_written
}

/// Returns the number of bytes that escapes add to text in a JSON string.
fn escape_bytes(text: &[u8]) -> usize {
    let of_byte = |byte: &u8| match *byte {
        byte if has_long_escape(byte) => "\\u0000".len() - 1,
        byte => usize::from(is_escaped(byte)),
    };
    text.iter().map(of_byte).sum()
}

/// Returns whether a byte is escaped as six: a control character other than `\b`, `\t`, `\n`, `\f` and `\r`.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch the compiler compares many bytes in one step"
)]
fn has_long_escape(byte: u8) -> bool {
    (byte < 8) | (byte == 11) | ((byte > 13) & (byte < b' '))
}

fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Returns whether a byte has to be escaped in a JSON string (RFC 8259, section 7).
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch the compiler compares many bytes in one step"
)]
fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// Returns whether a byte has to be escaped, or is beyond ASCII.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch the compiler compares many bytes in one step"
)]
fn is_not_plain(byte: u8) -> bool {
    // One comparison for control characters and what is beyond ASCII, which are less than a blank as signed numbers.
    (byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Returns whether any byte fits. All of a chunk are looked at, not up to the first: so the compiler compares many in one step.
#[inline]
fn has_any(bytes: &[u8], fits: impl Fn(u8) -> bool + Copy) -> bool {
    const CHUNK_BYTES: usize = 16;
    let in_chunk =
        |chunk: &[u8; CHUNK_BYTES]| chunk.iter().fold(false, |any, byte| any | fits(*byte));
    let (chunks, rest) = bytes.as_chunks();
    // The last chunk may overlap the one before, which is cheaper than a loop over single bytes.
    let in_rest = match bytes.last_chunk() {
        Some(chunk) => !rest.is_empty() && in_chunk(chunk),
        None => rest.iter().any(|byte| fits(*byte)),
    };
    in_rest || chunks.iter().any(in_chunk)
}

/// Returns text as a JSON string.
#[must_use]
pub fn string(text: &str) -> String {
    serde_json::to_string(text).expect("text is always JSON")
}

/// Returns bytes as base64 (RFC 4648, section 4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Writes bytes as a JSON string of base64, without a copy in between.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = base64::encoded_len(bytes.len(), true).expect("a value is far shorter");
    out.reserve(length + 2);
    out.push(b'"');
    let start = out.len();
    out.resize(start + length, 0);
    let written = BASE64.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written.ok(), Some(length));
    out.push(b'"');
}

/// Takes the JSON string that the bytes begin with. Returns its text, and the bytes after it; `None` if they begin with none.
///
/// It stands beside serde_json because it is the inner loop of a start: a string without escapes, as most are, is not copied.
#[must_use]
pub fn take_string(bytes: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let body = bytes.strip_prefix(b"\"")?;
    let mut at = memchr::memchr2(b'"', b'\\', body)?;
    if body[at] == b'"' {
        // Control characters must be escaped (RFC 8259, section 7).
        let (text, rest) = (&body[..at], &body[at + 1..]);
        let is_plain = text.iter().all(|byte| *byte >= b' ');
        return is_plain
            .then(|| std::str::from_utf8(text).ok())
            .flatten()
            .map(|text| (Cow::Borrowed(text), rest));
    }
    while body[at] == b'\\' {
        let after = at + 2;
        at = after + memchr::memchr2(b'"', b'\\', body.get(after..)?)?;
    }
    // With both quotes.
    let text = serde_json::from_slice(&bytes[..at + 2]).ok()?;
    Some((Cow::Owned(text), &body[at + 1..]))
}

/// Returns whether a string with its closing quote was refused because an escape in it is half a surrogate pair: well-formed
/// JSON, but not text.
///
/// serde_json has no kind for this error. Of a string with its closing quote it says "end of hex escape" only where the second
/// half is missing.
#[must_use]
pub fn is_half_character(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    text.contains("surrogate") || text.contains("end of hex escape")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_that_escapes_add_are_those_that_serde_json_writes() {
        for byte in 0..=127_u8 {
            let text = char::from(byte).to_string();
            let added = string(&text).len() - 3;
            assert_eq!(escape_bytes(text.as_bytes()), added, "{byte}");
        }
        assert_eq!(escape_bytes("é😀".as_bytes()), 0);
    }

    #[test]
    fn base64_is_written_behind_what_is_there() {
        for (bytes, expected) in [
            (&b""[..], "x\"\""),
            (b"\0", "x\"AA==\""),
            (b"\0\0\0", "x\"AAAA\""),
        ] {
            let mut out = b"x".to_vec();
            write_base64(&mut out, bytes);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn a_string_is_taken_as_serde_json_reads_it_or_not_at_all() {
        for text in [
            r#""""#,
            r#""plain""#,
            r#""é\u00e9 \" \\""#,
            r#""\\""#,
            r#""\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\q""#,
            r#""\"#,
            r#"""#,
            r#""unended"#,
            r#""unended\""#,
            "\"tab\there\"",
            "plain",
            "",
        ] {
            let expected = serde_json::from_str::<String>(text).ok();
            let taken = take_string(text.as_bytes()).map(|(text, rest)| {
                assert!(rest.is_empty());
                text.into_owned()
            });
            assert_eq!(taken, expected, "{text}");
            if expected.is_some() {
                let longer = format!("{text},\"more\"");
                let rest = take_string(longer.as_bytes()).map(|(_, rest)| rest);
                assert_eq!(rest, Some(&b",\"more\""[..]), "{text}");
            }
        }
        assert_eq!(take_string(b"\"\xff\""), None);
    }
}
