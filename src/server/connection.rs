//! The connection of one client of the text port or the console: reads and executes the requests that have arrived, waits once for
//! their durability, and sends all replies at once.
//!
//! In: bytes. Out: bytes, the replies in the order of the requests. Promises:
//! - no reply is sent before the changes that it reports are as durable as `--durability` promises;
//! - the buffers of requests and replies are bounded: while a client does not read, its requests are not read, either, and a long
//!   reply is pulled as fast as the client reads it;
//! - an idle client has no buffers.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::output::{LongValue, OUTPUT_BYTES_MAX, Output};
use super::pipeline::{Pipeline, PipelineStop, TURN_MAX};
use super::request_buffer::{BufferedRequest, RequestBuffer};
use super::transport::Transport;
use crate::cluster::Cluster;
use crate::command::audit;
use crate::command::{
    Buffers, Charge, Client, Dispatcher, Followed, Identity, Replies as _, Reserved, Service,
    Session, Signal, Stream,
    long_work::{self, Turn},
};
use crate::config::PeerAddress;
use crate::engine::Barrier;
use crate::metrics::counter::Writers;
use crate::metrics::counters::Tally;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};
use crate::receive_buffer::ROOM_BYTES_MAX;

/// Time within which the first request must arrive on a reserved connection: its first byte shows the dialect of the refusal, but a
/// person may not have sent one.
const REFUSAL_WAIT: Duration = Duration::from_millis(200);
/// Maximum time between two requests on a reserved connection: others are waiting for it.
const RESERVED_IDLE_MAX: Duration = Duration::from_secs(10);

/// Maximum time for which a shutdown reads from one client. What has been received is answered, but a client that keeps sending
/// must not prevent the shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Maximum length of a request of a client that has to sign in, in bytes: a name and a password are far shorter.
pub const UNAUTHENTICATED_BYTES_MAX: usize = 64 << 10;

/// Connection of one client.
struct Connection {
    transport: Transport,
    service: Arc<Service>,
    session: Session,
    client: Arc<Client>,
    /// Charge of the buffers, while the connection waits.
    charge: Charge,
    input: RequestBuffer,
    /// Deadline of reading during a shutdown.
    drain_until: Option<Instant>,
    /// True if something was read during a shutdown.
    has_drained: bool,
    output: Output,
    /// The last change that the replies depend on.
    barrier: Barrier,
    /// Turn of the executed requests, if they are long, until their changes are durable.
    turn: Option<Turn>,
    tally: Tally,
}

/// Result of a wait for input.
enum Input {
    /// Bytes have been read.
    Arrived,
    /// The client sends no more.
    Ended,
    /// The client is not served any longer, for this reason.
    Refused(ErrorReply),
}

/// The client's end of a connection.
pub struct Peer {
    /// Address of the client, and the server's.
    pub addresses: (PeerAddress, PeerAddress),
    /// True if its lines are inline commands of Redis.
    pub is_inline: bool,
    /// User whose permissions its requests have.
    pub identity: Identity,
}

impl Peer {
    /// Signs in the user that the client's verified certificate names, if there is such a user.
    pub fn sign_in_by_certificate(&mut self, name: &str, service: &Service) {
        if let Some(user) = service.users.enabled(name) {
            audit::signed_in(&user.name, &self.addresses.0, "certificate");
            let allows_anonymous = self.identity.allows_anonymous();
            self.identity = Identity::of(&service.users, user, allows_anonymous);
        }
    }
}

