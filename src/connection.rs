//! One client of the text port: read what has arrived, execute all whole requests, make them safe once, write all replies
//! in one go.
//!
//! In: a socket. Out: replies on it, in the order of the requests. Promises:
//! - no reply leaves before what it tells of is as safe as `--durability` says;
//! - the buffers hold what has arrived and not been executed, and what has been answered and not been read, and are
//!   bounded: a client that does not read is not read from, and a long value or list is sent from the data itself;
//! - an idle client costs no buffer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::command::{self, Access, COMMANDS, Listing, Next, Service};
use crate::engine::{Barrier, Scan};
use crate::json::Pieces;
use crate::protocol::line::{self, Frame, LineReplies};
use crate::protocol::resp::{self, RespReplies};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Refusal, Replies, Reply, Request};
use crate::record::Entry;
use crate::stats::Tally;

/// Replies are sent once there are this many bytes of them, however many requests are still to be executed.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// The least room that is offered to what arrives.
const INPUT_BYTES_MIN: usize = 16 << 10;
/// Values longer than this are sent in pieces.
const WHOLE_VALUE_BYTES_MAX: usize = 64 << 10;
/// How long a connection that is closed on a client's mistake is still read from, so that its last reply is not lost with
/// what the client had sent on.
const LINGER: Duration = Duration::from_secs(2);

/// How long a shutdown goes on reading from one client: what has been received is answered, and who sends without end does
/// not keep the server from stopping.
const DRAIN: Duration = Duration::from_secs(5);

/// One client.
pub struct Connection {
    stream: TcpStream,
    service: Arc<Service>,
    shutdown: CancellationToken,
    input: BytesMut,
    /// How much of the input is known to hold no line feed.
    seen: usize,
    /// How far a request of a Redis client has come.
    resp: resp::Reader,
    /// Until when what has arrived before a shutdown is read, once there is one; and whether there was anything.
    drain_until: Option<Instant>,
    has_drained: bool,
    output: Vec<u8>,
    /// Where in the output the replies to changes stand: they must be taken back if the changes cannot be made safe.
    changes: Vec<(usize, usize, Dialect)>,
    /// What the replies have to wait for.
    barrier: Barrier,
    tally: Tally,
}

/// Where the execution of a batch has stopped.
enum Step {
    /// No whole request is left.
    More,
    /// The output is full.
    Full,
    /// This takes time; to be answered in this dialect.
    Run(Next, Dialect),
    /// No later byte can be trusted.
    Close,
}

/// Serves one client until it leaves, or the server stops.
pub async fn serve(stream: TcpStream, service: Arc<Service>, shutdown: CancellationToken) {
    // Replies are written whole; nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let _presence = service.stats.connected();
    let mut connection = Connection {
        stream,
        service: Arc::clone(&service),
        shutdown,
        input: BytesMut::new(),
        seen: 0,
        resp: resp::Reader::default(),
        drain_until: None,
        has_drained: false,
        output: Vec::new(),
        changes: Vec::new(),
        barrier: Barrier::default(),
        tally: Tally::default(),
    };
    // A client that has gone is no fault of the server's, and nobody is there to be told.
    let _ = connection.run().await;
    service.stats.add(&mut connection.tally);
}

/// Tells a client, with one line, why it is not served, and closes.
pub async fn refuse(mut stream: TcpStream, error: &ErrorReply) {
    let mut output = Vec::new();
    LineReplies(&mut output).reply(Reply::Error(error));
    if stream.write_all(&output).await.is_ok() {
        linger(&mut stream).await;
    }
}

