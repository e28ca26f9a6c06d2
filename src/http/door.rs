//! Access of HTTP handlers to the dispatcher: requests in, replies or a stream of replies out.
//!
//! In: commands, as words. Out: their replies, once the changes they report are as durable as `--durability` promises; an error
//! reply becomes a [`Problem`]. Promise: the checks and figures of the text port apply, as the same dispatcher executes them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

use super::listener::HttpClient;
use super::problem::Problem;
use crate::codec::json;
use crate::codec::key_text::key_text;
use crate::command::long_work::Turn;
use crate::command::{
    Account, Dispatcher, Executed, Forwarded, HeldValue, Identity, LastCommand, Outcome, Prepared,
    Replies, RequestBatch, Service, Session, Status, Stream, StreamPulled,
};
use crate::engine::Barrier;
use crate::metrics::counters::Tally;
use crate::model::entry::Entry;
use crate::model::{Database, UnixMs};
use crate::protocol::{Dialect, ErrorReply, Reply, Request, StoredPair};

/// Name and arguments of a command.
pub type CommandWords<'a> = (&'a str, &'a [&'a [u8]]);

/// Client of one HTTP request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// State that all sessions share.
    pub service: Arc<Service>,
    /// Memory that is held for the client.
    pub account: Arc<Account>,
    /// User of the request.
    pub identity: Identity,
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<ConnectInfo<HttpClient>>();
        let client = client.expect("the listener gives one to every request");
        let identity = parts.extensions.get::<Identity>();
        Ok(Self {
            service: Arc::clone(service),
            account: Arc::clone(&client.0.account),
            identity: identity
                .expect("each request has been authenticated")
                .clone(),
        })
    }
}

impl Caller {
    /// Opens a session.
    pub fn door(&self) -> Door {
        Door {
            service: Arc::clone(&self.service),
            session: Session::new(&self.account, self.identity.clone()),
            tally: Tally::begin(),
            barrier: self.service.barrier(),
            forwarded: Forwarded::default(),
        }
    }

    /// Checks that the user may execute a command; for what is answered without the dispatcher.
    ///
    /// # Errors
    /// 401 if the client has to sign in, 403 if its user may not.
    pub fn check(&self, name: &str, words: &[&[u8]]) -> Result<(), Problem> {
        let mut door = self.door();
        Ok(door.dispatcher().check(name, words)?)
    }

    /// Returns true if the user may read every key.
    pub fn sees_all_keys(&self) -> bool {
        self.identity.clone().sees_all_keys(&self.service.users)
    }

    /// Opens a session whose requests MONITOR and SLOWLOG show with their key alone, as the other arguments are from a body.
    pub fn door_for_bodies(&self) -> Door {
        let mut door = self.door();
        door.session.visible_arguments = Some(1);
        door
    }
}

/// Session of one HTTP request.
pub struct Door {
    service: Arc<Service>,
    session: Session,
    tally: Tally,
    barrier: Barrier,
    /// Requests that are sent to the cluster by the next [`Door::flush`].
    forwarded: Forwarded,
}

/// Reply that owns its data, kept until the response is built.
#[derive(Debug)]
pub enum OwnedReply {
    /// Success.
    Ok,
    /// Result of a store.
    Stored(StoredPair),
    /// Value of a key.
    Found(FoundValue),
    /// The key does not exist.
    NotFound,
    /// A condition did not hold.
    Unmet,
    /// Count, or a signed number.
    Number(i64),
    /// Text, or bytes that are not UTF-8.
    Bytes(Vec<u8>),
    /// Head of an array; its elements follow.
    Array,
    /// Figure and its name.
    Figure(String, serde_json::Value),
    /// Namespace and its number of keys.
    Namespace(String, u64),
    /// Number of keys in no namespace.
    Others(u64),
}

/// Value of a key, and its expiry.
#[derive(Debug)]
pub enum FoundValue {
    /// Copy of the value.
    Short(Vec<u8>, Option<UnixMs>),
    /// Value that is too long to be copied, held for the client, and its expiry.
    Long(HeldValue, Option<UnixMs>),
}

impl FoundValue {
    /// Returns the bytes of the value.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes, _) => bytes,
            Self::Long(value, _) => value.as_ref(),
        }
    }

    /// Returns the expiry, in milliseconds since 1970, if there is one.
    pub fn expires_at(&self) -> Option<UnixMs> {
        match self {
            Self::Short(_, expires_at) | Self::Long(_, expires_at) => *expires_at,
        }
    }
}

