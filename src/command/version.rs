//! Versions and digests of values, which tell whether two values are equal, also across restarts; and the version of Redis, whose
//! commands are here.

/// Version of Redis that clients are told. Of it are the commands on strings, keys, scripts, channels and clients; client-side caches ask for
/// at least this one.
pub const REDIS_VERSION: &str = "7.4.0";

/// Returns the version of a value: its BLAKE3 hash, as 64 hexadecimal digits.
#[must_use]
pub fn version_of(value: &[u8]) -> String {
    blake3::hash(value).to_hex().as_str().to_owned()
}

/// Number of hexadecimal digits of a digest.
pub const DIGEST_DIGITS: usize = 16;

/// Returns the digest of a value: its XXH3 hash of 64 bits, as [`DIGEST_DIGITS`] hexadecimal digits. Values with the same digest can be
/// made on purpose.
/// Source: <https://redis.io/docs/latest/commands/digest/>.
#[must_use]
pub fn digest_of(value: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(value))
}
