//! The durability of changes: the promise for each at the moment its client reads `OK`.
//!
//! In: a level. Out: the level, and the interval of syncs that keeps its promise.

use std::fmt;
use std::time::Duration;

/// The interval of syncs under `everysec`: half of `UNSYNCED_AGE_MAX`, as the sync itself takes the other half at most.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// The age up to which a power cut may take changes under `everysec`.
pub const UNSYNCED_AGE_MAX: Duration = Duration::from_secs(1);

/// The promise for a change at the moment its client reads `OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It has been handed to the operating system: a kill of the server loses nothing, a power cut at most the last second. A
    /// thread syncs what was written every half second, and no client waits for it; where the disk is slower than that,
    /// STATS and `/health` say by how much. It costs one write for all who commit at the same time.
    EverySecond,
    /// It is on the disk: neither a kill nor a power cut loses it. It costs the time of a sync, which all share who commit at
    /// the same time; a read waits only if it has seen a change that is not on the disk yet.
    Always,
    /// It is in memory: a kill or a power cut loses all changes since the last save. It costs nothing.
    Off,
    /// It is in the log that several servers share: no failure of one of them loses it, nor that of fewer than half of the machines that
    /// keep the log. It costs the time of a transaction there, which all share who commit at the same time; a read waits only if it
    /// has seen a change that is not there yet. On this disk it is as under `EverySecond`.
    Replicated,
}

impl Durability {
    /// Returns true if what was written is synced by the clock, and nobody waits for that.
    #[must_use]
    pub const fn syncs_by_clock(self) -> bool {
        matches!(self, Self::EverySecond | Self::Replicated)
    }

    /// Returns the name of the level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EverySecond => "everysec",
            Self::Always => "always",
            Self::Off => "off",
            Self::Replicated => "replicated",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
