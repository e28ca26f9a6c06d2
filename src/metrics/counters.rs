//! Counters since the start of the server.
//!
//! In: a `Tally` of each batch of requests. Out: totals, latencies, and the rate of requests. Promises: every request is counted
//! once, for its command; a total never decreases. Each thread counts for itself, so that no cache line moves between the cores.

use std::collections::VecDeque;
use std::iter::repeat_with;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::metrics::counter::{Counter, Writers};
use crate::metrics::histogram::{Latencies, LatencyCounts};
use crate::metrics::thread_slot;

/// Time over which the rate of requests is measured.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Counts of one batch of requests, which are added to the totals together.
#[derive(Debug, Default)]
pub struct Tally {
    /// Places in the table of commands, and the number of requests of each. Few commands occur in one batch, so that they are
    /// looked through in turn.
    commands: SmallVec<[(usize, u64); 2]>,
    /// All requests, also those whose command is unknown.
    pub requests: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not find their key.
    pub misses: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Start of the batch; `None` if it is not timed. Each of its requests has the latency of the batch, as their replies are sent
    /// together.
    pub since: Option<Instant>,
}

impl Tally {
    /// Returns true if its first request arrived longer ago than that.
    #[must_use]
    pub fn is_over(&self, time: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() > time)
    }

    /// Begins the tally of a batch that is timed from now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            since: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// Begins the tally of one request of the command at this place of the table.
    #[must_use]
    pub fn of(place: usize) -> Self {
        let mut tally = Self::begin();
        tally.requests += 1;
        tally.command(place);
        tally
    }

    /// Counts one request of the command at this place of the table.
    #[inline(always)]
    pub fn command(&mut self, place: usize) {
        *self.count_of(place) += 1;
    }

    #[inline(always)]
    fn count_of(&mut self, place: usize) -> &mut u64 {
        let known = self.commands.iter().position(|(of, _)| *of == place);
        let at = known.unwrap_or_else(|| {
            self.commands.push((place, 0));
            self.commands.len() - 1
        });
        &mut self.commands[at].1
    }

    /// Takes back one request of the command at this place, which [`Stats::count`] counts instead.
    pub fn uncount(&mut self, place: usize) {
        *self.count_of(place) -= 1;
    }

    /// Counts one read.
    pub fn read(&mut self, found: bool) {
        if found {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
    }
}

/// Counters of requests: those of one thread, or of all threads without a slot.
#[derive(Debug)]
struct Counters {
    commands: Box<[Counter]>,
    /// Latencies of each command; allocated when it is first used.
    latencies: Box<[OnceLock<Latencies>]>,
    requests: Counter,
    hits: Counter,
    misses: Counter,
    errors: Counter,
}

impl Counters {
    fn new(commands: usize) -> Self {
        Self {
            commands: repeat_with(Counter::default).take(commands).collect(),
            latencies: repeat_with(OnceLock::default).take(commands).collect(),
            requests: Counter::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            errors: Counter::default(),
        }
    }

    #[inline(always)]
    fn latencies(&self, place: usize) -> &Latencies {
        self.latencies[place].get_or_init(Latencies::default)
    }
}

