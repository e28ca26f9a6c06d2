//! Several requests as one: MULTI ... EXEC, and WATCH for what they depend on.
//!
//! In: requests, which wait in the session. Out: their replies as one array. Promises: nobody sees a part of them, they are
//! recorded as one, so that no crash leaves a part of them, and they are not done if a watched key has changed.
//! Source: <https://redis.io/docs/latest/develop/using-commands/transactions/>.

use std::borrow::Cow;

use crate::command::session::{QUEUED_BYTES_MAX, WatchedState};
use crate::command::table::{Command, Keys};
use crate::command::{Answer, Arguments, Call, KEYS_PER_REQUEST_MAX, Next, bad_argument, keys_of};
use crate::model::Key;
use crate::protocol::{ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Command] = &[
    Command::free("MULTI", "", 0..=0, multi)
        .example("MULTI")
        .summary("Begin a transaction: the requests that follow wait for EXEC."),
    Command::write("EXEC", "", 0..=0, exec)
        .keys(Keys::None)
        .example("EXEC")
        .summary("Do all requests of a transaction at once, or none if a watched key has changed."),
    Command::free("DISCARD", "", 0..=0, discard)
        .example("DISCARD")
        .summary("Forget the requests of a transaction, and what was watched."),
    Command::read(
        "WATCH",
        "<key> [<key> ...]",
        1..=KEYS_PER_REQUEST_MAX,
        watch,
    )
    .keys(Keys::All)
    .example("WATCH stock")
    .summary("Let the next EXEC do nothing if one of these keys changes before."),
    Command::free("UNWATCH", "", 0..=0, unwatch)
        .example("UNWATCH")
        .summary("Forget what was watched."),
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
    let found = call.change(&keys, |group| {
        let found = keys.iter().map(|key| {
            let was = match group.get(*key) {
                Some(entry) => WatchedState::There(entry),
                None => WatchedState::Missing(group.watch_missing_key(*key)),
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

/// The longest answer to EXEC: it is made under the locks of all its keys, in memory.
pub const REPLY_BYTES_MAX: usize = QUEUED_BYTES_MAX;

/// That an answer is over that, if it is.
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
    let requests = transaction.requests.iter();
    let named = requests.flat_map(|request| request.command.keys.of(&request.words));
    let watched_keys = watched.keys().map(String::as_bytes);
    // What is no key is refused by the command itself.
    let keys: Vec<Key<'_>> = named
        .chain(watched_keys)
        .filter_map(|word| Key::parse(word).ok())
        .collect();
    let mut requests = transaction.requests.iter();
    let engine = call.engine()?;
    let mut group = if requests.any(|request| request.command.keys == Keys::Keyspace) {
        engine.begin_on_all()
    } else {
        engine.begin(&keys)
    };
    call.barrier.raise(group.seen());
    let has_changed = watched.iter().any(|(key, was)| {
        let key = Key::parse(key.as_bytes()).expect("it was a key when it was watched");
        !was.is_still(group.get(key).as_ref())
    });
    if has_changed {
        return call.done(Reply::NoArray);
    }
    let start = call.replies.mark();
    let mut next = Next::Done;
    call.replies.reply(Reply::Array(transaction.requests.len()));
    for request in &transaction.requests {
        let words: Vec<Cow<'_, [u8]>> = request
            .words
            .iter()
            .map(|word| Cow::Borrowed(&**word))
            .collect();
        let mut inner = Call {
            service: call.service,
            session: call.session,
            tally: call.tally,
            barrier: call.barrier,
            replies: call.replies,
            command: request.command,
            dialect: call.dialect,
            group: Some(&mut group),
            run: None,
            has_changed: false,
        };
        match inner.run(&words) {
            Ok(Next::Close) => next = Next::Close,
            Ok(_) => {}
            Err(error) => {
                call.tally.errors += 1;
                call.replies.reply(Reply::Error(&error));
            }
        }
        let excess = group.excess();
        if let Some(error) = excess.or_else(|| long_reply(call.replies.mark() - start)) {
            call.replies.take_back(start);
            return Err(error);
        }
    }
    match group.end(call.barrier) {
        Ok(has_changed) => {
            call.has_changed = has_changed;
            Ok(next)
        }
        Err(error) => {
            call.replies.take_back(start);
            Err(error)
        }
    }
}
