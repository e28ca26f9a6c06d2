//! The budget of the memory that is held for clients.
//!
//! In: a server with a small budget, and clients that hold much: half-sent requests, unread replies, queues, watched keys, messages.
//! Out: the resident memory of the server, its figures, and what the clients are told. Promise under test: the server stays within
//! the budget whatever the number of connections, tells those that it ends why, and serves all others meanwhile.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use pykv::config::Config;

use crate::support::http::Http;
use crate::support::server::{TestServer, wait_until};

const MIB: u64 = 1 << 20;
/// The budget of the servers here.
const BUDGET_BYTES: u64 = 64 * MIB;
/// What the server may take beyond the budget: its code and data, the buffers that its threads work with.
const SLACK_BYTES: u64 = 64 * MIB;
/// As much as a client sends of a value, without the rest.
const PART_BYTES: usize = 20 << 20;

fn server() -> TestServer {
    TestServer::start_with(&["--client-memory", "64mb"])
}

/// Sends a part of a value, or less if the server closes the connection.
fn send_part(addr: SocketAddr, opening: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("the server accepts");
    let piece = vec![b'x'; 1 << 20];
    let mut sent = stream.write_all(opening);
    for _ in 0..PART_BYTES / piece.len() {
        if sent.is_err() {
            break;
        }
        sent = stream.write_all(&piece);
    }
    stream
}

