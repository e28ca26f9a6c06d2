//! DEBUG, as far as the test suites of Redis clients use it; and the commands of parts of Redis that are not here, for clients that ask
//! whether they are: FUNCTION, MODULE and LOLWUT.
//!
//! In: requests of Redis clients. Out: an error of any text, a wait, a description; that there are no functions and no modules.
//! Promise: none of them changes pairs.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::clients::Client;
use crate::command::glob::Pattern;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::server::admin::{ELSEWHERE, Save};
use crate::command::server::memory::{encoding_of, entry_of};
use crate::command::signals::Signal;
use crate::command::spec::Flag::{LoadingOk, NotInScripts, Slow, WholeServer};
use crate::command::spec::{ANY, Access, Dialects, Group, Subcommand};
use crate::command::stream::{Pull, Pulled, Source, Stream};
use crate::command::subcommands::other_subcommand;
use crate::protocol::resp::whole_number;
use crate::protocol::{ErrorCode, ErrorReply, Reply};

/// Maximum time of DEBUG SLEEP, in seconds: a client that waits longer for a test has forgotten it.
pub const DEBUG_SLEEP_SECONDS_MAX: f64 = 60.0;

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin(
        "DEBUG",
        "SLEEP <seconds> | ERROR <text> | OBJECT <name> | SET-ACTIVE-EXPIRE 0 | SET-ACTIVE-EXPIRE 1 | RELOAD | JMAP | \
         STRINGMATCH-LEN <length> <pattern>",
        1..=ANY,
        debug,
    )
    .flags(&[NotInScripts, Slow, WholeServer])
    .subcommands(&DEBUG_SUBCOMMANDS)
    .only(Dialects::Resp)
    .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
    .example("DEBUG SLEEP 0")
    .summary("Wait, fail, or describe a value, for the tests of clients."),
    Row::connection("FUNCTION", "LIST [LIBRARYNAME <pattern>] [WITHCODE] | STATS", 1..=ANY, function)
        .group(Group::Scripting)
        .flags(&[LoadingOk, NotInScripts, Slow])
        .subcommands(&FUNCTION_SUBCOMMANDS)
        .only(Dialects::Resp)
        .example("FUNCTION LIST")
        .summary("Say that there are no functions; EVAL executes scripts."),
    Row::admin("MODULE", "LIST", 1..=ANY, module)
        .group(Group::Server)
        .flags(&[LoadingOk, NotInScripts, Slow])
        .subcommands(&MODULE_SUBCOMMANDS)
        .only(Dialects::Resp)
        .example("MODULE LIST")
        .summary("Say that there are no modules."),
    Row::connection("LOLWUT", "[VERSION <version>]", 0..=ANY, lolwut)
        .group(Group::Server)
        .flags(&[LoadingOk])
        .only(Dialects::Resp)
        .example("LOLWUT")
        .summary("Return the name and the version of the server."),
];

const DEBUG_SUBCOMMANDS: [Subcommand; 8] = {
    use Access::Admin;
    [
        Subcommand::new("SLEEP", Admin, "Answer after a time; nobody else waits."),
        Subcommand::new("ERROR", Admin, "Return an error with this text."),
        Subcommand::new("OBJECT", Admin, "Describe the value of a key."),
        Subcommand::new(
            "SET-ACTIVE-EXPIRE",
            Admin,
            "Delete expired pairs (1), or only hide them (0).",
        ),
        Subcommand::new("RELOAD", Admin, "Save all pairs."),
        Subcommand::new("JMAP", Admin, "Do nothing."),
        Subcommand::new(
            "STRINGMATCH-LEN",
            Admin,
            "Compare a text of so many a with a pattern.",
        ),
        Subcommand::HELP,
    ]
};

const FUNCTION_SUBCOMMANDS: [Subcommand; 3] = [
    Subcommand::new("LIST", Access::Connection, "List no functions."),
    Subcommand::new("STATS", Access::Connection, "Count no functions."),
    Subcommand::HELP,
];

const MODULE_SUBCOMMANDS: [Subcommand; 2] = [
    Subcommand::new("LIST", Access::Admin, "List no modules."),
    Subcommand::HELP,
];

