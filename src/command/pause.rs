//! CLIENT PAUSE: a time in which requests wait.
//!
//! In: a time, and which requests wait. Out: whether a request waits, and the end of the wait. Promise: a look at it, while no client is
//! paused, is one load.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Requests that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paused {
    /// Those that change pairs, or publish messages.
    Writes,
    /// All.
    All,
}

/// A pause that has begun.
#[derive(Debug, Clone, Copy)]
struct Begun {
    until: Instant,
    paused: Paused,
}

/// The pause of all clients, if there is one.
#[derive(Debug, Default)]
pub struct Pause {
    /// True if one has begun, and nobody has seen its end.
    is_set: AtomicBool,
    begun: Mutex<Option<Begun>>,
    ended: Notify,
}

impl Pause {
    fn begun(&self) -> MutexGuard<'_, Option<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a pause. One that goes on is not shortened, and lets no requests go that wait.
    pub(super) fn begin(&self, time: Duration, paused: Paused) {
        let now = Instant::now();
        let until = now.checked_add(time);
        let until = until.unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()));
        let mut begun = self.begun();
        let before = begun.filter(|before| before.until > now);
        *begun = Some(Begun {
            until: before.map_or(until, |before| before.until.max(until)),
            paused: before.map_or(paused, |before| before.paused.max(paused)),
        });
        self.is_set.store(true, Relaxed);
    }

    /// Ends the pause.
    pub fn end(&self) {
        *self.begun() = None;
        self.is_set.store(false, Relaxed);
        self.ended.notify_waiters();
    }

    /// Returns false if there is no pause.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.is_set.load(Relaxed)
    }

    /// Returns which requests wait, if there is a pause.
    pub fn paused(&self) -> Option<Paused> {
        let mut begun = self.begun();
        let paused = begun.filter(|begun| begun.until > Instant::now());
        if paused.is_none() {
            *begun = None;
            self.is_set.store(false, Relaxed);
        }
        paused.map(|begun| begun.paused)
    }

    /// Waits for the end of the pause.
    pub async fn wait(&self) {
        loop {
            let ended = self.ended.notified();
            let until = match *self.begun() {
                Some(begun) if begun.until > Instant::now() => begun.until,
                _ => return,
            };
            // Another one may be longer by then.
            let _ = tokio::time::timeout_at(until.into(), ended).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_lengthened_and_widened_by_another_and_ends() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(60));
        let pause = Pause::default();
        assert_eq!(pause.paused(), None);
        pause.begin(long, Paused::All);
        pause.begin(short, Paused::Writes);
        std::thread::sleep(2 * short);
        assert_eq!(pause.paused(), Some(Paused::All));
        pause.end();
        assert!(!pause.is_set());
        pause.begin(short, Paused::Writes);
        std::thread::sleep(2 * short);
        assert_eq!(pause.paused(), None);
        assert!(!pause.is_set());
        pause.begin(Duration::MAX, Paused::Writes);
        assert_eq!(pause.paused(), Some(Paused::Writes));
    }
}
