//! The session: the state of one client between its requests.
//!
//! In: queued requests, watched keys, subscriptions, the dialect. Out: the same, for later requests. Promise: the queue of a
//! transaction is bounded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::acl::Identity;
use super::channels::{Channels, Space};
use super::client_memory::{Account, Charge};
use super::clients::Client;
use super::following::{Followed, Following};
use super::notices::Deferred;
use super::refusals::bad_argument;
use super::reply_sink::Replies;
use super::service::Service;
use super::spec::{Arguments, ChannelUse, Command, Flag, Scope};
use super::stream::Stream;
use super::tracking::SessionTracking;
use super::watched_keys::WatchedKeys;
use crate::model::Database;
use crate::protocol::resp::REQUEST_BYTES_MAX;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply, Subscription};

/// Maximum number of queued requests of a transaction: the maximum number of words of one request.
pub const QUEUED_REQUESTS_MAX: usize = 1 << 20;
/// Maximum length of the queued requests of a transaction in bytes: that of one request.
pub const QUEUED_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// Memory of the name of a channel, in lengths of the name: the session and the channels keep it.
pub(super) const CHANNEL_COPIES: usize = 2;
/// Memory of a pattern, in lengths of its text: compiled, each place of it may be a set of bytes.
pub(super) const PATTERN_COPIES: usize = 32;
/// Memory of a subscription in bytes, without its name.
const PER_SUBSCRIPTION_BYTES: usize = 256;

/// State of one client.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Session {
    /// Memory that is held for the client.
    pub account: Arc<Account>,
    /// The user whose permissions its requests have.
    pub identity: Identity,
    /// The client, if it is connected to the text port or the console.
    pub(super) client: Option<Arc<Client>>,
    /// Database that was selected.
    database: Database,
    /// Restriction of a connection beyond the maximum number.
    pub reserved: Option<Reserved>,
    transaction: Option<Transaction>,
    /// Keys on which EXEC depends.
    pub(super) watched: WatchedKeys,
    /// Charge of the subscribed channels and patterns.
    subscribed: Charge,
    /// Subscribed channels, patterns and shard channels.
    pub(super) channels: BTreeSet<Box<[u8]>>,
    pub(super) patterns: BTreeSet<Box<[u8]>>,
    pub(super) shards: BTreeSet<Box<[u8]>>,
    /// Total length of their names.
    pub(super) subscribed_bytes: usize,
    /// Length of the patterns among them.
    pub(super) pattern_bytes: usize,
    /// Followed prefixes.
    pub following: Following,
    /// State of CLIENT TRACKING, if it is on.
    pub(super) tracking: Option<Box<SessionTracking>>,
    /// What is to be told once the transaction that is executed has been made.
    pub(super) deferred: Vec<Deferred>,
    /// Number of arguments that MONITOR and SLOWLOG show; `None` for all.
    pub visible_arguments: Option<usize>,
    /// True if other tasks have run since its last requests arrived; see `Pipeline::lets_others_subscribe`.
    pub has_let_others_run: bool,
    /// True while a script is executed.
    pub(super) is_in_script: bool,
    /// True if its reads are no uses of the pairs: CLIENT NO-TOUCH.
    pub(super) is_no_touch: bool,
    /// Replies that the client does not want.
    pub silence: Silence,
    /// True if pushes are sent in the line dialect: the client subscribed in it.
    pub(super) pushes_lines: bool,
}

/// Replies that a client does not want: CLIENT REPLY.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Silence {
    /// It wants all.
    #[default]
    None,
    /// It wants none to the request that has asked for that, nor to the next one.
    Skip,
    /// It wants none to the next request.
    Next,
    /// It wants none.
    All,
}

impl Silence {
    /// Notes that a request has been executed.
    pub fn end_request(&mut self) {
        *self = match self {
            Self::Skip => Self::Next,
            Self::Next | Self::None => Self::None,
            Self::All => Self::All,
        };
    }
}

/// State of a connection beyond the maximum number, which is reserved for administration: it executes only commands that touch no
/// pair and no channel.
#[derive(Debug, Clone, Copy)]
pub struct Reserved {
    /// Maximum number of other connections.
    pub connections_max: usize,
    /// True if it has executed a command.
    pub is_used: bool,
    /// True if a command was refused: it is to be closed.
    pub is_refused: bool,
}

