//! The policy `allkeys-smart`: new pairs have to be used again soon, or they go before those that have proved themselves.
//!
//! In: new pairs, uses, and calls for victims. Out: the pairs that are needed least. Promises: a use is noted in the record of the pair
//! alone, at most once in a tick; a new pair and a victim cost a bounded number of steps; beside its record a pair takes four bytes for the
//! ghost of another one, and those of the small queue four more.
//! Sources: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023) for the small queue, ARC (Megiddo and
//! Modha, FAST 2003) for its adaptive share, hyperbolic caching (Blankstein et al., ATC 2017) for the choice by weighted age.
//!
//! ```text
//!                  new                       not used since: evicted, and its hash is a ghost for a while
//!   new pair ────────────▶ small queue ──────────────────────────▶ ghosts
//!       │ a ghost that        │ used since                         ▲
//!       ▼ wins the duel       ▼                                    │ the one of greatest weighted age, of a window
//!       main: the table itself, over which a hand goes on ─────────┘
//! ```
//!
//! Record of a pair: bits 0..2 are its uses, up to 3; bit 2 says that it is in the small queue; 8..32 are the tick of its last use.
//! A tick is a 64th of a turnover: so many new pairs as a 64th of those that are there; and a second at most.
//!
//! The constants, here and in `least_needed`, were chosen by simulation, on traces of real caches and on synthetic ones; the mean hit ratio
//! depends on none of them by more than a quarter of a point.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::ghosts::{Ghost, Ghosts};
use super::sharding::shard_of;
use super::turnover::{TICK_BITS, Turnover};
use crate::engine::memory_cap::MemoryCap;

pub(super) const USES: u32 = 3;
pub(super) const IN_SMALL: u32 = 4;
const TICK_SHIFT: u32 = u32::BITS - TICK_BITS;

/// Share of the pairs that the small queue has at the start, and its limits.
const SHARE: f64 = 1.0 / 16.0;
const SHARE_MIN: f64 = 0.01;
const SHARE_MAX: f64 = 0.5;
/// Pairs by which one ghost that comes back changes the share, and the most by which rareness multiplies that.
const SHARE_STEP: f64 = 2.0;
const RARENESS_MAX: f64 = 10.0;
/// Factor by which a use makes a pair younger, and its limits; and ticks by which one ghost changes it.
const YOUTH: f64 = 1.5;
const YOUTH_MIN: f64 = 1.0;
const YOUTH_MAX: f64 = 2.2;
const YOUTH_STEP: f64 = 8.0;
/// Weight of the newest victim in the mean age of those of main, and in the means of where victims come from.
const AGE_WEIGHT: f64 = 1.0 / 8.0;
const ORIGIN_WEIGHT: f64 = 1.0 / 512.0;

pub(super) fn record_of(tick: u32, state: u32) -> u32 {
    tick << TICK_SHIFT | state
}

/// Returns the tick in a record.
pub(super) fn tick_of(record: u32) -> u32 {
    record >> TICK_SHIFT
}

pub(super) fn uses_of(record: u32) -> usize {
    (record & USES) as usize
}

/// Returns a record after a use in this tick.
pub(super) fn used(record: u32, tick: u32) -> u32 {
    if tick_of(record) == tick & (u32::MAX >> TICK_SHIFT) {
        return record;
    }
    let uses = (record & USES).saturating_add(1).min(USES);
    record_of(tick, uses | record & IN_SMALL)
}

/// Returns the record of a pair of main that was not used since this tick.
pub(super) fn unused(tick: u32) -> u32 {
    record_of(tick, 0)
}

/// A hash in 32 bits: the shard, and as much of the hash as finds the entry there.
pub(super) type ShortHash = u32;
pub(super) const TAG_BITS: u32 = 7;
pub(super) const PLACE_BITS: u32 = 13;

pub(super) fn shorten(hash: u64) -> ShortHash {
    let shard = shard_of(hash) as u64;
    let tag = hash >> (u64::BITS - TAG_BITS);
    let place = hash & ((1 << PLACE_BITS) - 1);
    let short = (shard << TAG_BITS | tag) << PLACE_BITS | place;
    ShortHash::try_from(short).expect("12, 7 and 13 bits are 32")
}

pub(super) fn shard_of_short(short: ShortHash) -> usize {
    (short >> (TAG_BITS + PLACE_BITS)) as usize
}

/// What the policy keeps beside the records.
#[derive(Debug, Default)]
pub(super) struct Smart {
    /// Locked under the locks of shards, so that no shard may be waited for under this one.
    state: Mutex<State>,
    /// Where the hand stands: a shard, and a place in it. Shards are locked under this.
    pub(super) hand: Mutex<(usize, usize)>,
    /// Bytes of the queue and the ghosts.
    bytes: AtomicU64,
    /// The clock of the records.
    pub(super) clock: Turnover,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) small: Queue,
    pub(super) ghosts: Ghosts,
    /// Share of the pairs that the small queue has.
    pub(super) share: f64,
    /// Factor by which a use makes a pair younger.
    youth: f64,
    /// Mean of the weighted ages of the victims of main; infinite before the first.
    pub(super) age: f64,
    /// Share of the victims that come from main, and of those that had been used among them.
    from_main: f64,
    from_used: f64,
    /// True before the first eviction: then no pair has to prove itself, as there is room for all.
    pub(super) is_filling: bool,
    /// Number of pairs at the last eviction.
    pub(super) pairs: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            small: Queue::default(),
            ghosts: Ghosts::default(),
            share: SHARE,
            youth: YOUTH,
            age: f64::INFINITY,
            from_main: 0.5,
            from_used: 0.5,
            is_filling: true,
            pairs: 0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of a number of pairs")]
