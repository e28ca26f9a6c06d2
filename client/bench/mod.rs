//! `bench`: how many requests a server answers in a second, and how long each takes.
//!
//! In: a server, of PyKV or of Redis, and what to ask it. Out: figures on standard output. Promises: every reply is taken for
//! the request that it answers, and a refusal is counted as one, not as speed; a latency runs from the moment a request was
//! due, so that a server that stalls cannot hide it by holding up what would have come next.

mod client;
mod report;
mod wire;

use std::io::{self, IsTerminal as _};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{iter, thread};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use pykv::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use self::client::{Measured, drive, refused};
pub use self::wire::Dialect;
use crate::connection::{self, Address};
use crate::error::ClientError;
use crate::render::Outcome;

/// What stands before the number of each key: they are a namespace of their own, and `DELPREFIX bench:` ends it.
const PREFIX: &str = "bench:";
/// As many clients as a server takes.
const CLIENTS_MAX: u64 = 10_000;
/// The most bytes of requests that are made at once, of all clients together: they are in memory.
const REQUEST_BYTES_MAX: u64 = 4 << 30;
/// Files that are open besides the clients' connections: of the terminal, of the threads.
const OTHER_FILES: u64 = 1024;
/// How often the bar moves and the user is listened to.
const TICK: Duration = Duration::from_millis(100);
/// How long replies are waited for once the run has been ended.
const GRACE: Duration = Duration::from_millis(500);

/// What is asked of the server.
#[derive(Debug, Args)]
pub struct Load {
    /// How requests are written: as lines, or as Redis clients write them
    #[arg(long, value_enum, default_value_t = Dialect::Line)]
    dialect: Dialect,
    /// How many clients ask at the same time
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=CLIENTS_MAX))]
    clients: u64,
    /// How many threads they share
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
    /// How many requests a client sends before it waits for the answers
    #[arg(short = 'P', long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pipeline: u64,
    /// How many requests in all
    #[arg(short = 'n', long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// End after so many seconds, however many requests that is
    #[arg(short, long, conflicts_with = "requests", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// How many keys there are to choose from, all as likely
    #[arg(short, long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Bytes of a key: `bench:`, and the rest is its number
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(7..=KEY_BYTES_MAX as u64))]
    key_bytes: u64,
    /// Bytes of a value
    #[arg(short = 'd', long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=VALUE_BYTES_MAX as u64))]
    value_bytes: u64,
    /// How many of 100 requests read; the others write
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(..=100))]
    reads: u64,
    /// Ask no more than so many requests in a second, of all clients together
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Store every key once before; that is not measured
    #[arg(long)]
    fill: bool,
}

impl Load {
    /// Bytes of the requests that one client makes at once.
    fn batch_bytes(&self) -> u64 {
        const AROUND: u64 = 64;
        self.pipeline * (self.key_bytes + self.value_bytes + AROUND)
    }

    fn check(&self) -> Result<(), ClientError> {
        let digits = (self.keys - 1).checked_ilog10().map_or(1, |log| log + 1);
        let least = PREFIX.len() as u64 + u64::from(digits);
        if self.key_bytes < least {
            return Err(ClientError::Usage(format!(
                "{} different keys take at least --key-bytes {least}: `{PREFIX}` and a number",
                self.keys
            )));
        }
        let bytes = self.clients * self.batch_bytes();
        if bytes > REQUEST_BYTES_MAX {
            return Err(ClientError::Usage(format!(
                "--clients, --pipeline and --value-bytes make {bytes} bytes of requests at once, and may make {REQUEST_BYTES_MAX}"
            )));
        }
        Ok(())
    }
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It stores each key once.
    Fill,
    /// It asks what is to be measured.
    Measure,
}

/// What all clients of a run share.
struct Run<'a> {
    load: &'a Load,
    address: &'a Address,
    phase: Phase,
    /// How many requests there are to be made, and how many have been given out and answered.
    requests: u64,
    given: AtomicU64,
    answered: AtomicU64,
    began: Instant,
    is_over: AtomicBool,
    /// Twice the bytes of a value: a value is any part of it.
    text: Vec<u8>,
}

