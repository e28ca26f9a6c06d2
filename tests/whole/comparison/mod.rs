//! The same requests to our server and to a real Redis, made by chance: the same replies, byte for byte, but for what one table
//! explains.
//!
//! In: a seed, and how much to try: `PYKV_COMPARISON_SEED` and `PYKV_COMPARISON_TIMES` (as much again) are for long runs. Out: nothing, or the
//! fewest requests that show each of the first differences.

mod commands;
mod differences;
mod mistakes;
mod play;
mod reply;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::support::redis::Redis;
use crate::support::server::{TestServer, is_skipped};
use commands::Commands;
use differences::{DIFFERENCES, Example, MISSING, difference};
use play::Words;
use pykv::command::COMMANDS;
use reply::Reply;

/// How many plays an ordinary run has, of how many steps, and how many connections with broken frames.
const PLAYS: u64 = 60;
const STEPS: usize = 400;
const CONNECTIONS: u64 = 2000;

/// How many failures are enough.
const FAILURES_MAX: usize = 20;

/// A number that is set from outside.
fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |set| set.parse().expect("a whole number"))
}

/// A real Redis, and ours.
fn servers() -> (Redis, TestServer, [SocketAddr; 2]) {
    let (redis, ours) = (Redis::start(), TestServer::start());
    let servers = [redis.addr, ours.addr()];
    (redis, ours, servers)
}

/// Compares so many times, each time with its own random numbers, and fails with what was found.
fn compare_all(plays: u64, compare: impl Fn(&mut fastrand::Rng) -> Result<(), String>) {
    let first = setting("PYKV_COMPARISON_SEED", 1);
    let plays = setting("PYKV_COMPARISON_TIMES", 1) * plays;
    let found = (first..first + plays).filter_map(|seed| {
        let found = compare(&mut fastrand::Rng::with_seed(seed)).err();
        found.map(|found| format!("seed {seed}:\n{found}"))
    });
    fail_with(found);
}

