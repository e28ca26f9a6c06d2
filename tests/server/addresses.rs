//! Addresses: several, of each kind, and what is said of them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::client::{client, done, end, pipe};
use crate::support::redis::Redis;
use crate::support::server::{Stopped, TestClient, TestServer, is_skipped, wait_until};

/// A folder for sockets, whose path is short.
fn folder() -> TempDir {
    TempDir::new_in("/tmp").expect("a folder")
}

/// Sends bytes to a Unix socket, and no more; all that is said until the server closes.
fn said(path: &Path, bytes: &str) -> String {
    let mut stream = sent(path, bytes);
    stream.shutdown(Shutdown::Write).expect("an open socket");
    rest(&mut stream)
}

fn sent(path: &Path, bytes: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).expect("the server accepts");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a timeout");
    stream
        .write_all(bytes.as_bytes())
        .expect("the server reads");
    stream
}

fn rest(stream: &mut UnixStream) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("the server closes");
    said
}

#[test]
fn every_address_is_served_and_announced_once_text_first() {
    let folder = folder();
    let (text, http) = (folder.path().join("t.sock"), folder.path().join("h.sock"));
    let (text, http) = (text.display().to_string(), http.display().to_string());
    let flags = [
        "--http".to_owned(),
        format!("unix:{http}"),
        "--listen".to_owned(),
        "127.0.0.1:0".to_owned(),
        "--listen".to_owned(),
        format!("unix:{text}"),
        "--listen".to_owned(),
        "redis://127.0.0.1:0".to_owned(),
    ];
    let server = TestServer::start_with(&flags.each_ref().map(String::as_str));
    let second = server.announced()[1]
        .strip_prefix("pykv listening on ")
        .and_then(|address| address.parse().ok())
        .expect("an address");
    let expected = [
        format!("pykv listening on {}", server.addr()),
        format!("pykv listening on {second}"),
        format!("pykv listening on unix:{text}"),
        format!("pykv listening on redis://{}", server.addr_of("redis://")),
        format!("pykv http on http://{}", server.http_addr()),
        format!("pykv http on unix:{http}"),
    ];
    assert_eq!(server.announced(), expected);
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    assert_eq!(TestClient::connect(second).ask("GET a"), "VALUE \"1\"");
    assert_eq!(said(Path::new(&text), "GET a\n"), "VALUE \"1\"\n");
    let mut redis = TestClient::connect(server.addr_of("redis://"));
    assert_eq!(redis.ask("GET a"), "$1\r");
    assert_eq!(redis.reply(), "1\r");
    let request = "GET /api/v1/keys/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = rest(&mut sent(Path::new(&http), request));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"value\":\"1\""), "{answer}");
    // A file of its own is left to nobody.
    server.stop();
    assert!(!Path::new(&text).exists() && !Path::new(&http).exists());
}

#[test]
fn a_variable_and_the_file_may_name_several_addresses() {
    let folder = folder();
    let path = folder.path().join("pykv.toml");
    let socket = folder.path().join("a.sock").display().to_string();
    let run = |variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pykv-server"));
        command.args(["config", "--config"]).arg(&path);
        command.env_remove("PYKV_LISTEN").env_remove("PYKV_HTTP");
        if let Some(addresses) = variable {
            command.env("PYKV_LISTEN", addresses);
        }
        let output = command.output().expect("it is built");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    };
    let file = |text: &str| fs::write(&path, text).expect("a file");
    file(&format!(
        "listen = [\"127.0.0.1:1\", \"unix:{socket}\"]\nhttp = \"off\"\n"
    ));
    let (status, text) = run(None);
    assert_eq!(status, Some(0), "{text}");
    let listed = format!("listen = [\"127.0.0.1:1\", \"unix:{socket}\"] ");
    assert!(text.contains(&listed), "{text}");
    assert!(text.contains("http = \"off\" "), "{text}");
    let (_, text) = run(Some("127.0.0.1:2,redis://127.0.0.1:3"));
    let listed = "listen = [\"127.0.0.1:2\", \"redis://127.0.0.1:3\"] ";
    assert!(text.contains(listed), "{text}");
    for (wrong, reason) in [
        (
            "listen = []",
            "listen is neither a string nor an array of strings",
        ),
        (
            "listen = [1]",
            "listen is neither a string nor an array of strings",
        ),
        (
            "listen = 7878",
            "listen is neither a string nor an array of strings",
        ),
        ("data = [\"a\"]", "data is no string, number, true or false"),
        (
            "listen = [\"127.0.0.1:1\", \"here\"]",
            "it is no host and port",
        ),
        (
            "http = [\"off\", \"127.0.0.1:1\"]",
            "stands beside other addresses",
        ),
        ("http = \"tls://127.0.0.1:1\"", "tls:// is not spoken here"),
    ] {
        file(wrong);
        let (status, text) = run(None);
        assert_eq!(status, Some(2), "{wrong}: {text}");
        assert!(text.contains(reason), "{wrong}: {text}");
    }
}