impl Reserved {
    /// Makes the state of a new connection.
    #[must_use]
    pub fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            is_used: false,
            is_refused: false,
        }
    }

    /// Returns the error for a request of another kind.
    #[must_use]
    pub fn refusal(&self) -> ErrorReply {
        let message = format!(
            "there are {} connections already; try again later",
            self.connections_max
        );
        // Not the prefix of BUSY in RESP, LOADING: the data may be loaded.
        ErrorReply::new(ErrorCode::Busy, message).with_prefix("ERR")
    }
}

/// Requests between MULTI and EXEC.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) requests: Vec<QueuedRequest>,
    /// Length of their arguments, with 16 bytes for each.
    pub(super) bytes: usize,
    charge: Charge,
    /// Database of the next request: a SELECT among those that are queued counts from its place on.
    database: Database,
    /// True if a request was refused, so that EXEC executes none.
    pub(super) is_aborted: bool,
}

/// A request that is executed by EXEC.
#[derive(Debug)]
pub(super) struct QueuedRequest {
    pub(super) place: usize,
    pub(super) command: &'static Command,
    /// The verb as it was sent, and the arguments.
    pub(super) words: Vec<Box<[u8]>>,
}

impl Session {
    /// Makes the session of a client that has just connected.
    #[must_use]
    pub fn of(client: &Arc<Client>, identity: Identity) -> Self {
        client.queued.store(-1, Relaxed);
        client.database.store(0, Relaxed);
        client.resp.store(2, Relaxed);
        let mut session = Self {
            client: Some(Arc::clone(client)),
            ..Self::new(&client.account, identity.clone())
        };
        session.set_identity(identity);
        session
    }

