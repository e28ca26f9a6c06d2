//! One client of the text port: read what has arrived, execute all whole requests, make them safe once, write all replies
//! in one go.
//!
//! In: a socket. Out: replies on it, in the order of the requests. Promises:
//! - no reply leaves before what it tells of is as safe as `--durability` says;
//! - the buffers hold what has arrived and not been executed, and what has been answered and not been read, and are
//!   bounded: a client that does not read is not read from, and a long value or list is sent from the data itself;
//! - an idle client costs no buffer.

use std::future::{Future as _, poll_fn};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Buf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use crate::codec::json::Pieces;
use crate::command::{
    self, Client, Dispatcher, Listing, Namespaces, Next, Pattern, Service, Session,
};
use crate::engine::{
    Barrier, Changes, DELETED_AT_A_TIME, FollowError, Follower, OwnedChange, Scan,
};
use crate::error::error_chain;
use crate::metrics::counters::Tally;
use crate::model::Key;
use crate::model::entry::Entry;
use crate::protocol::{Changed, Dialect, ErrorCode, ErrorReply, Replies as _, Reply, Spoken};
use crate::protocol::{line, resp};
use crate::server::pipeline::{OUTPUT_BYTES_MAX, Pipeline, Step};
use crate::server::request_buffer::{Arrived, RequestBuffer};

/// The room for what a client sends that is not listened to any more.
const REST_BYTES: usize = 16 << 10;
/// Values longer than this are sent in pieces.
const WHOLE_VALUE_BYTES_MAX: usize = 64 << 10;
/// The most prefixes that one connection follows: for each the journal is read.
pub const FOLLOWED_MAX: usize = 16;
/// How long a connection that is closed on a client's mistake is still read from, so that its last reply is not lost with
/// what the client had sent on.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client that is not served has to show how it speaks.
const REFUSAL_WAIT: Duration = Duration::from_millis(200);

/// How long a shutdown goes on reading from one client: what has been received is answered, and who sends without end does
/// not keep the server from stopping.
const DRAIN: Duration = Duration::from_secs(5);

/// One client.
pub struct Connection {
    stream: TcpStream,
    service: Arc<Service>,
    session: Session,
    client: Arc<Client>,
    input: RequestBuffer,
    /// Until when what has arrived before a shutdown is read, once there is one; and whether there was anything.
    drain_until: Option<Instant>,
    has_drained: bool,
    output: Vec<u8>,
    /// Where in the output the replies to changes stand: they must be taken back if the changes cannot be made safe.
    changes: Vec<(usize, usize, Dialect)>,
    /// What it follows, and how it is told of changes there: prefix by prefix.
    followers: Vec<Follower>,
    followed: Vec<(String, Dialect)>,
    /// What the replies have to wait for.
    barrier: Barrier,
    tally: Tally,
}

/// Serves one client until it leaves, or the server stops.
pub async fn serve(stream: TcpStream, service: Arc<Service>) {
    let (Ok(address), Ok(local_address)) = (stream.peer_addr(), stream.local_addr()) else {
        // It has gone already.
        return;
    };
    let client = service.clients.enter(address, local_address);
    // Replies are written whole; nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let _presence = service.stats.connected();
    let mut connection = Connection {
        stream,
        service: Arc::clone(&service),
        session: Session::of(Arc::clone(&client)),
        client: Arc::clone(&client),
        input: RequestBuffer::default(),
        drain_until: None,
        has_drained: false,
        output: Vec::new(),
        changes: Vec::new(),
        followers: Vec::new(),
        followed: Vec::new(),
        barrier: Barrier::default(),
        tally: Tally::default(),
    };
    {
        let mut run = pin!(connection.run());
        poll_fn(|context| {
            if client.listen(context) {
                return Poll::Ready(());
            }
            // A client that has gone is no fault of the server's, and nobody is there to be told.
            run.as_mut().poll(context).map(drop)
        })
        .await;
    }
    service.channels.forget(&mut connection.session);
    service.clients.leave(&client);
    service.stats.add(&mut connection.tally);
}

/// Tells a client, with one reply, why it is not served, and closes.
pub async fn refuse(mut stream: TcpStream, error: &ErrorReply) {
    // How it speaks is known once it has, which a person may not.
    let mut first = [0];
    let heard = tokio::time::timeout(REFUSAL_WAIT, stream.peek(&mut first)).await;
    let mut output = Vec::new();
    Spoken {
        dialect: if matches!(heard, Ok(Ok(1))) && first == *b"*" {
            Dialect::Resp2
        } else {
            Dialect::Line
        },
        output: &mut output,
    }
    .reply(Reply::Error(error));
    if stream.write_all(&output).await.is_ok() {
        linger(&mut stream).await;
    }
}

