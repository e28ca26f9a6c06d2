//! The clients of a load: each sends some requests, waits for their replies, and goes on.
//!
//! In: the load, and a connection for each. Out: what was measured. Promises: replies are read while requests are still being
//! sent, so that neither side can wait for the other for ever.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::ReadHalf;

use super::wire::{Key, Reply};
use super::{GRACE, Phase, Run, TICK};
use crate::error::ClientError;

/// The longest latency that is told apart from longer ones, in nanoseconds: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Latencies are kept to three digits.
const DIGITS: u8 = 3;
/// The least room that is offered to what arrives.
const ROOM_BYTES_MIN: usize = 16 << 10;
/// How early a sleep is ended, and the rest waited awake: the timers have whole milliseconds, rounded up twice, and clients
/// that sleep to the same one would ask in one burst.
const AWAKE: Duration = Duration::from_millis(2);

/// What clients have measured.
pub struct Measured {
    /// Latencies of reads and of writes, in nanoseconds.
    pub reads: Histogram<u64>,
    pub writes: Histogram<u64>,
    /// How many reads have found nothing.
    pub misses: u64,
    /// How many requests were refused, and how the first was.
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Measured {
    pub fn new() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are in order")
        };
        Self {
            reads: histogram(),
            writes: histogram(),
            misses: 0,
            errors: 0,
            first_error: None,
        }
    }

    /// Adds what others have measured.
    pub fn add(&mut self, other: &Self) {
        for (all, some) in [
            (&mut self.reads, &other.reads),
            (&mut self.writes, &other.writes),
        ] {
            all.add(some).expect("the bounds are the same");
        }
        self.misses += other.misses;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }
}

/// Drives the clients of one thread to the end of a run; the first of them has this place among all.
pub fn drive(run: &Run<'_>, place: usize, streams: &[TcpStream]) -> Result<Measured, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| run.lost(source))?;
    let measured = RefCell::new(Measured::new());
    runtime.block_on(async {
        let clients = streams.iter().enumerate().map(|(number, stream)| {
            let measured = &measured;
            async move {
                let stream = own(stream).map_err(|source| run.lost(source))?;
                ask(run, place + number, stream, measured).await
            }
        });
        // In no order: a client that fails must not be heard of only when those before it have done their work.
        let clients: FuturesUnordered<_> = clients.collect();
        tokio::select! {
            ended = clients.try_collect::<()>() => ended,
            () = given_up(run) => Ok(()),
        }
    })?;
    Ok(measured.into_inner())
}

fn own(stream: &TcpStream) -> io::Result<tokio::net::TcpStream> {
    let stream = stream.try_clone()?;
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Returns once a run has been ended, and its last replies have not come for a while.
async fn given_up(run: &Run<'_>) {
    while !run.is_over.load(Relaxed) {
        tokio::time::sleep(TICK).await;
    }
    tokio::time::sleep(GRACE).await;
}

/// When a client is to send.
struct Pace {
    next: Instant,
    interval: Option<Duration>,
    end: Option<Instant>,
}

impl Pace {
    fn of(run: &Run<'_>, place: usize) -> Self {
        let load = run.load;
        let rate = load.rate.filter(|_| run.phase == Phase::Measure);
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody asks for 2^52 requests a second"
        )]
        let interval = rate.map(|rate| {
            Duration::from_secs_f64((load.pipeline * load.clients) as f64 / rate as f64)
        });
        #[expect(
            clippy::cast_precision_loss,
            reason = "there are 10,000 clients at most"
        )]
        let phase = interval.map(|interval| interval.mul_f64(place as f64 / load.clients as f64));
        let seconds = load.seconds.filter(|_| run.phase == Phase::Measure);
        Self {
            next: run.began + phase.unwrap_or_default(),
            interval,
            end: seconds.map(|seconds| run.began + Duration::from_secs(seconds)),
        }
    }

    /// Waits for the moment to send, and tells from when latency counts: from when it was due, however late this is. There is
    /// none once the run is over.
    async fn wait(&mut self, run: &Run<'_>) -> Option<Instant> {
        let now = Instant::now();
        let due = match self.interval {
            None => now,
            Some(interval) => {
                let due = self.next;
                self.next += interval;
                due
            }
        };
        if let Some(end) = self.end.filter(|end| *end <= due.max(now)) {
            // Not at once: the rate that is shown is that of the whole time.
            tokio::time::sleep_until(end.into()).await;
            return None;
        }
        if let Some(asleep) = due.duration_since(now).checked_sub(AWAKE) {
            tokio::time::sleep(asleep).await;
        }
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        (!run.is_over.load(Relaxed)).then_some(due)
    }
}

