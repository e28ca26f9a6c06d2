//! Pairs as the readers give them, in the place of the server's table.
//!
//! In: batches of changes. Out: the pairs that they leave, in order. Promises: a batch is divided by key, as the server's table
//! does it, so that what is applied in the wrong order shows; an estimate that would ask for more room than any file can need
//! is a panic.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::entry::Entry;
use crate::model::{Key, UnixMs, Value};
use crate::persistence::{Batch, Load, Work};

/// Keys, and their values with the time at which they expire.
pub type Map = BTreeMap<Vec<u8>, (Vec<u8>, Option<UnixMs>)>;

/// Returns the key that has this text, as protocol.md has it.
#[must_use]
pub fn key_of(text: &str) -> Vec<u8> {
    let decoded = text
        .strip_prefix("$base64:")
        .and_then(|base64| STANDARD.decode(base64).ok());
    let is_other =
        |key: &Vec<u8>| std::str::from_utf8(key).is_err() || key.starts_with(b"$base64:");
    decoded.filter(is_other).unwrap_or_else(|| text.into())
}

/// More pairs than any input can hold.
const PAIRS_MAX: u64 = 1 << 20;

/// The pairs that have been read so far.
#[derive(Debug, Default)]
pub struct Pairs(Mutex<Map>);

impl Pairs {
    /// Returns the pairs that were read.
    #[must_use]
    pub fn end(self) -> Map {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load for Pairs {
    fn batch(&self) -> Box<dyn Batch<'_> + '_> {
        Box::new(PairBatch {
            pairs: self,
            clears: false,
            changes: Vec::new(),
        })
    }

    fn expect(&self, pairs: u64) {
        assert!(pairs < PAIRS_MAX, "room for {pairs} pairs");
    }

    fn pairs(&self) -> u64 {
        self.map().len() as u64
    }
}

/// A key, and its value if it is not deleted.
type PairChange = (Vec<u8>, Option<(Vec<u8>, Option<UnixMs>)>);

/// Changes in their order.
struct PairBatch<'a> {
    pairs: &'a Pairs,
    clears: bool,
    changes: Vec<PairChange>,
}

/// The index of the part that has all changes of a key.
fn part_of(key: &[u8], parts: usize) -> usize {
    let hash = usize::try_from(crc32fast::hash(key)).expect("the machine has 64 bits");
    hash % parts
}

impl<'a> Batch<'a> for PairBatch<'a> {
    fn put(&mut self, key: Key<'_>, value: Value<'_>) {
        let value = (value.bytes().to_vec(), value.expires_at());
        self.changes.push((key.as_bytes().to_owned(), Some(value)));
    }

    fn delete(&mut self, key: Key<'_>) {
        self.changes.push((key.as_bytes().to_owned(), None));
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.clears = true;
    }

    fn divide(self: Box<Self>, parts: usize) -> Vec<Work<'a>> {
        let Self {
            pairs,
            clears,
            changes,
        } = *self;
        let mut divided: Vec<Vec<PairChange>> = vec![Vec::new(); parts];
        for change in changes {
            divided[part_of(&change.0, parts)].push(change);
        }
        let works = divided.into_iter().enumerate().map(|(part, changes)| {
            let work: Work<'a> = Box::new(move || {
                let mut map = pairs.map();
                if clears {
                    map.retain(|key, _| part_of(key, parts) != part);
                }
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(map.insert(key, value)),
                        None => drop(map.remove(&key)),
                    }
                }
            });
            work
        });
        works.collect()
    }
}

/// Returns the pairs as a save is given them.
#[must_use]
pub fn entries(map: &Map) -> Vec<Entry> {
    let pairs = map.iter().map(|(key, (bytes, expires_at))| {
        let key = Key::parse(key).expect("it was a key when it was read");
        let value =
            Value::with_expiry(bytes, *expires_at).expect("it was a value when it was read");
        Entry::new(key, value)
    });
    pairs.collect()
}
