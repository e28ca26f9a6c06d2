//! The script that the benchmarks execute: the one that releases a lock.
//!
//! In: a key. Out: a request of Redis that executes it.

use std::fmt::Write as _;

const TEXT: &str = "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// Appends the request to release the lock of a key, for somebody who does not hold it.
pub fn add_request(text: &mut String, key: &str) {
    let (length, bytes) = (TEXT.len(), key.len());
    write!(
        text,
        "*5\r\n$4\r\nEVAL\r\n${length}\r\n{TEXT}\r\n$1\r\n1\r\n${bytes}\r\n{key}\r\n$3\r\ntok\r\n"
    )
    .expect("a text grows");
}
