//! Expiry of keys: EXPIRE, TTL, PERSIST and their relatives.
//!
//! In: keys, and times or durations. Out: times or durations. Promise: an expiry is stored as an absolute time, so that it is the
//! same after a restart.

use crate::command::call::{Answer, Arguments, Call};
use crate::command::data::native_forms;
use crate::command::data::options::{Unit, invalid_expiry, number_of};
use crate::command::data::strings::expire_entry;
use crate::command::key_events::Event;
use crate::command::observation::Status;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::KeyFlag::{Access, ReadOnly, ReadWrite, Update};
use crate::command::spec::{ANY, Flag, KeySpec, NativeReply};
use crate::model::entry::Entry;
use crate::model::{Key, UnixMs, now_ms};
use crate::protocol::{ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::write(
        "EXPIRE",
        "<key> <seconds> [NX | XX | GT | LT]",
        2..=ANY,
        expire,
    )
    .on_keys(&[KeySpec::at(0, &[ReadWrite, Update])])
    .native_if(NativeReply::Count, native_forms::has_seconds)
    .stores_as(Event::EXPIRE)
    .example("EXPIRE nobody 60")
    .summary("Expire a key after a number of seconds; answers 1 if the expiry was set, else 0."),
    Row::write(
        "PEXPIRE",
        "<key> <ms> [NX | XX | GT | LT]",
        2..=ANY,
        pexpire,
    )
    .on_keys(&[KeySpec::at(0, &[ReadWrite, Update])])
    .native_if(NativeReply::Count, native_forms::has_milliseconds)
    .stores_as(Event::EXPIRE)
    .example("PEXPIRE session 99999999")
    .summary(
        "Expire a key after a number of milliseconds; answers 1 if the expiry was set, \
         else 0.",
    ),
    Row::write(
        "EXPIREAT",
        "<key> <unix seconds> [NX | XX | GT | LT]",
        2..=ANY,
        expireat,
    )
    .on_keys(&[KeySpec::at(0, &[ReadWrite, Update])])
    .native_if(NativeReply::Count, native_forms::has_seconds)
    .stores_as(Event::EXPIRE)
    .example("EXPIREAT session 4102444800")
    .summary(
        "Expire a key at a time, in seconds since 1970; answers 1 if the expiry was \
         set, else 0.",
    ),
    Row::write(
        "PEXPIREAT",
        "<key> <unix ms> [NX | XX | GT | LT]",
        2..=ANY,
        pexpireat,
    )
    .on_keys(&[KeySpec::at(0, &[ReadWrite, Update])])
    .native_if(NativeReply::Count, native_forms::has_milliseconds)
    .stores_as(Event::EXPIRE)
    .example("PEXPIREAT session 4102444800500")
    .summary(
        "Expire a key at a time, in milliseconds since 1970; answers 1 if the expiry \
         was set, else 0.",
    ),
    Row::read("TTL", "<key>", 1..=1, ttl)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native(NativeReply::Signed)
        .flags(&[Flag::Looks])
        .example("TTL name")
        .summary(
            "Return the seconds until a key expires; -1 if it does not, -2 if there is no \
             such key.",
        ),
    Row::read("PTTL", "<key>", 1..=1, pttl)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native(NativeReply::Signed)
        .flags(&[Flag::Looks])
        .example("PTTL name")
        .summary(
            "Return the milliseconds until a key expires; -1 if it does not, -2 if there is \
             no such key.",
        ),
    Row::read("EXPIRETIME", "<key>", 1..=1, expiretime)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native(NativeReply::Signed)
        .flags(&[Flag::Looks])
        .example("EXPIRETIME name")
        .summary(
            "Return when a key expires, in seconds since 1970; -1 if it does not, -2 if \
             there is no such key.",
        ),
    Row::read("PEXPIRETIME", "<key>", 1..=1, pexpiretime)
        .on_keys(&[KeySpec::at(0, &[ReadOnly, Access])])
        .native(NativeReply::Signed)
        .flags(&[Flag::Looks])
        .example("PEXPIRETIME name")
        .summary(
            "Return when a key expires, in milliseconds since 1970; -1 if it does not, -2 \
             if there is no such key.",
        ),
    Row::write("PERSIST", "<key>", 1..=1, persist)
        .on_keys(&[KeySpec::at(0, &[ReadWrite, Update])])
        .native(NativeReply::Count)
        .stores_as(Event::EXPIRE)
        .example("PERSIST name")
        .summary("Remove the expiry of a key; answers 1 if it had one, else 0."),
];

