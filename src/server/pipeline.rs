//! The execution of requests that have arrived together: each in its turn, and where possible several under the same locks.
//!
//! In: requests that have been looked up. Out: their replies at the end of the output, and why it has stopped. Promises: the
//! replies stand in the order of the requests; those that tell of a change are marked.

use super::output::Output;
use super::request_buffer::BufferedRequest;
use crate::command::{
    BatchRole, Dispatcher, Executed, Outcome, Replies as _, RequestBatch, Service, Stream,
};
use crate::engine::{LOCKED_BATCH_REQUESTS_MAX, LockedBatch};
use crate::protocol::{Dialect, Refusal, Reply};

/// About as long as a short reply is: a guess, so that nothing is moved while they become more.
const REPLY_BYTES_EXPECTED: usize = 96;

/// Why no further request is executed for now.
pub enum PipelineStop {
    /// No whole request is left.
    Drained,
    /// The output is full.
    Full,
    /// The reply comes from this stream, in the output's dialect.
    Stream(Stream),
    /// The connection is to be closed.
    Close,
}

/// The execution of requests that have arrived together.
pub struct Pipeline<'a> {
    /// Executes them.
    pub dispatcher: Dispatcher<'a>,
    /// Takes their replies.
    pub output: &'a mut Output,
}

impl Pipeline<'_> {
    /// Executes requests until one has a long reply or the output is full. If it has stopped, returns the end of the last
    /// executed request in the input, and why.
    pub fn run(
        &mut self,
        items: &[BufferedRequest],
        batch: &RequestBatch<'_>,
    ) -> Option<(usize, PipelineStop)> {
        let service = self.dispatcher.service;
        self.output.reserve(items.len() * REPLY_BYTES_EXPECTED);
        self.prefetch(items, batch);
        let mut place = 0;
        while place < items.len() {
            let (count, is_writing) = self.batchable(&items[place..]);
            let items = &items[place..place + count.max(1)];
            let mut locked = lock(service, items, batch, is_writing);
            let stopped = items.iter().enumerate().find_map(|(place, item)| {
                let locked = (count > 1).then_some((&mut locked, place));
                let stop = self.execute(item, batch, locked)?;
                Some((item.end, stop))
            });
            if let Some(locked) = locked {
                self.dispatcher.barrier.raise(locked.finish());
            }
            if stopped.is_some() {
                return stopped;
            }
            place += items.len();
        }
        None
    }

    /// Prefetches the pairs that are named by requests which cannot share locks.
    fn prefetch(&self, items: &[BufferedRequest], batch: &RequestBatch<'_>) {
        let requests = items.iter().flat_map(|item| &item.request);
        let alone = requests.filter(|request| request.role().is_none());
        let mut keys = alone.flat_map(|request| batch.keys(request)).peekable();
        if keys.peek().is_some() {
            self.dispatcher.service.prefetch(keys);
        }
    }

    /// Returns the number of the next requests that can share locks, and whether one of them changes its key.
    fn batchable(&self, items: &[BufferedRequest]) -> (usize, bool) {
        if self.dispatcher.session.is_in_transaction() {
            return (0, false);
        }
        let mut is_writing = false;
        let parts = items
            .iter()
            .take(LOCKED_BATCH_REQUESTS_MAX)
            .map_while(|item| {
                let part = item.request.as_ref().ok()?.role()?;
                is_writing |= part == BatchRole::Write;
                Some(part)
            });
        (parts.count(), is_writing)
    }

    /// Executes one request; returns why none may be executed after it for now, if so.
    fn execute(
        &mut self,
        item: &BufferedRequest,
        batch: &RequestBatch<'_>,
        locked: Option<(&mut Option<LockedBatch<'_>>, usize)>,
    ) -> Option<PipelineStop> {
        let dialect = if item.is_resp {
            self.dispatcher.session.resp()
        } else {
            Dialect::Line
        };
        self.output.dialect = dialect;
        let request = match &item.request {
            Ok(request) => request,
            Err(refusal) => {
                self.dispatcher.session.abort_transaction();
                return self.refuse(refusal);
            }
        };
        let start = self.output.bytes();
        let Executed {
            outcome,
            tells_of_change,
            ..
        } = self
            .dispatcher
            .execute(dialect, batch, request, locked, self.output);
        match outcome {
            Outcome::Stream(stream) => return Some(PipelineStop::Stream(stream)),
            Outcome::Done | Outcome::Close if tells_of_change => self.output.note_change(start),
            Outcome::Done | Outcome::Close => {}
        }
        match outcome {
            Outcome::Close => Some(PipelineStop::Close),
            _ if self.output.is_full() => Some(PipelineStop::Full),
            _ => None,
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> Option<PipelineStop> {
        self.dispatcher.tally.requests += 1;
        self.dispatcher.tally.errors += 1;
        self.output.reply(Reply::Error(&refusal.error));
        refusal.closes.then_some(PipelineStop::Close)
    }
}

/// Locks the shards of these requests, if they are several and the data has been loaded.
fn lock<'s>(
    service: &'s Service,
    items: &[BufferedRequest],
    batch: &RequestBatch<'_>,
    is_writing: bool,
) -> Option<LockedBatch<'s>> {
    if items.len() < 2 {
        return None;
    }
    let requests = items.iter().flat_map(|item| &item.request);
    let keys = requests.map(|request| batch.key(request));
    Some(service.engine().ok()?.lock_batch(keys, is_writing))
}
