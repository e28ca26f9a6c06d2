//! TLS: what is accepted and refused, files that change, and what those are told who speak it where nobody does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustls::ProtocolVersion;

use crate::support::server::{Stopped, TestServer, wait_until};
use crate::support::tls::{Authority, Identity, TlsClient, Version, config};

const ADDRESSES: [&str; 6] = [
    "--listen",
    "tls://127.0.0.1:0",
    "--listen",
    "rediss://127.0.0.1:0",
    "--http",
    "https://127.0.0.1:0",
];

fn stopped(identity: &Identity, more: &[&str]) -> Stopped {
    let flags = identity.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Stopped::new(&[&ADDRESSES, &*flags, more].concat())
}

fn server(identity: &Identity, more: &[&str]) -> TestServer {
    stopped(identity, more).restart()
}

/// Sends bytes without TLS; all that is said until the server closes.
fn said(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).expect("the server accepts");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a timeout");
    stream.write_all(bytes).expect("the server reads");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("the server closes");
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn each_interface_is_served_by_tls_1_2_and_1_3() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    for (version, expected) in [
        (Version::Tls12, ProtocolVersion::TLSv1_2),
        (Version::Tls13, ProtocolVersion::TLSv1_3),
    ] {
        let config = config(&authority, None, Some(version));
        let mut client = TlsClient::with(server.addr_of("on tls://"), config.clone());
        assert_eq!(client.ask("PUT a 1"), "OK");
        assert_eq!(client.version(), Some(expected));
        let mut redis = TlsClient::with(server.addr_of("rediss://"), config.clone());
        assert_eq!(redis.ask("SET a \"x y\""), "+OK");
        let mut http = TlsClient::with(server.addr_of("https://"), config);
        let request = "GET /api/v1/keys/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        http.try_send(request).expect("the server reads");
        let response = http.rest();
        assert!(response.contains("\"value\":\"x y\""), "{response}");
    }
    // The address without TLS has the same pairs.
    assert_eq!(server.client().ask("GET a"), "VALUE \"x y\"");
}

/// The greeting of a client that knows nothing newer than TLS 1.1 (RFC 4346).
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    // No session; one cipher suite, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression; signatures by ecdsa_secp256r1_sha256, and
    // the curve secp256r1.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 16]);
    body.extend([0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23]);
    let length = u8::try_from(body.len()).expect("it is short");
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[test]
fn tls_1_1_is_refused_with_the_alert_for_its_version() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let mut stream = TcpStream::connect(server.addr_of("on tls://")).expect("it accepts");
    stream.write_all(&hello_of_tls_1_1()).expect("it reads");
    let mut alert = Vec::new();
    let _ = stream.read_to_end(&mut alert);
    // An alert record: fatal, protocol_version.
    assert_eq!(alert.first(), Some(&0x15), "{alert:?}");
    assert!(alert.ends_with(&[2, 70]), "{alert:?}");
}

#[test]
fn long_values_and_pipelines_pass_in_both_directions() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let mut client = TlsClient::connect(server.addr_of("on tls://"), &authority);
    let value = "v".repeat(3 << 20);
    assert_eq!(client.ask(&format!("PUT long {value}")), "OK");
    assert_eq!(client.ask("GET long"), format!("VALUE \"{value}\""));
    client
        .try_send(&"INCR n\n".repeat(10_000))
        .expect("it reads");
    client.half_close();
    let replies = client.rest();
    assert_eq!(replies.lines().count(), 10_000);
    assert!(replies.ends_with("VALUE \"10000\"\n"));
}

#[test]
fn a_shutdown_answers_what_has_been_received_encrypted() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let mut client = TlsClient::connect(server.addr_of("on tls://"), &authority);
    assert_eq!(client.ask("PING"), "PONG");
    client.try_send(&"INCR n\n".repeat(100)).expect("it reads");
    server.stop();
    let replies = client.rest();
    assert!(replies.ends_with("VALUE \"100\"\n"), "{replies}");
}

#[test]
fn with_an_authority_for_clients_only_its_clients_are_served() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = authority.file().display().to_string();
    let server = server(&authority.issue("server"), &["--tls-client-ca", &ca]);
    let own = authority.issue("ann");
    let (text, http) = (server.addr_of("on tls://"), server.addr_of("https://"));
    for addr in [text, http] {
        for version in [Version::Tls12, Version::Tls13] {
            let mut nobody = TlsClient::with(addr, config(&authority, None, Some(version)));
            let refused = nobody.try_ask("PING").expect_err("it has no certificate");
            assert!(
                refused.contains("CertificateRequired") || refused.contains("HandshakeFailure"),
                "{refused}"
            );
        }
        let stranger = other.issue("eve");
        let mut stranger = TlsClient::with(addr, config(&authority, Some(&stranger), None));
        let refused = stranger
            .try_ask("PING")
            .expect_err("it is of another authority");
        assert!(refused.contains("alert"), "{refused}");
        let expired = authority.issue_for("bob", -20, -10);
        let mut expired = TlsClient::with(addr, config(&authority, Some(&expired), None));
        let refused = expired.try_ask("PING").expect_err("it has expired");
        assert!(refused.contains("CertificateExpired"), "{refused}");
    }
    let mut ann = TlsClient::with(text, config(&authority, Some(&own), None));
    assert_eq!(ann.ask("PING"), "PONG");
    let mut ann = TlsClient::with(http, config(&authority, Some(&own), None));
    ann.try_send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    assert!(ann.rest().starts_with("HTTP/1.1 200 "));
}

