//! The way of an HTTP request to the dispatcher: requests in, replies or a stream of them out.
//!
//! In: commands, as words. Out: their replies, once what they tell of is as durable as `--durability` promises; an error reply is a
//! [`Problem`]. Promise: whatever holds for a command of the text port holds here, as the same dispatcher executes it.

use std::sync::Arc;

use super::problem::Problem;
use crate::codec::json;
use crate::command::{
    Dispatcher, Executed, Outcome, Prepared, Replies, RequestBatch, Service, Session, Status,
    Stream, StreamPulled,
};
use crate::engine::Barrier;
use crate::metrics::counters::Tally;
use crate::model::UnixMs;
use crate::model::entry::Entry;
use crate::protocol::{Dialect, ErrorReply, Reply, Request, StoredPair};

/// A command: its name and its arguments.
pub type Command<'a> = (&'a str, &'a [&'a [u8]]);

/// The session of one HTTP request.
pub struct Door {
    service: Arc<Service>,
    session: Session,
    tally: Tally,
    barrier: Barrier,
}

/// A reply, as it is kept until the response is made.
#[derive(Debug)]
pub enum Told {
    /// Done.
    Ok,
    /// A value was stored.
    Stored(StoredPair),
    /// The value of a key.
    Found(FoundValue),
    /// The key does not exist.
    NotFound,
    /// A condition did not hold.
    Unmet,
    /// A count, or a number that may be negative.
    Number(i64),
    /// Text, or bytes that are not UTF-8.
    Bytes(Vec<u8>),
    /// The head of an array; its elements follow.
    Array,
    /// A named figure.
    Figure(String, serde_json::Value),
    /// A namespace and its number of keys.
    Namespace(String, u64),
    /// The number of keys in no namespace.
    Others(u64),
}

/// The value of a key, and its expiry.
#[derive(Debug)]
pub enum FoundValue {
    /// A copy.
    Short(Vec<u8>, Option<UnixMs>),
    /// The entry of a value that is too long to be copied.
    Long(Entry),
}

impl FoundValue {
    /// Returns the bytes of the value.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes, _) => bytes,
            Self::Long(entry) => entry.value_bytes(),
        }
    }

    /// Returns the expiry, in milliseconds since 1970.
    pub fn expires_at(&self) -> Option<UnixMs> {
        match self {
            Self::Short(_, expires_at) => *expires_at,
            Self::Long(entry) => entry.expires_at(),
        }
    }
}

/// The replies to one request.
#[derive(Debug)]
pub struct Answer {
    /// The replies, in their order.
    pub told: Vec<Told>,
    /// The result in one word.
    pub status: Status,
}

impl Answer {
    /// Returns the first reply.
    pub fn first(self) -> Told {
        self.told
            .into_iter()
            .next()
            .expect("every request is answered")
    }

    /// Returns the number that the first reply is; 0 if it is none.
    pub fn number(self) -> u64 {
        match self.first() {
            Told::Number(number) => u64::try_from(number).unwrap_or(0),
            _ => 0,
        }
    }
}

impl Door {
    /// A session for one HTTP request.
    pub fn new(service: &Arc<Service>) -> Self {
        Self {
            service: Arc::clone(service),
            session: Session::default(),
            tally: Tally::begin(),
            barrier: Barrier::default(),
        }
    }

    /// The same, of whose requests MONITOR and SLOWLOG show the key alone: their values come in bodies.
    pub fn for_bodies(service: &Arc<Service>) -> Self {
        let mut door = Self::new(service);
        door.session.visible_arguments = Some(1);
        door
    }

    /// Executes one command; waits until what its replies tell of is durable.
    ///
    /// # Errors
    /// Its error reply; `DISK`, if a change could not be made durable.
    pub async fn ask(&mut self, name: &str, words: &[&[u8]]) -> Result<Answer, Problem> {
        let mut kept = Kept::default();
        let executed = self.execute(name, words, &mut kept);
        let mut reports_change = executed.reports_change;
        if let Outcome::Stream(mut stream) = executed.outcome {
            loop {
                let pulled = self.pull(&mut stream, &mut kept).await;
                if pulled.has_ended {
                    reports_change = pulled.reports_change;
                    break;
                }
            }
        }
        self.commit(reports_change, &mut kept).await;
        if let Some(error) = kept.error {
            return Err(error.into());
        }
        Ok(Answer {
            told: kept.told,
            status: executed.status,
        })
    }