/// Replies to one command, and its status.
#[derive(Debug)]
pub struct CommandResult {
    /// Replies, in their order.
    pub replies: Vec<OwnedReply>,
    /// Result of the command in one word.
    pub status: Status,
}

impl CommandResult {
    /// Returns the first reply.
    pub fn first(self) -> OwnedReply {
        self.replies
            .into_iter()
            .next()
            .expect("every request has a reply")
    }

    /// Returns the first reply as a number; 0 if it is not one, or negative.
    pub fn number(self) -> u64 {
        match self.first() {
            OwnedReply::Number(number) => u64::try_from(number).unwrap_or(0),
            _ => 0,
        }
    }
}

impl Door {
    /// Executes one command, and waits until the changes that its replies report are durable.
    ///
    /// # Errors
    /// The error reply of the command; `DISK` if a change could not be made durable.
    pub async fn execute(&mut self, name: &str, words: &[&[u8]]) -> Result<CommandResult, Problem> {
        let mut collected = ReplyCollector::new(&self.session.account);
        self.wait_while_paused(&[(name, words)]).await;
        let bytes = words.iter().map(|word| word.len()).sum();
        let turn = self.turn(bytes).await;
        let executed = self.dispatch(name, words, &mut collected).await;
        let mut reports_change = executed.reports_change;
        if let Outcome::Stream(mut stream) = executed.outcome {
            loop {
                let pulled = self.pull(&mut stream, &mut collected).await;
                if pulled.has_ended {
                    reports_change = pulled.reports_change;
                    break;
                }
            }
        }
        self.commit(reports_change, &mut collected).await;
        drop(turn);
        if let Some(error) = collected.error {
            return Err(error.into());
        }
        Ok(CommandResult {
            replies: collected.replies,
            status: executed.status,
        })
    }

