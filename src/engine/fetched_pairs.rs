//! Copies of pairs that another engine holds, for a transaction that decides what is to become of them.
//!
//! In: keys, each with its pair or nothing. Out: the pairs that have changed, with what they were. Promise: nothing is recorded; whoever
//! has fetched the pairs makes the changes where they are.

use std::collections::BTreeMap;

use crate::model::Key;
use crate::model::entry::Entry;

/// A pair as it was fetched, and as it is to be.
#[derive(Debug)]
struct FetchedPair {
    before: Option<Entry>,
    now: Option<Entry>,
}

/// Copies of pairs, by key.
#[derive(Debug, Default)]
pub struct FetchedPairs(BTreeMap<Box<[u8]>, FetchedPair>);

/// A key, its pair as it was, and what it is to become; `None` where it stays.
pub type FetchedChange<'a> = (&'a [u8], Option<&'a Entry>, Option<Option<&'a Entry>>);

impl FetchedPairs {
    /// Adds a key, with its pair if it exists.
    pub fn add(&mut self, key: &[u8], entry: Option<Entry>) {
        let pair = FetchedPair {
            now: entry.clone(),
            before: entry,
        };
        self.0.insert(key.into(), pair);
    }

    /// Returns all pairs, and what is to become of them.
    pub fn changes(&self) -> impl Iterator<Item = FetchedChange<'_>> {
        self.0.iter().map(|(key, pair)| {
            let is_same = match (&pair.before, &pair.now) {
                (Some(before), Some(now)) => before.is_same(now),
                (None, None) => true,
                _ => false,
            };
            let after = (!is_same).then_some(pair.now.as_ref());
            (&**key, pair.before.as_ref(), after)
        })
    }

    /// Returns true if a key was added.
    #[must_use]
    pub fn has(&self, key: Key<'_>) -> bool {
        self.0.contains_key(key.as_bytes())
    }

    pub(super) fn get(&self, key: Key<'_>) -> Option<Entry> {
        self.0.get(key.as_bytes())?.now.clone()
    }

    pub(super) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        self.pair_of(entry.key()).now.replace(entry)
    }

    pub(super) fn remove(&mut self, key: Key<'_>) -> Option<Entry> {
        self.pair_of(key).now.take()
    }

    fn pair_of(&mut self, key: Key<'_>) -> &mut FetchedPair {
        let pair = self.0.get_mut(key.as_bytes());
        pair.expect("a command changes the keys that it names")
    }
}
