//! Keys that are not there, and that somebody depends on.
//!
//! In: keys that are looked for in vain, and keys that come. Out: whether one has come since, even if it has gone again. Promise:
//! it costs who puts keys one look at a counter while nobody asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::model::Key;

/// A key that was not there; once everybody has dropped it, nothing is kept of it.
#[derive(Debug, Clone)]
pub struct MissingKeyWatch(Arc<Missed>);

#[derive(Debug)]
struct Missed {
    has_ended: AtomicBool,
    key: Arc<str>,
    all: Arc<All>,
}

impl MissingKeyWatch {
    /// Whether the key has come since.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.has_ended.load(Relaxed)
    }
}

type ByName = HashMap<Arc<str>, Weak<Missed>>;

/// All such keys.
#[derive(Debug, Default)]
pub(super) struct MissingKeys(Arc<All>);

#[derive(Debug, Default)]
struct All {
    count: AtomicUsize,
    by_name: Mutex<ByName>,
}

impl All {
    fn by_name(&self) -> MutexGuard<'_, ByName> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_count(&self, by_name: &ByName) {
        self.count.store(by_name.len(), Relaxed);
    }
}

impl MissingKeys {
    /// Notes that a key is not there, under the lock of its shard.
    pub(super) fn note(&self, key: Key<'_>) -> MissingKeyWatch {
        let mut by_name = self.0.by_name();
        if let Some(missed) = by_name.get(key.as_str()).and_then(Weak::upgrade) {
            return MissingKeyWatch(missed);
        }
        let key: Arc<str> = key.as_str().into();
        let missed = Arc::new(Missed {
            has_ended: AtomicBool::new(false),
            key: Arc::clone(&key),
            all: Arc::clone(&self.0),
        });
        by_name.insert(key, Arc::downgrade(&missed));
        self.0.note_count(&by_name);
        MissingKeyWatch(missed)
    }

    /// Notes that a key has come, under the lock of its shard.
    pub(super) fn end(&self, key: Key<'_>) {
        if self.0.count.load(Relaxed) == 0 {
            return;
        }
        let mut by_name = self.0.by_name();
        let missed = by_name.remove(key.as_str());
        self.0.note_count(&by_name);
        // Whoever drops the last one takes the lock.
        drop(by_name);
        if let Some(missed) = missed.and_then(|missed| missed.upgrade()) {
            missed.has_ended.store(true, Relaxed);
        }
    }
}

impl Drop for Missed {
    fn drop(&mut self) {
        let mut by_name = self.all.by_name();
        // Another may have been noted since nobody has had this one.
        if by_name
            .get(&self.key)
            .is_some_and(|missed| missed.strong_count() == 0)
        {
            by_name.remove(&self.key);
            self.all.note_count(&by_name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_key_that_nobody_depends_on_any_more() {
        let absences = MissingKeys::default();
        let key = Key::parse(b"a").expect("a key");
        let (one, other) = (absences.note(key), absences.note(key));
        drop(one);
        assert_eq!(absences.0.by_name().len(), 1);
        drop(other);
        assert_eq!(absences.0.by_name().len(), 0);
        let again = absences.note(key);
        absences.end(key);
        assert!(again.has_ended());
        // It is gone by now; the next one is another.
        let next = absences.note(key);
        drop(again);
        assert!(!next.has_ended());
        assert_eq!(absences.0.count.load(Relaxed), 1);
    }
}
