//! Requests that the cluster executes by its own commands.
//!
//! In: requests in the form that both have. Out: the cluster's replies, in the terms of ours. Promises: the requests of a client are sent
//! together, and answered in their order; those for different nodes do not wait for each other.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;

use crate::cluster::{Cluster, ClusterError, NodeReply, NodeResult, Requests, parsed};
use crate::command::call::show_to_monitors;
use crate::command::client_memory::Charge;
use crate::command::dispatch::Dispatcher;
use crate::command::lookup::CommandId;
use crate::command::observation::{self, Observed, Status};
use crate::command::permission;
use crate::command::prepare::{Prepared, RequestBatch};
use crate::command::reply_sink::Replies;
use crate::command::spec::{Arguments, Clustered, Command, NativeReply};
use crate::engine::COPIED_BYTES_MAX;
use crate::model::Value;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply, StoredPair};

use super::keys::keys_and_slot;

/// Requests of one client that are sent together.
#[derive(Debug, Default)]
pub struct Forwarded {
    requests: Requests,
    due: Vec<Due>,
}

/// A reply that is due.
#[derive(Debug)]
struct Due {
    dialect: Dialect,
    /// Number of its command or subcommand.
    id: usize,
    /// What the node's reply will mean, or why nothing was sent.
    meaning: Result<NativeReply, ErrorReply>,
    observed: Option<Box<Observed>>,
}

/// Bytes of requests that are sent together at most: then their replies are waited for.
const FORWARDED_BYTES_MAX: usize = 1 << 20;
/// Requests that are sent together at most, as each reply may be long.
const FORWARDED_MAX: usize = 1000;

impl Forwarded {
    /// Returns true if there is nothing to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Returns true if what has been added should be sent before more is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.requests.bytes() >= FORWARDED_BYTES_MAX || self.due.len() >= FORWARDED_MAX
    }
}

