//! Transactions: MULTI, EXEC, and WATCH for optimistic locking.
//!
//! In: requests, queued in the session or passed by an interface. Out: their replies as one array. Promises: the requests are
//! isolated from those of other clients and are one record of the journal, so that a crash leaves all or none of them; they are
//! not executed if a watched key has changed.
//! Source: <https://redis.io/docs/latest/develop/using-commands/transactions/>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use std::sync::Arc;

use crate::command::call::{Answer, Arguments, Call, Outcome, keys_of};
use crate::command::limits::KEYS_PER_REQUEST_MAX;
use crate::command::long_work;
use crate::command::observation::{self, Status};
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::session::{QUEUED_BYTES_MAX, QueuedRequest, Session, Transaction};
use crate::command::spec::{Access, Command, Flag, Group, KeyFlag, KeySpec, Scope};
use crate::command::watched_keys::{KeyState, WatchedKeys};
use crate::engine::{Engine, WriteTransaction};
use crate::model::entry::Entry;
use crate::model::{Key, StoppedClock};
use crate::protocol::{ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::connection("MULTI", "", 0..=0, multi)
        .group(Group::Transactions)
        .flags(&[Flag::LoadingOk, Flag::ImmediateInMulti])
        .example("MULTI")
        .summary("Begin a transaction: the requests that follow are queued until EXEC."),
    Row::write("EXEC", "", 0..=0, exec)
        .group(Group::Transactions)
        .on(Scope::Queued)
        .flags(&[Flag::ImmediateInMulti])
        .example("EXEC")
        .summary("Execute all queued requests as one, or none if a watched key has changed."),
    Row::connection("DISCARD", "", 0..=0, discard)
        .group(Group::Transactions)
        .flags(&[Flag::LoadingOk, Flag::ImmediateInMulti])
        .example("DISCARD")
        .summary("Discard the queued requests, and unwatch all keys."),
    Row::read(
        "WATCH",
        "<key> [<key> ...]",
        1..=KEYS_PER_REQUEST_MAX,
        watch,
    )
    .group(Group::Transactions)
    .on_keys(&[KeySpec::all(&[KeyFlag::ReadOnly])])
    .flags(&[Flag::Looks, Flag::ImmediateInMulti])
    .example("WATCH stock")
    .summary("Watch keys: the next EXEC does nothing if one of them changes before."),
    Row::connection("UNWATCH", "", 0..=0, unwatch)
        .group(Group::Transactions)
        .flags(&[Flag::LoadingOk])
        .example("UNWATCH")
        .summary("Unwatch all keys."),
];

fn multi(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    if call.session.begin_transaction() {
        call.done(Reply::Ok)
    } else {
        Err(bad_argument("MULTI calls can not be nested"))
    }
}

fn discard(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let transaction = call.session.end_transaction();
    transaction.ok_or_else(|| bad_argument("DISCARD without MULTI"))?;
    call.session.end_exception();
    unwatch_all(call);
    call.done(Reply::Ok)
}

/// Number of watched keys that are looked up under the same locks.
const WATCHED_AT_ONCE: usize = 1_000;

fn watch(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if call.session.is_in_transaction() {
        return Err(bad_argument("WATCH inside MULTI is not allowed"));
    }
    let keys = keys_of(words)?;
    let watched = &mut call.session.watched;
    if watched.len() + keys.len() > KEYS_PER_REQUEST_MAX {
        return Err(bad_argument(format!(
            "more than {KEYS_PER_REQUEST_MAX} keys are watched; UNWATCH forgets them"
        )));
    }
    watched.reserve(keys.iter().map(|key| key.as_bytes()))?;
    for keys in keys.chunks(WATCHED_AT_ONCE) {
        let found = call.change(keys, |transaction| {
            let found = keys.iter().map(|key| match transaction.get(*key) {
                Some(entry) => (Arc::from(key.as_bytes()), KeyState::Existing(entry)),
                None => {
                    let watch = transaction.watch_missing_key(*key);
                    (Arc::clone(watch.key()), KeyState::Missing(watch))
                }
            });
            Ok(found.collect::<Vec<_>>())
        })?;
        call.session.watched.add(found);
    }
    call.done(Reply::Ok)
}

