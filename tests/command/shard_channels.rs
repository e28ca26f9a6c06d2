//! Shard channels: their messages, their subscribers, and that they have nothing to do with other channels.

use crate::support::resp::Resp;
use crate::support::server::{TestServer, wait_until};

#[test]
fn a_message_reaches_the_subscribers_of_the_shard_channel_alone() {
    let server = TestServer::start();
    let connect = || Resp::connect(server.addr());
    let (mut shard, mut plain, mut publisher) = (connect(), connect(), connect());
    assert_eq!(shard.ask("SSUBSCRIBE news"), "ssubscribe news 1");
    assert_eq!(plain.ask("SUBSCRIBE news"), "subscribe news 1");
    assert_eq!(plain.ask("PSUBSCRIBE n*"), "psubscribe n* 2");
    assert_eq!(publisher.ask("SPUBLISH news one"), "1");
    assert_eq!(shard.reply(), "smessage news one");
    assert_eq!(publisher.ask("PUBLISH news two"), "2");
    assert_eq!(plain.reply(), "message news two");
    assert_eq!(plain.reply(), "pmessage n* news two");
    assert_eq!(publisher.ask("SPUBLISH other x"), "0");
    assert_eq!(publisher.ask("PUBSUB SHARDCHANNELS"), "news");
    assert_eq!(publisher.ask("PUBSUB SHARDCHANNELS x*"), "");
    assert_eq!(
        publisher.ask("PUBSUB SHARDNUMSUB news other"),
        "news 1 other 0"
    );
    assert_eq!(publisher.ask("PUBSUB CHANNELS"), "news");
    let list = publisher.ask("CLIENT LIST");
    assert!(list.contains("sub=0 psub=0 ssub=1 "), "{list}");
    assert!(list.contains("sub=1 psub=1 ssub=0 "), "{list}");
    // Each kind counts for itself, and ends by its own command.
    assert_eq!(shard.ask("SUBSCRIBE a"), "subscribe a 1");
    assert_eq!(shard.ask("UNSUBSCRIBE"), "unsubscribe a 0");
    assert_eq!(shard.ask("SSUBSCRIBE b"), "ssubscribe b 2");
    assert_eq!(shard.ask("SUNSUBSCRIBE news"), "sunsubscribe news 1");
    assert_eq!(shard.ask("SUNSUBSCRIBE"), "sunsubscribe b 0");
    assert_eq!(shard.ask("SUNSUBSCRIBE"), "sunsubscribe -1 0");
    assert_eq!(publisher.ask("SPUBLISH news three"), "0");
}

#[test]
fn a_subscriber_in_resp2_may_not_read_and_one_that_leaves_is_forgotten() {
    let server = TestServer::start();
    let mut shard = Resp::connect(server.addr());
    let mut other = Resp::connect(server.addr());
    assert_eq!(shard.ask("SSUBSCRIBE news"), "ssubscribe news 1");
    assert!(shard.ask("GET a").starts_with("ERR Can't execute 'get'"));
    assert_eq!(shard.ask("RESET"), "RESET");
    assert_eq!(shard.ask("GET a"), "-1");
    assert_eq!(other.ask("PUBSUB SHARDCHANNELS"), "");
    assert_eq!(shard.ask("SSUBSCRIBE news"), "ssubscribe news 1");
    drop(shard);
    wait_until("it is forgotten", || {
        other.ask("PUBSUB SHARDNUMSUB news") == "news 0"
    });
}

#[test]
fn a_message_of_a_transaction_is_sent_once_that_is_made() {
    let server = TestServer::start();
    let (mut shard, mut other) = (Resp::connect(server.addr()), Resp::connect(server.addr()));
    assert!(shard.ask("HELLO 3").contains("server"));
    assert_eq!(shard.ask("SSUBSCRIBE news"), "ssubscribe news 1");
    assert_eq!(other.ask("MULTI"), "OK");
    assert_eq!(other.ask("SPUBLISH news now"), "QUEUED");
    assert_eq!(other.ask("EXEC"), "1");
    assert_eq!(shard.reply(), "smessage news now");
    assert_eq!(shard.ask("GET a"), "nil");
}
