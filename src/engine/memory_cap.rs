//! The cap on the memory of the data, and the policy by which pairs are evicted.
//!
//! In: a cap and a policy, from the settings; the resident memory of the process, from time to time. Out: the limit that the counted
//! bytes are held to. Promises: without a cap nothing is recorded or counted for it; where the allocator needs more than is counted, the
//! limit is lowered until resident memory keeps to the cap, and raised again later.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Policy by which pairs are evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// None: changes that need memory are refused.
    NoEviction,
    /// The one that was not used for the longest time, of a sample.
    AllKeysLru,
    /// The one that is used least often, of a sample.
    AllKeysLfu,
    /// Any.
    AllKeysRandom,
    /// As `AllKeysLru`, among the pairs that expire.
    VolatileLru,
    /// As `AllKeysLfu`, among the pairs that expire.
    VolatileLfu,
    /// Any that expires.
    VolatileRandom,
    /// The one that expires soonest.
    VolatileTtl,
    /// The one that is needed least: new pairs have to prove themselves.
    AllKeysSmart,
}

impl Eviction {
    /// Every policy; the place of each is its number.
    pub const ALL: [Self; 9] = [
        Self::NoEviction,
        Self::AllKeysLru,
        Self::AllKeysLfu,
        Self::AllKeysRandom,
        Self::VolatileLru,
        Self::VolatileLfu,
        Self::VolatileRandom,
        Self::VolatileTtl,
        Self::AllKeysSmart,
    ];

    /// Returns the name, which is Redis's but for `allkeys-smart`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllKeysLru => "allkeys-lru",
            Self::AllKeysLfu => "allkeys-lfu",
            Self::AllKeysRandom => "allkeys-random",
            Self::VolatileLru => "volatile-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
            Self::AllKeysSmart => "allkeys-smart",
        }
    }

    /// Returns the policy of a name, in any case.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|eviction| eviction.name().eq_ignore_ascii_case(name))
    }

    /// Returns true if only pairs that expire are evicted.
    #[must_use]
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl
        )
    }

    /// Returns true if it counts how often a pair is used.
    #[must_use]
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::AllKeysLfu | Self::VolatileLfu)
    }
}

/// Length of a tick, in which the time of the last use of a pair is kept: 2^32 of them are 99 days.
pub const TICK_MS: u32 = 2;

/// Cap from which on resident memory is looked at, in bytes, and the memory of the program is counted: of a smaller one, the program
/// itself is a large part.
const MEASURED_CAP_MIN: u64 = 64 << 20;
/// Part of the cap by which resident memory may be above it before the limit is lowered: one thirty-second, which leaves two parts in
/// a hundred for what comes before the next look.
const EXCESS_PARTS: u64 = 32;
/// Part of the cap that is left to the allocator at first: it needs as much for itself. To lower the limit when the data is there would
/// leave holes.
const ALLOCATOR_PARTS: u64 = 16;
/// Part of the cap by which resident memory must have grown since the limit was lowered, to lower it once more. Memory that has been
/// freed is resident for a while: to go by it again would lower the limit without end.
const GROWTH_PARTS: u64 = 256;
/// Part of the counted bytes by which resident memory must be above them for a compaction.
const SPARSE_PARTS: u64 = 16;
/// Part of the limit's distance to the cap by which it is raised in each look with memory to spare.
const RAISED_PARTS: u64 = 64;
/// Part of the cap that the limit never falls below.
const LIMIT_PARTS_MIN: u64 = 2;