    /// Executes commands as one transaction, and waits until their changes are durable. `is_too_long` gets the total size of the
    /// values read so far, in bytes, and returns the error that refuses it.
    ///
    /// # Errors
    /// The error reply of the first command that is refused, or that of `is_too_long`; nothing has changed then. `TOO_LARGE` if the
    /// changes are too long for one record of the journal; `DISK` if they could not be made durable: a crash may lose them.
    pub async fn transaction(
        &mut self,
        commands: &[CommandWords<'_>],
        is_too_long: impl Fn(usize) -> Option<ErrorReply> + Send + Sync,
    ) -> Result<Vec<OwnedReply>, Problem> {
        let mut collected = ReplyCollector::new(&self.session.account);
        self.wait_while_paused(commands).await;
        let words = commands.iter().flat_map(|(_, words)| *words);
        let bytes = words.map(|word| word.len()).sum();
        let turn = self.turn(bytes).await;
        let executed = {
            let mut last = LastCommand::default();
            let mut batch = RequestBatch::of_about(commands.len(), &mut last, Database::default());
            let requests: Vec<Prepared> = commands
                .iter()
                .map(|(name, words)| batch.prepare(&Request::split(name, words)))
                .collect();
            let is_clustered = self.service.cluster().is_some();
            let mut dispatcher = self.dispatcher();
            let sink = &mut collected;
            let executed = if is_clustered {
                let executing =
                    dispatcher.emulate_all(Dialect::Line, &batch, &requests, is_too_long, sink);
                executing.await
            } else {
                dispatcher.execute_all(Dialect::Line, &batch, &requests, is_too_long, sink)
            };
            dispatcher.end_lap(&batch, requests.iter());
            executed
        };
        self.commit(executed.reports_change, &mut collected).await;
        drop(turn);
        collected
            .error
            .map_or(Ok(collected.replies), |error| Err(error.into()))
    }

    /// Executes one command without waiting for durability; [`Self::flush`] does. Where a cluster has the data, it is sent then, too.
    ///
    /// # Errors
    /// The error reply of the command.
    pub fn execute_deferred(&mut self, name: &str, words: &[&[u8]]) -> Result<(), ErrorReply> {
        let mut last = LastCommand::default();
        let mut batch = RequestBatch::of_about(1, &mut last, Database::default());
        let request = batch.prepare(&Request::split(name, words));
        let mut collected = ReplyCollector::new(&self.session.account);
        let is_clustered = self.service.cluster().is_some();
        let mut forwarded = std::mem::take(&mut self.forwarded);
        let mut dispatcher = self.dispatcher();
        let is_forwarded =
            is_clustered && dispatcher.forward(Dialect::Line, &batch, &request, &mut forwarded);
        if !is_forwarded {
            dispatcher.execute(Dialect::Line, &batch, &request, None, &mut collected);
        }
        dispatcher.end_lap(&batch, std::iter::once(&request));
        self.forwarded = forwarded;
        collected.error.map_or(Ok(()), Err)
    }

    /// Waits until the changes of all commands so far are durable.
    ///
    /// # Errors
    /// `DISK` if they could not be made durable; the error of a command that was sent to a cluster.
    pub async fn flush(&mut self) -> Result<(), ErrorReply> {
        let mut collected = ReplyCollector::new(&self.session.account);
        if let Some(cluster) = self.service.cluster().cloned() {
            let mut forwarded = std::mem::take(&mut self.forwarded);
            let mut dispatcher = self.dispatcher();
            dispatcher
                .complete(&cluster, &mut forwarded, &mut collected)
                .await;
        }
        let committed = self.service.commit(self.barrier).await;
        self.tally.lap = None;
        self.service.stats.add(&mut self.tally);
        collected.error.map_or(committed, Err)
    }

    /// Starts a command whose replies are a stream.
    ///
    /// # Errors
    /// The error reply of the command.
    pub async fn open_stream(&mut self, name: &str, words: &[&[u8]]) -> Result<Stream, Problem> {
        let mut collected = ReplyCollector::new(&self.session.account);
        let executed = self.dispatch(name, words, &mut collected).await;
        match (executed.outcome, collected.error) {
            (Outcome::Stream(stream), _) => Ok(*stream),
            (_, Some(error)) => {
                self.service.stats.add(&mut self.tally);
                Err(error.into())
            }
            (_, None) => unreachable!("the reply of {name} is a stream"),
        }
    }

    /// Writes the next replies of a stream to a sink until the sink is full; returns true once the stream has ended. Waits until the
    /// changes that they show are durable.
    ///
    /// # Errors
    /// `IN_DOUBT` on a member of a cluster that does not lead any more: the pairs may be old.
    pub async fn pump(
        &mut self,
        stream: &mut Stream,
        replies: &mut dyn Replies,
    ) -> Result<bool, ErrorReply> {
        let pulled = self.pull(stream, replies).await;
        match self.flush().await {
            Err(error) if self.service.marks_reads() => Err(error),
            // The pairs are as they stand in memory, whether or not the disk takes them.
            _ => Ok(pulled.has_ended),
        }
    }

    /// Waits for the end of CLIENT PAUSE, if one of the commands changes pairs.
    async fn wait_while_paused(&self, commands: &[CommandWords<'_>]) {
        let pause = &self.service.pause;
        let is_write = |(name, _): &CommandWords<'_>| {
            let known = self.service.commands;
            let place = known.place_of(name.as_bytes(), Dialect::Line);
            place.is_some_and(|place| known[place].is_write())
        };
        if pause.is_set() && commands.iter().any(is_write) {
            Box::pin(pause.wait()).await;
        }
    }

    /// Waits for the turn of requests of so many bytes; where a cluster has the data, its nodes do the work.
    async fn turn(&self, bytes: usize) -> Option<Turn> {
        match self.service.cluster() {
            Some(_) => None,
            None => self.service.long_turns.wait(bytes).await,
        }
    }

    /// Returns the memory that is held for the client.
    pub fn account(&self) -> &Arc<Account> {
        &self.session.account
    }

    /// Returns the dispatcher, and begins a lap: what was waited for before is not the time of a request.
    fn dispatcher(&mut self) -> Dispatcher<'_> {
        self.tally.begin_lap();
        Dispatcher {
            service: &self.service,
            session: &mut self.session,
            tally: &mut self.tally,
            barrier: &mut self.barrier,
        }
    }

    async fn dispatch(
        &mut self,
        name: &str,
        words: &[&[u8]],
        replies: &mut dyn Replies,
    ) -> Executed {
        let mut last = LastCommand::default();
        let mut batch = RequestBatch::of_about(1, &mut last, Database::default());
        let request = batch.prepare(&Request::split(name, words));
        let is_clustered = self.service.cluster().is_some();
        let mut dispatcher = self.dispatcher();
        let executed = if is_clustered {
            let executing = dispatcher.execute_clustered(Dialect::Line, &batch, &request, replies);
            executing.await
        } else {
            dispatcher.execute(Dialect::Line, &batch, &request, None, replies)
        };
        dispatcher.end_lap(&batch, std::iter::once(&request));
        executed
    }