/// Returns what the server has said, and says until it closes the connection, if it does at once.
fn said(stream: &mut TcpStream) -> String {
    let patience = Some(Duration::from_millis(100));
    stream.set_read_timeout(patience).expect("a timeout");
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count) = stream.read(&mut chunk) {
        if count == 0 {
            break;
        }
        said.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Checks that the server has never held more than the budget.
fn assert_peak_within_budget(server: &TestServer, kind: &str) {
    let peak_bytes = server.peak_memory_bytes();
    assert!(
        peak_bytes < BUDGET_BYTES + SLACK_BYTES,
        "{kind}: the peak was {peak_bytes} bytes"
    );
}

/// Checks the memory of the server, its figures, and that it still serves.
fn assert_within_budget(server: &TestServer, kind: &str) {
    // What was ended lets go at its next step.
    wait_until(kind, || server.stat("client_memory_bytes") <= BUDGET_BYTES);
    // The allocator returns freed memory within a second or two.
    wait_until(kind, || server.memory_bytes() < BUDGET_BYTES + SLACK_BYTES);
    let mut client = server.client();
    assert_eq!(client.ask("PUT small value"), "OK", "{kind}");
    assert_eq!(client.ask("GET small"), "VALUE \"value\"", "{kind}");
    let answer = Http::connect(server).ask("GET /health");
    assert_eq!(answer.status, 200, "{kind}");
}

#[test]
fn half_sent_requests_of_any_kind_stay_within_the_budget_and_the_largest_are_told_why() {
    let post = |path: &str| {
        format!("{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000000\r\n\r\n\"")
    };
    let bodies = [post("POST /put"), post("POST /api/v1/batch")];
    for (kind, opening, is_http, expected) in [
        (
            "values in RESP",
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000000\r\n",
            false,
            "-OOM the server holds too much",
        ),
        (
            "lines",
            "PUT k ",
            false,
            "ERR FULL the server holds too much",
        ),
        (
            "quoted values",
            "PUT k \"",
            false,
            "ERR FULL the server holds too much",
        ),
        (
            "bodies of the older API",
            &bodies[0],
            true,
            "HTTP/1.1 503 Service Unavailable",
        ),
        (
            "batches",
            &bodies[1],
            true,
            "HTTP/1.1 503 Service Unavailable",
        ),
    ] {
        let server = server();
        let addr = if is_http {
            server.http_addr()
        } else {
            server.addr()
        };
        let mut clients: Vec<TcpStream> = (0..15)
            .map(|_| send_part(addr, opening.as_bytes()))
            .collect();
        assert_within_budget(&server, kind);
        assert_peak_within_budget(&server, kind);
        let ended = server.stat("clients_ended_total");
        let told = clients
            .iter_mut()
            .map(said)
            .filter(|said| said.starts_with(expected))
            .count();
        // Some of them lose the reply, as they are still sending.
        assert!(told > 0, "{kind}: nobody was told of {ended} ended");
        drop(clients);
        wait_until("the memory is free", || {
            server.stat("client_memory_bytes") < MIB
        });
    }
}

#[test]
fn a_request_that_needs_all_of_the_budget_is_served_and_one_that_needs_more_is_refused() {
    let server = TestServer::start_with(&["--client-memory", "8mb"]);
    let mut client = server.client();
    let fits = "v".repeat(7 << 20);
    assert_eq!(client.ask(&format!("PUT k {fits}")), "OK");
    let exceeds = "v".repeat(9 << 20);
    client.send_bytes(format!("PUT k {exceeds}").as_bytes());
    let refusal = client.reply_or_end();
    assert!(
        refusal.starts_with(
            "ERR FULL the server holds too much for its clients (--client-memory is 8388608 bytes)"
        ),
        "{refusal}"
    );
    assert_eq!(
        server.client().ask("STRLEN k"),
        format!("COUNT {}", 7 << 20)
    );
}

#[test]
fn queues_watched_keys_and_subscriptions_count_and_are_refused_past_the_budget() {
    let server = TestServer::start_with(&["--client-memory", "8mb"]);
    let value = "v".repeat(1 << 20);
    let mut client = server.client();
    assert_eq!(client.ask("MULTI"), "OK");
    let queued = (0..20)
        .map(|_| client.ask(&format!("PUT k {value}")))
        .take_while(|reply| reply == "QUEUED")
        .count();
    assert!((5..8).contains(&queued), "{queued} MiB were queued");
    let aborted = client.ask("EXEC");
    assert!(aborted.starts_with("ERR"), "{aborted}");
    assert_eq!(client.ask("GET k"), "NOT_FOUND");

    let mut client = server.client();
    let watched = (0..200)
        .map(|n| client.ask(&format!("WATCH {n}{}", "k".repeat(60_000))))
        .take_while(|reply| reply == "OK")
        .count();
    assert!((100..140).contains(&watched), "{watched} keys were watched");
    assert_eq!(client.ask("UNWATCH"), "OK");
    wait_until("the memory is free", || {
        server.stat("client_memory_bytes") < MIB
    });
}

#[test]
fn values_that_readers_have_stopped_in_count_once_they_are_replaced() {
    let server = server();
    let mut writer = server.client();
    let value = |n: u32| format!("{n}").repeat(16 << 20);
    let mut readers = Vec::new();
    for n in 0..10 {
        assert_eq!(writer.ask(&format!("PUT k {}", value(n))), "OK");
        // Two clients stop in each version; it counts once.
        for _ in 0..2 {
            let mut reader = server.client();
            reader.send("GET k");
            readers.push(reader);
        }
        wait_until("they have begun", || {
            let begun = readers.iter().rev().take(2);
            begun.filter(|reader| has_input(&reader.sender())).count() == 2
        });
    }
    wait_until("the readers of the older versions are ended", || {
        server.stat("clients_ended_total") >= 8
    });
    assert_within_budget(&server, "replaced values");
    // The newest value is data, and nobody is ended for reading it.
    let newest = readers.pop().expect("there are twenty");
    let mut newest = newest.sender();
    let patience = Some(Duration::from_secs(10));
    newest.set_read_timeout(patience).expect("a timeout");
    let mut reply = vec![0; 16 << 20];
    newest
        .read_exact(&mut reply)
        .expect("it is read to its end");
}

fn has_input(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let heard = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("a socket");
    !matches!(heard, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn messages_count_once_for_all_subscribers_and_those_that_do_not_read_are_ended() {
    let server = server();
    let deaf: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut client = TcpStream::connect(server.addr()).expect("the server accepts");
            client
                .write_all(b"SUBSCRIBE news\n")
                .expect("it is connected");
            let mut reply = [0; 10];
            client.read_exact(&mut reply).expect("it is subscribed");
            client
        })
        .collect();
    let mut publisher = server.client();
    let message = "m".repeat(1 << 20);
    for _ in 0..25 {
        assert_eq!(
            publisher.ask(&format!("PUBLISH news {message}")),
            "COUNT 20"
        );
    }
    // 25 messages of a mebibyte, for 20 clients: 500 if each counted for each.
    assert_eq!(server.stat("clients_ended_total"), 0);
    assert_within_budget(&server, "messages");
    drop(deaf);
}

#[test]
fn stalled_readers_of_short_values_stay_within_the_budget() {
    let server = TestServer::start_with(&["--client-memory", "8mb"]);
    let mut writer = server.client();
    assert_eq!(writer.ask(&format!("PUT k {}", "v".repeat(60_000))), "OK");
    let deaf: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut client = TcpStream::connect(server.addr()).expect("the server accepts");
            let request = "GET k\n".repeat(2_000);
            client.write_all(request.as_bytes()).expect("it is read");
            client
        })
        .collect();
    // Each holds a quarter of a mebibyte, once its socket is full.
    wait_until("some are ended", || server.stat("clients_ended_total") > 0);
    assert_within_budget(&server, "unread replies");
    assert_eq!(writer.ask("PUT k w"), "OK");
    drop(deaf);
}

#[test]
fn a_shutdown_is_not_held_up_by_half_sent_requests() {
    let server = server();
    let clients: Vec<TcpStream> = (0..20)
        .map(|_| {
            send_part(
                server.addr(),
                b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000000\r\n",
            )
        })
        .collect();
    let began = Instant::now();
    let (_, status) = server.signal("TERM");
    assert_eq!(status, Some(0));
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(clients);
}