#[test]
fn the_name_in_a_certificate_is_that_of_a_user() {
    let authority = Authority::new();
    let ca = authority.file().display().to_string();
    let stopped = stopped(&authority.issue("server"), &["--tls-client-ca", &ca]);
    stopped.write(
        "users.json",
        r#"{"users": {"shop": {"rules": "on nopass ~shop:* +@read +@write +acl|whoami"}}}"#,
    );
    let server = stopped.restart();
    let shop = config(&authority, Some(&authority.issue("shop")), None);
    let mut client = TlsClient::with(server.addr_of("on tls://"), shop.clone());
    assert_eq!(client.ask("ACL WHOAMI"), "VALUE \"shop\"");
    assert_eq!(client.ask("PUT shop:1 a"), "OK");
    assert!(client.ask("PUT bank a").starts_with("ERR DENIED "));
    let mut http = TlsClient::with(server.addr_of("https://"), shop);
    let request = "GET /api/v1/keys/bank HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    http.try_send(request).expect("the server reads");
    assert!(http.rest().starts_with("HTTP/1.1 403 "));
    // Without a common name, the first name of DNS counts.
    let unnamed = config(&authority, Some(&authority.issue_unnamed("shop")), None);
    let mut unnamed = TlsClient::with(server.addr_of("on tls://"), unnamed);
    assert_eq!(unnamed.ask("ACL WHOAMI"), "VALUE \"shop\"");
    // A name that is no user's has the rights of a client that has not signed in.
    let other = config(&authority, Some(&authority.issue("other")), None);
    let mut other = TlsClient::with(server.addr_of("on tls://"), other);
    assert_eq!(other.ask("PUT bank a"), "OK");
    let log = server.log();
    assert!(log.contains("signed in user=\"shop\""), "{log}");
    assert!(log.contains("way=\"certificate\""), "{log}");
}

#[test]
fn new_files_are_used_by_new_connections_and_the_old_ones_stay() {
    let authority = Authority::new();
    let (first, second, third) = (
        authority.issue("first"),
        authority.issue("second"),
        authority.issue("third"),
    );
    let server = server(&first, &[]);
    let addr = server.addr_of("on tls://");
    let mut old = TlsClient::connect(addr, &authority);
    assert_eq!(old.ask("PING"), "PONG");
    let sees = |identity: &Identity| {
        let mut client = TlsClient::connect(addr, &authority);
        client.ask("PING") == "PONG" && client.has_seen(identity)
    };
    assert!(sees(&first));
    // What is in place is no certificate: the old one stays.
    fs::write(&first.key, fs::read(&third.key).expect("a file")).expect("a file");
    server.send_signal("HUP");
    wait_until("the refusal is logged", || {
        server.log().contains("is not the key of --tls-cert")
    });
    assert!(
        server.log().contains("the certificate in use is kept"),
        "{}",
        server.log()
    );
    assert_eq!(TlsClient::connect(addr, &authority).ask("PING"), "PONG");
    second.replace(&first);
    wait_until("the change is noticed", || sees(&second));
    third.replace(&first);
    server.send_signal("HUP");
    wait_until("the signal is followed", || sees(&third));
    assert_eq!(old.ask("PING"), "PONG");
}

