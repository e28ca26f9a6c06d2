//! Commands of replicas; and those of Redis for its replicas and clusters, which there are none of: for its clients and tools, which
//! then end with words.
//!
//! In: requests. Out: the feed of a replica, another role; or what a Redis without replicas and cluster answers.

use std::sync::Arc;

use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::data::options::number_of;
use crate::command::following::refusal_of;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::server::admin::ELSEWHERE;
use crate::command::spec::Flag::{LoadingOk, NotInMulti, Receives, Slow, SubscribedOk};
use crate::command::spec::{ANY, Dialects, Group, Scope};
use crate::command::stream::{Pull, Pulled, Source};
use crate::protocol::{ErrorCode, ErrorReply, Reply};
use crate::replication::{LinkState, host_and_port};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::admin("REPLICATE", "[<timeline> <revision>]", 0..=2, replicate)
        .on(Scope::Keyspace)
        .flags(&[NotInMulti, SubscribedOk, Receives])
        .only(Dialects::Line)
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("REPLICATE")
        .summary("Receive the lines of the journal, as a replica: after a revision, or all files before."),
    Row::admin("REPLICATED", "<revision>", 1..=1, replicated)
        .flags(&[NotInMulti, SubscribedOk])
        .only(Dialects::Line)
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("REPLICATED 812")
        .summary("Tell the primary, as a replica, up to which revision all is here."),
    Row::admin("PROMOTE", "", 0..=0, promote)
        .flags(&[NotInMulti, Slow])
        .refused_in_cluster(ErrorCode::Denied, ELSEWHERE)
        .example("PROMOTE")
        .summary("Let a replica take changes; it follows its primary no more."),
    Row::admin("ROLE", "", 0..=0, role)
        .flags(&[LoadingOk])
        .only(Dialects::Resp)
        .example("ROLE")
        .summary("Return the role of the server: master, with its replicas, or slave, with its master."),
    Row::admin("REPLICAOF", "<host> <port>", 2..=2, replicaof)
        .flags(&[Slow])
        .only(Dialects::Resp)
        .example("REPLICAOF NO ONE")
        .summary("Known to Redis clients; refused, but for NO ONE on a primary."),
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

fn replicate(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let place = match words {
        [] => None,
        [timeline, revision] => {
            let revision = u64::try_from(number_of(revision)?);
            let revision = revision.map_err(|_| bad_argument("a revision is not below 0"))?;
            Some((String::from_utf8_lossy(timeline).into_owned(), revision))
        }
        _ => return Err(call.syntax_error()),
    };
    let client = call.client()?;
    if !call.session.following.is_empty() {
        return Err(bad_argument(
            "this connection follows already; a replica has one of its own",
        ));
    }
    let engine = Arc::clone(call.service.engine()?);
    let feed = engine.feed_replica(place.as_ref().map(|(id, revision)| (&**id, *revision)));
    let feed = feed.map_err(|error| refusal_of(&error))?;
    audit::called(call, "");
    let replication = Arc::clone(&call.service.replication);
    let peer = (client.id, client.address.to_string());
    call.session
        .following
        .replicate(peer, feed, (engine, replication));
    Ok(Outcome::Done)
}

fn replicated(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let revision = u64::try_from(number_of(&words[0])?);
    let revision = revision.map_err(|_| bad_argument("a revision is not below 0"))?;
    let id = call.client()?.id;
    if !call.service.replication.note_reached(id, revision) {
        return Err(bad_argument(
            "this connection is no replica's; REPLICATE first",
        ));
    }
    call.done(Reply::Ok)
}

fn promote(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    audit::called(call, "");
    stream(Promote)
}

/// The reply to PROMOTE.
struct Promote;

impl Source for Promote {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let engine = Arc::clone(pull.service.engine()?);
        let replication = &pull.service.replication;
        if !replication.is_replica() {
            return Err(bad_argument("this server is no replica"));
        }
        replication.promoted.cancel();
        replication.ended.cancelled().await;
        // If all pairs were being replaced, they are whole now, or never.
        pull.service.check_ready()?;
        engine.begin_timeline()?;
        replication.set_primary();
        tracing::warn!(
            "promoted at revision {}: changes are taken from now on",
            engine.revision()
        );
        pull.replies.reply(Reply::Ok);
        Ok(Pulled::End)
    }
}

fn role(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let replication = &call.service.replication;
    let revision = call.service.revision();
    if let Some(overview) = replication.overview() {
        let state = match overview.state {
            LinkState::Connecting => "connect",
            LinkState::Copying => "sync",
            LinkState::Following => "connected",
        };
        let (host, port) = host_and_port(&overview.primary);
        call.replies.reply(Reply::Array(5));
        call.replies.reply(Reply::Value(b"slave"));
        call.replies.reply(Reply::Value(host.as_bytes()));
        call.replies.reply(Reply::Count(port.parse().unwrap_or(0)));
        call.replies.reply(Reply::Value(state.as_bytes()));
        return call.done(Reply::Count(revision));
    }
    let replicas = replication.replicas();
    call.replies.reply(Reply::Array(3));
    call.replies.reply(Reply::Value(b"master"));
    call.replies.reply(Reply::Count(revision));
    call.replies.reply(Reply::Array(replicas.len()));
    for replica in replicas {
        let (host, port) = host_and_port(&replica.address);
        call.replies.reply(Reply::Array(3));
        for word in [host, port, &replica.revision.to_string()] {
            call.replies.reply(Reply::Value(word.as_bytes()));
        }
    }
    Ok(Outcome::Done)
}

fn replicaof(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    if words[0].eq_ignore_ascii_case(b"NO") && words[1].eq_ignore_ascii_case(b"ONE") {
        if call.service.replication.is_replica() {
            return Err(bad_argument("PROMOTE makes this replica a primary"));
        }
        return call.done(Reply::Ok);
    }
    Err(bad_argument(
        "this server cannot be a replica from now on, nor of Redis: start one with --replica-of pykv://HOST:PORT",
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
        "this server has no replicas of Redis's kind and does not send its data as an RDB file; BACKUP copies the data, --replica-of follows it",
    ))
}

fn failover(_call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    Err(bad_argument("FAILOVER requires connected replicas."))
}

fn cluster(_call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    Err(bad_argument("This instance has cluster support disabled"))
}
