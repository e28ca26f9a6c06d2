//! CLIENT PAUSE: who waits, for how long, and what goes on meanwhile.

use std::time::{Duration, Instant};

use crate::support::http::Http;
use crate::support::resp::Resp;
use crate::support::server::TestServer;

/// How long a request is seen not to be answered.
const MOMENT: Duration = Duration::from_millis(150);

/// A pause that is longer than a client of these tests waits for a reply.
const LONG_PAUSE_MS: u32 = 600_000;

/// Asks on a thread of its own, and returns what gives the reply.
fn asked(
    server: &TestServer,
    lines: &'static [&'static str],
) -> std::thread::JoinHandle<Vec<String>> {
    let mut client = server.client();
    std::thread::spawn(move || {
        for line in lines {
            client.send(line);
        }
        lines.iter().map(|_| client.reply()).collect()
    })
}

#[test]
fn changes_wait_and_reads_do_not() {
    let server = TestServer::start();
    let mut admin = server.client();
    assert_eq!(admin.ask("PUT a 1"), "OK");
    assert_eq!(
        admin.ask(&format!("CLIENT PAUSE {LONG_PAUSE_MS} WRITE")),
        "OK"
    );
    let waiting = [
        asked(&server, &["GET a", "PUT a 2", "GET a"]),
        asked(&server, &["PUBLISH news x", "PING"]),
        asked(&server, &["EVAL \"return redis.call('INCR', 'n')\" 1 n"]),
    ];
    std::thread::sleep(MOMENT);
    assert!(waiting.iter().all(|thread| !thread.is_finished()));
    for (line, reply) in [
        ("GET a", "VALUE \"1\""),
        (
            "EVAL_RO \"return redis.call('GET', KEYS[1])\" 1 a",
            "VALUE \"1\"",
        ),
        ("MULTI", "OK"),
        ("GET a", "QUEUED"),
    ] {
        assert_eq!(admin.ask(line), reply, "{line}");
    }
    assert_eq!(admin.ask_array("EXEC"), ["VALUE \"1\""]);
    assert_eq!(admin.ask("CLIENT UNPAUSE"), "OK");
    let replies = waiting.map(|thread| thread.join().expect("replies"));
    assert_eq!(replies[0], ["VALUE \"1\"", "OK", "VALUE \"2\""]);
    assert_eq!(replies[1], ["COUNT 0", "PONG"]);
    assert_eq!(replies[2], ["COUNT 1"]);
}

#[test]
fn a_transaction_with_a_change_waits_as_a_whole() {
    let server = TestServer::start();
    let mut admin = server.client();
    let mut client = server.client();
    assert_eq!(
        admin.ask(&format!("CLIENT PAUSE {LONG_PAUSE_MS} WRITE")),
        "OK"
    );
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(client.ask("PUT a 1"), "QUEUED");
    client.send("EXEC");
    std::thread::sleep(MOMENT);
    assert_eq!(admin.ask("GET a"), "NOT_FOUND");
    assert_eq!(admin.ask("CLIENT UNPAUSE"), "OK");
    assert_eq!(client.reply(), "ARRAY 1");
    assert_eq!(client.reply(), "OK");
}

#[test]
fn all_requests_wait_for_the_longest_pause_but_the_one_that_ends_it() {
    let server = TestServer::start();
    let mut admin = server.client();
    let began = Instant::now();
    assert_eq!(admin.ask("CLIENT PAUSE 300"), "OK");
    // It waits itself.
    assert_eq!(admin.ask("PING"), "PONG");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(
        admin.ask(&format!("CLIENT PAUSE {LONG_PAUSE_MS} ALL")),
        "OK"
    );
    let waiting = asked(&server, &["PING", "CLIENT PAUSE 1 WRITE"]);
    std::thread::sleep(MOMENT);
    assert!(!waiting.is_finished());
    assert_eq!(server.client().ask("CLIENT UNPAUSE"), "OK");
    assert_eq!(waiting.join().expect("replies"), ["PONG", "OK"]);
    // A shorter one, of fewer requests, changes nothing.
    assert_eq!(admin.ask("CLIENT PAUSE 400 ALL"), "OK");
    let began = Instant::now();
    assert_eq!(server.client().ask("CLIENT UNPAUSE"), "OK");
    assert_eq!(admin.ask("CLIENT PAUSE 400 WRITE"), "OK");
    assert_eq!(admin.ask("CLIENT PAUSE 1 WRITE"), "OK");
    assert_eq!(admin.ask("PUT a 1"), "OK");
    assert!(began.elapsed() >= Duration::from_millis(400));
    for (line, refusal) in [
        (
            "CLIENT PAUSE x",
            "timeout is not an integer or out of range",
        ),
        ("CLIENT PAUSE -1", "timeout is negative"),
        (
            "CLIENT PAUSE 1 FOO",
            "CLIENT PAUSE mode must be WRITE or ALL",
        ),
    ] {
        assert_eq!(admin.ask(line), format!("ERR ARGS {refusal}"));
    }
}

#[test]
fn changes_over_http_wait_and_a_client_that_hangs_up_changes_nothing() {
    let server = TestServer::start();
    let mut admin = server.client();
    assert_eq!(
        admin.ask(&format!("CLIENT PAUSE {LONG_PAUSE_MS} WRITE")),
        "OK"
    );
    let mut http = Http::connect(&server);
    http.send("POST /put?key=http&value=1", &[], b"");
    let mut leaving = Resp::connect(server.addr());
    leaving.send_only(&[b"SET", b"gone", b"1"]);
    drop(leaving);
    std::thread::sleep(MOMENT);
    assert_eq!(admin.ask("COUNT"), "COUNT 0");
    assert_eq!(Http::connect(&server).ask("GET /all").text(), "{}");
    assert_eq!(admin.ask("CLIENT UNPAUSE"), "OK");
    assert_eq!(http.answer().status, 200);
    assert_eq!(admin.ask("PING"), "PONG");
    assert_eq!(admin.ask_rows("KEYS"), ["KEY \"http\"", "END 1"]);
}

#[test]
fn a_stop_of_the_server_ends_a_pause() {
    let server = TestServer::start();
    let request = format!("CLIENT PAUSE {LONG_PAUSE_MS} WRITE");
    assert_eq!(server.client().ask(&request), "OK");
    let waiting = asked(&server, &["PUT last 1"]);
    std::thread::sleep(MOMENT);
    let stopped = server.stop();
    assert_eq!(waiting.join().expect("a reply"), ["OK"]);
    assert!(stopped.read("store.json").contains("\"last\": \"1\""));
}
