//! The reading of shards: all their entries, a page of them, those of many keys, or a random one.
//!
//! In: a shard or a cursor. Out: entries, and the last change that they show. Promises: a walk from page to page misses no
//! entry that is there all along, and takes time in proportion to the number of entries, however short its pages are; a shard is
//! locked only while the reference counts of its entries go up by one.
//!
//! The order of a walk is that of the hashes with their bits reversed. A hash table of 2^n places keeps an entry where the lower n
//! bits of its hash say; so the entries of one such place follow each other in the walk, and still do when the table has doubled
//! between two pages. A short page of a full shard reads these places one by one; any other page reads the whole shard and sorts.

use super::sharded_map::{Table, find};
use super::sharding::SHARDS;
use crate::model::entry::{Entry, Shard, entries_at, entries_of};
use crate::model::{Key, UnixMs, now_ms};

/// A place in the order of a walk: the shard in the upper 12 bits, part of the key's hash, reversed, in the 41 below. It has no
/// more than 53 bits, so that every client can keep it as a number, JavaScript's included.
pub type Cursor = u64;
const HASH_BITS: u32 = 41;

/// A shard with more entries than this for each one that is wanted is read place by place.
const ENTRIES_SORTED_PER_WANTED: usize = 16;
/// In a shard with more places than this for each entry, most are empty, and it is read whole.
const PLACES_PER_ENTRY_MAX: usize = 8;

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

    /// Returns the entries of keys as they stand at one moment, and the number of the last change in their shards. Others read
    /// meanwhile.
    #[must_use]
    pub fn entries_of_keys(&self, keys: &[Key<'_>]) -> (Vec<Option<Entry>>, u64) {
        let hashes: Vec<u64> = keys.iter().map(|key| self.hash(key.as_bytes())).collect();
        let mut indexes: Vec<usize> = hashes.iter().map(|hash| Self::shard_of(*hash)).collect();
        // In the order of everybody who locks several.
        indexes.sort_unstable();
        indexes.dedup();
        let shards: Vec<_> = indexes
            .iter()
            .map(|index| self.read_shard(*index))
            .collect();
        let last_change = shards.iter().map(|(_, change)| *change).max().unwrap_or(0);
        let entries = keys.iter().zip(&hashes).map(|(key, hash)| {
            let at = indexes.binary_search(&Self::shard_of(*hash));
            let (shard, _) = &shards[at.expect("the shards of all keys are locked")];
            find(shard, *hash, key.as_bytes()).cloned()
        });
        (entries.collect(), last_change)
    }

    /// Returns at least `least` entries from a cursor on, if there are so many, the cursor of the next one (`None` after the
    /// last), and the number of the last change in the shards that were read.
    #[must_use]
    pub fn page(&self, from: Cursor, least: usize) -> (Vec<Entry>, Option<Cursor>, u64) {
        let mut seen = 0;
        let (page, next) = Self::page_of(from, least, |index, from, wanted| {
            let (shard, last_change) = self.read_shard(index);
            seen = seen.max(last_change);
            if has_more_than(&shard, wanted) {
                return self.next_entries(&shard, from, wanted);
            }
            drop(shard);
            self.sorted(self.entries(index, b"").0.into_iter(), from)
        });
        (page, next, seen)
    }

    /// Returns a page as [`Self::page`] does, of entries of each shard from a cursor on, of which so many are wanted: in the order of the
    /// walk, and more than that if there are more.
    pub(super) fn page_of(
        from: Cursor,
        least: usize,
        mut entries_from: impl FnMut(usize, Cursor, usize) -> Vec<(Cursor, Entry)>,
    ) -> (Vec<Entry>, Option<Cursor>) {
        let (mut page, mut from) = (Vec::new(), from);
        while let Some(index) = usize::try_from(from >> HASH_BITS)
            .ok()
            .filter(|shard| *shard < SHARDS)
        {
            let wanted = least - page.len();
            for (cursor, entry) in entries_from(index, from, wanted) {
                if page.len() >= least && cursor >= from {
                    return (page, Some(cursor));
                }
                // Entries of one cursor, which are very rare, stay on one page: a cursor cannot stand between them.
                from = cursor + 1;
                page.push(entry);
            }
            from = (index as u64 + 1) << HASH_BITS;
            if page.len() >= least {
                break;
            }
        }
        let is_end = from >> HASH_BITS >= SHARDS as u64;
        (page, (!is_end).then_some(from))
    }

    /// Returns those of a page in a locked shard: see [`Self::page_of`].
    pub(super) fn entries_from(
        &self,
        shard: &Shard,
        from: Cursor,
        wanted: usize,
    ) -> Vec<(Cursor, Entry)> {
        if has_more_than(shard, wanted) {
            return self.next_entries(shard, from, wanted);
        }
        self.sorted(entries_of(shard).cloned(), from)
    }

    /// Returns all entries of a shard from a cursor on, in the order of the walk.
    fn sorted(&self, entries: impl Iterator<Item = Entry>, from: Cursor) -> Vec<(Cursor, Entry)> {
        let mut entries: Vec<_> = entries
            .map(|entry| (self.cursor_of(&entry), entry))
            .filter(|(cursor, _)| *cursor >= from)
            .collect();
        entries.sort_unstable_by_key(|(cursor, _)| *cursor);
        entries
    }

    /// Returns more entries of a shard than are wanted from a cursor on, or all of them, in the order of the walk.
    fn next_entries(&self, shard: &Shard, from: Cursor, wanted: usize) -> Vec<(Cursor, Entry)> {
        let mut found: Vec<(Cursor, Entry)> = Vec::with_capacity(wanted + 1);
        let place_bits = shard.buckets().trailing_zeros();
        // The places in the order of the walk, of which each has the entries of one value of the upper bits of the reversed hash.
        let first = (from & ((1 << HASH_BITS) - 1)) >> (HASH_BITS - place_bits);
        for reversed in first..1 << place_bits {
            let place = reversed.reverse_bits() >> (u64::BITS - place_bits);
            let start = found.len();
            let entries = entries_at(shard, place)
                .map(|entry| (self.cursor_of(entry), entry))
                .filter(|(cursor, _)| {
                    let upper_bits = cursor >> (HASH_BITS - place_bits);
                    *cursor >= from && upper_bits & ((1 << place_bits) - 1) == reversed
                });
            found.extend(entries.map(|(cursor, entry)| (cursor, entry.clone())));
            found[start..].sort_unstable_by_key(|(cursor, _)| *cursor);
            if found.len() > wanted {
                break;
            }
        }
        found
    }

    /// Returns the cursor at which a walk comes to an entry.
    #[must_use]
    pub fn cursor_of(&self, entry: &Entry) -> Cursor {
        let hash = self.hash(entry.key_bytes());
        let reversed = hash.reverse_bits() >> (u64::BITS - HASH_BITS);
        (Self::shard_of(hash) as u64) << HASH_BITS | reversed
    }

    /// Returns a random entry of a shard that has not expired, if there is any, and the number of the shard's last change. Where all
    /// have expired, it looks at none.
    #[must_use]
    pub fn random_entry(&self, index: usize) -> (Option<Entry>, u64) {
        let (shard, last_change) = self.read_shard(index);
        let now = now_ms();
        if shard.len() as u64 == self.metas.expired_of(index, now) {
            return (None, last_change);
        }
        (random_of(&shard, now), last_change)
    }
}

