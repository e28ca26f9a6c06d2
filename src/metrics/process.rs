//! Resources of this process, as counted by the operating system.
//!
//! In: nothing. Out: memory and processor time. Promise: a number that the system does not provide is `None`, not 0.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::sysinfo::sysinfo;
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::sys::utsname::uname;

/// Returns the resident memory in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    memory_stats::memory_stats().map(|memory| memory.physical_mem as u64)
}

/// Returns the most resident memory since the start, in bytes.
#[must_use]
pub fn resident_bytes_max() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    // In KiB, by getrusage(2). The system counts both apart.
    let most = u64::try_from(usage.max_rss()).ok()? << 10;
    Some(most.max(resident_bytes().unwrap_or(0)))
}

/// Returns the memory of the machine in bytes; 0 if it is not known.
#[must_use]
pub fn system_memory_bytes() -> u64 {
    sysinfo().map_or(0, |info| info.ram_total())
}

/// Returns the name of the operating system, its release and the machine: `Linux 6.1.0 x86_64`.
#[must_use]
pub fn system_name() -> String {
    let Ok(names) = uname() else {
        return std::env::consts::OS.to_owned();
    };
    let names = [names.sysname(), names.release(), names.machine()];
    names.map(std::ffi::OsStr::to_string_lossy).join(" ")
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