    /// Makes a session without a client, such as that of an HTTP request, whose memory is charged to this account.
    #[must_use]
    pub fn new(account: &Arc<Account>, identity: Identity) -> Self {
        Self {
            account: Arc::clone(account),
            identity,
            client: None,
            database: Database::default(),
            reserved: None,
            transaction: None,
            watched: WatchedKeys::new(account),
            subscribed: account.charge(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shards: BTreeSet::new(),
            subscribed_bytes: 0,
            pattern_bytes: 0,
            following: Following::default(),
            tracking: None,
            deferred: Vec::new(),
            visible_arguments: None,
            has_let_others_run: false,
            is_in_script: false,
            is_no_touch: false,
            silence: Silence::None,
            pushes_lines: false,
        }
    }

    /// Returns the database whose keys the next request names.
    #[must_use]
    #[inline(always)]
    pub fn database(&self) -> Database {
        let transaction = self.transaction.as_ref();
        transaction.map_or(self.database, |transaction| transaction.database)
    }

    /// Returns true if any request may change the database: EXEC and DISCARD do, once a SELECT has been queued.
    #[must_use]
    #[inline(always)]
    pub fn may_change_database(&self) -> bool {
        self.database() != self.database
    }

    /// Changes the database; between MULTI and EXEC, that of the requests which are queued from now on.
    pub(super) fn select(&mut self, database: Database) {
        if let Some(transaction) = &mut self.transaction {
            transaction.database = database;
            return;
        }
        self.database = database;
        if let Some(client) = &self.client {
            client.database.store(database.number(), Relaxed);
        }
    }

    /// Sets the user whose permissions the requests have.
    pub fn set_identity(&mut self, identity: Identity) {
        if let Some(client) = &self.client {
            client.names_mut().user = identity.name().cloned().unwrap_or_default();
        }
        self.identity = identity;
    }

    /// Returns true if the user may still receive what the client has subscribed to, follows and monitors.
    pub fn may_receive(&mut self, service: &Service) -> bool {
        let Some(user) = self.identity.user(&service.users).cloned() else {
            return self.subscriptions() == 0 && self.following.is_empty();
        };
        let channels = self.channels.iter().chain(&self.shards);
        let channels = channels.map(|name| &**name);
        let patterns = self.patterns.iter().map(|text| &**text);
        user.permits_subscriptions(channels, patterns)
    }

    /// Converts changes of a followed prefix to a stream of pushes, and returns its dialect.
    pub fn pushes(&mut self, service: &Service, followed: Followed) -> (Stream, Dialect) {
        let place = service.commands.place_of(b"FOLLOW", Dialect::Line);
        let place = place.expect("a row of the table");
        let filter = self.identity.key_filter(&service.users, place);
        self.following.pushes(followed, filter)
    }

    /// Returns the dialect of pushes.
    #[must_use]
    pub fn outbox_dialect(&self) -> Dialect {
        if self.pushes_lines {
            Dialect::Line
        } else {
            self.resp()
        }
    }

    /// Returns the arguments that MONITOR and SLOWLOG may show.
    pub(super) fn visible<'w, W>(&self, arguments: &'w [W]) -> &'w [W] {
        let visible = self.visible_arguments.unwrap_or(usize::MAX);
        &arguments[..arguments.len().min(visible)]
    }

    /// Returns the number of all subscriptions.
    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }

    /// Returns the number of subscriptions that the confirmation of one tells: of shard channels, or of all others.
    pub(super) fn subscriptions_like(&self, event: Subscription) -> usize {
        match event {
            Subscription::ShardBegun | Subscription::ShardEnded => self.shards.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }

    /// Returns the subscribed channels of a space.
    pub(super) fn channels_of(&mut self, space: Space) -> &mut BTreeSet<Box<[u8]>> {
        match space {
            Space::Channels => &mut self.channels,
            Space::Shards => &mut self.shards,
        }
    }

    /// Returns true if a command is refused while the client is subscribed: in RESP2 its reply could not be told from a message.
    pub(super) fn blocks_while_subscribed(&self, command: &Command, dialect: Dialect) -> bool {
        let is_subscribed = self.subscriptions() > 0 || !self.following.is_empty();
        dialect == Dialect::Resp2 && is_subscribed && !command.has(Flag::SubscribedOk)
    }

    /// Ends the effect of CLIENT CACHING.
    pub(super) fn end_exception(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.is_exception = false;
        }
    }

    /// Ends CLIENT TRACKING.
    pub fn end_tracking(&mut self, service: &Service) {
        if let Some(tracking) = self.tracking.take() {
            service.notices.tracking.end(&tracking.tracker);
        }
    }

    /// Removes all subscriptions of the client.
    pub fn unsubscribe_all(&mut self, channels: &Channels) {
        let Some(client) = self.client.clone() else {
            return;
        };
        for space in [Space::Channels, Space::Shards] {
            for channel in std::mem::take(self.channels_of(space)) {
                channels.of(space).remove(&channel, &client);
            }
        }
        for pattern in std::mem::take(&mut self.patterns) {
            channels.patterns.remove(&pattern, &client);
        }
        self.subscribed_bytes = 0;
        self.pattern_bytes = 0;
        self.count_subscriptions();
    }

    /// Charges the memory of names that are about to be subscribed to, which is so many times their length.
    ///
    /// # Errors
    /// `FULL`.
    pub(super) fn reserve_subscriptions(
        &mut self,
        names: &Arguments<'_>,
        copies: usize,
    ) -> Result<(), ErrorReply> {
        let bytes = names
            .iter()
            .map(|name| copies * name.len() + PER_SUBSCRIPTION_BYTES);
        let more: usize = bytes.sum();
        Ok(self.subscribed.set(self.subscribed.bytes() + more)?)
    }

    /// Counts the subscriptions: for CLIENT LIST, and for their charge.
    pub(super) fn count_subscriptions(&mut self) {
        let channel_bytes = self.subscribed_bytes - self.pattern_bytes;
        let bytes = CHANNEL_COPIES * channel_bytes
            + PATTERN_COPIES * self.pattern_bytes
            + PER_SUBSCRIPTION_BYTES * self.subscriptions();
        self.subscribed.set_held(bytes);
        if let Some(client) = &self.client {
            let numbers = [&self.channels, &self.patterns, &self.shards].map(BTreeSet::len);
            for (shown, number) in client.subscriptions.iter().zip(numbers) {
                shown.store(number, Relaxed);
            }
        }
    }

    fn count_queued(&self) {
        if let Some(client) = &self.client {
            let queued = self.transaction.as_ref();
            let queued = queued.map_or(-1, |transaction| {
                transaction.requests.len().cast_signed() as i64
            });
            client.queued.store(queued, Relaxed);
            client.queued_bytes.store(self.queued_bytes(), Relaxed);
        }
    }

    /// Returns the version of RESP of its requests and replies in RESP.
    #[must_use]
    #[inline(always)]
    pub fn resp(&self) -> Dialect {
        let client = self.client.as_ref();
        if client.is_some_and(|client| client.resp.load(Relaxed) == 3) {
            Dialect::Resp3
        } else {
            Dialect::Resp2
        }
    }

    /// Begins a transaction. Returns false if there is one already, which continues.
    pub(super) fn begin_transaction(&mut self) -> bool {
        let is_first = self.transaction.is_none();
        self.transaction.get_or_insert_with(|| Transaction {
            requests: Vec::new(),
            bytes: 0,
            charge: self.account.charge(),
            database: self.database,
            is_aborted: false,
        });
        self.count_queued();
        is_first
    }

    /// Ends the transaction, if there is one, and returns it.
    pub(super) fn end_transaction(&mut self) -> Option<Transaction> {
        let transaction = self.transaction.take();
        self.count_queued();
        transaction
    }

    /// Returns true between MULTI and EXEC.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Returns the length of the requests that are queued until EXEC, in bytes.
    #[must_use]
    #[inline(always)]
    pub fn queued_bytes(&self) -> usize {
        let transaction = self.transaction.as_ref();
        transaction.map_or(0, |transaction| transaction.bytes)
    }

    /// Returns true if a request that changes pairs or publishes a message is queued.
    pub(super) fn queues_writes(&self) -> bool {
        let transaction = self.transaction.iter();
        let mut queued = transaction.flat_map(|transaction| &transaction.requests);
        let publish = Scope::Channels(ChannelUse::Publish);
        queued.any(|one| one.command.is_write() || one.command.scope == publish)
    }

    /// Returns true if a request for this command is queued until EXEC.
    pub(super) fn is_queueing(&self, command: &Command) -> bool {
        self.is_in_transaction() && !command.has(Flag::ImmediateInMulti)
    }

    /// Queues a request until EXEC.
    ///
    /// # Errors
    /// `ARGS` for a command that is not allowed in a transaction, `TOO_LARGE` if the queue is full, `FULL` if the server has no
    /// memory for it. Each aborts the transaction.
    pub(super) fn queue(
        &mut self,
        (place, command): (usize, &'static Command),
        (verb, arguments): (&[u8], &Arguments<'_>),
        replies: &mut dyn Replies,
    ) -> Result<(), ErrorReply> {
        if let Err(error) = check_transactional(command) {
            self.abort_transaction();
            return Err(error);
        }
        let Some(transaction) = &mut self.transaction else {
            unreachable!("a request is queued only between MULTI and EXEC");
        };
        let word_bytes = arguments
            .iter()
            .map(|word| word.len() + size_of::<Box<[u8]>>());
        let bytes = transaction.bytes + word_bytes.sum::<usize>();
        if transaction.requests.len() == QUEUED_REQUESTS_MAX || bytes > QUEUED_BYTES_MAX {
            self.abort_transaction();
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!(
                    "a transaction may have {QUEUED_REQUESTS_MAX} requests, and {QUEUED_BYTES_MAX} bytes of them"
                ),
            ));
        }
        let held = bytes + (transaction.requests.len() + 1) * size_of::<QueuedRequest>();
        if let Err(error) = transaction.charge.set(held) {
            self.abort_transaction();
            return Err(error.into());
        }
        transaction.bytes = bytes;
        let arguments = arguments.iter().map(|word| &**word);
        let words = std::iter::once(verb).chain(arguments).map(Into::into);
        let words: Vec<Box<[u8]>> = words.collect();
        transaction.requests.push(QueuedRequest {
            place,
            command,
            words,
        });
        self.count_queued();
        replies.reply(Reply::Queued);
        Ok(())
    }

    /// Handles the refusal of a request before its execution: aborts the transaction, if there is one; a refused EXEC ends it.
    /// Returns the error for the client.
    pub(super) fn note_refusal(
        &mut self,
        command: Option<&Command>,
        error: ErrorReply,
    ) -> ErrorReply {
        if command.is_some_and(|command| command.scope == Scope::Queued) {
            self.end_transaction();
            self.watched.clear();
            let message = format!("Transaction discarded because of: {}", error.message);
            return bad_argument(message).with_prefix("EXECABORT");
        }
        self.abort_transaction();
        error
    }

    /// Aborts the transaction, if there is one: EXEC will execute nothing.
    pub fn abort_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_aborted = true;
            transaction.requests = Vec::new();
            transaction.charge.set_held(0);
        }
    }
}

/// Checks that a command may be part of a transaction.
///
/// # Errors
/// `ARGS`: it may not.
pub(super) fn check_transactional(command: &Command) -> Result<(), ErrorReply> {
    if command.has(Flag::NotInMulti) {
        return Err(bad_argument("Command not allowed inside a transaction"));
    }
    Ok(())
}