/// Closes for writing, and reads on for a while: closing at once would throw the last reply away with what is still coming.
async fn linger(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = vec![0; REST_BYTES];
    let drain = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        // What is rare has a place of its own in memory: this future is most of what an idle client costs.
        loop {
            if self.client.has_messages() {
                // What was sent to it before it asks comes before the answer.
                Box::pin(self.send_outbox()).await?;
            }
            match self.execute() {
                Step::More => {
                    self.flush().await?;
                    if !self.fill().await? {
                        return Box::pin(self.finish()).await;
                    }
                }
                Step::Full => self.flush().await?,
                Step::Run(Next::Done, _) => {}
                Step::Run(Next::Close, _) | Step::Close => {
                    self.flush().await?;
                    Box::pin(linger(&mut self.stream)).await;
                    return Ok(());
                }
                Step::Run(next, dialect) => Box::pin(self.answer(next, dialect)).await?,
            }
        }
    }

    /// Answers what takes time, or an output as slow as its reader.
    async fn answer(&mut self, next: Next, dialect: Dialect) -> io::Result<()> {
        match next {
            Next::Done | Next::Close => Ok(()),
            Next::Value(entry) => self.send_value(entry, dialect).await,
            Next::Values(entries) => self.send_values(entries, dialect).await,
            Next::Scan(scan, listing) => self.send_scan(scan, listing, dialect).await,
            Next::Save => self.save(dialect).await,
            Next::Follow(prefix, after) => {
                self.follow(prefix, after, dialect);
                Ok(())
            }
            Next::Unfollow(prefix) => {
                self.unfollow(prefix.as_deref(), dialect);
                Ok(())
            }
            Next::Reset => {
                self.followers.clear();
                self.followed.clear();
                Ok(())
            }
        }
    }

    fn spoken(&mut self, dialect: Dialect) -> Spoken<'_> {
        Spoken {
            dialect,
            output: &mut self.output,
        }
    }

    /// Executes the whole requests in the input, until one takes time or the output is full.
    fn execute(&mut self) -> Step {
        loop {
            let Arrived {
                items,
                batch,
                bytes,
            } = self.input.batch();
            if items.is_empty() {
                self.input.advance(bytes, true);
                return Step::More;
            }
            self.tally.since.get_or_insert_with(Instant::now);
            let mut pipeline = Pipeline {
                dispatcher: Dispatcher {
                    service: &self.service,
                    session: &mut self.session,
                    tally: &mut self.tally,
                    barrier: &mut self.barrier,
                },
                output: &mut self.output,
                changes: &mut self.changes,
            };
            if let Some((at, stopped)) = pipeline.run(&items, &batch) {
                self.input.advance(at, false);
                return stopped;
            }
            self.input.advance(bytes, true);
        }
    }

    /// Makes what has been executed safe, then sends the replies.
    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.make_safe().await;
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        self.output.shrink_to(OUTPUT_BYTES_MAX);
        Ok(())
    }

    /// Makes what has been executed as safe as is promised: then its replies may leave.
    async fn make_safe(&mut self) {
        if let Err(error) = self.service.commit(self.barrier).await {
            self.take_back_changes(&error);
        }
        self.changes.clear();
        self.service.stats.add(&mut self.tally);
        self.tally.since = None;
    }

    /// Puts an error in the place of every reply that told of a change.
    fn take_back_changes(&mut self, error: &ErrorReply) {
        let replies = std::mem::take(&mut self.output);
        let mut kept = 0;
        for (start, end, dialect) in std::mem::take(&mut self.changes) {
            self.output.extend_from_slice(&replies[kept..start]);
            // A change that was refused before it was made has its error already.
            let refused: &[u8] = match dialect {
                Dialect::Line => b"ERR ",
                Dialect::Resp2 | Dialect::Resp3 => b"-",
            };
            if replies[start..].starts_with(refused) {
                self.output.extend_from_slice(&replies[start..end]);
            } else {
                self.tally.errors += 1;
                self.spoken(dialect).reply(Reply::Error(error));
            }
            kept = end;
        }
        self.output.extend_from_slice(&replies[kept..]);
    }

    /// Reads what has arrived; whether anything may still come. Once the server is stopping, only what is here already.
    async fn fill(&mut self) -> io::Result<bool> {
        self.output = Vec::new();
        loop {
            self.input.release_memory();
            if self.followers.is_empty() {
                self.wake_up().await?;
            } else if let Some((place, changes)) = Box::pin(self.wake_up_or_follow()).await? {
                Box::pin(self.send_changes(place, changes)).await?;
                continue;
            }
            if self.client.has_messages() {
                Box::pin(self.send_outbox()).await?;
                continue;
            }
            let is_stopping = self.client.is_draining();
            if is_stopping
                && *self
                    .drain_until
                    .get_or_insert_with(|| Instant::now() + DRAIN)
                    <= Instant::now()
            {
                return Ok(false);
            }
            let received = if is_stopping {
                self.receive_what_is_there()
            } else {
                self.receive()
            };
            match received {
                Ok(count) => {
                    self.service.clients.heard_of(&self.client);
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

    /// Waits until something has arrived, or there is something else to do.
    async fn wake_up(&self) -> io::Result<()> {
        // Woken for either: `serve` listens for what is no arrival.
        poll_fn(|context| {
            if self.client.has_messages() || self.client.is_draining() {
                return Poll::Ready(Ok(()));
            }
            self.stream.poll_read_ready(context)
        })
        .await
    }

    /// The same, or until there are changes of what is followed, and where.
    async fn wake_up_or_follow(
        &mut self,
    ) -> io::Result<Option<(usize, Result<Changes, FollowError>)>> {
        let mut followers = std::mem::take(&mut self.followers);
        let woken = tokio::select! {
            woken = self.wake_up() => woken.map(|()| None),
            changes = Follower::next_of(&mut followers) => Ok(Some(changes)),
        };
        self.followers = followers;
        woken
    }

    /// Reads what has arrived. Once that is less than there is room for, nothing is left, and it is waited for more without
    /// asking the system again: half of the reads of a client that waits for each answer would find nothing.
    fn receive(&mut self) -> io::Result<usize> {
        let stream = &self.stream;
        self.input.fill(|input| {
            let room = input.capacity() - input.len();
            let mut last = None;
            let received = stream.try_io(Interest::READABLE, || {
                let count = stream.try_read_buf(input)?;
                if (1..room).contains(&count) {
                    last = Some(count);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(count)
            });
            last.map_or(received, Ok)
        })
    }

    /// Reads what has arrived, even where the runtime has not heard of it yet: after a shutdown it is not waited for.
    fn receive_what_is_there(&mut self) -> io::Result<usize> {
        let socket = std::net::TcpStream::from(self.stream.as_fd().try_clone_to_owned()?);
        self.input.fill(|input| {
            let start = input.len();
            input.resize(input.capacity(), 0);
            let received = (&socket).read(&mut input[start..]);
            input.truncate(start + received.as_ref().map_or(0, |count| *count));
            received
        })
    }

    /// Sends what has come by itself.
    async fn send_outbox(&mut self) -> io::Result<()> {
        let dialect = self.session.outbox_dialect();
        while let Some(message) = self.client.take_message() {
            command::write_message(&mut self.spoken(dialect), &message);
            self.flush_if_full().await?;
        }
        self.flush().await?;
        self.output = Vec::new();
        Ok(())
    }

    fn follow(&mut self, prefix: String, after: Option<u64>, dialect: Dialect) {
        match self.try_follow(&prefix, after) {
            Ok(follower) => {
                let revision = follower.revision();
                self.spoken(dialect)
                    .reply(Reply::Following(&prefix, revision));
                self.followers.push(follower);
                self.followed.push((prefix, dialect));
                self.session.followed = self.followed.len();
            }
            Err(error) => {
                self.tally.errors += 1;
                self.spoken(dialect).reply(Reply::Error(&error));
            }
        }
    }

    fn try_follow(&self, prefix: &str, after: Option<u64>) -> Result<Follower, ErrorReply> {
        if self.followed.iter().any(|(followed, _)| followed == prefix) {
            let message = format!("'{prefix}' is followed already; UNFOLLOW it first");
            return Err(ErrorReply::new(ErrorCode::Args, message));
        }
        if self.followed.len() == FOLLOWED_MAX {
            let message = format!("one connection may follow {FOLLOWED_MAX} prefixes");
            return Err(ErrorReply::new(ErrorCode::TooLarge, message));
        }
        let key = Key::parse(prefix.as_bytes())?;
        let follower = self.service.engine()?.follow(key, after);
        follower.map_err(|error| refusal_of(&error))
    }

    fn unfollow(&mut self, prefix: Option<&str>, dialect: Dialect) {
        let mut place = 0;
        let mut ended = 0;
        while place < self.followed.len() {
            if prefix.is_none_or(|prefix| self.followed[place].0 == prefix) {
                let (prefix, _) = self.end_following(place);
                self.spoken(dialect).reply(Reply::Unfollowed(&prefix));
                ended += 1;
            } else {
                place += 1;
            }
        }
        if ended == 0 {
            let error = ErrorReply::new(ErrorCode::Args, "nothing like that is followed here");
            self.tally.errors += 1;
            self.spoken(dialect).reply(Reply::Error(&error));
        }
    }

    fn end_following(&mut self, place: usize) -> (String, Dialect) {
        drop(self.followers.remove(place));
        let ended = self.followed.remove(place);
        self.session.followed = self.followed.len();
        ended
    }

    /// Sends the changes of what is followed at this place.
    async fn send_changes(
        &mut self,
        place: usize,
        changes: Result<Changes, FollowError>,
    ) -> io::Result<()> {
        let dialect = self.followed[place].1;
        match changes {
            Ok(changes) => {
                for (revision, change) in changes {
                    let told = match &change {
                        OwnedChange::Put(entry) => Changed::Put(
                            entry.key().as_str(),
                            entry.value_bytes(),
                            entry.expires_at(),
                        ),
                        OwnedChange::Delete(key) => Changed::Delete(key),
                        OwnedChange::Clear => Changed::Clear,
                    };
                    let reply = Reply::Change(revision, told);
                    self.spoken(dialect).reply(reply);
                    self.flush_if_full().await?;
                }
            }
            Err(error) => {
                let (prefix, _) = self.end_following(place);
                let error = refusal_of(&error);
                self.spoken(dialect).reply(Reply::Error(&error));
                self.spoken(dialect).reply(Reply::Unfollowed(&prefix));
            }
        }
        self.flush().await?;
        self.output = Vec::new();
        Ok(())
    }

    /// Answers a last line that was never ended, and closes.
    async fn finish(&mut self) -> io::Result<()> {
        let is_blank = self.input.waiting().iter().all(u8::is_ascii_whitespace);
        // A Redis client is told nothing of it, as Redis does not.
        let is_line = self.input.waiting().first() != Some(&b'*');
        if !is_blank && is_line && !self.client.is_draining() {
            let error = ErrorReply::new(
                ErrorCode::Syntax,
                "the last line was not ended; nothing was done for it",
            );
            self.tally.requests += 1;
            self.tally.errors += 1;
            self.spoken(Dialect::Line).reply(Reply::Error(&error));
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
    async fn send_line(&mut self, key_in_item: Option<&str>, entry: Entry) -> io::Result<()> {
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

    /// Sends a value as it is.
    async fn send_bytes(&mut self, entry: &Entry) -> io::Result<()> {
        let bytes = entry.value_bytes();
        resp::value_opening(&mut self.output, bytes.len());
        self.make_safe().await;
        // All at once, and the value from where it lies: it is not copied.
        let whole = Buf::chain(&self.output[..], bytes);
        let mut whole = Buf::chain(whole, &b"\r\n"[..]);
        self.stream.write_all_buf(&mut whole).await?;
        self.output.clear();
        Ok(())
    }

    /// Sends values as one array, long ones in pieces.
    async fn send_values(
        &mut self,
        entries: Vec<Option<Entry>>,
        dialect: Dialect,
    ) -> io::Result<()> {
        self.spoken(dialect).reply(Reply::Array(entries.len()));
        for entry in entries {
            match entry {
                Some(entry) => self.send_value(entry, dialect).await?,
                None => self.spoken(dialect).reply(Reply::NotFound),
            }
            self.flush_if_full().await?;
        }
        Ok(())
    }

    async fn send_value(&mut self, entry: Entry, dialect: Dialect) -> io::Result<()> {
        if entry.value_bytes().len() <= WHOLE_VALUE_BYTES_MAX {
            self.spoken(dialect)
                .reply(Reply::Value(entry.value_bytes()));
            Ok(())
        } else if dialect.is_resp() {
            self.send_bytes(&entry).await
        } else {
            self.send_line(None, entry).await
        }
    }

    async fn send_scan(
        &mut self,
        mut scan: Scan,
        listing: Listing,
        dialect: Dialect,
    ) -> io::Result<()> {
        match listing {
            Listing::Matching(pattern) => return self.send_matching(scan, &pattern, dialect).await,
            Listing::Namespaces(prefix) => {
                return self.send_namespaces(scan, &prefix, dialect).await;
            }
            Listing::Delete => return self.delete(scan, dialect).await,
            Listing::Pairs | Listing::Keys | Listing::Count => {}
        }
        let mut count = 0;
        while let Some(entries) = self.next_of(&mut scan).await {
            count += entries.len() as u64;
            for entry in entries {
                let key = entry.key().as_str();
                match listing {
                    Listing::Keys => self.spoken(dialect).reply(Reply::Key(key)),
                    Listing::Pairs if entry.value_bytes().len() > WHOLE_VALUE_BYTES_MAX => {
                        self.send_line(Some(key), entry.clone()).await?;
                    }
                    Listing::Pairs => {
                        let item = Reply::Item(key, entry.value_bytes());
                        self.spoken(dialect).reply(item);
                    }
                    _ => break,
                }
                self.flush_if_full().await?;
            }
        }
        self.spoken(dialect).reply(if listing == Listing::Count {
            Reply::Count(count)
        } else {
            Reply::End(count)
        });
        Ok(())
    }

    /// The pairs of one shard more. Each is some work; others have their turn in between.
    async fn next_of(&mut self, scan: &mut Scan) -> Option<Vec<Entry>> {
        let entries = scan.next();
        self.barrier.raise(scan.seen());
        tokio::task::yield_now().await;
        entries
    }

    /// Sends the keys that match. How many there are is told first, so that they are kept until all are found.
    async fn send_matching(
        &mut self,
        mut scan: Scan,
        pattern: &Pattern,
        dialect: Dialect,
    ) -> io::Result<()> {
        let mut found = Vec::new();
        while let Some(mut entries) = self.next_of(&mut scan).await {
            entries.retain(|entry| pattern.matches(entry.key_bytes()));
            found.append(&mut entries);
        }
        self.spoken(dialect).reply(Reply::Array(found.len()));
        for entry in found {
            self.spoken(dialect).reply(Reply::Key(entry.key().as_str()));
            self.flush_if_full().await?;
        }
        Ok(())
    }

    async fn send_namespaces(
        &mut self,
        mut scan: Scan,
        prefix: &str,
        dialect: Dialect,
    ) -> io::Result<()> {
        let mut namespaces = Namespaces::below(prefix);
        while let Some(entries) = self.next_of(&mut scan).await {
            if let Err(error) = namespaces.count(&entries) {
                let message = format!("{error}; SCAN lists the keys");
                let error = ErrorReply::new(ErrorCode::TooLarge, message);
                self.tally.errors += 1;
                self.spoken(dialect).reply(Reply::Error(&error));
                return Ok(());
            }
        }
        let namespaces = namespaces.by_name;
        if dialect.is_resp() {
            self.spoken(dialect).reply(Reply::Map(namespaces.len()));
        }
        for (name, keys) in &namespaces {
            self.spoken(dialect).reply(Reply::Namespace(name, *keys));
            self.flush_if_full().await?;
        }
        if !dialect.is_resp() {
            let count = namespaces.len() as u64;
            self.spoken(dialect).reply(Reply::End(count));
        }
        Ok(())
    }

    /// Deletes what a scan finds, some keys at a time, each time as one change.
    async fn delete(&mut self, mut scan: Scan, dialect: Dialect) -> io::Result<()> {
        let mut deleted = 0;
        let mut refusal = None;
        'all: while let Some(entries) = self.next_of(&mut scan).await {
            for entries in entries.chunks(DELETED_AT_A_TIME) {
                let engine = self.service.engine();
                match engine.and_then(|engine| engine.delete(entries, &mut self.barrier)) {
                    Ok(count) => deleted += count,
                    Err(error) => {
                        refusal = Some(error);
                        break 'all;
                    }
                }
            }
        }
        let start = self.output.len();
        match refusal {
            None => self.spoken(dialect).reply(Reply::Count(deleted)),
            Some(mut error) => {
                error.message += &format!("; {deleted} keys were deleted before");
                self.tally.errors += 1;
                self.spoken(dialect).reply(Reply::Error(&error));
            }
        }
        self.changes.push((start, self.output.len(), dialect));
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
            Ok(()) => self.spoken(dialect).reply(Reply::Ok),
            Err(error) => {
                self.tally.errors += 1;
                self.spoken(dialect).reply(Reply::Error(&error));
            }
        }
        Ok(())
    }
}

fn refusal_of(error: &FollowError) -> ErrorReply {
    let code = match error {
        FollowError::Off => ErrorCode::Denied,
        FollowError::Ahead { .. } | FollowError::Gone { .. } => ErrorCode::Args,
        FollowError::Unreadable(_) => ErrorCode::Disk,
        FollowError::Stopping => ErrorCode::Busy,
    };
    ErrorReply::new(code, error_chain(error)).with_prefix("ERR")
}