/// All counters of a server.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    /// Number of commands.
    commands: usize,
    /// Counters of the threads with a slot; allocated when the first thread uses its slot.
    of_slots: Box<[OnceLock<Counters>]>,
    of_others: Counters,
    connections: AtomicU64,
    connections_total: AtomicU64,
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Stats {
    /// Makes counters of zero for a table of that many commands.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        let started = Instant::now();
        let of_slots = repeat_with(OnceLock::default).take(thread_slot::SLOTS);
        Self {
            started,
            commands,
            of_slots: of_slots.collect(),
            of_others: Counters::new(commands),
            connections: AtomicU64::default(),
            connections_total: AtomicU64::default(),
            samples: Mutex::new(VecDeque::from([(started, 0)])),
        }
    }

    /// Returns the counters that this thread adds to, and who else does.
    #[inline(always)]
    fn own(&self) -> (&Counters, Writers) {
        match thread_slot::current() {
            Some(slot) => {
                let counters = &self.of_slots[slot];
                let counters = counters.get_or_init(|| Counters::new(self.commands));
                (counters, Writers::One)
            }
            None => (&self.of_others, Writers::Many),
        }
    }

    /// Returns the counters of all threads.
    fn all(&self) -> impl Iterator<Item = &Counters> {
        let of_slots = self.of_slots.iter().filter_map(OnceLock::get);
        of_slots.chain([&self.of_others])
    }

    /// Moves the counts of a batch to the totals.
    #[inline(always)]
    pub fn add(&self, tally: &mut Tally) {
        let took = tally.since.map(|since| since.elapsed());
        let (counters, writers) = self.own();
        for (place, counted) in tally.commands.iter().copied() {
            if counted > 0 {
                counters.commands[place].add(counted, writers);
                if let Some(took) = took {
                    counters.latencies(place).add(took, counted, writers);
                }
            }
        }
        tally.commands.clear();
        for (total, counted) in [
            (&counters.requests, &mut tally.requests),
            (&counters.hits, &mut tally.hits),
            (&counters.misses, &mut tally.misses),
            (&counters.errors, &mut tally.errors),
        ] {
            if *counted > 0 {
                total.add(std::mem::take(counted), writers);
            }
        }
    }

    /// Counts one request of the command at this place, whose latency [`Stats::add_latency`] adds once it has ended.
    pub fn count(&self, place: usize) {
        let (counters, writers) = self.own();
        counters.commands[place].add(1, writers);
    }

    /// Adds the latency of one request of the command at this place.
    pub fn add_latency(&self, place: usize, took: Duration) {
        let (counters, writers) = self.own();
        counters.latencies(place).add(took, 1, writers);
    }

    /// Counts a connection as open until the returned guard is dropped.
    #[must_use]
    pub fn connected(&self) -> ConnectionGuard<'_> {
        self.connections.fetch_add(1, Relaxed);
        self.connections_total.fetch_add(1, Relaxed);
        ConnectionGuard(self)
    }

    /// Samples the number of requests for `requests_per_second`. To be called once a second.
    pub fn sample(&self) {
        let now = Instant::now();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now, self.requests()));
        while samples.len() > 1 && now.duration_since(samples[1].0) >= RATE_WINDOW {
            samples.pop_front();
        }
    }

    /// Returns the requests per second over the last five seconds.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, requests) = samples[0];
        // In the first second after the start the rate would be extrapolated.
        let seconds = since.elapsed().as_secs_f64().max(1.0);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate needs no more than 53 bits"
        )]
        let counted = self.requests().saturating_sub(requests) as f64;
        counted / seconds
    }

    /// Returns the seconds since the server started.
    #[must_use]
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Returns the number of requests of the command at this place of the table.
    #[must_use]
    pub fn of_command(&self, place: usize) -> u64 {
        self.all().map(|it| it.commands[place].get()).sum()
    }

    /// Returns the latencies of the timed requests of the command at this place of the table.
    #[must_use]
    pub fn latencies_of(&self, place: usize) -> LatencyCounts {
        let mut counts = LatencyCounts::default();
        for latencies in self.all().filter_map(|it| it.latencies[place].get()) {
            counts.add(&latencies.counts());
        }
        counts
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.all().map(|it| it.requests.get()).sum()
    }

    /// Returns the number of reads that found their key.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.all().map(|it| it.hits.get()).sum()
    }

    /// Returns the number of reads that did not find their key.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.all().map(|it| it.misses.get()).sum()
    }

    /// Returns the number of requests answered with an error.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.all().map(|it| it.errors.get()).sum()
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Returns the number of connections since the start.
    #[must_use]
    pub fn connections_total(&self) -> u64 {
        self.connections_total.load(Relaxed)
    }
}

/// Guard of a connection that is counted as open.
#[derive(Debug)]
pub struct ConnectionGuard<'a>(&'a Stats);

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
