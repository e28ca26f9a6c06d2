//! Several requests as one: MULTI ... EXEC, and WATCH for what they depend on.
//!
//! In: requests, queued in the session or collected by a door. Out: their replies as one array. Promises: the requests are isolated
//! from those of others and are one record of the journal, so that no crash leaves a part of them; they are not executed if a
//! watched key has changed.
//! Source: <https://redis.io/docs/latest/develop/using-commands/transactions/>.

use std::borrow::Cow;

use crate::command::call::{Answer, Arguments, Call, Outcome, keys_of};
use crate::command::limits::KEYS_PER_REQUEST_MAX;
use crate::command::observation::Status;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::session::{QUEUED_BYTES_MAX, QueuedRequest, WatchedKeys, WatchedState};
use crate::command::spec::{Command, Flag, Group, KeyFlag, KeySpec, Scope};
use crate::engine::{Engine, WriteTransaction};
use crate::model::Key;
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
    .flags(&[Flag::ImmediateInMulti])
    .example("WATCH stock")
    .summary("Watch keys: the next EXEC does nothing if one of them changes before."),
    Row::connection("UNWATCH", "", 0..=0, unwatch)
        .group(Group::Transactions)
        .flags(&[Flag::LoadingOk])
        .example("UNWATCH")
        .summary("Unwatch all keys."),
];

fn multi(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    if call.session.begin() {
        call.done(Reply::Ok)
    } else {
        Err(bad_argument("MULTI calls can not be nested"))
    }
}

fn discard(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let transaction = call.session.end();
    transaction.ok_or_else(|| bad_argument("DISCARD without MULTI"))?;
    call.session.watched.clear();
    call.done(Reply::Ok)
}

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
    let found = call.change(&keys, |transaction| {
        let found = keys.iter().map(|key| {
            let was = match transaction.get(*key) {
                Some(entry) => WatchedState::Existing(entry),
                None => WatchedState::Missing(transaction.watch_missing_key(*key)),
            };
            (key.as_str().to_owned(), was)
        });
        Ok(found.collect::<Vec<_>>())
    })?;
    for (key, was) in found {
        // One that is watched already keeps what it was when that began: if it has changed since, that is not forgotten.
        call.session.watched.entry(key).or_insert(was);
    }
    call.done(Reply::Ok)
}

fn unwatch(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    call.session.watched.clear();
    call.done(Reply::Ok)
}

/// The most bytes of the replies of a transaction: they are made in memory, under the locks of all its keys.
pub const REPLY_BYTES_MAX: usize = QUEUED_BYTES_MAX;

/// Returns the error for replies of so many bytes, if they are over [`REPLY_BYTES_MAX`].
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

fn exec(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let transaction = call.session.end();
    let transaction = transaction.ok_or_else(|| bad_argument("EXEC without MULTI"))?;
    let watched = std::mem::take(&mut call.session.watched);
    if transaction.is_aborted {
        let error = bad_argument("Transaction discarded because of previous errors.");
        return Err(error.with_prefix("EXECABORT"));
    }
    let parts: Vec<TransactionRequest<'_>> = transaction
        .requests
        .iter()
        .map(TransactionRequest::from)
        .collect();
    let mut locks = lock(call.engine()?, &parts, &watched);
    call.barrier.raise(locks.seen());
    let has_changed = watched.iter().any(|(key, was)| {
        let key = Key::parse(key.as_bytes()).expect("it was a key when it was watched");
        !was.is_unchanged(locks.get(key).as_ref())
    });
    if has_changed {
        call.status = Status::Unmet;
        return call.done(Reply::NoArray);
    }
    let start = call.replies.bytes();
    call.replies.reply(Reply::Array(parts.len()));
    let long_reply = |bytes| long_reply(bytes - start);
    let outcome = run(call, &mut locks, &parts, &long_reply, OnError::GoOn);
    finish(call, locks, start, outcome)
}

/// A request of a transaction.
pub(in crate::command) struct TransactionRequest<'a> {
    pub place: usize,
    pub command: &'static Command,
    pub arguments: Cow<'a, Arguments<'a>>,
}

