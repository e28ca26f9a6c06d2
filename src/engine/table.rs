//! The sharded map: a `DashMap` whose keys are whole entries, reached by its shards.
//!
//! In: keys and entries. Out: entries, shared by counting. Promises: a shard is locked for one look-up or change, or for
//! the time it takes to count the holders of its entries up by one; never while anybody writes to a socket or a file.
//!
//! The shards are used directly (`raw-api`) for three things that the map's own methods cannot do: several keys under their
//! locks at once, every key under all locks at once, and a scan that holds no lock between shards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
use smallvec::SmallVec;

use super::absence::Absences;
use crate::persistence::chunks::Op;
use crate::record::{Entry, Key, UnixMs};

/// How many shards: the unit of a scan, whose buffer holds the entries of one (eight bytes each), and of waiting.
const SHARDS: usize = 4096;

type Shard = hashbrown::raw::RawTable<(Entry, SharedValue<()>)>;

/// The entries of one shard that expire, soonest first.
type Expiring = BTreeSet<(UnixMs, Entry)>;

/// A place in the order of a walk: the shard in the upper 12 bits, more of the key's hash in the 41 below. So that it is a
/// number which every client can keep, JavaScript's included, it has no more than 53.
pub type Position = u64;
const POSITIONS_PER_SHARD: u32 = 41;

/// The most keys that are fetched ahead: more would drive each other out of the nearest cache.
const KEYS_AHEAD_MAX: usize = 128;
const CACHE_LINE_BYTES: usize = 64;

/// How many expired entries are deleted as one change, under the lock of their shard.
const EXPIRED_AT_A_TIME: usize = 256;

