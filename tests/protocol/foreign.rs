//! Clients of other protocols on the text port, and of this one on the HTTP port: none of their bytes is executed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::server::TestServer;

/// What an attacker who chooses a part of the bytes puts there.
const SMUGGLED: &[u8] =
    b"\r\nDEL victim\r\nPUT evil 1\r\n*3\r\n$3\r\nSET\r\n$4\r\nevil\r\n$1\r\n1\r\n";

/// The first bytes of other protocols, as their clients send them.
const FOREIGN: &[&[u8]] = &[
    // TLS: handshake, change of cipher, alert, data; SSL 2.0.
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x16\x03\x01 name",
    b"\x14\x03\x03\x00\x01\x01",
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x17\x03\x03\x00\x20",
    b"\x80\x2e\x01\x00\x02\x00\x15",
    // HTTP, and protocols with lines like its.
    b"GET / HTTP/1.0",
    b"GET /victim HTTP/1.1",
    b"HEAD / HTTP/1.1",
    b"PUT /victim HTTP/1.1",
    b"DEL /victim HTTP/1.1",
    b"DELETE /victim HTTP/1.1",
    b"POST / HTTP/1.1",
    b"PATCH / HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT victim:80 HTTP/1.1",
    b"TRACE / HTTP/1.1",
    b"COPY /victim HTTP/1.1",
    b"PROPFIND / HTTP/1.1",
    b"PUT http://127.0.0.1:7878/victim HTTP/1.1",
    b"GET /a victim HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"Host: localhost",
    b"HTTP/1.1 200 OK",
    b"OPTIONS sip:victim@localhost SIP/2.0",
    b"SUBSCRIBE sip:victim@localhost SIP/2.0",
    b"OPTIONS rtsp://localhost/victim RTSP/1.0",
    // Lines.
    b"SSH-2.0-OpenSSH_9.6",
    b"EHLO localhost",
    b"HELO localhost",
    b"USER anonymous",
    b"NICK victim",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 7878 7878",
    b"CONNECT\naccept-version:1.2",
    b"<?xml version='1.0'?>",
    b"set victim 0 0 5",
    b"SET victim 0 0 5 noreply",
    b"append victim 0 0 5",
    b"add victim 1 -1 5",
    b"ms victim 5",
    // Bytes.
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c",
    b"\x05\x01\x00",
    b"\x04\x01\x00\x50\x7f\x00\x00\x01",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    b"\x00\x00\x00\x21\x00\x03\x00\x00user\x00victim\x00\x00",
    b"\x3a\x00\x00\x00\x01\x00\x00\x00",
    b"\x20\x00\x00\x01\x85\xa6\x3f\x20",
    b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00",
    b"\x00\x00\x00\x54\xffSMB",
    b"\x00\x1d\xaa\xaa\x01\x00\x00\x01",
    b"\xff\xfeG\x00E\x00T\x00 \x00a\x00",
    b"AMQP\x00\x00\x09\x01",
    b"\x13BitTorrent protocol",
];