pub(super) fn real(pairs: u64) -> f64 {
    pairs as f64
}

/// Returns how rare events of this share are beside all others, as a factor.
fn rareness(share: f64) -> f64 {
    ((1.0 - share) / share).clamp(1.0, RARENESS_MAX)
}

impl State {
    /// Returns the weight of an age, for each number of uses.
    pub(super) fn weights(&self) -> [f64; USES as usize + 1] {
        let youth = self.youth;
        [
            1.0,
            1.0 / youth,
            1.0 / (youth * youth),
            1.0 / (youth * youth * youth),
        ]
    }

    /// Returns true if the small queue has its share of so many pairs, or more.
    pub(super) fn is_small_full(&self, pairs: u64) -> bool {
        self.small.len() > 0 && real(self.small.len()) >= (self.share * real(pairs)).max(1.0)
    }

    /// Learns of a ghost that has come back soon after it went: more room where it came from would have kept it.
    pub(super) fn learn(&mut self, ghost: &Ghost, pairs: u64) {
        let pairs = real(pairs.max(1));
        let step = SHARE_STEP / pairs;
        self.share += if ghost.is_from_main {
            -step * rareness(self.from_main)
        } else {
            step * rareness(1.0 - self.from_main)
        };
        self.share = self.share.clamp(SHARE_MIN, SHARE_MAX);
        if ghost.is_from_main {
            let step = YOUTH_STEP / pairs;
            self.youth += if ghost.uses == 0 {
                -step * rareness(1.0 - self.from_used)
            } else {
                step * rareness(self.from_used)
            };
            self.youth = self.youth.clamp(YOUTH_MIN, YOUTH_MAX);
        }
    }

    /// Learns of a victim, with its weighted age if it comes from main.
    pub(super) fn note_victim(&mut self, ghost: &Ghost, age: f64) {
        let mean = |mean: &mut f64, is_so: bool, weight: f64| {
            *mean += (f64::from(u8::from(is_so)) - *mean) * weight;
        };
        mean(&mut self.from_main, ghost.is_from_main, ORIGIN_WEIGHT);
        if ghost.is_from_main {
            mean(&mut self.from_used, ghost.uses > 0, ORIGIN_WEIGHT);
            self.age = if self.age.is_finite() {
                self.age + (age - self.age) * AGE_WEIGHT
            } else {
                age
            };
        }
    }
}

impl Smart {
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        let bytes = state.small.bytes() + state.ghosts.bytes();
        self.bytes.store(bytes as u64, Relaxed);
        result
    }

    /// Notes the time on the clock.
    pub(super) fn note_time(&self, cap: &MemoryCap) {
        self.change(|_| self.clock.note_time(cap));
    }

    /// Removes all that is kept.
    pub(super) fn clear(&self) {
        self.change(|state| *state = State::default());
    }

    /// Returns the bytes of the queue and the ghosts.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// Number of short hashes in a block of a queue, which is freed as a whole.
const BLOCK: usize = 1024;

/// A queue of short hashes, in blocks: it grows without a copy, and takes little more than it holds.
#[derive(Debug, Default)]
pub(super) struct Queue {
    blocks: VecDeque<Vec<ShortHash>>,
    /// Number of those that have left the first block.
    left: usize,
    len: u64,
}

impl Queue {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<ShortHash>()
    }

    pub(super) fn push(&mut self, short: ShortHash) {
        self.len += 1;
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK => block.push(short),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(short);
                self.blocks.push_back(block);
            }
        }
    }

    pub(super) fn first(&self) -> Option<ShortHash> {
        self.blocks.front().map(|first| first[self.left])
    }

    pub(super) fn pop(&mut self) -> Option<ShortHash> {
        let short = self.first()?;
        self.left += 1;
        self.len -= 1;
        if self
            .blocks
            .front()
            .is_some_and(|first| first.len() == self.left)
        {
            self.blocks.pop_front();
            self.left = 0;
        }
        Some(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_back_what_came_first_across_its_blocks() {
        let mut queue = Queue::default();
        for number in 0..5_000 {
            queue.push(number);
        }
        for number in 0..4_999 {
            assert_eq!(queue.pop(), Some(number));
        }
        queue.push(7);
        assert_eq!((queue.len(), queue.first()), (2, Some(4_999)));
        let rest = [queue.pop(), queue.pop(), queue.pop()];
        assert_eq!(rest, [Some(4_999), Some(7), None]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn uses_count_once_in_a_tick_and_up_to_three() {
        let mut record = record_of(7, IN_SMALL);
        for (tick, uses) in [(7, 0), (8, 1), (8, 1), (9, 2), (10, 3), (11, 3)] {
            record = used(record, tick);
            assert_eq!((uses_of(record), tick_of(record)), (uses, tick));
            assert_ne!(record & IN_SMALL, 0);
        }
    }

    #[test]
    fn a_ghost_moves_the_share_towards_where_it_came_from() {
        let mut state = State::default();
        let mut ghost = Ghost {
            tick: 0,
            uses: 1,
            is_from_main: false,
        };
        for _ in 0..100 {
            state.learn(&ghost, 1_000);
        }
        assert!((0.26..0.27).contains(&state.share), "{}", state.share);
        ghost.is_from_main = true;
        for _ in 0..10_000 {
            state.learn(&ghost, 1_000);
        }
        assert!((state.share - SHARE_MIN).abs() < 1e-9);
        assert!((state.youth - YOUTH_MAX).abs() < 1e-9);
    }
}