#[test]
fn while_all_connections_are_taken_an_administrator_gets_in() {
    let server = TestServer::start_with_files(100);
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..75 {
        clients.push(TcpStream::connect(server.addr()).expect("the server accepts"));
    }
    let last = clients.last_mut().expect("there are some");
    last.write_all(b"PING\n").expect("it is connected");
    last.read_exact(&mut [0; 5]).expect("it is served");
    let mut administrator = server.client();
    administrator.send("CLIENT LIST");
    let listed = administrator.reply_or_end();
    assert!(listed.contains("laddr="), "{listed}");
    assert_eq!(administrator.ask("CLIENT KILL ID 1"), "COUNT 1");
    assert_eq!(
        administrator.ask("GET k"),
        "ERR BUSY there are 75 connections already; try again later"
    );
    assert_eq!(administrator.rest(), "");
}

#[test]
fn while_all_connections_of_http_are_taken_health_answers() {
    let server = TestServer::start();
    let addr = server.http_addr();
    let silent: Vec<TcpStream> = (0..1_000)
        .map(|_| TcpStream::connect(addr).expect("the system accepts"))
        .collect();
    let answer = Http::connect(&server).ask("GET /health");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    let answer = Http::connect(&server).ask("GET /all");
    assert_eq!(answer.status, 503);
    drop(silent);
    wait_until("there is room again", || {
        Http::connect(&server).ask("GET /all").status == 200
    });
}

#[test]
fn the_budget_is_a_size_or_a_share_of_the_memory_and_has_a_minimum() {
    for (size, bytes) in [("8mb", 8 << 20), ("8388608", 8 << 20), ("1GB", 1 << 30)] {
        let server = TestServer::start_with(&["--client-memory", size]);
        assert_eq!(server.stat("client_memory_limit_bytes"), bytes, "{size}");
    }
    let half =
        TestServer::start_with(&["--client-memory", "50%"]).stat("client_memory_limit_bytes");
    let default = TestServer::start().stat("client_memory_limit_bytes");
    assert!(default > 8 << 20);
    assert!(
        half.abs_diff(2 * default) < 100,
        "{half} is not twice {default}"
    );
    for (size, reason) in [
        ("8388607", "it is less than the minimum of 8388608 bytes"),
        (
            "lots",
            "it is no number of bytes, such as 67108864, 512mb, 2gb or 25%",
        ),
        ("101%", "it is no number of bytes"),
    ] {
        let flags = ["pykv-server", "--client-memory", size];
        let refused = Config::try_parse_from(flags).map(drop);
        let said = refused.expect_err("it is not valid").to_string();
        assert!(said.contains(reason), "{size}: {said}");
    }
}

#[test]
fn imports_that_stop_within_a_long_value_stay_within_the_budget_though_they_are_gzipped() {
    let server = server();
    let pair = format!("{{\"k\":\"{}", "x".repeat(50 << 20));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(pair.as_bytes()).expect("memory");
    gzip.flush().expect("memory");
    let part = gzip.get_ref();
    let head = format!(
        "POST /api/v1/import HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n",
        part.len() + 100
    );
    let mut importers: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut importer = TcpStream::connect(server.http_addr()).expect("the server accepts");
            importer.write_all(head.as_bytes()).expect("it is read");
            let _ = importer.write_all(part);
            importer
        })
        .collect();
    let told = |importer: &mut TcpStream| said(importer).starts_with("HTTP/1.1 503");
    wait_until("some are told", || importers.iter_mut().any(told));
    assert_within_budget(&server, "imports");
    assert_peak_within_budget(&server, "imports");
}

#[test]
fn over_http_a_replaced_value_counts_for_readers_that_have_stopped_in_it() {
    let server = TestServer::start_with(&["--client-memory", "48mb"]);
    let mut writer = server.client();
    let value = "v".repeat(30 << 20);
    let mut readers = Vec::new();
    for key in ["a", "b"] {
        assert_eq!(writer.ask(&format!("PUT {key} {value}")), "OK");
        let mut reader = Http::connect(&server);
        reader.send(&format!("GET /api/v1/key?key={key}"), &[], b"");
        wait_until("it has begun", || has_input(&reader.sender()));
        readers.push(reader);
    }
    assert!(
        server.stat("client_memory_bytes") < 2 * MIB,
        "they are data"
    );
    assert_eq!(writer.ask("PUT a w"), "OK");
    assert_eq!(writer.ask("PUT b w"), "OK");
    wait_until("one is ended", || server.stat("clients_ended_total") == 1);
    wait_until("its memory is free", || {
        server.stat("client_memory_bytes") < 48 * MIB
    });
}