/// The map from key to entry.
#[derive(Debug)]
pub struct Table {
    map: DashMap<Entry, (), ahash::RandomState>,
    /// For each shard the number of its last change, written under its lock: whoever has read there has seen that one.
    changed: Box<[AtomicU64]>,
    /// For each shard those of its entries that expire; changed under its lock.
    expiring: Box<[Mutex<Expiring>]>,
    keys: AtomicU64,
    keys_expiring: AtomicU64,
    data_bytes: AtomicU64,
    /// The keys that somebody has looked for in vain, and depends on.
    pub(super) absences: Absences,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        let map = DashMap::with_capacity_and_hasher_and_shard_amount(
            0,
            ahash::RandomState::new(),
            SHARDS,
        );
        Self {
            map,
            changed: std::iter::repeat_with(AtomicU64::default)
                .take(SHARDS)
                .collect(),
            expiring: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            keys: AtomicU64::new(0),
            keys_expiring: AtomicU64::new(0),
            data_bytes: AtomicU64::new(0),
            absences: Absences::default(),
        }
    }

    /// How many keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys.load(Relaxed)
    }

    /// How many of the keys expire.
    #[must_use]
    pub fn keys_expiring(&self) -> u64 {
        self.keys_expiring.load(Relaxed)
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes.load(Relaxed)
    }

    /// The hash of a key.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.map.hasher().hash_one(key)
    }

    /// The shard of the key with this hash.
    #[must_use]
    pub fn shard_of(&self, hash: u64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of the hash serve to choose a shard"
        )]
        self.map.determine_shard(hash as usize)
    }

    /// Shows the entry of a key, if there is one, under the lock of its shard; and the number of the last change there.
    pub fn read<R>(&self, key: Key<'_>, show: impl FnOnce(&Entry) -> R) -> (Option<R>, u64) {
        let hash = self.hash(key.as_bytes());
        let place = self.shard_of(hash);
        let shard = self.map.shards()[place].read();
        let changed = self.changed[place].load(Relaxed);
        let shown = shard
            .get(hash, |(entry, _)| entry.key_bytes() == key.as_bytes())
            .map(|(entry, _)| show(entry));
        (shown, changed)
    }

    /// Has the entries of these keys fetched from memory, all at once: to look one key up takes three or four reads, each of
    /// which waits for the one before; those of different keys need not wait for each other.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let mut hashes = SmallVec::<[u64; KEYS_AHEAD_MAX]>::new();
        for key in keys.take(KEYS_AHEAD_MAX) {
            let hash = self.hash(key);
            prefetch(&raw const self.map.shards()[self.shard_of(hash)]);
            hashes.push(hash);
        }
        if hashes.len() < 2 {
            return;
        }
        let shards = self.map.shards();
        for hash in &hashes {
            // A shard that is being changed is fetched already.
            if let Some(shard) = shards[self.shard_of(*hash)].try_read() {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the table, too, takes the lower bits"
                )]
                let bucket = *hash as usize & (shard.buckets() - 1);
                let end = shard.data_end().as_ptr();
                prefetch(end.cast::<u8>().wrapping_add(bucket));
                prefetch(end.wrapping_sub(bucket + 1));
            }
        }
        for hash in &hashes {
            if let Some(shard) = shards[self.shard_of(*hash)].try_read() {
                shard.find(*hash, |(entry, _)| {
                    let start = entry.as_ptr().cast::<u8>();
                    prefetch(start);
                    prefetch(start.wrapping_add(CACHE_LINE_BYTES));
                    false
                });
            }
        }
    }

    /// Locks the shards of these keys against all others.
    pub fn lock(&self, keys: &[Key<'_>]) -> Locked<'_> {
        let mut places: SmallVec<[usize; 1]> = keys
            .iter()
            .map(|key| self.shard_of(self.hash(key.as_bytes())))
            .collect();
        // One order for everybody: two requests that name the same keys cannot wait for each other.
        places.sort_unstable();
        places.dedup();
        let shards = places
            .into_iter()
            .map(|place| (place, self.map.shards()[place].write()))
            .collect();
        Locked {
            table: self,
            shards,
            keys: 0,
            data_bytes: 0,
        }
    }

    /// Locks every shard.
    pub fn lock_all(&self) -> Locked<'_> {
        let shards = self
            .map
            .shards()
            .iter()
            .enumerate()
            .map(|(place, shard)| (place, shard.write()))
            .collect();
        Locked {
            table: self,
            shards,
            keys: 0,
            data_bytes: 0,
        }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.map.shards().len()
    }

    /// The entries of one shard whose keys begin with a prefix, as they stand at one moment; and the number of the last
    /// change there.
    #[must_use]
    pub fn entries(&self, shard: usize, prefix: &[u8]) -> (Vec<Entry>, u64) {
        let changed = &self.changed[shard];
        let shard = self.map.shards()[shard].read();
        let changed = changed.load(Relaxed);
        let mut entries = Vec::with_capacity(if prefix.is_empty() { shard.len() } else { 0 });
        // SAFETY: the iterator must not outlive the table, nor see it change. The read guard is held to the end of this
        // function, past the last use of the iterator, and keeps every writer out.
        #[allow(unsafe_code)]
        let buckets = unsafe { shard.iter() };
        for bucket in buckets {
            // SAFETY: the iterator yields full buckets of the table that the read guard keeps as it is.
            #[allow(unsafe_code)]
            let (entry, _) = unsafe { bucket.as_ref() };
            if entry.key_bytes().starts_with(prefix) {
                entries.push(entry.clone());
            }
        }
        (entries, changed)
    }

    /// At least `least` entries from a position on, if there are so many, and the position where the next ones begin; none
    /// after the last. Of the entries that are there all along, a walk from page to page misses none.
    #[must_use]
    pub fn page(&self, from: Position, least: usize) -> (Vec<Entry>, Option<Position>, u64) {
        let (mut page, mut from, mut seen) = (Vec::new(), from, 0);
        while let Some(shard) = usize::try_from(from >> POSITIONS_PER_SHARD)
            .ok()
            .filter(|shard| *shard < SHARDS)
        {
            let (entries, changed) = self.entries(shard, b"");
            seen = seen.max(changed);
            let mut entries: Vec<_> = entries
                .into_iter()
                .map(|entry| (self.position_of(&entry), entry))
                .filter(|(position, _)| *position >= from)
                .collect();
            entries.sort_unstable_by_key(|(position, _)| *position);
            for (position, entry) in entries {
                if page.len() >= least && position >= from {
                    return (page, Some(position), seen);
                }
                // Two of one position, which are hardly ever there, go together.
                from = position + 1;
                page.push(entry);
            }
            from = (shard as u64 + 1) << POSITIONS_PER_SHARD;
            if page.len() >= least {
                break;
            }
        }
        let is_end = from >> POSITIONS_PER_SHARD >= SHARDS as u64;
        (page, (!is_end).then_some(from), seen)
    }

    fn position_of(&self, entry: &Entry) -> Position {
        // The map chooses a shard by the bits after the highest seven.
        self.hash(entry.key_bytes()).rotate_left(7) >> (64 - 12 - POSITIONS_PER_SHARD)
    }

    /// Some entries of one shard that have expired.
    #[must_use]
    pub fn expired(&self, shard: usize, now: UnixMs) -> Vec<Entry> {
        let expiring = lock(&self.expiring[shard]);
        let due = expiring.iter().take_while(|(at, _)| *at <= now);
        due.take(EXPIRED_AT_A_TIME)
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// How many entries have expired and are still there.
    #[must_use]
    pub fn expired_keys(&self, now: UnixMs) -> u64 {
        if self.keys_expiring() == 0 {
            return 0;
        }
        let count = |expiring: &Mutex<Expiring>| {
            let expiring = lock(expiring);
            expiring.iter().take_while(|(at, _)| *at <= now).count() as u64
        };
        self.expiring.iter().map(count).sum()
    }

    /// Notes that one entry has come in the place of another, under the lock of their shard.
    fn note_expiry(&self, shard: usize, old: Option<&Entry>, new: Option<&Entry>) {
        let time = |entry: Option<&Entry>| Some((entry?.expires_at()?, entry?.clone()));
        let (old, new) = (time(old), time(new));
        if old.is_none() && new.is_none() {
            return;
        }
        let mut expiring = lock(&self.expiring[shard]);
        if old.is_some_and(|old| expiring.remove(&old)) {
            self.keys_expiring.fetch_sub(1, Relaxed);
        }
        if new.is_some_and(|new| expiring.insert(new)) {
            self.keys_expiring.fetch_add(1, Relaxed);
        }
    }

    fn forget_expiries(&self, shard: usize) -> Expiring {
        let expiring = std::mem::take(&mut *lock(&self.expiring[shard]));
        self.keys_expiring.fetch_sub(expiring.len() as u64, Relaxed);
        expiring
    }

    /// Applies changes of one shard, under its lock, and counts them at once.
    pub fn apply(&self, place: usize, changes: Vec<Op>) {
        let (mut keys, mut data_bytes) = (0_i64, 0_i64);
        let mut shard = self.map.shards()[place].write();
        // Each look-up waits for memory; those of this pass do not depend on each other, and wait all together.
        for op in &changes {
            std::hint::black_box(shard.find(op.hash, |_| false).is_some());
        }
        for Op {
            hash,
            entry,
            is_delete,
        } in changes
        {
            let old = if is_delete {
                shard
                    .remove_entry(hash, |(old, _)| *old == entry)
                    .map(|(old, _)| old)
            } else {
                data_bytes += len(&entry);
                keys += 1;
                let new = entry.expires_at().map(|_| entry.clone());
                let old = match shard.get_mut(hash, |(old, _)| *old == entry) {
                    Some((old, _)) => Some(std::mem::replace(old, entry)),
                    None => {
                        shard.insert(hash, (entry, SharedValue::new(())), |(entry, _)| {
                            self.hash(entry.key_bytes())
                        });
                        None
                    }
                };
                self.note_expiry(place, old.as_ref(), new.as_ref());
                old
            };
            if let Some(old) = old {
                if is_delete {
                    self.note_expiry(place, Some(&old), None);
                }
                data_bytes -= len(&old);
                keys -= 1;
            }
        }
        // Two's complement: what is added may be negative.
        self.keys.fetch_add(keys.cast_unsigned(), Relaxed);
        self.data_bytes
            .fetch_add(data_bytes.cast_unsigned(), Relaxed);
    }

    /// Takes every entry of one shard out.
    pub fn clear_shard(&self, shard: usize) {
        let mut locked = self.map.shards()[shard].write();
        drop(self.forget_expiries(shard));
        let taken = std::mem::take(&mut *locked);
        drop(locked);
        let keys = taken.len() as u64;
        let data_bytes: usize = taken.into_iter().map(|(entry, _)| entry.data_bytes()).sum();
        self.keys.fetch_sub(keys, Relaxed);
        self.data_bytes.fetch_sub(data_bytes as u64, Relaxed);
    }

    /// Makes room for so many keys at once: growing step by step, each shard would look up every key again and again.
    pub fn reserve(&self, keys: usize) {
        for shard in self.map.shards() {
            let room = (keys / SHARDS).saturating_sub(shard.read().len());
            shard
                .write()
                .reserve(room + room / 8, |(entry, _)| self.hash(entry.key_bytes()));
        }
    }
}

/// Has a line of memory fetched. Any address will do: one that is nobody's does nothing.
fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint to the processor, which neither reads nor faults.
    #[allow(unsafe_code)]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

fn lock(expiring: &Mutex<Expiring>) -> MutexGuard<'_, Expiring> {
    expiring.lock().unwrap_or_else(PoisonError::into_inner)
}

