//! Observation of executed requests: SLOWLOG, the live feed, latencies.
//!
//! In: a request, its duration and its status. Out: entries of the slow log and of the recent requests. Promise: a request is
//! observed once, from any interface, and its duration includes a streamed reply.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::clients::Client;
use super::service::Service;
use super::spec::{Command, Flag};
use crate::metrics::counters::Failure;
use crate::protocol::{ErrorCode, ErrorReply};

/// Result of a request, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The request was executed.
    Ok,
    /// Its key does not exist.
    NotFound,
    /// Its condition did not hold.
    Unmet,
    /// It was refused, or failed.
    Refused(ErrorCode),
}

impl Status {
    /// Returns the word: `OK`, `NOT_FOUND`, `UNMET` or a code of the line dialect.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NotFound => "NOT_FOUND",
            Self::Unmet => "UNMET",
            Self::Refused(code) => code.as_str(),
        }
    }
}

/// Execution time in microseconds below which a threshold of the slow log lets every request be timed by itself. Above, those that
/// are executed under the same locks are timed together, as reading the clock takes a tenth of the time of a GET.
const EACH_TIMED_BELOW_US: i64 = 1_000;

/// Returns true if each request of a command is timed by itself.
#[inline(always)]
pub(super) fn is_observed(service: &Service, command: &Command) -> bool {
    command.is_timed()
        || service.recent_requests.is_watched()
        || (0..EACH_TIMED_BELOW_US).contains(&service.setup.slowlog_threshold_us.load(Relaxed))
}

/// Returns the stage at which a request was refused.
pub(super) fn failure_of(error: &ErrorReply) -> Failure {
    match error.redis_prefix() {
        "NOAUTH" | "NOPERM" | "LOADING" => Failure::Rejected,
        _ => Failure::Failed,
    }
}

/// Adds an executed request to the slow log and the recent requests, where it belongs there.
pub(super) fn note<W: AsRef<[u8]>>(
    service: &Service,
    client: Option<&Client>,
    (command, verb): (&'static Command, &[u8]),
    arguments: &[W],
    status: Status,
    took: Duration,
) {
    note_slow(service, client, (command, verb), arguments, took);
    if service.recent_requests.is_watched() {
        let key = command.keys(arguments).next();
        let recent = &service.recent_requests;
        recent.note(command.name, key, status.as_str(), took);
    }
}

/// Adds an executed request to the slow log, if it belongs there.
pub(super) fn note_slow<W: AsRef<[u8]>>(
    service: &Service,
    client: Option<&Client>,
    (command, verb): (&'static Command, &[u8]),
    arguments: &[W],
    took: Duration,
) {
    // To wait is not slow.
    if !command.has(Flag::Receives) && !command.has(Flag::Blocks) {
        let setup = &service.setup;
        let words = (verb, arguments);
        service.slowlog.note(setup, client, command, words, took);
    }
}

/// A request whose reply is not complete.
#[derive(Debug)]
pub(super) struct Observed {
    client: Option<Arc<Client>>,
    /// Number of the command or subcommand.
    id: usize,
    command: &'static Command,
    verb: Box<[u8]>,
    arguments: Vec<Box<[u8]>>,
    started: Instant,
}

impl Observed {
    /// Begins the observation. The arguments are copied, as the input buffer is reused before the reply is complete.
    pub(super) fn new<W: AsRef<[u8]>>(
        client: Option<Arc<Client>>,
        id: usize,
        (command, verb): (&'static Command, &[u8]),
        arguments: &[W],
        started: Instant,
    ) -> Self {
        Self {
            client,
            id,
            command,
            verb: verb.into(),
            arguments: arguments.iter().map(|word| word.as_ref().into()).collect(),
            started,
        }
    }

    /// Counts its failure.
    pub(super) fn fail(&self, service: &Service, error: &ErrorReply) {
        service.stats.count_failure(self.id, failure_of(error));
    }

    /// Ends the observation: the reply is complete.
    pub(super) fn end(self, service: &Service, status: Status) {
        let took = self.started.elapsed();
        service.stats.add_latency(self.id, took);
        let client = self.client.as_deref();
        let row = (self.command, &*self.verb);
        note(service, client, row, &self.arguments, status, took);
    }
}