fn debug(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"SLEEP" | b"RELOAD", _) if call.transaction.is_some() => Err(bad_argument(
            "it takes time, and cannot be part of a transaction",
        )),
        (b"SLEEP", [seconds]) => sleep(call, seconds),
        // Its first word is its code.
        (b"ERROR", [text]) => Err(ErrorReply::new(
            ErrorCode::Script,
            String::from_utf8_lossy(text),
        )),
        (b"OBJECT", [key]) => describe(call, key),
        (b"SET-ACTIVE-EXPIRE", [switch]) => {
            let is_on = match &**switch {
                b"0" => false,
                b"1" => true,
                _ => return Err(bad_argument("it is 0 or 1")),
            };
            call.engine()?.set_deletes_expired(is_on);
            call.done(Reply::Ok)
        }
        (b"RELOAD", _) => stream(Save),
        (b"JMAP", []) => call.done(Reply::Ok),
        (b"STRINGMATCH-LEN", [length, pattern]) => {
            let length = whole_number(length).and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| *length <= PATTERN_TEXT_BYTES_MAX);
            let length = length.ok_or_else(|| bad_argument("value is out of range"))?;
            let is_match = Pattern::parse(pattern)?.matches(&vec![b'a'; length]);
            call.done(Reply::Count(is_match.into()))
        }
        _ => other_subcommand(call, words),
    }
}

/// Maximum length of the text of DEBUG STRINGMATCH-LEN: to compare it takes milliseconds.
const PATTERN_TEXT_BYTES_MAX: usize = 64 << 10;

fn sleep(call: &mut Call<'_, '_>, seconds: &[u8]) -> Answer {
    let seconds: Option<f64> = std::str::from_utf8(seconds)
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.filter(|seconds| (0.0..=DEBUG_SLEEP_SECONDS_MAX).contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        bad_argument(format!(
            "seconds are 0 to {DEBUG_SLEEP_SECONDS_MAX}, such as 0.5"
        ))
    })?;
    let source = Sleep {
        client: call.client()?,
        time: Duration::from_secs_f64(seconds),
    };
    Ok(Outcome::Stream(Box::new(Stream::idle(source))))
}

/// The reply to DEBUG SLEEP.
struct Sleep {
    client: Arc<Client>,
    time: Duration,
}

impl Source for Sleep {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let mut timer = pin!(tokio::time::sleep(self.time));
        let signals = self.client.signals();
        std::future::poll_fn(|context| {
            let is_over = [Signal::HungUp, Signal::Draining];
            if is_over.into_iter().any(|signal| signals.has(signal)) {
                return Poll::Ready(());
            }
            timer.as_mut().poll(context)
        })
        .await;
        pull.replies.reply(Reply::Ok);
        Ok(Pulled::End)
    }
}

fn describe(call: &mut Call<'_, '_>, key: &[u8]) -> Answer {
    let key = call.session.database().key_of(key);
    let entry = entry_of(call, &key)?.ok_or_else(|| bad_argument("no such key"))?;
    let value = entry.value_bytes();
    let encoding = String::from_utf8_lossy(encoding_of(value));
    let text = format!(
        "Value at:{:#x} refcount:1 encoding:{encoding} serializedlength:{} lru:0 lru_seconds_idle:0",
        entry.address(),
        value.len() + 1
    );
    call.done(Reply::Status(&text))
}

fn function(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"LIST", options) => {
            let mut options = options.iter();
            while let Some(option) = options.next() {
                let is_known = option.eq_ignore_ascii_case(b"WITHCODE")
                    || (option.eq_ignore_ascii_case(b"LIBRARYNAME") && options.next().is_some());
                if !is_known {
                    let option = String::from_utf8_lossy(option);
                    return Err(bad_argument(format!("Unknown argument {option}")));
                }
            }
            call.done(Reply::Array(0))
        }
        (b"STATS", []) => {
            let replies = &mut *call.replies;
            replies.reply(Reply::Map(2));
            replies.reply(Reply::Value(b"running_script"));
            replies.reply(Reply::NotFound);
            replies.reply(Reply::Value(b"engines"));
            replies.reply(Reply::Map(1));
            replies.reply(Reply::Value(b"LUA"));
            replies.reply(Reply::Map(2));
            for name in ["libraries_count", "functions_count"] {
                replies.reply(Reply::Value(name.as_bytes()));
                replies.reply(Reply::Count(0));
            }
            Ok(Outcome::Done)
        }
        _ => other_subcommand(call, words),
    }
}

fn module(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"LIST", []) => call.done(Reply::Array(0)),
        _ => other_subcommand(call, words),
    }
}

fn lolwut(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    call.done(Reply::Text(concat!(
        "PyKV ",
        env!("CARGO_PKG_VERSION"),
        "\n"
    )))
}
