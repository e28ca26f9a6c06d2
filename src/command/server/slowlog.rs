//! Requests that took long, and what else is told of the time that things take.
//!
//! In: requests that name many keys, and their times. Out: the last slow ones. Promise: a request of one key is not timed: two
//! looks at the clock would cost it a tenth of its speed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::command::data::options::number_of;
use crate::command::table::{ANY, Command};
use crate::command::{
    Answer, Arguments, Call, Next, bad_argument, doubtful_subcommand, other_subcommand,
};
use crate::model::now_ms;
use crate::protocol::Reply;

pub(in crate::command) const ROWS: &[Command] = &[
    Command::free("SLOWLOG", "GET [<number>] | LEN | RESET", 1..=ANY, slowlog)
        .example("SLOWLOG LEN")
        .summary("Tell of the last requests on many keys that took long."),
    Command::free(
        "LATENCY",
        "LATEST | HISTORY <event> | RESET | DOCTOR",
        1..=ANY,
        latency,
    )
    .example("LATENCY LATEST")
    .summary("Tell of slow events, as Redis does; none is watched."),
];

/// How many words of a slow request are kept, and how many bytes of each, as in Redis.
const WORDS_KEPT: usize = 32;
const WORD_BYTES_KEPT: usize = 128;
/// How many are told of unless more are asked for.
const SHOWN: i64 = 10;

/// The last slow requests.
#[derive(Debug)]
pub struct Slowlog {
    /// From how many microseconds on a request is slow; below nought none is.
    pub(in crate::command) threshold_us: AtomicI64,
    /// How many are kept.
    pub(in crate::command) len_max: AtomicI64,
    log: Mutex<Log>,
}

impl Default for Slowlog {
    fn default() -> Self {
        Self {
            threshold_us: AtomicI64::new(10_000),
            len_max: AtomicI64::new(128),
            log: Mutex::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    next_id: u64,
    /// The last one first.
    requests: VecDeque<Slow>,
}

#[derive(Debug)]
struct Slow {
    id: u64,
    at_seconds: u64,
    us: u64,
    words: Vec<Vec<u8>>,
    address: String,
    name: String,
}

impl Slowlog {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request, if it was slow.
    pub(in crate::command) fn note(
        &self,
        call: &Call<'_, '_>,
        arguments: &Arguments<'_>,
        took: Duration,
    ) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let threshold = u64::try_from(self.threshold_us.load(Relaxed));
        if threshold.is_ok_and(|threshold| us >= threshold) {
            let client = call.session.client.as_ref();
            let name = call.command.name.to_lowercase();
            let words =
                std::iter::once(name.as_bytes()).chain(arguments.iter().map(|word| &**word));
            let mut kept: Vec<Vec<u8>> = words.take(WORDS_KEPT).map(shortened).collect();
            if arguments.len() + 1 > WORDS_KEPT {
                let more = arguments.len() + 2 - WORDS_KEPT;
                kept[WORDS_KEPT - 1] = format!("... ({more} more arguments)").into_bytes();
            }
            let mut log = self.log();
            let id = log.next_id;
            log.next_id += 1;
            log.requests.push_front(Slow {
                id,
                at_seconds: now_ms() / 1000,
                us,
                words: kept,
                address: client.map_or(String::new(), |client| client.address.to_string()),
                name: client.map_or(String::new(), |client| client.names().name),
            });
            let len_max = usize::try_from(self.len_max.load(Relaxed)).unwrap_or(0);
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

fn slowlog(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"LEN", []) => {
            let len = call.service.slowlog.log().requests.len();
            call.done(Reply::Count(len as u64))
        }
        (b"RESET", []) => {
            call.service.slowlog.log().requests.clear();
            call.done(Reply::Ok)
        }
        (b"GET", [] | [_]) => {
            let count = words.get(1).map_or(Ok(SHOWN), |count| number_of(count))?;
            if count < -1 {
                return Err(bad_argument("count should be greater than or equal to -1"));
            }
            show(call, usize::try_from(count).unwrap_or(usize::MAX))
        }
        (b"GET", _) => Err(doubtful_subcommand(call, &words[0])),
        _ => other_subcommand(call, words, &["LEN", "RESET"]),
    }
}

fn show(call: &mut Call<'_, '_>, count: usize) -> Answer {
    let log = call.service.slowlog.log();
    let count = count.min(log.requests.len());
    call.replies.reply(Reply::Array(count));
    for slow in log.requests.iter().take(count) {
        call.replies.reply(Reply::Array(6));
        for number in [slow.id, slow.at_seconds, slow.us] {
            call.replies.reply(Reply::Count(number));
        }
        call.replies.reply(Reply::Array(slow.words.len()));
        for word in &slow.words {
            call.replies.reply(Reply::Value(word));
        }
        for text in [&slow.address, &slow.name] {
            call.replies.reply(Reply::Value(text.as_bytes()));
        }
    }
    Ok(Next::Done)
}

fn latency(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"LATEST", []) | (b"HISTORY", [_]) => call.done(Reply::Array(0)),
        (b"RESET", _) => call.done(Reply::Count(0)),
        (b"DOCTOR", []) => call.done(Reply::Text(
            "No event is watched. SLOWLOG GET tells of slow requests, and INFO persistence of the disk.",
        )),
        _ => other_subcommand(
            call,
            words,
            &["LATEST", "HISTORY", "DOCTOR"],
        ),
    }
}
