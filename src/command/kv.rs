//! The commands on pairs: each a few lines on the engine.

use super::{Call, Listing, Next};
use crate::engine::{Read, Update};
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorCode, ErrorReply, Reply, Words};
use crate::record::{Entry, Key, Value};

pub(super) fn put(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let value = Value::parse(&call.arguments[1])?;
    call.engine()?.put(key, value, call.barrier)?;
    call.done(Reply::Ok)
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let (engine, replies) = (call.engine()?, &mut *call.replies);
    let read = engine.read(key, call.barrier, |value| {
        replies.reply(Reply::Value(value));
    });
    call.tally.read(!matches!(read, Read::Missing));
    match read {
        Read::Shown => Ok(Next::Done),
        Read::Long(entry) => Ok(Next::Value(entry)),
        Read::Missing => call.done(Reply::NotFound),
    }
}

pub(super) fn setnx(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let value = Value::parse(&call.arguments[1])?;
    let stored = call.engine()?.update(key, call.barrier, |old| {
        Ok(match old {
            Some(_) => (0, Update::Keep),
            None => (1, Update::Put(value.bytes().to_vec(), None)),
        })
    })?;
    call.done(Reply::Count(stored))
}

pub(super) fn getset(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let value = Value::parse(&call.arguments[1])?.bytes().to_vec();
    exchange(call, Update::Put(value, None))
}

pub(super) fn getdel(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    exchange(call, Update::Delete)
}

/// Answers the value that a key had before this update of it.
fn exchange(call: &mut Call<'_>, update: Update) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let old = call
        .engine()?
        .update(key, call.barrier, |old| Ok((old.cloned(), update)))?;
    call.tally.read(old.is_some());
    let reply = old.as_ref().map(|old| Reply::Value(old.value_bytes()));
    call.done(reply.unwrap_or(Reply::NotFound))
}

pub(super) fn strlen(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let mut bytes = 0;
    let read = call
        .engine()?
        .read(key, call.barrier, |value| bytes = value.len());
    if let Read::Long(entry) = read {
        bytes = entry.value_bytes().len();
    }
    call.done(Reply::Count(bytes as u64))
}

pub(super) fn append(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let tail = &call.arguments[1];
    let bytes = call.engine()?.update(key, call.barrier, |old| {
        let head = old.map_or(&[][..], Entry::value_bytes);
        let expires_at = old.and_then(Entry::expires_at);
        let whole = [head, tail].concat();
        Ok((whole.len(), Update::Put(whole, expires_at)))
    })?;
    call.done(Reply::Count(bytes as u64))
}

pub(super) fn incr(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let number = number_of(&call.arguments[1])?;
    add(call, number)
}

pub(super) fn decrby(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let number = number_of(&call.arguments[1])?.checked_neg();
    let number = number.ok_or_else(|| bad_argument("decrement would overflow"))?;
    add(call, number)
}

fn add(call: &mut Call<'_>, number: i64) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let sum = call.engine()?.update(key, call.barrier, |old| {
        let before = old.map_or(Ok(0), |old| number_of(old.value_bytes()))?;
        let sum = before.checked_add(number);
        let sum = sum.ok_or_else(|| bad_argument("increment or decrement would overflow"))?;
        let expires_at = old.and_then(Entry::expires_at);
        Ok((sum, Update::Put(sum.to_string().into_bytes(), expires_at)))
    })?;
    call.done(Reply::Number(sum))
}

fn number_of(bytes: &[u8]) -> Result<i64, ErrorReply> {
    whole_number(bytes).ok_or_else(|| bad_argument("value is not an integer or out of range"))
}

fn bad_argument(message: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::Args, message)
}

pub(super) fn del(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let keys = keys_of(&call.arguments)?;
    let deleted = call.engine()?.delete(&keys, call.barrier)?;
    call.done(Reply::Count(deleted))
}

pub(super) fn exists(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let keys = keys_of(&call.arguments)?;
    let count = call.engine()?.exist(&keys, call.barrier);
    call.done(Reply::Count(count))
}

fn keys_of<'a>(arguments: &'a Words<'_>) -> Result<Vec<Key<'a>>, ErrorReply> {
    arguments
        .iter()
        .map(|argument| Ok(Key::parse(argument)?))
        .collect()
}

pub(super) fn all(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    scan(call, Listing::Pairs)
}

pub(super) fn keys(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    scan(call, Listing::Keys)
}

pub(super) fn count(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    if call.arguments.is_empty() {
        let engine = call.engine()?;
        let keys = engine.keys();
        call.barrier.raise(engine.everything());
        return call.done(Reply::Count(keys));
    }
    scan(call, Listing::Count)
}

fn scan(call: &mut Call<'_>, listing: Listing) -> Result<Next, ErrorReply> {
    let prefix = match call.arguments.len() {
        0 => Key::parse(b"")?,
        _ => Key::parse(&call.arguments[0])?,
    };
    Ok(Next::Scan(call.engine()?.scan(prefix), listing))
}

pub(super) fn clear(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    call.engine()?.clear(call.barrier)?;
    call.done(Reply::Ok)
}
