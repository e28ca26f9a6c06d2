//! Commands on values: PUT, SET, GET, APPEND and their relatives.
//!
//! In: keys, values, options. Out: values and counts. Promise: what a request reads and what it changes is atomic.

use crate::command::call::{Answer, Arguments, Call, Outcome, StoredExpiry, keys_of, stream};
use crate::command::data::listings::ValueArray;
use crate::command::data::native_forms;
use crate::command::data::options::{
    Condition, ExpiryOption, SetOptions, Unit, expiry_of, number_of,
};
use crate::command::data::transaction::long_reply;
use crate::command::key_events::Event;
use crate::command::limits::KEYS_PER_REQUEST_MAX;
use crate::command::long_work;
use crate::command::observation::Status;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{
    Access, Delete, Insert, Overwrite, ReadOnly, ReadWrite, Remove, Update, Variable,
};
use crate::command::spec::{ANY, Flag, KeySpec, NativeReply};
use crate::command::stream::{Pull, Pulled, Source};
use crate::command::version::{digest_of, version_of};
use crate::engine::{COPIED_BYTES_MAX, ReadOutcome, WriteTransaction};
use crate::model::entry::Entry;
use crate::model::{Key, PairError, UnixMs, VALUE_BYTES_MAX, Value, now_ms};
use crate::protocol::{ErrorReply, Reply, StoredPair};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::write_string("PUT", "<key> <value>", 2..=2, put)
        .on_keys(&[KeySpec::at(0, &[Overwrite, Update])])
        .native_as("SET", NativeReply::Stored)
        .flags(&[Flag::GrowsMemory])
        .rest_at(1)
        .batchable(2)
        .example("PUT a 1")
        .summary("Store a value under a key."),
    Row::write_string(
        "SET",
        "<key> <value> [NX | XX | IFEQ <value> | IFNE <value> | IFDEQ <digest> | IFDNE <digest>] [GET] [EX <seconds> | PX <ms> | EXAT \
         <unix seconds> | PXAT <unix ms> | KEEPTTL]",
        2..=ANY,
        set,
    )
    .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update, Variable])])
    .native_if(NativeReply::Stored, native_forms::is_plain_set)
    .flags(&[Flag::GrowsMemory, Flag::Slow])
    .batchable(2)
    .example("SET name Grace NX")
    .summary("Store a value of one word under a key, with Redis's options."),
    Row::read_string("GET", "<key>", 1..=1, get)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native(NativeReply::Found)
        .batchable(1)
        .example("GET a")
        .summary("Read the value of a key."),
    Row::write_string("SETNX", "<key> <value>", 2..=2, msetnx)
        .on_keys(&[KeySpec::at(0, &[Overwrite, Insert])])
        .native(NativeReply::Count)
        .flags(&[Flag::GrowsMemory])
        .example("SETNX lock mine")
        .summary("Store a value if the key does not exist; answers 1 if it was stored, else 0."),
    Row::write_string("SETEX", "<key> <seconds> <value>", 3..=3, setex)
        .on_keys(&[KeySpec::at(0, &[Overwrite, Update])])
        .native_if(NativeReply::Ok, native_forms::has_seconds)
        .flags(&[Flag::GrowsMemory, Flag::Slow])
        .batchable(3)
        .example("SETEX session 999999 abc")
        .summary("Store a value that expires after a number of seconds."),
    Row::write_string("PSETEX", "<key> <ms> <value>", 3..=3, psetex)
        .on_keys(&[KeySpec::at(0, &[Overwrite, Update])])
        .native_if(NativeReply::Ok, native_forms::has_milliseconds)
        .flags(&[Flag::GrowsMemory, Flag::Slow])
        .batchable(3)
        .example("PSETEX session 99999999 abc")
        .summary("Store a value that expires after a number of milliseconds."),
    Row::write_string("GETSET", "<key> <value>", 2..=2, getset)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
        .native(NativeReply::Found)
        .flags(&[Flag::GrowsMemory])
        .example("GETSET name Ada")
        .summary("Store a value under a key; answers the previous value."),
    Row::write_string("GETDEL", "<key>", 1..=1, getdel)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Delete])])
        .native(NativeReply::Found)
        .example("GETDEL token")
        .summary("Delete a key; answers its value."),
    Row::write_string(
        "GETEX",
        "<key> [EX <seconds> | PX <ms> | EXAT <unix seconds> | PXAT <unix ms> | PERSIST]",
        1..=ANY,
        getex,
    )
    .on_keys(&[KeySpec::at(0, &[ReadWrite, Access, Update])])
    .native_if(NativeReply::Found, native_forms::has_one_argument)
    .stores_as(Event::EXPIRE)
    .example("GETEX session PERSIST")
    .summary("Read the value of a key, and set or remove its expiry."),
    Row::write_string("DELIFEQ", "<key> <value>", 2..=2, delifeq)
        .on_keys(&[KeySpec::at(0, &[Remove, Access, Delete])])
        .example("DELIFEQ lock mine")
        .summary("Delete a key if it has this value; answers the number of deleted keys."),
    Row::write_string(
        "DELEX",
        "<key> [IFEQ <value> | IFNE <value> | IFDEQ <digest> | IFDNE <digest>]",
        1..=ANY,
        delex,
    )
    .on_keys(&[KeySpec::at(0, &[Remove, Access, Delete])])
    .example("DELEX state IFNE done")
    .summary("Delete a key if a condition holds; answers the number of deleted keys."),
    Row::read_string("MGET", "<key> [<key> ...]", 1..=KEYS_PER_REQUEST_MAX, mget)
        .on_keys(&[KeySpec::all(&[ReadOnly, Access])])
        .native(NativeReply::Values)
        .example("MGET a b a")
        .summary("Read the values of several keys, all at one moment."),
    Row::write_string(
        "MSET",
        "<key> <value> [<key> <value> ...]",
        2..=KEYS_PER_REQUEST_MAX,
        mset,
    )
    .on_keys(&[KeySpec::pairs(&[Overwrite, Update])])
    .native(NativeReply::Ok)
    .flags(&[Flag::GrowsMemory, Flag::Slow])
    .example("MSET a 1 b 2")
    .summary("Store several pairs, all or none."),
    Row::write_string(
        "MSETNX",
        "<key> <value> [<key> <value> ...]",
        2..=KEYS_PER_REQUEST_MAX,
        msetnx,
    )
    .on_keys(&[KeySpec::pairs(&[Overwrite, Insert])])
    .native(NativeReply::Count)
    .flags(&[Flag::GrowsMemory, Flag::Slow])
    .example("MSETNX a 1 b 2")
    .summary(
        "Store several pairs if none of the keys exists; answers 1 if they were stored, \
         else 0.",
    ),
    Row::write_string(
        "MSETEX",
        "<number> <key> <value> [<key> <value> ...] [NX | XX] [EX <seconds> | PX <ms> | EXAT \
         <unix seconds> | PXAT <unix ms> | KEEPTTL]",
        3..=KEYS_PER_REQUEST_MAX,
        msetex,
    )
    .on_keys(&[KeySpec::counted_pairs(0, &[Overwrite, Update])])
    .flags(&[Flag::GrowsMemory, Flag::Slow])
    .example("MSETEX 2 a 1 b 2 EX 999999")
    .summary(
        "Store so many pairs with one expiry, all or none; answers 1 if they were stored, else 0.",
    ),
    Row::write_string("APPEND", "<key> <value>", 2..=2, append)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Insert])])
        .native(NativeReply::Count)
        .flags(&[Flag::GrowsMemory])
        .stores_as(Event::APPEND)
        .example("APPEND log one")
        .summary("Append bytes to a value; answers its new length in bytes."),
    Row::read_string("VERSION", "<key>", 1..=1, version)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .example("VERSION name")
        .summary("Read the version of a value: the same digits as long as the value is the same."),
    Row::read_string("DIGEST", "<key>", 1..=1, digest)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .example("DIGEST name")
        .summary("Read the digest of a value, with which IFDEQ and IFDNE compare."),
    Row::read_string("STRLEN", "<key>", 1..=1, strlen)
        .on_keys(&[KeySpec::at(0, &[ReadOnly])])
        .native(NativeReply::Count)
        .batchable(1)
        .example("STRLEN name")
        .summary("Return the length of a value in bytes."),
    Row::read_string("GETRANGE", "<key> <first> <last>", 3..=3, getrange)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native(NativeReply::Value)
        .batchable(3)
        .flags(&[Flag::Slow])
        .example("GETRANGE text 0 3")
        .summary("Read a range of a value's bytes; negative offsets count from the end."),
    Row::read_string("SUBSTR", "<key> <first> <last>", 3..=3, getrange)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native_as("GETRANGE", NativeReply::Value)
        .batchable(3)
        .flags(&[Flag::Slow])
        .example("SUBSTR text 5 6")
        .summary("The older name of GETRANGE."),
    Row::write_string("SETRANGE", "<key> <place> <value>", 3..=3, setrange)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Update])])
        .native_if(NativeReply::Count, native_forms::ends_within_a_value)
        .flags(&[Flag::GrowsMemory, Flag::Slow])
        .stores_as(Event::SETRANGE)
        .example("SETRANGE half 1 x")
        .summary("Overwrite bytes of a value; answers its new length in bytes."),
];