#[test]
fn a_start_that_cannot_listen_at_one_address_names_it_and_changes_nothing() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("its address").to_string();
    let folder = folder();
    let socket = folder.path().join("a.sock");
    let socket_flag = format!("unix:{}", socket.display());
    for (flags, named) in [
        (
            ["--listen", &socket_flag, "--listen", &taken],
            format!(
                "cannot listen on {taken}; choose another with --listen: Address already in use"
            ),
        ),
        (
            ["--listen", &socket_flag, "--http", &taken],
            format!("cannot listen on http://{taken}; choose another with --http: "),
        ),
    ] {
        let stopped = Stopped::new(&flags);
        let said = stopped.start_fails();
        assert!(said.contains(&named), "{said}");
        assert!(!socket.exists() && !stopped.data().exists());
    }
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_or_another_file_is_not() {
    let folder = folder();
    let path = folder.path().join("a.sock");
    let flag = format!("unix:{}", path.display());
    let flags = ["--listen", &*flag];
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "nobody has removed it");
    let server = TestServer::start_with(&flags);
    assert_eq!(said(&path, "PING\n"), "PONG\n");
    let refused = Stopped::new(&flags).start_fails();
    let reason = format!(
        "cannot listen on {flag}; choose another with --listen: another server listens on this socket"
    );
    assert!(refused.contains(&reason), "{refused}");
    assert_eq!(said(&path, "PING\n"), "PONG\n");
    // After a kill it is stale.
    server.kill();
    assert!(path.exists());
    TestServer::start_with(&flags).stop();
    fs::write(&path, "mine").expect("a file");
    let refused = Stopped::new(&flags).start_fails();
    assert!(
        refused.contains("it exists and is no socket; it is left as it is"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "mine");
}

#[test]
fn a_socket_that_another_server_has_replaced_is_not_removed_at_the_end() {
    let folder = folder();
    let path = folder.path().join("a.sock");
    let server = TestServer::start_with(&["--listen", &format!("unix:{}", path.display())]);
    fs::remove_file(&path).expect("it is there");
    let _other = UnixListener::bind(&path).expect("a socket");
    server.stop();
    let metadata = fs::symlink_metadata(&path).expect("it is there");
    assert!(metadata.file_type().is_socket());
}

#[test]
fn a_client_of_a_unix_socket_is_shown_as_redis_shows_it() {
    let folder = folder();
    let path = folder.path().join("a.sock");
    let shown = path.display().to_string();
    let server = TestServer::start_with(&["--listen", &format!("unix:{shown}")]);
    let listed = said(&path, "CLIENT LIST\n");
    assert!(
        listed.contains(&format!(" addr={shown}:0 laddr={shown}:0 ")),
        "{listed}"
    );
    let mut monitor = server.client();
    assert_eq!(monitor.ask("MONITOR"), "OK");
    let mut limits = server.client();
    assert_eq!(limits.ask("CONFIG SET slowlog-log-slower-than 0"), "OK");
    assert_eq!(said(&path, "KEYS slow\n"), "END 0\n");
    let requests = [monitor.reply(), monitor.reply()];
    assert!(
        requests[1].contains(&format!("[0 unix:{shown}] \\\"KEYS\\\" \\\"slow\\\"")),
        "{requests:?}"
    );
    limits.send("SLOWLOG GET 5");
    limits.send("ECHO end");
    let mut rows = Vec::new();
    while rows.last().is_none_or(|row| row != "VALUE \"end\"") {
        rows.push(limits.reply());
    }
    assert!(rows.contains(&format!("VALUE \"{shown}:0\"")), "{rows:?}");
    let config = |name: &str| -> String {
        let mut client = server.client();
        assert_eq!(client.ask(&format!("CONFIG GET {name}")), "MAP 1");
        client.reply();
        client.reply()
    };
    assert_eq!(config("unixsocket"), format!("VALUE \"{shown}\""));
    assert_eq!(config("bind"), "VALUE \"127.0.0.1\"");
    assert_eq!(
        config("port"),
        format!("VALUE \"{}\"", server.addr().port())
    );
    assert_eq!(config("tls-port"), "VALUE \"0\"");
}

#[test]
fn a_shutdown_answers_what_a_unix_socket_has_received() {
    let folder = folder();
    let path = folder.path().join("a.sock");
    let server = TestServer::start_with(&["--listen", &format!("unix:{}", path.display())]);
    let mut stream = UnixStream::connect(&path).expect("the server accepts");
    let requests = "INCR n\n".repeat(100);
    stream
        .write_all(requests.as_bytes())
        .expect("the server reads");
    server.stop();
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("the server closes");
    assert_eq!(said.lines().count(), 100);
    assert!(said.ends_with("VALUE \"100\"\n"), "{said}");
}

