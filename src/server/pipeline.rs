//! The execution of requests that have arrived together: in order, and where possible several under the same locks.
//!
//! In: prepared requests. Out: their replies in the output, and the reason for a stop. Promises: the replies are in the order of
//! the requests; those that report a change are marked.

use std::sync::Arc;
use std::time::Duration;

use super::output::Output;
use super::request_buffer::BufferedRequest;
use crate::cluster::Cluster;
use crate::command::{
    BatchRole, Command, Dispatcher, Executed, Forwarded, Outcome, Prepared, Replies as _,
    RequestBatch, Service, Silence, Stream,
};
use crate::engine::{LOCKED_BATCH_REQUESTS_MAX, LockedBatch};
use crate::protocol::{Dialect, Refusal, Reply, foreign};
use crate::tls::note_tls_on_plain_port;

/// Typical length of a reply in bytes: memory for all is reserved at once, so that the buffer is rarely moved while it grows.
const REPLY_BYTES_EXPECTED: usize = 96;

/// Time after which other tasks run, as the requests of one client may be many, and each of them dear.
pub const TURN_MAX: Duration = Duration::from_millis(5);

/// Reason for which no further request is executed for now.
pub enum PipelineStop {
    /// No complete request is left.
    Drained,
    /// The output is full, or [`TURN_MAX`] is over.
    Full,
    /// The reply comes from this stream, in the output's dialect.
    Stream(Box<Stream>),
    /// Clients are paused, and the next request waits for the end of that.
    Paused,
    /// The connection is to be closed.
    Close,
}

/// Executes requests that have arrived together.
pub struct Pipeline<'a> {
    /// Dispatcher of the session.
    pub dispatcher: Dispatcher<'a>,
    /// Sink of the replies.
    pub output: &'a mut Output,
}