/// Sends bytes and returns all that the server answers until it closes the connection.
fn answers(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a timeout");
    stream.write_all(bytes).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn nothing_of_another_protocol_is_executed_and_its_connection_is_closed() {
    let server = TestServer::start();
    let mut client = server.client();
    for key in ["victim", "/victim", "a"] {
        assert_eq!(client.ask(&format!("PUT {key} old")), "OK");
    }
    for first in FOREIGN {
        let answer = answers(server.addr(), &[first, SMUGGLED].concat());
        assert!(
            answer.starts_with("ERR DENIED ")
                && answer.ends_with("; this connection is closed\n")
                && answer.lines().count() == 1,
            "{answer:?} answers {:?}",
            String::from_utf8_lossy(first)
        );
    }
    assert_eq!(client.ask("COUNT"), "COUNT 3");
    assert_eq!(client.ask("MGET victim /victim a").as_str(), "ARRAY 3");
    for _ in 0..3 {
        assert_eq!(client.reply(), "VALUE \"old\"");
    }
}

/// Goal: a replica of Redis, which takes a line for the length of the data unless it begins with a minus sign, is told so.
#[test]
fn a_replica_that_speaks_in_lines_is_refused_with_a_minus_sign() {
    let server =
        TestServer::start_with(&["--listen", "127.0.0.1:0", "--listen", "redis://127.0.0.1:0"]);
    for line in [&b"SYNC"[..], b"sync", b"PSYNC ? -1"] {
        assert_eq!(
            answers(server.addr(), &[line, SMUGGLED].concat()),
            "-ERR this port does not speak Redis's replication protocol; this connection is closed\r\n"
        );
        let inline = answers(
            server.addr_of("redis://"),
            &[line, b"\r\nQUIT\r\n"].concat(),
        );
        assert!(
            inline.starts_with("-ERR this server has no replicas ")
                && inline.ends_with("\r\n+OK\r\n"),
            "{inline}"
        );
    }
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
}

/// Goal: a client that waits for an answer to bytes without a line feed is told at once.
#[test]
fn bytes_that_begin_no_line_are_refused_before_their_line_ends() {
    let server = TestServer::start();
    for (first, name) in [
        (&b"\x16"[..], "this port does not speak TLS"),
        (b"\x16\x03\x01\x02\x00\x01", "this port does not speak TLS"),
        (
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            "these bytes are neither a line of text nor RESP",
        ),
        (
            b"\x05\x01\x00",
            "these bytes are neither a line of text nor RESP",
        ),
    ] {
        let expected = format!("ERR DENIED {name}; this connection is closed\n");
        assert_eq!(answers(server.addr(), first), expected);
    }
}

#[test]
fn lines_that_only_look_like_another_protocol_are_executed() {
    let server = TestServer::start();
    let mut client = server.client();
    for (line, reply) in [
        ("PUT note see HTTP/1.1", "OK"),
        ("GET note", "VALUE \"see HTTP/1.1\""),
        ("PUT /note \"HTTP/1.1\"", "OK"),
        ("GET /note", "VALUE \"HTTP/1.1\""),
        ("PUT post Host:", "OK"),
        ("DEL post", "COUNT 1"),
        ("SET k 0 EX 50", "OK"),
        ("set k 5", "OK"),
        ("get k", "VALUE \"5\""),
        ("PUT k 0 0 5", "OK"),
        (
            "\u{1b}[AGET k",
            "ERR UNKNOWN there is no command '\\u001b[AGET'; HELP lists them",
        ),
        (
            "FETCH k",
            "ERR UNKNOWN there is no command 'FETCH'; HELP lists them",
        ),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
    client.send_bytes(b"PUT k \xff\nPUT \"a\\u0000b\" c\nGET a\0b\n");
    for reply in [
        "ERR TEXT the line is not UTF-8 at column 7; a line carries text only",
        "OK",
        "VALUE \"c\"",
    ] {
        assert_eq!(client.reply(), reply);
    }
    // RESP carries any words.
    client.send_bytes(b"*3\r\n$3\r\nSET\r\n$2\r\n/x\r\n$8\r\nHTTP/1.1\r\n");
    assert_eq!(client.reply(), "+OK\r");
}

#[test]
fn the_http_port_answers_400_to_other_protocols_and_closes() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT victim old"), "OK");
    for first in [
        &b"DEL victim\r\n"[..],
        b"PING\r\n",
        b"GET victim\r\n",
        b"*2\r\n$3\r\nDEL\r\n$6\r\nvictim\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO localhost\r\n",
    ] {
        let smuggled = b"DELETE /clear HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = answers(server.http_addr(), &[first, smuggled].concat());
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n")
                && answer.matches("HTTP/1.1").count() == 1,
            "{answer:?} answers {:?}",
            String::from_utf8_lossy(first)
        );
    }
    assert_eq!(server.client().ask("GET victim"), "VALUE \"old\"");
}
