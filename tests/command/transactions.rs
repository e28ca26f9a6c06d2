//! Several requests as one: nobody sees a part of them, no crash leaves a part, and none is done if what they depend on has
//! changed.
//!
//! In: several clients of one server, kills, and a disk that fails. Out: nothing but the verdict.

use std::io::Write as _;
use std::thread::ScopedJoinHandle;

use crate::support::full_disk::limit_files;
use crate::support::server::{TestClient, TestServer, is_skipped, wait_until};

/// A transaction of these requests; what EXEC says: its one line, or all the lines of its array.
fn transaction(client: &mut TestClient, lines: &[&str]) -> Vec<String> {
    assert_eq!(client.ask("MULTI"), "OK");
    for line in lines {
        assert_eq!(client.ask(line), "QUEUED", "{line}");
    }
    exec(client)
}

/// The lines of the reply to EXEC, but for `ARRAY n` at their head.
fn exec(client: &mut TestClient) -> Vec<String> {
    let first = client.ask("EXEC");
    let Some(replies) = first.strip_prefix("ARRAY ") else {
        return vec![first];
    };
    let mut left: usize = replies.parse().expect("a number");
    let mut lines = Vec::new();
    while left > 0 {
        let line = client.reply();
        left -= 1;
        if let Some(more) = line.strip_prefix("ARRAY ") {
            left += more.parse::<usize>().expect("a number");
        }
        lines.push(line);
    }
    lines
}

#[test]
fn nobody_ever_sees_a_part_of_a_transaction() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MSET a 0 b 0 c 0"), "OK");
    std::thread::scope(|scope| {
        let writers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..500 {
                    client.send_bytes(b"MULTI\nINCR a\nINCR b\nINCR c\nEXEC\n");
                    let replies: Vec<String> = (0..8).map(|_| client.reply()).collect();
                    assert_eq!(replies[4], "ARRAY 3");
                    assert_eq!(replies[5], replies[6], "the others came in between");
                    assert_eq!(replies[6], replies[7], "the others came in between");
                }
            })
        });
        let mut client = server.client();
        let mut seen = 0;
        while !writers.iter().all(ScopedJoinHandle::is_finished) {
            let values = client.ask_array("MGET a b c");
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
            seen += 1;
        }
        assert!(seen > 10, "only {seen} looks");
    });
    assert_eq!(client.ask("GET c"), "VALUE \"1000\"");
}

#[test]
fn a_kill_leaves_all_of_a_transaction_or_none_and_loses_none_that_was_answered() {
    for (round, durability) in ["everysec", "always", "everysec", "always"]
        .iter()
        .enumerate()
    {
        let server = TestServer::start_with(&["--durability", durability]);
        let mut client = server.client();
        let lines: String = (1..=20_000)
            .map(|n| {
                format!("MULTI\nSET a {n}\nDEL gone\nMSET b {n} gone:{n} 1\nSET c {n}\nEXEC\n")
            })
            .collect();
        let mut sender = client.sender();
        // It fails once the server is killed.
        let writer = std::thread::spawn(move || drop(sender.write_all(lines.as_bytes())));
        let mut answered = 0;
        while answered < 300 * (round + 1) {
            answered += usize::from(client.reply() == "ARRAY 4");
        }
        let server = server.kill().restart();
        writer.join().expect("the writer ends");
        let mut client = server.client();
        let values = client.ask_array("MGET a b c");
        assert!(
            values.iter().all(|value| *value == values[0]),
            "{durability}: {values:?}"
        );
        let number = values[0]
            .strip_prefix("VALUE \"")
            .and_then(|value| value.strip_suffix('"'));
        let number: usize = number.and_then(|n| n.parse().ok()).expect("a number");
        assert!(number >= answered, "{number} after {answered} answers");
        assert_eq!(client.ask("COUNT gone:"), format!("COUNT {number}"));
    }
}

