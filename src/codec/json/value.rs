//! The JSON form of a value.
//!
//! In: a value, or JSON text. Out: the other. A text value without expiry is a plain JSON string. What needs more is an object
//! with `$`-names: `{"$text": "...", "$expires_at": "2026-11-23T01:02:03.456Z"}` or `{"$base64": "..."}`. Promises: what is
//! written is read back byte for byte; any other JSON value is read as its compact JSON text; on disk a byte costs at most
//! two, whatever it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;

use super::text::{
    is_half_character, string, write_base64, write_if_short_text, write_if_text, write_string,
};
use super::time::{read_moment, time};
use crate::model::{UnixMs, Value};

/// The most bytes that a byte of a value costs on disk: text whose escapes take more is written as base64, which takes four for
/// three.
const STORED_BYTES_PER_BYTE_MAX: usize = 2;

/// The bytes by which the object of base64 is longer than a plain string. For less a value stays one that people can read.
const BASE64_OBJECT_BYTES: usize = "{\"$base64\":}".len();

/// Writes a value in its JSON form: as text, if it is text.
pub fn write_value(out: &mut Vec<u8>, value: Value<'_>) {
    write_object_or_string(out, value, write_if_text);
}

/// Writes a value in its JSON form where it must not take more room than need be, which is on disk: as text only if a byte of it
/// then takes no more than two. It reads back as the same value either way.
pub fn write_stored_value(out: &mut Vec<u8>, value: Value<'_>) {
    let added_max = (STORED_BYTES_PER_BYTE_MAX - 1) * value.bytes().len() + BASE64_OBJECT_BYTES;
    write_object_or_string(out, value, |out, before, bytes| {
        write_if_short_text(out, before, bytes, added_max)
    });
}

#[inline]
fn write_object_or_string(
    out: &mut Vec<u8>,
    value: Value<'_>,
    write_if_text: impl FnOnce(&mut Vec<u8>, &str, &[u8]) -> bool,
) {
    let is_plain = value.expires_at().is_none();
    let before = if is_plain { "" } else { "{\"$text\":" };
    if !write_if_text(out, before, value.bytes()) {
        out.extend_from_slice(b"{\"$base64\":");
        write_base64(out, value.bytes());
    } else if is_plain {
        return;
    }
    if let Some(expires_at) = value.expires_at() {
        out.extend_from_slice(b",\"$expires_at\":");
        write_string(out, &time(expires_at));
    }
    out.push(b'}');
}

/// A value as it was read: its limits are not checked yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Loaded<'a> {
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// The time at which it expires, if it does.
    pub expires_at: Option<UnixMs>,
}

impl<'a> Loaded<'a> {
    /// Makes a text value that does not expire.
    #[must_use]
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            bytes: match text.into() {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            expires_at: None,
        }
    }
}

/// Reads one value from its JSON text.
///
/// # Errors
/// A sentence for people, if a string is not text, or if an object with one of our `$`-names has others too, has not exactly one
/// of `$text` and `$base64`, or has a member that is not what its name says.
pub fn read_value(raw: &str) -> Result<Loaded<'_>, String> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw)
            .map(Loaded::text)
            .map_err(|error| plain_reason(&error)),
        Some(b'{') if raw.contains("\"$") => read_object_value(raw),
        _ => Ok(Loaded::text(compact(raw))),
    }
}

/// Returns the reason that serde_json gives, without line and column: they count in this value alone.
fn plain_reason(error: &serde_json::Error) -> String {
    if is_half_character(error) {
        return "half of a surrogate pair, which stands for no character".to_owned();
    }
    let whole = error.to_string();
    whole.split(" at line ").next().unwrap_or(&whole).to_owned()
}

fn read_object_value(raw: &str) -> Result<Loaded<'static>, String> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(raw).map_err(|error| plain_reason(&error))?;
    let ours = ["$text", "$base64", "$expires_at"];
    if !ours.iter().any(|name| members.contains_key(*name)) {
        return Ok(Loaded::text(compact(raw)));
    }
    if let Some(other) = members.keys().find(|name| !ours.contains(&name.as_str())) {
        return Err(format!(
            "{} does not stand beside $text, $base64 or $expires_at",
            string(other)
        ));
    }
    let text_of = |name: &str| -> Result<Option<String>, String> {
        let Some(raw) = members.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| format!("{name} is not a string"))
    };
    let bytes = match (text_of("$text")?, text_of("$base64")?) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => BASE64
            .decode(base64)
            .map_err(|error| format!("$base64 is not base64: {error}"))?,
        _ => return Err("an object with $-names has either $text or $base64".to_owned()),
    };
    let expires_at = text_of("$expires_at")?
        .map(|text| read_time(&text))
        .transpose()?;
    Ok(Loaded {
        bytes: Cow::Owned(bytes),
        expires_at,
    })
}

fn read_time(text: &str) -> Result<UnixMs, String> {
    read_moment(text).ok_or_else(|| {
        format!(
            "$expires_at {} is not a time such as \"2026-11-23T01:02:03.456Z\"",
            string(text)
        )
    })
}

/// Returns JSON text without the white space between its tokens.
fn compact(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut in_string = false;
    let mut escaped = false;
    for character in raw.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_string = character == '"';
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (bytes, expires_at) in [
            (&b"plain"[..], None),
            (b"{\"$text\":\"x\"}", None),
            (b"\xff\x00", None),
            (b"\xff\x00", Some(1_795_395_723_456)),
            ("a\"\\\n\r\0\u{2028}😀".as_bytes(), Some(0)),
            // The last moment that can be written.
            (b"late", Some(253_402_207_200_999)),
        ] {
            let mut out = Vec::new();
            write_value(
                &mut out,
                Value::with_expiry(bytes, expires_at).expect("short"),
            );
            let loaded = read_value(std::str::from_utf8(&out).expect("JSON is text"))
                .expect("what was written");
            assert_eq!(
                loaded,
                Loaded {
                    bytes: Cow::Borrowed(bytes),
                    expires_at
                }
            );
        }
    }

    #[test]
    fn a_byte_takes_at_most_two_on_disk_and_what_people_can_read_stays_text() {
        let stored = |bytes: &[u8]| {
            let mut out = Vec::new();
            write_stored_value(&mut out, Value::parse(bytes).expect("short"));
            String::from_utf8(out).expect("JSON is text")
        };
        // Each takes five bytes more: up to the length of the value, and the 12 bytes of the object.
        assert_eq!(stored(b"\0"), r#""\u0000""#);
        assert_eq!(stored(b"\0\0\0"), r#""\u0000\u0000\u0000""#);
        assert_eq!(stored(b"\0\0\0\0"), r#"{"$base64":"AAAAAA=="}"#);
        assert_eq!(stored(b"\"\"\"\\\n\n\t\t"), r#""\"\"\"\\\n\n\t\t""#);
        // A colour on a terminal in a line of words is text.
        assert_eq!(
            stored(b"\x1b[31mred\x1b[0m words"),
            r#""\u001b[31mred\u001b[0m words""#
        );
        for (unit, length) in [
            ("\0", 1 << 20),
            ("\x1f\x7f", 1 << 20),
            ("\x01\n\"", 1 << 20),
            ("\0é😀", 1 << 17),
            ("a\0bcdefg", 1 << 17),
        ] {
            let bytes = unit.repeat(length / unit.len());
            let written = stored(bytes.as_bytes());
            assert!(
                written.len() <= 2 * bytes.len() + 14,
                "{unit:?}: {}",
                written.len()
            );
            let read = read_value(&written).expect("what was written");
            assert_eq!(read.bytes, bytes.as_bytes());
        }
    }
}
