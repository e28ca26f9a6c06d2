//! Counters since the start of the server.
//!
//! In: a `Tally` of each batch of requests. Out: totals, latencies, and the rate of requests. Promises: every request is counted
//! once, for its command; a total never decreases. Each thread counts for itself, so that no cache line moves between the cores.

use std::collections::{BTreeMap, VecDeque};
use std::iter::repeat_with;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::unknown_commands::UnknownCommands;
use crate::metrics::counter::{Counter, Writers};
use crate::metrics::histogram::{Latencies, LatencyCounts};
use crate::metrics::thread_slot;

/// Time over which the rate of requests is measured.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Counts of one batch of requests, which are added to the totals together.
#[derive(Debug, Default)]
pub struct Tally {
    /// Numbers of commands and subcommands, and the number of requests of each. Few occur in one batch, so that they are looked
    /// through in turn.
    commands: SmallVec<[(usize, u64); 2]>,
    /// All requests, also those whose command is unknown.
    pub requests: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not find their key.
    pub misses: u64,
    /// Start of the batch; `None` if it is not timed. Each of its requests has the latency of the batch, as their replies are sent
    /// together.
    pub since: Option<Instant>,
    /// Begin of the lap, if one has begun since the start, and nothing has been waited for since: to read the clock again would tell
    /// the same.
    pub lap: Option<Instant>,
}

impl Tally {
    /// Begins a turn, unless there is one.
    #[inline(always)]
    pub fn begin_turn(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.lap = None;
        }
    }

    /// Begins a lap.
    pub fn begin_lap(&mut self) {
        self.lap = Some(Instant::now());
    }

    /// Ends a lap. Returns its duration: the time since the lap before it, or since the start of the batch; `None` if that is not
    /// timed.
    #[inline(always)]
    pub fn lap(&mut self) -> Option<Duration> {
        let since = self.since?;
        let now = Instant::now();
        Some(now - self.lap.replace(now).unwrap_or(since))
    }

    /// Returns true if the last lap ended longer than that after the start of the batch.
    #[must_use]
    #[inline(always)]
    pub fn is_over(&self, time: Duration) -> bool {
        self.took().is_some_and(|took| took > time)
    }

    /// Returns the time from the start of the batch to the last lap.
    #[inline(always)]
    fn took(&self) -> Option<Duration> {
        Some(self.lap? - self.since?)
    }

    /// Begins the tally of a batch that is timed from now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            since: Some(Instant::now()),
            ..Self::default()
        }
    }

    /// Counts one request of the command or subcommand with this number.
    #[inline(always)]
    pub fn command(&mut self, id: usize) {
        *self.count_of(id) += 1;
    }

    #[inline(always)]
    fn count_of(&mut self, id: usize) -> &mut u64 {
        let known = self.commands.iter().position(|(of, _)| *of == id);
        let at = known.unwrap_or_else(|| {
            self.commands.push((id, 0));
            self.commands.len() - 1
        });
        &mut self.commands[at].1
    }

    /// Takes back one request of the command with this number, which [`Stats::count`] counts instead.
    pub fn uncount(&mut self, id: usize) {
        *self.count_of(id) -= 1;
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

/// Stage at which a request was answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Before it was executed: it is not permitted, or has a wrong number of arguments.
    Rejected,
    /// By its execution.
    Failed,
}

/// Counters of requests: those of one thread, or of all threads without a slot.
#[derive(Debug)]
struct Counters {
    commands: Box<[Counter]>,
    /// Requests of each command that were answered with an error, by the stage.
    rejected: Box<[Counter]>,
    failed: Box<[Counter]>,
    /// Latencies of each command; allocated when it is first used.
    latencies: Box<[OnceLock<Latencies>]>,
    requests: Counter,
    hits: Counter,
    misses: Counter,
    /// Error replies, by Redis's first word of them. Behind a lock, which hardly any thread has to wait for: errors are rare.
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    fn new(commands: usize) -> Self {
        let counters = || repeat_with(Counter::default).take(commands).collect();
        Self {
            commands: counters(),
            rejected: counters(),
            failed: counters(),
            latencies: repeat_with(OnceLock::default).take(commands).collect(),
            requests: Counter::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            errors: Mutex::default(),
        }
    }

    #[inline(always)]
    fn latencies(&self, id: usize) -> &Latencies {
        self.latencies[id].get_or_init(Latencies::default)
    }

    fn errors(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All counters of a server.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    /// Number of commands and subcommands.
    commands: usize,
    /// Counters of the threads with a slot; allocated when the first thread uses its slot.
    of_slots: Box<[OnceLock<Counters>]>,
    of_others: Counters,
    connections: AtomicU64,
    connections_total: AtomicU64,
    connections_refused: AtomicU64,
    samples: Mutex<VecDeque<Sampled>>,
    /// Requests of Redis clients for commands that are not here.
    pub unknown: UnknownCommands,
}

/// Counters whose rates are shown, at one time.
#[derive(Debug, Clone, Copy)]
struct Sampled {
    at: Instant,
    requests: u64,
    traffic: Traffic,
}

/// Bytes that clients of the text port have sent and been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
}

