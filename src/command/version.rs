//! Versions of values: equal if and only if the values are, also across restarts.

/// Returns the version of a value: its BLAKE3 hash, as 64 hexadecimal digits.
#[must_use]
pub fn version_of(value: &[u8]) -> String {
    blake3::hash(value).to_hex().as_str().to_owned()
}
