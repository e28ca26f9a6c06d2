//! The clock of `allkeys-smart`: it goes by new pairs, so that a busy cache and an idle one are judged alike.
//!
//! In: new pairs, and the time. Out: ticks, and the time at which a tick began. Promises: in a turnover, when as many new pairs have come
//! as there are, 64 ticks pass; and a tick lasts for a second at most, so that idle times can be told.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::engine::memory_cap::{MemoryCap, TICK_MS};

const TICKS_PER_TURNOVER: u64 = 64;
/// Number of the latest ticks of which the beginnings are kept one by one; of earlier ones, of every so-many-th.
const KEPT: u32 = 4096;
const SECOND: u32 = 1000 / TICK_MS;

/// Number of the lower bits of a tick that records of use hold.
pub(super) const TICK_BITS: u32 = 24;

/// Returns the number of ticks from one to another, of both of which the lower bits are known.
pub(super) fn ticks_between(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from) & (u32::MAX >> (u32::BITS - TICK_BITS))
}

/// The clock.
#[derive(Debug)]
pub(super) struct Turnover {
    tick: AtomicU32,
    /// Number of new pairs in this tick.
    new_pairs: AtomicU64,
    /// Times at which the latest ticks began, in ticks of [`MemoryCap`]; and those at which every 4096th did.
    began: Box<[AtomicU32]>,
    began_before: Box<[AtomicU32]>,
}

impl Default for Turnover {
    fn default() -> Self {
        let times = || (0..KEPT).map(|_| AtomicU32::new(0)).collect();
        Self {
            tick: AtomicU32::new(0),
            new_pairs: AtomicU64::new(0),
            began: times(),
            began_before: times(),
        }
    }
}

impl Turnover {
    /// Returns the current tick.
    #[inline(always)]
    pub(super) fn tick(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    /// Notes a new pair beside so many others. Returns the tick. Only one thread at a time may call it.
    pub(super) fn note_new_pair(&self, pairs: u64, cap: &MemoryCap) -> u32 {
        let new_pairs = self.new_pairs.load(Relaxed) + 1;
        self.new_pairs.store(new_pairs, Relaxed);
        if new_pairs * TICKS_PER_TURNOVER >= pairs {
            self.advance(cap);
        }
        self.tick()
    }

    /// Notes the time: a tick that has lasted for a second ends.
    pub(super) fn note_time(&self, cap: &MemoryCap) {
        if cap.tick().wrapping_sub(self.time_of(self.tick())) >= SECOND {
            self.advance(cap);
        }
    }

    fn advance(&self, cap: &MemoryCap) {
        self.new_pairs.store(0, Relaxed);
        let tick = self.tick().wrapping_add(1);
        self.began[(tick % KEPT) as usize].store(cap.tick(), Relaxed);
        if tick.is_multiple_of(KEPT) {
            self.began_before[(tick / KEPT % KEPT) as usize].store(cap.tick(), Relaxed);
        }
        self.tick.store(tick, Relaxed);
    }

    /// Returns the time at which a tick began, in ticks of [`MemoryCap`]; of one that is long past, the time about which it did.
    pub(super) fn time_of(&self, tick: u32) -> u32 {
        let is_late = ticks_between(tick, self.tick()) < KEPT;
        if is_late {
            self.began[(tick % KEPT) as usize].load(Relaxed)
        } else {
            self.began_before[(tick / KEPT % KEPT) as usize].load(Relaxed)
        }
    }
}
