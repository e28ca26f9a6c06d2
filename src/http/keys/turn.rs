//! One request on one pair, where its value and its expiry are looked at or changed at one moment, which no command does.
//!
//! In: what is to be done with the pair. Out: the response. Promises: it is one step, which nobody comes between; it is counted, and
//! shown to those who watch, as the command that it amounts to; it is answered once what it tells of is as safe as
//! `--durability` says.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::command::{Access, COMMANDS, Service, place_of};
use crate::engine::{Barrier, Group};
use crate::entry::Entry;
use crate::http::problem::Problem;
use crate::protocol::Dialect;
use crate::record::Key;
use crate::stats::Tally;

/// A request that is being done.
pub struct Turn<'a> {
    service: &'a Service,
    key: Key<'a>,
    tally: Tally,
    barrier: Barrier,
    is_change: bool,
}

impl<'a> Turn<'a> {
    /// Begins a request that amounts to this command, on this key.
    pub fn begin(service: &'a Service, verb: &str, key: Key<'a>) -> Self {
        let place = place_of(verb.as_bytes(), Dialect::Line).expect("a command of the table");
        if service.clients.is_monitored() {
            let words = [key.as_bytes()];
            service.clients.show_request(None, verb, words.into_iter());
        }
        Self {
            service,
            key,
            tally: Tally::of(place),
            barrier: Barrier::default(),
            is_change: COMMANDS[place].access == Access::Write,
        }
    }

    /// Looks at the pair, or changes it. If `decide` fails, nothing has changed.
    ///
    /// # Errors
    /// What `decide` says; `BUSY`, `DISK`.
    pub fn step<R>(
        &mut self,
        decide: impl FnOnce(&mut Group<'_>, Key<'_>) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        let mut group = self.service.engine()?.group(&[self.key]);
        // What is decided is news of the pair, even where nothing changes.
        self.barrier.raise(group.seen());
        let found = decide(&mut group, self.key)?;
        group.end(&mut self.barrier)?;
        Ok(found)
    }

    /// The pair.
    ///
    /// # Errors
    /// `BUSY`.
    pub fn find(&mut self) -> Result<Option<Entry>, Problem> {
        self.step(|group, key| Ok(group.get(key)))
    }

    /// Counts a read.
    pub fn read(&mut self, found: bool) {
        self.tally.read(found);
    }

    /// Ends the request.
    pub async fn end(mut self, done: Result<Response, Problem>) -> Response {
        let committed = self.service.commit(self.barrier).await;
        let done = match (done, committed) {
            (Ok(_), Err(error)) if self.is_change => Err(error.into()),
            // What could not be made safe is still true.
            (done, _) => done,
        };
        // That a key is not there, or a condition does not hold, is an answer like any other.
        let is_answer = |status| {
            matches!(
                status,
                StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED
            )
        };
        if done
            .as_ref()
            .is_err_and(|problem| !is_answer(problem.status()))
        {
            self.tally.errors += 1;
        }
        self.service.stats.add(&mut self.tally);
        done.unwrap_or_else(Problem::into_response)
    }
}