impl Pipeline<'_> {
    /// Returns the requests that may be executed now: while clients are paused, the first one alone, or none if it waits.
    #[must_use]
    #[inline(always)]
    pub fn unpaused<'r>(
        &self,
        requests: &'r [BufferedRequest],
        batch: &RequestBatch<'_>,
    ) -> &'r [BufferedRequest] {
        if !self.dispatcher.service.pause.is_set() {
            return requests;
        }
        let first = requests[0].request.as_ref();
        let is_paused = first.is_ok_and(|first| self.dispatcher.is_paused(batch, first));
        &requests[..usize::from(!is_paused)]
    }

    /// Executes requests until one has a long reply, the output is full or the turn is over. If it stops before the end, returns the end of the last
    /// executed request in the input, and the reason.
    #[inline(always)]
    pub fn run(
        &mut self,
        requests: &[BufferedRequest],
        batch: &RequestBatch<'_>,
    ) -> Option<(usize, PipelineStop)> {
        let service = self.dispatcher.service;
        self.output.reserve(requests.len() * REPLY_BYTES_EXPECTED);
        if let [single] = requests {
            // Most clients wait for each reply; nothing can be shared with other requests.
            if let Ok(request) = &single.request {
                match request.role() {
                    Some(_) => service.prefetch_shard_of(batch.key(request)),
                    None if self.lets_others_subscribe(single, batch) => {
                        return Some((0, PipelineStop::Full));
                    }
                    None => service.prefetch(batch.keys(request)),
                }
            }
            let stop = self.execute(single, batch, None);
            self.end_lap(std::slice::from_ref(single), batch);
            return Some((single.end, stop?));
        }
        self.run_several(requests, batch)
    }

    #[inline(always)]
    fn run_several(
        &mut self,
        requests: &[BufferedRequest],
        batch: &RequestBatch<'_>,
    ) -> Option<(usize, PipelineStop)> {
        let service = self.dispatcher.service;
        self.prefetch(requests, batch);
        let mut place = 0;
        while place < requests.len() {
            let (count, is_writing) = self.batchable(&requests[place..]);
            if count == 0 && self.lets_others_subscribe(&requests[place], batch) {
                let done = requests[..place].last().map_or(0, |last| last.end);
                return Some((done, PipelineStop::Full));
            }
            // Without room for all, each asks for its own.
            let count = if is_writing && !self.has_room(&requests[place..place + count], batch) {
                1
            } else {
                count
            };
            let requests = &requests[place..place + count.max(1)];
            let mut locked = lock(service, requests, batch, is_writing);
            let stopped = requests.iter().enumerate().find_map(|(place, buffered)| {
                let locked = (count > 1).then_some((&mut locked, place));
                let stop = self.execute(buffered, batch, locked)?;
                Some((buffered.end, stop))
            });
            if let Some(locked) = locked {
                self.dispatcher.barrier.raise(locked.finish());
            }
            self.end_lap(requests, batch);
            if stopped.is_some() {
                return stopped;
            }
            place += requests.len();
            if count == 0 && self.dispatcher.tally.is_over(TURN_MAX) {
                return requests.last().map(|last| (last.end, PipelineStop::Full));
            }
        }
        None
    }

    /// Returns true if other tasks are to run before a request: it publishes a message, and none have run since it arrived. A client
    /// may have sent SUBSCRIBE before, whose task was woken before this one and has not run yet: the runtime runs the task first that
    /// was woken last.
    fn lets_others_subscribe(
        &mut self,
        buffered: &BufferedRequest,
        batch: &RequestBatch<'_>,
    ) -> bool {
        let session = &mut *self.dispatcher.session;
        let request = buffered.request.as_ref();
        !session.has_let_others_run
            && request.is_ok_and(|request| batch.is_publishing(request))
            && !std::mem::replace(&mut session.has_let_others_run, true)
    }

    /// Executes requests where a cluster has the data: as [`Self::run`].
    pub async fn run_clustered(
        &mut self,
        cluster: &Arc<Cluster>,
        requests: &[BufferedRequest],
        batch: &RequestBatch<'_>,
    ) -> Option<(usize, PipelineStop)> {
        let mut forwarded = Forwarded::default();
        for (place, buffered) in requests.iter().enumerate() {
            let dialect = self.dialect_of(buffered);
            if let Ok(request) = &buffered.request
                && self
                    .dispatcher
                    .forward(dialect, batch, request, &mut forwarded)
            {
                if !forwarded.is_full() {
                    continue;
                }
                self.complete(cluster, &mut forwarded).await;
                if self.output.is_full() {
                    return Some((buffered.end, PipelineStop::Full));
                }
                continue;
            }
            self.complete(cluster, &mut forwarded).await;
            if self.lets_others_subscribe(buffered, batch) {
                let done = requests[..place].last().map_or(0, |last| last.end);
                return Some((done, PipelineStop::Full));
            }
            self.output.dialect = dialect;
            let stop = match &buffered.request {
                Err(refusal) => {
                    self.dispatcher.session.abort_transaction();
                    self.refuse(refusal)
                }
                Ok(request) => {
                    let start = self.output.bytes();
                    let executed = self
                        .dispatcher
                        .execute_clustered(dialect, batch, request, self.output)
                        .await;
                    self.stop_of(executed, start)
                }
            };
            self.end_lap(std::slice::from_ref(buffered), batch);
            if let Some(stop) = stop {
                return Some((buffered.end, stop));
            }
        }
        self.complete(cluster, &mut forwarded).await;
        self.end_lap(requests, batch);
        None
    }

    async fn complete(&mut self, cluster: &Arc<Cluster>, forwarded: &mut Forwarded) {
        if !forwarded.is_empty() {
            self.dispatcher
                .complete(cluster, forwarded, self.output)
                .await;
        }
    }

    #[inline(always)]
    fn dialect_of(&self, buffered: &BufferedRequest) -> Dialect {
        if buffered.is_resp {
            self.dispatcher.session.resp()
        } else {
            Dialect::Line
        }
    }

    /// Reads the clock after requests that were executed together.
    #[inline(always)]
    fn end_lap(&mut self, requests: &[BufferedRequest], batch: &RequestBatch<'_>) {
        self.dispatcher.end_lap(batch, prepared(requests));
    }

    /// Prefetches the pairs of the requests that cannot share locks; a locked batch prefetches its own.
    #[inline(always)]
    fn prefetch(&self, requests: &[BufferedRequest], batch: &RequestBatch<'_>) {
        let alone = prepared(requests).filter(|request| request.role().is_none());
        let mut keys = alone.flat_map(|request| batch.keys(request)).peekable();
        if keys.peek().is_some() {
            self.dispatcher.service.prefetch(keys);
        }
    }

    /// Returns the number of the next requests that can share locks, and true if one of them is a write.
    #[inline(always)]
    fn batchable(&self, requests: &[BufferedRequest]) -> (usize, bool) {
        if self.dispatcher.session.is_in_transaction() {
            return (0, false);
        }
        let mut is_writing = false;
        let roles = requests
            .iter()
            .take(LOCKED_BATCH_REQUESTS_MAX)
            .map_while(|buffered| {
                let role = buffered.request.as_ref().ok()?.role()?;
                is_writing |= role == BatchRole::Write;
                Some(role)
            });
        (roles.count(), is_writing)
    }

    /// Makes room for what some requests store, if there is a cap on memory. Returns false if there is none.
    #[inline(always)]
    fn has_room(&self, requests: &[BufferedRequest], batch: &RequestBatch<'_>) -> bool {
        let service = self.dispatcher.service;
        if !service.memory_cap().is_set() {
            return true;
        }
        let rooms = prepared(requests).map(|request| batch.room_bytes(request));
        service.make_room(rooms.sum())
    }

    /// Executes one request. Returns the reason if no further one may be executed for now.
    #[inline(always)]
    fn execute(
        &mut self,
        buffered: &BufferedRequest,
        batch: &RequestBatch<'_>,
        locked: Option<(&mut Option<LockedBatch<'_>>, usize)>,
    ) -> Option<PipelineStop> {
        let dialect = self.dialect_of(buffered);
        self.output.dialect = dialect;
        let request = match &buffered.request {
            Ok(request) => request,
            Err(refusal) => {
                self.dispatcher.session.abort_transaction();
                return self.refuse(refusal);
            }
        };
        let start = self.output.bytes();
        let executed = self
            .dispatcher
            .execute(dialect, batch, request, locked, self.output);
        let stop = self.stop_of(executed, start);
        if self.dispatcher.session.silence != Silence::None {
            let command = batch.row(request).map(|(_, command)| command);
            return self.silence(command, stop, start);
        }
        stop
    }

    /// Discards the replies of a request, as the client wants none; the confirmations of subscriptions are no replies, as in Redis.
    #[cold]
    fn silence(
        &mut self,
        command: Option<&Command>,
        stop: Option<PipelineStop>,
        start: usize,
    ) -> Option<PipelineStop> {
        self.dispatcher.session.silence.end_request();
        if command.is_some_and(Command::is_subscription) {
            return stop;
        }
        self.output.discard(start);
        match stop {
            Some(PipelineStop::Stream(mut stream)) => {
                stream.is_silent = true;
                Some(PipelineStop::Stream(stream))
            }
            Some(PipelineStop::Full) => None,
            stop => stop,
        }
    }

    /// Marks replies from an offset on as reporting a change, if they do. Returns the reason if no further request may be executed for
    /// now.
    #[inline(always)]
    fn stop_of(&mut self, executed: Executed, start: usize) -> Option<PipelineStop> {
        let Executed {
            outcome,
            reports_change,
            ..
        } = executed;
        match outcome {
            Outcome::Stream(stream) => return Some(PipelineStop::Stream(stream)),
            Outcome::Done | Outcome::Close if reports_change => self.output.note_change(start),
            Outcome::Done | Outcome::Close => {}
        }
        match outcome {
            Outcome::Close => Some(PipelineStop::Close),
            _ if self.output.is_full() => Some(PipelineStop::Full),
            _ => None,
        }
    }

    // Apart, so that the way of a request is short.
    #[cold]
    fn refuse(&mut self, refusal: &Refusal) -> Option<PipelineStop> {
        self.dispatcher.tally.requests += 1;
        let stats = &self.dispatcher.service.stats;
        stats.count_errors(refusal.error.redis_prefix(), 1);
        if foreign::is_replication(refusal) {
            self.output.dialect = Dialect::Resp2;
        }
        self.output.reply(Reply::Error(&refusal.error));
        if foreign::is_tls(refusal) {
            note_tls_on_plain_port();
        }
        refusal.closes.then_some(PipelineStop::Close)
    }
}

/// Returns those that are requests.
#[inline(always)]
fn prepared(requests: &[BufferedRequest]) -> impl Iterator<Item = &Prepared> {
    let prepared = requests.iter().map(|buffered| buffered.request.as_ref());
    prepared.filter_map(Result::ok)
}

/// Locks the shards of several requests, if the data is loaded.
#[inline(always)]
fn lock<'s>(
    service: &'s Service,
    requests: &[BufferedRequest],
    batch: &RequestBatch<'_>,
    is_writing: bool,
) -> Option<LockedBatch<'s>> {
    if requests.len() < 2 {
        return None;
    }
    let keys = requests.iter().map(|buffered| {
        let request = buffered.request.as_ref();
        batch.key(request.expect("what is no request shares no locks"))
    });
    Some(service.engine().ok()?.lock_batch(keys, is_writing))
}
