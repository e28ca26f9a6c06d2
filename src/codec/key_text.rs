//! The text of a key, where only text can stand: in JSON on disk, over HTTP and in exported files.
//!
//! In: the bytes of a key, or its text. Out: the other. A key that is text stands as it is; other bytes stand as base64 (RFC 4648, section 4,
//! padded) behind `$base64:`. Promises: two keys never have the same text; only text that is exactly what [`key_text`] returns for other
//! bytes is not taken literally, so that `$base64:` and what is no base64 of such bytes is a key like any other.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::model::is_text;

/// What the text of a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Itself: it was written by a version whose keys were all text.
    Literal,
    /// What [`key_bytes`] returns.
    Encoded,
}

impl KeyForm {
    /// Returns the bytes of the key that has this text.
    #[must_use]
    pub fn bytes(self, text: Cow<'_, str>) -> Cow<'_, [u8]> {
        match (self, text) {
            (Self::Encoded, text) => key_bytes(text),
            (Self::Literal, Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            (Self::Literal, Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        }
    }
}

/// What the text of a key begins with that is not text.
const PREFIX: &str = "$base64:";

/// Returns the text of a key.
#[must_use]
pub fn key_text(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) if encoded_in(text).is_none() => Cow::Borrowed(text),
        // Text that would be taken for the base64 of another key is encoded, too.
        _ => Cow::Owned(format!("{PREFIX}{}", BASE64.encode(key))),
    }
}

/// Returns true if text may stand for another key than itself.
#[must_use]
pub fn may_be_encoded(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Returns the bytes of the key that has this text.
#[must_use]
pub fn key_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match encoded_in(&text) {
        Some(key) => Cow::Owned(key),
        None => KeyForm::Literal.bytes(text),
    }
}

/// Returns the bytes that base64 stands for, if they are a key that is not text.
#[must_use]
pub fn base64_key(base64: &[u8]) -> Option<Vec<u8>> {
    let key = BASE64.decode(base64).ok()?;
    (!is_text(&key)).then_some(key)
}

/// Returns the key that this text encodes, if it does not stand for itself.
fn encoded_in(text: &str) -> Option<Vec<u8>> {
    let key = BASE64.decode(text.strip_prefix(PREFIX)?).ok()?;
    (!is_text(&key) || key.starts_with(PREFIX.as_bytes())).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_text_of_its_own() {
        for (key, text) in [
            (&b"name"[..], "name"),
            (b"", ""),
            ("é".as_bytes(), "é"),
            (b"\xff", "$base64:/w=="),
            (b"a\xc3", "$base64:YcM="),
            // No base64, base64 of text, and without its padding.
            (b"$base64:", "$base64:"),
            (b"$base64:names", "$base64:names"),
            (b"$base64:bmFtZQ==", "$base64:bmFtZQ=="),
            (b"$base64:/w", "$base64:/w"),
            // What would be read as another key.
            (b"$base64:/w==", "$base64:JGJhc2U2NDovdz09"),
            (
                b"$base64:JGJhc2U2NDovdz09",
                "$base64:JGJhc2U2NDpKR0poYzJVMk5Eb3ZkejA5",
            ),
        ] {
            assert_eq!(key_text(key), text, "{key:?}");
            assert_eq!(&*key_bytes(Cow::Borrowed(text)), key, "{text}");
            assert_eq!(&*key_bytes(Cow::Owned(text.to_owned())), key, "{text}");
        }
    }

    #[test]
    fn base64_on_a_line_is_a_key_only_if_that_is_not_text() {
        assert_eq!(base64_key(b"/w=="), Some(vec![0xff]));
        assert_eq!(base64_key(b"bmFtZQ=="), None);
        assert_eq!(base64_key(b"/w"), None);
        assert_eq!(base64_key(b""), None);
    }
}
