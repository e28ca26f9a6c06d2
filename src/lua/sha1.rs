//! The name of a script.
//!
//! In: its text. Out: the SHA-1 of it, by which Redis and its clients know a script.

use sha1::{Digest as _, Sha1};

/// Returns the SHA-1 of a text, as 40 lower-case hexadecimal digits.
#[must_use]
pub fn sha1_hex(text: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(text);
    let mut hex = String::with_capacity(2 * digest.len());
    for byte in digest {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}