#[test]
fn a_start_names_the_file_the_flag_and_the_remedy() {
    let authority = Authority::new();
    let (good, other) = (authority.issue("good"), authority.issue("other"));
    let expired = authority.issue_for("expired", -20, -10);
    let early = authority.issue_for("early", 10, 20);
    let text = |path: &Path| path.display().to_string();
    let (certificate, key) = (text(&good.certificate), text(&good.key));
    let tls = ["--listen", "tls://127.0.0.1:0"];
    let cases: Vec<(Vec<&str>, String)> = vec![
        (vec![], "--listen tls://127.0.0.1:0 speaks TLS, which needs a certificate: give --tls-cert FILE and --tls-key FILE".to_owned()),
        (vec!["--tls-cert", &certificate], "--tls-cert needs the key of the certificate: give --tls-key FILE".to_owned()),
        (
            vec!["--tls-cert", "/nowhere/c.pem", "--tls-key", &key],
            "cannot read --tls-cert /nowhere/c.pem: ".to_owned(),
        ),
        (
            vec!["--tls-cert", &key, "--tls-key", &key],
            format!("--tls-cert {key} has no certificate in PEM"),
        ),
        (
            vec!["--tls-cert", &certificate, "--tls-key", &certificate],
            format!("--tls-key {certificate} has no private key in PEM"),
        ),
    ];
    for (flags, reason) in cases {
        let stopped = Stopped::new(&[&tls, &*flags].concat());
        let said = stopped.start_fails();
        assert!(said.contains(&reason), "{said}");
        assert!(!stopped.data().exists());
    }
    for (certificate, key, reason) in [
        (
            &good.certificate,
            &other.key,
            format!(
                "--tls-key {} is not the key of --tls-cert {}",
                text(&other.key),
                text(&good.certificate)
            ),
        ),
        (
            &expired.certificate,
            &expired.key,
            format!(
                "--tls-cert {} has a certificate that expired at ",
                text(&expired.certificate)
            ),
        ),
        (
            &early.certificate,
            &early.key,
            format!(
                "--tls-cert {} has a certificate that is not valid before ",
                text(&early.certificate)
            ),
        ),
    ] {
        let (certificate, key) = (text(certificate), text(key));
        let flags = ["--tls-cert", &certificate, "--tls-key", &key];
        let said = Stopped::new(&[&tls[..], &flags].concat()).start_fails();
        assert!(said.contains(&reason), "{said}");
    }
    let said = Stopped::new(&["--tls-cert", &certificate, "--tls-key", &key]).start_fails();
    assert!(
        said.contains("but no address speaks TLS: give --listen tls://HOST:PORT"),
        "{said}"
    );
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of() {
    let authority = Authority::new();
    let health = |server: &TestServer| {
        said(
            server.http_addr(),
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
    };
    for (days, warned) in [
        (14, None),
        (13, Some("expires in 13 days")),
        (0, Some("expires in 0 days")),
    ] {
        let server = server(&authority.issue_for("server", -1, days), &[]);
        assert_eq!(
            server.stat("tls_certificate_expires_in_days"),
            days.unsigned_abs()
        );
        let health = health(&server);
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        assert_eq!(health.contains("expires in"), warned.is_some(), "{health}");
        let warned = warned.unwrap_or("");
        assert!(
            health.contains(warned) && server.log().contains(warned),
            "{}",
            server.log()
        );
    }
    let plain = TestServer::start();
    let stats = plain.client().ask_rows("STATS");
    assert!(
        stats.contains(&"STAT tls_certificate_expires_in_days null".to_owned()),
        "{stats:?}"
    );
}

#[test]
fn a_client_without_tls_is_told_so_in_its_own_dialect() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let line = "ERR DENIED this port speaks TLS; connect with pykvs:// (or rediss://); this connection is closed\n";
    let resp = "-ERR this port speaks TLS; connect with rediss:// (or pykvs://); this connection is closed\r\n";
    let text = server.addr_of("on tls://");
    assert_eq!(said(text, b"PING\n"), line);
    assert_eq!(said(text, b"*1\r\n$4\r\nPING\r\n"), resp);
    assert_eq!(said(server.addr_of("rediss://"), b"PING\r\n"), resp);
    let http = said(
        server.addr_of("https://"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let (head, body) = http.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 400 "), "{http}");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{http}"
    );
    assert_eq!(body, "this port speaks TLS; connect with https://HOST\n");
}

#[test]
fn a_client_with_tls_is_told_so_where_nobody_speaks_it_and_the_log_says_it_once() {
    let server = TestServer::start();
    for _ in 0..3 {
        let answer = said(server.addr(), &hello_of_tls_1_1());
        assert_eq!(
            answer,
            "ERR DENIED this port does not speak TLS; this connection is closed\n"
        );
        let answer = said(server.http_addr(), &hello_of_tls_1_1());
        let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
        assert!(head.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{answer}"
        );
        assert_eq!(
            body,
            "this port does not speak TLS; connect with http://...\n"
        );
    }
    let log = server.log();
    assert_eq!(
        log.matches("a client spoke TLS to an address without it")
            .count(),
        1,
        "{log}"
    );
}

#[test]
fn a_handshake_that_takes_too_long_is_ended_and_hinders_nobody() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let addr = server.addr_of("on tls://");
    let mut halves: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).expect("the server accepts");
            stream
                .write_all(&hello_of_tls_1_1()[..20])
                .expect("it reads");
            stream
        })
        .collect();
    let started = Instant::now();
    assert_eq!(TlsClient::connect(addr, &authority).ask("PING"), "PONG");
    assert!(started.elapsed() < Duration::from_secs(8));
    let patience = Some(Duration::from_secs(60));
    halves[0].set_read_timeout(patience).expect("a timeout");
    let ended = halves[0].read(&mut [0; 100]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(started.elapsed() > Duration::from_secs(9));
}

#[test]
fn an_encrypted_connection_counts_as_memory_of_its_client() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let plain = server.stat("client_memory_bytes");
    let mut clients: Vec<TlsClient> = (0..20)
        .map(|_| TlsClient::connect(server.addr_of("on tls://"), &authority))
        .collect();
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "PONG");
    }
    let more = server.stat("client_memory_bytes") - plain;
    assert!((20 * (16 << 10)..21 * (16 << 10)).contains(&more), "{more}");
}
