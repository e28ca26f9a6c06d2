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
/// Part of the cap by which resident memory may be above it before the limit is lowered, and compaction is urgent: one sixty-fourth, which
/// leaves three parts in a hundred for what comes before that takes effect.
const EXCESS_PARTS: u64 = 64;
/// Part of the cap that is left to the allocator at first: it needs as much for itself. To lower the limit when the data is there would
/// leave holes.
const ALLOCATOR_PARTS: u64 = 14;
/// Part of the cap by which resident memory must have grown since the limit was lowered, to lower it once more. Memory that has been
/// freed is resident for a while: to go by it again would lower the limit without end.
const GROWTH_PARTS: u64 = 256;
/// Part of the counted bytes by which resident memory must be above them for a compaction.
const SPARSE_PARTS: u64 = 16;
/// Part of the cap by which resident memory must have grown since a compaction that had little to gain, for the next one: the allocator
/// itself needs memory, too.
const GROWTH_PARTS_OF_COMPACTION: u64 = 64;
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
    /// True while resident memory is above the cap, and more than what is counted; and while it is so much more than the cap that all
    /// who evict take part in compaction.
    is_compacting: AtomicBool,
    is_compaction_urgent: AtomicBool,
    /// Resident memory as last noted, and as it was when compaction had little to gain; 0 if it had.
    resident: AtomicU64,
    compacted_at: AtomicU64,
    /// Number of evictions, and counted bytes, as last noted.
    evicted: AtomicU64,
    counted: AtomicU64,
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
            is_compaction_urgent: AtomicBool::new(false),
            resident: AtomicU64::new(0),
            compacted_at: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            counted: AtomicU64::new(0),
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
        self.compacted_at.store(0, Relaxed);
        self.is_compacting.store(false, Relaxed);
        self.is_compaction_urgent.store(false, Relaxed);
    }

    /// Returns what the counted bytes are held to.
    #[must_use]
    #[inline(always)]
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Returns what the counted bytes are held to while the data is loaded; `u64::MAX` where not every pair may be evicted. A journal is
    /// read beside a snapshot that was written while it grew: for a while, pairs are there that it evicts further on. There are no clients
    /// then, so that the memory for them has room for these.
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

    /// Returns true while whoever evicts has to move pairs, too.
    #[must_use]
    pub fn is_compaction_urgent(&self) -> bool {
        self.is_compaction_urgent.load(Relaxed)
    }

    /// Ends a compaction until resident memory has grown: there is little to gain.
    pub fn rest_compaction(&self) {
        let resident = self.resident.load(Relaxed);
        self.compacted_at.store(resident, Relaxed);
        self.is_compacting.store(false, Relaxed);
        self.is_compaction_urgent.store(false, Relaxed);
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

    /// Decides whether pairs are to be moved together, by the resident memory of the process, without that held for clients, while so many
    /// bytes are counted.
    fn note_sparseness(&self, resident: u64, counted: u64) {
        let cap = self.bytes();
        if cap < MEASURED_CAP_MIN {
            return;
        }
        self.resident.store(resident, Relaxed);
        if resident <= cap {
            self.compacted_at.store(0, Relaxed);
        }
        let least = match self.compacted_at.load(Relaxed) {
            0 => cap,
            before => before + cap / GROWTH_PARTS_OF_COMPACTION,
        };
        let is_sparse = resident > counted + counted / SPARSE_PARTS && resident > least;
        self.is_compacting.store(is_sparse, Relaxed);
        let is_urgent = is_sparse && resident > cap + cap / EXCESS_PARTS;
        self.is_compaction_urgent.store(is_urgent, Relaxed);
    }

    /// Notes how many bytes are counted while the data is loaded.
    pub fn note_counted(&self, counted: u64) {
        self.counted.store(counted, Relaxed);
    }

    /// Decides whether to compact while the data is loaded. The limit stays as it is: nothing is dropped for what is only sparse.
    pub fn note_resident_while_loading(&self, resident: u64) {
        self.note_sparseness(resident, self.counted.load(Relaxed));
    }

    /// Decides whether to compact, and adapts the limit to the resident memory, after so many evictions since the start. What is
    /// resident beside data that does not change is not the data's: replies, for example, that were sent just now.
    pub fn note_resident(&self, resident: u64, counted: u64, evicted: u64) {
        self.note_sparseness(resident, counted);
        let cap = self.bytes();
        if cap < MEASURED_CAP_MIN {
            return;
        }
        let has_evicted = self.evicted.swap(evicted, Relaxed) != evicted;
        let has_grown = self.counted.swap(counted, Relaxed) < counted;
        let is_changing = has_evicted || has_grown;
        let allowed = cap + cap / EXCESS_PARTS;
        let limit = self.limit();
        let lowered_at = self.lowered_at.load(Relaxed);
        if resident > allowed {
            let is_first = lowered_at == 0;
            let before = lowered_at.max(allowed);
            if is_changing && (is_first || resident > before + cap / GROWTH_PARTS) {
                let lower = limit.min(counted).saturating_sub(resident - before);
                self.limit.store(lower.max(cap / LIMIT_PARTS_MIN), Relaxed);
                self.lowered_at.store(resident, Relaxed);
            } else if resident < lowered_at {
                // What was freed has gone back to the system.
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
        let at_first = 100 * MIB - 100 * MIB / 14;
        let mut evicted = 0;
        let mut note = |resident, counted| {
            evicted += 1;
            cap.note_resident(resident, counted, evicted);
        };
        assert_eq!(cap.limit(), at_first);
        note(101 * MIB, 99 * MIB);
        assert!(cap.limit() >= at_first, "so much is allowed");
        note(111 * MIB + MIB / 16 * 9, 92 * MIB);
        assert_eq!(cap.limit(), 82 * MIB, "by what is too much");
        note(111 * MIB, 82 * MIB);
        assert_eq!(
            cap.limit(),
            82 * MIB,
            "what was freed is resident for a while"
        );
        note(113 * MIB, 82 * MIB);
        assert_eq!(cap.limit(), 80 * MIB, "only by the growth");
        note(90 * MIB, 80 * MIB);
        assert!(cap.limit() > 80 * MIB, "it is raised again");
        note(1000 * MIB, 80 * MIB);
        assert_eq!(cap.limit(), 50 * MIB, "and never below the half");
    }

    #[test]
    fn the_limit_stays_while_the_data_does_not_change() {
        let cap = MemoryCap::new(100 * MIB, Eviction::AllKeysLru, 0, 0);
        cap.note_resident(95 * MIB, 93 * MIB, 7);
        let limit = cap.limit();
        cap.note_resident(120 * MIB, 93 * MIB, 7);
        cap.note_resident(120 * MIB, 90 * MIB, 7);
        assert_eq!(cap.limit(), limit, "there were no evictions");
        cap.note_resident(120 * MIB, 90 * MIB, 8);
        assert!(cap.limit() < limit, "there was one");
    }

    #[test]
    fn compaction_begins_above_the_cap_and_rests_where_little_is_to_be_gained() {
        let cap = MemoryCap::new(100 * MIB, Eviction::AllKeysLru, 0, 0);
        let flags = || (cap.is_compacting(), cap.is_compaction_urgent());
        cap.note_sparseness(100 * MIB, 80 * MIB);
        assert_eq!(flags(), (false, false), "at the cap");
        cap.note_sparseness(101 * MIB, 100 * MIB);
        assert_eq!(flags(), (false, false), "hardly more than is counted");
        cap.note_sparseness(101 * MIB, 80 * MIB);
        assert_eq!(flags(), (true, false));
        cap.note_sparseness(105 * MIB, 80 * MIB);
        assert_eq!(flags(), (true, true));
        cap.rest_compaction();
        cap.note_sparseness(106 * MIB, 80 * MIB);
        assert_eq!(flags(), (false, false), "until it has grown");
        cap.note_sparseness(107 * MIB, 80 * MIB);
        assert_eq!(flags(), (true, true));
        cap.rest_compaction();
        cap.set_bytes(90 * MIB);
        cap.note_sparseness(107 * MIB, 80 * MIB);
        assert_eq!(flags(), (true, true), "another cap is another matter");
    }

    #[test]
    fn without_a_cap_and_with_a_small_one_resident_memory_changes_nothing() {
        for bytes in [0, 64 * MIB - 1] {
            let cap = MemoryCap::new(bytes, Eviction::AllKeysLru, 0, 0);
            let limit = cap.limit();
            cap.note_resident(1000 * MIB, 60 * MIB, 1);
            assert_eq!(cap.limit(), limit);
        }
    }
}
