//! Publish/subscribe: SUBSCRIBE, PUBLISH and their relatives.
//!
//! In: subscriptions, and messages. Out: messages in the outboxes of subscribers. Promises: each subscriber receives the messages
//! of a channel in order; no message is kept for later subscribers.
//! Source: <https://redis.io/docs/latest/develop/pubsub/>.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::channels::{
    CHANNEL_BYTES_MAX, Channels, SUBSCRIPTIONS_MAX, add_subscriber, remove_subscriber,
};
use crate::command::clients::Client;
use crate::command::glob::Pattern;
use crate::command::row::Row;
use crate::command::session::Session;
use crate::command::spec::Flag::{LoadingOk, NotInMulti, Receives, SubscribedOk};
use crate::command::spec::{ChannelUse, Scope};
use crate::command::subcommands::{doubtful_subcommand, other_subcommand};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply, Subscription};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::pubsub(
        "SUBSCRIBE",
        "<channel> [<channel> ...]",
        1..=SUBSCRIPTIONS_MAX,
        subscribe,
    )
    .on(Scope::Channels(ChannelUse::Subscribe))
    .flags(&[LoadingOk, NotInMulti, SubscribedOk, Receives])
    .example("SUBSCRIBE news")
    .summary("Subscribe to channels."),
    Row::pubsub(
        "UNSUBSCRIBE",
        "[<channel> ...]",
        0..=SUBSCRIPTIONS_MAX,
        unsubscribe,
    )
    .on(Scope::Channels(ChannelUse::Unsubscribe))
    .flags(&[LoadingOk, NotInMulti, SubscribedOk])
    .example("UNSUBSCRIBE")
    .summary("Unsubscribe from channels, or from all."),
    Row::pubsub(
        "PSUBSCRIBE",
        "<pattern> [<pattern> ...]",
        1..=SUBSCRIPTIONS_MAX,
        psubscribe,
    )
    .on(Scope::Channels(ChannelUse::SubscribePatterns))
    .flags(&[LoadingOk, NotInMulti, SubscribedOk, Receives])
    .example("PSUBSCRIBE news:*")
    .summary("Subscribe to the channels whose names match patterns."),
    Row::pubsub(
        "PUNSUBSCRIBE",
        "[<pattern> ...]",
        0..=SUBSCRIPTIONS_MAX,
        punsubscribe,
    )
    .on(Scope::Channels(ChannelUse::Unsubscribe))
    .flags(&[LoadingOk, NotInMulti, SubscribedOk])
    .example("PUNSUBSCRIBE news:*")
    .summary("Unsubscribe from patterns, or from all."),
    Row::pubsub("PUBLISH", "<channel> <message>", 2..=2, publish)
        .on(Scope::Channels(ChannelUse::Publish))
        .flags(&[LoadingOk])
        .rest_at(1)
        .example("PUBLISH news hello there")
        .summary(
            "Send a message to the subscribers of a channel; answers the number of receivers.",
        ),
    Row::pubsub(
        "PUBSUB",
        "CHANNELS [<pattern>] | NUMSUB [<channel> ...] | NUMPAT",
        1..=SUBSCRIPTIONS_MAX,
        pubsub,
    )
    .flags(&[LoadingOk])
    .example("PUBSUB NUMPAT")
    .summary("List the channels that have subscribers, or count subscribers or patterns."),
];

/// Subscribes to channels or patterns, by `add`.
fn begin(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    event: Subscription,
    add: impl Fn(&Channels, &mut Session, &[u8], &Arc<Client>),
) -> Answer {
    let client = call.client()?;
    if call.session.subscriptions() + words.len() > SUBSCRIPTIONS_MAX {
        return Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!("one client may have {SUBSCRIPTIONS_MAX} subscriptions"),
        ));
    }
    call.session.reserve_subscriptions(words)?;
    call.session.pushes_lines = !call.dialect.is_resp();
    for name in words {
        add(&call.service.channels, call.session, name, &client);
        let count = call.session.subscriptions();
        let reply = Reply::Subscription(event, Some(name), count);
        call.replies.reply(reply);
    }
    call.session.count_subscriptions();
    Ok(Outcome::Done)
}

