//! What the system says of this process.
//!
//! In: nothing. Out: its memory, its time on the processor. Promise: what cannot be known is none, not nought.

use std::time::Duration;

/// Memory that is resident, in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    memory_stats::memory_stats().map(|memory| memory.physical_mem as u64)
}

/// Time on the processor so far: in the program itself, and in the system for it.
#[must_use]
pub fn cpu_time() -> Option<(Duration, Duration)> {
    // Fields 14 and 15 of proc(5), after the name, which may hold blanks; a hundredth of a second each.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut ticks = stat.rsplit(") ").next()?.split(' ').skip(11);
    let mut time = || {
        Some(Duration::from_millis(
            10 * ticks.next()?.parse::<u64>().ok()?,
        ))
    };
    Some((time()?, time()?))
}