/// Serves a client until it disconnects or the server stops; on a reserved connection, only for administration.
pub async fn serve(
    transport: Transport,
    peer: Peer,
    service: Arc<Service>,
    reserved: Option<Reserved>,
) {
    let Peer {
        addresses,
        is_inline,
        identity,
    } = peer;
    let account = service.client_memory.account();
    let client = service
        .clients
        .add(addresses, transport.descriptor(), account);
    let mut encryption = client.account.charge();
    encryption.set_held(transport.own_bytes());
    let _guard = reserved.is_none().then(|| service.stats.connected());
    let mut connection = Connection {
        transport,
        service: Arc::clone(&service),
        session: Session::of(&client, identity),
        client: Arc::clone(&client),
        charge: client.account.charge(),
        input: RequestBuffer::new(is_inline),
        drain_until: None,
        has_drained: false,
        output: Output::new(&client.account),
        barrier: Barrier::default(),
        turn: None,
        tally: Tally::default(),
    };
    connection.session.reserved = reserved;
    {
        let mut run = pin!(connection.run());
        let mut registered: Option<Waker> = None;
        poll_fn(|context| {
            // Once, as the task is the same for all requests: to register it takes a lock.
            let waker = context.waker();
            if registered.as_ref().is_none_or(|it| !it.will_wake(waker)) {
                client.signals().register(waker);
                registered = Some(waker.clone());
            }
            if client.signals().has(Signal::Killed) {
                return Poll::Ready(());
            }
            // An error means that the client has disconnected, which needs no report.
            run.as_mut().poll(context).map(drop)
        })
        .await;
    }
    connection.session.unsubscribe_all(&service.channels);
    connection.session.end_tracking(&service);
    service.clients.remove(&client);
    service.stats.add(&mut connection.tally);
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        // Futures of rare cases are boxed, as this future is most of the memory of an idle connection.
        loop {
            if self.client.signals().has(Signal::Messages) {
                // Messages that were posted before the next request was sent precede its reply.
                Box::pin(self.send_outbox()).await?;
            }
            // A partial word is not looked at before the rest of it has arrived.
            let bytes = if self.input.is_in_word() {
                0
            } else {
                self.input.waiting().len()
            };
            // What has arrived may be EXEC.
            let work_bytes = bytes + self.session.queued_bytes();
            // A cluster's nodes do the work.
            if long_work::is_long(work_bytes) && self.service.cluster().is_none() {
                let turns = &self.service.long_turns;
                self.turn = Box::pin(turns.wait(work_bytes)).await;
            }
            let cluster = self.service.cluster().cloned();
            let stop = match cluster {
                None => long_work::execute(bytes, || self.execute()),
                Some(cluster) => Box::pin(self.execute_clustered(cluster)).await,
            };
            match stop {
                PipelineStop::Drained => {
                    if !self.flush_at_once()? {
                        self.flush().await?;
                    }
                    if self
                        .session
                        .reserved
                        .is_some_and(|reserved| reserved.is_refused)
                    {
                        self.service.stats.refused_connection();
                        return Box::pin(self.close()).await;
                    }
                    match self.fill().await? {
                        Input::Arrived => self.session.has_let_others_run = false,
                        Input::Ended => return Box::pin(self.finish()).await,
                        Input::Refused(error) => return Box::pin(self.refuse(&error)).await,
                    }
                }
                PipelineStop::Full => {
                    self.flush().await?;
                    tokio::task::yield_now().await;
                    // The time of others is not that of the next requests.
                    self.tally.begin_lap();
                }
                PipelineStop::Paused => {
                    self.flush().await?;
                    Box::pin(self.wait_while_paused()).await?;
                }
                PipelineStop::Stream(stream) => {
                    Box::pin(self.pump(*stream)).await?;
                    tokio::task::yield_now().await;
                }
                PipelineStop::Close => {
                    self.flush().await?;
                    return Box::pin(self.close()).await;
                }
            }
        }
    }

    /// Executes the complete requests in the input, until one has a long reply, the output is full or the turn is over.
    fn execute(&mut self) -> PipelineStop {
        loop {
            let arrived = self
                .input
                .batch(self.session.database(), self.session.may_change_database());
            let bytes = arrived.bytes;
            if arrived.requests.is_empty() {
                arrived.release();
                self.input.advance(bytes, true);
                return PipelineStop::Drained;
            }
            if self.service.marks_reads() && self.output.is_empty() {
                self.barrier = self.service.barrier();
            }
            self.tally.begin_turn();
            let mut pipeline = Pipeline {
                dispatcher: Dispatcher {
                    service: &self.service,
                    session: &mut self.session,
                    tally: &mut self.tally,
                    barrier: &mut self.barrier,
                },
                output: &mut self.output,
            };
            let requests = pipeline.unpaused(&arrived.requests, &arrived.batch);
            let stopped = if requests.is_empty() {
                Some((0, PipelineStop::Paused))
            } else {
                let stopped = pipeline.run(requests, &arrived.batch);
                stopped.or_else(|| unexecuted(&arrived.requests, requests.len()))
            };
            arrived.release();
            if let Some(stop) = self.end_batch(bytes, stopped) {
                return stop;
            }
            if self.tally.is_over(TURN_MAX) {
                return PipelineStop::Full;
            }
        }
    }

    /// Executes the complete requests in the input where a cluster has the data: as [`Self::execute`].
    async fn execute_clustered(&mut self, cluster: Arc<Cluster>) -> PipelineStop {
        let arrived = self
            .input
            .batch(self.session.database(), self.session.may_change_database());
        let bytes = arrived.bytes;
        if arrived.requests.is_empty() {
            arrived.release();
            self.input.advance(bytes, true);
            return PipelineStop::Drained;
        }
        self.tally.begin_turn();
        let mut pipeline = Pipeline {
            dispatcher: Dispatcher {
                service: &self.service,
                session: &mut self.session,
                tally: &mut self.tally,
                barrier: &mut self.barrier,
            },
            output: &mut self.output,
        };
        let requests = pipeline.unpaused(&arrived.requests, &arrived.batch);
        let stopped = if requests.is_empty() {
            Some((0, PipelineStop::Paused))
        } else {
            let running = pipeline.run_clustered(&cluster, requests, &arrived.batch);
            let stopped = running.await;
            stopped.or_else(|| unexecuted(&arrived.requests, requests.len()))
        };
        arrived.release();
        // Their replies are sent before more are executed.
        let stop = self.end_batch(bytes, stopped);
        stop.unwrap_or(PipelineStop::Full)
    }

    /// Removes executed requests from the input: all of a batch of so many bytes, or those before the stop. Returns the reason if no
    /// further request may be executed for now.
    #[inline(always)]
    fn end_batch(
        &mut self,
        bytes: usize,
        stopped: Option<(usize, PipelineStop)>,
    ) -> Option<PipelineStop> {
        if let Some((at, stop)) = stopped {
            self.input.advance(at, false);
            return Some(stop);
        }
        self.input.advance(bytes, true);
        let is_drained = self.input.waiting().is_empty();
        is_drained.then_some(PipelineStop::Drained)
    }

    /// Waits for the end of CLIENT PAUSE. A stop of the server ends it.
    ///
    /// # Errors
    /// `ConnectionAborted` if the client hangs up: its request is not executed.
    async fn wait_while_paused(&mut self) -> io::Result<()> {
        let (service, client) = (Arc::clone(&self.service), Arc::clone(&self.client));
        let signals = client.signals();
        let mut waiting = pin!(service.pause.wait());
        let waited = poll_fn(|context| {
            let is_over = [Signal::HungUp, Signal::Draining];
            if is_over.into_iter().any(|signal| signals.has(signal)) {
                return Poll::Ready(());
            }
            waiting.as_mut().poll(context)
        });
        heed_hang_up(&self.transport, &self.client, waited).await;
        if signals.has(Signal::HungUp) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if signals.has(Signal::Draining) {
            service.pause.end();
        }
        Ok(())
    }

    /// Pulls a long reply and sends it, except for its last part, which stays in the output.
    async fn pump(&mut self, mut stream: Stream) -> io::Result<()> {
        // Earlier replies must not wait for it.
        self.flush().await?;
        loop {
            let start = self.output.bytes();
            let is_idle = stream.is_idle;
            let pulling = stream.pull(
                &self.service,
                &mut self.session.identity,
                &mut self.barrier,
                &mut self.output,
            );
            let pulled = if is_idle {
                heed_hang_up(&self.transport, &self.client, pulling).await
            } else {
                pulling.await
            };
            if stream.is_silent {
                self.output.discard(start);
            } else if pulled.reports_change {
                self.output.note_change(start);
            }
            if pulled.has_ended {
                // Its time is not that of the next requests.
                self.tally.begin_lap();
                return Ok(());
            }
            if self.flush().await? > 0 {
                // What follows would not be a whole listing.
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }

    /// Sends the replies without a wait. Returns false if some of them are left: the changes that they depend on are not as durable
    /// as promised, a long value is among them, or the client does not read.
    ///
    /// # Errors
    /// Those of the transport.
    #[inline(always)]
    fn flush_at_once(&mut self) -> io::Result<bool> {
        if self.output.is_empty() {
            self.turn = None;
            return Ok(true);
        }
        if !self.service.is_durable(self.barrier) && self.must_wait() {
            return Ok(false);
        }
        self.output.confirm_changes();
        self.send_at_once()
    }

    /// Ends the turn, and sends as many replies as the system takes at once. Returns false if some are left.
    ///
    /// # Errors
    /// Those of the transport.
    #[inline(always)]
    fn send_at_once(&mut self) -> io::Result<bool> {
        self.end_turn();
        let Some(bytes) = self.output.plain_bytes() else {
            return Ok(false);
        };
        let sent = self.transport.try_send(bytes)?;
        self.client.buffers.sent.add(sent as u64, Writers::One);
        Ok(self.output.remove_sent(sent))
    }

    /// Returns true if the replies depend on what their barrier is about. On a member of a cluster all that do are marked, and an error, as
    /// that another one leads, is not.
    fn must_wait(&self) -> bool {
        !self.service.marks_reads() || self.output.has_marks()
    }

    /// Waits until the changes are as durable as promised, then sends the replies. If they cannot be made durable, an error is in the
    /// place of each reply that reports a change. Returns the number of these.
    async fn flush(&mut self) -> io::Result<u64> {
        if self.output.is_empty() {
            self.turn = None;
            return Ok(0);
        }
        // Many connections may wait for one write.
        self.input.release_memory()?;
        let mut refused = 0;
        let committed = if self.must_wait() {
            self.service.commit(self.barrier).await
        } else {
            Ok(())
        };
        match committed {
            Ok(()) => self.output.confirm_changes(),
            Err(error) => {
                refused = self.output.refuse_changes(&error);
                self.service
                    .stats
                    .count_errors(error.redis_prefix(), refused);
            }
        }
        // The wait belongs to the latency of the requests.
        self.tally.lap = None;
        if self.send_at_once()? {
            return Ok(refused);
        }
        if let Some(bytes) = self.output.plain_bytes() {
            let held = (self.input.memory_bytes(), self.output.memory_bytes());
            let sending = (bytes.len(), self.transport.send(bytes));
            send(&self.client.buffers, &mut self.charge, held, sending).await?;
            self.output.clear();
            return Ok(refused);
        }
        Box::pin(self.send_tail()).await?;
        Ok(refused)
    }

    /// Ends the turn of the executed requests, and counts them.
    #[inline(always)]
    fn end_turn(&mut self) {
        self.turn = None;
        self.service.stats.add(&mut self.tally);
        self.tally.since = None;
    }

    /// Sends the replies and the long value after them.
    async fn send_tail(&mut self) -> io::Result<()> {
        let (mut bytes, tail) = self.output.take();
        let held = (self.input.memory_bytes(), bytes.capacity());
        let (charge, transport) = (&mut self.charge, &mut self.transport);
        let buffers = &self.client.buffers;
        match tail.map(|tail| *tail) {
            None => {}
            Some(LongValue::Bytes(value)) => {
                let whole = [&*bytes, value.as_ref(), b"\r\n"];
                let count = whole.iter().map(|part| part.len()).sum();
                return send(buffers, charge, held, (count, transport.send_all(whole))).await;
            }
            Some(LongValue::Json(pieces)) => {
                for piece in pieces {
                    bytes.extend(piece);
                    if bytes.len() >= OUTPUT_BYTES_MAX {
                        let sending = (bytes.len(), transport.send(&bytes));
                        send(buffers, charge, held, sending).await?;
                        bytes.clear();
                    }
                }
                bytes.extend_from_slice(b"\"\n");
            }
        }
        let sending = (bytes.len(), transport.send(&bytes));
        send(buffers, charge, held, sending).await
    }

    /// Reads what has arrived. The input ends during a shutdown as soon as nothing more has arrived.
    async fn fill(&mut self) -> io::Result<Input> {
        self.output.release_memory();
        loop {
            self.input.release_memory()?;
            let held = self.input.memory_bytes();
            let buffers = &self.client.buffers;
            buffers.partial.store(self.input.waiting().len(), Relaxed);
            if held != self.charge.bytes() {
                buffers.input.store(held, Relaxed);
                if let Err(error) = self.charge.set(held) {
                    return Ok(Input::Refused(error.into()));
                }
                if self.service.client_memory.is_over() {
                    Box::pin(self.client.account.room()).await;
                }
            }
            if self.input.waiting().len() > UNAUTHENTICATED_BYTES_MAX
                && self.session.identity.name().is_none()
            {
                return Ok(Input::Refused(ErrorReply::new(
                    ErrorCode::NoAuth,
                    format!(
                        "a client that has not signed in may send requests of {UNAUTHENTICATED_BYTES_MAX} bytes"
                    ),
                )));
            }
            if let Some(reserved) = self.session.reserved {
                if !Box::pin(self.wake_up_soon(reserved)).await? {
                    return Ok(Input::Refused(reserved.refusal()));
                }
            } else if self.session.following.is_empty() {
                wake_up(&mut self.transport, &self.client).await?;
            } else if let Some(followed) = Box::pin(self.wake_up_or_follow()).await? {
                Box::pin(self.send_changes(followed)).await?;
                continue;
            }
            if self.client.signals().any()
                && let Some(end) = Box::pin(self.heed_signals()).await?
            {
                return Ok(end);
            }
            let is_draining = self.drain_until.is_some();
            let transport = &mut self.transport;
            let received = self.input.fill(|room| {
                if is_draining {
                    transport.try_read_all(room)
                } else {
                    transport.try_read(room)
                }
            });
            match received {
                Ok(count) => {
                    let buffers = &self.client.buffers;
                    buffers.received.add(count as u64, Writers::One);
                    self.service.clients.note_activity(&self.client);
                    if count == ROOM_BYTES_MAX {
                        // More is waiting. Many clients may send long values, so others have a turn.
                        tokio::task::yield_now().await;
                    }
                    self.has_drained |= is_draining && count > 0;
                    return Ok(if count > 0 {
                        Input::Arrived
                    } else {
                        Input::Ended
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_draining => {
                    return Ok(Input::Ended);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    return Ok(Input::Refused(self.client.account.over_budget().into()));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what the signals ask for. Returns the end of the input if no more is to be read.
    async fn heed_signals(&mut self) -> io::Result<Option<Input>> {
        let client = Arc::clone(&self.client);
        if client.account.is_ended() {
            let error = client.account.over_budget();
            return Ok(Some(Input::Refused(error.into())));
        }
        let signals = client.signals();
        // It does not wait any more.
        signals.take(Signal::Unblocked);
        if signals.take(Signal::NewPermissions) && !self.session.may_receive(&self.service) {
            // It could not tell which of its messages are missing.
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if signals.has(Signal::Messages) {
            self.send_outbox().await?;
        }
        if signals.has(Signal::Draining) {
            let until = self
                .drain_until
                .get_or_insert_with(|| Instant::now() + DRAIN);
            if *until <= Instant::now() {
                return Ok(Some(Input::Ended));
            }
        }
        Ok(None)
    }

    /// Waits as [`wake_up`] does, and for changes of followed prefixes, which it returns.
    async fn wake_up_or_follow(&mut self) -> io::Result<Option<Followed>> {
        tokio::select! {
            woken = wake_up(&mut self.transport, &self.client) => woken.map(|()| None),
            followed = self.session.following.next() => Ok(Some(followed)),
        }
    }

    /// Waits as [`wake_up`] does, but only as long as a reserved connection may. Returns false after that time.
    async fn wake_up_soon(&mut self, reserved: Reserved) -> io::Result<bool> {
        let wait = if reserved.is_used {
            RESERVED_IDLE_MAX
        } else {
            REFUSAL_WAIT
        };
        let (transport, client) = (&mut self.transport, &self.client);
        // The timer wakes the task, too, and must not be taken for bytes.
        let waking = poll_fn(|context| poll_wake_up(transport, client, context));
        let woken = timeout(wait, waking).await;
        woken.map_or(Ok(false), |woken| woken.map(|()| true))
    }

    /// Sends the changes of a followed prefix.
    async fn send_changes(&mut self, followed: Followed) -> io::Result<()> {
        let (stream, dialect) = self.session.pushes(&self.service, followed);
        self.output.dialect = dialect;
        self.pump(stream).await?;
        self.flush().await?;
        self.output.release_memory();
        Ok(())
    }

    /// Sends the messages of the outbox.
    async fn send_outbox(&mut self) -> io::Result<()> {
        self.output.dialect = self.session.outbox_dialect();
        while let Some(message) = self.client.take_message() {
            self.output.reply(message.reply());
            if self.output.is_full() {
                self.flush().await?;
            }
        }
        self.flush().await?;
        self.output.release_memory();
        Ok(())
    }

    /// Sends the error for which the client is not served any longer, and closes. What it has sent is discarded first.
    async fn refuse(&mut self, error: &ErrorReply) -> io::Result<()> {
        self.output.dialect = if self.input.is_resp() {
            self.session.resp()
        } else {
            Dialect::Line
        };
        let stats = &self.service.stats;
        stats.count_errors(error.redis_prefix(), 1);
        if self.session.reserved.is_some() {
            stats.refused_connection();
        }
        self.output.reply(Reply::Error(error));
        self.release();
        // The client may not read it.
        let _ = timeout(REFUSAL_WAIT, self.flush()).await;
        self.close().await
    }

    /// Closes the connection, and releases its memory before.
    async fn close(&mut self) -> io::Result<()> {
        self.release();
        self.output.release_memory();
        self.transport.linger().await;
        Ok(())
    }

    /// Releases what is held for the client, except for its replies.
    fn release(&mut self) {
        self.client.is_closing.store(true, Relaxed);
        self.input.clear();
        self.session.unsubscribe_all(&self.service.channels);
        self.session.end_tracking(&self.service);
        self.session = Session::of(&self.client, self.session.identity.clone());
        self.client.clear_outbox();
        self.charge.set_held(0);
    }

    /// Closes the connection at the end of the input. An incomplete last line is answered with an error.
    async fn finish(&mut self) -> io::Result<()> {
        let is_blank = self.input.waiting().iter().all(u8::is_ascii_whitespace);
        // As in Redis, an incomplete request in RESP is not answered.
        let is_line = !self.input.is_resp();
        if !is_blank && is_line && !self.client.signals().has(Signal::Draining) {
            let error = ErrorReply::new(
                ErrorCode::Syntax,
                "the last line was not ended; nothing was done for it",
            );
            self.tally.requests += 1;
            self.service.stats.count_errors(error.redis_prefix(), 1);
            self.output.dialect = Dialect::Line;
            self.output.reply(Reply::Error(&error));
            self.flush().await?;
        }
        if self.has_drained {
            // The client may still be sending.
            self.transport.linger().await;
            return Ok(());
        }
        self.transport.shutdown().await
    }
}

/// Returns the stop after the first requests of a batch, if there are more.
#[inline(always)]
fn unexecuted(requests: &[BufferedRequest], executed: usize) -> Option<(usize, PipelineStop)> {
    let last = requests.get(executed - 1)?;
    (executed < requests.len()).then_some((last.end, PipelineStop::Full))
}

/// Sends replies of so many bytes. While the client does not read them, the bytes of input and output that are held are charged to
/// it.
///
/// # Errors
/// Those of the transport; `OutOfMemory` if it holds too much.
async fn send(
    buffers: &Buffers,
    charge: &mut Charge,
    (input, output): (usize, usize),
    (bytes, sending): (usize, impl Future<Output = io::Result<()>>),
) -> io::Result<()> {
    let mut sending = pin!(sending);
    let sent = poll_fn(|context| {
        if let Poll::Ready(sent) = sending.as_mut().poll(context) {
            return Poll::Ready(sent);
        }
        // An error cannot be sent in the middle of a reply.
        if charge.account().is_ended() || charge.set(input + output).is_err() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        buffers.output.store(output, Relaxed);
        Poll::Pending
    })
    .await;
    buffers.output.store(0, Relaxed);
    buffers.sent.add(bytes as u64, Writers::One);
    sent
}

/// Waits for the end of work, and signals meanwhile if the client hangs up. It may still be read from.
async fn heed_hang_up<R>(
    transport: &Transport,
    client: &Client,
    work: impl Future<Output = R>,
) -> R {
    let hang_up = async {
        transport.hung_up().await;
        client.signals().raise(Signal::HungUp);
        std::future::pending().await
    };
    tokio::select! {
        result = work => result,
        result = hang_up => result,
    }
}

/// Waits until there is a signal, or bytes have arrived; mostly, as any wake-up of the task ends the wait.
async fn wake_up(transport: &mut Transport, client: &Client) -> io::Result<()> {
    let mut is_woken = false;
    poll_fn(|context| {
        if is_woken {
            return Poll::Ready(Ok(()));
        }
        let polled = poll_wake_up(transport, client, context);
        // The next read tells whether there are bytes; to poll for them again would cost as much as the read.
        is_woken = polled.is_pending() && transport.is_socket();
        polled
    })
    .await
}

/// Polls until there is a signal, or bytes have arrived.
#[inline(always)]
fn poll_wake_up(
    transport: &mut Transport,
    client: &Client,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    // `serve` has registered the task to be woken for signals.
    if client.signals().any() {
        if client.signals().has(Signal::Killed) {
            // Raised since `serve` has looked: it ends the connection, as the task is woken for that.
            return Poll::Pending;
        }
        return Poll::Ready(Ok(()));
    }
    transport.poll_readable(context)
}
