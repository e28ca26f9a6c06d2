//! Requests that are decided on copies of their pairs.
//!
//! In: a request, or those of a transaction. Out: the replies of their handlers. Promises: what a request reads is of one moment, and its
//! changes are made only if that is still so; else it is decided again. A handler does not know of it: it works on a transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, ClusterError, Fetched, Held, Swap, slot_of};
use crate::command::call::{Answer, Call, Outcome};
use crate::command::data::transaction;
use crate::command::dispatch::{Dispatcher, Executed};
use crate::command::long_work;
use crate::command::observation::{Observed, Status};
use crate::command::permission;
use crate::command::prepare::{Prepared, RequestBatch};
use crate::command::reply_sink::Replies;
use crate::command::session::check_transactional;
use crate::command::spec::Command;
use crate::command::table::COMMANDS;
use crate::engine::{FetchedPairs, WriteTransaction};
use crate::model::entry::Entry;
use crate::model::{Key, Value};
use crate::protocol::{Dialect, ErrorReply};

use super::keys::{self, keys_and_slot, one_slot};

/// Number of decisions on pairs that others change meanwhile, after which a request pauses between them.
const DECISIONS_AT_ONCE: u32 = 3;
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Watched keys, with the entries of those that existed.
type WatchedEntries = BTreeMap<Box<[u8]>, Option<Entry>>;
/// Bytes of work for which a pair counts in a decision.
const PAIR_WORK_BYTES: usize = 1 << 10;

/// What a decision has come to.
struct Decided {
    answer: Answer,
    status: Status,
    pairs: FetchedPairs,
}

impl Dispatcher<'_> {
    /// Executes a request on copies of the pairs of its keys.
    pub(super) async fn emulate(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        request: &Prepared,
        replies: &mut dyn Replies,
    ) -> Executed {
        let mut observed = None;
        let done = match self.admit(dialect, batch, request) {
            Ok((place, command)) => {
                let arguments = batch.arguments(request);
                let id = self.service.commands.id_of(place, arguments);
                observed = self.observe(id, (command, batch.verb(request, command)), arguments);
                let row = (place, command);
                let permitted = permission::check(self.service, self.session, row, arguments);
                let keys = permitted.and_then(|()| keys_and_slot(command, arguments));
                match keys {
                    Err(error) if self.splits(command, &error) => {
                        self.split(command, arguments, replies).await
                    }
                    Err(error) => Err(self.note_refusal(batch, request, error)),
                    Ok(keys) => {
                        let keys = keys.map_or_else(Vec::new, |(keys, _)| keys);
                        let keys: BTreeSet<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
                        let verb = batch.verb(request, command);
                        let mut decide =
                            |this: &mut Dispatcher<'_>, pairs, replies: &mut dyn Replies| {
                                this.decide(dialect, pairs, replies, (place, verb), &mut |call| {
                                    call.perform(arguments)
                                })
                            };
                        self.decide_until_made(&keys, &WatchedEntries::new(), replies, &mut decide)
                            .await
                    }
                }
            }
            Err(error) => Err(self.note_refusal(batch, request, error)),
        };
        self.end_observed(observed, &done);
        self.executed(batch, request, done, replies)
    }

    fn end_observed(
        &self,
        observed: Option<Box<Observed>>,
        done: &Result<(Outcome, Status), ErrorReply>,
    ) {
        if let Some(observed) = observed {
            let refused = |error: &ErrorReply| Status::Refused(error.code);
            let status = done.as_ref().map_or_else(refused, |(_, status)| *status);
            observed.end(self.service, status);
        }
    }

    /// Executes EXEC.
    pub(super) async fn emulate_queued(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        request: &Prepared,
        replies: &mut dyn Replies,
    ) -> Executed {
        let mut observed = None;
        let done = match self.admit(dialect, batch, request) {
            Ok((place, command)) => {
                let verb = batch.verb(request, command);
                observed = self.observe(place, (command, verb), &[]);
                self.execute_queued(dialect, (place, verb), replies).await
            }
            Err(error) => Err(self.note_refusal(batch, request, error)),
        };
        self.end_observed(observed, &done);
        self.executed(batch, request, done, replies)
    }

    async fn execute_queued(
        &mut self,
        dialect: Dialect,
        row: (usize, &[u8]),
        replies: &mut dyn Replies,
    ) -> Result<(Outcome, Status), ErrorReply> {
        let taken = transaction::take_queued(self.session)?;
        let requests = taken.requests();
        let watched = taken.watched_entries();
        let named = requests
            .iter()
            .flat_map(|one| one.command.keys(&one.arguments));
        let valid = named.filter(|word| Key::parse(word).is_ok());
        let keys: BTreeSet<&[u8]> = valid.chain(watched.keys().map(|key| &**key)).collect();
        one_slot(keys.iter().copied())?;
        let mut decide = |this: &mut Dispatcher<'_>, pairs, replies: &mut dyn Replies| {
            this.decide(dialect, pairs, replies, row, &mut |call| {
                taken.execute_on_copies(call, &requests)
            })
        };
        self.decide_until_made(&keys, &watched, replies, &mut decide)
            .await
    }

    /// Executes requests as one transaction, up to the first that is refused: as [`Dispatcher::execute_all`].
    pub async fn emulate_all(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        requests: &[Prepared],
        is_too_long: impl Fn(usize) -> Option<ErrorReply> + Sync,
        replies: &mut dyn Replies,
    ) -> Executed {
        let done = self
            .try_emulate_all(dialect, batch, requests, &is_too_long, replies)
            .await;
        self.executed_all(done, replies)
    }

    async fn try_emulate_all(
        &mut self,
        dialect: Dialect,
        batch: &RequestBatch<'_>,
        requests: &[Prepared],
        is_too_long: &(dyn Fn(usize) -> Option<ErrorReply> + Sync),
        replies: &mut dyn Replies,
    ) -> Result<(Outcome, Status), ErrorReply> {
        let check = |command: &Command| {
            check_transactional(command)?;
            keys::check_transactional(command)
        };
        let admitted = self.admit_all(dialect, batch, requests, check)?;
        let named = admitted
            .iter()
            .flat_map(|one| one.command.keys(&one.arguments));
        let keys: BTreeSet<&[u8]> = named.filter(|word| Key::parse(word).is_ok()).collect();
        one_slot(keys.iter().copied())?;
        let exec = COMMANDS
            .place_of(b"EXEC", dialect)
            .expect("a row of the table");
        let mut decide = |this: &mut Dispatcher<'_>, pairs, replies: &mut dyn Replies| {
            this.decide(dialect, pairs, replies, (exec, b"EXEC"), &mut |call| {
                transaction::execute_all_on_copies(call, &admitted, is_too_long)
            })
        };
        self.decide_until_made(&keys, &WatchedEntries::new(), replies, &mut decide)
            .await
    }

    /// Runs handlers on copies of pairs.
    fn decide(
        &mut self,
        dialect: Dialect,
        pairs: FetchedPairs,
        replies: &mut dyn Replies,
        row: (usize, &[u8]),
        perform: &mut dyn FnMut(&mut Call<'_, '_>) -> Answer,
    ) -> Decided {
        let mut copies = WriteTransaction::on_fetched(pairs);
        let mut call = Call {
            transaction: Some(&mut copies),
            is_observed_here: false,
            ..self.call(dialect, row, replies)
        };
        let answer = perform(&mut call);
        let status = call.status;
        Decided {
            answer,
            status,
            pairs: copies.into_fetched(),
        }
    }

    /// Fetches pairs and decides on them, until the changes are made or there is no more time. Pairs that are still those of `known` are
    /// the same entries.
    async fn decide_until_made(
        &mut self,
        keys: &BTreeSet<&[u8]>,
        known: &WatchedEntries,
        replies: &mut dyn Replies,
        decide: &mut (
                 dyn FnMut(&mut Dispatcher<'_>, FetchedPairs, &mut dyn Replies) -> Decided + Send
             ),
    ) -> Result<(Outcome, Status), ErrorReply> {
        let cluster = Arc::clone(self.service.cluster().expect("it has the data"));
        let deadline = cluster.deadline();
        let keys: Vec<&[u8]> = keys.iter().copied().collect();
        let start = replies.bytes();
        let mut decisions = 0;
        loop {
            let pairs = fetch(&cluster, deadline, &keys, known).await?;
            let work_bytes = PAIR_WORK_BYTES * keys.len();
            let decided = long_work::execute(work_bytes, || decide(self, pairs, replies));
            let Decided {
                answer,
                status,
                pairs,
            } = decided;
            let outcome = answer?;
            let made = make(&cluster, deadline, &pairs).await;
            match made {
                Ok(true) => return Ok((outcome, status)),
                Ok(false) if Instant::now() < deadline => {}
                Ok(false) => {
                    replies.truncate(start);
                    let reason = "others have changed the same keys again and again".to_owned();
                    return Err(ClusterError::Unavailable(reason).into());
                }
                Err(error) => {
                    replies.truncate(start);
                    return Err(error.into());
                }
            }
            replies.truncate(start);
            decisions += 1;
            if decisions > DECISIONS_AT_ONCE {
                // At random, so that those who collide do so ever more rarely.
                let most = PAUSE_MAX.min(Duration::from_micros(200) * decisions);
                sleep(most.mul_f64(fastrand::f64())).await;
            }
        }
    }
}

