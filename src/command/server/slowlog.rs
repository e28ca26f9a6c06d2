//! SLOWLOG and LATENCY.
//!
//! In: the slow log. Out: its latest requests.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::data::options::number_of;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::slow_requests::SlowRequest;
use crate::command::spec::{ANY, Access, Flag, Subcommand};
use crate::command::subcommands::{doubtful_subcommand, other_subcommand};
use crate::protocol::Reply;

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin("SLOWLOG", "GET [<number>] | LEN | RESET", 1..=ANY, slowlog)
        .subcommands(&Subcommand::all(Access::Admin, ["GET", "LEN", "RESET"]))
        .flags(&[Flag::LoadingOk])
        .example("SLOWLOG LEN")
        .summary("Show the last slow requests, of those that act on any number of keys."),
    Row::admin(
        "LATENCY",
        "LATEST | HISTORY <event> | RESET | DOCTOR",
        1..=ANY,
        latency,
    )
    .subcommands(&Subcommand::all(
        Access::Admin,
        ["LATEST", "HISTORY", "RESET", "DOCTOR"],
    ))
    .flags(&[Flag::LoadingOk])
    .example("LATENCY LATEST")
    .summary("List latency events, under Redis's name; none is recorded."),
];

/// Default number of shown requests, as in Redis.
const SHOWN: i64 = 10;

fn slowlog(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"LEN", []) => {
            let len = call.service.slowlog.log().requests.len();
            call.done(Reply::Count(len as u64))
        }
        (b"RESET", []) => {
            call.service.slowlog.log().requests.clear();
            call.done(Reply::Ok)
        }
        (b"GET", [] | [_]) => {
            let count = words.get(1).map_or(Ok(SHOWN), |count| number_of(count))?;
            if count < -1 {
                return Err(bad_argument("count should be greater than or equal to -1"));
            }
            show(call, usize::try_from(count).unwrap_or(usize::MAX))
        }
        (b"GET", _) => Err(doubtful_subcommand(call, &words[0])),
        _ => other_subcommand(call, words),
    }
}

fn show(call: &mut Call<'_, '_>, count: usize) -> Answer {
    let user = call.session.identity.user(&call.service.users).cloned();
    let log = call.service.slowlog.log();
    // Others may have read what is behind the keys of a request.
    let may_see = |slow: &&SlowRequest| {
        let user = user.as_ref();
        user.is_some_and(|user| user.permits_view(slow.command, &slow.words[1..]))
    };
    let shown: Vec<&SlowRequest> = log.requests.iter().filter(may_see).take(count).collect();
    call.replies.reply(Reply::Array(shown.len()));
    for slow in shown {
        call.replies.reply(Reply::Array(6));
        for number in [slow.id, slow.at_seconds, slow.us] {
            call.replies.reply(Reply::Count(number));
        }
        call.replies.reply(Reply::Array(slow.words.len()));
        for word in &slow.words {
            call.replies.reply(Reply::Value(word));
        }
        for text in [&slow.address, &slow.name] {
            call.replies.reply(Reply::Value(text.as_bytes()));
        }
    }
    Ok(Outcome::Done)
}

fn latency(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"LATEST", []) | (b"HISTORY", [_]) => call.done(Reply::Array(0)),
        (b"RESET", _) => call.done(Reply::Count(0)),
        (b"DOCTOR", []) => call.done(Reply::Text(
            "No event is watched. SLOWLOG GET tells of slow requests, and INFO persistence of the disk.",
        )),
        _ => other_subcommand(call, words),
    }
}
