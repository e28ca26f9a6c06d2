//! The operations that people watch: what was asked for, of which key, how it ended and how long that took.
//!
//! In: requests, while somebody watches. Out: the latest of them, and how many were not kept. Promises: nobody waits for whoever
//! watches; while nobody does, a request costs one look at a number.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{UnixMs, now_ms};

/// The most operations that are kept until they are taken: nobody reads more of them at once.
pub const OPERATIONS_MAX: usize = 100;
/// The most characters of a key that are shown.
const KEY_CHARACTERS_MAX: usize = 120;

/// A request that has been executed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Operation {
    /// When, in milliseconds since 1970.
    pub time_ms: UnixMs,
    /// What was asked for.
    #[schema(example = "GET")]
    pub command: &'static str,
    /// The key, or the beginning of it; none where the request names none.
    pub key: Option<String>,
    /// `OK`, `NOT_FOUND`, or the code of the error.
    #[schema(example = "OK")]
    pub status: &'static str,
    /// How long it took to execute, in microseconds.
    pub microseconds: f64,
}

/// Operations that have not been taken.
#[derive(Debug, Default)]
struct Kept {
    operations: Vec<Operation>,
    skipped: u64,
}

/// The operations that people watch.
#[derive(Debug, Default)]
pub struct Operations {
    watchers: AtomicUsize,
    kept: Mutex<Kept>,
}

impl Operations {
    /// Whether anybody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Relaxed) > 0
    }

    /// Watches, for as long as the return value is kept.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watch {
        self.watchers.fetch_add(1, Relaxed);
        Watch(Arc::clone(self))
    }

    /// Notes an operation.
    pub fn note(
        &self,
        command: &'static str,
        key: Option<&[u8]>,
        status: &'static str,
        took: Duration,
    ) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.operations.len() == OPERATIONS_MAX {
            kept.skipped += 1;
            return;
        }
        kept.operations.push(Operation {
            time_ms: now_ms(),
            command,
            key: key.map(beginning),
            status,
            microseconds: took.as_secs_f64() * 1e6,
        });
    }

    /// Takes what has been noted, and how many more there were.
    #[must_use]
    pub fn take(&self) -> (Vec<Operation>, u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept {
            operations,
            skipped,
        } = std::mem::take(&mut *kept);
        (operations, skipped)
    }
}

/// The beginning of a key, as people can read it.
fn beginning(key: &[u8]) -> String {
    // A character has at most four bytes.
    let bytes = &key[..key.len().min(4 * KEY_CHARACTERS_MAX)];
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(KEY_CHARACTERS_MAX).collect();
    if bytes.len() < key.len() || shown.chars().count() < text.chars().count() {
        shown.push('\u{2026}');
    }
    shown
}

/// Somebody who watches.
#[derive(Debug)]
pub struct Watch(Arc<Operations>);

impl Drop for Watch {
    fn drop(&mut self) {
        if self.0.watchers.fetch_sub(1, Relaxed) == 1 {
            drop(self.0.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_is_counted_and_not_kept() {
        let operations = Arc::new(Operations::default());
        assert!(!operations.is_watched());
        let watch = operations.watch();
        assert!(operations.is_watched());
        for _ in 0..OPERATIONS_MAX + 3 {
            operations.note("GET", Some(b"key"), "OK", Duration::from_nanos(1500));
        }
        let (kept, skipped) = operations.take();
        assert_eq!((kept.len(), skipped), (OPERATIONS_MAX, 3));
        assert!((kept[0].microseconds - 1.5).abs() < 1e-9);
        assert_eq!(operations.take().0.len(), 0);
        operations.note("GET", None, "OK", Duration::ZERO);
        drop(watch);
        assert_eq!(operations.take().0.len(), 0, "nobody is there to take it");
    }

    #[test]
    fn a_long_key_is_cut_off_between_characters() {
        let key = "\u{e4}".repeat(KEY_CHARACTERS_MAX + 1);
        let shown = beginning(key.as_bytes());
        assert_eq!(shown.chars().count(), KEY_CHARACTERS_MAX + 1);
        assert!(shown.ends_with("\u{e4}\u{2026}"));
        assert_eq!(beginning(b"a\xff"), "a\u{fffd}");
        assert_eq!(beginning(b"key"), "key");
    }
}
