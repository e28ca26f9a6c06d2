//! Each command, right and wrong, as a person at netcat sees it. What protocol.md shows already is not shown again.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::redis::Redis;
use crate::support::resp::Resp;
use crate::support::server::{TestServer, is_skipped, wait_until};

#[test]
fn a_key_never_put_is_not_found() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("GET nobody"), "NOT_FOUND");
    assert_eq!(client.ask("DEL nobody"), "COUNT 0");
    assert_eq!(client.ask("EXISTS nobody"), "COUNT 0");
}

#[test]
fn a_put_replaces_what_was_there_whatever_its_length() {
    let server = TestServer::start();
    let mut client = server.client();
    for value in ["first", "second and longer", "", "x"] {
        assert_eq!(client.ask(&format!("PUT k \"{value}\"")), "OK");
        assert_eq!(client.ask("GET k"), format!("VALUE \"{value}\""));
        assert_eq!(client.ask("COUNT"), "COUNT 1");
    }
}

#[test]
fn verbs_are_told_apart_whatever_their_case_and_keys_by_it() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("pUt Name Ada"), "OK");
    assert_eq!(client.ask("get Name"), "VALUE \"Ada\"");
    assert_eq!(client.ask("GET name"), "NOT_FOUND");
}

#[test]
fn a_key_named_twice_in_one_request_is_deleted_once_and_exists_twice() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("PUT a 1");
    client.ask("PUT b 2");
    assert_eq!(client.ask("EXISTS a a b c"), "COUNT 3");
    assert_eq!(client.ask("DEL a a b c"), "COUNT 2");
    assert_eq!(client.ask("COUNT"), "COUNT 0");
}

#[test]
fn a_prefix_chooses_keys_in_all_keys_and_count() {
    let server = TestServer::start();
    let mut client = server.client();
    for key in ["user:1", "user:2", "users", "us er", "größe"] {
        client.ask(&format!("PUT \"{key}\" v"));
    }
    assert_eq!(client.ask("COUNT user:"), "COUNT 2");
    assert_eq!(client.ask("COUNT \"us \""), "COUNT 1");
    assert_eq!(client.ask("COUNT \"\""), "COUNT 5");
    assert_eq!(client.ask("COUNT nobody"), "COUNT 0");
    let mut rows = client.ask_rows("KEYS user:");
    rows.sort_unstable();
    assert_eq!(rows, ["END 2", "KEY \"user:1\"", "KEY \"user:2\""]);
    assert_eq!(
        client.ask_rows("ALL grö"),
        ["ITEM \"größe\" \"v\"", "END 1"]
    );
    assert_eq!(client.ask_rows("ALL nobody"), ["END 0"]);
}

#[test]
fn clear_leaves_nothing_and_the_store_goes_on() {
    let server = TestServer::start();
    let mut client = server.client();
    for n in 0..1_000 {
        client.ask(&format!("PUT key:{n} {n}"));
    }
    assert_eq!(client.ask("CLEAR"), "OK");
    assert_eq!(client.ask("COUNT"), "COUNT 0");
    assert_eq!(client.ask_rows("ALL"), ["END 0"]);
    assert_eq!(server.stat("data_bytes"), 0);
    assert_eq!(client.ask("PUT key:1 again"), "OK");
    assert_eq!(
        client.ask_rows("ALL"),
        ["ITEM \"key:1\" \"again\"", "END 1"]
    );
}

#[test]
fn quit_answers_and_closes_and_what_follows_is_not_done() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"QUIT\nPUT late 1\n");
    assert_eq!(client.rest(), "OK\n");
    assert_eq!(server.client().ask("GET late"), "NOT_FOUND");
}

#[test]
fn a_line_may_end_as_telnet_ends_it_and_blank_lines_ask_for_nothing() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"\r\n\n  \t \r\nPUT k v \r\nGET k\r\nPING\n");
    assert_eq!(client.reply(), "OK");
    assert_eq!(client.reply(), "VALUE \"v \"");
    assert_eq!(client.reply(), "PONG");
    client.expect_nothing_more();
}