fn expire(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    expire_at(call, words, Unit::Seconds)
}

fn pexpire(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    expire_at(call, words, Unit::Milliseconds)
}

fn expireat(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    expire_at(call, words, Unit::UnixSeconds)
}

fn pexpireat(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    expire_at(call, words, Unit::UnixMilliseconds)
}

/// Conditions on the present expiry of a key, under which it gets another.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four options of the protocol, which can be combined"
)]
struct ExpiryConditions {
    /// The key does not expire.
    nx: bool,
    /// The key expires.
    xx: bool,
    /// The key expires earlier.
    gt: bool,
    /// The key expires later, or not at all.
    lt: bool,
}

impl ExpiryConditions {
    fn parse(words: &Arguments<'_>) -> Result<Self, ErrorReply> {
        let mut conditions = Self::default();
        for word in words {
            match &*word.to_ascii_uppercase() {
                b"NX" => conditions.nx = true,
                b"XX" => conditions.xx = true,
                b"GT" => conditions.gt = true,
                b"LT" => conditions.lt = true,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(bad_argument(format!("Unsupported option {word}")));
                }
            }
        }
        let Self { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err(bad_argument(
                "NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if gt && lt {
            return Err(bad_argument(
                "GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    fn are_met(&self, old: Option<UnixMs>, new: UnixMs) -> bool {
        (!self.nx || old.is_none())
            && (!self.xx || old.is_some())
            && (!self.gt || old.is_some_and(|old| new > old))
            && (!self.lt || old.is_none_or(|old| new < old))
    }
}

fn expire_at(call: &mut Call<'_, '_>, words: &Arguments<'_>, unit: Unit) -> Answer {
    let key = Key::parse(&words[0])?;
    let conditions = ExpiryConditions::parse(&words[2..])?;
    let expires_at = unit.time(number_of(&words[1])?);
    let expires_at = expires_at.ok_or_else(|| invalid_expiry(call))?;
    let is_met = |old| conditions.are_met(old, expires_at);
    set_expiry(call, key, Some(expires_at), is_met)
}

fn persist(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    set_expiry(call, Key::parse(&words[0])?, None, |old| old.is_some())
}

/// Sets or removes the expiry of a key if a condition on the present one is met.
fn set_expiry(
    call: &mut Call<'_, '_>,
    key: Key<'_>,
    expires_at: Option<UnixMs>,
    is_met: impl FnOnce(Option<UnixMs>) -> bool,
) -> Answer {
    call.status = call.change(&[key], |transaction| {
        let Some(entry) = transaction.get(key) else {
            return Ok(Status::NotFound);
        };
        if !is_met(entry.expires_at()) {
            return Ok(Status::Unmet);
        }
        expire_entry(transaction, &entry, expires_at)?;
        Ok(Status::Ok)
    })?;
    call.done(Reply::Count((call.status == Status::Ok).into()))
}

fn ttl(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    show_expiry(call, words, |at| (at.saturating_sub(now_ms()) + 500) / 1000)
}

fn pttl(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    show_expiry(call, words, |at| at.saturating_sub(now_ms()))
}

fn expiretime(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    show_expiry(call, words, |at| (at + 500) / 1000)
}

fn pexpiretime(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    show_expiry(call, words, |at| at)
}

fn show_expiry(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    convert: impl FnOnce(UnixMs) -> u64,
) -> Answer {
    let key = Key::parse(&words[0])?;
    let expires_at = call.change(&[key], |transaction| {
        Ok(transaction.get(key).as_ref().map(Entry::expires_at))
    })?;
    if expires_at.is_none() {
        call.note_missing(key);
    }
    call.done(Reply::Signed(match expires_at {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(convert(at)).unwrap_or(i64::MAX),
    }))
}