#[test]
fn a_transaction_that_the_disk_does_not_take_changes_nothing() {
    if is_skipped("prlimit") {
        return;
    }
    let lines = ["PUT a 2", "DEL b", "PUT c 3", "CLEAR", "PUT d 4"];
    for durability in ["everysec", "always"] {
        let server = TestServer::start_with(&["--durability", durability]);
        let mut client = server.client();
        assert_eq!(client.ask("MSET a 1 b 1 more 1"), "OK");
        limit_files(&server, "1");
        wait_until("the disk takes no more", || {
            client.ask("PUT more 1").starts_with("ERR DISK ")
        });
        let refused = transaction(&mut client, &lines);
        assert!(refused[0].starts_with("ERR DISK "), "{refused:?}");
        let mut rows = client.ask_rows("ALL");
        rows.sort_unstable();
        let before = [
            "END 3",
            "ITEM \"a\" \"1\"",
            "ITEM \"b\" \"1\"",
            "ITEM \"more\" \"1\"",
        ];
        assert_eq!(rows, before, "{durability}");
        assert_eq!(client.ask("EXEC"), "ERR ARGS EXEC without MULTI");
        limit_files(&server, "unlimited");
        wait_until("changes are taken again", || {
            client.ask("PUT more 1") == "OK"
        });
        let done = transaction(&mut client, &lines);
        assert_eq!(done, ["OK", "COUNT 1", "OK", "OK", "OK"]);
        let server = server.kill().restart();
        let rows = server.client().ask_rows("ALL");
        assert_eq!(rows, ["ITEM \"d\" \"4\"", "END 1"], "{durability}");
    }
}

#[test]
fn requests_of_a_transaction_see_what_those_before_them_have_done() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MSET old 1 older 2"), "OK");
    let replies = transaction(
        &mut client,
        &[
            "SET n 5",
            "INCR n",
            "RENAME n m",
            "EXISTS n m",
            "EXPIREAT m 4102444800",
            "INCRBY m 4",
            "EXPIRETIME m",
            "GETDEL older",
            "DBSIZE",
            "CLEAR",
            "MGET old m",
            "DBSIZE",
            "APPEND log x",
            "GETSET log y",
        ],
    );
    let expected = [
        "OK",
        "VALUE \"6\"",
        "OK",
        "COUNT 1",
        "COUNT 1",
        "VALUE \"10\"",
        "COUNT 4102444800",
        "VALUE \"2\"",
        "COUNT 2",
        "OK",
        "ARRAY 2",
        "NOT_FOUND",
        "NOT_FOUND",
        "COUNT 0",
        "COUNT 1",
        "VALUE \"x\"",
    ];
    assert_eq!(replies, expected);
    let server = server.kill().restart();
    let rows = server.client().ask_rows("ALL");
    assert_eq!(rows, ["ITEM \"log\" \"y\"", "END 1"]);
}

#[test]
fn a_request_that_fails_in_a_transaction_changes_nothing_and_the_others_are_done() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MSET text abc n 1"), "OK");
    let replies = transaction(
        &mut client,
        &[
            "INCR n",
            "INCR text",
            "SETRANGE text 67108864 x",
            "RENAME nobody n",
            "SET n 9 EX 0",
            "INCR n",
        ],
    );
    let expected = [
        "VALUE \"2\"",
        "ERR ARGS value is not an integer or out of range",
        "ERR TOO_LARGE the value has 67108865 bytes, and may have 67108864",
        "ERR ARGS no such key",
        "ERR ARGS invalid expire time in 'set' command",
        "VALUE \"3\"",
    ];
    assert_eq!(replies, expected);
    assert_eq!(client.ask("GET text"), "VALUE \"abc\"");
}

#[test]
fn a_request_that_is_refused_before_exec_spoils_the_transaction() {
    let server = TestServer::start();
    let mut client = server.client();
    for line in [
        &b"FETCH a"[..],
        b"GET",
        b"SET a",
        b"GET \"a",
        b"PUT a \"b\" c",
        b"PUT a \xff",
        b"SAVE",
        b"ALL",
        b"KEYS",
        b"COUNT",
        b"COUNT a",
        b"NAMESPACES",
        b"DELPREFIX a",
        b"STATS",
        b"HELP",
    ] {
        assert_eq!(client.ask("MULTI"), "OK");
        assert_eq!(client.ask("PUT a 1"), "QUEUED");
        client.send_bytes(&[line, b"\n"].concat());
        let shown = String::from_utf8_lossy(line);
        let reply = client.reply();
        assert!(reply.starts_with("ERR "), "{shown}: {reply}");
        assert_eq!(client.ask("PUT a 2"), "QUEUED");
        let refused = ["ERR ARGS Transaction discarded because of previous errors."];
        assert_eq!(exec(&mut client), refused, "{shown}");
        assert_eq!(client.ask("DBSIZE"), "COUNT 0", "{shown}");
    }
    // These are told off, and the transaction goes on.
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(
        client.ask("MULTI"),
        "ERR ARGS MULTI calls can not be nested"
    );
    assert_eq!(
        client.ask("WATCH a"),
        "ERR ARGS WATCH inside MULTI is not allowed"
    );
    assert_eq!(client.ask("PUT a 1"), "QUEUED");
    assert_eq!(exec(&mut client), ["OK"]);
}