#[test]
fn a_request_may_come_byte_by_byte_and_many_at_once() {
    let server = TestServer::start();
    let mut client = server.client();
    for byte in "PUT größe \"a\\nb\"\r\n".as_bytes() {
        client.send_bytes(&[*byte]);
    }
    assert_eq!(client.reply(), "OK");
    let many: String = (0..10_000)
        .map(|n| format!("PUT k{n} {n}\nGET k{n}\n"))
        .collect();
    let mut sender = client.sender();
    let writer =
        std::thread::spawn(move || std::io::Write::write_all(&mut sender, many.as_bytes()));
    for n in 0..10_000 {
        assert_eq!(client.reply(), "OK");
        assert_eq!(client.reply(), format!("VALUE \"{n}\""));
    }
    writer
        .join()
        .expect("the writer ends")
        .expect("the server reads");
    client.expect_nothing_more();
}

#[test]
fn a_mistake_costs_one_line_and_the_connection_goes_on() {
    let server = TestServer::start();
    let mut client = server.client();
    for (line, reply) in [
        (
            "FETCH x",
            "ERR UNKNOWN there is no command 'FETCH'; HELP lists them",
        ),
        (
            "HELP FETCH",
            "ERR UNKNOWN there is no command 'FETCH'; HELP lists them",
        ),
        ("GET", "ERR ARGS GET takes 1 argument, not 0: GET <key>"),
        ("GET a b", "ERR ARGS GET takes 1 argument, not 2: GET <key>"),
        (
            "PUT a",
            "ERR ARGS PUT takes 2 arguments, not 1: PUT <key> <value>",
        ),
        (
            "PUT a ",
            "ERR ARGS PUT takes 2 arguments, not 1: PUT <key> <value>",
        ),
        ("SAVE now", "ERR ARGS SAVE takes no argument, not 1: SAVE"),
        (
            "ALL a b",
            "ERR ARGS ALL takes at most 1 argument, not 2: ALL [<prefix>]",
        ),
        (
            "DEL",
            "ERR ARGS DEL takes 1 to 1048576 arguments, not 0: DEL <key> [<key> ...]",
        ),
        ("GET \"abc", "ERR SYNTAX unterminated string at column 5"),
        (
            "PUT key \"abc",
            "ERR SYNTAX unterminated string at column 9",
        ),
        (
            "GET \"a\"b",
            "ERR SYNTAX text after the string at column 8; a blank must follow the string that ends there",
        ),
        ("GET \"a\\x\"", "ERR SYNTAX invalid escape at column 8"),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
    client.send_bytes(b"GET a\xff\n");
    assert_eq!(
        client.reply(),
        "ERR TEXT the line is not UTF-8 at column 6; a line carries text only"
    );
    assert!(
        client
            .ask("GET \"\\ud800\"")
            .starts_with("ERR TEXT half of a surrogate pair at column ")
    );
    client.expect_nothing_more();
    assert_eq!(server.stat("errors"), 15);
}

#[test]
fn an_error_stays_one_line_whatever_it_quotes() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"a\rb\x1b[31m\n");
    assert_eq!(
        client.reply(),
        "ERR UNKNOWN there is no command 'a\\u000db\\u001b[31m'; HELP lists them"
    );
    client.expect_nothing_more();
}

#[test]
fn a_last_line_without_its_end_is_not_done() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"PUT a 1\nPUT b 2");
    client.half_close();
    assert_eq!(
        client.rest(),
        "OK\nERR SYNTAX the last line was not ended; nothing was done for it\n"
    );
    assert_eq!(server.client().ask("EXISTS a b"), "COUNT 1");
}

#[test]
fn a_browser_is_cut_off_before_its_body_is_read() {
    let server = TestServer::start();
    for head in [
        "POST /x HTTP/1.1\r\n",
        "GET /x HTTP/1.1\r\nHost: localhost:7878\r\n",
    ] {
        let mut client = server.client();
        client.send_bytes(format!("{head}Content-Length: 9\r\n\r\nPUT evil 1\n").as_bytes());
        let replies = client.rest();
        let last = replies.lines().last().unwrap_or_default();
        assert_eq!(
            last, "ERR DENIED this port does not speak HTTP; this connection is closed",
            "{head}"
        );
    }
    assert_eq!(server.client().ask("GET evil"), "NOT_FOUND");
}