fn put(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let value = Value::parse(&words[1])?;
    let is_new = call.put(key, value)?;
    call.done(Reply::Stored(StoredPair {
        is_new,
        expires_at: None,
    }))
}

fn set(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if words.len() == 2 {
        return put(call, words);
    }
    let key = Key::parse(&words[0])?;
    let options = SetOptions::of_set(call, &words[2..])?;
    let expires_at = options.expiry.time(call)?;
    if options.expiry == ExpiryOption::Keep {
        call.stored_expiry = StoredExpiry::Kept;
    }
    let value = Value::with_expiry(&words[1], expires_at)?;
    let (stored, old) = call.change(&[key], |transaction| {
        let old = transaction.get(key);
        if !options
            .condition
            .holds(old.as_ref().map(Entry::value_bytes))
        {
            return Ok((None, old));
        }
        let kept = old.as_ref().and_then(Entry::expires_at);
        let value = match options.expiry {
            ExpiryOption::Keep => Value::with_expiry(value.bytes(), kept)?,
            _ => value,
        };
        let stored = StoredPair {
            is_new: transaction.put(key, value),
            expires_at: value.expires_at(),
        };
        Ok((Some(stored), old))
    })?;
    if stored.is_none() {
        call.status = Status::Unmet;
    }
    if options.gets_old {
        return show_old(call, key, old.as_ref());
    }
    call.done(stored.map_or(Reply::Unchanged, Reply::Stored))
}

