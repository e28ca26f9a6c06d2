//! SLOWLOG and LATENCY.
//!
//! In: the slow log, and the latencies of commands. Out: the latest slow requests, histograms.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::counts::Usage;
use crate::command::data::options::number_of;
use crate::command::refusals::bad_argument;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::slow_requests::SlowRequest;
use crate::command::spec::{ANY, Access, Flag, Subcommand};
use crate::command::subcommands::{doubtful_subcommand, other_subcommand};
use crate::metrics::histogram::LatencyCounts;
use crate::protocol::Reply;

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin("SLOWLOG", "GET [<number>] | LEN | RESET", 1..=ANY, slowlog)
        .subcommands(&SLOWLOG_SUBCOMMANDS)
        .flags(&[Flag::LoadingOk])
        .example("SLOWLOG LEN")
        .summary("Show the last slow requests."),
    Row::admin(
        "LATENCY",
        "LATEST | HISTORY <event> | HISTOGRAM [<command> ...] | RESET [<event> ...] | DOCTOR | GRAPH <event>",
        1..=ANY,
        latency,
    )
    .subcommands(&LATENCY_SUBCOMMANDS)
    .flags(&[Flag::LoadingOk])
    .example("LATENCY LATEST")
    .summary("Show the latencies of commands, under Redis's names; no event is recorded."),
];

const SLOWLOG_SUBCOMMANDS: [Subcommand; 4] = [
    Subcommand::new("GET", Access::Admin, "List the last slow requests."),
    Subcommand::new(
        "LEN",
        Access::Admin,
        "Count the slow requests that are kept.",
    ),
    Subcommand::new("RESET", Access::Admin, "Forget the slow requests."),
    Subcommand::HELP,
];

const LATENCY_SUBCOMMANDS: [Subcommand; 7] = [
    Subcommand::new(
        "LATEST",
        Access::Admin,
        "List the latency events; none is recorded.",
    ),
    Subcommand::new(
        "HISTORY",
        Access::Admin,
        "List the spikes of an event; none is recorded.",
    ),
    Subcommand::new(
        "HISTOGRAM",
        Access::Admin,
        "Count the requests of commands by their latency.",
    ),
    Subcommand::new(
        "RESET",
        Access::Admin,
        "Forget latency events; none is recorded.",
    ),
    Subcommand::new("DOCTOR", Access::Admin, "Say where latency is shown."),
    Subcommand::new(
        "GRAPH",
        Access::Admin,
        "Draw the spikes of an event; none is recorded.",
    ),
    Subcommand::HELP,
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
        (b"HISTOGRAM", names) => histograms(call, names),
        (b"RESET", _) => call.done(Reply::Count(0)),
        (b"GRAPH", [event]) => {
            let event = String::from_utf8_lossy(event);
            Err(bad_argument(format!(
                "No samples available for event '{event}'"
            )))
        }
        (b"DOCTOR", []) => call.done(Reply::Text(
            "No event is watched. SLOWLOG GET tells of slow requests, and INFO persistence of the disk.",
        )),
        _ => other_subcommand(call, words),
    }
}

/// Replies with the number of requests by latency, of all commands or of those with these names, which include their subcommands.
fn histograms(call: &mut Call<'_, '_>, names: &Arguments<'_>) -> Answer {
    // Add the counters of this batch first, so that the figures are current.
    call.service.stats.add(call.tally);
    let counts = call.service.counts_since_reset();
    let is_meant = |usage: &Usage| {
        let command = usage.name.split('|').next().unwrap_or_default();
        let mut names = names.iter();
        let is = |name: &str, word: &[u8]| word.eq_ignore_ascii_case(name.as_bytes());
        names.len() == 0 || names.any(|word| is(command, word) || is(&usage.name, word))
    };
    let used = counts
        .parts
        .iter()
        .filter(|usage| usage.latencies.requests() > 0);
    let used: Vec<&Usage> = used.filter(|usage| is_meant(usage)).collect();
    call.replies.reply(Reply::Map(used.len()));
    for usage in used {
        call.replies.reply(Reply::Value(usage.name.as_bytes()));
        histogram(call.replies, &usage.latencies);
    }
    Ok(Outcome::Done)
}

/// Writes the number of requests, and for each limit in microseconds the number of those that took no longer, as far as it grows.
fn histogram(replies: &mut dyn Replies, latencies: &LatencyCounts) {
    let requests = latencies.requests();
    let mut before = 0;
    let mut buckets: Vec<(u64, u64)> = latencies.up_to().collect();
    buckets.retain(|(_, count)| std::mem::replace(&mut before, *count) < *count);
    replies.reply(Reply::Map(2));
    replies.reply(Reply::Value(b"calls"));
    replies.reply(Reply::Count(requests));
    replies.reply(Reply::Value(b"histogram_usec"));
    replies.reply(Reply::Map(buckets.len()));
    for (microseconds, count) in buckets {
        replies.reply(Reply::Count(microseconds));
        replies.reply(Reply::Count(count));
    }
}
