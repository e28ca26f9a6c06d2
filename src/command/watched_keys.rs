//! The keys that a client watches: those on which its next EXEC depends.
//!
//! In: keys and their entries. Out: whether any has changed since. Promises: a key that is watched twice keeps its older state, so
//! that no change is missed; the memory of the keys is charged to the client.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::client_memory::{Account, Charge, Held, OverBudget};
use crate::engine::MissingKeyWatch;
use crate::model::entry::Entry;

/// Memory of a watched key in bytes, without its name: its state, and its share of the map's nodes.
const PER_KEY_BYTES: usize = 96;

/// Watched keys of one client.
#[derive(Debug)]
pub(super) struct WatchedKeys {
    states: BTreeMap<Arc<[u8]>, WatchedState>,
    /// Entries of the keys that existed: their addresses, by which they are compared, are not reused meanwhile.
    held: Vec<Arc<Held>>,
    charge: Charge,
}

/// State of a key that is to be watched.
#[derive(Debug)]
pub(super) enum KeyState {
    /// The key exists.
    Existing(Entry),
    /// The key does not exist.
    Missing(MissingKeyWatch),
}

/// State of a key when it was first watched.
#[derive(Debug)]
enum WatchedState {
    /// Address of its entry.
    Existing(usize),
    Missing(MissingKeyWatch),
}

impl WatchedState {
    /// Returns true if the key, whose entry is now `entry`, has not changed.
    fn is_unchanged(&self, entry: Option<&Entry>) -> bool {
        match (self, entry) {
            (Self::Existing(address), Some(entry)) => *address == entry.address(),
            (Self::Missing(watch), None) => !watch.has_appeared(),
            _ => false,
        }
    }
}

impl WatchedKeys {
    /// Makes an empty set, whose memory is charged to this account.
    pub(super) fn new(account: &Arc<Account>) -> Self {
        Self {
            states: BTreeMap::new(),
            held: Vec::new(),
            charge: account.charge(),
        }
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Returns the keys, in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.states.keys().map(AsRef::as_ref)
    }

    /// Charges the memory of keys that are about to be added.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub(super) fn reserve<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), OverBudget> {
        let more: usize = keys.map(|key| key.len() + PER_KEY_BYTES).sum();
        self.charge.set(self.charge.bytes() + more)
    }

    /// Adds keys.
    pub(super) fn add(&mut self, keys: Vec<(Arc<[u8]>, KeyState)>) {
        let mut entries = Vec::new();
        for (key, state) in keys {
            let state = match state {
                KeyState::Existing(entry) => {
                    let address = entry.address();
                    entries.push(entry);
                    WatchedState::Existing(address)
                }
                KeyState::Missing(watch) => WatchedState::Missing(watch),
            };
            self.states.entry(key).or_insert(state);
        }
        self.held.push(self.charge.account().hold(entries));
    }

    /// Returns the keys, each with the entry that it had, if it existed.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], Option<Entry>)> {
        let held = self.held.iter().flat_map(|held| held.entries());
        let by_address: HashMap<usize, &Entry> =
            held.map(|entry| (entry.address(), entry)).collect();
        self.states.iter().map(move |(key, state)| {
            let entry = match state {
                WatchedState::Existing(address) => by_address.get(address).copied(),
                WatchedState::Missing(_) => None,
            };
            (&**key, entry.cloned())
        })
    }

    /// Returns true if any key has changed; `entry_of` returns the entry that a key has now.
    pub(super) fn have_changed(&self, mut entry_of: impl FnMut(&[u8]) -> Option<Entry>) -> bool {
        let mut states = self.states.iter();
        states.any(|(key, state)| !state.is_unchanged(entry_of(key).as_ref()))
    }

    /// Removes all keys.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.charge.account());
    }
}
