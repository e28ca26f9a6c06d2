//! Publish/subscribe: SUBSCRIBE, PUBLISH and their relatives.
//!
//! In: subscriptions, and messages. Out: messages in the outboxes of subscribers. Promises: each subscriber receives the messages
//! of a channel in order; no message is kept for later subscribers; however many patterns there are, other tasks run in between.
//! Source: <https://redis.io/docs/latest/develop/pubsub/>.

use std::sync::Arc;

use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::channels::{
    CHANNEL_BYTES_MAX, ChannelWalk, Channels, Delivery, SUBSCRIBED_BYTES_MAX, SUBSCRIPTIONS_MAX,
    Space,
};
use crate::command::clients::Client;
use crate::command::glob::Pattern;
use crate::command::notices::Deferred;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::session::{CHANNEL_COPIES, PATTERN_COPIES, Session};
use crate::command::spec::Flag::{LoadingOk, NotInMulti, Receives, SubscribedOk};
use crate::command::spec::{Access, ChannelUse, Dialects, Scope, Subcommand};
use crate::command::stream::{Pull, Pulled, Source};
use crate::command::subcommands::{doubtful_subcommand, other_subcommand};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply, Subscription};

/// Why there are no shard channels where a cluster has the data.
const SHARDS_ELSEWHERE: &str =
    "a cluster has the data (--engine), whose nodes have the shard channels; PUBLISH reaches all";

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
        "SSUBSCRIBE",
        "<channel> [<channel> ...]",
        1..=SUBSCRIPTIONS_MAX,
        ssubscribe,
    )
    .on(Scope::Channels(ChannelUse::Subscribe))
    .flags(&[LoadingOk, NotInMulti, SubscribedOk, Receives])
    .only(Dialects::Resp)
    .refused_in_cluster(ErrorCode::Denied, SHARDS_ELSEWHERE)
    .example("SSUBSCRIBE news")
    .summary("Subscribe to shard channels, which have messages of their own."),
    Row::pubsub(
        "SUNSUBSCRIBE",
        "[<channel> ...]",
        0..=SUBSCRIPTIONS_MAX,
        sunsubscribe,
    )
    .on(Scope::Channels(ChannelUse::Unsubscribe))
    .flags(&[LoadingOk, NotInMulti, SubscribedOk])
    .only(Dialects::Resp)
    .refused_in_cluster(ErrorCode::Denied, SHARDS_ELSEWHERE)
    .example("SUNSUBSCRIBE")
    .summary("Unsubscribe from shard channels, or from all."),
    Row::pubsub("SPUBLISH", "<channel> <message>", 2..=2, spublish)
        .on(Scope::Channels(ChannelUse::Publish))
        .flags(&[LoadingOk])
        .only(Dialects::Resp)
        .refused_in_cluster(ErrorCode::Denied, SHARDS_ELSEWHERE)
        .example("SPUBLISH news hello")
        .summary(
            "Send a message to the subscribers of a shard channel; answers the number of receivers.",
        ),
    Row::pubsub(
        "PUBSUB",
        "CHANNELS [<pattern>] | NUMSUB [<channel> ...] | NUMPAT | SHARDCHANNELS [<pattern>] | SHARDNUMSUB [<channel> ...]",
        1..=SUBSCRIPTIONS_MAX,
        pubsub,
    )
    .subcommands(&PUBSUB_SUBCOMMANDS)
    .flags(&[LoadingOk])
    .example("PUBSUB NUMPAT")
    .summary("List the channels that have subscribers, or count subscribers or patterns."),
];

const PUBSUB_SUBCOMMANDS: [Subcommand; 6] = [
    Subcommand::new(
        "CHANNELS",
        Access::PubSub,
        "List the channels that have subscribers.",
    ),
    Subcommand::new(
        "NUMSUB",
        Access::PubSub,
        "Count the subscribers of channels.",
    ),
    Subcommand::new(
        "NUMPAT",
        Access::PubSub,
        "Count the patterns that have subscribers.",
    ),
    Subcommand::new(
        "SHARDCHANNELS",
        Access::PubSub,
        "List the shard channels that have subscribers.",
    ),
    Subcommand::new(
        "SHARDNUMSUB",
        Access::PubSub,
        "Count the subscribers of shard channels.",
    ),
    Subcommand::HELP,
];

