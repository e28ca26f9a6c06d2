//! The pipeline of a batch: each request in its turn, and where they allow it several under the same locks.
//!
//! In: requests that have been looked up. Out: their replies at the end of the output, and where it has stopped. Promises: the
//! replies stand in the order of the requests; where those of changes stand is noted, so that they can be taken back.

use crate::command::{Batch, Dispatcher, Executed, Next, Part, Service};
use crate::engine::{LOCKED_BATCH_REQUESTS_MAX, LockedBatch};
use crate::protocol::{Dialect, Refusal, Replies as _, Reply, Spoken};
use crate::server::request_buffer::Item;

/// Replies are sent once there are this many bytes of them, however many requests are still to be executed.
pub const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// About as long as a short reply is: a guess, so that nothing is moved while they become more.
const REPLY_BYTES_EXPECTED: usize = 96;

/// Where it has stopped.
pub enum Step {
    /// No whole request is left.
    More,
    /// The output is full.
    Full,
    /// This takes time; to be answered in this dialect.
    Run(Next, Dialect),
    /// No later byte can be trusted.
    Close,
}

/// The pipeline of one batch.
pub struct Pipeline<'a> {
    /// Where requests are executed.
    pub dispatcher: Dispatcher<'a>,
    /// Where replies go.
    pub output: &'a mut Vec<u8>,
    /// Where in the output the replies to changes stand: they must be taken back if the changes cannot be made safe.
    pub changes: &'a mut Vec<(usize, usize, Dialect)>,
}

impl Pipeline<'_> {
    /// Executes requests until one takes time or the output is full. If it has stopped: where what was executed ends in the
    /// input, and why.
    pub fn run(&mut self, items: &[Item], batch: &Batch<'_>) -> Option<(usize, Step)> {
        let service = self.dispatcher.service;
        self.output.reserve(items.len() * REPLY_BYTES_EXPECTED);
        self.prefetch(items, batch);
        let mut place = 0;
        while place < items.len() {
            let (count, is_writing) = self.run_of(&items[place..]);
            let items = &items[place..place + count.max(1)];
            let mut run = begin(service, items, batch, is_writing);
            let stopped = items.iter().enumerate().find_map(|(place, item)| {
                let run = (count > 1).then_some((&mut run, place));
                self.execute(item, batch, run).map(|step| (item.end, step))
            });
            if let Some(run) = run {
                self.dispatcher.barrier.raise(run.end());
            }
            if stopped.is_some() {
                return stopped;
            }
            place += items.len();
        }
        None
    }

    /// Has the pairs fetched from memory that requests name which cannot be part of a run.
    fn prefetch(&self, items: &[Item], batch: &Batch<'_>) {
        let requests = items.iter().flat_map(|item| &item.request);
        let alone = requests.filter(|request| request.part().is_none());
        let mut keys = alone.flat_map(|request| batch.keys(request)).peekable();
        if keys.peek().is_some() {
            self.dispatcher.service.prefetch(keys);
        }
    }

    /// How many of the next requests can share their locks, and whether one of them changes its key.
    fn run_of(&self, items: &[Item]) -> (usize, bool) {
        if self.dispatcher.session.is_in_transaction() {
            return (0, false);
        }
        let mut is_writing = false;
        let parts = items
            .iter()
            .take(LOCKED_BATCH_REQUESTS_MAX)
            .map_while(|item| {
                let part = item.request.as_ref().ok()?.part()?;
                is_writing |= part == Part::Write;
                Some(part)
            });
        (parts.count(), is_writing)
    }

    /// Executes one request; why nothing may be executed after it for now, if so.
    fn execute(
        &mut self,
        item: &Item,
        batch: &Batch<'_>,
        run: Option<(&mut Option<LockedBatch<'_>>, usize)>,
    ) -> Option<Step> {
        let dialect = if item.is_resp {
            self.dispatcher.session.resp()
        } else {
            Dialect::Line
        };
        let request = match &item.request {
            Ok(request) => request,
            Err(refusal) => {
                self.dispatcher.session.abort_transaction();
                return self.refuse(dialect, refusal);
            }
        };
        let start = self.output.len();
        let output = &mut *self.output;
        let mut replies = Spoken { dialect, output };
        let Executed { next, is_change } =
            self.dispatcher
                .execute(dialect, batch, request, run, &mut replies);
        if is_change && matches!(next, Next::Done | Next::Close) {
            self.changes.push((start, self.output.len(), dialect));
        }
        match next {
            Next::Done if self.output.len() < OUTPUT_BYTES_MAX => None,
            Next::Done => Some(Step::Full),
            next => Some(Step::Run(next, dialect)),
        }
    }

    fn refuse(&mut self, dialect: Dialect, refusal: &Refusal) -> Option<Step> {
        self.dispatcher.tally.requests += 1;
        self.dispatcher.tally.errors += 1;
        let output = &mut *self.output;
        Spoken { dialect, output }.reply(Reply::Error(&refusal.error));
        refusal.closes.then_some(Step::Close)
    }
}

/// Begins a run of these requests, if they are one and the data is there.
fn begin<'s>(
    service: &'s Service,
    items: &[Item],
    batch: &Batch<'_>,
    is_writing: bool,
) -> Option<LockedBatch<'s>> {
    if items.len() < 2 {
        return None;
    }
    let requests = items.iter().flat_map(|item| &item.request);
    let keys = requests.map(|request| batch.key(request));
    Some(service.engine().ok()?.run(keys, is_writing))
}