    async fn pull(&mut self, stream: &mut Stream, replies: &mut dyn Replies) -> StreamPulled {
        let identity = &mut self.session.identity;
        let barrier = &mut self.barrier;
        stream.pull(&self.service, identity, barrier, replies).await
    }

    /// Waits until the changes are durable; on failure, an error replaces the replies if they report a change.
    async fn commit(&mut self, reports_change: bool, collected: &mut ReplyCollector) {
        // Else nothing that is shown depends on it.
        let must_wait = reports_change || !self.service.marks_reads();
        if must_wait
            && let Err(error) = self.service.commit(self.barrier).await
            && reports_change
        {
            let errors = u64::from(collected.error.is_none());
            self.service
                .stats
                .count_errors(error.redis_prefix(), errors);
            collected.error = Some(error);
        }
        self.tally.lap = None;
        self.service.stats.add(&mut self.tally);
    }
}

/// Sink that collects replies.
struct ReplyCollector {
    account: Arc<Account>,
    replies: Vec<OwnedReply>,
    error: Option<ErrorReply>,
    /// Total size of the collected values, in bytes.
    bytes: usize,
}

impl ReplyCollector {
    fn new(account: &Arc<Account>) -> Self {
        Self {
            account: Arc::clone(account),
            replies: Vec::new(),
            error: None,
            bytes: 0,
        }
    }
}

impl Replies for ReplyCollector {
    fn reply(&mut self, reply: Reply<'_>) {
        self.replies.push(match reply {
            Reply::Error(error) => return self.error = Some(error.clone()),
            // Delimiters: the response has its own.
            Reply::End(_) | Reply::Map(_) | Reply::Queued => return,
            Reply::Stored(stored) => OwnedReply::Stored(stored),
            Reply::Found(value) => {
                self.bytes += value.bytes().len();
                OwnedReply::Found(FoundValue::Short(
                    value.bytes().to_vec(),
                    value.expires_at(),
                ))
            }
            Reply::NotFound => OwnedReply::NotFound,
            Reply::Unchanged | Reply::NoArray => OwnedReply::Unmet,
            Reply::Count(count) => OwnedReply::Number(i64::try_from(count).unwrap_or(i64::MAX)),
            Reply::Signed(number) | Reply::Number(number) => OwnedReply::Number(number),
            Reply::Value(bytes) => OwnedReply::Bytes(bytes.to_vec()),
            Reply::Key(key) => OwnedReply::Bytes(key.to_vec()),
            Reply::Status(text) | Reply::Text(text) | Reply::Double(text) => {
                OwnedReply::Bytes(text.into())
            }
            Reply::Array(_) | Reply::Set(_) => OwnedReply::Array,
            Reply::Stat(name, figure) => OwnedReply::Figure(name.to_owned(), figure.to_json()),
            Reply::Namespace(name, keys) => {
                OwnedReply::Namespace(key_text(name).into_owned(), keys)
            }
            Reply::NamespacesEnd(_, others) => OwnedReply::Others(others),
            Reply::Ok | Reply::Pong => OwnedReply::Ok,
            Reply::Item(..)
            | Reply::Help(..)
            | Reply::Subscription(..)
            | Reply::Message(..)
            | Reply::ShardMessage(..)
            | Reply::Following(..)
            | Reply::Unfollowed(_)
            | Reply::Change(..)
            | Reply::Raw(_)
            | Reply::Invalidated(_)
            | Reply::RedirectionBroken(_)
            | Reply::Monitor(_) => unreachable!("no endpoint requests it, or only as a stream"),
        });
    }

    fn long_value(&mut self, entry: Entry) {
        self.bytes += entry.value_bytes().len();
        let expires_at = entry.expires_at();
        let value = self.account.hold_value(entry);
        self.replies
            .push(OwnedReply::Found(FoundValue::Long(value, expires_at)));
    }

    fn long_item(&mut self, _name: &[u8], _entry: Entry) {
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
        // Only a transaction discards replies, and always all of them.
        self.replies.clear();
        self.bytes = 0;
    }
}

/// Renders an expiry as JSON: a time (RFC 3339), or null.
pub fn expiry_json(expires_at: Option<UnixMs>) -> String {
    expires_at.map_or_else(|| "null".to_owned(), |at| json::string(&json::time(at)))
}
