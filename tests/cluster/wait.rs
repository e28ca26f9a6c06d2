//! Waiting for a state that comes by itself.
//!
//! In: what is looked at. Out: it holds; if it never does, the scenario fails with what was seen last.

use std::time::{Duration, Instant};

/// A state that has not come after this long will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds; if it never does, the test fails with why it did not when last looked at.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let started = Instant::now();
    while let Err(reason) = holds() {
        assert!(
            started.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain until {what}: {reason}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