#[test]
fn random_bytes_are_answered_or_ignored_and_nobody_else_notices() {
    let server = TestServer::start();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let mut client = server.client();
        let alphabet = b"\"\\\n\r \tPUTGETALKEYSdel{}:u0\x00\xff\xc3\xa9";
        let length = random() % 400;
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                let random = random();
                if random % 4 == 0 {
                    random.to_le_bytes()[1]
                } else {
                    alphabet[usize::from(random.to_le_bytes()[2]) % alphabet.len()]
                }
            })
            .collect();
        client.send_bytes(&bytes);
        client.half_close();
        for line in client.rest().lines() {
            let word = line.split(' ').next().unwrap_or_default();
            let words = [
                "OK",
                "VALUE",
                "NOT_FOUND",
                "COUNT",
                "ITEM",
                "KEY",
                "END",
                "STAT",
                "HELP",
                "PONG",
                "ERR",
                "BASE64",
            ];
            assert!(words.contains(&word), "{line:?} answers {bytes:?}");
        }
    }
    assert_eq!(server.client().ask("PING"), "PONG");
}

#[test]
fn stats_tell_what_was_done() {
    let server = TestServer::start();
    let mut client = server.client();
    for line in [
        "PUT größe 12345",
        "PUT b 1",
        "GET b",
        "GET c",
        "GET d",
        "DEL b",
        "NONSENSE",
    ] {
        client.ask(line);
    }
    let second = server.client();
    // "größe" has 7 bytes.
    for (name, value) in [
        ("keys", 1),
        ("data_bytes", 12),
        ("hits", 1),
        ("misses", 2),
        ("errors", 1),
        ("command_put", 2),
        ("command_get", 3),
        ("command_del", 1),
        ("journal_segments", 1),
        ("pid", u64::from(server.pid())),
    ] {
        assert_eq!(server.stat(name), value, "{name}");
    }
    drop(second);
    let rows = client.ask_rows("STATS");
    for row in [
        "STAT durability \"everysec\"",
        "STAT disk \"ok\"",
        "STAT last_save_time null",
    ] {
        assert!(
            rows.iter().any(|other| other == row),
            "{row} is not in {rows:#?}"
        );
    }
    assert!(server.stat("memory_bytes") > 1 << 20);
    assert!(server.stat("connections_total") >= 12);
    assert_eq!(
        rows.last().map(String::as_str),
        Some(format!("END {}", rows.len() - 1).as_str())
    );
}

#[test]
fn the_rate_of_requests_is_that_of_the_last_seconds() {
    let server = TestServer::start();
    let mut client = server.client();
    for _ in 0..2_000 {
        client.ask("PING");
    }
    let rate = |rows: &[String]| -> f64 {
        let row = rows
            .iter()
            .find_map(|row| row.strip_prefix("STAT requests_per_second "));
        row.and_then(|rate| rate.parse().ok()).expect("a number")
    };
    assert!(
        rate(&client.ask_rows("STATS")) > 100.0,
        "while there is load"
    );
    crate::support::server::wait_until("the rate has fallen", || {
        rate(&client.ask_rows("STATS")) < 100.0
    });
}

