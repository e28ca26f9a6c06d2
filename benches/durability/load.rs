//! The load: one thread that drives many connections, in either dialect.
//!
//! In: a plan, and when to stop. Out: how many requests were answered, how fast, and how long each batch took. Promises: a
//! reply that is not the expected one ends the run; nothing is left unanswered at the end; with a rate given, a request is
//! due at its time whether or not the one before has been answered, and is measured from then.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Failure;
use crate::wire::{Dialect, Pairs, Random, Reply};

const SECOND: Duration = Duration::from_secs(1);
/// More than the replies to the largest batch.
const INPUT_BYTES: usize = 64 << 10;
/// How long a wait for replies may be, so that the end is noticed.
const WAIT: Duration = Duration::from_millis(10);
/// How long a load with a rate sleeps when nothing has come, which adds as much to a latency. One that spins would use up
/// the processor time that a rented machine allows, and measure the pauses that follow.
const NAP: Duration = Duration::from_micros(20);
/// A server that answers nothing for so long is not waited for.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Connections and batches that fill a server quickly.
const FILL: (usize, usize) = (16, 128);
/// How many pairs are read to see whether the server holds what it should.
const SAMPLE: u64 = 100_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Each pair once, in order of its number.
    Fill,
    /// Writes of random pairs.
    Put,
    /// Reads of random pairs.
    Get,
    /// Half reads and half writes, of random pairs.
    Half,
}

/// What to do.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub address: SocketAddr,
    pub dialect: Dialect,
    pub texts: &'a Pairs,
    /// Out of how many pairs.
    pub pairs: u64,
    pub work: Work,
    pub connections: usize,
    /// How many requests are sent at once.
    pub depth: usize,
    /// How many batches are due in a second; without, each connection sends as soon as it is answered.
    pub rate: Option<f64>,
    /// How many requests at most.
    pub requests_max: u64,
}

impl<'a> Plan<'a> {
    /// A load without an end, one request at a time.
    pub fn steady(address: SocketAddr, dialect: Dialect, texts: &'a Pairs, pairs: u64) -> Self {
        Self {
            address,
            dialect,
            texts,
            pairs,
            work: Work::Half,
            connections: 50,
            depth: 1,
            rate: None,
            requests_max: u64::MAX,
        }
    }

    /// Stores each pair.
    pub fn fill(self) -> Result<Outcome, Failure> {
        self.all_at_once(Work::Fill, self.pairs)
    }

    /// Reads some pairs, of which each must be there.
    pub fn check(self) -> Result<Outcome, Failure> {
        self.all_at_once(Work::Get, SAMPLE)
    }

    fn all_at_once(self, work: Work, requests_max: u64) -> Result<Outcome, Failure> {
        let (connections, depth) = FILL;
        Self {
            work,
            connections,
            depth,
            requests_max,
            rate: None,
            ..self
        }
        .run(|| false)
    }

    /// Runs for so long.
    pub fn run_for(&self, time: Duration) -> Result<Outcome, Failure> {
        let started = Instant::now();
        self.run(|| started.elapsed() >= time)
    }

    /// Runs until it is told to stop, or has sent all.
    pub fn run(&self, stop: impl Fn() -> bool) -> Result<Outcome, Failure> {
        let mut load = Load::connect(self)?;
        let before = own_time()?;
        load.drive(stop)
            .map_err(|error| format!("{}: {error}", self.dialect.name()))?;
        load.outcome.own_time = own_time()?.saturating_sub(before);
        Ok(load.outcome)
    }
}

/// What came of it.
pub struct Outcome {
    pub requests: u64,
    pub time: Duration,
    /// Processor time of this thread: a load that never waits for a server does not measure it.
    pub own_time: Duration,
    /// In nanoseconds, of each batch.
    pub latency: Histogram<u64>,
    /// Its 99th percentile in each whole second: one pause of the machine spoils that of a run, but not that of most seconds.
    pub p99_by_second: Vec<u64>,
}

