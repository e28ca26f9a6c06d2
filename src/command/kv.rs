//! The commands on pairs: each a few lines on the engine.

use super::{Call, Listing, Next};
use crate::engine::Read;
use crate::protocol::{ErrorReply, Reply};
use crate::record::{Key, Value};

pub(super) fn put(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let (key, value) = (call.key(0)?, Value::parse(&call.arguments[1])?);
    call.service.engine.put(key, value)?;
    call.done(Reply::Ok)
}

pub(super) fn get(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let key = Key::parse(&call.arguments[0])?;
    let replies = &mut *call.replies;
    let read = call
        .service
        .engine
        .read(key, |value| replies.reply(Reply::Value(value)));
    call.tally.read(!matches!(read, Read::Missing));
    match read {
        Read::Shown => Ok(Next::Done),
        Read::Long(entry) => Ok(Next::Value(entry)),
        Read::Missing => call.done(Reply::NotFound),
    }
}

pub(super) fn del(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let deleted = call.service.engine.delete(&keys_of(call)?)?;
    call.done(Reply::Count(deleted))
}

pub(super) fn exists(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    let count = call.service.engine.exist(&keys_of(call)?);
    call.done(Reply::Count(count))
}

fn keys_of<'a>(call: &'a Call<'_>) -> Result<Vec<Key<'a>>, ErrorReply> {
    (0..call.arguments.len())
        .map(|place| call.key(place))
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
        let keys = call.service.engine.keys();
        return call.done(Reply::Count(keys));
    }
    scan(call, Listing::Count)
}

fn scan(call: &mut Call<'_>, listing: Listing) -> Result<Next, ErrorReply> {
    let prefix = match call.arguments.len() {
        0 => Key::parse(b"")?,
        _ => call.key(0)?,
    };
    Ok(Next::Scan(call.service.engine.scan(prefix), listing))
}

pub(super) fn clear(call: &mut Call<'_>) -> Result<Next, ErrorReply> {
    call.service.engine.clear()?;
    call.done(Reply::Ok)
}
