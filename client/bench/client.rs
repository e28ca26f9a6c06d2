//! The clients of a benchmark: each sends a batch of requests, waits for the replies, and repeats.
//!
//! In: the load, and a connection for each. Out: measurements. Promise: replies are read while requests are still being sent, so that client
//! and server cannot block each other.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::load::{Phase, Run};
use super::wire::{BenchKey, WireReply};
use crate::connection::{closed, shortened};
use crate::error::ClientError;
use crate::stream::Stream;
use crate::tls::TlsSession;

/// The interval at which a thread looks whether the phase is over.
pub const TICK: Duration = Duration::from_millis(100);
/// The time in which the last replies may arrive once the phase is over.
const GRACE: Duration = Duration::from_millis(500);
/// The longest latency of the histograms, in nanoseconds: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// The significant digits of a latency.
const DIGITS: u8 = 3;
/// The free space of the receive buffer, at least.
const RECEIVE_BYTES_MIN: usize = 16 << 10;
/// The last part of a wait, which is spent busy: timers have whole milliseconds, rounded up twice, and clients that wake in the same one
/// would send in one burst.
const BUSY_WAIT: Duration = Duration::from_millis(2);

/// The measurements of some clients.
pub struct Measured {
    /// Latencies of reads and of writes, in nanoseconds.
    pub reads: Histogram<u64>,
    pub writes: Histogram<u64>,
    /// The reads whose key did not exist.
    pub misses: u64,
    /// The requests that were refused, and the first error.
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

    /// Adds other measurements.
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

/// Runs the clients of one thread to the end of a phase; `place` is that of the first among all clients.
pub fn drive(run: &Run<'_>, place: usize, streams: &[Stream]) -> Result<Measured, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| run.lost(source))?;
    let measured = RefCell::new(Measured::new());
    runtime.block_on(async {
        let clients = streams.iter().enumerate().map(|(number, stream)| {
            let measured = &measured;
            async move {
                let client = place + number;
                let tls = match stream {
                    Stream::Tls(stream) => Some(Arc::clone(&stream.session)),
                    Stream::Tcp(_) | Stream::Unix(_) => None,
                };
                match own(stream).map_err(|source| run.lost(source))? {
                    Own::Tcp(mut stream) => {
                        let halves = stream.split();
                        send_and_receive(run, client, halves, tls, measured).await
                    }
                    Own::Unix(mut stream) => {
                        let halves = stream.split();
                        send_and_receive(run, client, halves, tls, measured).await
                    }
                }
            }
        });
        // Unordered, so that the failure of a client is seen before the others end.
        let clients: FuturesUnordered<_> = clients.collect();
        tokio::select! {
            ended = clients.try_collect::<()>() => ended,
            () = grace_period(run) => Ok(()),
        }
    })?;
    Ok(measured.into_inner())
}

/// A stream of the runtime.
enum Own {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

fn own(stream: &Stream) -> io::Result<Own> {
    let stream = stream.try_clone()?;
    stream.set_nonblocking(true)?;
    match stream {
        Stream::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(Own::Tcp),
        Stream::Tls(stream) => tokio::net::TcpStream::from_std(stream.socket).map(Own::Tcp),
        Stream::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Own::Unix),
    }
}

/// Waits until the phase is over, and the time for its last replies.
async fn grace_period(run: &Run<'_>) {
    while !run.is_over.load(Relaxed) {
        tokio::time::sleep(TICK).await;
    }
    tokio::time::sleep(GRACE).await;
}

/// The schedule of a client.
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
            reason = "a rate is below 2^52 per second"
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

    /// Waits for the time to send; returns the time when it was due, from which latency counts, or `None` once the phase is over.
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
            // The rate is that of the whole time, so the end is awaited.
            tokio::time::sleep_until(end.into()).await;
            return None;
        }
        if let Some(asleep) = due.duration_since(now).checked_sub(BUSY_WAIT) {
            tokio::time::sleep(asleep).await;
        }
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        (!run.is_over.load(Relaxed)).then_some(due)
    }
}

/// Sends requests and reads their replies until there are no more to send.
///
/// # Errors
/// [`ClientError::Lost`] if the connection fails; `Refused` if an error reply came right before; `Foreign` if the server speaks another
/// protocol.
async fn send_and_receive(
    run: &Run<'_>,
    client: usize,
    (reader, mut writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    tls: Option<Arc<TlsSession>>,
    measured: &RefCell<Measured>,
) -> Result<(), ClientError> {
    let load = run.load;
    let mut replies = Receiver {
        reader,
        tls: tls.clone(),
        received: BytesMut::new(),
        records: Vec::new(),
        refusal: None,
    };
    let mut key = BenchKey::new(usize::try_from(load.key_bytes).unwrap_or(0));
    let value_bytes = run.text.len() / 2;
    let mut pace = Pace::of(run, client);
    let mut random = fastrand::Rng::new();
    let (mut requests, mut are_reads, mut records) = (Vec::new(), Vec::new(), Vec::new());
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
        run.sent.fetch_add(are_reads.len() as u64, Relaxed);
        let sending = async {
            let sent = match &tls {
                None => writer.write_all(&requests).await,
                Some(session) => {
                    records.clear();
                    match session.encrypt(&requests, &mut records) {
                        Ok(()) => writer.write_all(&records).await,
                        Err(error) => Err(error),
                    }
                }
            };
            sent.map_err(|source| run.lost(source))
        };
        let done = tokio::try_join!(replies.read(run, &are_reads, began, measured), sending);
        done.map_err(|error| match (error, replies.refusal.take()) {
            (ClientError::Lost { .. }, Some(reply)) => ClientError::refused(&reply),
            (error, _) => error,
        })?;
    }
    Ok(())
}

/// The receiving end of a client.
struct Receiver<R> {
    reader: R,
    tls: Option<Arc<TlsSession>>,
    received: BytesMut,
    /// Records of TLS that have arrived.
    records: Vec<u8>,
    /// The latest reply, if it was an error: a server that closes often says why first.
    refusal: Option<String>,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    /// Receives bytes; returns the number of those that came from the socket.
    async fn receive(&mut self) -> io::Result<usize> {
        let Some(session) = &self.tls else {
            self.received.reserve(RECEIVE_BYTES_MIN);
            return self.reader.read_buf(&mut self.received).await;
        };
        self.records.clear();
        self.records.reserve(RECEIVE_BYTES_MIN);
        let count = self.reader.read_buf(&mut self.records).await?;
        let mut decrypted = Vec::new();
        session.decrypt(&self.records, &mut decrypted)?;
        self.received.extend_from_slice(&decrypted);
        Ok(count)
    }

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
            let count = self.receive().await;
            if count.map_err(|source| run.lost(source))? == 0 {
                return Err(run.lost(closed()));
            }
            let latency = u64::try_from(began.elapsed().as_nanos()).unwrap_or(LATENCY_NS_MAX);
            let measured = &mut *measured.borrow_mut();
            let mut answered = 0;
            while let Some(is_read) = waiting.as_slice().first() {
                let mut refusal = None;
                let taken = match run.load.dialect.reply(&self.received, seen) {
                    WireReply::Partial(looked_at) => {
                        seen = looked_at;
                        break;
                    }
                    WireReply::Foreign(line) => {
                        return Err(ClientError::Foreign {
                            address: run.address.clone(),
                            shown: shortened(line),
                        });
                    }
                    WireReply::Done(taken) => taken,
                    WireReply::Missing(taken) => {
                        measured.misses += 1;
                        taken
                    }
                    WireReply::Error(message, taken) => {
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