/// Sends requests and reads their replies until there are no more to send.
async fn ask(
    run: &Run<'_>,
    client: usize,
    mut stream: tokio::net::TcpStream,
    measured: &RefCell<Measured>,
) -> Result<(), ClientError> {
    let load = run.load;
    let (reader, mut writer) = stream.split();
    let mut replies = Replies {
        reader,
        received: BytesMut::new(),
        refusal: None,
    };
    let mut key = Key::new(usize::try_from(load.key_bytes).unwrap_or(0));
    let value_bytes = run.text.len() / 2;
    let mut pace = Pace::of(run, client);
    let mut random = fastrand::Rng::new();
    let (mut requests, mut are_reads) = (Vec::new(), Vec::new());
    while let Some(numbers) = run.take() {
        let Some(began) = pace.wait(run).await else {
            break;
        };
        requests.clear();
        are_reads.clear();
        for number in numbers {
            let (number, is_read) = match run.phase {
                Phase::Fill => (number, false),
                Phase::Measure => (random.u64(..load.keys), random.u64(..100) < load.reads),
            };
            let key = key.of(number);
            if is_read {
                load.dialect.get(&mut requests, key);
            } else {
                let start = random.usize(..=value_bytes);
                let value = &run.text[start..start + value_bytes];
                load.dialect.put(&mut requests, key, value);
            }
            are_reads.push(is_read);
        }
        let sending = async {
            let sent = writer.write_all(&requests).await;
            sent.map_err(|source| run.lost(source))
        };
        let done = tokio::try_join!(replies.read(run, &are_reads, began, measured), sending);
        done.map_err(|error| match (error, replies.refusal.take()) {
            (ClientError::Lost { .. }, Some(message)) => refused(message),
            (error, _) => error,
        })?;
    }
    Ok(())
}

/// What a server says to one client.
struct Replies<'a> {
    reader: ReadHalf<'a>,
    received: BytesMut,
    /// What it said last, if that was a refusal: a server that closes has often said why.
    refusal: Option<String>,
}

impl Replies<'_> {
    /// Reads the replies to some requests.
    async fn read(
        &mut self,
        run: &Run<'_>,
        are_reads: &[bool],
        began: Instant,
        measured: &RefCell<Measured>,
    ) -> Result<(), ClientError> {
        let mut waiting = are_reads.iter();
        let mut seen = 0;
        while !waiting.as_slice().is_empty() {
            self.received.reserve(ROOM_BYTES_MIN);
            let count = self.reader.read_buf(&mut self.received).await;
            if count.map_err(|source| run.lost(source))? == 0 {
                let reason = "the server closed it";
                return Err(run.lost(io::Error::new(io::ErrorKind::UnexpectedEof, reason)));
            }
            let latency = u64::try_from(began.elapsed().as_nanos()).unwrap_or(LATENCY_NS_MAX);
            let measured = &mut *measured.borrow_mut();
            let mut answered = 0;
            while let Some(is_read) = waiting.as_slice().first() {
                let mut refusal = None;
                let taken = match run.load.dialect.reply(&self.received, seen) {
                    Reply::Partial(looked_at) => {
                        seen = looked_at;
                        break;
                    }
                    Reply::Foreign(line) => {
                        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]);
                        return Err(ClientError::Foreign {
                            address: run.address.clone(),
                            shown: format!("{shown:?}"),
                        });
                    }
                    Reply::Done(taken) => taken,
                    Reply::Missing(taken) => {
                        measured.misses += 1;
                        taken
                    }
                    Reply::Error(message, taken) => {
                        let message = String::from_utf8_lossy(message).into_owned();
                        measured.errors += 1;
                        measured.first_error.get_or_insert_with(|| message.clone());
                        refusal = Some(message);
                        taken
                    }
                };
                self.refusal = refusal;
                let histogram = if *is_read {
                    &mut measured.reads
                } else {
                    &mut measured.writes
                };
                histogram.saturating_record(latency);
                answered += 1;
                waiting.next();
                self.received.advance(taken);
                seen = 0;
            }
            run.answered.fetch_add(answered, Relaxed);
        }
        Ok(())
    }
}

/// That the server takes no more, in its own words.
pub fn refused(message: String) -> ClientError {
    let (code, message) = match message.split_once(' ') {
        Some((code, rest)) => (code.to_owned(), rest.to_owned()),
        None => (message, String::new()),
    };
    ClientError::Refused { code, message }
}
