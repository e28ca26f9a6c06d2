//! One request on one pair, where its value and its expiry are looked at or changed at one moment, which no command does.
//!
//! In: what is to be done with the pair. Out: the response. Promises: it is one step, which nobody comes between; it is counted, and
//! shown to those who watch, as the command that it amounts to; it is answered once what it tells of is as safe as
//! `--durability` says.

use axum::response::{IntoResponse as _, Response};

use crate::command::Service;
use crate::engine::{Barrier, WriteTransaction};
use crate::http::account::Account;
use crate::http::problem::Problem;
use crate::model::Key;
use crate::model::entry::Entry;

/// A request that is being done.
pub struct Turn<'a> {
    service: &'a Service,
    key: Key<'a>,
    account: Account<'a>,
    barrier: Barrier,
}

impl<'a> Turn<'a> {
    /// Begins a request that amounts to this command, on this key.
    pub fn begin(service: &'a Service, verb: &str, key: Key<'a>) -> Self {
        Self {
            service,
            key,
            account: Account::open(service, verb, &[key.as_bytes()]),
            barrier: Barrier::default(),
        }
    }

    /// Looks at the pair, or changes it. If `decide` fails, nothing has changed.
    ///
    /// # Errors
    /// What `decide` says; `BUSY`, `DISK`.
    pub fn step<R>(
        &mut self,
        decide: impl FnOnce(&mut WriteTransaction<'_>, Key<'_>) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        let mut group = self.service.engine()?.begin(&[self.key]);
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
        self.account.tally.read(found);
    }

    /// Ends the request.
    pub async fn end(mut self, done: Result<Response, Problem>) -> Response {
        self.account.executed();
        let committed = self.service.commit(self.barrier).await;
        let done = match (done, committed) {
            (Ok(_), Err(error)) if self.account.is_change() => Err(error.into()),
            // What could not be made safe is still true.
            (done, _) => done,
        };
        self.account
            .close(Some(self.key.as_bytes()), done.as_ref().err());
        done.unwrap_or_else(Problem::into_response)
    }
}
