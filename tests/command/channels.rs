//! What comes to a client by itself: messages, and the requests of others; and who is connected.
//!
//! In: several clients of one server, in both dialects. Out: nothing but the verdict.

use pykv::command::OUTBOX_BYTES_MAX;

use crate::support::server::{TestClient, TestServer, wait_until};

/// Sends a request as Redis clients do.
fn send(client: &mut TestClient, words: &[&str]) {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    client.send_bytes(bytes.as_bytes());
}

/// So many lines, joined by blanks.
fn lines(client: &mut TestClient, count: usize) -> String {
    let lines = (0..count).map(|_| client.reply().trim_end().to_owned());
    let lines: Vec<String> = lines.collect();
    lines.join(" ")
}

#[test]
fn what_is_published_comes_to_those_who_have_subscribed_by_name_or_pattern() {
    let server = TestServer::start();
    let (mut ann, mut bob, mut sender) = (server.client(), server.client(), server.client());
    ann.send("SUBSCRIBE news weather");
    assert_eq!(ann.reply(), "SUBSCRIBED \"news\" 1");
    assert_eq!(ann.reply(), "SUBSCRIBED \"weather\" 2");
    assert_eq!(bob.ask("PSUBSCRIBE n?ws*"), "PSUBSCRIBED \"n?ws*\" 1");
    assert_eq!(sender.ask("PUBLISH news hello there"), "COUNT 2");
    assert_eq!(sender.ask("PUBLISH sport none"), "COUNT 0");
    assert_eq!(ann.reply(), "MESSAGE \"news\" \"hello there\"");
    assert_eq!(bob.reply(), "PMESSAGE \"n?ws*\" \"news\" \"hello there\"");
    // On lines everything else goes on meanwhile.
    assert_eq!(ann.ask("PUT a 1"), "OK");
    ann.send("UNSUBSCRIBE");
    assert_eq!(ann.reply(), "UNSUBSCRIBED \"news\" 1");
    assert_eq!(ann.reply(), "UNSUBSCRIBED \"weather\" 0");
    assert_eq!(ann.ask("UNSUBSCRIBE"), "UNSUBSCRIBED null 0");
    assert_eq!(bob.ask("PUNSUBSCRIBE n?ws*"), "PUNSUBSCRIBED \"n?ws*\" 0");
    assert_eq!(sender.ask("PUBLISH news x"), "COUNT 0");
    ann.expect_nothing_more();
    bob.expect_nothing_more();
}