/// The cap, and what follows from it.
#[derive(Debug)]
pub struct MemoryCap {
    /// The cap in bytes; 0 if there is none.
    cap: AtomicU64,
    /// Memory that clients may hold beside it.
    clients_bytes: u64,
    /// Memory of the program before there is any data.
    program_bytes: u64,
    /// What the counted bytes are held to: the cap, or less where resident memory needs it; `u64::MAX` if there is none.
    limit: AtomicU64,
    /// Resident memory at which the limit was last lowered; 0 if it was not.
    lowered_at: AtomicU64,
    /// True while resident memory is above the cap, and more than what is counted.
    is_compacting: AtomicBool,
    eviction: AtomicU8,
    /// True while evictions cannot go by the records of use, as these are of another policy.
    is_changing: AtomicBool,
    /// True if they have to be made anew, and nobody has begun to.
    is_renewal_due: AtomicBool,
    started: Instant,
    /// Ticks since the start, as last noted.
    tick: AtomicU32,
}

impl Default for MemoryCap {
    /// Makes no cap.
    fn default() -> Self {
        Self::new(0, Eviction::NoEviction, 0, 0)
    }
}

impl MemoryCap {
    /// Makes a cap of so many bytes, or none if they are 0, beside the memory that clients may hold. The memory of the program is
    /// what it holds before there is any data.
    #[must_use]
    pub fn new(cap_bytes: u64, eviction: Eviction, clients_bytes: u64, program_bytes: u64) -> Self {
        let cap = Self {
            clients_bytes,
            program_bytes,
            cap: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            lowered_at: AtomicU64::new(0),
            is_compacting: AtomicBool::new(false),
            eviction: AtomicU8::new(eviction as u8),
            is_changing: AtomicBool::new(false),
            is_renewal_due: AtomicBool::new(false),
            started: Instant::now(),
            tick: AtomicU32::new(0),
        };
        cap.set_bytes(cap_bytes);
        cap
    }

