//! Requests on keys of several slots, as one request for each slot: where `--split-multi-key` allows it.
//!
//! In: MGET, MSET, DEL and their relatives. Out: one reply. Promise: it says what all parts together have done; they are not one, so that
//! others may see, and a failure may leave, a part of them.

use std::collections::BTreeMap;

use crate::cluster::{ClusterError, NodeReply, Requests, parsed, slot_of};
use crate::command::call::Outcome;
use crate::command::dispatch::Dispatcher;
use crate::command::observation::Status;
use crate::command::reply_sink::Replies;
use crate::command::spec::{Arguments, Clustered, Command, Flag, NativeReply};
use crate::protocol::{ErrorCode, ErrorReply, Reply};

use super::native::found;

impl Dispatcher<'_> {
    /// Returns true if a request with this error is to be split.
    pub(super) fn splits(&self, command: &Command, error: &ErrorReply) -> bool {
        let is_splittable = matches!(
            command.clustered,
            Clustered::Native {
                reply: NativeReply::Values
                    | NativeReply::Deleted
                    | NativeReply::Count
                    | NativeReply::Ok,
                ..
            }
        );
        error.code == ErrorCode::CrossSlot
            && is_splittable
            && command.is_timed()
            // MSETNX stores all or none.
            && !(command.has(Flag::GrowsMemory) && command.clustered.has_count())
            && self.service.setup.config.get("split-multi-key")
    }

    /// Executes a request on keys of several slots.
    pub(super) async fn split(
        &mut self,
        command: &'static Command,
        arguments: &Arguments<'_>,
        replies: &mut dyn Replies,
    ) -> Result<(Outcome, Status), ErrorReply> {
        let Clustered::Native { name, reply, .. } = command.clustered else {
            unreachable!("only what a cluster has itself is split");
        };
        let step = if command.takes_pairs() { 2 } else { 1 };
        let mut parts: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (place, chunk) in arguments.chunks(step).enumerate() {
            parts.entry(slot_of(&chunk[0])).or_default().push(place);
        }
        let mut requests = Requests::default();
        for (slot, places) in &parts {
            let words = places
                .iter()
                .flat_map(|place| &arguments[place * step..(place + 1) * step]);
            let words = std::iter::once(name.as_bytes()).chain(words.map(|word| &**word));
            requests.push(words, *slot, command.is_write());
        }
        let cluster = self.service.cluster().expect("it has the data");
        let results = cluster.execute(&requests).await;
        let results = if command.is_write() {
            ClusterError::all(results)?
        } else {
            results.into_iter().collect::<Result<Vec<_>, _>>()?
        };
        let mut sum = 0;
        let mut values: Vec<Option<&[u8]>> = vec![None; arguments.len()];
        for (places, result) in parts.values().zip(&results) {
            match parsed(result)? {
                NodeReply::Number(number) => sum += u64::try_from(number).unwrap_or(0),
                NodeReply::Array(found) => {
                    for (place, found) in places.iter().zip(found) {
                        if let NodeReply::Bytes(value) = found {
                            values[*place] = Some(value);
                        }
                    }
                }
                _ => {}
            }
        }
        match reply {
            NativeReply::Values => {
                replies.reply(Reply::Array(values.len()));
                for value in values {
                    self.tally.read(value.is_some());
                    replies.reply(value.map_or(Reply::NotFound, found));
                }
            }
            NativeReply::Ok => replies.reply(Reply::Ok),
            _ => replies.reply(Reply::Count(sum)),
        }
        let is_vain = reply == NativeReply::Deleted && sum == 0;
        let status = if is_vain {
            Status::NotFound
        } else {
            Status::Ok
        };
        Ok((Outcome::Done, status))
    }
}
