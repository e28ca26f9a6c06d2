//! The reading of whole shards: all their entries, a page of them, or a random one.
//!
//! In: a shard or a cursor. Out: entries, and the last change that they show. Promises: a walk from page to page misses no
//! entry that is there all along; a shard is locked only while the reference counts of its entries go up by one.

use super::sharded_map::Table;
use super::sharding::SHARDS;
use crate::model::entry::{Entry, entries_of};

/// A place in the order of a walk: the shard in the upper 12 bits, part of the key's hash in the 41 below. It has no more
/// than 53 bits, so that every client can keep it as a number, JavaScript's included.
pub type Cursor = u64;
const HASH_BITS: u32 = 41;

impl Table {
    /// Returns the entries of one shard whose keys begin with a prefix, as they stand at one moment, and the number of the
    /// shard's last change.
    #[must_use]
    pub fn entries(&self, shard: usize, prefix: &[u8]) -> (Vec<Entry>, u64) {
        let (shard, last_change) = self.read_shard(shard);
        let mut entries = Vec::with_capacity(if prefix.is_empty() { shard.len() } else { 0 });
        // Each waits for memory; prefetched together they wait once.
        entries_of(&shard).for_each(Entry::prefetch);
        let found = entries_of(&shard).filter(|entry| entry.key_bytes().starts_with(prefix));
        entries.extend(found.cloned());
        (entries, last_change)
    }

    /// Returns at least `least` entries from a cursor on, if there are so many, the cursor of the next one (`None` after the
    /// last), and the number of the last change in the shards that were read.
    #[must_use]
    pub fn page(&self, from: Cursor, least: usize) -> (Vec<Entry>, Option<Cursor>, u64) {
        let (mut page, mut from, mut seen) = (Vec::new(), from, 0);
        while let Some(shard) = usize::try_from(from >> HASH_BITS)
            .ok()
            .filter(|shard| *shard < SHARDS)
        {
            let (entries, last_change) = self.entries(shard, b"");
            seen = seen.max(last_change);
            let mut entries: Vec<_> = entries
                .into_iter()
                .map(|entry| (self.cursor_of(&entry), entry))
                .filter(|(cursor, _)| *cursor >= from)
                .collect();
            entries.sort_unstable_by_key(|(cursor, _)| *cursor);
            for (cursor, entry) in entries {
                if page.len() >= least && cursor >= from {
                    return (page, Some(cursor), seen);
                }
                // Entries of one cursor, which are very rare, stay on one page: a cursor cannot stand between them.
                from = cursor + 1;
                page.push(entry);
            }
            from = (shard as u64 + 1) << HASH_BITS;
            if page.len() >= least {
                break;
            }
        }
        let is_end = from >> HASH_BITS >= SHARDS as u64;
        (page, (!is_end).then_some(from), seen)
    }

    fn cursor_of(&self, entry: &Entry) -> Cursor {
        let hash = self.hash(entry.key_bytes());
        let low_bits = hash & ((1 << HASH_BITS) - 1);
        (Self::shard_of(hash) as u64) << HASH_BITS | low_bits
    }

    /// Returns a random one of the accepted entries of a shard, if there is any, and the number of the shard's last change.
    #[must_use]
    pub fn random_entry(
        &self,
        shard: usize,
        accept: impl Fn(&Entry) -> bool,
    ) -> (Option<Entry>, u64) {
        let (shard, last_change) = self.read_shard(shard);
        if shard.is_empty() {
            return (None, last_change);
        }
        let skipped = fastrand::usize(..shard.len());
        let mut entries = entries_of(&shard)
            .skip(skipped)
            .chain(entries_of(&shard).take(skipped));
        (entries.find(|entry| accept(entry)).cloned(), last_change)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::locked_shards::LockedShards;
    use super::*;
    use crate::model::{Key, Value};

    fn table_of(keys: usize) -> Table {
        let table = Table::new();
        for number in 0..keys {
            let key = format!("key:{number}");
            let key = Key::parse(key.as_bytes()).expect("a key");
            let value = Value::parse(b"value").expect("a value");
            LockedShards::lock(&table, &[key]).insert(Entry::new(key, value));
        }
        table
    }

    #[test]
    fn a_scan_sees_each_key_once_and_the_counts_agree() {
        let table = table_of(10_000);
        let mut keys: Vec<String> = (0..SHARDS)
            .flat_map(|shard| table.entries(shard, b"key:").0)
            .map(|entry| entry.key().as_str().to_owned())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((keys.len(), table.keys()), (10_000, 10_000));
        // "key:" and "value" are 9 bytes; the numbers have 38,890 digits.
        assert_eq!(table.data_bytes(), 90_000 + 38_890);
        let key = Key::parse(b"key:7").expect("a key");
        let empty = Entry::new(key, Value::parse(b"").expect("a value"));
        let replaced = LockedShards::lock(&table, &[key]).insert(empty.clone());
        assert_eq!(replaced, Some(empty));
        assert_eq!(table.data_bytes(), 90_000 + 38_890 - 5);
    }

    #[test]
    fn every_accepted_entry_of_a_shard_can_be_the_random_one_and_no_other() {
        let table = table_of(20_000);
        let shard = SHARDS - 1;
        let accept = |entry: &Entry| entry.key_bytes().ends_with(b"1");
        let entries = table.entries(shard, b"").0;
        let accepted: HashSet<_> = entries.into_iter().filter(accept).collect();
        let chosen: HashSet<_> = (0..1000)
            .filter_map(|_| table.random_entry(shard, accept).0)
            .collect();
        assert_eq!(chosen, accepted);
        assert_eq!(table.random_entry(shard, |_| false).0, None);
    }
}
