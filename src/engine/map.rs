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

use dashmap::{DashMap, RwLockReadGuard, RwLockWriteGuard, SharedValue};
use smallvec::SmallVec;

use super::missing_key_watch::MissingKeys;
use crate::model::entry::{Entry, Shard, entries_of, prefetch, prefetch_entry, prefetch_place};
use crate::model::{Key, UnixMs, Value};

/// How many shards: the unit of a scan, whose buffer holds the entries of one (eight bytes each), and of waiting.
const SHARDS: usize = 1 << SHARDS_LOG2;
const SHARDS_LOG2: u32 = 12;

/// How many bits of a hash choose a shard.
const CHOOSING_BITS: u32 = 28;

/// A change that is read back from disk.
#[derive(Debug)]
pub struct LoadedChange {
    /// The hash of the key.
    pub hash: u64,
    /// The pair; of a deleted one the key counts.
    pub entry: Entry,
    /// True if the key is gone, rather than has this value.
    pub is_delete: bool,
}

/// The entries of one shard that expire, soonest first.
type Expiring = BTreeSet<(UnixMs, Entry)>;

/// A place in the order of a walk: the shard in the upper 12 bits, some of the key's hash in the 41 below. So that it is a
/// number which every client can keep, JavaScript's included, it has no more than 53.
pub type Position = u64;
const POSITIONS_PER_SHARD: u32 = 41;

/// The most keys that are fetched ahead: more would drive each other out of the nearest cache.
const KEYS_AHEAD_MAX: usize = 128;

/// How many expired entries are deleted as one change, under the lock of their shard.
const EXPIRED_AT_A_TIME: usize = 256;

/// What is kept beside a shard, and changed under its lock. In a line of the cache of its own: another core works on the next.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Beside {
    /// The number of its last change: whoever has read there has seen that one.
    changed: AtomicU64,
    /// Those of its entries that expire.
    expiring: Mutex<Expiring>,
}

/// The map from key to entry.
#[derive(Debug)]
pub struct Table {
    map: DashMap<Entry, (), ahash::RandomState>,
    /// For each shard what is kept beside it.
    beside: Box<[Beside]>,
    keys: AtomicU64,
    keys_expiring: AtomicU64,
    data_bytes: AtomicU64,
    /// The keys that somebody has looked for in vain, and depends on.
    pub(super) absences: MissingKeys,
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
            beside: std::iter::repeat_with(Beside::default)
                .take(SHARDS)
                .collect(),
            keys: AtomicU64::new(0),
            keys_expiring: AtomicU64::new(0),
            data_bytes: AtomicU64::new(0),
            absences: MissingKeys::default(),
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

    /// The shard of the key with this hash. The first ones get half as many keys as the last: a shard that is full doubles, and
    /// if all of them did so at one time, then just after it more than half of the table would be empty; so, at any number of
    /// keys, some are nearly full while others have just grown. At the worst it takes 17 bytes for an entry, not 21, and
    /// memory grows step by step.
    #[must_use]
    pub fn shard_of(hash: u64) -> usize {
        // Below the highest seven bits, which tell entries of a shard apart; what part of the way x they are: (4x - x²) / 3.
        let bits = (hash << 7) >> (64 - CHOOSING_BITS);
        let way = bits * ((4 << CHOOSING_BITS) - bits) / 3;
        usize::try_from(way >> (2 * CHOOSING_BITS - SHARDS_LOG2)).expect("it is below SHARDS")
    }