/// A session at netcat, typed in one go.
#[test]
fn netcat_is_a_client() {
    if crate::support::server::is_skipped("nc") {
        return;
    }
    let server = TestServer::start();
    let (host, port) = (
        server.addr().ip().to_string(),
        server.addr().port().to_string(),
    );
    let session = "PUT name apple\r\nput greeting hello there, world\nGET greeting\nGET nobody\nFETCH\nDEL name\nQUIT\n";
    let mut netcat = Command::new("nc")
        .args([&host, &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nc (Debian's netcat-openbsd) runs");
    netcat
        .stdin
        .take()
        .expect("it is piped")
        .write_all(session.as_bytes())
        .expect("netcat reads");
    let output = netcat
        .wait_with_output()
        .expect("netcat ends when the server closes");
    let expected = concat!(
        "OK\nOK\nVALUE \"hello there, world\"\nNOT_FOUND\n",
        "ERR UNKNOWN there is no command 'FETCH'; HELP lists them\nCOUNT 1\nOK\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn values_move_between_a_real_redis_and_this_server() {
    if is_skipped("redis-server") {
        return;
    }
    let (redis, ours) = (Redis::start(), TestServer::start());
    let mut all = [redis.addr, ours.addr()].map(Resp::connect);
    let compressible = b"ab".repeat(50_000);
    let values: [&[u8]; 9] = [
        b"",
        b"text",
        b"7",
        b"-129",
        b"70000",
        b"-2147483648",
        b"9223372036854775807",
        &[0xff, 0, b'\r', b'\n'],
        &compressible,
    ];
    for value in values {
        for (from, to) in [(0, 1), (1, 0)] {
            all[from].ask_words(&[b"SET", b"from", value]);
            let dumped = all[from].ask_words(&[b"DUMP", b"from"]);
            let restored = all[to].ask_words(&[b"RESTORE", b"to", b"0", &dumped, b"REPLACE"]);
            assert_eq!(restored, b"OK");
            assert_eq!(all[to].ask_words(&[b"GET", b"to"]), value);
        }
    }
    let dumped = all[0].ask_words(&[b"DUMP", b"from"]);
    for request in [
        &[&b"RESTORE"[..], b"to", b"0", &dumped][..],
        &[b"RESTORE", b"new", b"-1", &dumped],
        &[b"RESTORE", b"new", b"x", &dumped],
        &[b"RESTORE", b"new", b"0", b"short"],
        &[b"RESTORE", b"new", b"0", &dumped[1..]],
        &[b"RESTORE", b"new", b"0", &dumped, b"FOO"],
        &[b"RESTORE", b"new", b"0", &dumped, b"IDLETIME", b"-1"],
        &[b"RESTORE", b"new", b"0", &dumped, b"FREQ", b"256"],
        &[
            b"RESTORE",
            b"new",
            b"0",
            &dumped,
            b"IDLETIME",
            b"1",
            b"FREQ",
            b"1",
        ],
        &[b"RESTORE", b"new", b"100000", &dumped],
        &[b"TTL", b"new"],
        &[
            b"RESTORE",
            b"new",
            b"99999999999999",
            &dumped,
            b"ABSTTL",
            b"REPLACE",
        ],
        &[b"PEXPIRETIME", b"new"],
        &[b"RESTORE", b"new", b"1", &dumped, b"ABSTTL", b"REPLACE"],
        &[b"EXISTS", b"new"],
    ] {
        let [of_redis, of_ours] = all.each_mut().map(|client| client.ask_words(request));
        let shown = request.iter().map(|word| word.escape_ascii().to_string());
        assert_eq!(of_ours, of_redis, "{:?}", shown.collect::<Vec<_>>());
    }
}

#[test]
fn a_client_is_sent_the_replies_that_it_wants() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("CLIENT REPLY OFF");
    for line in ["PUT a 1", "GET a", "ALL", "NOSUCH", "GET", "SAVE"] {
        client.send(line);
    }
    assert_eq!(client.ask("SUBSCRIBE news"), "SUBSCRIBED \"news\" 1");
    assert_eq!(client.ask("UNSUBSCRIBE"), "UNSUBSCRIBED \"news\" 0");
    assert_eq!(client.ask("CLIENT REPLY ON"), "OK");
    assert_eq!(client.ask("GET a"), "VALUE \"1\"");
    client.send("CLIENT REPLY SKIP");
    client.send("ALL");
    assert_eq!(client.ask("PING"), "PONG");
    client.send("CLIENT REPLY OFF");
    client.send("CLIENT REPLY SKIP");
    client.send("PING");
    client.send("PING");
    assert_eq!(client.ask("CLIENT REPLY ON"), "OK");
}

#[test]
fn who_waits_for_replicas_can_be_released() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    let id = client.ask("CLIENT ID").replace("COUNT ", "");
    assert_eq!(other.ask(&format!("CLIENT UNBLOCK {id}")), "COUNT 0");
    for (reason, reply) in [
        ("", "COUNT 0"),
        ("TIMEOUT", "COUNT 0"),
        ("ERROR", "ERR ARGS client unblocked via CLIENT UNBLOCK"),
    ] {
        client.send("WAIT 1 0");
        let unblock = format!("CLIENT UNBLOCK {id} {reason}");
        wait_until("it waits", || other.ask(&unblock) == "COUNT 1");
        assert_eq!(client.reply(), reply, "{reason}");
    }
    assert_eq!(
        other.ask("CLIENT UNBLOCK 1 MAYBE"),
        "ERR ARGS CLIENT UNBLOCK reason should be TIMEOUT or ERROR"
    );
}

#[test]
fn a_script_that_cannot_be_compiled_is_not_kept() {
    let server = TestServer::start();
    let mut client = server.client();
    let reply = client.ask("SCRIPT LOAD \"return (\"");
    assert!(reply.contains("Error compiling script"), "{reply}");
    // The SHA-1 of its text.
    let sha1 = "728acb63e2aaef0ee859ece5db586bff5d800d1e";
    assert_eq!(
        client.ask_array(&format!("SCRIPT EXISTS {sha1}")),
        ["COUNT 0"]
    );
}