impl Outcome {
    pub fn new() -> Self {
        Self {
            requests: 0,
            time: Duration::ZERO,
            own_time: Duration::ZERO,
            latency: histogram(),
            p99_by_second: Vec::new(),
        }
    }

    /// The 99th percentile of the middlemost second.
    pub fn p99_of_a_second(&self) -> u64 {
        let mut sorted = self.p99_by_second.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }

    /// How much of one core the load took.
    pub fn own_percent(&self) -> f64 {
        100.0 * self.own_time.as_secs_f64() / self.time.as_secs_f64()
    }

    /// Takes what another run has measured on top.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.time += other.time;
        self.own_time += other.own_time;
        self.latency += &other.latency;
        self.p99_by_second.extend(&other.p99_by_second);
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// One connection.
struct Link {
    stream: TcpStream,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    /// Where in `input` the bytes are that have come and have not been read as replies.
    unread: std::ops::Range<usize>,
    /// What is due for each request of the batch: done, or the value of the pair with this number.
    expected: Vec<Option<u64>>,
    answered: usize,
    /// From when the batch is measured.
    since: Duration,
    /// When the next batch is to be sent.
    due: Duration,
}

struct Load<'a> {
    plan: &'a Plan<'a>,
    poll: Poll,
    links: Vec<Link>,
    random: Random,
    started: Instant,
    /// When the load was told to stop.
    stopped: Option<Duration>,
    issued: u64,
    /// How many connections wait for replies.
    busy: usize,
    outcome: Outcome,
    /// What was measured in the second that runs, and its end.
    second: (Histogram<u64>, Duration),
}

impl<'a> Load<'a> {
    fn connect(plan: &'a Plan<'a>) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let mut links = Vec::new();
        for place in 0..plan.connections {
            let stream = std::net::TcpStream::connect(plan.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(place), interest)?;
            // Spread over the interval, so that not all are due at once.
            let due = plan.rate.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(place as f64 / rate)
            });
            links.push(Link::new(stream, due));
        }
        Ok(Self {
            plan,
            poll,
            links,
            random: Random::new(plan.depth as u64),
            started: Instant::now(),
            stopped: None,
            issued: 0,
            busy: 0,
            outcome: Outcome::new(),
            second: (histogram(), SECOND),
        })
    }

    fn drive(&mut self, stop: impl Fn() -> bool) -> Result<(), Failure> {
        let mut events = Events::with_capacity(self.links.len());
        // The wait of the system is too coarse for a rate: short naps take its place.
        let wait = self.plan.rate.map_or(WAIT, |_| Duration::ZERO);
        self.started = Instant::now();
        let mut heard = self.started;
        loop {
            if self.stopped.is_none() && stop() {
                self.stopped = Some(self.started.elapsed());
            }
            let now = self.started.elapsed();
            for place in 0..self.links.len() {
                self.begin(place, now)?;
            }
            if self.busy == 0 && (self.stopped.is_some() || self.is_exhausted()) {
                self.outcome.time = self.started.elapsed();
                return Ok(());
            }
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            if !events.is_empty() {
                heard = Instant::now();
            } else if self.busy > 0 && heard.elapsed() > SILENCE_MAX {
                return Err("it has stopped answering".into());
            } else if self.plan.rate.is_some() {
                std::thread::sleep(NAP);
            }
            for event in &events {
                self.turn(event.token().0)?;
            }
        }
    }

    fn is_exhausted(&self) -> bool {
        self.issued >= self.plan.requests_max
    }

    /// Sends the next batch on a connection that waits for nothing, if it is time.
    fn begin(&mut self, place: usize, now: Duration) -> Result<(), Failure> {
        if !self.links[place].expected.is_empty() || self.is_exhausted() {
            return Ok(());
        }
        let since = match self.plan.rate {
            None if self.stopped.is_some() => return Ok(()),
            None => now,
            Some(rate) => {
                let link = &mut self.links[place];
                let due = link.due;
                // What was due before the end is still sent: to leave it out would hide that it waited.
                if due > self.stopped.unwrap_or(now).min(now) {
                    return Ok(());
                }
                link.due += Duration::from_secs_f64(self.plan.connections as f64 / rate);
                due
            }
        };
        for _ in 0..self.plan.depth {
            if !self.is_exhausted() {
                self.request(place);
            }
        }
        self.busy += 1;
        let link = &mut self.links[place];
        link.since = since;
        link.flush()
    }

    /// Adds one request to the batch.
    fn request(&mut self, place: usize) {
        let plan = self.plan;
        let number = match plan.work {
            Work::Fill => self.issued,
            _ => self.random.below(plan.pairs),
        };
        let is_read = match plan.work {
            Work::Fill | Work::Put => false,
            Work::Get => true,
            Work::Half => self.random.below(2) == 0,
        };
        let link = &mut self.links[place];
        if is_read {
            plan.dialect.write_get(&mut link.output, number);
            link.expected.push(Some(number));
        } else {
            plan.dialect.write_put(&mut link.output, plan.texts, number);
            link.expected.push(None);
        }
        self.issued += 1;
    }

    /// Does what a connection is ready for.
    fn turn(&mut self, place: usize) -> Result<(), Failure> {
        let link = &mut self.links[place];
        link.flush()?;
        while link.read()? {
            link.check(self.plan)?;
        }
        if link.expected.is_empty() || link.answered < link.expected.len() {
            return Ok(());
        }
        let now = self.started.elapsed();
        let took = now.saturating_sub(link.since);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.outcome.latency.record(nanoseconds)?;
        let (second, end) = &mut self.second;
        if now >= *end {
            self.outcome
                .p99_by_second
                .push(second.value_at_quantile(0.99));
            second.reset();
            *end = now + SECOND;
        }
        second.record(nanoseconds)?;
        self.outcome.requests += link.expected.len() as u64;
        link.expected.clear();
        link.answered = 0;
        self.busy -= 1;
        self.begin(place, now)
    }
}