#[test]
fn a_transaction_ends_with_its_connection() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"MULTI\nPUT a 1\n");
    assert_eq!(client.reply(), "OK");
    assert_eq!(client.reply(), "QUEUED");
    client.half_close();
    assert_eq!(client.rest(), "");
    let mut client = server.client();
    assert_eq!(client.ask("EXEC"), "ERR ARGS EXEC without MULTI");
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(client.ask("PUT a 1"), "QUEUED");
    client.send("QUIT");
    assert_eq!(client.rest(), "OK\n");
    assert_eq!(server.client().ask("DBSIZE"), "COUNT 0");
}

#[test]
fn exec_does_nothing_once_a_watched_key_has_changed_in_any_way() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    for change in [
        "PUT k 2",
        "PUT k 1",
        "DEL k",
        "GETDEL k",
        "APPEND k x",
        "INCR k",
        "EXPIRE k 999999",
        "EXPIRE k -1",
        "RENAME k other",
        "RENAME other k",
        "COPY other k REPLACE",
        "MSET other 3 k 1",
        "CLEAR",
        "DELPREFIX k",
        "PUT missing 1",
    ] {
        assert_eq!(ann.ask("CLEAR"), "OK");
        assert_eq!(ann.ask("MSET k 1 other 1 calm 1"), "OK");
        assert_eq!(ann.ask("WATCH calm k missing"), "OK");
        let reply = bob.ask(change);
        assert!(!reply.starts_with("ERR"), "{change}: {reply}");
        let seen = ann.ask("COUNT \"\"");
        assert_eq!(
            transaction(&mut ann, &["PUT done 1", "CLEAR"]),
            ["UNCHANGED"],
            "{change}"
        );
        assert_eq!(ann.ask("COUNT \"\""), seen, "{change}");
        // What was watched is forgotten.
        assert_eq!(transaction(&mut ann, &["EXISTS done"]), ["COUNT 0"]);
    }
}

#[test]
fn exec_goes_on_where_nothing_watched_has_changed() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    assert_eq!(ann.ask("MSET k 1 other 1"), "OK");
    for calm in [
        "GET k",
        "PUT other 2",
        "DELPREFIX oth",
        "SET k 3 NX",
        "SET k 3 IFEQ 2",
        "DELIFEQ k 2",
        "SETNX k 2",
        "PERSIST k",
        "EXPIRE k 5 XX",
        "DEL missing",
        "MGET k missing",
        "SAVE",
    ] {
        assert_eq!(ann.ask("WATCH k missing"), "OK");
        bob.send(calm);
        bob.reply();
        if calm.starts_with("MGET") {
            bob.reply();
            bob.reply();
        }
        assert_eq!(transaction(&mut ann, &["GET k"]), ["VALUE \"1\""], "{calm}");
    }
    // A key that was not there, came, and is gone again has changed: somebody may have seen it meanwhile.
    assert_eq!(ann.ask("WATCH missing"), "OK");
    assert_eq!(bob.ask("PUT missing 1"), "OK");
    assert_eq!(bob.ask("DEL missing"), "COUNT 1");
    assert_eq!(transaction(&mut ann, &["GET k"]), ["UNCHANGED"]);
    for forget in ["UNWATCH", "DISCARD"] {
        assert_eq!(ann.ask("WATCH k"), "OK");
        assert_eq!(bob.ask("PUT k 1"), "OK");
        if forget == "DISCARD" {
            assert_eq!(ann.ask("MULTI"), "OK");
        }
        assert_eq!(ann.ask(forget), "OK");
        assert_eq!(transaction(&mut ann, &["GET k"]), ["VALUE \"1\""]);
    }
    // To watch a key once more does not make its change unseen.
    assert_eq!(ann.ask("WATCH k"), "OK");
    assert_eq!(bob.ask("PUT k 1"), "OK");
    assert_eq!(ann.ask("WATCH k"), "OK");
    assert_eq!(transaction(&mut ann, &["GET k"]), ["UNCHANGED"]);
}

