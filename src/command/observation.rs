//! Observation of executed requests: SLOWLOG, the live feed, latencies.
//!
//! In: a request, its duration and its status. Out: entries of the slow log and of the recent requests. Promise: a request is
//! observed once, from any interface, and its duration includes a streamed reply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clients::Client;
use super::service::Service;
use super::spec::Command;
use crate::protocol::ErrorCode;

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

/// Adds an executed request to the slow log and the recent requests, where it belongs there.
pub(super) fn note<W: AsRef<[u8]>>(
    service: &Service,
    client: Option<&Client>,
    command: &'static Command,
    arguments: &[W],
    status: Status,
    took: Duration,
) {
    if command.is_timed() {
        let setup = &service.setup;
        service
            .slowlog
            .note(setup, client, command, arguments, took);
    }
    if service.recent_requests.is_watched() {
        let key = command.keys(arguments).next();
        let recent = &service.recent_requests;
        recent.note(command.name, key, status.as_str(), took);
    }
}

/// A request whose reply is not complete.
#[derive(Debug)]
pub(super) struct Observed {
    client: Option<Arc<Client>>,
    command: &'static Command,
    place: usize,
    arguments: Vec<Box<[u8]>>,
    started: Instant,
}

impl Observed {
    /// Begins the observation. The arguments are copied, as the input buffer is reused before the reply is complete.
    pub(super) fn new<W: AsRef<[u8]>>(
        client: Option<Arc<Client>>,
        (place, command): (usize, &'static Command),
        arguments: &[W],
        started: Instant,
    ) -> Self {
        Self {
            client,
            command,
            place,
            arguments: arguments.iter().map(|word| word.as_ref().into()).collect(),
            started,
        }
    }

    /// Ends the observation: the reply is complete.
    pub(super) fn end(self, service: &Service, status: Status) {
        let took = self.started.elapsed();
        service.stats.add_latency(self.place, took);
        let client = self.client.as_deref();
        note(service, client, self.command, &self.arguments, status, took);
    }
}
