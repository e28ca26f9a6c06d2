//! A write transaction: changes of one key after a look at it, of several keys, or of a whole MULTI, all or none.
//!
//! In: the keys, whose shards are locked from the beginning to the end. Out: one record. Promises: nobody sees a part of it;
//! what cannot be recorded has not happened, and a transaction that is dropped before its commit is rolled back.

use smallvec::SmallVec;

use super::barrier::Barrier;
use super::data::Data;
use super::error::EngineError;
use super::fetched_pairs::FetchedPairs;
use super::map::{Cursor, LockedShards, RemovedEntries};
use super::missing_key_watch::{MissingKeyWatch, MissingKeys};
use super::read::has_expired;
use crate::model::entry::Entry;
use crate::model::{Change, Database, Key, Value};
use crate::persistence::{RECORD_BYTES_MAX, Records, Store};

/// One change, with what takes it back.
enum Step {
    /// This entry has come in the place of that one.
    Put(Entry, Option<Entry>),
    /// This entry was removed.
    Delete(Entry),
    /// All these entries were removed.
    Clear(RemovedEntries),
}

/// The pairs of a transaction.
enum Pairs<'a> {
    /// Those of this engine, whose shards are locked.
    Locked(&'a Data, LockedShards<'a>),
    /// Copies of those of another engine.
    Fetched(FetchedPairs),
}

impl Pairs<'_> {
    fn get(&mut self, key: Key<'_>) -> Option<Entry> {
        match self {
            Self::Locked(_, locked) => locked.get(key),
            Self::Fetched(pairs) => pairs.get(key),
        }
    }

    fn insert(&mut self, entry: Entry) -> Option<Entry> {
        match self {
            Self::Locked(_, locked) => locked.insert(entry),
            Self::Fetched(pairs) => pairs.insert(entry),
        }
    }

    fn remove(&mut self, key: Key<'_>) -> Option<Entry> {
        match self {
            Self::Locked(_, locked) => locked.remove(key),
            Self::Fetched(pairs) => pairs.remove(key),
        }
    }
}

/// Changes that are made in memory, under locks, and not yet recorded; or that are decided on copies, and made elsewhere.
pub struct WriteTransaction<'a> {
    pairs: Pairs<'a>,
    steps: SmallVec<[Step; 1]>,
    /// The bytes of keys and values that the steps hold: a lower bound of their record's length.
    bytes: usize,
    /// True if a read is a use of the pair.
    is_use: bool,
}

/// What a transaction has done to a pair.
#[derive(Debug)]
pub enum Changed<'t> {
    /// The first entry has come in the place of the second one, if there was one.
    Put(&'t Entry, Option<&'t Entry>),
    /// This entry was removed.
    Deleted(&'t Entry),
    /// All pairs were removed.
    Cleared,
}

/// A point of a transaction to which it can be rolled back. The default is its beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Savepoint {
    steps: usize,
}

impl<'a> WriteTransaction<'a> {
    pub(super) fn new(data: &'a Data, locked: LockedShards<'a>) -> Self {
        Self::of(Pairs::Locked(data, locked))
    }

    /// Begins a transaction on copies of pairs.
    #[must_use]
    pub fn on_fetched(pairs: FetchedPairs) -> Self {
        Self::of(Pairs::Fetched(pairs))
    }

    fn of(pairs: Pairs<'a>) -> Self {
        Self {
            pairs,
            steps: SmallVec::new(),
            bytes: 0,
            is_use: true,
        }
    }

    /// Returns the copies of pairs with the changes of this transaction, which ends.
    ///
    /// # Panics
    /// If it is on pairs of this engine.
    #[must_use]
    pub fn into_fetched(mut self) -> FetchedPairs {
        self.steps.clear();
        match std::mem::replace(&mut self.pairs, Pairs::Fetched(FetchedPairs::default())) {
            Pairs::Fetched(pairs) => pairs,
            Pairs::Locked(..) => unreachable!("the pairs of this engine are not copied"),
        }
    }

    /// Returns the data and its locks.
    ///
    /// # Panics
    /// If the transaction is on copies.
    fn locked(&mut self) -> (&'a Data, &mut LockedShards<'a>) {
        match &mut self.pairs {
            Pairs::Locked(data, locked) => (data, locked),
            Pairs::Fetched(_) => unreachable!("copies are neither committed nor cleared"),
        }
    }