/// Reads pairs.
async fn fetch(
    cluster: &Cluster,
    deadline: Instant,
    keys: &[&[u8]],
    known: &WatchedEntries,
) -> Result<FetchedPairs, ErrorReply> {
    let found = cluster.fetch_until(deadline, keys).await?;
    let mut pairs = FetchedPairs::default();
    for (key, found) in keys.iter().zip(found) {
        let mut entry = found.map(|found| entry_of(key, &found)).transpose()?;
        if let (Some(Some(old)), Some(new)) = (known.get(*key), &entry)
            && old.value() == new.value()
        {
            entry = Some(old.clone());
        }
        pairs.add(key, entry);
    }
    Ok(pairs)
}

fn entry_of(key: &[u8], found: &Fetched) -> Result<Entry, ErrorReply> {
    let value = Value::with_expiry(&found.value, found.expires_at)?;
    Ok(Entry::new(Key::parse(key)?, value))
}

/// Makes the changes of pairs, if all are what they were. Returns whether they are.
async fn make(
    cluster: &Cluster,
    deadline: Instant,
    pairs: &FetchedPairs,
) -> Result<bool, ClusterError> {
    fn held(entry: &Entry) -> Held<'_> {
        (entry.value_bytes(), entry.expires_at())
    }
    let swaps: Vec<Swap<'_>> = pairs
        .changes()
        .map(|(key, before, after)| Swap {
            key,
            before: before.map(held),
            after: after.map(|after| after.map(held)),
        })
        .collect();
    if swaps.iter().all(|swap| swap.after.is_none()) {
        return Ok(true);
    }
    debug_assert!(
        swaps
            .iter()
            .all(|swap| slot_of(swap.key) == slot_of(swaps[0].key))
    );
    cluster.swap(deadline, &swaps).await
}