fn unwatch_all(call: &mut Call<'_, '_>) {
    let unwatched = WatchedKeys::new(&call.session.account);
    let watched = std::mem::replace(&mut call.session.watched, unwatched);
    long_work::execute(REQUEST_WORK_BYTES * watched.len(), || drop(watched));
}

fn unwatch(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    unwatch_all(call);
    call.done(Reply::Ok)
}

/// Maximum length of the replies of a transaction in bytes: they are collected in memory, under the locks of all its keys.
pub const REPLY_BYTES_MAX: usize = QUEUED_BYTES_MAX;

/// Returns the error `TOO_LARGE` for replies of that many bytes, if they are over [`REPLY_BYTES_MAX`].
pub(in crate::command) fn long_reply(bytes: usize) -> Option<ErrorReply> {
    (bytes > REPLY_BYTES_MAX).then(|| {
        ErrorReply::new(
            ErrorCode::TooLarge,
            format!(
                "the answer to a transaction may have {REPLY_BYTES_MAX} bytes; nothing was changed"
            ),
        )
    })
}

/// Number of bytes of work for which a request of a transaction counts, or a watched key, whatever its length.
const REQUEST_WORK_BYTES: usize = 1 << 10;

fn exec(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let Queued {
        transaction,
        watched,
    } = take_queued(call.session)?;
    let work_bytes =
        transaction.bytes + REQUEST_WORK_BYTES * (transaction.requests.len() + watched.len());
    long_work::execute(work_bytes, move || {
        let executed = execute_queued(call, &transaction, &watched);
        call.session.end_exception();
        executed
    })
}

/// Queued requests and watched keys of a session, which EXEC has taken.
pub(in crate::command) struct Queued {
    transaction: Transaction,
    watched: WatchedKeys,
}

/// Ends the transaction of a session, and unwatches its keys.
///
/// # Errors
/// `ARGS`, if there is none, or it was aborted.
pub(in crate::command) fn take_queued(session: &mut Session) -> Result<Queued, ErrorReply> {
    let transaction = session.end_transaction();
    let transaction = transaction.ok_or_else(|| bad_argument("EXEC without MULTI"))?;
    let unwatched = WatchedKeys::new(&session.account);
    let watched = std::mem::replace(&mut session.watched, unwatched);
    if transaction.is_aborted {
        let error = bad_argument("Transaction discarded because of previous errors.");
        return Err(error.with_prefix("EXECABORT"));
    }
    Ok(Queued {
        transaction,
        watched,
    })
}

impl Queued {
    /// Returns the requests.
    pub fn requests(&self) -> Vec<TransactionRequest<'_>> {
        let requests = self.transaction.requests.iter();
        requests.map(TransactionRequest::from).collect()
    }

    /// Returns the watched keys, with the entries of those that existed.
    pub fn watched_entries(&self) -> BTreeMap<Box<[u8]>, Option<Entry>> {
        let entries = self.watched.entries();
        entries.map(|(key, entry)| (key.into(), entry)).collect()
    }

    /// Executes the requests on the copies of pairs of a call, unless a watched key has changed.
    ///
    /// # Errors
    /// Those of [`execute_watched`].
    pub fn execute_on_copies(
        &self,
        call: &mut Call<'_, '_>,
        requests: &[TransactionRequest<'_>],
    ) -> Answer {
        let copies = call.transaction.take().expect("the call is on copies");
        if self.watched.have_changed(|key| entry_in(copies, key)) {
            call.status = Status::Unmet;
            return call.done(Reply::NoArray);
        }
        let start = call.replies.bytes();
        call.replies.reply(Reply::Array(requests.len()));
        let long_reply = |bytes| long_reply(bytes - start);
        let outcome = execute_under(copies, call, requests, &long_reply, OnError::Continue);
        if outcome.is_err() {
            call.replies.truncate(start);
        }
        outcome
    }
}