/// Returns true if a shard is read place by place, as it has many more entries than are wanted, and few empty places.
fn has_more_than(shard: &Shard, wanted: usize) -> bool {
    let is_full = shard.buckets() <= PLACES_PER_ENTRY_MAX * shard.len();
    is_full && shard.len() > wanted * ENTRIES_SORTED_PER_WANTED
}

/// Returns a random entry of a locked shard that has not expired, if there is any.
pub(super) fn random_of(shard: &Shard, now: UnixMs) -> Option<Entry> {
    if shard.is_empty() {
        return None;
    }
    let skipped = fastrand::usize(..shard.len());
    let mut entries = entries_of(shard)
        .skip(skipped)
        .chain(entries_of(shard).take(skipped));
    entries.find(|entry| !entry.is_expired(now)).cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::super::locked_shards::LockedShards;
    use super::*;
    use crate::model::Value;

    fn table_of(keys: usize) -> Table {
        let table = Table::new(Arc::default(), None);
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
        let mut keys: Vec<Vec<u8>> = (0..SHARDS)
            .flat_map(|shard| table.entries(shard, b"key:").0)
            .map(|entry| entry.key_bytes().to_owned())
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
    fn every_entry_of_a_shard_that_has_not_expired_can_be_the_random_one_and_no_other() {
        let table = Table::new(Arc::default(), None);
        for number in 0..20_000 {
            let key = format!("key:{number}");
            let key = Key::parse(key.as_bytes()).expect("a key");
            let expires_at = (number % 2 == 0).then_some(1);
            let value = Value::with_expiry(b"value", expires_at).expect("a value");
            LockedShards::lock(&table, &[key]).insert(Entry::new(key, value));
        }
        let shard = SHARDS - 1;
        let entries = table.entries(shard, b"").0.into_iter();
        let living: HashSet<_> = entries
            .filter(|entry| entry.expires_at().is_none())
            .collect();
        let chosen: HashSet<_> = (0..1000)
            .filter_map(|_| table.random_entry(shard).0)
            .collect();
        assert_eq!(chosen, living);
        for entry in living {
            LockedShards::lock(&table, &[entry.key()]).remove(entry.key());
        }
        assert_eq!(table.random_entry(shard).0, None);
    }

    #[test]
    fn a_walk_of_pages_of_any_length_shows_each_entry_once() {
        let table = table_of(200_000);
        let walk = |least: usize| {
            let (mut keys, mut from, mut pages) = (Vec::new(), 0, 0);
            loop {
                let (page, next, _) = table.page(from, least);
                keys.extend(page.iter().map(|entry| entry.key_bytes().to_owned()));
                pages += 1;
                match next {
                    Some(next) => from = next,
                    None => return (keys, pages),
                }
            }
        };
        for least in [1, 2, 7, 50, 1_000, 30_000] {
            let (mut keys, pages) = walk(least);
            assert!(pages <= 200_000 / least + 1, "{pages} pages of {least}");
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), 200_000, "pages of {least}");
        }
    }

    #[test]
    fn a_walk_misses_no_entry_when_the_shards_grow_between_two_pages() {
        let table = table_of(20_000);
        let (mut keys, mut from, mut added) = (HashSet::new(), 0, 0);
        loop {
            let (page, next, _) = table.page(from, 3);
            keys.extend(page.iter().map(|entry| entry.key_bytes().to_owned()));
            for _ in 0..10 {
                let key = format!("more:{added}");
                let key = Key::parse(key.as_bytes()).expect("a key");
                let value = Value::parse(b"value").expect("a value");
                LockedShards::lock(&table, &[key]).insert(Entry::new(key, value));
                added += 1;
            }
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        let there = (0..20_000).filter(|number| keys.contains(format!("key:{number}").as_bytes()));
        assert_eq!(there.count(), 20_000);
    }
}