    /// Executes commands as one transaction; waits until their changes are durable. `is_too_long` refuses replies of so many bytes.
    ///
    /// # Errors
    /// The error reply of the first that is refused; `DISK`, `TOO_LARGE`. Nothing has changed then, or it may be lost.
    pub async fn transaction(
        &mut self,
        commands: &[Command<'_>],
        is_too_long: impl Fn(usize) -> Option<ErrorReply>,
    ) -> Result<Vec<Told>, Problem> {
        let mut kept = Kept::default();
        let executed = {
            let mut batch = RequestBatch::of_about(commands.len());
            let requests: Vec<Prepared> = commands
                .iter()
                .map(|(name, words)| batch.prepare(&Request::split(name, words)))
                .collect();
            self.dispatcher()
                .execute_all(Dialect::Line, &batch, &requests, is_too_long, &mut kept)
        };
        self.commit(executed.reports_change, &mut kept).await;
        kept.error.map_or(Ok(kept.told), |error| Err(error.into()))
    }

    /// Executes one command without waiting for anything; [`Self::flush`] does.
    ///
    /// # Errors
    /// Its error reply.
    pub fn tell(&mut self, name: &str, words: &[&[u8]]) -> Result<(), ErrorReply> {
        let mut kept = Kept::default();
        self.execute(name, words, &mut kept);
        kept.error.map_or(Ok(()), Err)
    }

    /// Waits until what has been told is durable.
    ///
    /// # Errors
    /// `DISK`.
    pub async fn flush(&mut self) -> Result<(), ErrorReply> {
        let committed = self.service.commit(self.barrier).await;
        self.service.stats.add(&mut self.tally);
        committed
    }

    /// Begins a command whose reply is long.
    ///
    /// # Errors
    /// Its error reply.
    pub fn open(&mut self, name: &str, words: &[&[u8]]) -> Result<Stream, Problem> {
        let mut kept = Kept::default();
        match (self.execute(name, words, &mut kept).outcome, kept.error) {
            (Outcome::Stream(stream), _) => Ok(*stream),
            (_, Some(error)) => {
                self.service.stats.add(&mut self.tally);
                Err(error.into())
            }
            (_, None) => unreachable!("the reply of {name} is a stream"),
        }
    }

    /// Writes the next replies of a stream to a sink, until that is full; returns true once they are complete. What they tell of
    /// is as durable as promised, or could not be made so, and is true all the same.
    pub async fn pump(&mut self, stream: &mut Stream, replies: &mut dyn Replies) -> bool {
        let pulled = self.pull(stream, replies).await;
        let _ = self.flush().await;
        pulled.has_ended
    }

    fn dispatcher(&mut self) -> Dispatcher<'_> {
        Dispatcher {
            service: &self.service,
            session: &mut self.session,
            tally: &mut self.tally,
            barrier: &mut self.barrier,
        }
    }

    fn execute(&mut self, name: &str, words: &[&[u8]], replies: &mut dyn Replies) -> Executed {
        let mut batch = RequestBatch::of_about(1);
        let request = batch.prepare(&Request::split(name, words));
        self.dispatcher()
            .execute(Dialect::Line, &batch, &request, None, replies)
    }

    async fn pull(&mut self, stream: &mut Stream, replies: &mut dyn Replies) -> StreamPulled {
        let (tally, barrier) = (&mut self.tally, &mut self.barrier);
        stream.pull(&self.service, tally, barrier, replies).await
    }

    /// Puts an error in the place of replies that tell of a change which cannot be made durable.
    async fn commit(&mut self, reports_change: bool, kept: &mut Kept) {
        if let Err(error) = self.service.commit(self.barrier).await
            && reports_change
            && kept.error.is_none()
        {
            self.tally.errors += 1;
            kept.error = Some(error);
        }
        self.service.stats.add(&mut self.tally);
    }
}

/// Keeps replies.
#[derive(Default)]
struct Kept {
    told: Vec<Told>,
    error: Option<ErrorReply>,
    /// The number of bytes of values that are kept.
    bytes: usize,
}

impl Replies for Kept {
    fn reply(&mut self, reply: Reply<'_>) {
        self.told.push(match reply {
            Reply::Error(error) => return self.error = Some(error.clone()),
            // They say nothing that the response does.
            Reply::End(_) | Reply::Map(_) | Reply::Queued => return,
            Reply::Stored(stored) => Told::Stored(stored),
            Reply::Found(value) => {
                self.bytes += value.bytes().len();
                Told::Found(FoundValue::Short(
                    value.bytes().to_vec(),
                    value.expires_at(),
                ))
            }
            Reply::NotFound => Told::NotFound,
            Reply::Unchanged | Reply::NoArray => Told::Unmet,
            Reply::Count(count) => Told::Number(i64::try_from(count).unwrap_or(i64::MAX)),
            Reply::Signed(number) | Reply::Number(number) => Told::Number(number),
            Reply::Value(bytes) => Told::Bytes(bytes.to_vec()),
            Reply::Status(text) | Reply::Text(text) | Reply::Key(text) => Told::Bytes(text.into()),
            Reply::Array(_) => Told::Array,
            Reply::Stat(name, figure) => Told::Figure(name.to_owned(), figure.to_json()),
            Reply::Namespace(name, keys) => Told::Namespace(name.to_owned(), keys),
            Reply::NamespacesEnd(_, others) => Told::Others(others),
            Reply::Ok | Reply::Pong => Told::Ok,
            Reply::Item(..)
            | Reply::Help(..)
            | Reply::Subscription(..)
            | Reply::Message(..)
            | Reply::Following(..)
            | Reply::Unfollowed(_)
            | Reply::Change(..)
            | Reply::Monitor(_) => unreachable!("no endpoint asks for it, or only as a stream"),
        });
    }

    fn long_value(&mut self, entry: Entry) {
        self.bytes += entry.value_bytes().len();
        self.told.push(Told::Found(FoundValue::Long(entry)));
    }

    fn long_item(&mut self, _entry: Entry) {
        unreachable!("pairs are listed as a stream");
    }

    fn is_full(&self) -> bool {
        false
    }

    fn set_dialect(&mut self, _dialect: Dialect) {}

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn truncate(&mut self, _bytes: usize) {
        // Only a transaction takes replies back, and all of them.
        self.told.clear();
        self.bytes = 0;
    }
}

/// Returns an expiry as JSON: a time (RFC 3339), or null.
pub fn expiry_json(expires_at: Option<UnixMs>) -> String {
    expires_at.map_or_else(|| "null".to_owned(), |at| json::string(&json::time(at)))
}