#[test]
fn a_redis_client_is_told_in_its_own_dialect_and_may_do_nothing_else_in_resp2() {
    let server = TestServer::start();
    let (mut ann, mut sender) = (server.client(), server.client());
    send(&mut ann, &["SUBSCRIBE", "news"]);
    assert_eq!(lines(&mut ann, 6), "*3 $9 subscribe $4 news :1");
    assert_eq!(sender.ask(r#"PUBLISH news "\u0000x""#), "COUNT 1");
    assert_eq!(lines(&mut ann, 7), "*3 $7 message $4 news $2 \u{0}x");
    send(&mut ann, &["GET", "a"]);
    assert_eq!(
        lines(&mut ann, 1),
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    );
    send(&mut ann, &["PING"]);
    assert_eq!(lines(&mut ann, 5), "*2 $4 pong $0 ");
    send(&mut ann, &["RESET"]);
    assert_eq!(lines(&mut ann, 1), "+RESET");
    send(&mut ann, &["PING"]);
    assert_eq!(lines(&mut ann, 1), "+PONG");
    assert_eq!(sender.ask("PUBLISH news x"), "COUNT 0");
}

#[test]
fn a_client_that_has_gone_listens_no_more() {
    let server = TestServer::start();
    let mut sender = server.client();
    let mut ann = server.client();
    assert_eq!(ann.ask("SUBSCRIBE news"), "SUBSCRIBED \"news\" 1");
    assert_eq!(sender.ask_array("PUBSUB CHANNELS"), ["VALUE \"news\""]);
    drop(ann);
    wait_until("nobody listens", || {
        sender.ask("PUBLISH news x") == "COUNT 0"
    });
    assert_eq!(sender.ask_array("PUBSUB CHANNELS"), Vec::<String>::new());
}

#[test]
fn a_listener_that_does_not_read_is_disconnected_and_nobody_waits_for_it() {
    let server = TestServer::start();
    let (mut ann, mut sender) = (server.client(), server.client());
    assert_eq!(ann.ask("SUBSCRIBE news"), "SUBSCRIBED \"news\" 1");
    // The system's own buffers take some megabytes before the mailbox fills.
    let message = "x".repeat(1 << 20);
    let enough = 4 * OUTBOX_BYTES_MAX / message.len();
    let cut_off =
        (0..enough).position(|_| sender.ask(&format!("PUBLISH news {message}")) == "COUNT 0");
    assert!(cut_off.is_some_and(|sent| sent > OUTBOX_BYTES_MAX / message.len()));
    assert_eq!(sender.ask("PING"), "PONG");
}

#[test]
fn a_monitor_sees_the_requests_of_all() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    assert_eq!(ann.ask("MONITOR"), "OK");
    assert_eq!(bob.ask("PUT a \"b\\n'c'\""), "OK");
    let seen = ann.reply();
    assert!(seen.ends_with(r#"] \"put\" \"a\" \"b\\n'c'\"""#), "{seen}");
    assert!(seen.starts_with("MONITOR \"1"), "{seen}");
    assert_eq!(ann.ask("RESET"), "VALUE \"RESET\"");
    assert_eq!(bob.ask("GET a"), "VALUE \"b\\n'c'\"");
    ann.expect_nothing_more();
}

#[test]
fn clients_have_names_are_listed_and_can_be_ended() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    assert_eq!(ann.ask("CLIENT GETNAME"), "NOT_FOUND");
    assert_eq!(ann.ask("CLIENT SETNAME ann"), "OK");
    assert_eq!(ann.ask("CLIENT GETNAME"), "VALUE \"ann\"");
    assert!(ann.ask("CLIENT SETNAME \"a b\"").starts_with("ERR ARGS "));
    assert_eq!(ann.ask("CLIENT SETINFO lib-name netcat"), "OK");
    let id = ann.ask("CLIENT ID").replace("COUNT ", "");
    let list = bob.ask("CLIENT LIST");
    assert!(list.contains(&format!("id={id} addr=127.0.0.1:")), "{list}");
    assert!(list.contains(" name=ann "), "{list}");
    assert!(list.contains(" lib-name=netcat "), "{list}");
    assert_eq!(list.matches("id=").count(), 2, "{list}");
    assert_eq!(bob.ask(&format!("CLIENT KILL ID {id}")), "COUNT 1");
    assert_eq!(ann.rest(), "");
    let own = bob.ask("CLIENT ID").replace("COUNT ", "");
    assert_eq!(
        bob.ask(&format!("CLIENT KILL ID {own} SKIPME no")),
        "COUNT 1"
    );
    assert_eq!(bob.rest(), "");
}

#[test]
fn clients_are_listed_and_ended_by_their_type() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    assert_eq!(ann.ask("SUBSCRIBE news"), "SUBSCRIBED \"news\" 1");
    for (kind, count) in [("normal", 1), ("PubSub", 1), ("replica", 0)] {
        let list = bob.ask(&format!("CLIENT LIST TYPE {kind}"));
        assert_eq!(list.matches("id=").count(), count, "{kind}: {list}");
    }
    let unknown = "ERR ARGS Unknown client type 'frob'";
    assert_eq!(bob.ask("CLIENT LIST TYPE frob"), unknown);
    assert_eq!(bob.ask("CLIENT KILL TYPE frob"), unknown);
    assert_eq!(bob.ask("CLIENT KILL USER default TYPE normal"), "COUNT 0");
    assert_eq!(
        bob.ask("CLIENT KILL USER ada"),
        "ERR ARGS No such user 'ada'"
    );
    assert_eq!(bob.ask("CLIENT KILL TYPE pubsub"), "COUNT 1");
    assert_eq!(ann.rest(), "");
}