fn get(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let read = call.read(key, |call, value| call.replies.reply(Reply::Found(value)))?;
    call.count_read(!matches!(read, ReadOutcome::Missing));
    match read {
        ReadOutcome::Shown => {}
        ReadOutcome::Long(entry) => call.replies.long_value(entry),
        ReadOutcome::Missing => call.replies.reply(Reply::NotFound),
    }
    Ok(Outcome::Done)
}

fn version(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    show_hash(call, &words[0], version_of)
}

fn digest(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    show_hash(call, &words[0], digest_of)
}

/// Hashes a value, and shows the hash as text.
type Hash = fn(&[u8]) -> String;

/// Replies with the hash of the value of a key.
fn show_hash(call: &mut Call<'_, '_>, key: &[u8], hash: Hash) -> Answer {
    let key = Key::parse(key)?;
    let read = call.read(key, |call, value| {
        let hash = hash(value.bytes());
        call.replies.reply(Reply::Value(hash.as_bytes()));
    })?;
    call.count_read(!matches!(read, ReadOutcome::Missing));
    match read {
        ReadOutcome::Shown => Ok(Outcome::Done),
        ReadOutcome::Long(entry) => stream(LongHash(entry, hash)),
        ReadOutcome::Missing => call.done(Reply::NotFound),
    }
}

/// The hash of a long value, made on a thread for blocking work.
struct LongHash(Entry, Hash);

impl Source for LongHash {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let (entry, hash) = (self.0.clone(), self.1);
        let hashing = tokio::task::spawn_blocking(move || hash(entry.value_bytes()));
        let hash = hashing.await.expect("it is not aborted and cannot panic");
        pull.replies.reply(Reply::Value(hash.as_bytes()));
        Ok(Pulled::End)
    }
}

fn setex(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    put_until(call, words, Unit::Seconds)
}

fn psetex(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    put_until(call, words, Unit::Milliseconds)
}

fn put_until(call: &mut Call<'_, '_>, words: &Arguments<'_>, unit: Unit) -> Answer {
    let key = Key::parse(&words[0])?;
    let expires_at = expiry_of(call, unit, &words[1])?;
    call.put(key, Value::with_expiry(&words[2], Some(expires_at))?)?;
    call.done(Reply::Ok)
}

fn getset(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let value = Value::parse(&words[1])?;
    let old = call.change(&[key], |transaction| {
        let old = transaction.get(key);
        transaction.put(key, value);
        Ok(old)
    })?;
    show_old(call, key, old.as_ref())
}

fn getdel(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let old = call.change(&[key], |transaction| {
        let old = transaction.get(key);
        if old.is_some() {
            transaction.delete(key);
        }
        Ok(old)
    })?;
    show_old(call, key, old.as_ref())
}

/// Replies with the previous value of a key.
fn show_old(call: &mut Call<'_, '_>, key: Key<'_>, old: Option<&Entry>) -> Answer {
    call.count_read(old.is_some());
    if old.is_none() {
        call.note_missing(key);
    }
    let reply = old.map(|old| Reply::Found(old.value()));
    call.done(reply.unwrap_or(Reply::NotFound))
}

