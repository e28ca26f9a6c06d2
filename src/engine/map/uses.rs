//! The record of use of a pair: when it was last used, or how often, as the policy of eviction needs it.
//!
//! In: uses, and the time as [`MemoryCap`] has noted it. Out: how long a pair was not used, how often it was, and its rank among those
//! that may be evicted. Promise: a use is a load and at most a store, without a lock.
//!
//! ```text
//! by time of use    bits 0..32  tick of the last use
//! by frequency      bits 0..8   logarithmic counter, as Redis has it; 8..32  time of the last use, in units of 512 ticks
//! allkeys-smart     see `smart`
//! ```

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::smart::{self, Smart, tick_of};
use crate::engine::memory_cap::{Eviction, MemoryCap, TICK_MS};

/// Number of the lower bits that are no time.
const STATE_BITS: u32 = 8;
const STATE: u32 = (1 << STATE_BITS) - 1;
/// Binary logarithm of the number of ticks in the unit of the time above the state: about a second.
const UNIT_LOG2: u32 = 9;
/// Number of units in a minute, after which a frequency is one less, as Redis's `lfu-decay-time` has it.
const UNITS_PER_MINUTE: u32 = (60_000 / TICK_MS) >> UNIT_LOG2;
/// Frequency of a new pair, so that it is not evicted before it could be used: Redis's `LFU_INIT_VAL`.
const FREQUENCY_NEW: u32 = 5;
/// Redis's `lfu-log-factor`: about a million uses until the counter is full.
const FREQUENCY_FACTOR: u32 = 10;

fn with_state(tick: u32, state: u32) -> u32 {
    (tick >> UNIT_LOG2) << STATE_BITS | state
}

/// Returns the units that have passed since a use.
fn units_since(tick: u32, record: u32) -> u32 {
    (tick >> UNIT_LOG2).wrapping_sub(record >> STATE_BITS) & (u32::MAX >> UNIT_LOG2)
}

/// Returns the record of a pair that is new, or that nothing is known of, for all policies but `allkeys-smart`.
pub(super) fn new_record(cap: &MemoryCap) -> u32 {
    let tick = cap.tick();
    if cap.eviction().is_lfu() {
        with_state(tick, FREQUENCY_NEW)
    } else {
        tick
    }
}

/// Notes a use of a pair now.
pub(super) fn note_use(cap: &MemoryCap, smart: &Smart, record: &AtomicU32) {
    let before = record.load(Relaxed);
    let after = match cap.eviction() {
        Eviction::AllKeysSmart => smart::used(before, smart.clock.tick()),
        Eviction::AllKeysLfu | Eviction::VolatileLfu => {
            let tick = cap.tick();
            with_state(tick, increased(frequency(tick, before)))
        }
        _ => cap.tick(),
    };
    // A line that does not change stays in the caches of all cores.
    if after != before {
        // If another has changed it meanwhile, one use is lost, and not the change.
        let _ = record.compare_exchange(before, after, Relaxed, Relaxed);
    }
}

/// Returns the frequency in a record, less what it has lost since the last use.
fn frequency(tick: u32, record: u32) -> u32 {
    let minutes = units_since(tick, record) / UNITS_PER_MINUTE;
    (record & STATE).saturating_sub(minutes)
}

/// Returns a frequency after one more use: the higher it is, the more rarely it grows.
fn increased(frequency: u32) -> u32 {
    let above = frequency.saturating_sub(FREQUENCY_NEW);
    // One of so many numbers; a range would be exact, and twice as dear.
    let chances = u64::from(above * FREQUENCY_FACTOR + 1);
    let drawn = (u64::from(fastrand::u32(..)) * chances) >> u32::BITS;
    let grows = frequency < STATE && drawn == 0;
    frequency + u32::from(grows)
}

/// What a record tells of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Milliseconds since the last use.
    pub idle_ms: u64,
    /// How often it was used, from 0 to 255, on a logarithmic scale; `None` unless the policy goes by it.
    pub frequency: Option<u32>,
}

/// Returns what a record tells.
pub(super) fn use_of(cap: &MemoryCap, smart: &Smart, record: u32) -> Use {
    let (tick, eviction) = (cap.note_time(), cap.eviction());
    let ticks = match eviction {
        Eviction::AllKeysSmart => tick.wrapping_sub(smart.clock.time_of(tick_of(record))),
        Eviction::AllKeysLfu | Eviction::VolatileLfu => units_since(tick, record) << UNIT_LOG2,
        _ => tick.wrapping_sub(record),
    };
    Use {
        idle_ms: u64::from(ticks) * u64::from(TICK_MS),
        frequency: eviction.is_lfu().then(|| frequency(tick, record)),
    }
}

/// Returns the rank of a pair among those that may be evicted: the highest goes first. A pair without a record was there before the
/// cap, and goes before all others.
pub(super) fn rank(cap: &MemoryCap, record: Option<&AtomicU32>) -> u64 {
    let Some(record) = record.map(|record| record.load(Relaxed)) else {
        return u64::MAX;
    };
    let tick = cap.tick();
    match cap.eviction() {
        // A record may be a little later than the tick.
        Eviction::AllKeysLru | Eviction::VolatileLru => {
            let ticks = tick.wrapping_sub(record);
            u64::from(if ticks > u32::MAX / 2 { 0 } else { ticks })
        }
        Eviction::AllKeysLfu | Eviction::VolatileLfu => {
            let rareness = STATE - frequency(tick, record);
            u64::from(rareness) << u32::BITS | u64::from(units_since(tick, record))
        }
        // Any will do.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequency_grows_with_uses_ever_more_slowly_and_falls_by_the_minute() {
        fastrand::seed(1);
        let mut frequencies = Vec::new();
        let mut frequency_now = FREQUENCY_NEW;
        for uses in 1..=10_000 {
            frequency_now = increased(frequency_now);
            if [1, 100, 1_000, 10_000].contains(&uses) {
                frequencies.push(frequency_now);
            }
        }
        // Redis's documentation has 10, 18, 142 for factor 10 after 100, 1,000 and 100,000 uses, from the same start.
        assert_eq!(frequencies[0], 6, "the first use counts");
        assert!((8..=13).contains(&frequencies[1]), "{frequencies:?}");
        assert!((15..=22).contains(&frequencies[2]), "{frequencies:?}");
        assert!((40..=60).contains(&frequencies[3]), "{frequencies:?}");
        let record = with_state(0, 20);
        let ticks_per_minute = 60_000 / TICK_MS;
        assert_eq!(frequency(3 * ticks_per_minute + 2_000, record), 17);
        assert_eq!(frequency(100 * ticks_per_minute, record), 0);
    }

    #[test]
    fn idle_time_counts_across_the_end_of_the_clock() {
        assert_eq!(
            units_since(3 << UNIT_LOG2, with_state(1 << UNIT_LOG2, 7)),
            2
        );
        assert_eq!(units_since(1 << UNIT_LOG2, with_state(u32::MAX, 7)), 2);
    }
}