/// Subscribes to channels or patterns, by `add`.
fn begin(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    event: Subscription,
    add: impl Fn(&Channels, &mut Session, usize, &Arc<Client>),
) -> Answer {
    let client = call.client()?;
    call.session.pushes_lines = !call.dialect.is_resp();
    for (place, name) in words.iter().enumerate() {
        add(&call.service.channels, call.session, place, &client);
        let count = call.session.subscriptions_like(event);
        let reply = Reply::Subscription(event, Some(name), count);
        call.replies.reply(reply);
    }
    call.session.count_subscriptions();
    Ok(Outcome::Done)
}

/// Checks that the client may subscribe to these names, and charges their memory.
///
/// # Errors
/// `TOO_LARGE`, or `FULL`.
fn admit(call: &mut Call<'_, '_>, words: &Arguments<'_>, copies: usize) -> Result<(), ErrorReply> {
    if call.session.subscriptions() + words.len() > SUBSCRIPTIONS_MAX {
        return Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!("one client may have {SUBSCRIPTIONS_MAX} subscriptions"),
        ));
    }
    let bytes: usize = words.iter().map(|word| word.len()).sum();
    if call.session.subscribed_bytes + bytes > SUBSCRIBED_BYTES_MAX {
        return Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!(
                "the subscriptions of one client may have {SUBSCRIBED_BYTES_MAX} bytes; subscribe to shorter names"
            ),
        ));
    }
    call.session.reserve_subscriptions(words, copies)
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
    subscribe_in(call, words, (Space::Channels, Subscription::Begun))
}

fn ssubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    subscribe_in(call, words, (Space::Shards, Subscription::ShardBegun))
}

fn subscribe_in(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    (space, event): (Space, Subscription),
) -> Answer {
    words.iter().try_for_each(|name| check_channel(name))?;
    admit(call, words, CHANNEL_COPIES)?;
    let add = |all: &Channels, session: &mut Session, place: usize, client: &Arc<Client>| {
        let name = &*words[place];
        if session.channels_of(space).insert(name.into()) {
            session.subscribed_bytes += name.len();
            all.of(space).add(name, || (), client);
        }
    };
    begin(call, words, event, add)
}

fn psubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    // Before the patterns are made, which takes more memory than their text.
    admit(call, words, PATTERN_COPIES)?;
    let patterns = words
        .iter()
        .map(|pattern| Ok(Arc::new(Pattern::parse(pattern)?)));
    let patterns: Vec<Arc<Pattern>> = patterns.collect::<Result<_, ErrorReply>>()?;
    let add = |all: &Channels, session: &mut Session, place: usize, client: &Arc<Client>| {
        let text = &*words[place];
        if session.patterns.insert(text.into()) {
            session.subscribed_bytes += text.len();
            session.pattern_bytes += text.len();
            all.patterns
                .add(text, || Arc::clone(&patterns[place]), client);
        }
    };
    begin(call, words, Subscription::PatternBegun, add)
}

fn unsubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    unsubscribe_in(call, words, (Space::Channels, Subscription::Ended))
}

fn sunsubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    unsubscribe_in(call, words, (Space::Shards, Subscription::ShardEnded))
}

fn unsubscribe_in(
    call: &mut Call<'_, '_>,
    words: &Arguments<'_>,
    (space, event): (Space, Subscription),
) -> Answer {
    let names = named_or(words, call.session.channels_of(space).iter());
    let client = call.client()?;
    let remove = |all: &Channels, session: &mut Session, name: &[u8]| {
        if session.channels_of(space).remove(name) {
            session.subscribed_bytes -= name.len();
            all.of(space).remove(name, &client);
        }
    };
    end(call, &names, event, remove)
}

fn punsubscribe(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let names = named_or(words, call.session.patterns.iter());
    let client = call.client()?;
    let remove = |all: &Channels, session: &mut Session, text: &[u8]| {
        if session.patterns.remove(text) {
            session.subscribed_bytes -= text.len();
            session.pattern_bytes -= text.len();
            all.patterns.remove(text, &client);
        }
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
        let count = call.session.subscriptions_like(event);
        let reply = Reply::Subscription(event, Some(name), count);
        call.replies.reply(reply);
    }
    if names.is_empty() {
        let count = call.session.subscriptions_like(event);
        call.replies.reply(Reply::Subscription(event, None, count));
    }
    call.session.count_subscriptions();
    Ok(Outcome::Done)
}

