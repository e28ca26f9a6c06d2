//! The choice of the pairs that are evicted.
//!
//! In: the policy in force. Out: some entries, the next to go. Promises: a choice takes a bounded number of steps, whatever is stored,
//! and no lock for longer than a look at some entries; a pair that a volatile policy chooses expires.

use std::cmp::Reverse;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::shard_meta::Sample;
use super::sharded_map::Table;
use super::sharding::SHARDS;
use super::uses;
use crate::engine::memory_cap::Eviction;
use crate::model::entry::{Entry, entries_of};

/// Number of pairs of a sample that are evicted: a sample costs more than an eviction.
const VICTIMS: usize = 3;
/// Time for which records of use are made anew at once, and the pause after it.
const RENEWAL_WORK: Duration = Duration::from_micros(200);
const RENEWAL_PAUSE: Duration = Duration::from_micros(600);

/// A choice among some pairs.
#[derive(Debug, Default)]
pub struct Choice {
    /// Those to be evicted; none if there are none that may be.
    pub victims: Sample,
    /// Those that were passed, while a compaction is urgent.
    pub kept: Sample,
}

impl Table {
    /// Chooses some pairs to be evicted.
    #[must_use]
    pub fn choose(&self) -> Choice {
        let eviction = self.cap.eviction();
        match eviction {
            Eviction::NoEviction => Choice::default(),
            Eviction::VolatileTtl => Choice {
                victims: self.soonest_expiring(1),
                kept: Sample::new(),
            },
            Eviction::AllKeysSmart if !self.cap.is_changing() => {
                let mut kept = Sample::new();
                let victim = self.least_needed(&mut kept);
                // Where all are used all the time, any will do.
                let victim = victim.or_else(|| self.sample().pop());
                Choice {
                    victims: victim.into_iter().collect(),
                    kept,
                }
            }
            _ if eviction.is_volatile() => self.highest(self.expiring_sample()),
            _ => self.highest(self.sample()),
        }
    }

    /// Chooses those of a sample that go first.
    fn highest(&self, mut sample: Sample) -> Choice {
        let mut most = VICTIMS;
        if !self.cap.is_changing() {
            sample.sort_by_cached_key(|entry| Reverse(uses::rank(&self.cap, entry.use_record())));
            // Of a sample that is not full, there are few pairs at all.
            most = (sample.len() / 5).clamp(1, VICTIMS);
        }
        let victims = sample.drain(..most.min(sample.len())).collect();
        Choice {
            victims,
            kept: sample,
        }
    }

    /// Writes the records of use of all pairs anew, as of pairs that were not used: the policy has changed. It takes its time, as it may
    /// share a core with those who serve.
    pub fn renew_uses(&self) {
        self.smart.clear();
        let mut began = Instant::now();
        for index in 0..SHARDS {
            let (shard, _) = self.read_shard(index);
            let records = entries_of(&shard).filter_map(Entry::use_record);
            for record in records {
                record.store(self.unused_record(), Relaxed);
            }
            drop(shard);
            if began.elapsed() >= RENEWAL_WORK {
                sleep(RENEWAL_PAUSE);
                began = Instant::now();
            }
        }
        self.cap.end_renewal();
    }
}
