//! Recent requests, for people who watch the server: command, key, status, execution time.
//!
//! In: requests, while there are watchers. Out: the latest of them, and the number of dropped ones. Promises: no request waits for
//! a watcher; without watchers a request costs one load of an atomic number.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::model::{UnixMs, now_ms};

/// Capacity of the buffer: a person cannot read more in the quarter of a second between two reads of it.
pub const RECENT_REQUESTS_MAX: usize = 100;
/// Maximum length of a shown key, in characters.
const KEY_CHARACTERS_MAX: usize = 120;

/// A request that has been executed.
#[derive(Debug, Clone)]
pub struct RecentRequest {
    /// Time of its end, in milliseconds since 1970.
    pub time_ms: UnixMs,
    /// Name of the command.
    pub command: &'static str,
    /// First key, cut off after 120 characters; `None` if the request has no key.
    pub key: Option<String>,
    /// `OK`, `NOT_FOUND`, or the code of the error.
    pub status: &'static str,
    /// Execution time in microseconds.
    pub microseconds: f64,
}

/// Requests that no watcher has read.
#[derive(Debug, Default)]
struct Buffer {
    requests: Vec<RecentRequest>,
    skipped: u64,
}

/// Buffer of recent requests, filled while there are watchers.
#[derive(Debug, Default)]
pub struct RecentRequests {
    watchers: AtomicUsize,
    buffer: Mutex<Buffer>,
}

impl RecentRequests {
    /// Returns true while there are watchers.
    #[must_use]
    #[inline(always)]
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Relaxed) > 0
    }

    /// Adds a watcher, until the returned guard is dropped.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> WatchGuard {
        self.watchers.fetch_add(1, Relaxed);
        WatchGuard(Arc::clone(self))
    }

    /// Adds a request, or counts it as dropped if the buffer is full.
    pub fn note(
        &self,
        command: &'static str,
        key: Option<&[u8]>,
        status: &'static str,
        took: Duration,
    ) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.requests.len() == RECENT_REQUESTS_MAX {
            buffer.skipped += 1;
            return;
        }
        buffer.requests.push(RecentRequest {
            time_ms: now_ms(),
            command,
            key: key.map(beginning),
            status,
            microseconds: took.as_secs_f64() * 1e6,
        });
    }

    /// Empties the buffer. Returns its requests, and the number of dropped ones.
    #[must_use]
    pub fn take(&self) -> (Vec<RecentRequest>, u64) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let Buffer { requests, skipped } = std::mem::take(&mut *buffer);
        (requests, skipped)
    }
}

/// Returns the beginning of a key as text; bytes that are not UTF-8 are replaced.
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

/// Guard of a watcher. The last one empties the buffer when it is dropped.
#[derive(Debug)]
pub struct WatchGuard(Arc<RecentRequests>);

impl Drop for WatchGuard {
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
        let requests = Arc::new(RecentRequests::default());
        assert!(!requests.is_watched());
        let watch = requests.watch();
        assert!(requests.is_watched());
        for _ in 0..RECENT_REQUESTS_MAX + 3 {
            requests.note("GET", Some(b"key"), "OK", Duration::from_nanos(1500));
        }
        let (kept, skipped) = requests.take();
        assert_eq!((kept.len(), skipped), (RECENT_REQUESTS_MAX, 3));
        assert!((kept[0].microseconds - 1.5).abs() < 1e-9);
        assert_eq!(requests.take().0.len(), 0);
        requests.note("GET", None, "OK", Duration::ZERO);
        drop(watch);
        assert_eq!(requests.take().0.len(), 0, "nobody is there to take it");
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
