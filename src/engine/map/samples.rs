//! Random samples of the pairs, of which the policies of eviction choose.
//!
//! In: the number of pairs. Out: that many entries, or all where there are fewer. Promises: a sample begins at a random place of a random
//! shard, and takes the pairs that follow there, whose order is that of their hashes: it is random, too. Each shard is locked by itself,
//! for reading.

use smallvec::SmallVec;

use super::shard_meta::{SAMPLE_PAIRS, Sample};
use super::sharded_map::Table;
use super::sharding::SHARDS;
use crate::model::entry::{Entry, entry_at};

impl Table {
    /// Returns a sample of all pairs.
    pub(super) fn sample(&self) -> Sample {
        let mut sample = Sample::new();
        let hash = fastrand::u64(..);
        let first = Self::shard_of(hash);
        for index in (first..SHARDS).chain(0..first) {
            let (shard, _) = self.read_shard(index);
            if shard.is_empty() {
                continue;
            }
            let places = shard.buckets();
            let from = fastrand::usize(..places);
            let entries = (from..places).chain(0..from);
            let entries = entries.filter_map(|place| entry_at(&shard, place));
            let entries: SmallVec<[&Entry; SAMPLE_PAIRS]> =
                entries.take(SAMPLE_PAIRS - sample.len()).collect();
            // Each of them is a cache miss; so, these overlap.
            entries.iter().for_each(|entry| entry.prefetch());
            sample.extend(entries.into_iter().cloned());
            if sample.len() == SAMPLE_PAIRS {
                break;
            }
        }
        sample
    }

    /// Returns a sample of the pairs that expire.
    pub(super) fn expiring_sample(&self) -> Sample {
        let mut sample = Sample::new();
        let first = Self::shard_of(fastrand::u64(..));
        for index in (first..SHARDS).chain(0..first) {
            self.metas
                .sample_expiring(index, SAMPLE_PAIRS - sample.len(), &mut sample);
            if sample.len() == SAMPLE_PAIRS {
                break;
            }
        }
        sample
    }

    /// Returns some of the pairs of the shard with the pair that expires soonest, that one first.
    pub(super) fn soonest_expiring(&self, pairs: usize) -> Sample {
        let mut soonest = Sample::new();
        if let Some(index) = self.metas.soonest_shard() {
            self.metas.first_expiring(index, pairs, &mut soonest);
        }
        soonest
    }
}
