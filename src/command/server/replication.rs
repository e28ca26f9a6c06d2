//! Commands of Redis for replicas and clusters, which there are none of: for its clients and tools, which then end with words.
//!
//! In: requests in RESP. Out: what a Redis without replicas and cluster answers. Promise: no data is sent or changed.

use crate::command::call::{Answer, Arguments, Call};
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::Flag::{LoadingOk, NotInMulti, Slow};
use crate::command::spec::{ANY, Dialects, Group};
use crate::protocol::Reply;

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin("ROLE", "", 0..=0, role)
        .flags(&[LoadingOk])
        .only(Dialects::Resp)
        .example("ROLE")
        .summary("Return the role of the server and its replicas: a master without any."),
    Row::admin("REPLICAOF", "<host> <port>", 2..=2, replicaof)
        .flags(&[Slow])
        .only(Dialects::Resp)
        .example("REPLICAOF NO ONE")
        .summary("Known to Redis clients; refused, but for NO ONE."),
    Row::admin("SLAVEOF", "<host> <port>", 2..=2, replicaof)
        .flags(&[Slow])
        .only(Dialects::Resp)
        .example("SLAVEOF NO ONE")
        .summary("Known to Redis clients; refused, but for NO ONE."),
    Row::admin("REPLCONF", "[<option> <value> ...]", 0..=ANY, replconf)
        .flags(&[LoadingOk, Slow])
        .only(Dialects::Resp)
        .example("REPLCONF capa eof")
        .summary("Known to Redis's replicas; changes nothing."),
    Row::admin("SYNC", "", 0..=0, sync)
        .flags(&[NotInMulti, Slow])
        .only(Dialects::Resp)
        .example("SYNC")
        .summary("Known to Redis's replicas; refused."),
    Row::admin("PSYNC", "<id> <offset> [<argument> ...]", 2..=ANY, sync)
        .flags(&[NotInMulti, Slow])
        .only(Dialects::Resp)
        .example("PSYNC ? -1")
        .summary("Known to Redis's replicas; refused."),
    Row::admin("FAILOVER", "[<argument> ...]", 0..=ANY, failover)
        .flags(&[Slow])
        .only(Dialects::Resp)
        .example("FAILOVER")
        .summary("Known to Redis clients; refused, as there are no replicas."),
    Row::connection("CLUSTER", "<subcommand> [<argument> ...]", 1..=ANY, cluster)
        .group(Group::Cluster)
        .flags(&[LoadingOk, Slow])
        .only(Dialects::Resp)
        .example("CLUSTER INFO")
        .summary("Known to Redis clients; refused, as there is no cluster."),
    Row::connection("READONLY", "", 0..=0, cluster)
        .group(Group::Cluster)
        .flags(&[LoadingOk])
        .only(Dialects::Resp)
        .example("READONLY")
        .summary("Known to Redis clients; refused, as there is no cluster."),
    Row::connection("READWRITE", "", 0..=0, cluster)
        .group(Group::Cluster)
        .flags(&[LoadingOk])
        .only(Dialects::Resp)
        .example("READWRITE")
        .summary("Known to Redis clients; refused, as there is no cluster."),
    Row::connection("ASKING", "", 0..=0, cluster)
        .group(Group::Cluster)
        .only(Dialects::Resp)
        .example("ASKING")
        .summary("Known to Redis clients; refused, as there is no cluster."),
];

fn role(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    call.replies.reply(Reply::Array(3));
    call.replies.reply(Reply::Value(b"master"));
    call.replies.reply(Reply::Count(0));
    call.done(Reply::Array(0))
}

fn replicaof(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if words[0].eq_ignore_ascii_case(b"NO") && words[1].eq_ignore_ascii_case(b"ONE") {
        return call.done(Reply::Ok);
    }
    Err(bad_argument(
        "this server cannot be a replica; FOLLOW sends the changes of another one",
    ))
}

/// Options that Redis's replicas and redis-cli send.
const REPLCONF_OPTIONS: [&str; 7] = [
    "listening-port",
    "ip-address",
    "capa",
    "ack",
    "getack",
    "rdb-only",
    "rdb-filter-only",
];

fn replconf(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if !words.len().is_multiple_of(2) {
        return Err(call.syntax_error());
    }
    let is_known = |word: &[u8]| {
        let mut options = REPLCONF_OPTIONS.iter();
        options.any(|option| word.eq_ignore_ascii_case(option.as_bytes()))
    };
    match words.iter().step_by(2).find(|word| !is_known(word)) {
        None => call.done(Reply::Ok),
        Some(word) => {
            let word = String::from_utf8_lossy(word);
            Err(bad_argument(format!(
                "Unrecognized REPLCONF option: {word}"
            )))
        }
    }
}

fn sync(_call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    Err(bad_argument(
        "this server has no replicas and does not send its data as an RDB file; BACKUP copies the data, FOLLOW sends changes",
    ))
}

fn failover(_call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    Err(bad_argument("FAILOVER requires connected replicas."))
}

fn cluster(_call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    Err(bad_argument("This instance has cluster support disabled"))
}
