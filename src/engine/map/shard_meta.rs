//! The metadata of each shard: its last change, and the index of its entries that expire.
//!
//! In: changes, and entries that come and go. Out: the last change of a shard; entries that have expired, found without a
//! look at those that have not. Promises: a shard with nothing expired is recognised without a lock; counts are exact.
//!
//! Everything of a shard is changed under the lock of that shard.

use std::collections::BTreeSet;
use std::iter::repeat_with;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::sharding::SHARDS;
use crate::model::entry::{Entry, prefetch};
use crate::model::{Key, UnixMs, Value};

/// The most expired entries that are returned at once: they are deleted as one change, under the lock of their shard.
const EXPIRED_ENTRIES_MAX: usize = 256;

/// Number of pairs of a sample: as good as Redis's default of 5 for each victim, as three of a sample are evicted.
pub(super) const SAMPLE_PAIRS: usize = 16;

/// Some pairs.
pub(in crate::engine) type Sample = SmallVec<[Entry; SAMPLE_PAIRS]>;

/// Stands for the next expiry of a shard where nothing expires.
const NEVER: UnixMs = UnixMs::MAX;

/// The entries of one shard that expire, soonest first.
pub(super) type Expiring = BTreeSet<(UnixMs, Entry)>;

/// The index of one shard. What has expired is counted as the time passes, each entry once, so that a count of the keys takes no
/// longer when many have expired.
#[derive(Debug, Default)]
struct ExpiryIndex {
    entries: Expiring,
    /// The number of entries that expire before this time.
    counted: u64,
    counted_before: UnixMs,
}

impl ExpiryIndex {
    fn insert(&mut self, entry: (UnixMs, Entry)) -> bool {
        let is_counted = entry.0 < self.counted_before;
        let is_new = self.entries.insert(entry);
        self.counted += u64::from(is_new && is_counted);
        is_new
    }

    fn remove(&mut self, entry: &(UnixMs, Entry)) -> bool {
        let was_there = self.entries.remove(entry);
        self.counted -= u64::from(was_there && entry.0 < self.counted_before);
        was_there
    }

    /// Puts all these entries in the place of those that are there, and returns those.
    fn replace_all(&mut self, entries: Expiring) -> Expiring {
        let new = Self {
            entries,
            ..Self::default()
        };
        std::mem::replace(self, new).entries
    }

    /// Returns the number of entries that have expired. `first` is an entry with the first of all keys. The clock may be set back.
    fn expired(&mut self, now: UnixMs, first: &Entry) -> u64 {
        let before = now.saturating_add(1);
        let (from, to) = (
            self.counted_before.min(before),
            self.counted_before.max(before),
        );
        if from < to {
            let passed = self
                .entries
                .range((from, first.clone())..(to, first.clone()));
            let passed = passed.count() as u64;
            self.counted = if before == to {
                self.counted + passed
            } else {
                self.counted - passed
            };
            self.counted_before = before;
        }
        self.counted
    }

    fn next(&self) -> UnixMs {
        self.entries.first().map_or(NEVER, |(at, _)| *at)
    }
}

/// The metadata of one shard. It has a cache line of its own, as another core works on the next shard.
#[derive(Debug, Default)]
#[repr(align(64))]
struct ShardMeta {
    /// The number of the shard's last change.
    last_change: AtomicU64,
    expiring: Mutex<ExpiryIndex>,
}

impl ShardMeta {
    fn expiring(&self) -> MutexGuard<'_, ExpiryIndex> {
        self.expiring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metadata of all shards.
#[derive(Debug)]
pub(super) struct ShardMetas {
    shards: Box<[ShardMeta]>,
    /// The next expiry of each shard, or [`NEVER`]; changed under the lock of its `expiring`. It stands apart from the other
    /// metadata so that a look at all of them reads 32 KiB.
    next_expiry: Box<[AtomicU64]>,
    /// The number of entries that expire.
    expiring: AtomicU64,
    /// An entry with the empty key, which is the first of all: a bound of ranges of the indexes.
    first: Entry,
}

impl ShardMetas {
    pub(super) fn new() -> Self {
        Self {
            shards: repeat_with(ShardMeta::default).take(SHARDS).collect(),
            next_expiry: repeat_with(|| AtomicU64::new(NEVER)).take(SHARDS).collect(),
            expiring: AtomicU64::new(0),
            first: first_entry(),
        }
    }

    /// Prefetches the metadata of a shard.
    #[inline(always)]
    pub(super) fn prefetch(&self, shard: usize) {
        prefetch(&raw const self.shards[shard]);
    }

