//! A histogram of latencies, with a relative error of a quarter.
//!
//! In: the latency of a batch, and its number of requests. Out: counts by latency, quantiles. Promises: recording takes two
//! additions and no lock; a count never decreases.

use std::iter::repeat_with;
use std::time::Duration;

use crate::metrics::counter::{Counter, Writers};

/// Resolution in parts of a microsecond: most requests of a pipeline take less than one.
const PER_MICROSECOND: u64 = 16;
/// Number of slots between a latency and its double, all of the same width.
const SLOTS_PER_DOUBLING: usize = 4;
/// Number of doublings from one part of a microsecond to the longest latency with a slot of its own, 2^24 us or 17 s.
const DOUBLINGS: usize = 28;
const SLOTS: usize = SLOTS_PER_DOUBLING * (DOUBLINGS - 1);

/// A histogram that many threads record into.
#[derive(Debug)]
pub struct Latencies {
    slots: Box<[Counter]>,
    sum_ns: Counter,
    spent_ns: Counter,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            slots: repeat_with(Counter::default).take(SLOTS).collect(),
            sum_ns: Counter::default(),
            spent_ns: Counter::default(),
        }
    }
}

impl Latencies {
    /// Records that many requests with this latency, of a batch of `all` requests that share its time.
    #[inline(always)]
    pub fn add(&self, took: Duration, (requests, all): (u64, u64), writers: Writers) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.slots[slot_of(ns)].add(requests, writers);
        self.sum_ns.add(ns.saturating_mul(requests), writers);
        let spent_ns = if requests == all {
            ns
        } else {
            ns.saturating_mul(requests) / all.max(1)
        };
        self.spent_ns.add(spent_ns, writers);
    }

    /// Returns the counts at this time.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        LatencyCounts {
            slots: self.slots.iter().map(Counter::get).collect(),
            sum_ns: self.sum_ns.get(),
            spent_ns: self.spent_ns.get(),
        }
    }
}

/// Counts of requests by latency, since the start or between two times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    slots: Vec<u64>,
    sum_ns: u64,
    spent_ns: u64,
}

impl LatencyCounts {
    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// Returns the sum of the latencies.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Returns the time that the server has spent on the requests: those of one batch share its time.
    #[must_use]
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_ns)
    }

    /// Returns cumulative counts for 1 us, 2 us, 4 us and so on: each latency in microseconds, and the number of requests with at
    /// most this latency.
    pub fn up_to(&self) -> impl Iterator<Item = (u64, u64)> {
        let first = slot_of(1000) + 1;
        let mut seen: u64 = self.slots.iter().take(first).sum();
        let doublings = self.slots.get(first..).unwrap_or_default();
        let counted = doublings.chunks(SLOTS_PER_DOUBLING).map(move |slots| {
            let before = seen;
            seen += slots.iter().sum::<u64>();
            before
        });
        counted
            .enumerate()
            .map(|(power, count)| (1 << power, count))
    }

    /// Returns a quantile of the latency, rounded up to the end of its slot; `None` if there were no requests.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of requests needs no more than 53 bits"
        )]
        let wanted = ((self.requests() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let slot = self.slots.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(end_of(slot))
    }

    /// Adds other counts.
    pub fn add(&mut self, others: &Self) {
        self.slots
            .resize(self.slots.len().max(others.slots.len()), 0);
        for (slot, other) in self.slots.iter_mut().zip(&others.slots) {
            *slot += other;
        }
        self.sum_ns = self.sum_ns.wrapping_add(others.sum_ns);
        self.spent_ns = self.spent_ns.wrapping_add(others.spent_ns);
    }

    /// Returns the counts since earlier ones.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let earlier_slots = earlier.slots.iter().chain(std::iter::repeat(&0));
        let slots = self.slots.iter().zip(earlier_slots);
        Self {
            slots: slots.map(|(now, then)| now.saturating_sub(*then)).collect(),
            sum_ns: self.sum_ns.wrapping_sub(earlier.sum_ns),
            spent_ns: self.spent_ns.wrapping_sub(earlier.spent_ns),
        }
    }
}