impl Dispatcher<'_> {
    /// Adds a request to those that are sent together, if the cluster can execute it by its own command. Returns false if not.
    pub fn forward(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        request: &Prepared,
        forwarded: &mut Forwarded,
    ) -> bool {
        let Some((place, command)) = batch.row(request).filter(|_| !request.is_malformed()) else {
            return false;
        };
        let arguments = batch.arguments(request);
        let Clustered::Native {
            name,
            reply,
            is_alike,
        } = command.clustered
        else {
            return false;
        };
        let is_plain = is_alike(arguments)
            && !self.session.is_in_transaction()
            && !self.session.blocks_while_subscribed(command, dialect)
            && (!command.takes_pairs() || arguments.len().is_multiple_of(2));
        if !is_plain {
            return false;
        }
        let Ok(Some((_, slot))) = keys_and_slot(command, arguments) else {
            return false;
        };
        let id = self.count_request(batch, request);
        if let Some(client) = &self.session.client {
            client.command.store(id + 1, Relaxed);
        }
        let verb = batch.verb(request, command);
        let observed = self.observe(id, (command, verb), arguments);
        let row = (place, command);
        let permitted = permission::check(self.service, self.session, row, arguments);
        if permitted.is_ok() {
            let words =
                std::iter::once(name.as_bytes()).chain(arguments.iter().map(|word| &**word));
            forwarded.requests.push(words, slot, command.is_write());
        }
        if self.service.clients.is_monitored() {
            show_to_monitors(self.service, self.session, command, verb, arguments);
        }
        forwarded.due.push(Due {
            dialect,
            id,
            meaning: permitted.map(|()| reply),
            observed,
        });
        true
    }

    /// Sends requests, and appends their replies.
    pub async fn complete(
        &mut self,
        cluster: &Arc<Cluster>,
        forwarded: &mut Forwarded,
        replies: &mut dyn Replies,
    ) {
        let Forwarded { requests, due } = std::mem::take(forwarded);
        let mut results = cluster.execute(&requests).await;
        let held = self.hold_replies(&requests, &mut results);
        let mut results = results.into_iter();
        for due in due {
            replies.set_dialect(due.dialect);
            let shown = match due.meaning {
                Err(error) => Err(error),
                Ok(meaning) => {
                    let result = results.next().expect("each request has a result");
                    self.show_native(meaning, result, replies)
                }
            };
            let status = shown.unwrap_or_else(|error| {
                let stats = &self.service.stats;
                stats.count_failure(due.id, observation::failure_of(&error));
                stats.count_errors(error.redis_prefix(), 1);
                replies.reply(Reply::Error(&error));
                Status::Refused(error.code)
            });
            if let Some(observed) = due.observed {
                observed.end(self.service, status);
            }
        }
        drop(held);
    }

    /// Begins to observe a request, if it is to be.
    pub(super) fn observe(
        &mut self,
        id: CommandId,
        row: (&'static Command, &[u8]),
        arguments: &Arguments<'_>,
    ) -> Option<Box<Observed>> {
        let (command, _) = row;
        observation::is_observed(self.service, command).then(|| {
            // It has its own time, not that of the requests with which it came.
            self.tally.uncount(id);
            self.service.stats.count(id);
            let visible = self.session.visible(arguments);
            let client = self.session.client.clone();
            Box::new(Observed::new(client, id, row, visible, Instant::now()))
        })
    }

    /// Charges replies to the client while they are held. If it holds too much, errors take the places of what was read.
    fn hold_replies(&self, requests: &Requests, results: &mut [NodeResult]) -> Charge {
        let replies = results.iter().flatten();
        let bytes: usize = replies.map(Bytes::len).sum();
        let mut charge = self.session.account.charge();
        if bytes > COPIED_BYTES_MAX && charge.set(bytes).is_err() {
            let full = "FULL the replies take more memory than there is for clients; ask for less at a time";
            for (request, result) in requests.all().iter().zip(results) {
                if request.is_write {
                    continue;
                }
                *result = Err(ClusterError::Refused(full.to_owned()));
            }
        }
        charge
    }

    /// Appends the reply of a node.
    ///
    /// # Errors
    /// That of the node, or why it has not answered.
    fn show_native(
        &mut self,
        meaning: NativeReply,
        result: NodeResult,
        replies: &mut dyn Replies,
    ) -> Result<Status, ErrorReply> {
        let reply = result?;
        let parsed = parsed(&reply)?;
        let mut status = Status::Ok;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        match (meaning, parsed) {
            (NativeReply::Ok, NodeReply::Status(_)) => replies.reply(Reply::Ok),
            (NativeReply::Stored, NodeReply::Status(_)) => {
                replies.reply(Reply::Stored(StoredPair {
                    is_new: false,
                    expires_at: None,
                }));
            }
            (NativeReply::Stored, NodeReply::Nil) => {
                status = Status::Unmet;
                replies.reply(Reply::Unchanged);
            }
            (NativeReply::Found, NodeReply::Bytes(bytes)) => {
                self.tally.read(true);
                replies.reply(found(bytes));
            }
            (NativeReply::Found, NodeReply::Nil) => {
                self.tally.read(false);
                status = Status::NotFound;
                replies.reply(Reply::NotFound);
            }
            (NativeReply::Value, NodeReply::Bytes(bytes)) => replies.reply(Reply::Value(bytes)),
            (NativeReply::Values, NodeReply::Array(values)) => {
                replies.reply(Reply::Array(values.len()));
                for value in values {
                    match value {
                        NodeReply::Bytes(bytes) => {
                            self.tally.read(true);
                            replies.reply(found(bytes));
                        }
                        _ => {
                            self.tally.read(false);
                            replies.reply(Reply::NotFound);
                        }
                    }
                }
            }
            (NativeReply::Deleted, NodeReply::Number(number)) => {
                if number == 0 {
                    status = Status::NotFound;
                }
                replies.reply(Reply::Count(count(number)));
            }
            (NativeReply::Count, NodeReply::Nil) => {
                status = Status::NotFound;
                replies.reply(Reply::NotFound);
            }
            (NativeReply::Count, NodeReply::Number(number)) => {
                replies.reply(Reply::Count(count(number)));
            }
            (NativeReply::Number, NodeReply::Number(number)) => {
                replies.reply(Reply::Number(number));
            }
            (NativeReply::Signed, NodeReply::Number(number)) => {
                replies.reply(Reply::Signed(number));
            }
            (NativeReply::Status, NodeReply::Status(word)) => replies.reply(Reply::Status(word)),
            (_, other) => {
                let message = format!("a node of the cluster has answered {other:?}");
                return Err(ErrorReply::new(ErrorCode::Internal, message));
            }
        }
        Ok(status)
    }
}

/// Returns the reply for the value of a key.
pub(super) fn found(bytes: &[u8]) -> Reply<'_> {
    // A value beyond our limit was stored by others.
    Value::parse(bytes).map_or(Reply::Value(bytes), Reply::Found)
}