fn len(entry: &Entry) -> i64 {
    i64::try_from(entry.data_bytes()).expect("no pair has 2^63 bytes")
}

/// Some shards, locked against all others.
pub struct Locked<'a> {
    table: &'a Table,
    shards: SmallVec<[(usize, RwLockWriteGuard<'a, Shard>); 1]>,
    /// How many more keys there are, and bytes of them, than before; counted as one, when the locks are given up.
    keys: i64,
    data_bytes: i64,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Two's complement: what is added may be negative.
        if self.keys != 0 {
            self.table
                .keys
                .fetch_add(self.keys.cast_unsigned(), Relaxed);
        }
        if self.data_bytes != 0 {
            self.table
                .data_bytes
                .fetch_add(self.data_bytes.cast_unsigned(), Relaxed);
        }
    }
}

impl Locked<'_> {
    /// The shard of the key with this hash, and its number.
    fn shard(&mut self, hash: u64) -> (usize, &mut Shard) {
        let place = self.table.shard_of(hash);
        let at = self
            .shards
            .binary_search_by_key(&place, |(place, _)| *place);
        let at = at.expect("the shards of all keys that are used were locked");
        (place, &mut self.shards[at].1)
    }

    /// Notes the number of a change in all the locked shards.
    pub fn note(&mut self, change: u64) {
        for (place, _) in &self.shards {
            self.table.changed[*place].store(change, Relaxed);
        }
    }

    /// The number of the last change in the locked shards.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.shards
            .iter()
            .map(|(place, _)| self.table.changed[*place].load(Relaxed))
            .max()
            .unwrap_or(0)
    }

    /// How many keys there are, with what has been changed here.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.table.keys().wrapping_add_signed(self.keys)
    }

    /// The entry of a key.
    pub fn get(&mut self, key: Key<'_>) -> Option<Entry> {
        let hash = self.table.hash(key.as_bytes());
        let (_, shard) = self.shard(hash);
        shard
            .get(hash, |(entry, _)| entry.key_bytes() == key.as_bytes())
            .map(|(entry, _)| entry.clone())
    }

    /// Puts an entry in the place of what was under its key.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let (table, hash) = (self.table, self.table.hash(entry.key_bytes()));
        self.data_bytes += len(&entry);
        let new = entry.expires_at().map(|_| entry.clone());
        let (place, shard) = self.shard(hash);
        let old = if let Some((old, _)) = shard.get_mut(hash, |(old, _)| *old == entry) {
            if old.expires_at().is_some() {
                // Whoever looked after that was told that there is none.
                table.absences.end(entry.key());
            }
            Some(std::mem::replace(old, entry))
        } else {
            table.absences.end(entry.key());
            shard.insert(hash, (entry, SharedValue::new(())), |(entry, _)| {
                table.hash(entry.key_bytes())
            });
            None
        };
        table.note_expiry(place, old.as_ref(), new.as_ref());
        match &old {
            Some(old) => self.data_bytes -= len(old),
            None => self.keys += 1,
        }
        old
    }

    /// Takes the entry of a key out.
    pub fn remove(&mut self, key: Key<'_>) -> Option<Entry> {
        let (table, hash) = (self.table, self.table.hash(key.as_bytes()));
        let (place, shard) = self.shard(hash);
        let (entry, _) =
            shard.remove_entry(hash, |(entry, _)| entry.key_bytes() == key.as_bytes())?;
        table.note_expiry(place, Some(&entry), None);
        self.keys -= 1;
        self.data_bytes -= len(&entry);
        Some(entry)
    }

    /// Takes every entry of the locked shards out, which must be all there are; freeing them, which takes long, is left to
    /// the caller.
    pub fn take_all(&mut self) -> Taken {
        let taken = self
            .shards
            .iter_mut()
            .filter(|(_, shard)| !shard.is_empty());
        let shards = taken.map(|(place, shard)| Shardful {
            place: *place,
            entries: std::mem::take(&mut **shard),
            expiring: self.table.forget_expiries(*place),
        });
        let shards = shards.collect();
        let data_bytes = self.table.data_bytes().cast_signed() + self.data_bytes;
        let keys = self.keys().cast_signed();
        self.keys -= keys;
        self.data_bytes -= data_bytes;
        Taken {
            shards,
            keys,
            data_bytes,
        }
    }

    /// Puts back what was taken out of all shards, which must be empty.
    pub fn put_back(&mut self, taken: Taken) {
        let table = self.table;
        for Shardful {
            place,
            entries,
            expiring,
        } in taken.shards
        {
            // All are locked, in their order.
            *self.shards[place].1 = entries;
            table
                .keys_expiring
                .fetch_add(expiring.len() as u64, Relaxed);
            *lock(&table.expiring[place]) = expiring;
        }
        self.keys += taken.keys;
        self.data_bytes += taken.data_bytes;
    }
}

