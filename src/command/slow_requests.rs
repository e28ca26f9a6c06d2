//! The slow log: the latest slow requests, for SLOWLOG.
//!
//! In: executed requests and their durations. Out: those over a threshold. Promise: their number and the length of each are
//! bounded.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clients::Client;
use super::spec::{Command, Flag};
use crate::config::Setup;
use crate::model::now_ms;

/// Number of words that are kept of a slow request, as in Redis.
const WORDS_KEPT: usize = 32;
/// Number of bytes that are kept of a word, as in Redis.
const WORD_BYTES_KEPT: usize = 128;

/// The latest slow requests.
#[derive(Debug, Default)]
pub struct Slowlog {
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    next_id: u64,
    /// The latest first.
    pub(super) requests: VecDeque<SlowRequest>,
}

/// A slow request, cut off to a bounded length.
#[derive(Debug)]
pub(super) struct SlowRequest {
    pub(super) id: u64,
    pub(super) at_seconds: u64,
    pub(super) us: u64,
    pub(super) words: Vec<Vec<u8>>,
    pub(super) command: &'static Command,
    pub(super) address: String,
    pub(super) name: String,
}

impl Slowlog {
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a request that takes so long belongs here.
    #[inline(always)]
    pub(super) fn is_slow(setup: &Setup, took: Duration) -> bool {
        let threshold = u64::try_from(setup.slowlog_threshold_us.load(Relaxed));
        threshold.is_ok_and(|us| took >= Duration::from_micros(us))
    }

    /// Adds a request, if it was slow.
    pub(super) fn note<W: AsRef<[u8]>>(
        &self,
        setup: &Setup,
        client: Option<&Client>,
        command: &'static Command,
        (verb, arguments): (&[u8], &[W]),
        took: Duration,
    ) {
        if Self::is_slow(setup, took) {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            // As in Redis, the number of arguments is shown, but no password.
            let is_secret = command.has(Flag::Secret);
            let arguments_shown = arguments.iter().map(|argument| {
                if is_secret {
                    &b"(redacted)"[..]
                } else {
                    argument.as_ref()
                }
            });
            let words = std::iter::once(verb).chain(arguments_shown);
            let mut kept: Vec<Vec<u8>> = words.take(WORDS_KEPT).map(shortened).collect();
            if arguments.len() + 1 > WORDS_KEPT {
                let more = arguments.len() + 2 - WORDS_KEPT;
                kept[WORDS_KEPT - 1] = format!("... ({more} more arguments)").into_bytes();
            }
            let mut log = self.log();
            let id = log.next_id;
            log.next_id += 1;
            log.requests.push_front(SlowRequest {
                id,
                at_seconds: now_ms() / 1000,
                us,
                words: kept,
                command,
                address: client.map_or(String::new(), |client| client.address.to_string()),
                name: client.map_or(String::new(), |client| client.names().name),
            });
            let len_max = usize::try_from(setup.slowlog_len_max.load(Relaxed)).unwrap_or(0);
            log.requests.truncate(len_max);
        }
    }
}

fn shortened(word: &[u8]) -> Vec<u8> {
    if word.len() <= WORD_BYTES_KEPT {
        return word.to_vec();
    }
    let more = word.len() - WORD_BYTES_KEPT;
    [
        &word[..WORD_BYTES_KEPT],
        format!("... ({more} more bytes)").as_bytes(),
    ]
    .concat()
}