#[test]
fn the_client_and_its_tools_connect_to_a_unix_socket() {
    let folder = folder();
    let path = folder.path().join("a.sock");
    let server = TestServer::start_with(&["--listen", &format!("unix:{}", path.display())]);
    let url = format!("unix:{}", path.display());
    let run = |words: &[&str]| end(client(server.addr()).args(["-u", &url]).args(words));
    assert_eq!(run(&["PUT", "a", "1"]), done("OK\n"));
    let piped = pipe(client(server.addr()).args(["-u", &url]), "GET a\nINCR a\n");
    assert_eq!(piped, done("1\n2\n"));
    let bulk = pipe(
        client(server.addr()).args(["-u", &url, "--pipe"]),
        "INCR a\nINCR a\n",
    );
    assert_eq!((bulk.status, &*bulk.err), (0, "2 answers; 0 errors\n"));
    let exported = run(&["export"]);
    assert_eq!(exported.status, 0, "{exported:?}");
    let bench = run(&["bench", "-n", "100", "--keys", "10", "--fill"]);
    assert_eq!(bench.status, 0, "{bench:?}");
    let missing = folder.path().join("none").display().to_string();
    let failed = end(client(server.addr()).args(["-u", &format!("unix:{missing}"), "PING"]));
    assert_eq!(failed.status, 2);
    assert!(
        failed
            .err
            .contains(&format!("cannot connect to unix:{missing}: No such file")),
        "{failed:?}"
    );
}

/// What Redis is asked inline, a connection each.
const INLINE: &[&str] = &[
    "SET a 1\r\nGET a\r\n",
    "SET a \"x y\"\nGET a\n",
    "SET a 'it\\'s'\r\nGET a\r\n",
    "SET a \"\\x41\\n\\\"\"\r\nGET a\r\n",
    "\r\n\r\nPING\r\n",
    "  PING   hello  \r\n",
    "\"GET\" a\r\n",
    "GET a b\r\n",
    "NOSUCH a b\r\n",
    "SET a \"open\r\nPING\r\n",
    "SET a \"b\"c\r\nPING\r\n",
    "MULTI\r\nINCR n\r\n*1\r\n$4\r\nEXEC\r\n",
    "*1\r\n$4\r\nPING\r\nPING\r\n",
    "GET a",
];

#[test]
fn the_lines_of_a_redis_port_are_answered_as_redis_answers_them() {
    if is_skipped("redis-server") {
        return;
    }
    let redis = Redis::start();
    let server = TestServer::start_with(&["--listen", "redis://127.0.0.1:0"]);
    for bytes in INLINE {
        let [expected, got] = [redis.addr, server.addr_of("redis://")].map(|addr| {
            let mut client = TestClient::connect(addr);
            client.send_bytes(bytes.as_bytes());
            client.half_close();
            client.rest()
        });
        assert_eq!(got, expected, "{bytes:?}");
    }
}

#[test]
fn a_redis_port_refuses_other_protocols_and_lines_over_the_limit() {
    let server = TestServer::start_with(&["--listen", "redis://127.0.0.1:0"]);
    let ask = |bytes: &[u8]| {
        let mut client = TestClient::connect(server.addr_of("redis://"));
        client.send_bytes(bytes);
        client.rest()
    };
    let http = ask(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1\r\n");
    assert_eq!(
        http,
        "-ERR this port does not speak HTTP; this connection is closed\r\n"
    );
    let long = format!("SET a {}", "x".repeat(64 << 10));
    assert_eq!(
        ask(long.as_bytes()),
        "-ERR Protocol error: too big inline request\r\n"
    );
    assert_eq!(server.client().ask("EXISTS a"), "COUNT 0");
    // As on every port, a text that is pushed comes in the dialect of its client.
    let mut subscriber = TestClient::connect(server.addr_of("redis://"));
    assert_eq!(subscriber.ask("SUBSCRIBE news"), "*3\r");
    wait_until("it is subscribed", || {
        server.client().ask("PUBLISH news hello") == "COUNT 1"
    });
}

#[test]
fn one_limit_holds_for_the_clients_of_all_addresses_together() {
    let folder = folder();
    let path = folder.path().join("a.sock");
    let flag = format!("unix:{}", path.display());
    let server = Stopped::new(&["--listen", &flag]).with_files(100).restart();
    // Of 100 files, three quarters are for clients.
    let mut held: Vec<TestClient> = (0..40).map(|_| server.client()).collect();
    for client in &mut held {
        assert_eq!(client.ask("PING"), "PONG");
    }
    let mut unix: Vec<UnixStream> = (0..35)
        .map(|_| UnixStream::connect(&path).expect("the server accepts"))
        .collect();
    for client in &mut unix {
        client.write_all(b"PING\n").expect("the server reads");
        client.read_exact(&mut [0; 5]).expect("it answers");
    }
    assert_eq!(
        said(&path, "GET a\n"),
        "ERR BUSY there are 75 connections already; try again later\n"
    );
    assert_eq!(
        server.client().ask("GET a"),
        "ERR BUSY there are 75 connections already; try again later"
    );
    drop(unix);
}