/// What was in one shard.
struct Shardful {
    place: usize,
    entries: Shard,
    expiring: Expiring,
}

/// Every entry of a table, taken out of it.
pub struct Taken {
    shards: Vec<Shardful>,
    keys: i64,
    data_bytes: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Value;

    fn entry(key: &str, value: &str) -> Entry {
        Entry::new(
            Key::parse(key.as_bytes()).expect("a key"),
            Value::parse(value.as_bytes()).expect("a value"),
        )
    }

    #[test]
    fn a_scan_sees_each_key_once_and_the_counts_agree() {
        let table = Table::new();
        for n in 0..10_000 {
            let entry = entry(&format!("key:{n}"), "value");
            table.lock(&[entry.key()]).insert(entry.clone());
        }
        let mut keys: Vec<String> = (0..table.shards())
            .flat_map(|shard| table.entries(shard, b"key:").0)
            .map(|entry| entry.key().as_str().to_owned())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((keys.len(), table.keys()), (10_000, 10_000));
        // "key:" and "value" are 9 bytes; the numbers have 38,890 digits.
        assert_eq!(table.data_bytes(), 90_000 + 38_890);
        assert_eq!(
            table
                .lock(&[Key::parse(b"key:7").expect("a key")])
                .insert(entry("key:7", "")),
            Some(entry("key:7", ""))
        );
        assert_eq!(table.data_bytes(), 90_000 + 38_890 - 5);
    }

    #[test]
    fn clear_takes_everything_out() {
        let table = Table::new();
        let (a, b) = (entry("a", "1"), entry("b", "2"));
        let mut locked = table.lock(&[a.key(), b.key()]);
        locked.insert(a.clone());
        locked.insert(b.clone());
        drop(locked);
        drop(table.lock_all().take_all());
        assert_eq!((table.keys(), table.data_bytes()), (0, 0));
        assert!(table.read(a.key(), |_| ()).0.is_none());
    }
}