/// Executes requests on the copies of pairs of a call, up to the first that is refused.
///
/// # Errors
/// As [`execute`].
pub(in crate::command) fn execute_all_on_copies(
    call: &mut Call<'_, '_>,
    requests: &[TransactionRequest<'_>],
    is_too_long: &dyn Fn(usize) -> Option<ErrorReply>,
) -> Answer {
    let copies = call.transaction.take().expect("the call is on copies");
    let start = call.replies.bytes();
    let is_too_long = |bytes| is_too_long(bytes - start);
    let outcome = execute_under(copies, call, requests, &is_too_long, OnError::Stop);
    if outcome.is_err() {
        call.replies.truncate(start);
    }
    outcome
}

/// Returns the entry of a watched key.
fn entry_in(transaction: &mut WriteTransaction<'_>, key: &[u8]) -> Option<Entry> {
    let key = Key::parse(key).expect("it was a key when it was watched");
    transaction.get(key)
}

fn execute_queued(
    call: &mut Call<'_, '_>,
    transaction: &Transaction,
    watched: &WatchedKeys,
) -> Answer {
    let requests = transaction.requests.iter().map(TransactionRequest::from);
    let requests: Vec<TransactionRequest<'_>> = requests.collect();
    let executed = within_cap(call, &requests, |call| {
        execute_watched(call, &requests, watched)
    });
    executed.map_err(|error| {
        if error.code != ErrorCode::Full || !call.dialect.is_resp() {
            return error;
        }
        let message = format!("Transaction discarded because of: OOM {}", error.message);
        ErrorReply::new(ErrorCode::Full, message).with_prefix("EXECABORT")
    })
}

/// Executes requests once there is room for what they store, if there is a cap on memory.
fn within_cap<R>(
    call: &mut Call<'_, '_>,
    requests: &[TransactionRequest<'_>],
    execute: impl Fn(&mut Call<'_, '_>) -> Result<R, ErrorReply>,
) -> Result<R, ErrorReply> {
    let rooms = requests.iter();
    let rooms = rooms.map(|one| one.command.room_bytes(&one.arguments));
    let room_bytes = rooms.sum();
    if room_bytes == 0 || !call.is_within_cap() {
        return execute(call);
    }
    // What others have seen, such as a message, cannot be taken back: such a transaction is executed once, whatever it needs.
    let acts_on_data = |access| matches!(access, Access::Read | Access::Write);
    if requests.iter().any(|one| !acts_on_data(one.command.access)) {
        call.make_room(room_bytes)?;
        return execute(call);
    }
    call.within_cap(room_bytes, execute)
}

/// Executes queued requests, unless a watched key has changed.
fn execute_watched(
    call: &mut Call<'_, '_>,
    requests: &[TransactionRequest<'_>],
    watched: &WatchedKeys,
) -> Answer {
    let mut locks = lock(call.engine()?, requests, watched.keys());
    call.barrier.raise(locks.seen());
    if watched.have_changed(|key| entry_in(&mut locks, key)) {
        call.status = Status::Unmet;
        return call.done(Reply::NoArray);
    }
    let start = call.replies.bytes();
    call.replies.reply(Reply::Array(requests.len()));
    let long_reply = |bytes| long_reply(bytes - start);
    let outcome = execute_under(&mut locks, call, requests, &long_reply, OnError::Continue);
    finish(call, locks, start, outcome)
}

/// A request of a transaction.
pub(in crate::command) struct TransactionRequest<'a> {
    pub place: usize,
    pub command: &'static Command,
    /// Name of the command, as it was sent.
    pub verb: &'a [u8],
    pub arguments: Cow<'a, Arguments<'a>>,
}

impl<'a> From<&'a QueuedRequest> for TransactionRequest<'a> {
    fn from(queued: &'a QueuedRequest) -> Self {
        let mut words = queued.words.iter().map(|word| &**word);
        Self {
            place: queued.place,
            command: queued.command,
            verb: words.next().unwrap_or_default(),
            arguments: Cow::Owned(words.map(Cow::Borrowed).collect()),
        }
    }
}

/// Executes requests as one transaction, up to the first that is refused.
///
/// # Errors
/// The error of the refused request, or of `is_too_long`; `DISK` while the disk refuses changes, `TOO_LARGE` if the changes are too
/// long for one record of the journal, `BUSY` while the data is being loaded. Nothing changes then.
pub(in crate::command) fn execute(
    call: &mut Call<'_, '_>,
    requests: &[TransactionRequest<'_>],
    is_too_long: impl Fn(usize) -> Option<ErrorReply>,
) -> Result<(), ErrorReply> {
    let engine = call.engine()?;
    long_work::execute(REQUEST_WORK_BYTES * requests.len(), || {
        within_cap(call, requests, |call| {
            let mut locks = lock(engine, requests, std::iter::empty());
            call.barrier.raise(locks.seen());
            let start = call.replies.bytes();
            let is_too_long = |bytes| is_too_long(bytes - start);
            let outcome = execute_under(&mut locks, call, requests, &is_too_long, OnError::Stop);
            finish(call, locks, start, outcome).map(drop)
        })
    })
}

/// Locks the shards of all keys of the requests and of the watched keys, or all shards if a request may access any key.
fn lock<'e, 'k>(
    engine: &'e Engine,
    requests: &'k [TransactionRequest<'_>],
    watched: impl Iterator<Item = &'k [u8]>,
) -> WriteTransaction<'e> {
    if requests.iter().any(|one| one.command.accesses_any_key()) {
        return engine.begin_on_all();
    }
    let named = requests
        .iter()
        .flat_map(|one| one.command.keys(&one.arguments));
    // An argument that is not a valid key is refused by its command.
    let keys: Vec<Key<'_>> = named
        .chain(watched)
        .filter_map(|word| Key::parse(word).ok())
        .collect();
    engine.begin(&keys)
}

