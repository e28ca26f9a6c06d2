//! A limit on how often something is logged that clients cause.
//!
//! In: occasions. Out: those that may be logged, at most one in [`INTERVAL`]. Promise: no client can fill the log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Minimum time between two logs of the same kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// Limit on one kind of log.
#[derive(Debug)]
pub struct Sometimes(Mutex<Option<Instant>>);

impl Default for Sometimes {
    fn default() -> Self {
        Self::new()
    }
}

impl Sometimes {
    /// Makes a limit that nothing has used.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns true if this occasion may be logged.
    pub fn may_log(&self) -> bool {
        let Ok(mut last) = self.0.try_lock() else {
            return false;
        };
        let may = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}
