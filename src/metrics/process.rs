//! Resources of this process, as counted by the operating system.
//!
//! In: nothing. Out: memory and processor time. Promise: a number that the system does not provide is `None`, not 0.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// Returns the resident memory in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    memory_stats::memory_stats().map(|memory| memory.physical_mem as u64)
}

/// Returns the processor time since the start, in user mode and in system mode.
#[must_use]
pub fn cpu_time() -> Option<(Duration, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let duration = |time: TimeVal| {
        let us = u64::try_from(time.num_microseconds()).ok()?;
        Some(Duration::from_micros(us))
    };
    Some((duration(usage.user_time())?, duration(usage.system_time())?))
}
