//! A request that HTTP does by itself, as no command does just that: counted and shown as the command that it amounts to.
//!
//! In: a verb and its words, then how it has ended. Out: counters, and what those see who monitor or watch. Promise: in the figures
//! it is a request like one of the text port.

use std::time::{Duration, Instant};

use super::problem::Problem;
use crate::command::{COMMANDS, Command, Service, place_of};
use crate::metrics::counters::Tally;
use crate::protocol::Dialect;

/// A request that is being done.
pub struct Account<'a> {
    service: &'a Service,
    command: &'static Command,
    began: Instant,
    took: Option<Duration>,
    /// What it counts.
    pub tally: Tally,
}

impl<'a> Account<'a> {
    /// Takes up a request that amounts to this command.
    pub fn open(service: &'a Service, verb: &str, words: &[&[u8]]) -> Self {
        let place = place_of(verb.as_bytes(), Dialect::Line).expect("a command of the table");
        if service.clients.is_monitored() {
            service
                .clients
                .show_request(None, verb, words.iter().copied());
        }
        Self {
            service,
            command: COMMANDS[place],
            began: Instant::now(),
            took: None,
            tally: Tally::of(place),
        }
    }

    /// Whether the command changes pairs.
    pub fn is_change(&self) -> bool {
        self.command.is_write()
    }

    /// Notes that it has been executed; what follows is waiting.
    pub fn executed(&mut self) {
        self.took = Some(self.began.elapsed());
    }

    /// Ends the request, on a key if it has one.
    pub fn close(mut self, key: Option<&[u8]>, problem: Option<&Problem>) {
        self.tally.errors += u64::from(problem.is_some_and(|problem| !problem.is_answer()));
        let operations = &self.service.operations;
        if operations.is_watched() {
            let took = self.took.unwrap_or_else(|| self.began.elapsed());
            let status = problem.map_or("OK", Problem::code);
            operations.note(self.command.name, key, status, took);
        }
        self.service.stats.add(&mut self.tally);
    }
}
