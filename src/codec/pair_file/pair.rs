//! A pair as a file holds it, with its limits checked.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

use crate::codec::json;
use crate::model::{Key, UnixMs, Value};

/// A pair of a file.
#[derive(Debug, Clone, Copy)]
pub struct FilePair<'a> {
    /// The key.
    pub key: Key<'a>,
    /// The value, and its expiry.
    pub value: Value<'a>,
    /// The line on which the pair begins, counted from 1.
    pub line: u64,
}

impl<'a> FilePair<'a> {
    /// Checks a pair against the limits.
    ///
    /// # Errors
    /// The limit that it exceeds, for people.
    pub fn new(
        key: &'a [u8],
        bytes: &'a [u8],
        expires_at: Option<UnixMs>,
        line: u64,
    ) -> Result<Self, String> {
        let pair = || {
            Ok(Self {
                key: Key::parse(key)?,
                value: Value::with_expiry(bytes, expires_at)?,
                line,
            })
        };
        pair().map_err(|error: crate::model::PairError| error.to_string())
    }
}

/// Returns a key as it stands in a message: its beginning, if it is long.
pub fn shown(key: &str) -> String {
    const CHARS_MAX: usize = 80;
    match key.char_indices().nth(CHARS_MAX) {
        None => json::string(key),
        Some((end, _)) => format!("{} (and more)", json::string(&key[..end])),
    }
}

/// Reads an expiry in a member or a column of its own.
///
/// # Errors
/// What it should be.
pub fn expiry(text: &str) -> Result<UnixMs, String> {
    json::read_moment(text).ok_or_else(|| {
        let text = shown(text);
        format!("expires_at {text} is not a time such as \"2026-11-23T01:02:03.456Z\"")
    })
}

/// Decodes base64 (RFC 4648, section 4).
///
/// # Errors
/// What is wrong with it.
pub fn from_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let decoded = BASE64.decode(text);
    decoded.map_err(|error| format!("the value is not base64: {error}"))
}
