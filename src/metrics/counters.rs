//! Plain counters: what the server has done since it started.
//!
//! In: a `Tally` of each batch of requests. Out: the figures that STATS and the shim show, and how long requests took.
//! Promises: every request is counted once, in the row of its command; a figure read twice never falls back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::histogram::{Counts, Latencies};

/// Over how much of the past the rate of requests is measured.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// What one batch of requests adds. Counted apart and added at once, so that the counters' cache lines, which every
/// connection shares, are touched once a batch.
#[derive(Debug, Default)]
pub struct Tally {
    /// By the place of the command in the table.
    pub commands: Vec<u64>,
    /// Requests, those that were no command included.
    pub requests: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// When the first of them was taken up: each is answered once all are. None: how long they take is not told.
    pub since: Option<Instant>,
}

impl Tally {
    /// A tally of what is taken up now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            since: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// A tally of one request, of the command at this place, that is taken up now.
    #[must_use]
    pub fn of(place: usize) -> Self {
        let mut tally = Self::begin();
        tally.requests += 1;
        tally.command(place);
        tally
    }

    /// Counts one request of the command at this place.
    pub fn command(&mut self, place: usize) {
        if self.commands.len() <= place {
            self.commands.resize(place + 1, 0);
        }
        self.commands[place] += 1;
    }

    /// Takes back one request of the command at this place, which [`Stats::count`] counts.
    pub fn uncount(&mut self, place: usize) {
        self.commands[place] -= 1;
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

/// All counters of a server.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    commands: Vec<AtomicU64>,
    /// How long they took; memory is taken for those that are used.
    latencies: Vec<OnceLock<Latencies>>,
    requests: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    connections: AtomicU64,
    connections_total: AtomicU64,
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Stats {
    /// Counters at nought, for a table of so many commands.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        let started = Instant::now();
        Self {
            started,
            commands: std::iter::repeat_with(AtomicU64::default)
                .take(commands)
                .collect(),
            latencies: std::iter::repeat_with(OnceLock::default)
                .take(commands)
                .collect(),
            requests: AtomicU64::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            errors: AtomicU64::default(),
            connections: AtomicU64::default(),
            connections_total: AtomicU64::default(),
            samples: Mutex::new(VecDeque::from([(started, 0)])),
        }
    }

    /// Adds what a batch has counted, and empties the tally.
    pub fn add(&self, tally: &mut Tally) {
        let took = tally.since.map(|since| since.elapsed());
        let totals = self.commands.iter().zip(&self.latencies);
        for ((total, latencies), counted) in totals.zip(&mut tally.commands) {
            if *counted > 0 {
                let counted = std::mem::take(counted);
                total.fetch_add(counted, Relaxed);
                if let Some(took) = took {
                    latencies.get_or_init(Latencies::default).add(took, counted);
                }
            }
        }
        for (total, counted) in [
            (&self.requests, &mut tally.requests),
            (&self.hits, &mut tally.hits),
            (&self.misses, &mut tally.misses),
            (&self.errors, &mut tally.errors),
        ] {
            if *counted > 0 {
                total.fetch_add(std::mem::take(counted), Relaxed);
            }
        }
    }

    /// Counts one request of the command at this place, whose latency [`Stats::add_latency`] adds once it has ended.
    pub fn count(&self, place: usize) {
        self.commands[place].fetch_add(1, Relaxed);
    }

    /// Adds the latency of one request of the command at this place.
    pub fn add_latency(&self, place: usize, took: Duration) {
        let latencies = &self.latencies[place];
        latencies.get_or_init(Latencies::default).add(took, 1);
    }

    /// Counts a connection, for as long as the return value is kept.
    #[must_use]
    pub fn connected(&self) -> Presence<'_> {
        self.connections.fetch_add(1, Relaxed);
        self.connections_total.fetch_add(1, Relaxed);
        Presence(self)
    }

    /// Notes the number of requests so far; called once a second, it makes the rate that of the last seconds.
    pub fn sample(&self) {
        let now = Instant::now();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now, self.requests()));
        while samples.len() > 1 && now.duration_since(samples[1].0) >= RATE_WINDOW {
            samples.pop_front();
        }
    }

    /// Requests per second over the last seconds.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, requests) = samples[0];
        // In its first second a server has not done anything "per second".
        let seconds = since.elapsed().as_secs_f64().max(1.0);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate needs no more than 53 bits"
        )]
        let counted = self.requests().saturating_sub(requests) as f64;
        counted / seconds
    }

    /// Seconds since the server started.
    #[must_use]
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// How often the command at this place of the table was asked for.
    #[must_use]
    pub fn of_command(&self, place: usize) -> u64 {
        self.commands[place].load(Relaxed)
    }

    /// How long the requests of the command at this place of the table took, those that have been timed.
    #[must_use]
    pub fn latencies_of(&self, place: usize) -> Counts {
        let latencies = self.latencies[place].get();
        latencies.map(Latencies::counts).unwrap_or_default()
    }

    /// Requests in total.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Reads that found their key.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }

    /// Reads that did not find their key.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses.load(Relaxed)
    }

    /// Requests answered with an error.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Connections since the start.
    #[must_use]
    pub fn connections_total(&self) -> u64 {
        self.connections_total.load(Relaxed)
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Presence<'a>(&'a Stats);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