    /// Returns the number of the last change of a shard: a read under its lock has seen that one.
    #[inline(always)]
    pub(super) fn last_change(&self, shard: usize) -> u64 {
        self.shards[shard].last_change.load(Relaxed)
    }

    pub(super) fn set_last_change(&self, shard: usize, change: u64) {
        self.shards[shard].last_change.store(change, Relaxed);
    }

    /// Returns the number of entries that expire, those included that have.
    pub(super) fn expiring(&self) -> u64 {
        self.expiring.load(Relaxed)
    }

    /// Returns the bytes of the index: of each entry in it, a time and a pointer, in nodes that are two thirds full.
    pub(super) fn memory_bytes(&self) -> u64 {
        const ENTRY_BYTES: u64 = 26;
        self.expiring() * ENTRY_BYTES
    }

    /// Puts one entry of a shard in the place of another in the index, where they expire.
    pub(super) fn replace(&self, shard: usize, old: Option<&Entry>, new: Option<&Entry>) {
        let expires =
            |entry: Option<&Entry>| entry.is_some_and(|entry| entry.expires_at().is_some());
        if expires(old) || expires(new) {
            self.replace_expiring(shard, old, new);
        }
    }

    #[cold]
    fn replace_expiring(&self, shard: usize, old: Option<&Entry>, new: Option<&Entry>) {
        let indexed = |entry: Option<&Entry>| Some((entry?.expires_at()?, entry?.clone()));
        let (old, new) = (indexed(old), indexed(new));
        let mut expiring = self.shards[shard].expiring();
        let next_expiry = &self.next_expiry[shard];
        if let Some(old) = old
            && expiring.remove(&old)
        {
            self.expiring.fetch_sub(1, Relaxed);
            // Only the end of the soonest costs another look at the tree.
            if old.0 == next_expiry.load(Relaxed) {
                next_expiry.store(expiring.next(), Relaxed);
            }
        }
        if let Some(new) = new {
            if new.0 < next_expiry.load(Relaxed) {
                next_expiry.store(new.0, Relaxed);
            }
            if expiring.insert(new) {
                self.expiring.fetch_add(1, Relaxed);
            }
        }
    }

    /// Takes all entries of a shard out of the index.
    pub(super) fn take_expiring(&self, shard: usize) -> Expiring {
        let mut expiring = self.shards[shard].expiring();
        self.next_expiry[shard].store(NEVER, Relaxed);
        let taken = expiring.replace_all(Expiring::new());
        self.expiring.fetch_sub(taken.len() as u64, Relaxed);
        taken
    }

    /// Puts back what was taken out of the index of a shard, which must be empty.
    pub(super) fn put_back_expiring(&self, shard: usize, entries: Expiring) {
        let mut expiring = self.shards[shard].expiring();
        self.expiring.fetch_add(entries.len() as u64, Relaxed);
        expiring.replace_all(entries);
        self.next_expiry[shard].store(expiring.next(), Relaxed);
    }

    /// Returns the first shard with expired entries, from a shard on and round to it again.
    pub(super) fn next_shard_with_expired(&self, from: usize, now: UnixMs) -> Option<usize> {
        if self.expiring() == 0 {
            return None;
        }
        let has_expired = |shard: &usize| self.next_expiry[*shard].load(Relaxed) <= now;
        let from = from % SHARDS;
        (from..SHARDS).chain(0..from).find(has_expired)
    }

