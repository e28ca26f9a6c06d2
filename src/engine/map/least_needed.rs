//! The work of `allkeys-smart` on the table: new pairs, and the choice of the one that is needed least.
//!
//! In: hashes of new pairs, and calls for a victim. Out: the record with which a pair begins, or a victim. Promises: what `smart` says of
//! their cost; no shard is waited for under the lock of the policy's state.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::ghosts::Ghost;
use super::shard_meta::Sample;
use super::sharded_map::Table;
use super::sharding::SHARDS;
use super::smart::{
    IN_SMALL, PLACE_BITS, Queue, ShortHash, State, TAG_BITS, USES, real, record_of, shard_of_short,
    shorten, tick_of, unused, uses_of,
};
use super::turnover::ticks_between;
use crate::model::entry::{Entry, Shard, entries_of_hash, entry_at};

/// Factor of the age of the victims of main below which a ghost comes back to main at once.
const DUEL: f64 = 2.0;
/// Number of pairs of the small queue that move to main for one victim.
const PROMOTED_MAX: usize = 8;
/// Number of pairs of main of which the victim is chosen.
const WINDOW_PAIRS: usize = 16;
/// Number of places that the hand passes for one victim, if it has found any pair of main by then.
const PLACES_MAX: usize = 1024;
/// Number of short hashes that leave the queue for one victim.
const POPPED_MAX: usize = 64;
/// Number of short hashes beyond that of the pairs, from which on the queue is looked at for those that are gone.
const QUEUE_SLACK: u64 = 1024;

impl Table {
    /// Adds a new pair with this hash. Returns the record with which it begins.
    pub(super) fn begin_smart(&self, hash: u64) -> u32 {
        let pairs = self.keys();
        self.smart.change(|state| {
            let tick = self.smart.clock.note_new_pair(pairs, self.cap());
            if let Some((ghost, is_newest)) = state.ghosts.remove(hash) {
                if is_newest {
                    state.learn(&ghost, pairs);
                }
                let age = f64::from(ghost.ticks_since(tick)) * state.weights()[ghost.uses as usize];
                if age <= DUEL * state.age {
                    return record_of(tick, ghost.uses);
                }
            }
            let short = shorten(hash);
            // The key was not there: what the queue has of it is stale.
            while state.small.first() == Some(short) {
                state.small.pop();
            }
            state.small.push(short);
            state.is_filling |= pairs * 2 < state.pairs;
            if state.is_filling {
                self.spill(state, pairs);
            } else if state.small.len() > pairs + QUEUE_SLACK {
                // Pairs are deleted rather than evicted, so that nobody else looks at the queue.
                let _ =
                    self.promote_first(&mut state.small) && self.promote_first(&mut state.small);
            }
            record_of(tick, IN_SMALL)
        })
    }

    /// Moves what the small queue has beyond its share to main, with its uses.
    fn spill(&self, state: &mut State, pairs: u64) {
        for _ in 0..POPPED_MAX {
            let has_too_many = real(state.small.len()) > (state.share * real(pairs)).max(1.0);
            if !has_too_many || !self.promote_first(&mut state.small) {
                break;
            }
        }
    }

    /// Moves the oldest pair of the queue to main, with its uses, if it is still there. Returns false if it cannot be looked at now: the
    /// caller has locked shards, so that nobody is waited for.
    fn promote_first(&self, small: &mut Queue) -> bool {
        let Some(short) = small.first() else {
            return false;
        };
        let Some(shard) = self.try_read_shard(shard_of_short(short)) else {
            return false;
        };
        small.pop();
        if let Some((_, record)) = self.find_short(&shard, short) {
            record.fetch_and(!IN_SMALL, Relaxed);
        }
        true
    }

