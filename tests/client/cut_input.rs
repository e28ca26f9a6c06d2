//! Requests on standard input that end too early, or are none: what is not whole is not done, and the client says where it is cut.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread;

use crate::support::client::{Ended, client, done, failed, pipe};
use crate::support::server::TestServer;

/// Three requests of RESP, and where each ends.
const RESP: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$7\r\none\ntwo\r\n*3\r\n$3\r\nPUT\r\n$1\r\nb\r\n$0\r\n\r\n*2\r\n$4\r\nINCR\r\n$1\r\nc\r\n";
const RESP_ENDS: [usize; 3] = [33, 59, 80];

/// Requests in both dialects, a blank line among them, and where each ends.
const MIXED: &str =
    "PUT a \"one two\"\r\n\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$3\r\nx y\r\n  PUT  c  as it is \n";
const MIXED_ENDS: [usize; 3] = [17, 47, 67];

/// Sends each beginning of some requests, with one key each, and checks that those that are whole are done, and no others.
fn cut_at_every_byte(text: &str, ends: [usize; 3]) {
    let server = TestServer::start();
    let mut wire = server.client();
    for cut in 0..=text.len() {
        assert_eq!(wire.ask("CLEAR"), "OK");
        let ended = pipe(client(server.addr()).arg("--pipe"), &text[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(wire.ask("COUNT"), format!("COUNT {whole}"), "cut at {cut}");
        let begin = ends[..whole].last().copied().unwrap_or(0);
        let is_cut = !text[begin..cut].trim().is_empty();
        let noun = if whole == 1 { "answer" } else { "answers" };
        let report = format!("{whole} {noun}; 0 errors\n");
        if is_cut {
            let place = format!("inside request {}, which begins at byte ", whole + 1);
            let start = format!("{report}Error: the input ends after {cut} byte");
            assert_eq!(ended.status, 2, "cut at {cut}: {ended:?}");
            assert!(
                ended.err.starts_with(&start) && ended.err.contains(&place),
                "cut at {cut}: {ended:?}"
            );
        } else {
            assert_eq!(ended, failed(0, &report), "cut at {cut}");
        }
    }
}

#[test]
fn a_bulk_load_in_resp_that_is_cut_anywhere_does_what_is_whole() {
    cut_at_every_byte(RESP, RESP_ENDS);
}

#[test]
fn a_bulk_load_in_both_dialects_that_is_cut_anywhere_does_what_is_whole() {
    cut_at_every_byte(MIXED, MIXED_ENDS);
}

#[test]
fn the_place_of_a_cut_is_told() {
    let server = TestServer::start();
    for (arguments, input, err) in [
        (
            &["--pipe"][..],
            "PUT a 1\n\nPUT b tw",
            "1 answer; 0 errors\nError: the input ends after 17 bytes inside request 2, which begins at byte 9 (line 3): that line has no line feed and was not sent\n",
        ),
        (
            &["--pipe"],
            "*2\r\n$3\r\nGET\r\n$1",
            "0 answers; 0 errors\nError: the input ends after 15 bytes inside request 1, which begins at byte 0 (line 1): that was not sent\n",
        ),
        (
            &[],
            "PUT c 1\nPUT b \"tw",
            "answered: 1 request\nError: the input ends after 17 bytes inside request 2, which begins at byte 8 (line 2): that line has no line feed and was not sent\n",
        ),
        (
            &["--pipe"],
            "MULTI\nPUT d 1\n",
            "2 answers; 0 errors\nError: the input ends after 14 bytes inside a transaction: nothing of that was executed, as no EXEC follows MULTI\n",
        ),
        (
            &[],
            "MULTI\nPUT d 1\n",
            "answered: 2 requests\nError: the input ends after 14 bytes inside a transaction: nothing of that was executed, as no EXEC follows MULTI\n",
        ),
    ] {
        let ended = pipe(client(server.addr()).args(arguments), input);
        assert_eq!((ended.status, &*ended.err), (2, err), "{input:?}");
    }
    assert_eq!(server.client().ask("EXISTS a b c d"), "COUNT 2");
}

/// A line that lacks only its line feed looks like one that was cut.
#[test]
fn a_last_line_without_its_line_feed_is_sent_only_if_it_changes_nothing() {
    let server = TestServer::start();
    let addr = server.addr();
    assert_eq!(pipe(&mut client(addr), "PUT a 1\nGET a"), done("OK\n1\n"));
    assert_eq!(pipe(&mut client(addr), "PING"), done("PONG\n"));
    assert_eq!(pipe(&mut client(addr), "PING\n \t"), done("PONG\n"));
    for change in ["PUT b 2", "DEL a", "CLEAR", "NOSUCH", "SAVE", "PUT b \"2\""] {
        let ended = pipe(&mut client(addr), format!("GET a\n{change}"));
        assert_eq!((ended.status, &*ended.out), (2, "1\n"), "{ended:?}");
        let ended = pipe(client(addr).arg("--pipe"), change);
        assert_eq!(ended.status, 2, "{ended:?}");
    }
    assert_eq!(server.client().ask("COUNT"), "COUNT 1");
}

#[test]
fn an_input_without_requests_does_nothing() {
    let server = TestServer::start();
    for input in ["", " ", "\n", "\r\n \t\r\n", "*0\r\n\n"] {
        let ended = pipe(client(server.addr()).arg("--pipe"), input);
        assert_eq!(ended, failed(0, "0 answers; 0 errors\n"), "{input:?}");
    }
    assert_eq!(pipe(&mut client(server.addr()), "\n \n"), done(""));
}

#[test]
fn an_input_that_is_no_protocol_is_an_error() {
    let server = TestServer::start();
    let bulk = |input: &[u8]| pipe(client(server.addr()).arg("--pipe"), input);
    let malformed = |input: &[u8], answers: &str, reason: &str| {
        let ended = bulk(input);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(
            ended.err.starts_with(answers) && ended.err.contains(reason),
            "{ended:?}"
        );
    };
    malformed(
        b"PUT a 1\n*1\r\nPING\r\nPUT b 1\n",
        "1 answer; 0 errors\nError: request 2, which begins at byte 8 (line 2), is malformed",
        "Protocol error: expected '$', got 'P'",
    );
    malformed(
        b"*x\r\n",
        "0 answers; 0 errors\n",
        "Protocol error: invalid multibulk length",
    );
    malformed(
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\nPUT c 1\n",
        "Error: ERR DENIED this port does not speak HTTP; this connection is closed (request 1)\n1 answer; 1 error\n",
        "the server closed the connection before all requests were answered",
    );
    let ended = bulk(&[b"\x89PNG\r\n\x1a\n\xff\n".as_slice(), &[0, 200, b'\n']].concat());
    assert!(
        ended.status == 2
            && ended
                .err
                .contains("these bytes are neither a line of text nor RESP"),
        "{ended:?}"
    );
    // RESP without --pipe, whose replies nobody could show.
    let ended = pipe(&mut client(server.addr()), "PUT d 1\n*1\r\n$4\r\nPING\r\n");
    assert_eq!((ended.status, &*ended.out), (2, "OK\n"), "{ended:?}");
    assert!(ended.err.contains("is sent with --pipe"), "{ended:?}");
    assert_eq!(server.client().ask("EXISTS a b c d"), "COUNT 2");
}

#[test]
fn a_line_longer_than_any_request_ends_the_client_before_memory_does() {
    const LINE_BYTES: usize = (64 << 20) + 6 * (64 << 10) + 1024;
    let server = TestServer::start();
    for arguments in [&["--pipe"][..], &[]] {
        let ended = pipe(
            client(server.addr()).args(arguments),
            [b"PUT a ".to_vec(), vec![b'x'; LINE_BYTES]].concat(),
        );
        assert_eq!((ended.status, &*ended.out), (2, ""));
        let reason = format!("the line is longer than {LINE_BYTES} bytes");
        assert!(ended.err.contains(&reason), "{ended:?}");
    }
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
}

#[test]
fn a_request_that_keeps_the_server_from_answering_in_order_does_not_hang() {
    let server = TestServer::start();
    let bulk = |input: &str| pipe(client(server.addr()).arg("--pipe"), input);
    assert_eq!(
        bulk("PUT a 1\nquit\nPUT b 1\n"),
        failed(0, "2 answers; 0 errors\n")
    );
    assert_eq!(
        bulk("*1\r\n$4\r\nQUIT\r\nPUT b 1"),
        failed(0, "1 answer; 0 errors\n")
    );
    assert_eq!(bulk("SUBSCRIBE c\n").status, 0);
    assert_eq!(bulk("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n").status, 0);
    assert_eq!(bulk("FOLLOW x\n").status, 0);
    assert_eq!(bulk("MONITOR\n").status, 0);
    // Arrays are one answer each, whatever they hold.
    assert_eq!(
        bulk("MGET a b\nMULTI\nMGET a a\nGET a\nEXEC\nALL\nCONFIG GET port\n"),
        failed(0, "7 answers; 0 errors\n")
    );
    assert_eq!(server.client().ask("COUNT"), "COUNT 1");
    assert_eq!(
        bulk("PUT b 1\nSHUTDOWN\n"),
        failed(0, "2 answers; 0 errors\n")
    );
}

#[test]
fn many_errors_are_counted_and_the_first_ones_are_shown_with_their_request() {
    let server = TestServer::start();
    let ended = pipe(
        client(server.addr()).arg("--pipe"),
        format!("PUT a 1\n{}", "NOSUCH\n".repeat(1000)),
    );
    assert_eq!(ended.status, 1);
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 11);
    assert_eq!(
        lines[0],
        "Error: ERR UNKNOWN there is no command 'NOSUCH'; HELP lists them (request 2)"
    );
    assert_eq!(lines[10], "1,001 answers; 1,000 errors");
}

/// The client, which is sent requests without an end, by a server that dies once it has answered three.
fn with_dying_server(arguments: &[&str]) -> Ended {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut heard = [0; 40];
        stream.read_exact(&mut heard).expect("five requests");
        stream.write_all(b"OK\nOK\nOK\n").expect("the client reads");
    });
    let mut child = client(addr)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all("PUT a 1\n".repeat(5).as_bytes())
        .expect("the client reads");
    // The input goes on without an end.
    let ended = ended_of(child);
    drop(stdin);
    ended
}