    /// How many of so many keys will about be in a shard.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is an estimate, and not below nought"
    )]
    fn share_of(keys: usize, shard: usize) -> usize {
        // Where `shard_of` comes to a shard.
        let start = |shard: usize| 2.0 - (4.0 - 3.0 * shard as f64 / SHARDS as f64).sqrt();
        (keys as f64 * (start(shard + 1) - start(shard))) as usize
    }

    /// Shows the entry of a key, if there is one, under the lock of its shard; and the number of the last change there.
    pub fn read<R>(&self, key: Key<'_>, show: impl FnOnce(&Entry) -> R) -> (Option<R>, u64) {
        let hash = self.hash(key.as_bytes());
        let (shard, changed) = self.read_shard(Self::shard_of(hash));
        // Both parts of the table at once; then the entry, whole.
        prefetch_place(&shard, hash);
        (find(&shard, hash, key.as_bytes()).map(show), changed)
    }

    /// Has the entries of these keys fetched from memory, all at once: to look one key up takes three or four reads, each of
    /// which waits for the one before; those of different keys need not wait for each other.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let mut hashes = SmallVec::<[u64; KEYS_AHEAD_MAX]>::new();
        for key in keys.take(KEYS_AHEAD_MAX) {
            let hash = self.hash(key);
            self.prefetch_shard(Self::shard_of(hash));
            hashes.push(hash);
        }
        if hashes.len() < 2 {
            return;
        }
        for fetch in [prefetch_place, prefetch_entry] {
            for hash in &hashes {
                // A shard that is being changed is fetched already.
                if let Some(shard) = self.map.shards()[Self::shard_of(*hash)].try_read() {
                    fetch(&shard, *hash);
                }
            }
        }
    }

    /// Has the head of a shard fetched from memory.
    pub(super) fn prefetch_shard(&self, place: usize) {
        prefetch(&raw const self.map.shards()[place]);
    }

    /// Locks a shard against those who change it; and the number of the last change there.
    pub(super) fn read_shard(&self, place: usize) -> (RwLockReadGuard<'_, Shard>, u64) {
        let lock = &self.map.shards()[place];
        let shard = soon(|| lock.try_read()).unwrap_or_else(|| lock.read());
        (shard, self.beside[place].changed.load(Relaxed))
    }

    /// Locks a shard against all others; and the number of the last change there.
    pub(super) fn write_shard(&self, place: usize) -> (RwLockWriteGuard<'_, Shard>, u64) {
        let lock = &self.map.shards()[place];
        let shard = soon(|| lock.try_write()).unwrap_or_else(|| lock.write());
        (shard, self.beside[place].changed.load(Relaxed))
    }

    /// Notes the number of a change in a shard, under its lock.
    pub(super) fn note(&self, place: usize, change: u64) {
        self.beside[place].changed.store(change, Relaxed);
    }

    /// Locks the shards of these keys against all others.
    pub fn lock(&self, keys: &[Key<'_>]) -> Locked<'_> {
        let hashes: SmallVec<[u64; 1]> = keys.iter().map(|key| self.hash(key.as_bytes())).collect();
        let mut places: SmallVec<[usize; 1]> =
            hashes.iter().map(|hash| Self::shard_of(*hash)).collect();
        // One order for everybody: two requests that name the same keys cannot wait for each other.
        places.sort_unstable();
        places.dedup();
        let shards = places
            .into_iter()
            .map(|place| (place, self.write_shard(place).0))
            .collect();
        Locked {
            table: self,
            shards,
            hashes,
            looked_up: 0,
            growth: Growth::default(),
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
            hashes: SmallVec::new(),
            looked_up: 0,
            growth: Growth::default(),
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
        let changed = &self.beside[shard].changed;
        let shard = self.map.shards()[shard].read();
        let changed = changed.load(Relaxed);
        let mut entries = Vec::with_capacity(if prefix.is_empty() { shard.len() } else { 0 });
        // Each waits for memory; all together they wait once.
        entries_of(&shard).for_each(Entry::prefetch);
        let found = entries_of(&shard).filter(|entry| entry.key_bytes().starts_with(prefix));
        entries.extend(found.cloned());
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
        let hash = self.hash(entry.key_bytes());
        let below = hash & ((1 << POSITIONS_PER_SHARD) - 1);
        (Self::shard_of(hash) as u64) << POSITIONS_PER_SHARD | below
    }

    /// Some entries of one shard that have expired.
    #[must_use]
    pub fn expired(&self, shard: usize, now: UnixMs) -> Vec<Entry> {
        let expiring = lock(&self.beside[shard].expiring);
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
        let count = |beside: &Beside| {
            let expiring = lock(&beside.expiring);
            expiring.iter().take_while(|(at, _)| *at <= now).count() as u64
        };
        self.beside.iter().map(count).sum()
    }

    /// Puts an entry in the place of what was under its key in a shard, under its lock; what that was.
    fn insert(
        &self,
        place: usize,
        shard: &mut Shard,
        hash: u64,
        entry: Entry,
        growth: &mut Growth,
    ) -> Option<Entry> {
        growth.data_bytes += len(&entry);
        let new = entry.expires_at().map(|_| entry.clone());
        let old = if let Some((old, _)) = shard.get_mut(hash, |(old, _)| *old == entry) {
            if old.expires_at().is_some() {
                // Whoever looked after that was told that there is none.
                self.absences.end(entry.key());
            }
            Some(std::mem::replace(old, entry))
        } else {
            self.absences.end(entry.key());
            shard.insert(hash, (entry, SharedValue::new(())), |(entry, _)| {
                self.hash(entry.key_bytes())
            });
            None
        };
        self.note_expiry(place, old.as_ref(), new.as_ref());
        match &old {
            Some(old) => growth.data_bytes -= len(old),
            None => growth.keys += 1,
        }
        old
    }

    /// Stores a value under a key of a shard, under its lock, over the old one where that is possible; returns true if the key is
    /// new, and the old entry if it was replaced.
    pub(super) fn put(
        &self,
        place: usize,
        shard: &mut Shard,
        hash: u64,
        (key, value): (Key<'_>, Value<'_>),
        growth: &mut Growth,
    ) -> (bool, Option<Entry>) {
        let is_it = |(entry, _): &(Entry, _)| entry.key_bytes() == key.as_bytes();
        if let Some((old, _)) = shard.get_mut(hash, is_it)
            && old.overwrite(value)
        {
            return (false, None);
        }
        let old = self.insert(place, shard, hash, Entry::new(key, value), growth);
        (old.is_none(), old)
    }

    /// Counts keys and bytes that have come or gone.
    pub(super) fn grow(&self, growth: Growth) {
        // Two's complement: what is added may be negative.
        if growth.keys != 0 {
            self.keys.fetch_add(growth.keys.cast_unsigned(), Relaxed);
        }
        if growth.data_bytes != 0 {
            self.data_bytes
                .fetch_add(growth.data_bytes.cast_unsigned(), Relaxed);
        }
    }

    /// Notes that one entry has come in the place of another, under the lock of their shard.
    fn note_expiry(&self, shard: usize, old: Option<&Entry>, new: Option<&Entry>) {
        let expires =
            |entry: Option<&Entry>| entry.is_some_and(|entry| entry.expires_at().is_some());
        if expires(old) || expires(new) {
            self.change_expiry(shard, old, new);
        }
    }

    #[cold]
    fn change_expiry(&self, shard: usize, old: Option<&Entry>, new: Option<&Entry>) {
        let time = |entry: Option<&Entry>| Some((entry?.expires_at()?, entry?.clone()));
        let (old, new) = (time(old), time(new));
        let mut expiring = lock(&self.beside[shard].expiring);
        if old.is_some_and(|old| expiring.remove(&old)) {
            self.keys_expiring.fetch_sub(1, Relaxed);
        }
        if new.is_some_and(|new| expiring.insert(new)) {
            self.keys_expiring.fetch_add(1, Relaxed);
        }
    }

    fn forget_expiries(&self, shard: usize) -> Expiring {
        let expiring = std::mem::take(&mut *lock(&self.beside[shard].expiring));
        self.keys_expiring.fetch_sub(expiring.len() as u64, Relaxed);
        expiring
    }

    /// Applies changes of one shard, under its lock, and counts them at once.
    pub fn apply(&self, place: usize, changes: Vec<LoadedChange>) {
        let mut growth = Growth::default();
        let mut shard = self.map.shards()[place].write();
        // Each look-up waits for memory; those of this pass do not depend on each other, and wait all together.
        for change in &changes {
            prefetch_entry(&shard, change.hash);
        }
        for LoadedChange {
            hash,
            entry,
            is_delete,
        } in changes
        {
            if is_delete {
                self.remove(place, &mut shard, hash, entry.key_bytes(), &mut growth);
            } else {
                self.insert(place, &mut shard, hash, entry, &mut growth);
            }
        }
        drop(shard);
        self.grow(growth);
    }

    /// Takes the entry of a key out of a shard, under its lock.
    fn remove(
        &self,
        place: usize,
        shard: &mut Shard,
        hash: u64,
        key: &[u8],
        growth: &mut Growth,
    ) -> Option<Entry> {
        let (entry, _) = shard.remove_entry(hash, |(entry, _)| entry.key_bytes() == key)?;
        self.note_expiry(place, Some(&entry), None);
        growth.keys -= 1;
        growth.data_bytes -= len(&entry);
        Some(entry)
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
        for (place, shard) in self.map.shards().iter().enumerate() {
            let room = Self::share_of(keys, place).saturating_sub(shard.read().len());
            shard
                .write()
                .reserve(room + room / 8, |(entry, _)| self.hash(entry.key_bytes()));
        }
    }
}

fn lock(expiring: &Mutex<Expiring>) -> MutexGuard<'_, Expiring> {
    expiring.lock().unwrap_or_else(PoisonError::into_inner)
}

fn len(entry: &Entry) -> i64 {
    i64::try_from(entry.data_bytes()).expect("no pair has 2^63 bytes")
}

/// A lock, if it can be had soon: it is mostly given up within a microsecond or two, while to sleep until then, and to be
/// woken, takes ten.
fn soon<T>(try_lock: impl Fn() -> Option<T>) -> Option<T> {
    const TRIES: usize = 200;
    (0..TRIES).find_map(|_| {
        let locked = try_lock();
        if locked.is_none() {
            std::hint::spin_loop();
        }
        locked
    })
}

/// The entry of a key in a shard.
pub(super) fn find<'s>(shard: &'s Shard, hash: u64, key: &[u8]) -> Option<&'s Entry> {
    let found = shard.get(hash, |(entry, _)| {
        entry.prefetch();
        entry.key_bytes() == key
    });
    found.map(|(entry, _)| entry)
}

