//! Exact caches to compare with: LRU, and the optimum, which evicts what is needed farthest in the future.
//!
//! In: requests as numbers of keys, the weight of each key, how much weight fits. Out: how many requests are hits.
//! Promise: with all weights equal no cache of as many entries has more hits than the optimum; with other weights one may.
//! Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", 1966.

use std::collections::{BTreeMap, BinaryHeap};

/// Returns the hits of a cache that evicts what was used longest ago.
pub fn lru_hits(requests: &[usize], weights: &[u64], capacity: u64) -> usize {
    let mut last_use = vec![None; weights.len()];
    let mut by_use = BTreeMap::new();
    let (mut weight, mut hits) = (0, 0);
    for (now, key) in requests.iter().copied().enumerate() {
        match last_use[key].replace(now) {
            Some(before) => {
                hits += 1;
                by_use.remove(&before);
            }
            None => weight += weights[key],
        }
        by_use.insert(now, key);
        while weight > capacity {
            let (_, oldest) = by_use.pop_first().expect("what has weight is listed");
            last_use[oldest] = None;
            weight -= weights[oldest];
        }
    }
    hits
}

/// Returns the hits of a cache that knows the future: it evicts what is asked for again last, which may be what has just come.
pub fn optimal_hits(requests: &[usize], weights: &[u64], capacity: u64) -> usize {
    let next_uses = next_uses(requests, weights.len());
    // Of each key that is held, when it is asked for again.
    let mut held = vec![None; weights.len()];
    // Also has what was true of a key before it was asked for again.
    let mut by_next_use = BinaryHeap::new();
    let (mut weight, mut hits) = (0, 0);
    for (key, next_use) in requests.iter().copied().zip(next_uses) {
        match held[key].replace(next_use) {
            Some(_) => hits += 1,
            None => weight += weights[key],
        }
        by_next_use.push((next_use, key));
        while weight > capacity {
            let (next_use, farthest) = by_next_use.pop().expect("what has weight is listed");
            if held[farthest] == Some(next_use) {
                held[farthest] = None;
                weight -= weights[farthest];
            }
        }
    }
    hits
}

/// Returns for each request the place of the next one for the same key, or one that is never reached.
fn next_uses(requests: &[usize], keys: usize) -> Vec<usize> {
    let mut next = vec![usize::MAX; keys];
    let mut uses = vec![0; requests.len()];
    for (place, key) in requests.iter().copied().enumerate().rev() {
        uses[place] = next[key];
        next[key] = place;
    }
    uses
}