fn ended_of(child: Child) -> Ended {
    let output = child.wait_with_output().expect("the client ends");
    Ended {
        status: output.status.code().expect("the client was not killed"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[test]
fn a_server_that_dies_midway_ends_the_client_which_says_how_many_were_answered() {
    let ended = with_dying_server(&["--pipe"]);
    assert_eq!((ended.status, &*ended.out), (2, ""));
    assert!(
        ended.err.starts_with("3 answers; 0 errors\nError: ")
            && ended.err.contains("may or may not have been done"),
        "{ended:?}"
    );
    let ended = with_dying_server(&[]);
    assert_eq!((ended.status, &*ended.out), (2, "OK\nOK\nOK\n"));
    assert!(
        ended
            .err
            .starts_with("Error: line 4: the change may or may not have been done: ")
            && ended.err.ends_with("; answered before: 3 requests\n"),
        "{ended:?}"
    );
}

/// Goal: a load of any size takes bounded memory, and replies longer than all buffers do not stop it.
/// Method: a client that may use 64 MB of data, and 256 MB of requests, each answered with as much.
#[test]
fn a_bulk_load_streams_in_bounded_memory() {
    let server = TestServer::start();
    let value = "v".repeat(1 << 20);
    let round = format!("PUT a {value}\nGET a\n");
    let mut child = std::process::Command::new("sh")
        .args(["-c", "ulimit -d 65536; exec \"$0\" --pipe"])
        .arg(env!("CARGO_BIN_EXE_pykv-cli"))
        .env("PYKV_URL", format!("pykv://{}", server.addr()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    for _ in 0..256 {
        stdin.write_all(round.as_bytes()).expect("the client reads");
    }
    drop(stdin);
    assert_eq!(ended_of(child), failed(0, "512 answers; 0 errors\n"));
}