impl Link {
    fn new(stream: TcpStream, due: Duration) -> Self {
        Self {
            stream,
            output: Vec::new(),
            written: 0,
            input: vec![0; INPUT_BYTES],
            unread: 0..0,
            expected: Vec::new(),
            answered: 0,
            since: Duration::ZERO,
            due,
        }
    }

    /// Sends what the system takes.
    fn flush(&mut self) -> Result<(), Failure> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Takes what has come; whether it was anything.
    fn read(&mut self) -> Result<bool, Failure> {
        if self.expected.len() == self.answered {
            // Nothing is due, so nothing is there: spares a call for each batch.
            return Ok(false);
        }
        self.input.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        match self.stream.read(&mut self.input[self.unread.end..]) {
            Ok(0) => Err("it has closed the connection".into()),
            Ok(count) => {
                self.unread.end += count;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Compares the replies that are there with those that are due.
    fn check(&mut self, plan: &Plan) -> Result<(), Failure> {
        let bytes = &self.input[self.unread.clone()];
        let mut start = 0;
        while let Some((reply, length)) = plan.dialect.reply(&bytes[start..]) {
            let Some(expected) = self.expected.get(self.answered) else {
                return Err(format!("a reply to nothing: {reply:?}").into());
            };
            let due = expected.map_or(Reply::Done, |number| Reply::Value(plan.texts.value(number)));
            if reply != due {
                return Err(unexpected(&reply).into());
            }
            self.answered += 1;
            start += length;
        }
        self.unread.start += start;
        Ok(())
    }
}

/// Processor time that this thread has used.
fn own_time() -> Result<Duration, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Says what came in place of what was due.
fn unexpected(reply: &Reply) -> String {
    match reply {
        Reply::Done => "a reply to a write where one to a read was due".to_owned(),
        Reply::Value(value) => format!("a wrong value: {}", String::from_utf8_lossy(value)),
        Reply::Other(line) => format!("it answered {}", String::from_utf8_lossy(line)),
    }
}