/// Handling of a refused request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    /// Its error is its reply, and the next request is executed.
    Continue,
    /// Its error is that of the transaction.
    Stop,
}

/// Executes the requests under the locks of a transaction, at one time, and appends their replies.
fn execute_under(
    locks: &mut WriteTransaction<'_>,
    call: &mut Call<'_, '_>,
    requests: &[TransactionRequest<'_>],
    is_too_long: &dyn Fn(usize) -> Option<ErrorReply>,
    on_error: OnError,
) -> Answer {
    let _clock = StoppedClock::stop();
    let mut outcome = Outcome::Done;
    let mut reports_change = false;
    for request in requests {
        let row = (request.place, request.command, request.verb);
        let mut inner = call.part(locks, row, None);
        let answer = inner.perform(&request.arguments);
        let is_refused_by_data = inner.is_refused_by_data;
        reports_change |= (inner.reports_change && answer.is_ok()) || is_refused_by_data;
        match answer {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Close) => outcome = Outcome::Close,
            Ok(Outcome::Stream(_)) => unreachable!("what streams is not allowed in a transaction"),
            Err(error) if on_error == OnError::Stop => {
                call.is_refused_by_data = is_refused_by_data;
                return Err(error);
            }
            Err(error) => {
                let (commands, stats) = (call.service.commands, &call.service.stats);
                let id = commands.id_of(request.place, &request.arguments);
                stats.count_failure(id, observation::failure_of(&error));
                stats.count_errors(error.redis_prefix(), 1);
                call.replies.reply(Reply::Error(&error));
            }
        }
        let excess = locks.check_size().err().map(ErrorReply::from);
        if let Some(error) = excess.or_else(|| is_too_long(call.replies.bytes())) {
            return Err(error);
        }
    }
    call.reports_change = reports_change;
    Ok(outcome)
}

/// Commits the changes of the requests, or of a script. On an error, their own or that of the commit, removes their replies and drops the changes.
pub(in crate::command) fn finish(
    call: &mut Call<'_, '_>,
    locks: WriteTransaction<'_>,
    start: usize,
    outcome: Answer,
) -> Answer {
    let deferred = std::mem::take(&mut call.session.deferred);
    let outcome = outcome.and_then(|outcome| {
        call.check_room(&locks)?;
        let (notices, by) = (&call.service.notices, call.client_id());
        locks.commit(call.barrier, |changes| {
            notices.invalidate(changes, by);
            notices.send(deferred);
        })?;
        Ok(outcome)
    });
    if outcome.is_err() {
        call.replies.truncate(start);
        call.reports_change = false;
    }
    outcome
}
