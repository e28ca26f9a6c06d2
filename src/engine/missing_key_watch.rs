//! Watches on keys that are missing.
//!
//! In: keys that were looked for in vain, and keys that are put. Out: whether a watched key has appeared since, even if it has
//! gone again. Promise: while nothing is watched, a put pays for one look at a counter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::model::Key;

/// A watch on a missing key. Clones share it; once the last is dropped, nothing is kept of the key.
#[derive(Debug, Clone)]
pub struct MissingKeyWatch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    has_appeared: AtomicBool,
    key: Arc<[u8]>,
    all: Arc<All>,
}

impl MissingKeyWatch {
    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> &Arc<[u8]> {
        &self.0.key
    }

    /// Returns whether the key has appeared since the watch began.
    #[must_use]
    pub fn has_appeared(&self) -> bool {
        self.0.has_appeared.load(Relaxed)
    }
}

type ByKey = HashMap<Arc<[u8]>, Weak<Watched>>;

/// All missing keys that are watched.
#[derive(Debug, Default)]
pub struct MissingKeys(Arc<All>);

#[derive(Debug, Default)]
struct All {
    /// The length of `by_key`, for a look without its lock.
    count: AtomicUsize,
    by_key: Mutex<ByKey>,
}

impl All {
    fn by_key(&self) -> MutexGuard<'_, ByKey> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_count(&self, by_key: &ByKey) {
        self.count.store(by_key.len(), Relaxed);
    }
}

impl MissingKeys {
    /// Watches a key that is missing. Called under the lock of its shard, so that no put comes between look and watch.
    pub fn watch(&self, key: Key<'_>) -> MissingKeyWatch {
        let mut by_key = self.0.by_key();
        if let Some(watched) = by_key.get(key.as_bytes()).and_then(Weak::upgrade) {
            return MissingKeyWatch(watched);
        }
        let key: Arc<[u8]> = key.as_bytes().into();
        let watched = Arc::new(Watched {
            has_appeared: AtomicBool::new(false),
            key: Arc::clone(&key),
            all: Arc::clone(&self.0),
        });
        by_key.insert(key, Arc::downgrade(&watched));
        self.0.update_count(&by_key);
        MissingKeyWatch(watched)
    }

    /// Tells the watches of a key that it has appeared. Called under the lock of its shard.
    pub fn set_appeared(&self, key: Key<'_>) {
        if self.0.count.load(Relaxed) == 0 {
            return;
        }
        let mut by_key = self.0.by_key();
        let watched = by_key.remove(key.as_bytes());
        self.0.update_count(&by_key);
        // Before the upgrade below: if it drops the last holder, that takes this lock.
        drop(by_key);
        if let Some(watched) = watched.and_then(|watched| watched.upgrade()) {
            watched.has_appeared.store(true, Relaxed);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut by_key = self.all.by_key();
        // Since the last holder has gone, the key may have got a new watch, which stays.
        if by_key
            .get(&self.key)
            .is_some_and(|watched| watched.strong_count() == 0)
        {
            by_key.remove(&self.key);
            self.all.update_count(&by_key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_key_that_nobody_depends_on_any_more() {
        let missing = MissingKeys::default();
        let key = Key::parse(b"a").expect("a key");
        let (one, other) = (missing.watch(key), missing.watch(key));
        drop(one);
        assert_eq!(missing.0.by_key().len(), 1);
        drop(other);
        assert_eq!(missing.0.by_key().len(), 0);
        let again = missing.watch(key);
        missing.set_appeared(key);
        assert!(again.has_appeared());
        // Its watch has ended; the next one is another.
        let next = missing.watch(key);
        drop(again);
        assert!(!next.has_appeared());
        assert_eq!(missing.0.count.load(Relaxed), 1);
    }
}
