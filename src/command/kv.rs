//! The commands on pairs: each a few lines on the engine.

use super::{Call, Listing, Next};
use crate::engine::Read;
use crate::protocol::{ErrorReply, Reply, Words};
use crate::record::{Key, Value};

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
