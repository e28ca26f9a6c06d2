//! Keys as they are asked for in many caches: the one of rank `r` in proportion to `1 / r^0.99`.
//!
//! In: how many keys. Out: numbers of keys. Promise: the frequency of a key says nothing about its number, and the numbers are
//! the same in every run.

use fastrand::Rng;

const EXPONENT: f64 = 0.99;

/// Chooses keys.
pub struct Zipf {
    /// For each rank, the weight of all up to it.
    weights: Vec<f64>,
    keys_by_rank: Vec<usize>,
    random: Rng,
}

impl Zipf {
    pub fn new(keys: usize) -> Self {
        let mut random = Rng::with_seed(1);
        let mut keys_by_rank: Vec<usize> = (0..keys).collect();
        random.shuffle(&mut keys_by_rank);
        let weights = (1..=keys).scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-EXPONENT);
            Some(*sum)
        });
        Self {
            weights: weights.collect(),
            keys_by_rank,
            random,
        }
    }

    /// Returns the number of the next key.
    pub fn next(&mut self) -> usize {
        let all = self.weights.last().expect("there is a key");
        let chosen = self.random.f64() * all;
        let rank = self.weights.partition_point(|weight| *weight <= chosen);
        self.keys_by_rank[rank.min(self.keys_by_rank.len() - 1)]
    }
}