fn getex(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let options = SetOptions::of_getex(call, &words[1..])?;
    if options.expiry == ExpiryOption::Default {
        call.reports_change = call.service.marks_reads();
        return get(call, words);
    }
    let is_there = call.change(&[key], |transaction| Ok(transaction.get(key).is_some()))?;
    if !is_there {
        return show_old(call, key, None);
    }
    let expires_at = options.expiry.time(call)?;
    let old = call.change(&[key], |transaction| {
        let old = transaction.get(key);
        if let Some(old) = &old {
            expire_entry(transaction, old, expires_at)?;
        }
        Ok(old)
    })?;
    show_old(call, key, old.as_ref())
}

/// Sets or removes the expiry of a pair; deletes the pair if the expiry has passed.
pub(in crate::command) fn expire_entry(
    transaction: &mut WriteTransaction<'_>,
    entry: &Entry,
    expires_at: Option<UnixMs>,
) -> Result<(), PairError> {
    if expires_at.is_some_and(|at| at <= now_ms()) {
        transaction.delete(entry.key());
    } else if expires_at.is_some() || entry.expires_at().is_some() {
        let value = Value::with_expiry(entry.value_bytes(), expires_at)?;
        transaction.put(entry.key(), value);
    }
    Ok(())
}

fn delifeq(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    delete_if(call, &words[0], Condition::Equal(&words[1]))
}

fn delex(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let condition = Condition::of_delex(call, &words[1..])?;
    delete_if(call, &words[0], condition)
}

fn delete_if(call: &mut Call<'_, '_>, key: &[u8], condition: Condition<'_>) -> Answer {
    let key = Key::parse(key)?;
    let is_deleted = call.change(&[key], |transaction| {
        let entry = transaction.get(key);
        let holds = entry.is_some_and(|entry| condition.holds(Some(entry.value_bytes())));
        Ok(holds && transaction.delete(key))
    })?;
    call.done(Reply::Count(is_deleted.into()))
}

fn mget(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let keys = keys_of(words)?;
    let entries = call.read_all(&keys)?;
    for entry in &entries {
        call.count_read(entry.is_some());
    }
    let bytes: usize = entries.iter().flatten().map(Entry::data_bytes).sum();
    if call.transaction.is_none() && bytes > COPIED_BYTES_MAX {
        return stream(ValueArray::new(&call.session.account, entries));
    }
    if let Some(error) = long_reply(bytes) {
        return Err(error);
    }
    call.replies.reply(Reply::Array(entries.len()));
    for entry in &entries {
        let value = entry.as_ref().map(Entry::value);
        call.replies
            .reply(value.map_or(Reply::NotFound, Reply::Found));
    }
    Ok(Outcome::Done)
}

fn mset(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    put_all(call, words, Condition::Always, ExpiryOption::Default)?;
    call.done(Reply::Ok)
}

fn msetnx(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let are_stored = put_all(call, words, Condition::Missing, ExpiryOption::Default)?;
    call.done(Reply::Count(are_stored.into()))
}

fn msetex(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let number = number_of(&words[0]).ok();
    let number = number.and_then(|number| i32::try_from(number).ok()?.try_into().ok());
    let number: usize = number
        .filter(|number| *number > 0)
        .ok_or_else(|| bad_argument("invalid numkeys value"))?;
    let (pairs, options) = words[1..]
        .split_at_checked(2 * number)
        .ok_or_else(|| bad_argument("wrong number of key-value pairs"))?;
    let options = SetOptions::of_msetex(call, options)?;
    let are_stored = put_all(call, pairs, options.condition, options.expiry)?;
    call.done(Reply::Count(are_stored.into()))
}

