//! The load of a benchmark: its flags, and what its clients share while it runs.

use std::io;
use std::iter;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pykv::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use super::wire::{Encoding, KEY_PREFIX};
use crate::address::Address;
use crate::error::ClientError;

/// The most clients, as many as a server accepts.
const CLIENTS_MAX: u64 = 10_000;
/// The most bytes of requests in flight, of all clients together, as they are in memory.
const REQUEST_BYTES_MAX: u64 = 4 << 30;

/// The flags of `bench`.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// Protocol of the requests
    #[arg(long, value_enum, default_value_t = Encoding::Line)]
    pub dialect: Encoding,
    /// Concurrent clients
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=CLIENTS_MAX))]
    pub clients: u64,
    /// Threads that the clients share
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub threads: u64,
    /// Requests that a client sends before it waits for the replies
    #[arg(short = 'P', long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub pipeline: u64,
    /// Requests in all
    #[arg(short = 'n', long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: u64,
    /// Stop after this time, instead of a number of requests
    #[arg(short, long, conflicts_with = "requests", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// Keys, chosen at random with equal probability
    #[arg(short, long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Bytes of a key: `bench:` and its number
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(7..=KEY_BYTES_MAX as u64))]
    pub key_bytes: u64,
    /// Bytes of a value
    #[arg(short = 'd', long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=VALUE_BYTES_MAX as u64))]
    pub value_bytes: u64,
    /// Percentage of requests that read; the others write
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(..=100))]
    pub reads: u64,
    /// Requests per second, of all clients together [default: unlimited]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Store every key once before measuring
    #[arg(long)]
    pub fill: bool,
}

impl Load {
    /// Returns the bytes of the requests that one client sends at once.
    fn batch_bytes(&self) -> u64 {
        const AROUND: u64 = 64;
        self.pipeline * (self.key_bytes + self.value_bytes + AROUND)
    }

    /// Checks that the keys fit their length, and the requests in memory.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if they do not.
    pub fn check(&self) -> Result<(), ClientError> {
        let digits = (self.keys - 1).checked_ilog10().map_or(1, |log| log + 1);
        let least = KEY_PREFIX.len() as u64 + u64::from(digits);
        if self.key_bytes < least {
            return Err(ClientError::Usage(format!(
                "{} different keys take at least --key-bytes {least}: `{KEY_PREFIX}` and a number",
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

/// A phase of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Store each key once.
    Fill,
    /// Send the requests that are measured.
    Measure,
}

/// The state that all clients of a phase share.
pub struct Run<'a> {
    pub load: &'a Load,
    pub address: &'a Address,
    pub phase: Phase,
    /// The requests of the phase, those handed to clients, answered, and sent.
    pub requests: u64,
    given: AtomicU64,
    pub answered: AtomicU64,
    pub sent: AtomicU64,
    pub began: Instant,
    pub is_over: AtomicBool,
    /// Random text, twice as long as a value; each value is a part of it.
    pub text: Vec<u8>,
}

impl<'a> Run<'a> {
    /// Returns the state at the begin of a phase.
    pub fn new(load: &'a Load, address: &'a Address, phase: Phase) -> Self {
        Self {
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
            sent: AtomicU64::new(0),
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            text: iter::repeat_with(|| u8::try_from(fastrand::alphanumeric()).unwrap_or(b'a'))
                .take(2 * usize::try_from(load.value_bytes).unwrap_or(0))
                .collect(),
        }
    }

    /// Returns the numbers of the requests that a client sends next; `None` at the end.
    pub fn take(&self) -> Option<Range<u64>> {
        if self.is_over.load(Relaxed) {
            return None;
        }
        let first = self.given.fetch_add(self.load.pipeline, Relaxed);
        (first < self.requests).then(|| first..self.requests.min(first + self.load.pipeline))
    }

    /// Returns the error of a lost connection.
    pub fn lost(&self, source: io::Error) -> ClientError {
        ClientError::Lost {
            address: self.address.clone(),
            source,
        }
    }
}