    /// Takes keys that were not named when it began, all of them, unless somebody else holds the lock of one; of copies, those that were
    /// copied.
    pub fn try_take(&mut self, keys: &[Key<'_>]) -> bool {
        match &mut self.pairs {
            Pairs::Locked(_, locked) => keys.iter().all(|key| locked.try_add(*key)),
            Pairs::Fetched(pairs) => keys.iter().all(|key| pairs.has(*key)),
        }
    }

    /// Returns true if it may access any key.
    #[must_use]
    pub fn has_all_keys(&self) -> bool {
        match &self.pairs {
            Pairs::Locked(_, locked) => locked.has_all(),
            Pairs::Fetched(_) => false,
        }
    }

    /// Adds the copy of a pair.
    ///
    /// # Panics
    /// If the transaction is on pairs of this engine.
    pub fn add_copy(&mut self, key: Key<'_>, entry: Option<Entry>) {
        match &mut self.pairs {
            Pairs::Fetched(pairs) => pairs.add(key.as_bytes(), entry),
            Pairs::Locked(..) => unreachable!("the pairs of this engine are not copied"),
        }
    }

    /// Says whether the reads that follow are uses of the pairs, or looks that do not count.
    pub fn set_use(&mut self, is_use: bool) {
        self.is_use = is_use;
    }

    /// Returns the bytes by which the changes so far make the data larger, if there is no room for them under the cap; else 0.
    #[must_use]
    pub fn missing_room_bytes(&self) -> u64 {
        let Pairs::Locked(data, locked) = &self.pairs else {
            return 0;
        };
        let table = &data.table;
        let grown = u64::try_from(locked.grown_bytes()).unwrap_or(0);
        let fits = table.memory_bytes() + grown <= table.cap().limit();
        if fits { 0 } else { grown }
    }

    /// Returns the latest change that a look at the locked keys shows.
    #[must_use]
    pub fn seen(&self) -> Barrier {
        match &self.pairs {
            Pairs::Locked(_, locked) => Barrier::of(locked.last_change()),
            Pairs::Fetched(_) => Barrier::default(),
        }
    }

    /// Returns the entry of a key, with the changes of this transaction.
    pub fn get(&mut self, key: Key<'_>) -> Option<Entry> {
        let found = self.pairs.get(key).filter(|entry| !has_expired(entry));
        if self.is_use
            && let (Some(entry), Pairs::Locked(data, _)) = (&found, &self.pairs)
        {
            data.table.note_use(entry);
        }
        found
    }

    /// Watches a key that this transaction has found missing.
    #[must_use]
    pub fn watch_missing_key(&self, key: Key<'_>) -> MissingKeyWatch {
        match &self.pairs {
            Pairs::Locked(data, _) => data.table.missing_keys().watch(key),
            // Nobody tells when it appears: a later look does.
            Pairs::Fetched(_) => MissingKeys::default().watch(key),
        }
    }

    /// Puts a value under a key. Returns whether the key is new.
    pub fn put(&mut self, key: Key<'_>, value: Value<'_>) -> bool {
        let entry = match &self.pairs {
            Pairs::Locked(data, _) => data.table.entry(key, value),
            Pairs::Fetched(_) => Entry::new(key, value),
        };
        self.put_entry(entry)
    }

    /// Puts a new entry in the place of that of its key. Returns whether the key is new.
    pub fn put_entry(&mut self, entry: Entry) -> bool {
        let old = self.pairs.insert(entry.clone());
        let is_new = old.as_ref().is_none_or(has_expired);
        self.push(Step::Put(entry, old));
        is_new
    }

    /// Deletes a key. Returns whether it was there.
    pub fn delete(&mut self, key: Key<'_>) -> bool {
        let Some(old) = self.pairs.remove(key) else {
            return false;
        };
        let was_there = !has_expired(&old);
        self.push(Step::Delete(old));
        was_there
    }

    /// Deletes every key; all shards must be locked.
    pub fn clear(&mut self) {
        let is_first = self.steps.is_empty();
        let (_, locked) = self.locked();
        // A second clear in one transaction would find nothing to remove, and nothing to record.
        if is_first || locked.keys() > 0 {
            let removed = locked.remove_all();
            self.steps.push(Step::Clear(removed));
        }
    }

    /// Deletes the keys of a database, or all that belong to none if it is 0; all shards must be locked.
    pub fn clear_database(&mut self, database: Database) {
        let (_, locked) = self.locked();
        let entries = locked.entries(database.prefix().as_bytes());
        let entries = entries.filter(|entry| Database::of_key(entry.key_bytes()) == database);
        let entries: Vec<Entry> = entries.cloned().collect();
        for entry in entries {
            self.delete(entry.key());
        }
    }

    /// Returns the pairs whose keys begin with a prefix, in no order; all shards must be locked.
    pub fn pairs_with(&mut self, prefix: &[u8]) -> Vec<Entry> {
        let found = self.locked().1.entries(prefix);
        found.filter(|entry| !has_expired(entry)).cloned().collect()
    }

    /// Returns a page of the pairs, as `Engine::page` does; all shards must be locked.
    pub fn page(&mut self, from: Cursor, least: usize) -> (Vec<Entry>, Option<Cursor>) {
        let (mut page, next) = self.locked().1.page(from, least);
        page.retain(|entry| !has_expired(entry));
        (page, next)
    }

    /// Returns a random pair, or `None` if there is none; all shards must be locked.
    pub fn random(&mut self) -> Option<Entry> {
        self.locked().1.random()
    }

    /// Returns the number of keys of a database, with the changes of this transaction, without those that have expired.
    #[must_use]
    pub fn keys_of(&mut self, database: Database) -> u64 {
        if database.is_default() {
            return self.keys();
        }
        self.locked().1.database(database).keys
    }

    fn push(&mut self, step: Step) {
        self.bytes += step.bytes();
        self.steps.push(step);
    }

    fn keys(&mut self) -> u64 {
        let (data, locked) = self.locked();
        data.table.live_of(locked.keys())
    }

    /// Returns the bytes of keys and values that the changes so far hold.
    #[must_use]
    pub fn changed_bytes(&self) -> usize {
        self.bytes
    }

    /// Checks that the changes so far may fit into one record. The commit checks the record itself.
    ///
    /// # Errors
    /// [`EngineError::TooLarge`], once they are known not to.
    pub fn check_size(&self) -> Result<(), EngineError> {
        if self.bytes > RECORD_BYTES_MAX {
            return Err(EngineError::TooLarge { bytes: self.bytes });
        }
        Ok(())
    }

    /// Returns the point that has been reached.
    #[must_use]
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            steps: self.steps.len(),
        }
    }

    /// Returns the changes that were made after a savepoint.
    pub fn changes_since(&self, savepoint: Savepoint) -> impl Iterator<Item = Changed<'_>> {
        let steps = self.steps[savepoint.steps..].iter();
        steps.map(|step| match step {
            Step::Put(new, old) => Changed::Put(new, old.as_ref()),
            Step::Delete(old) => Changed::Deleted(old),
            Step::Clear(_) => Changed::Cleared,
        })
    }

    /// Takes back the changes that were made after a savepoint.
    pub fn roll_back_to(&mut self, savepoint: Savepoint) {
        while self.steps.len() > savepoint.steps
            && let Some(step) = self.steps.pop()
        {
            self.bytes -= step.bytes();
            match step {
                Step::Put(_, Some(old)) | Step::Delete(old) => drop(self.pairs.insert(old)),
                Step::Put(new, None) => drop(self.pairs.remove(new.key())),
                Step::Clear(removed) => self.locked().1.put_back(removed),
            }
        }
    }

    /// Records all changes as one, lets `tell` look at them, releases the locks, and raises `made`, which the reply has to wait for.
    /// Returns whether there were any. `tell` must not use the engine.
    ///
    /// # Errors
    /// [`EngineError::Disk`], while the disk takes no changes; [`EngineError::TooLarge`], if the record would be over the limit.
    /// The transaction is rolled back then.
    pub fn commit(
        mut self,
        made: &mut Barrier,
        tell: impl FnOnce(&Self),
    ) -> Result<bool, EngineError> {
        if self.steps.is_empty() {
            tell(&self);
            return Ok(false);
        }
        self.check_size()?;
        let (data, _) = self.locked();
        let record = self.record(&data.store);
        if let Some(record) = &record
            && record.bytes() > RECORD_BYTES_MAX
        {
            return Err(EngineError::TooLarge {
                bytes: record.bytes(),
            });
        }
        let change = data.store.append(record)?;
        self.locked().1.set_last_change(change);
        made.raise(Barrier::of(change));
        tell(&self);
        let steps = std::mem::take(&mut self.steps);
        // The locks go before the old entries are freed.
        drop(self);
        if steps.iter().any(|step| matches!(step, Step::Clear(_))) {
            // Ten million entries take a second to free; no request waits for it, unless there is no thread to be had.
            let _ = std::thread::Builder::new().spawn(move || drop(steps));
        }
        Ok(true)
    }

    fn record(&self, store: &Store) -> Option<Records> {
        match &*self.steps {
            [Step::Put(entry, _)] => store.encode(&Change::Put(entry.key(), entry.value())),
            [Step::Clear(_)] => store.encode(&Change::Clear),
            steps => {
                let mut deleted = Vec::new();
                for step in steps {
                    if let Step::Delete(entry) = step {
                        deleted.push(entry.key());
                    }
                }
                if deleted.len() == steps.len() {
                    return store.encode(&Change::Delete(&deleted));
                }
                let mut deleted = deleted.chunks(1);
                let changes: Vec<Change<'_>> = steps
                    .iter()
                    .map(|step| match step {
                        Step::Put(entry, _) => Change::Put(entry.key(), entry.value()),
                        Step::Delete(_) => Change::Delete(deleted.next().unwrap_or_default()),
                        Step::Clear(_) => Change::Clear,
                    })
                    .collect();
                store.encode(&Change::Group(&changes))
            }
        }
    }
}

impl Step {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(entry, _) => entry.data_bytes(),
            Self::Delete(entry) => entry.key_bytes().len(),
            Self::Clear(_) => 0,
        }
    }
}

impl Drop for WriteTransaction<'_> {
    fn drop(&mut self) {
        self.roll_back_to(Savepoint { steps: 0 });
    }
}