/// Stores pairs if a condition holds for all of their keys. Returns true if it has.
fn put_all(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    condition: Condition<'_>,
    expiry: ExpiryOption<'_>,
) -> Result<bool, ErrorReply> {
    let expires_at = expiry.time(call)?;
    let keeps_expiry = expiry == ExpiryOption::Keep;
    if keeps_expiry {
        call.stored_expiry = StoredExpiry::Kept;
    }
    let pairs = words.chunks_exact(2).map(|pair| {
        let key = Key::parse(&pair[0])?;
        Ok((key, Value::with_expiry(&pair[1], expires_at)?))
    });
    let pairs: Vec<(Key<'_>, Value<'_>)> = pairs.collect::<Result<_, ErrorReply>>()?;
    let keys: Vec<Key<'_>> = pairs.iter().map(|(key, _)| *key).collect();
    // They may be a million, so all that can be done before the locks are taken is.
    let entries = pairs.iter().map(|(key, value)| call.entry(*key, *value));
    let entries: Vec<Entry> = entries.collect();
    call.change(&keys, |transaction| {
        let mut holds = |key: Key<'_>| {
            let old = transaction.get(key);
            condition.holds(old.as_ref().map(Entry::value_bytes))
        };
        if condition != Condition::Always && !keys.iter().all(|key| holds(*key)) {
            return Ok(false);
        }
        for entry in entries {
            let old = keeps_expiry.then(|| transaction.get(entry.key())).flatten();
            match old.and_then(|old| old.expires_at()) {
                Some(kept) => {
                    let value = Value::with_expiry(entry.value_bytes(), Some(kept))?;
                    transaction.put(entry.key(), value);
                }
                None => {
                    transaction.put_entry(entry);
                }
            }
        }
        Ok(true)
    })
}

fn append(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let bytes = rewrite(call, &words[0], |old| {
        let new = [old.unwrap_or_default(), &words[1]].concat();
        Ok((new.len(), Some(new)))
    })?;
    call.done(Reply::Count(bytes as u64))
}

/// Changes the value of a key and keeps its expiry. `change` is called with the value, if the key exists, and returns the new one,
/// or `None` to change nothing, together with the result.
///
/// # Errors
/// Those of `change` and of [`Call::change`]; `TOO_LARGE` or `TEXT` if the key is not valid, `TOO_LARGE` if the value is too long.
pub(in crate::command) fn rewrite<R>(
    call: &mut Call<'_, '_>,
    key: &[u8],
    change: impl FnOnce(Option<&[u8]>) -> Result<(R, Option<Vec<u8>>), ErrorReply>,
) -> Result<R, ErrorReply> {
    let key = Key::parse(key)?;
    call.change(&[key], |transaction| {
        let old = transaction.get(key);
        let value = old.as_ref().map(Entry::value_bytes);
        long_work::execute(value.map_or(0, <[u8]>::len), || {
            let (result, new) = change(value)?;
            if let Some(new) = new {
                let expires_at = old.as_ref().and_then(Entry::expires_at);
                transaction.put(key, Value::with_expiry(&new, expires_at)?);
            }
            Ok(result)
        })
    })
}

fn strlen(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let mut bytes = 0;
    let read = call.read(key, |_, value| bytes = value.bytes().len())?;
    if let ReadOutcome::Long(entry) = read {
        bytes = entry.value_bytes().len();
    }
    call.done(Reply::Count(bytes as u64))
}

fn getrange(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let (first, last) = (number_of(&words[1])?, number_of(&words[2])?);
    let key = Key::parse(&words[0])?;
    let show = |call: &mut Call<'_, '_>, value: Value<'_>| {
        let range = range_of(value.bytes().len(), first, last);
        call.replies.reply(Reply::Value(&value.bytes()[range]));
    };
    match call.read(key, show)? {
        ReadOutcome::Shown => {}
        ReadOutcome::Long(entry) => show(call, entry.value()),
        ReadOutcome::Missing => call.replies.reply(Reply::Value(b"")),
    }
    Ok(Outcome::Done)
}

/// Returns the range of bytes from one offset to another, inclusive; negative offsets count from the end.
fn range_of(length: usize, first: i64, last: i64) -> std::ops::Range<usize> {
    if first < 0 && last < 0 && first > last {
        return 0..0;
    }
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let place = |place: i64| {
        if place < 0 {
            length.saturating_add(place).max(0)
        } else {
            place
        }
    };
    let (first, last) = (place(first), place(last).min(length - 1));
    if first > last {
        return 0..0;
    }
    let byte = |place: i64| usize::try_from(place).unwrap_or(0);
    byte(first)..byte(last) + 1
}

fn setrange(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let place = number_of(&words[1])?;
    let place = usize::try_from(place).map_err(|_| bad_argument("offset is out of range"))?;
    let patch = &*words[2];
    let bytes = rewrite(call, &words[0], |old| {
        let old = old.unwrap_or_default();
        if patch.is_empty() {
            return Ok((old.len(), None));
        }
        let end = place.saturating_add(patch.len());
        // Checked before memory is allocated.
        if end > VALUE_BYTES_MAX {
            return Err(PairError::ValueTooLarge(end).into());
        }
        let mut new = old.to_vec();
        new.resize(old.len().max(end), 0);
        new[place..end].copy_from_slice(patch);
        Ok((new.len(), Some(new)))
    })?;
    call.done(Reply::Count(bytes as u64))
}
