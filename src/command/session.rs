//! What the server remembers of one client from request to request.
//!
//! In: what its requests ask for. Out: the same, for the requests after. Promise: what waits for EXEC is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::channels::{Channels, leave};
use super::clients::Client;
use super::following::Following;
use super::glob::Pattern;
use super::refusals::bad_argument;
use super::replies::Replies;
use super::spec::Arguments;
use super::spec::{Command, Flag, Scope};
use crate::engine::MissingKeyWatch;
use crate::model::entry::Entry;
use crate::protocol::resp::REQUEST_BYTES_MAX;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

/// The most requests that wait for EXEC, and the most bytes of them: as many words, and as long, as one request may be.
pub const QUEUED_REQUESTS_MAX: usize = 1 << 20;
/// The most bytes of requests that wait for EXEC.
pub const QUEUED_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// One client's.
#[derive(Debug, Default)]
pub struct Session {
    /// The client, if it is one of the text port.
    pub(super) client: Option<Arc<Client>>,
    /// Whether it has asked for RESP3.
    pub(super) is_resp3: bool,
    transaction: Option<Transaction>,
    /// The keys that EXEC depends on, and what they were.
    pub(super) watched: WatchedKeys,
    /// The channels and the patterns that it listens to.
    pub(super) channels: BTreeSet<Box<[u8]>>,
    pub(super) patterns: BTreeSet<Box<[u8]>>,
    /// The prefixes that it follows.
    pub following: Following,
    /// The number of arguments that MONITOR and SLOWLOG show; all, if it is none.
    pub visible_arguments: Option<usize>,
    /// Whether what comes by itself comes as lines: it was asked for on one.
    pub(super) gets_lines: bool,
}

/// The watched keys, and the state of each when it was first watched.
pub(super) type WatchedKeys = BTreeMap<String, WatchedState>;

/// Requests that wait for EXEC.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) requests: Vec<QueuedRequest>,
    bytes: usize,
    /// Whether one of them was refused, so that none will be done.
    pub(super) is_aborted: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct QueuedRequest {
    pub(super) place: usize,
    pub(super) command: &'static Command,
    pub(super) words: Vec<Box<[u8]>>,
}

/// What a watched key was.
#[derive(Debug)]
pub(super) enum WatchedState {
    /// This entry; it is kept, so that no other can have its place in memory.
    There(Entry),
    /// Not there.
    Missing(MissingKeyWatch),
}

impl WatchedState {
    /// Whether nothing has happened to the key.
    pub(super) fn is_still(&self, now: Option<&Entry>) -> bool {
        match (self, now) {
            (Self::There(was), Some(now)) => was.is_same(now),
            (Self::Missing(absence), None) => !absence.has_appeared(),
            _ => false,
        }
    }
}

impl Session {
    /// That of a client that has just come.
    #[must_use]
    pub fn of(client: Arc<Client>) -> Self {
        client.queued.store(-1, Relaxed);
        client.resp.store(2, Relaxed);
        Self {
            client: Some(client),
            ..Self::default()
        }
    }

    /// The dialect of what comes by itself.
    #[must_use]
    pub fn outbox_dialect(&self) -> Dialect {
        if self.gets_lines {
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

    /// How many channels and patterns it listens to.
    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Whether a command is refused for now: an answer in RESP2 could not be told from a message.
    pub(super) fn blocks_while_subscribed(&self, command: &Command, dialect: Dialect) -> bool {
        let listens = self.subscriptions() > 0 || !self.following.is_empty();
        dialect == Dialect::Resp2 && listens && !command.has(Flag::SubscribedOk)
    }

    /// Removes all subscriptions of the client, which has gone.
    pub fn unsubscribe_all(&mut self, channels: &Channels) {
        let Some(client) = self.client.clone() else {
            return;
        };
        for channel in std::mem::take(&mut self.channels) {
            leave(&channels.channels, &channel, &client);
        }
        for pattern in std::mem::take(&mut self.patterns) {
            leave(&channels.patterns, &Pattern::new(&pattern), &client);
        }
        self.count_subscriptions();
    }

    /// Shows the number of its subscriptions to others.
    pub(super) fn count_subscriptions(&self) {
        if let Some(client) = &self.client {
            let (channels, patterns) = &client.subscriptions;
            channels.store(self.channels.len(), Relaxed);
            patterns.store(self.patterns.len(), Relaxed);
        }
    }

    fn count_queued(&self) {
        if let Some(client) = &self.client {
            let queued = self.transaction.as_ref();
            let queued = queued.map_or(-1, |transaction| {
                transaction.requests.len().cast_signed() as i64
            });
            client.queued.store(queued, Relaxed);
        }
    }

    /// The dialect of its requests that are not lines.
    #[must_use]
    pub fn resp(&self) -> Dialect {
        if self.is_resp3 {
            Dialect::Resp3
        } else {
            Dialect::Resp2
        }
    }

    /// Begins a transaction, unless there is one.
    pub(super) fn begin(&mut self) -> bool {
        let is_first = self.transaction.is_none();
        self.transaction.get_or_insert_default();
        self.count_queued();
        is_first
    }

    /// Ends the transaction, if there is one.
    pub(super) fn end(&mut self) -> Option<Transaction> {
        let transaction = self.transaction.take();
        self.count_queued();
        transaction
    }

    /// Whether requests wait for EXEC.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whether this request waits for EXEC.
    pub(super) fn is_queueing(&self, command: &Command) -> bool {
        self.is_in_transaction() && !command.has(Flag::ImmediateInMulti)
    }

    /// Lets a request wait for EXEC.
    pub(super) fn queue(
        &mut self,
        (place, command): (usize, &'static Command),
        words: &Arguments<'_>,
        replies: &mut dyn Replies,
    ) -> Result<(), ErrorReply> {
        if command.has(Flag::NotInMulti) {
            self.abort_transaction();
            return Err(bad_argument("Command not allowed inside a transaction"));
        }
        let transaction = self.transaction.get_or_insert_default();
        let words: Vec<Box<[u8]>> = words.iter().map(|word| (**word).into()).collect();
        let bytes: usize = words
            .iter()
            .map(|word| word.len() + size_of::<Box<[u8]>>())
            .sum();
        let is_full = transaction.requests.len() == QUEUED_REQUESTS_MAX
            || transaction.bytes + bytes > QUEUED_BYTES_MAX;
        if is_full {
            self.abort_transaction();
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!(
                    "a transaction may have {QUEUED_REQUESTS_MAX} requests, and {QUEUED_BYTES_MAX} bytes of them"
                ),
            ));
        }
        transaction.bytes += bytes;
        transaction.requests.push(QueuedRequest {
            place,
            command,
            words,
        });
        self.count_queued();
        replies.reply(Reply::Queued);
        Ok(())
    }

    /// A request was refused before it was done; what its client is told. A refused EXEC ends the transaction.
    pub(super) fn refused(&mut self, command: Option<&Command>, error: ErrorReply) -> ErrorReply {
        if command.is_some_and(|command| command.scope == Scope::Queued) {
            self.end();
            self.watched.clear();
            let message = format!("Transaction discarded because of: {}", error.message);
            return bad_argument(message).with_prefix("EXECABORT");
        }
        self.abort_transaction();
        error
    }

    /// A request of a transaction, if there is one, was refused.
    pub fn abort_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_aborted = true;
            transaction.requests = Vec::new();
        }
    }
}
