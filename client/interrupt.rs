//! Ctrl-C: noted when it is pressed, and looked at wherever the client waits.
//!
//! In: the signal. Out: whether it has come. Promise: pressed a second time before it was seen, it ends the program.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The interval at which a wait looks for Ctrl-C.
pub const INTERRUPT_INTERVAL: Duration = Duration::from_millis(200);

/// The exit status of a program that Ctrl-C has ended, as shells report it.
pub const INTERRUPTED_STATUS: u8 = 130;

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Catches Ctrl-C from now on, so that a wait can end in order.
pub fn catch() {
    // An error means that it is caught already, or that the system has no signals and Ctrl-C ends the program.
    let _ = ctrlc::set_handler(|| {
        if IS_INTERRUPTED.swap(true, Relaxed) {
            std::process::exit(INTERRUPTED_STATUS.into());
        }
    });
}

/// Returns whether Ctrl-C was pressed since the last [`reset`].
pub fn is_interrupted() -> bool {
    IS_INTERRUPTED.load(Relaxed)
}

/// Forgets an earlier Ctrl-C.
pub fn reset() {
    IS_INTERRUPTED.store(false, Relaxed);
}

/// Sleeps; returns false as soon as Ctrl-C is pressed.
pub fn sleep(time: Duration) -> bool {
    let until = Instant::now() + time;
    while !is_interrupted() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(INTERRUPT_INTERVAL));
    }
    false
}