/// How many more keys there are, and bytes of keys and values, than before; counted as one, when locks are given up.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Growth {
    keys: i64,
    data_bytes: i64,
}

/// Some shards, locked against all others.
pub struct Locked<'a> {
    table: &'a Table,
    shards: SmallVec<[(usize, RwLockWriteGuard<'a, Shard>); 1]>,
    /// Those of the keys that were named, in their order, and how many keys have been looked up.
    hashes: SmallVec<[u64; 1]>,
    looked_up: usize,
    growth: Growth,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.table.grow(self.growth);
    }
}

impl Locked<'_> {
    /// The place of the shard of the key with this hash, and where it stands among those that are locked.
    fn shard(&self, hash: u64) -> (usize, usize) {
        let place = Table::shard_of(hash);
        let at = self
            .shards
            .binary_search_by_key(&place, |(place, _)| *place);
        let at = at.expect("the shards of all keys that are used were locked");
        (place, at)
    }

    /// Notes that one more key is looked up; they mostly are in the order in which they were named, so that the next ones are
    /// fetched from memory together.
    fn look_up(&mut self, key: &[u8]) -> (u64, usize, usize) {
        if self.hashes.len() > 1 && self.looked_up.is_multiple_of(KEYS_AHEAD_MAX) {
            self.prefetch();
        }
        self.looked_up += 1;
        let hash = self.table.hash(key);
        let (place, at) = self.shard(hash);
        (hash, place, at)
    }

    #[cold]
    fn prefetch(&self) {
        let ahead = self.hashes.iter().skip(self.looked_up);
        let ahead: SmallVec<[(usize, u64); KEYS_AHEAD_MAX]> = ahead
            .take(KEYS_AHEAD_MAX)
            .map(|hash| (self.shard(*hash).1, *hash))
            .collect();
        for fetch in [prefetch_place, prefetch_entry] {
            for (at, hash) in &ahead {
                fetch(&self.shards[*at].1, *hash);
            }
        }
    }

    /// Notes the number of a change in all the locked shards.
    pub fn note(&mut self, change: u64) {
        for (place, _) in &self.shards {
            self.table.beside[*place].changed.store(change, Relaxed);
        }
    }

    /// The number of the last change in the locked shards.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.shards
            .iter()
            .map(|(place, _)| self.table.beside[*place].changed.load(Relaxed))
            .max()
            .unwrap_or(0)
    }

    /// How many keys there are, with what has been changed here.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.table.keys().wrapping_add_signed(self.growth.keys)
    }

    /// The entry of a key.
    pub fn get(&mut self, key: Key<'_>) -> Option<Entry> {
        let (hash, _, at) = self.look_up(key.as_bytes());
        find(&self.shards[at].1, hash, key.as_bytes()).cloned()
    }

    /// Puts an entry in the place of what was under its key.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let (hash, place, at) = self.look_up(entry.key_bytes());
        let shard = &mut self.shards[at].1;
        self.table
            .insert(place, shard, hash, entry, &mut self.growth)
    }

    /// Stores a value under a key; see [`Table::put`].
    pub fn put(&mut self, key: Key<'_>, value: Value<'_>) -> (bool, Option<Entry>) {
        let (hash, place, at) = self.look_up(key.as_bytes());
        let shard = &mut self.shards[at].1;
        self.table
            .put(place, shard, hash, (key, value), &mut self.growth)
    }

    /// Takes the entry of a key out.
    pub fn remove(&mut self, key: Key<'_>) -> Option<Entry> {
        let (hash, place, at) = self.look_up(key.as_bytes());
        let shard = &mut self.shards[at].1;
        self.table
            .remove(place, shard, hash, key.as_bytes(), &mut self.growth)
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
        let data_bytes = self.table.data_bytes().cast_signed() + self.growth.data_bytes;
        let keys = self.keys().cast_signed();
        self.growth.keys -= keys;
        self.growth.data_bytes -= data_bytes;
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
            *lock(&table.beside[place].expiring) = expiring;
        }
        self.growth.keys += taken.keys;
        self.growth.data_bytes += taken.data_bytes;
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
    fn the_last_shards_get_twice_as_many_keys_as_the_first_and_each_as_many_as_is_said() {
        let mut keys = vec![0_usize; SHARDS];
        for bits in 0..1 << 20 {
            keys[Table::shard_of(bits << (57 - 20))] += 1;
        }
        assert_eq!((keys[0] / 2, keys[SHARDS - 1].div_ceil(2)), (96, 192));
        for (shard, keys) in keys.iter().enumerate() {
            let share = Table::share_of(1 << 20, shard);
            assert!(share.abs_diff(*keys) <= 1, "{keys} in {shard}, not {share}");
        }
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
