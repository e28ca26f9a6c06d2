//! The sharded map: a `DashMap` whose keys are whole entries, reached by its shards.
//!
//! In: keys and entries. Out: entries, shared by counting. Promises: a shard is locked for one look-up or change, or for
//! the time it takes to count the holders of its entries up by one; never while anybody writes to a socket or a file.
//!
//! The shards are used directly (`raw-api`) for three things that the map's own methods cannot do: several keys under their
//! locks at once, every key under all locks at once, and a scan that holds no lock between shards.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
use smallvec::SmallVec;

use crate::persistence::chunks::Op;
use crate::record::{Entry, Key};

/// How many shards: the unit of a scan, whose buffer holds the entries of one (eight bytes each), and of waiting.
const SHARDS: usize = 4096;

type Shard = hashbrown::raw::RawTable<(Entry, SharedValue<()>)>;

/// The map from key to entry.
#[derive(Debug)]
pub struct Table {
    map: DashMap<Entry, (), ahash::RandomState>,
    /// For each shard the number of its last change, written under its lock: whoever has read there has seen that one.
    changed: Box<[AtomicU64]>,
    keys: AtomicU64,
    data_bytes: AtomicU64,
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
            keys: AtomicU64::new(0),
            data_bytes: AtomicU64::new(0),
        }
    }

    /// How many keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.keys.load(Relaxed)
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

    /// Applies changes of one shard, under its lock, and counts them at once.
    pub fn apply(&self, shard: usize, changes: Vec<Op>) {
        let (mut keys, mut data_bytes) = (0_i64, 0_i64);
        let mut shard = self.map.shards()[shard].write();
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
                match shard.get_mut(hash, |(old, _)| *old == entry) {
                    Some((old, _)) => Some(std::mem::replace(old, entry)),
                    None => {
                        shard.insert(hash, (entry, SharedValue::new(())), |(entry, _)| {
                            self.hash(entry.key_bytes())
                        });
                        None
                    }
                }
            };
            if let Some(old) = old {
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
        let taken = std::mem::take(&mut *self.map.shards()[shard].write());
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

fn len(entry: &Entry) -> i64 {
    i64::try_from(entry.data_bytes()).expect("no pair has 2^63 bytes")
}

/// Some shards, locked against all others.
pub struct Locked<'a> {
    table: &'a Table,
    shards: SmallVec<[(usize, RwLockWriteGuard<'a, Shard>); 1]>,
}

impl Locked<'_> {
    fn shard(&mut self, hash: u64) -> &mut Shard {
        let place = self.table.shard_of(hash);
        let at = self
            .shards
            .binary_search_by_key(&place, |(place, _)| *place);
        &mut self.shards[at.expect("the shards of all keys that are used were locked")].1
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

    /// The entry of a key.
    pub fn get(&mut self, key: Key<'_>) -> Option<Entry> {
        let hash = self.table.hash(key.as_bytes());
        let shard = self.shard(hash);
        shard
            .get(hash, |(entry, _)| entry.key_bytes() == key.as_bytes())
            .map(|(entry, _)| entry.clone())
    }

    /// Puts an entry in the place of what was under its key.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let (table, hash) = (self.table, self.table.hash(entry.key_bytes()));
        table
            .data_bytes
            .fetch_add(entry.data_bytes() as u64, Relaxed);
        let shard = self.shard(hash);
        if let Some((old, _)) = shard.get_mut(hash, |(old, _)| *old == entry) {
            let old = std::mem::replace(old, entry);
            table.data_bytes.fetch_sub(old.data_bytes() as u64, Relaxed);
            return Some(old);
        }
        shard.insert(hash, (entry, SharedValue::new(())), |(entry, _)| {
            table.hash(entry.key_bytes())
        });
        table.keys.fetch_add(1, Relaxed);
        None
    }

    /// Takes the entry of a key out.
    pub fn remove(&mut self, key: Key<'_>) -> Option<Entry> {
        let (table, hash) = (self.table, self.table.hash(key.as_bytes()));
        let (entry, _) = self
            .shard(hash)
            .remove_entry(hash, |(entry, _)| entry.key_bytes() == key.as_bytes())?;
        table.keys.fetch_sub(1, Relaxed);
        table
            .data_bytes
            .fetch_sub(entry.data_bytes() as u64, Relaxed);
        Some(entry)
    }

    /// Takes every entry of the locked shards out; freeing them, which takes long, is left to the caller.
    pub fn take_all(&mut self) -> impl Send + use<> {
        let taken: Vec<Shard> = self
            .shards
            .iter_mut()
            .map(|(_, shard)| std::mem::take(&mut **shard))
            .collect();
        self.table.keys.store(0, Relaxed);
        self.table.data_bytes.store(0, Relaxed);
        taken
    }
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