fn check_channel(name: &[u8]) -> Result<(), ErrorReply> {
    if name.len() <= CHANNEL_BYTES_MAX {
        return Ok(());
    }
    Err(ErrorReply::new(
        ErrorCode::TooLarge,
        format!(
            "the channel's name has {} bytes, and may have {CHANNEL_BYTES_MAX}",
            name.len()
        ),
    ))
}

fn subscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    words.iter().try_for_each(|name| check_channel(name))?;
    let add = |all: &Channels, session: &mut Session, name: &[u8], client: &Arc<Client>| {
        session.channels.insert(name.into());
        add_subscriber(&all.channels, name.into(), client);
    };
    begin(call, words, Subscription::Begun, add)
}

fn psubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    for pattern in words {
        Pattern::parse(pattern)?;
    }
    let add = |all: &Channels, session: &mut Session, name: &[u8], client: &Arc<Client>| {
        session.patterns.insert(name.into());
        add_subscriber(&all.patterns, Pattern::new(name), client);
    };
    begin(call, words, Subscription::PatternBegun, add)
}

fn unsubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let names = named_or(words, call.session.channels.iter());
    let client = call.client()?;
    let remove = |all: &Channels, session: &mut Session, name: &[u8]| {
        session.channels.remove(name);
        remove_subscriber(&all.channels, &name.into(), &client);
    };
    end(call, &names, Subscription::Ended, remove)
}

fn punsubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let names = named_or(words, call.session.patterns.iter());
    let client = call.client()?;
    let remove = |all: &Channels, session: &mut Session, name: &[u8]| {
        session.patterns.remove(name);
        remove_subscriber(&all.patterns, &Pattern::new(name), &client);
    };
    end(call, &names, Subscription::PatternEnded, remove)
}

/// Returns the given names, or all if none is given.
fn named_or<'a>(words: &Arguments<'_>, all: impl Iterator<Item = &'a Box<[u8]>>) -> Vec<Box<[u8]>> {
    if words.is_empty() {
        all.cloned().collect()
    } else {
        words.iter().map(|word| (**word).into()).collect()
    }
}

/// Unsubscribes from channels or patterns, by `remove`.
fn end(
    call: &mut Call<'_, '_>,
    names: &[Box<[u8]>],
    event: Subscription,
    remove: impl Fn(&Channels, &mut Session, &[u8]),
) -> Answer {
    for name in names {
        remove(&call.service.channels, call.session, name);
        let count = call.session.subscriptions();
        let reply = Reply::Subscription(event, Some(name), count);
        call.replies.reply(reply);
    }
    if names.is_empty() {
        let count = call.session.subscriptions();
        call.replies.reply(Reply::Subscription(event, None, count));
    }
    call.session.count_subscriptions();
    Ok(Outcome::Done)
}

fn publish(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    check_channel(&words[0])?;
    let receivers =
        call.service
            .channels
            .publish(&call.service.client_memory, &words[0], &words[1]);
    if call.dialect == Dialect::Resp3 && call.transaction.is_none() {
        // As in Redis, messages to the publisher itself are sent before the reply.
        let client = call.client()?;
        while let Some(message) = client.take_message() {
            call.replies.reply(message.reply());
        }
    }
    call.done(Reply::Count(receivers))
}

fn pubsub(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let channels = &call.service.channels;
    let all = channels.channels.read();
    let all = all.unwrap_or_else(PoisonError::into_inner);
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"CHANNELS", [] | [_]) => {
            let pattern = Pattern::parse(words.get(1).map_or(b"*", |pattern| pattern))?;
            let found: Vec<_> = all.keys().filter(|name| pattern.matches(name)).collect();
            call.replies.reply(Reply::Array(found.len()));
            for name in found {
                call.replies.reply(Reply::Value(name));
            }
            Ok(Outcome::Done)
        }
        (b"NUMSUB", names) => {
            call.replies.reply(Reply::Array(2 * names.len()));
            for name in names {
                let count = all.get(&**name).map_or(0, BTreeMap::len);
                call.replies.reply(Reply::Value(name));
                call.replies.reply(Reply::Count(count as u64));
            }
            Ok(Outcome::Done)
        }
        (b"NUMPAT", []) => {
            drop(all);
            let (_, patterns) = channels.counts();
            call.done(Reply::Count(patterns as u64))
        }
        (b"CHANNELS", _) => Err(doubtful_subcommand(call, &words[0])),
        _ => other_subcommand(call, words, &["NUMPAT"]),
    }
}