#[test]
fn a_watched_key_that_has_expired_has_changed() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PUT k 1"), "OK");
    assert_eq!(client.ask("PEXPIRE k 50"), "COUNT 1");
    assert_eq!(client.ask("WATCH k"), "OK");
    wait_until("it has expired", || client.ask("EXISTS k") == "COUNT 0");
    assert_eq!(transaction(&mut client, &["PUT k 2"]), ["UNCHANGED"]);
    assert_eq!(client.ask("GET k"), "NOT_FOUND");
}

#[test]
fn many_who_read_compute_and_write_under_watch_lose_nothing() {
    let server = TestServer::start();
    server.client().ask("PUT sum 0");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                let mut added = 0;
                while added < 50 {
                    assert_eq!(client.ask("WATCH sum"), "OK");
                    let value = client.ask("GET sum");
                    let value = value.trim_start_matches("VALUE \"").trim_end_matches('"');
                    let sum: u64 = value.parse().expect("a number");
                    let put = format!("PUT sum {}", sum + 1);
                    added += u64::from(transaction(&mut client, &[&put]) == ["OK"]);
                }
            });
        }
    });
    assert_eq!(server.client().ask("GET sum"), "VALUE \"200\"");
}

#[test]
fn a_watched_key_that_had_expired_and_has_come_and_gone_since_has_changed() {
    let server = TestServer::start();
    let (mut ann, mut bob) = (server.client(), server.client());
    for _ in 0..10 {
        assert_eq!(bob.ask("SET k v PX 1"), "OK");
        wait_until("it has expired", || ann.ask("EXISTS k") == "COUNT 0");
        assert_eq!(ann.ask("WATCH k"), "OK");
        assert_eq!(bob.ask("SET k x"), "OK");
        assert_eq!(bob.ask("DEL k"), "COUNT 1");
        assert_eq!(transaction(&mut ann, &["PUT done 1"]), ["UNCHANGED"]);
    }
}

#[test]
fn a_client_that_ends_itself_in_a_transaction_is_answered_and_gone() {
    let server = TestServer::start();
    let mut ann = server.client();
    let id = ann.ask("CLIENT ID").replace("COUNT ", "");
    let kill = format!("CLIENT KILL ID {id} SKIPME no");
    assert_eq!(
        transaction(&mut ann, &["PUT a 1", &kill, "PUT b 2"]),
        ["OK", "COUNT 1", "OK"]
    );
    assert_eq!(ann.reply_or_end(), "");
    assert_eq!(server.client().ask("EXISTS a b"), "COUNT 2");
}

#[test]
fn what_a_transaction_does_again_and_again_takes_no_memory() {
    let server = TestServer::start();
    let mut client = server.client();
    let before = server.memory_bytes();
    let lines = format!("MULTI\n{}DBSIZE\nEXEC\n", "PUT a 1\nCLEAR\n".repeat(1000));
    let lines = lines.replacen("EXEC\n", &format!("{}EXEC\n", "CLEAR\n".repeat(10_000)), 1);
    let mut sender = client.sender();
    let writer = std::thread::spawn(move || sender.write_all(lines.as_bytes()));
    assert_eq!(client.reply(), "OK");
    for _ in 0..12_001 {
        assert_eq!(client.reply(), "QUEUED");
    }
    assert_eq!(client.reply(), "ARRAY 12001");
    for _ in 0..1000 {
        assert_eq!((client.reply(), client.reply()), ("OK".into(), "OK".into()));
    }
    assert_eq!(client.reply(), "COUNT 0");
    for _ in 0..10_000 {
        assert_eq!(client.reply(), "OK");
    }
    writer.join().expect("it ends").expect("the server reads");
    let more = server.memory_bytes() - before;
    assert!(more < 64 << 20, "{more} bytes");
}

#[test]
fn nobody_counts_a_part_of_a_change() {
    let server = TestServer::start();
    let keys: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
    let put = format!("MSET {}", keys.join(" 1 ") + " 1");
    let delete = format!("DEL {}", keys.join(" "));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = server.client();
            for _ in 0..200 {
                assert_eq!(client.ask(&put), "OK");
                assert_eq!(client.ask(&delete), "COUNT 1000");
            }
        });
        let mut client = server.client();
        while !writer.is_finished() {
            let count = client.ask("DBSIZE");
            assert!(matches!(&*count, "COUNT 0" | "COUNT 1000"), "{count}");
        }
    });
    let mut client = server.client();
    assert_eq!(
        transaction(&mut client, &["PUT a 1", "DBSIZE", "CLEAR", "DBSIZE"]),
        ["OK", "COUNT 1", "OK", "COUNT 0"]
    );
}