    /// Returns true if there is a cap.
    #[must_use]
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.cap.load(Relaxed) > 0
    }

    /// Returns the cap in bytes; 0 if there is none.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cap.load(Relaxed)
    }

    /// Returns the memory of the program itself, which counts as that of the data does; 0 under a cap of which it would be a large
    /// part: that one is the data's alone.
    #[must_use]
    pub fn program_bytes(&self) -> u64 {
        if (1..MEASURED_CAP_MIN).contains(&self.bytes()) {
            0
        } else {
            self.program_bytes
        }
    }

    /// Sets the cap in bytes; 0 for none.
    pub fn set_bytes(&self, bytes: u64) {
        self.cap.store(bytes, Relaxed);
        let limit = match bytes {
            0 => u64::MAX,
            1..MEASURED_CAP_MIN => bytes,
            _ => bytes - bytes / ALLOCATOR_PARTS,
        };
        self.limit.store(limit, Relaxed);
        self.lowered_at.store(0, Relaxed);
        self.is_compacting.store(false, Relaxed);
    }

    /// Returns what the counted bytes are held to.
    #[must_use]
    #[inline(always)]
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Returns what the counted bytes are held to while the data is loaded; `u64::MAX` where not every pair may be evicted. A journal is read beside a
    /// snapshot that was written while it grew: for a while, pairs are there that it evicts further on. There are no clients then, so
    /// that the memory for them has room for these.
    #[must_use]
    pub fn load_limit(&self) -> u64 {
        let eviction = self.eviction();
        if !self.is_set() || eviction == Eviction::NoEviction || eviction.is_volatile() {
            return u64::MAX;
        }
        self.limit() + self.clients_bytes
    }

    /// Returns true while pairs are to be moved together in memory.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.is_compacting.load(Relaxed)
    }

    /// Returns the policy.
    #[must_use]
    #[inline(always)]
    pub fn eviction(&self) -> Eviction {
        Eviction::ALL[usize::from(self.eviction.load(Relaxed))]
    }

    /// Sets the policy. Until the records of use are its own, any pair is evicted.
    pub fn set_eviction(&self, eviction: Eviction) {
        if self.eviction.swap(eviction as u8, Relaxed) != eviction as u8 {
            self.is_changing.store(true, Relaxed);
            self.is_renewal_due.store(true, Relaxed);
        }
    }

    /// Returns true if the records of use have to be made anew, and nobody has begun to.
    #[must_use]
    pub fn begin_renewal(&self) -> bool {
        self.is_renewal_due.swap(false, Relaxed)
    }

    /// Ends a change of the policy: the records of use are its own by now, unless there was another change.
    pub fn end_renewal(&self) {
        if !self.is_renewal_due.load(Relaxed) {
            self.is_changing.store(false, Relaxed);
        }
    }

    /// Returns true while the records of use are of another policy.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.is_changing.load(Relaxed)
    }

    /// Returns the time as last noted, in ticks since the start.
    #[must_use]
    #[inline(always)]
    pub fn tick(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    /// Notes the time. Where it is not noted for long, uses in between seem to be of the same time.
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap after 99 days")]
    pub fn note_time(&self) -> u32 {
        let tick = (self.started.elapsed().as_millis() / u128::from(TICK_MS)) as u32;
        self.tick.store(tick, Relaxed);
        tick
    }

    /// Adapts the limit to the resident memory of the process, without that held for clients, while so many bytes are counted.
    pub fn note_resident(&self, resident: u64, counted: u64) {
        let cap = self.bytes();
        if cap < MEASURED_CAP_MIN {
            return;
        }
        let is_sparse = resident > counted + counted / SPARSE_PARTS;
        self.is_compacting
            .store(resident > cap && is_sparse, Relaxed);
        let allowed = cap + cap / EXCESS_PARTS;
        let limit = self.limit();
        if resident > allowed {
            let before = self.lowered_at.load(Relaxed).max(allowed);
            let is_first = self.lowered_at.load(Relaxed) == 0;
            if is_first || resident > before + cap / GROWTH_PARTS {
                let excess = resident - if is_first { allowed } else { before };
                let lower = limit.min(counted).saturating_sub(excess);
                self.limit.store(lower.max(cap / LIMIT_PARTS_MIN), Relaxed);
                self.lowered_at.store(resident, Relaxed);
            }
        } else if limit < cap && resident < cap {
            // As far as there is memory to spare, and slowly, as it may be needed at once.
            let spare = (cap - resident).min(cap - limit);
            self.limit
                .store(limit + spare.div_ceil(RAISED_PARTS), Relaxed);
            self.lowered_at.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_limit_follows_resident_memory_once_for_each_growth() {
        let cap = MemoryCap::new(100 * MIB, Eviction::AllKeysLru, 0, 0);
        let at_first = 100 * MIB - 100 * MIB / 16;
        assert_eq!(cap.limit(), at_first);
        cap.note_resident(103 * MIB, 99 * MIB);
        assert!(cap.limit() >= at_first, "three in a hundred are allowed");
        cap.note_resident(113 * MIB + MIB / 8, 93 * MIB);
        assert_eq!(cap.limit(), 83 * MIB, "by what is too much");
        cap.note_resident(113 * MIB, 83 * MIB);
        assert_eq!(
            cap.limit(),
            83 * MIB,
            "what was freed is resident for a while"
        );
        cap.note_resident(115 * MIB + MIB / 8, 83 * MIB);
        assert_eq!(cap.limit(), 81 * MIB, "only by the growth");
        cap.note_resident(90 * MIB, 80 * MIB);
        assert!(cap.limit() > 81 * MIB, "it is raised again");
        cap.note_resident(1000 * MIB, 80 * MIB);
        assert_eq!(cap.limit(), 50 * MIB, "and never below the half");
    }

    #[test]
    fn without_a_cap_and_with_a_small_one_resident_memory_changes_nothing() {
        for bytes in [0, 64 * MIB - 1] {
            let cap = MemoryCap::new(bytes, Eviction::AllKeysLru, 0, 0);
            let limit = cap.limit();
            cap.note_resident(1000 * MIB, 60 * MIB);
            assert_eq!(cap.limit(), limit);
        }
    }
}