impl<'a> From<&'a QueuedRequest> for TransactionRequest<'a> {
    fn from(queued: &'a QueuedRequest) -> Self {
        let words = queued.words.iter().map(|word| Cow::Borrowed(&**word));
        Self {
            place: queued.place,
            command: queued.command,
            arguments: Cow::Owned(words.collect()),
        }
    }
}

/// Executes requests as one transaction, up to the first that is refused.
///
/// # Errors
/// That of the request that is refused, of `is_too_long`, `DISK`, `TOO_LARGE`, `BUSY`. Nothing has changed then.
pub(in crate::command) fn execute(
    call: &mut Call<'_, '_>,
    parts: &[TransactionRequest<'_>],
    is_too_long: impl Fn(usize) -> Option<ErrorReply>,
) -> Result<(), ErrorReply> {
    let mut locks = lock(call.engine()?, parts, &WatchedKeys::new());
    call.barrier.raise(locks.seen());
    let start = call.replies.bytes();
    let is_too_long = |bytes| is_too_long(bytes - start);
    let outcome = run(call, &mut locks, parts, &is_too_long, OnError::Stop);
    finish(call, locks, start, outcome).map(drop)
}

/// Locks the shards of all keys that the requests name, or all shards if one of them may name any key.
fn lock<'e>(
    engine: &'e Engine,
    parts: &[TransactionRequest<'_>],
    watched: &WatchedKeys,
) -> WriteTransaction<'e> {
    if parts.iter().any(|part| part.command.is_on_keyspace()) {
        return engine.begin_on_all();
    }
    let named = parts
        .iter()
        .flat_map(|part| part.command.keys(&part.arguments));
    let watched = watched.keys().map(String::as_bytes);
    // An argument that is no key is refused by its command.
    let keys: Vec<Key<'_>> = named
        .chain(watched)
        .filter_map(|word| Key::parse(word).ok())
        .collect();
    engine.begin(&keys)
}

/// The way on after a request that is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnError {
    /// Its error is its reply.
    GoOn,
    /// Its error is that of the transaction.
    Stop,
}

fn run(
    call: &mut Call<'_, '_>,
    locks: &mut WriteTransaction<'_>,
    parts: &[TransactionRequest<'_>],
    is_too_long: &dyn Fn(usize) -> Option<ErrorReply>,
    on_error: OnError,
) -> Answer {
    let mut outcome = Outcome::Done;
    let mut tells_of_change = false;
    for part in parts {
        let mut inner = Call {
            service: call.service,
            session: call.session,
            tally: call.tally,
            barrier: call.barrier,
            replies: call.replies,
            command: part.command,
            place: part.place,
            handlers: call.handlers,
            dialect: call.dialect,
            transaction: Some(&mut *locks),
            locked: None,
            status: Status::Ok,
            tells_of_change: false,
        };
        let answer = inner.perform(&part.arguments);
        tells_of_change |= inner.tells_of_change && answer.is_ok();
        match answer {
            Ok(Outcome::Close) => outcome = Outcome::Close,
            Ok(_) => {}
            Err(error) if on_error == OnError::Stop => return Err(error),
            Err(error) => {
                call.tally.errors += 1;
                call.replies.reply(Reply::Error(&error));
            }
        }
        let excess = locks.check_size().err().map(ErrorReply::from);
        if let Some(error) = excess.or_else(|| is_too_long(call.replies.bytes())) {
            return Err(error);
        }
    }
    call.tells_of_change = tells_of_change;
    Ok(outcome)
}

/// Records what the requests have changed, or takes their replies and changes back.
fn finish(
    call: &mut Call<'_, '_>,
    locks: WriteTransaction<'_>,
    start: usize,
    outcome: Answer,
) -> Answer {
    let outcome = outcome.and_then(|outcome| {
        locks.commit(call.barrier)?;
        Ok(outcome)
    });
    if outcome.is_err() {
        call.replies.truncate(start);
        call.tells_of_change = false;
    }
    outcome
}