/// Closes for writing, and reads on for a while: closing at once would throw the last reply away with what is still coming.
async fn linger(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = vec![0; INPUT_BYTES_MIN];
    let drain = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.execute() {
                Step::More => {
                    self.flush().await?;
                    if !self.fill().await? {
                        return self.finish().await;
                    }
                }
                Step::Full => self.flush().await?,
                Step::Run(Next::Done, _) => {}
                Step::Run(Next::Value(entry), Dialect::Line) => {
                    self.send_value(None, entry).await?;
                }
                Step::Run(Next::Value(entry), Dialect::Resp) => self.send_bytes(&entry).await?,
                Step::Run(Next::Scan(scan, listing), _) => self.send_scan(scan, listing).await?,
                Step::Run(Next::Save, dialect) => self.save(dialect).await?,
                Step::Run(Next::Close, _) | Step::Close => {
                    self.flush().await?;
                    linger(&mut self.stream).await;
                    return Ok(());
                }
            }
        }
    }

    /// Executes the whole requests in the input, until one takes time or the output is full.
    fn execute(&mut self) -> Step {
        let mut at = 0;
        let step = loop {
            if self.output.len() >= OUTPUT_BYTES_MAX {
                break Step::Full;
            }
            let waiting = &self.input[at..];
            let dialect = if waiting.first() == Some(&b'*') {
                Dialect::Resp
            } else {
                Dialect::Line
            };
            let words;
            let (request, taken) = match dialect {
                Dialect::Line => match line::frame(waiting, self.seen) {
                    Frame::Partial => {
                        self.seen = waiting.len();
                        break Step::More;
                    }
                    Frame::TooLong(refusal) => {
                        break refused(dialect, &mut self.output, &mut self.tally, &refusal);
                    }
                    Frame::Line(line, taken) => (line::parse(line), taken),
                },
                Dialect::Resp => match self.resp.read(waiting) {
                    resp::Read::Partial => break Step::More,
                    resp::Read::Broken(refusal) => {
                        break refused(dialect, &mut self.output, &mut self.tally, &refusal);
                    }
                    resp::Read::Frame(frame, taken) => {
                        words = frame;
                        (Ok(Request::resp(&words)), taken)
                    }
                },
            };
            at += taken;
            self.seen = 0;
            let request = match request {
                Ok(None) => continue,
                Ok(Some(request)) => request,
                Err(refusal) => {
                    match refused(dialect, &mut self.output, &mut self.tally, &refusal) {
                        Step::Close => break Step::Close,
                        _ => continue,
                    }
                }
            };
            let start = self.output.len();
            let next = command::execute(
                &self.service,
                &mut self.tally,
                &mut self.barrier,
                &request,
                &mut Spoken(dialect, &mut self.output),
            );
            let changes = command::place_of(request.verb)
                .is_some_and(|place| COMMANDS[place].access == Access::Write);
            if changes {
                self.changes.push((start, self.output.len(), dialect));
            }
            if !matches!(next, Next::Done) {
                break Step::Run(next, dialect);
            }
        };
        self.input.advance(at);
        step
    }

    /// Makes what has been executed safe, then sends the replies.
    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.service.commit(self.barrier).await {
            self.take_back_changes(&error);
        }
        self.changes.clear();
        self.service.stats.add(&mut self.tally);
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        self.output.shrink_to(OUTPUT_BYTES_MAX);
        Ok(())
    }

    /// Puts an error in the place of every reply that told of a change.
    fn take_back_changes(&mut self, error: &ErrorReply) {
        let replies = std::mem::take(&mut self.output);
        let mut kept = 0;
        for (start, end, dialect) in self.changes.drain(..) {
            self.output.extend_from_slice(&replies[kept..start]);
            // A change that was refused before it was made has its error already.
            let refused: &[u8] = match dialect {
                Dialect::Line => b"ERR ",
                Dialect::Resp => b"-",
            };
            if replies[start..].starts_with(refused) {
                self.output.extend_from_slice(&replies[start..end]);
            } else {
                self.tally.errors += 1;
                Spoken(dialect, &mut self.output).reply(Reply::Error(error));
            }
            kept = end;
        }
        self.output.extend_from_slice(&replies[kept..]);
    }

    /// Reads what has arrived; whether anything may still come. Once the server is stopping, only what is here already.
    async fn fill(&mut self) -> io::Result<bool> {
        self.output = Vec::new();
        loop {
            if self.input.is_empty() {
                // Nothing is kept for a client that may be silent for hours.
                self.input = BytesMut::new();
            }
            if !self.shutdown.is_cancelled() {
                tokio::select! {
                    ready = self.stream.readable() => ready?,
                    () = self.shutdown.cancelled() => {}
                }
            }
            let is_stopping = self.shutdown.is_cancelled();
            if is_stopping
                && *self
                    .drain_until
                    .get_or_insert_with(|| Instant::now() + DRAIN)
                    <= Instant::now()
            {
                return Ok(false);
            }
            self.input.reserve(INPUT_BYTES_MIN);
            match self.stream.try_read_buf(&mut self.input) {
                Ok(count) => {
                    self.has_drained |= is_stopping && count > 0;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_stopping => {
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers a last line that was never ended, and closes.
    async fn finish(&mut self) -> io::Result<()> {
        let is_blank = self.input.iter().all(u8::is_ascii_whitespace);
        // A Redis client is told nothing of it, as Redis does not.
        let is_line = self.input.first() != Some(&b'*');
        if !is_blank && is_line && !self.shutdown.is_cancelled() {
            let error = ErrorReply::new(
                ErrorCode::Syntax,
                "the last line was not ended; nothing was done for it",
            );
            self.tally.requests += 1;
            self.tally.errors += 1;
            LineReplies(&mut self.output).reply(Reply::Error(&error));
            self.flush().await?;
        }
        if self.has_drained {
            // Whoever has just sent may be sending still.
            linger(&mut self.stream).await;
            return Ok(());
        }
        self.stream.shutdown().await
    }

    /// Sends a value in pieces, in a line of its own; with a key, as an ITEM.
    async fn send_value(&mut self, key_in_item: Option<&str>, entry: Entry) -> io::Result<()> {
        let pieces = Pieces::new(entry);
        self.output
            .extend(line::value_opening(key_in_item, pieces.is_text()));
        for piece in pieces {
            self.output.extend(piece);
            self.flush_if_full().await?;
        }
        self.output.extend_from_slice(b"\"\n");
        Ok(())
    }

    /// Sends a value as it is, in pieces.
    async fn send_bytes(&mut self, entry: &Entry) -> io::Result<()> {
        let bytes = entry.value_bytes();
        resp::value_opening(&mut self.output, bytes.len());
        for piece in bytes.chunks(WHOLE_VALUE_BYTES_MAX) {
            self.output.extend_from_slice(piece);
            self.flush_if_full().await?;
        }
        self.output.extend_from_slice(b"\r\n");
        Ok(())
    }

    async fn send_scan(&mut self, mut scan: Scan, listing: Listing) -> io::Result<()> {
        let mut count = 0;
        while let Some(entries) = scan.next() {
            self.barrier.raise(scan.seen());
            count += entries.len() as u64;
            for entry in entries {
                let key = entry.key().as_str();
                match listing {
                    Listing::Count => break,
                    Listing::Keys => LineReplies(&mut self.output).reply(Reply::Key(key)),
                    Listing::Pairs if entry.value_bytes().len() > WHOLE_VALUE_BYTES_MAX => {
                        self.send_value(Some(key), entry.clone()).await?;
                    }
                    Listing::Pairs => {
                        LineReplies(&mut self.output).reply(Reply::Item(key, entry.value_bytes()));
                    }
                }
                self.flush_if_full().await?;
            }
            // Each shard is some work; others have their turn in between.
            tokio::task::yield_now().await;
        }
        let reply = if listing == Listing::Count {
            Reply::Count(count)
        } else {
            Reply::End(count)
        };
        LineReplies(&mut self.output).reply(reply);
        Ok(())
    }

    async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.output.len() >= OUTPUT_BYTES_MAX {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn save(&mut self, dialect: Dialect) -> io::Result<()> {
        self.flush().await?;
        match self.service.save().await {
            Ok(()) => Spoken(dialect, &mut self.output).reply(Reply::Ok),
            Err(error) => {
                self.tally.errors += 1;
                Spoken(dialect, &mut self.output).reply(Reply::Error(&error));
            }
        }
        Ok(())
    }
}

/// Replies in a dialect, to the end of a buffer.
struct Spoken<'a>(Dialect, &'a mut Vec<u8>);

impl Replies for Spoken<'_> {
    fn reply(&mut self, reply: Reply<'_>) {
        let Self(dialect, output) = self;
        match dialect {
            Dialect::Line => LineReplies(output).reply(reply),
            Dialect::Resp => RespReplies(output).reply(reply),
        }
    }
}

/// Answers what is no request.
fn refused(dialect: Dialect, output: &mut Vec<u8>, tally: &mut Tally, refusal: &Refusal) -> Step {
    tally.requests += 1;
    tally.errors += 1;
    Spoken(dialect, output).reply(Reply::Error(&refusal.error));
    if refusal.closes {
        Step::Close
    } else {
        Step::More
    }
}
