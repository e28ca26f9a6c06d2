//! FOLLOW: every change, in order, with its revision, and again after a disconnect.
//!
//! In: one client that follows, others that change. Out: nothing but the verdict. What the feed does with its files is shown in
//! feed.rs.

use crate::support::server::{TestClient, TestServer};

/// Begins to follow; after which revision.
fn follow(client: &mut TestClient, request: &str) -> u64 {
    let reply = client.ask(request);
    let revision = reply.rsplit(' ').next().and_then(|it| it.parse().ok());
    assert!(reply.starts_with("FOLLOWING "), "{reply}");
    revision.unwrap_or_else(|| panic!("{reply} has no revision"))
}

#[test]
fn every_change_of_a_prefix_comes_with_its_revision_and_no_other() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    let at = follow(&mut ann, "FOLLOW user:");
    assert_eq!(bob.ask("PUT user:1 Ann"), "OK");
    assert_eq!(bob.ask("PUT other:1 no"), "OK");
    assert_eq!(bob.ask("SET user:2 b PXAT 4102444800000"), "OK");
    assert_eq!(bob.ask("DEL user:1 other:1"), "COUNT 2");
    assert_eq!(bob.ask("MULTI"), "OK");
    assert_eq!(bob.ask("APPEND user:2 c"), "QUEUED");
    assert_eq!(bob.ask("PUT user:3 d"), "QUEUED");
    assert_eq!(bob.ask_array("EXEC"), ["COUNT 2", "OK"]);
    assert_eq!(bob.ask("CLEAR"), "OK");
    for expected in [
        format!("CHANGE {} PUT \"user:1\" \"Ann\"", at + 1),
        format!(
            "CHANGE {} PUT \"user:2\" \"b\" \"2100-01-01T00:00:00.000Z\"",
            at + 3
        ),
        format!("CHANGE {} DEL \"user:1\"", at + 4),
        format!(
            "CHANGE {} PUT \"user:2\" \"bc\" \"2100-01-01T00:00:00.000Z\"",
            at + 5
        ),
        format!("CHANGE {} PUT \"user:3\" \"d\"", at + 5),
        format!("CHANGE {} CLEAR", at + 6),
    ] {
        assert_eq!(ann.reply(), expected);
    }
    assert_eq!(ann.ask("UNFOLLOW"), "UNFOLLOWED \"user:\"");
    assert_eq!(bob.ask("PUT user:1 x"), "OK");
    ann.expect_nothing_more();
}

#[test]
fn who_was_cut_off_goes_on_after_the_last_change_also_after_a_restart() {
    let server = TestServer::start();
    let mut ann = server.client();
    let at = follow(&mut ann, "FOLLOW \"\"");
    drop(ann);
    let mut bob = server.client();
    for n in 1..=100 {
        assert_eq!(bob.ask(&format!("PUT n {n}")), "OK");
    }
    let server = server.kill().restart();
    let mut ann = server.client();
    assert_eq!(follow(&mut ann, &format!("FOLLOW \"\" FROM {at}")), at);
    for n in 1..=100 {
        assert_eq!(ann.reply(), format!("CHANGE {} PUT \"n\" \"{n}\"", at + n));
    }
}

#[test]
fn what_the_journal_does_not_hold_is_told_plainly() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    let at = follow(&mut ann, "FOLLOW a");
    assert_eq!(bob.ask("PUT a 1"), "OK");
    assert_eq!(ann.reply(), format!("CHANGE {} PUT \"a\" \"1\"", at + 1));
    assert_eq!(ann.ask("UNFOLLOW a"), "UNFOLLOWED \"a\"");
    assert_eq!(bob.ask("SAVE"), "OK");
    let gone = ann.ask(&format!("FOLLOW a FROM {at}"));
    assert!(
        gone.starts_with("ERR ARGS the changes after revision"),
        "{gone}"
    );
    let ahead = ann.ask("FOLLOW a FROM 1000000");
    assert!(
        ahead.starts_with("ERR ARGS revision 1000000 is of another history"),
        "{ahead}"
    );
    let off = TestServer::start_with(&["--durability", "off"]);
    let refused = off.client().ask("FOLLOW a");
    assert!(
        refused.starts_with("ERR DENIED there is no journal to follow"),
        "{refused}"
    );
}

#[test]
fn one_connection_may_follow_16_prefixes_and_each_but_once() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    for n in 0..16 {
        follow(&mut ann, &format!("FOLLOW p{n:02}"));
    }
    assert!(ann.ask("FOLLOW more").starts_with("ERR TOO_LARGE "));
    assert_eq!(ann.ask("UNFOLLOW p15"), "UNFOLLOWED \"p15\"");
    assert!(
        ann.ask("FOLLOW p00")
            .starts_with("ERR ARGS 'p00' is followed already")
    );
    for n in 0..15 {
        assert_eq!(bob.ask(&format!("PUT p{n:02} x")), "OK");
        let change = ann.reply();
        assert!(
            change.ends_with(&format!(" PUT \"p{n:02}\" \"x\"")),
            "{change}"
        );
    }
    ann.expect_nothing_more();
}

#[test]
fn a_redis_client_is_told_of_changes_as_of_messages() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    ann.send_bytes(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$6\r\nFOLLOW\r\n$1\r\na\r\n");
    while ann.reply() != "following\r" {}
    assert_eq!([ann.reply(), ann.reply()], ["$1\r", "a\r"]);
    let revision: u64 = ann.reply()[1..].trim_end().parse().expect("a number");
    assert_eq!(bob.ask("PUT a 1"), "OK");
    let told: Vec<String> = (0..11).map(|_| ann.reply()).collect();
    let number = format!(":{}\r", revision + 1);
    assert_eq!(
        told,
        [
            ">6\r", "$6\r", "change\r", &number, "$3\r", "put\r", "$1\r", "a\r", "$1\r", "1\r",
            "_\r"
        ]
    );
}