impl Traffic {
    /// Returns the traffic since an earlier time.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
    }
}

/// Rates over the last five seconds, per second.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Requests.
    pub requests: f64,
    /// Bytes from clients of the text port.
    pub received: f64,
    /// Bytes to clients of the text port.
    pub sent: f64,
}

impl Stats {
    /// Makes counters of zero for that many commands and subcommands.
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
            connections_refused: AtomicU64::default(),
            samples: Mutex::new(VecDeque::from([Sampled {
                at: started,
                requests: 0,
                traffic: Traffic::default(),
            }])),
            unknown: UnknownCommands::default(),
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
        let took = tally
            .took()
            .or_else(|| tally.since.map(|since| since.elapsed()));
        let (counters, writers) = self.own();
        for (id, counted) in tally.commands.iter().copied() {
            if counted > 0 {
                counters.commands[id].add(counted, writers);
                if let Some(took) = took {
                    let latencies = counters.latencies(id);
                    latencies.add(took, (counted, tally.requests), writers);
                }
            }
        }
        tally.commands.clear();
        tally.lap = None;
        for (total, counted) in [
            (&counters.requests, &mut tally.requests),
            (&counters.hits, &mut tally.hits),
            (&counters.misses, &mut tally.misses),
        ] {
            if *counted > 0 {
                total.add(std::mem::take(counted), writers);
            }
        }
    }

    /// Counts one request of the command with this number, whose latency [`Stats::add_latency`] adds once it has ended.
    pub fn count(&self, id: usize) {
        let (counters, writers) = self.own();
        counters.commands[id].add(1, writers);
    }

    /// Adds the latency of one request of the command with this number.
    pub fn add_latency(&self, id: usize, took: Duration) {
        let (counters, writers) = self.own();
        counters.latencies(id).add(took, (1, 1), writers);
    }

    /// Counts error replies, which begin with this word in RESP.
    #[cold]
    pub fn count_errors(&self, prefix: &'static str, count: u64) {
        let (counters, _) = self.own();
        *counters.errors().entry(prefix).or_default() += count;
    }

    /// Counts a request of the command with this number that was answered with an error.
    #[cold]
    pub fn count_failure(&self, id: usize, failure: Failure) {
        let (counters, writers) = self.own();
        let of_stage = match failure {
            Failure::Rejected => &counters.rejected,
            Failure::Failed => &counters.failed,
        };
        of_stage[id].add(1, writers);
    }

    /// Counts a connection as open until the returned guard is dropped.
    #[must_use]
    pub fn connected(&self) -> ConnectionGuard<'_> {
        self.connections.fetch_add(1, Relaxed);
        self.connections_total.fetch_add(1, Relaxed);
        ConnectionGuard(self)
    }

    /// Counts a connection that was refused, as there were too many.
    pub fn refused_connection(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    /// Samples the counters for [`Stats::rates`]. To be called once a second.
    pub fn sample(&self, traffic: Traffic) {
        let now = Instant::now();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sampled {
            at: now,
            requests: self.requests(),
            traffic,
        });
        while samples.len() > 1 && now.duration_since(samples[1].at) >= RATE_WINDOW {
            samples.pop_front();
        }
    }

    /// Returns the rates over the last five seconds, up to now.
    #[must_use]
    pub fn rates(&self, traffic: Traffic) -> Rates {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let first = samples[0];
        // In the first second after the start the rate would be extrapolated.
        let seconds = first.at.elapsed().as_secs_f64().max(1.0);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate needs no more than 53 bits"
        )]
        let rate = |count: u64| count as f64 / seconds;
        let Traffic { received, sent } = traffic.since(first.traffic);
        Rates {
            requests: rate(self.requests().saturating_sub(first.requests)),
            received: rate(received),
            sent: rate(sent),
        }
    }

    /// Returns the seconds since the server started.
    #[must_use]
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Returns the number of requests of the command with this number.
    #[must_use]
    pub fn of_command(&self, id: usize) -> u64 {
        self.all().map(|it| it.commands[id].get()).sum()
    }

    /// Returns the numbers of requests of the command with this number that were rejected, and that failed.
    #[must_use]
    pub fn failures_of(&self, id: usize) -> (u64, u64) {
        let rejected = self.all().map(|it| it.rejected[id].get()).sum();
        (rejected, self.all().map(|it| it.failed[id].get()).sum())
    }

    /// Returns the latencies of the timed requests of the command with this number.
    #[must_use]
    pub fn latencies_of(&self, id: usize) -> LatencyCounts {
        let mut counts = LatencyCounts::default();
        for latencies in self.all().filter_map(|it| it.latencies[id].get()) {
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

    /// Returns the numbers of error replies, by Redis's first word of them.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for of_thread in self.all() {
            for (prefix, count) in &*of_thread.errors() {
                *all.entry(*prefix).or_default() += count;
            }
        }
        all
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

    /// Returns the number of connections that were refused, as there were too many.
    #[must_use]
    pub fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Relaxed)
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