    /// Returns some expired entries of a shard, at most [`EXPIRED_ENTRIES_MAX`].
    pub(super) fn expired_entries(&self, shard: usize, now: UnixMs) -> Vec<Entry> {
        let expiring = self.shards[shard].expiring();
        let expired = expiring.entries.iter();
        let expired = expired.take_while(|(at, _)| *at <= now);
        expired
            .take(EXPIRED_ENTRIES_MAX)
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// Appends entries of a shard that expire, from a random time on and round to it, at most so many.
    pub(super) fn sample_expiring(&self, shard: usize, most: usize, sample: &mut Sample) {
        if self.next_expiry[shard].load(Relaxed) == NEVER {
            return;
        }
        let expiring = self.shards[shard].expiring();
        let entries = &expiring.entries;
        let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else {
            return;
        };
        let from = (fastrand::u64(*first..=*last), self.first.clone());
        let found = entries.range(from.clone()..).chain(entries.range(..from));
        sample.extend(found.take(most).map(|(_, entry)| entry.clone()));
    }

    /// Returns the shard with the entry that expires soonest of all.
    pub(super) fn soonest_shard(&self) -> Option<usize> {
        let times = self.next_expiry.iter().map(|time| time.load(Relaxed));
        let (shard, time) = times.enumerate().min_by_key(|(_, time)| *time)?;
        (time != NEVER).then_some(shard)
    }

    /// Appends the entries of a shard that expire soonest, at most so many.
    pub(super) fn first_expiring(&self, shard: usize, most: usize, soonest: &mut Sample) {
        let expiring = self.shards[shard].expiring();
        let first = expiring.entries.iter().take(most);
        soonest.extend(first.map(|(_, entry)| entry.clone()));
    }

    /// Returns the number of entries of a shard that have expired and are not deleted yet. It locks the index if there are any.
    pub(super) fn expired_of(&self, shard: usize, now: UnixMs) -> u64 {
        if self.next_expiry[shard].load(Relaxed) > now {
            return 0;
        }
        self.shards[shard].expiring().expired(now, &self.first)
    }

    /// Returns the number of entries with a prefix that have expired and are not deleted yet: soon all are.
    pub(super) fn expired_with(&self, prefix: &[u8], now: UnixMs) -> u64 {
        let expired = (0..SHARDS).filter(|shard| self.next_expiry[*shard].load(Relaxed) <= now);
        let counts = expired.map(|shard| {
            let expiring = self.shards[shard].expiring();
            let expired = expiring.entries.iter().take_while(|(at, _)| *at <= now);
            let found = expired.filter(|(_, entry)| entry.key_bytes().starts_with(prefix));
            found.count() as u64
        });
        counts.sum()
    }

    /// Returns the number of entries that have expired and are not deleted yet.
    pub(super) fn expired(&self, now: UnixMs) -> u64 {
        if self.expiring() == 0 {
            return 0;
        }
        (0..SHARDS).map(|shard| self.expired_of(shard, now)).sum()
    }
}

fn first_entry() -> Entry {
    let key = Key::parse(b"").expect("the empty key is one");
    Entry::new(key, Value::parse(b"").expect("nothing is short enough"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, expires_at: Option<UnixMs>) -> Entry {
        Entry::new(
            Key::parse(key.as_bytes()).expect("a key"),
            Value::with_expiry(b"", expires_at).expect("a value"),
        )
    }

    /// Goal: the next expiry of a shard is that of its soonest entry, whatever comes and goes.
    /// Method: random steps on three shards; after each, what the index says is counted by hand.
    #[test]
    fn the_expired_entries_are_found_whatever_comes_and_goes() {
        let (metas, mut random) = (ShardMetas::new(), fastrand::Rng::with_seed(1));
        let mut entries: [Vec<Option<Entry>>; 3] = std::array::from_fn(|_| vec![None; 8]);
        for step in 0..10_000 {
            let (shard, place) = (random.usize(..3), random.usize(..8));
            if random.u8(..50) == 0 {
                let taken = metas.take_expiring(shard);
                if random.bool() {
                    metas.put_back_expiring(shard, taken);
                } else {
                    entries[shard].fill(None);
                }
            } else {
                let new = [None, Some(None), Some(Some(random.u64(..20)))][random.usize(..3)]
                    .map(|expires_at| entry(&place.to_string(), expires_at));
                let old = std::mem::replace(&mut entries[shard][place], new.clone());
                metas.replace(shard, old.as_ref(), new.as_ref());
            }
            let now = random.u64(..20);
            let expired = |entries: &Vec<Option<Entry>>| {
                let entries = entries.iter().flatten();
                entries.filter(|entry| entry.is_expired(now)).count()
            };
            let counts = entries.each_ref().map(expired);
            let total: usize = counts.iter().sum();
            assert_eq!(metas.expired(now), total as u64, "step {step}");
            let found = metas.next_shard_with_expired(1, now);
            let expected = [1, 2, 0].into_iter().find(|shard| counts[*shard] > 0);
            assert_eq!(found, expected, "step {step}");
            for (shard, count) in counts.into_iter().enumerate() {
                assert_eq!(
                    metas.expired_entries(shard, now).len(),
                    count,
                    "step {step}"
                );
            }
            let expiring = entries.iter().flatten().flatten();
            let expiring = expiring.filter(|entry| entry.expires_at().is_some());
            assert_eq!(metas.expiring(), expiring.count() as u64, "step {step}");
        }
    }
}