    /// Finds the pair of the small queue with a short hash, and its record.
    fn find_short<'s>(
        &self,
        shard: &'s Shard,
        short: ShortHash,
    ) -> Option<(&'s Entry, &'s AtomicU32)> {
        let tag = u64::from(short >> PLACE_BITS) << (u64::BITS - TAG_BITS);
        let place = u64::from(short) & ((1 << PLACE_BITS) - 1);
        // A larger shard tells more places apart than the short hash does.
        let places = (shard.buckets() as u64 >> PLACE_BITS).max(1);
        (0..places).find_map(|upper| {
            let hash = tag | upper << PLACE_BITS | place;
            entries_of_hash(shard, hash).find_map(|entry| {
                let record = entry.use_record()?;
                let is_it = record.load(Relaxed) & IN_SMALL != 0
                    && shorten(self.hash(entry.key_bytes())) == short;
                is_it.then_some((entry, record))
            })
        })
    }

    /// Returns the pair that is needed least; `None` if a bounded number of looks finds none. While a compaction is urgent, the pairs
    /// that were passed are added to `kept`.
    pub(super) fn least_needed(&self, kept: &mut Sample) -> Option<Entry> {
        let pairs = self.keys();
        let mut promoted = 0;
        for _ in 0..POPPED_MAX {
            let due = self.smart.change(|state| {
                (state.is_filling, state.pairs) = (false, pairs);
                let is_due = promoted < PROMOTED_MAX && state.is_small_full(pairs);
                is_due.then(|| state.small.pop()).flatten()
            });
            let Some(short) = due else {
                break;
            };
            let (shard, _) = self.read_shard(shard_of_short(short));
            let Some((entry, record)) = self.find_short(&shard, short) else {
                continue;
            };
            let value = record.load(Relaxed);
            if uses_of(value) > 0 {
                record.store(unused(tick_of(value)), Relaxed);
                promoted += 1;
                continue;
            }
            // It has left the queue: if it cannot be evicted, the hand finds it.
            record.fetch_and(!IN_SMALL, Relaxed);
            let entry = entry.clone();
            drop(shard);
            self.note_victim(&entry, value, None);
            return Some(entry);
        }
        self.oldest_of_main(kept).or_else(|| self.oldest_of_small())
    }

    /// Returns the oldest pair of the small queue, where main has none.
    fn oldest_of_small(&self) -> Option<Entry> {
        (0..POPPED_MAX).find_map(|_| {
            let short = self.smart.change(|state| state.small.pop())?;
            let (shard, _) = self.read_shard(shard_of_short(short));
            let (entry, record) = self.find_short(&shard, short)?;
            record.fetch_and(!IN_SMALL, Relaxed);
            Some(entry.clone())
        })
    }

    /// Returns the pair of greatest weighted age of those that the hand passes next.
    fn oldest_of_main(&self, kept: &mut Sample) -> Option<Entry> {
        let is_urgent = self.cap().is_compaction_urgent();
        let tick = self.smart.clock.tick();
        let weights = self.smart.change(|state| state.weights());
        let hand = self.smart.hand.lock();
        let mut hand = hand.unwrap_or_else(PoisonError::into_inner);
        let (mut oldest, mut seen, mut places): (Option<(f64, u32, Entry)>, _, _) = (None, 0, 0);
        for _ in 0..SHARDS {
            let (index, mut place) = *hand;
            let (shard, _) = self.read_shard(index);
            while place < shard.buckets() && seen < WINDOW_PAIRS {
                let entry = entry_at(&shard, place);
                (place, places) = (place + 1, places + 1);
                let Some(entry) = entry else {
                    continue;
                };
                // Without a record it is older than the cap.
                let value = entry.use_record().map(|record| record.load(Relaxed));
                if value.is_some_and(|value| value & IN_SMALL != 0) {
                    continue;
                }
                seen += 1;
                let age = value.map_or(f64::INFINITY, |value| {
                    f64::from(ticks_between(tick_of(value), tick)) * weights[uses_of(value)]
                });
                if oldest.as_ref().is_none_or(|(greatest, ..)| age > *greatest) {
                    let passed = oldest.replace((age, value.unwrap_or(0), entry.clone()));
                    kept.extend(passed.map(|(.., entry)| entry).filter(|_| is_urgent));
                } else if is_urgent {
                    kept.push(entry.clone());
                }
            }
            *hand = if place < shard.buckets() {
                (index, place)
            } else {
                ((index + 1) % SHARDS, 0)
            };
            if seen == WINDOW_PAIRS || places >= PLACES_MAX && seen > 0 {
                break;
            }
        }
        drop(hand);
        let (age, value, entry) = oldest?;
        self.note_victim(&entry, value, Some(age));
        Some(entry)
    }

    /// Keeps the ghost of a victim, with its weighted age if it comes from main.
    fn note_victim(&self, entry: &Entry, record: u32, age_in_main: Option<f64>) {
        let ghost = Ghost {
            tick: tick_of(record),
            uses: record & USES,
            is_from_main: age_in_main.is_some(),
        };
        let age = age_in_main.filter(|age| age.is_finite());
        let (hash, pairs) = (self.hash(entry.key_bytes()), self.keys());
        self.smart.change(|state| {
            state.note_victim(&ghost, age.unwrap_or(state.age));
            state.ghosts.add(hash, &ghost, pairs);
        });
    }
}