impl Run<'_> {
    /// The numbers of the requests that a client makes next; none at the end.
    fn take(&self) -> Option<Range<u64>> {
        if self.is_over.load(Relaxed) {
            return None;
        }
        let first = self.given.fetch_add(self.load.pipeline, Relaxed);
        (first < self.requests).then(|| first..self.requests.min(first + self.load.pipeline))
    }

    fn lost(&self, source: io::Error) -> ClientError {
        ClientError::Lost {
            address: self.address.clone(),
            source,
        }
    }
}

/// Asks, measures, and shows the figures.
pub fn run(address: &Address, load: &Load, is_json: bool) -> Result<Outcome, ClientError> {
    load.check()?;
    connection::heed_interrupts();
    // A client has two handles on its connection while its thread runs. Should this fail, connecting says what is missing.
    let _ = rlimit::increase_nofile_limit(2 * load.clients + OTHER_FILES);
    let mut streams = (0..load.clients)
        .map(|_| address.connect(connection::CONNECT_TIMEOUT))
        .collect::<Result<Vec<_>, _>>()?;
    if load.fill {
        let (filled, _) = phase(address, load, Phase::Fill, &mut streams)?;
        if let Some(error) = filled.first_error {
            return Err(refused(error));
        }
        if connection::is_interrupted() {
            return Err(ClientError::Interrupted);
        }
    }
    let (measured, elapsed) = phase(address, load, Phase::Measure, &mut streams)?;
    report::show(address, load, &measured, elapsed, is_json).map_err(ClientError::output)?;
    Ok(if measured.errors > 0 {
        Outcome::Refused
    } else {
        Outcome::Done
    })
}

/// Has all clients do one thing, and gives back what came of it, and how long it took.
fn phase(
    address: &Address,
    load: &Load,
    phase: Phase,
    streams: &mut [TcpStream],
) -> Result<(Measured, Duration), ClientError> {
    let run = Run {
        load,
        address,
        phase,
        requests: match (phase, load.seconds) {
            (Phase::Fill, _) => load.keys,
            (Phase::Measure, Some(_)) => u64::MAX,
            (Phase::Measure, None) => load.requests,
        },
        given: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        began: Instant::now(),
        is_over: AtomicBool::new(false),
        text: iter::repeat_with(|| u8::try_from(fastrand::alphanumeric()).unwrap_or(b'a'))
            .take(2 * usize::try_from(load.value_bytes).unwrap_or(0))
            .collect(),
    };
    let share = streams
        .len()
        .div_ceil(usize::try_from(load.threads).unwrap_or(1));
    let (results, ended) = channel();
    thread::scope(|scope| {
        for (place, streams) in streams.chunks(share).enumerate() {
            let (run, results): (_, Sender<_>) = (&run, results.clone());
            scope.spawn(move || {
                // Nobody listens any more once another has failed.
                let _ = results.send(drive(run, place * share, streams));
            });
        }
        drop(results);
        let bar = bar(&run);
        let mut all = Measured::new();
        let (mut failure, mut interrupted_after) = (None, None);
        loop {
            match ended.recv_timeout(TICK) {
                Ok(Ok(measured)) => all.add(&measured),
                Ok(Err(error)) => {
                    run.is_over.store(true, Relaxed);
                    failure.get_or_insert(error);
                }
                Err(RecvTimeoutError::Timeout) if connection::is_interrupted() => {
                    run.is_over.store(true, Relaxed);
                    interrupted_after.get_or_insert_with(|| run.began.elapsed());
                }
                Err(RecvTimeoutError::Timeout) => bar.set_position(run.answered.load(Relaxed)),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        bar.finish_and_clear();
        // What comes after Ctrl-C is no part of the load: nothing is asked, and the last replies may be long in coming.
        let elapsed = interrupted_after.unwrap_or_else(|| run.began.elapsed());
        failure.map_or(Ok((all, elapsed)), Err)
    })
}

fn bar(run: &Run<'_>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, rest) = if run.requests == u64::MAX {
        (ProgressBar::no_length(), "{human_pos} requests")
    } else {
        let bar = ProgressBar::new(run.requests);
        (
            bar,
            "{bar:30} {percent:>3}%  {human_pos} of {human_len} requests",
        )
    };
    let what = match run.phase {
        Phase::Fill => "filling",
        Phase::Measure => "measuring",
    };
    let style = ProgressStyle::with_template(&format!("{what} {rest}  {{per_sec}}"));
    bar.with_style(style.expect("the template is well-formed"))
}
