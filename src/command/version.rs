//! Versions: of values, equal if and only if the values are, also across restarts; and of Redis, whose commands are here.

/// Version of Redis that clients are told. Of it are the commands on strings, keys, scripts, channels and clients; client-side caches ask for
/// at least this one.
pub const REDIS_VERSION: &str = "7.4.0";

/// Returns the version of a value: its BLAKE3 hash, as 64 hexadecimal digits.
#[must_use]
pub fn version_of(value: &[u8]) -> String {
    blake3::hash(value).to_hex().as_str().to_owned()
}