fn publish(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    publish_in(call, words, Space::Channels)
}

fn spublish(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    publish_in(call, words, Space::Shards)
}

fn publish_in(call: &mut Call<'_, '_>, words: &Arguments<'_>, space: Space) -> Answer {
    check_channel(&words[0])?;
    if call.service.cluster().is_some() {
        return stream(PublishingInCluster {
            channel: (*words[0]).into(),
            payload: (*words[1]).into(),
        });
    }
    let channels = &call.service.channels;
    if call.transaction.is_some() {
        // What is told before the commit may never be made.
        let receivers = channels.receivers(space, &words[0]);
        let message = Deferred::Message(space, (*words[0]).into(), (*words[1]).into());
        call.session.deferred.push(message);
        return call.done(Reply::Count(receivers));
    }
    let mut publishing = Publishing {
        delivery: channels.publish(&call.service.client_memory, space, &words[0], &words[1]),
        own: None,
    };
    if call.dialect == Dialect::Resp3 {
        publishing.own = Some(call.client()?);
    }
    if publishing.delivery.proceed(channels) {
        return stream(publishing);
    }
    publishing.reply(call.replies);
    Ok(Outcome::Done)
}

/// A message that is published in the cluster that has the data.
struct PublishingInCluster {
    channel: Box<[u8]>,
    payload: Box<[u8]>,
}

impl Source for PublishingInCluster {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let cluster = pull.service.cluster().expect("it has the data");
        let receivers = cluster.publish(&self.channel, &self.payload).await?;
        pull.replies.reply(Reply::Count(receivers));
        Ok(Pulled::End)
    }
}

/// A message that is being delivered, and its publisher, if messages to itself precede the reply, as in Redis.
struct Publishing {
    delivery: Delivery,
    own: Option<Arc<Client>>,
}

impl Publishing {
    fn reply(&self, replies: &mut dyn Replies) {
        while let Some(message) = self.own.as_ref().and_then(|own| own.take_message()) {
            replies.reply(message.reply());
        }
        replies.reply(Reply::Count(self.delivery.receivers));
    }
}

impl Source for Publishing {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        while self.delivery.proceed(&pull.service.channels) {
            tokio::task::yield_now().await;
        }
        self.reply(pull.replies);
        Ok(Pulled::End)
    }
}

fn pubsub(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let channels = &call.service.channels;
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (name @ (b"CHANNELS" | b"SHARDCHANNELS"), [] | [_]) => {
            let space = if name == b"CHANNELS" {
                Space::Channels
            } else {
                Space::Shards
            };
            let pattern = Pattern::parse(words.get(1).map_or(b"*", |pattern| pattern))?;
            let user = call.session.identity.user(&call.service.users).cloned();
            let mut walk = Channels::matching(space, pattern, user);
            while walk.proceed(channels) {
                if call.transaction.is_none() {
                    return stream(walk);
                }
            }
            show_channels(&walk, call.replies);
            Ok(Outcome::Done)
        }
        (name @ (b"NUMSUB" | b"SHARDNUMSUB"), names) => {
            let space = if name == b"NUMSUB" {
                Space::Channels
            } else {
                Space::Shards
            };
            call.replies.reply(Reply::Array(2 * names.len()));
            for name in names {
                let count = channels.of(space).count(name);
                call.replies.reply(Reply::Value(name));
                call.replies.reply(Reply::Count(count as u64));
            }
            Ok(Outcome::Done)
        }
        (b"NUMPAT", []) => {
            let (_, patterns) = channels.counts();
            call.done(Reply::Count(patterns as u64))
        }
        (b"CHANNELS" | b"SHARDCHANNELS", _) => Err(doubtful_subcommand(call, &words[0])),
        _ => other_subcommand(call, words),
    }
}

fn show_channels(walk: &ChannelWalk, replies: &mut dyn Replies) {
    replies.reply(Reply::Array(walk.found.len()));
    for name in &walk.found {
        replies.reply(Reply::Value(name));
    }
}

impl Source for ChannelWalk {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        while self.proceed(&pull.service.channels) {
            tokio::task::yield_now().await;
        }
        show_channels(self, pull.replies);
        Ok(Pulled::End)
    }
}