/// Returns the slot of a latency. A slot includes its end. Below four parts of a microsecond each part has a slot; above, each
/// doubling has four.
fn slot_of(ns: u64) -> usize {
    let ns = ns.saturating_sub(1);
    let parts = (ns / 1000) * PER_MICROSECOND + ns % 1000 * PER_MICROSECOND / 1000;
    let slot = if parts < SLOTS_PER_DOUBLING as u64 {
        parts
    } else {
        let doubling = u64::from(parts.ilog2());
        SLOTS_PER_DOUBLING as u64 * (doubling - 1) + (parts >> (doubling - 2)) % 4
    };
    usize::try_from(slot).map_or(SLOTS - 1, |slot| slot.min(SLOTS - 1))
}

/// Returns the longest latency of a slot.
fn end_of(slot: usize) -> Duration {
    let next = slot as u64 + 1;
    let per_doubling = SLOTS_PER_DOUBLING as u64;
    let parts = if next < per_doubling {
        next
    } else {
        (per_doubling + next % per_doubling) << (next / per_doubling - 1)
    };
    Duration::from_nanos((parts * 1000).div_ceil(PER_MICROSECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts_of(times_us: &[u64]) -> LatencyCounts {
        let latencies = Latencies::default();
        for time_us in times_us {
            latencies.add(Duration::from_micros(*time_us), (1, 1), Writers::Many);
        }
        latencies.counts()
    }

    #[test]
    fn every_time_stands_in_a_slot_that_ends_after_it_and_at_most_a_quarter_above() {
        let mut ns = 1;
        while ns < 16_000_000_000 {
            let end = end_of(slot_of(ns)).as_nanos();
            assert!(u128::from(ns) <= end, "{ns} ns: {end}");
            // Up to a quarter of a microsecond it is told to a sixteenth of one.
            assert!(end <= u128::from(ns) * 5 / 4 + 63, "{ns} ns: {end}");
            ns += 1 + ns / 97;
        }
    }

    #[test]
    fn what_takes_longer_than_all_slots_stands_in_the_last() {
        assert_eq!(slot_of(u64::MAX), SLOTS - 1);
        assert_eq!(counts_of(&[u64::MAX / 2000]).requests(), 1);
    }

    #[test]
    fn a_quantile_is_the_time_of_that_request_in_their_order() {
        let hundred: Vec<u64> = (1..=100).map(|number| number * 100).collect();
        let counts = counts_of(&hundred);
        for (share, least_us, most_us) in [(0.5, 5000, 6250), (0.99, 9900, 12_400), (0.0, 100, 125)]
        {
            let time = counts
                .quantile(share)
                .expect("there are requests")
                .as_micros();
            assert!((least_us..=most_us).contains(&time), "{share}: {time} us");
        }
        assert_eq!(LatencyCounts::default().quantile(0.5), None);
    }

    #[test]
    fn counts_up_to_a_time_hold_all_that_took_less() {
        let counts = counts_of(&[0, 1, 3, 3, 900, 30_000_000]);
        let up_to: Vec<(u64, u64)> = counts.up_to().collect();
        assert_eq!(up_to[0], (1, 2));
        assert_eq!(up_to[1], (2, 2));
        assert_eq!(up_to[2], (4, 4));
        assert_eq!(up_to[10], (1024, 5));
        assert_eq!(up_to.last(), Some(&(1 << 23, 5)));
        assert_eq!(counts.requests(), 6);
    }

    #[test]
    fn what_has_come_since_is_the_difference() {
        let latencies = Latencies::default();
        latencies.add(Duration::from_micros(10), (3, 3), Writers::Many);
        let before = latencies.counts();
        latencies.add(Duration::from_millis(10), (2, 2), Writers::Many);
        let since = latencies.counts().since(&before);
        assert_eq!(since.requests(), 2);
        assert_eq!(since.sum(), Duration::from_millis(20));
        assert!(since.quantile(0.0).expect("two") >= Duration::from_millis(10));
        assert_eq!(before.since(&LatencyCounts::default()), before);
        let mut all = before.clone();
        all.add(&since);
        assert_eq!(all, latencies.counts());
    }
}
