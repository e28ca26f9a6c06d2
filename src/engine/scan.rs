//! Walks over all pairs, or over those with a prefix, and the choice of a random one.
//!
//! In: a prefix, or a cursor. Out: entries. Promises: a pair that is there from the beginning of a walk to its end is seen
//! exactly once; no lock is held between two steps; expired pairs are left out.

use std::sync::Arc;

use super::barrier::Barrier;
use super::data::Data;
use super::map::{Cursor, SHARDS, Table};
use super::read::has_expired;
use crate::model::Key;
use crate::model::entry::Entry;

/// A walk over the pairs whose keys begin with a prefix, shard by shard.
#[derive(Debug)]
pub struct Scan {
    data: Arc<Data>,
    prefix: Vec<u8>,
    shard: usize,
    seen: Barrier,
}

impl Scan {
    pub(super) fn new(data: &Arc<Data>, prefix: Key<'_>) -> Self {
        Self {
            data: Arc::clone(data),
            prefix: prefix.as_bytes().to_vec(),
            shard: 0,
            seen: Barrier::default(),
        }
    }

    /// Returns the latest change that the entries so far show.
    #[must_use]
    pub fn seen(&self) -> Barrier {
        self.seen
    }
}

impl Iterator for Scan {
    type Item = Vec<Entry>;

    /// Returns the matching entries of one more shard, which may be none.
    fn next(&mut self) -> Option<Vec<Entry>> {
        let table = &self.data.table;
        if self.shard == SHARDS {
            return None;
        }
        let (mut entries, last_change) = table.entries(self.shard, &self.prefix);
        self.seen.raise(Barrier::of(last_change));
        self.shard += 1;
        entries.retain(|entry| !has_expired(entry));
        Some(entries)
    }
}

/// Returns one page of a walk: see `Engine::page`.
pub(super) fn page(
    table: &Table,
    from: Cursor,
    least: usize,
    seen: &mut Barrier,
) -> (Vec<Entry>, Option<Cursor>) {
    let (mut page, next, last_change) = table.page(from, least);
    seen.raise(Barrier::of(last_change));
    page.retain(|entry| !has_expired(entry));
    (page, next)
}

/// Returns the entries of keys: see `Engine::read_all`.
pub(super) fn read_all(table: &Table, keys: &[Key<'_>], seen: &mut Barrier) -> Vec<Option<Entry>> {
    let (mut entries, last_change) = table.entries_of_keys(keys);
    seen.raise(Barrier::of(last_change));
    for entry in &mut entries {
        entry.take_if(|entry| has_expired(entry));
    }
    entries
}

/// Returns a random entry: see `Engine::random`.
pub(super) fn random(table: &Table, seen: &mut Barrier) -> Option<Entry> {
    // By a random hash, as a key chooses its shard: shards differ in how many keys they get.
    let first = Table::shard_of(fastrand::u64(..));
    (first..SHARDS).chain(0..first).find_map(|shard| {
        let (found, last_change) = table.random_entry(shard);
        seen.raise(Barrier::of(last_change));
        found
    })
}