/// Fails if there are failures, with one of each kind: those that end with the same words of ours are one.
fn fail_with(found: impl Iterator<Item = String>) {
    let mut kinds = BTreeMap::new();
    for found in found {
        let kind = found.rsplit("says").next().unwrap_or_default().to_owned();
        kinds.entry(kind).or_insert(found);
        if kinds.len() == FAILURES_MAX {
            break;
        }
    }
    let found: Vec<String> = kinds.into_values().collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn well_formed_commands_are_answered_as_redis_answers_them() {
    if is_skipped("redis-server") {
        return;
    }
    let (_redis, _ours, servers) = servers();
    compare_all(PLAYS, |random| {
        play::compare(servers, &Commands::steps(random, STEPS))
    });
}

#[test]
fn wrong_requests_are_refused_as_redis_refuses_them() {
    if is_skipped("redis-server") {
        return;
    }
    let (_redis, _ours, servers) = servers();
    compare_all(PLAYS, |random| {
        play::compare(servers, &mistakes::steps(random, STEPS))
    });
}

#[test]
fn broken_frames_are_refused_as_redis_refuses_them() {
    if is_skipped("redis-server") {
        return;
    }
    let (_redis, _ours, servers) = servers();
    let rare = mistakes::rare_frames();
    fail_with(
        rare.iter()
            .filter_map(|bytes| play::compare_bytes(servers, bytes).err()),
    );
    compare_all(CONNECTIONS, |random| {
        play::compare_bytes(servers, &mistakes::frames(random))
    });
}

#[test]
fn every_command_of_redis_is_there_and_takes_as_many_words_or_is_named_as_missing() {
    if is_skipped("redis-server") {
        return;
    }
    let (_redis, _ours, servers) = servers();
    let list = play::last_replies(servers, &[vec![b"COMMAND".to_vec(), b"LIST".to_vec()]]);
    let names = list[0].items.iter().filter_map(|name| name.body.as_deref());
    let names: Vec<&str> = names.flat_map(std::str::from_utf8).collect();
    assert!(names.len() > 300, "{names:?}");
    let missing: Vec<&str> = MISSING
        .iter()
        .flat_map(|family| family.split_whitespace())
        .collect();
    let found = names.iter().filter_map(|name| {
        let words: Words = name.split('|').map(Into::into).collect();
        if missing.contains(name) {
            let ours = play::reply_of(servers[1], &words);
            let is_unknown = ours.head.starts_with(b"-ERR unknown ");
            return (!is_unknown).then(|| format!("{name} is there"));
        }
        // Redis would begin to send its data.
        if ["sync", "psync"].contains(name) {
            return None;
        }
        // Without a word more, this one would be the last.
        let mut counts = usize::from(*name == "shutdown")..8;
        counts.find_map(|count| {
            let more = std::iter::repeat_n(b"x".to_vec(), count);
            let request: Words = words.iter().cloned().chain(more).collect();
            let difference = taken_differently(servers, &request)?;
            Some(format!("{name} and {count} words: {difference}"))
        })
    });
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// How so many words are answered differently: as a request of its own, or as one that is to wait for EXEC.
fn taken_differently(servers: [SocketAddr; 2], words: &Words) -> Option<String> {
    let [redis, ours] = play::last_replies(servers, std::slice::from_ref(words));
    if difference(words, &redis.bytes(), &ours.bytes()).is_some_and(|row| row.parts) {
        return None;
    }
    let is_refused = |reply: &Reply| {
        let reasons = [&b"-ERR wrong number"[..], b"-ERR unknown", b"-EXECABORT"];
        reasons.iter().any(|reason| reply.head.starts_with(reason))
    };
    let alone =
        (redis != ours && (is_refused(&redis) || is_refused(&ours))).then_some([redis, ours]);
    let multi = vec![b"MULTI".to_vec()];
    let [redis, ours] = play::last_replies(servers, &[multi, words.clone()]);
    let is_known = difference(words, &redis.bytes(), &ours.bytes()).is_some();
    let queued = (redis != ours && !is_known).then_some([redis, ours]);
    let [redis, ours] = alone.or(queued)?;
    let (redis, ours) = (redis.head.escape_ascii(), ours.head.escape_ascii());
    Some(format!("redis says {redis}, ours says {ours}"))
}

#[test]
fn the_keys_of_a_command_stand_where_redis_has_them_and_are_used_as_there() {
    if is_skipped("redis-server") {
        return;
    }
    let (_redis, _ours, servers) = servers();
    // First key, last key, step, and the specifications but for their notes.
    let keys_of = |server, name: &str| -> Option<Vec<u8>> {
        let words: Words = ["COMMAND", "INFO", name].map(Into::into).to_vec();
        let reply = play::reply_of(server, &words);
        let row = &reply.items[0].items;
        let specs = row.get(8)?.items.iter();
        let notes = |spec: &Reply| spec.items[0].body.as_deref() == Some(b"notes");
        let fields = specs.flat_map(|spec| &spec.items[if notes(spec) { 2 } else { 0 }..]);
        Some(
            row[3..6]
                .iter()
                .chain(fields)
                .flat_map(Reply::bytes)
                .collect(),
        )
    };
    let named = COMMANDS
        .iter()
        .filter(|command| !command.key_specs().is_empty());
    let mut compared = 0;
    for command in named {
        // The keys of these stand with each subcommand.
        let name = match command.name {
            "OBJECT" => "OBJECT|ENCODING",
            "MEMORY" => "MEMORY|USAGE",
            name => name,
        };
        let Some(redis) = keys_of(servers[0], name) else {
            continue;
        };
        let ours = keys_of(servers[1], name).expect("a command of the table");
        assert_eq!(
            ours.escape_ascii().to_string(),
            redis.escape_ascii().to_string(),
            "{name}"
        );
        compared += 1;
    }
    assert!(compared > 40, "only {compared} commands were compared");
}

/// What COMMAND INFO may tell otherwise: of every command, and of some. What has no meaning here is left out, and what is refused here in
/// a transaction or not shown is told so.
const FLAGS_APART: &str = "noscript stale allow_busy no_async_loading no_mandatory_keys may_replicate movablekeys no_multi \
    skip_monitor skip_slowlog @connection @keyspace loading";
const COMMANDS_APART: &[(&str, &str)] = &[
    // Writes, or reads, only what was queued or watched.
    ("exec", "write"),
    ("watch", "readonly"),
    // Is refused, and so writes nothing.
    ("swapdb", "write"),
    ("swapdb", "@write"),
    ("swapdb", "@dangerous"),
    // Redis has them in the category, and not the flag.
    ("lastsave", "admin"),
    ("role", "admin"),
    ("wait", "blocking"),
    // Reads no pair.
    ("lolwut", "readonly"),
    ("lolwut", "@read"),
    ("pubsub|help", "@pubsub"),
];

#[test]
fn commands_and_subcommands_have_the_words_flags_categories_and_tips_that_redis_tells() {
    if is_skipped("redis-server") {
        return;
    }
    let (_redis, _ours, servers) = servers();
    let tell = |server| -> BTreeMap<String, (Vec<u8>, BTreeSet<String>)> {
        let reply = play::reply_of(server, &[b"COMMAND".to_vec()]);
        let mut rows: Vec<Reply> = reply.items;
        let mut told = BTreeMap::new();
        while let Some(row) = rows.pop() {
            let text = |reply: &Reply| {
                let body = reply
                    .body
                    .clone()
                    .unwrap_or_else(|| reply.head[1..].to_vec());
                String::from_utf8_lossy(&body).trim().to_owned()
            };
            let words = [2, 6, 7].map(|place| &row.items[place].items);
            let words = words.into_iter().flatten().map(text).collect();
            // Redis tells nothing of a command that has subcommands, but of these.
            if row.items[9].items.is_empty() {
                told.insert(text(&row.items[0]), (row.items[1].bytes(), words));
            }
            rows.extend(row.items[9].items.iter().cloned());
        }
        told
    };
    let [redis, ours] = servers.map(tell);
    let mut compared = 0;
    for (name, (arity, words)) in &ours {
        let Some((of_redis, words_of_redis)) = redis.get(name) else {
            continue;
        };
        assert_eq!(arity, of_redis, "{name}");
        let different: Vec<&str> = words
            .symmetric_difference(words_of_redis)
            .map(String::as_str)
            .filter(|word| !FLAGS_APART.split_whitespace().any(|apart| apart == *word))
            .filter(|word| !COMMANDS_APART.contains(&(name, word)))
            .collect();
        assert_eq!(different, [""; 0], "{name}");
        compared += 1;
    }
    assert!(compared > 120, "only {compared} were compared");
}

#[test]
fn every_known_difference_is_there_and_stands_in_protocol_md() {
    if is_skipped("redis-server") {
        return;
    }
    let (_redis, _ours, servers) = servers();
    let words_of = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let protocol = words_of(include_str!("../../../protocol.md"));
    for row in DIFFERENCES {
        let seen = match row.example {
            Example::Bytes(bytes) => {
                let said =
                    servers.map(|server| play::said(server, bytes, true).expect("it closes"));
                (vec![bytes.to_vec()], said)
            }
            Example::Requests(requests) => {
                let requests: Vec<Words> = requests
                    .iter()
                    .map(|words| words.iter().map(|word| word.to_vec()).collect())
                    .collect();
                let replies = play::last_replies(servers, &requests);
                (
                    requests.last().cloned().expect("a request"),
                    replies.map(|reply| reply.bytes()),
                )
            }
        };
        let (words, [redis, ours]) = &seen;
        assert_ne!(redis, ours, "{}", row.line);
        let explained = difference(words, redis, ours).map(|row| row.line);
        assert_eq!(
            explained,
            Some(row.line),
            "{} and {}",
            redis.escape_ascii(),
            ours.escape_ascii()
        );
        assert!(
            protocol.contains(row.line),
            "protocol.md does not say: {}",
            row.line
        );
    }
}

#[test]
fn two_real_ones_differ_in_nothing_and_one_that_is_changed_is_found_out() {
    if is_skipped("redis-server") {
        return;
    }
    let redis = Redis::start();
    let other = Redis::start();
    compare_all(PLAYS / 20, |random| {
        play::compare([redis.addr, other.addr], &Commands::steps(random, STEPS))?;
        play::compare([redis.addr, other.addr], &mistakes::steps(random, STEPS))
    });
    let changed = Redis::start_with(&["--rename-command", "PERSIST", ""]);
    // Chance does not put it into every play.
    let found = (1..=10).find_map(|seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let steps = Commands::steps(&mut random, STEPS);
        play::compare([redis.addr, changed.addr], &steps).err()
    });
    let found = found.expect("it has no PERSIST");
    assert!(
        found.contains("PERSIST") && found.lines().count() <= 4,
        "{found}"
    );
}
