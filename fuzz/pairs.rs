//! Pairs as the readers give them, in the place of the server's table.
//!
//! In: changes by shard. Out: the pairs that they leave, in order. Promises: a change that is given to the wrong shard, or an
//! estimate that would ask for more room than any file can need, is a panic.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::entry::Entry;
use crate::model::{Key, UnixMs, Value};
use crate::persistence::chunks::{Load, Op};

/// Keys, and their values with the time at which they cease to be.
pub type Map = BTreeMap<String, (Vec<u8>, Option<UnixMs>)>;

/// Enough that both threads have some.
const SHARDS: usize = 5;

/// More pairs than any input can hold.
const PAIRS_MAX: u64 = 1 << 20;

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Pairs(Mutex<Map>);

impl Pairs {
    /// What was read.
    #[must_use]
    pub fn end(self) -> Map {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash_of(key: &str) -> u64 {
    u64::from(crc32fast::hash(key.as_bytes()))
}

fn shard_of(hash: u64) -> usize {
    usize::try_from(hash % SHARDS as u64).expect("fewer than the shards")
}

impl Load for Pairs {
    fn shards(&self) -> usize {
        SHARDS
    }

    fn hash(&self, key: Key<'_>) -> u64 {
        hash_of(key.as_str())
    }

    fn shard_of(&self, hash: u64) -> usize {
        shard_of(hash)
    }

    fn expect(&self, pairs: u64) {
        assert!(pairs < PAIRS_MAX, "room for {pairs} pairs");
    }

    fn clear(&self, shard: usize) {
        self.map().retain(|key, _| shard_of(hash_of(key)) != shard);
    }

    fn apply(&self, shard: usize, changes: Vec<Op>) {
        let mut map = self.map();
        for Op {
            hash,
            entry,
            is_delete,
        } in changes
        {
            let key = entry.key().as_str().to_owned();
            assert!(
                hash == hash_of(&key) && shard_of(hash) == shard,
                "{key:?} in {shard}"
            );
            if is_delete {
                map.remove(&key);
            } else {
                map.insert(key, (entry.value_bytes().to_vec(), entry.expires_at()));
            }
        }
    }

    fn pairs(&self) -> u64 {
        self.map().len() as u64
    }
}

/// The pairs as a save is given them.
#[must_use]
pub fn entries(map: &Map) -> Vec<Entry> {
    let pairs = map.iter().map(|(key, (bytes, expires_at))| {
        let key = Key::parse(key.as_bytes()).expect("it was a key when it was read");
        let value =
            Value::parse_until(bytes, *expires_at).expect("it was a value when it was read");
        Entry::new(key, value)
    });
    pairs.collect()
}
