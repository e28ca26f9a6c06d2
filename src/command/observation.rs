//! What is noted of an executed request: SLOWLOG, the live feed, latencies.
//!
//! In: a request, the time that it took, its status. Out: entries of the slow log and of the recent requests. Promise: a request is
//! noted once, whichever door it came through, and its time is that of the whole of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clients::Client;
use super::service::Service;
use super::spec::Command;
use crate::protocol::ErrorCode;

/// The result of a request, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Its key does not exist.
    NotFound,
    /// Its condition did not hold.
    Unmet,
    /// Refused, or failed.
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

/// Notes an executed request.
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

/// A request whose reply is still under way.
#[derive(Debug)]
pub(super) struct Observed {
    client: Option<Arc<Client>>,
    command: &'static Command,
    place: usize,
    arguments: Vec<Box<[u8]>>,
    started: Instant,
}

impl Observed {
    /// Copies the arguments: the request's own are gone once its reply has begun.
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

    /// Notes the request, whose last reply has been written.
    pub(super) fn end(self, service: &Service, status: Status) {
        let took = self.started.elapsed();
        service.stats.add_latency(self.place, took);
        let client = self.client.as_deref();
        note(service, client, self.command, &self.arguments, status, took);
    }
}
