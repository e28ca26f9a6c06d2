//! The client's tools for all pairs: import and export in each format and from and to Redis, diff, scan, bigkeys, namespaces.

use std::fs;

use redis::TypedCommands as _;
use tempfile::TempDir;

use crate::support::client::{client, done, end, pipe, run};
use crate::support::redis::Redis;
use crate::support::server::{TestServer, is_skipped};

/// Text, the empty key, bytes, one that expires, and one of a namespace.
const STORE: &str = r#"{
"a": "1",
"": "empty \" \n \u00e4",
"bytes": {"$base64": "AP8="},
"soon": {"$text": "x", "$expires_at": "2100-01-01T00:00:00.123Z"},
"user:1": "Ada",
"user:2": "Grace"
}"#;

fn filled() -> TestServer {
    let server = TestServer::start();
    let ended = pipe(client(server.addr()).args(["import", "-"]), STORE);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.err.starts_with("imported 6 pairs in "), "{ended:?}");
    server
}

/// What a server holds, in JSON lines.
fn held(server: &TestServer) -> Vec<String> {
    let out = run(server.addr(), &["export", "--format", "jsonl"]).out;
    let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn pairs_go_out_and_in_the_same_in_every_format() {
    let server = filled();
    let dir = TempDir::new().expect("a folder for a test");
    let before = held(&server);
    assert_eq!(before.len(), 6);
    let soon = r#"{"key":"soon","value":"x","expires_at":"2100-01-01T00:00:00.123Z"}"#;
    assert!(before.contains(&soon.to_owned()), "{before:?}");
    for name in [
        "a.json",
        "a.jsonl",
        "a.csv",
        "a.json.gz",
        "a.ndjson.gz",
        "a.csv.gz",
    ] {
        let path = dir.path().join(name);
        let file = path.to_str().expect("text");
        let ended = run(server.addr(), &["export", file]);
        assert_eq!(
            (ended.status, ended.out.as_str()),
            (0, ""),
            "{name}: {ended:?}"
        );
        let other = TestServer::start();
        let ended = run(other.addr(), &["import", file]);
        assert!(
            ended.err.starts_with("imported 6 pairs in "),
            "{name}: {ended:?}"
        );
        assert_eq!(held(&other), before, "{name}");
        assert_eq!(run(other.addr(), &["diff", file]).status, 0, "{name}");
    }
}

#[test]
fn a_prefix_no_expiry_and_a_dry_run_are_heeded() {
    let server = filled();
    let dir = TempDir::new().expect("a folder for a test");
    let path = dir.path().join("a.jsonl");
    let file = path.to_str().expect("text");
    assert_eq!(run(server.addr(), &["export", file, "--dry-run"]).status, 0);
    assert!(!path.exists());
    let ended = run(server.addr(), &["export", file, "--prefix", "user:"]);
    assert!(ended.err.starts_with("exported 2 pairs to "), "{ended:?}");
    assert_eq!(
        fs::read_to_string(&path).expect("a file").lines().count(),
        2
    );
    assert_eq!(
        run(server.addr(), &["export", file, "--ignore-ttl"]).status,
        0
    );
    assert!(
        !fs::read_to_string(&path)
            .expect("a file")
            .contains("expires_at")
    );

    let other = TestServer::start();
    let ended = pipe(
        client(other.addr()).args(["import", "--dry-run", "-"]),
        STORE,
    );
    assert!(
        ended.err.starts_with("would import 6 pairs in "),
        "{ended:?}"
    );
    assert_eq!(other.stat("keys"), 0);
    let ended = pipe(
        client(other.addr()).args(["import", "--prefix", "s", "--ignore-ttl", "-"]),
        STORE,
    );
    assert!(ended.err.starts_with("imported 1 pair in "), "{ended:?}");
    assert_eq!(held(&other), [r#"{"key":"soon","value":"x"}"#]);
    // What has expired is left out, and told.
    let old = r#"{"old": {"$text": "x", "$expires_at": "2001-01-01T00:00:00Z"}}"#;
    let ended = pipe(client(other.addr()).args(["import", "-"]), old);
    assert_eq!(ended.status, 0);
    assert!(ended.err.ends_with("; 1 had expired\n"), "{ended:?}");
}

#[test]
fn an_import_goes_on_where_one_has_ended() {
    let server = TestServer::start();
    let lines: String = (0..5000)
        .map(|number| format!("{{\"key\":\"k{number}\",\"value\":\"v\"}}\n"))
        .collect();
    let ended = pipe(
        client(server.addr()).args(["import", "--format", "jsonl", "--from", "4000", "-"]),
        lines,
    );
    assert!(
        ended.err.starts_with("imported 1,000 pairs in "),
        "{ended:?}"
    );
    assert_eq!(server.client().ask("EXISTS k3999 k4000 k4999"), "COUNT 2");
}

#[test]
fn pairs_come_from_a_redis_server_and_go_to_one() {
    if is_skipped("redis-server") {
        return;
    }
    let redis = Redis::start();
    let mut there = redis::Client::open(format!("redis://{}", redis.addr))
        .and_then(|client| client.get_connection())
        .expect("a connection");
    let url = format!("redis://{}", redis.addr);
    let server = filled();
    let before = held(&server);
    let ended = run(server.addr(), &["export", &url]);
    assert!(ended.err.starts_with("exported 6 pairs to "), "{ended:?}");
    let count: u64 = redis::cmd("DBSIZE").query(&mut there).expect("an answer");
    assert_eq!(count, 6);
    assert_eq!(run(server.addr(), &["diff", &url]).status, 0);
    there.lpush("list", "x").expect("an answer");
    there.set(&b"\xff"[..], "x").expect("an answer");
    let other = TestServer::start();
    let ended = run(other.addr(), &["import", &url]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.err.contains("imported 7 pairs in "), "{ended:?}");
    assert!(
        ended
            .err
            .ends_with("; 1 left out, as they are no strings\n"),
        "{ended:?}"
    );
    assert_eq!(other.client().ask("GETDEL BASE64 \"/w==\""), "VALUE \"x\"");
    assert_eq!(held(&other), before);
    let ended = run(other.addr(), &["import", "redis://127.0.0.1:1"]);
    assert_eq!(ended.status, 2);
    assert!(ended.err.starts_with("Error: 127.0.0.1:1: "), "{ended:?}");
}

#[test]
fn a_server_is_copied_to_another_and_differences_are_told() {
    let (server, other) = (filled(), TestServer::start());
    let url = format!("pykv://{}", server.addr());
    assert_eq!(run(other.addr(), &["import", &url]).status, 0);
    assert_eq!(held(&other), held(&server));
    let mut client = other.client();
    assert_eq!(client.ask("PUT a 2"), "OK");
    assert_eq!(client.ask("PUT more 1"), "OK");
    assert_eq!(client.ask("DEL user:1"), "COUNT 1");
    assert_eq!(client.ask("PERSIST soon"), "COUNT 1");
    let ended = run(other.addr(), &["diff", &url]);
    let mut lines: Vec<&str> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["+ more", "- user:1", "~ a", "~ soon"]);
    assert_eq!(
        (ended.status, ended.err.as_str()),
        (1, "3 the same, 4 differ\n")
    );
    let ended = run(other.addr(), &["diff", &url, "--prefix", "user:"]);
    assert_eq!(ended.out, "- user:1\n");
    let ended = run(
        other.addr(),
        &["diff", &url, "--prefix", "s", "--ignore-ttl"],
    );
    assert_eq!(
        (ended.status, ended.err.as_str()),
        (0, "1 the same, 0 differ\n")
    );
}

#[test]
fn what_was_broken_off_between_servers_goes_on_with_what_is_missing() {
    let (server, other) = (filled(), TestServer::start());
    let (url, there) = (
        format!("pykv://{}", server.addr()),
        format!("pykv://{}", other.addr()),
    );
    assert_eq!(other.client().ask("PUT user:1 other"), "OK");
    let ended = run(other.addr(), &["import", "--missing", &url]);
    assert!(ended.err.starts_with("imported 5 pairs in "), "{ended:?}");
    assert_eq!(other.client().ask("GET user:1"), "VALUE \"other\"");
    assert_eq!(other.client().ask("DEL a bytes"), "COUNT 2");
    let ended = run(server.addr(), &["export", "--missing", &there]);
    assert!(ended.err.starts_with("exported 2 pairs to "), "{ended:?}");
    assert_eq!(run(other.addr(), &["diff", &url]).out, "~ user:1\n");
    for wrong in [
        &["import", "--from", "5", &url][..],
        &["import", "--missing", "a.json"],
        &["export", "--missing", "a.json"],
    ] {
        assert_eq!(run(other.addr(), wrong).status, 2, "{wrong:?}");
    }
}

#[test]
fn what_takes_the_room_is_told() {
    let server = TestServer::start();
    let mut line = server.client();
    for number in 0..30 {
        let value = "x".repeat(number * 10);
        assert_eq!(line.ask(&format!("PUT user:{number}:name {value}x")), "OK");
    }
    assert_eq!(
        line.ask(&format!("PUT cache:page {}", "y".repeat(9999))),
        "OK"
    );
    assert_eq!(line.ask("PUT plain z"), "OK");
    let addr = server.addr();
    let ended = run(addr, &["bigkeys"]);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 20);
    assert_eq!(lines[..2], ["cache:page\t9999", "user:29:name\t291"]);
    let json = run(addr, &["--json", "bigkeys", "cache:"]);
    assert_eq!(json, done("[{\"key\":\"cache:page\",\"bytes\":9999}]\n"));
    let csv = run(addr, &["--csv", "namespaces", "cache:"]);
    assert_eq!(csv, done("(none),1,10009\n"));
    assert_eq!(run(addr, &["--json", "scan", "nope"]), done("[]\n"));
    let ended = run(addr, &["namespaces"]);
    let rows: Vec<Vec<&str>> = ended
        .out
        .lines()
        .map(|row| row.split('\t').collect())
        .collect();
    assert_eq!(rows[0], ["cache:", "1", "10009"]);
    assert_eq!(rows[1][..2], ["user:", "30"]);
    assert_eq!(rows[2], ["(none)", "1", "6"]);
    assert_eq!(
        run(addr, &["namespaces", "user:29:"]).out,
        "(none)\t1\t303\n"
    );
    let mut keys: Vec<String> = run(addr, &["scan", "user:2"])
        .out
        .lines()
        .map(str::to_owned)
        .collect();
    keys.sort_unstable();
    assert_eq!(keys.len(), 11);
    assert_eq!(keys[0], "user:20:name");
    // The command of this name is the server's.
    assert!(
        run(addr, &["SCAN", "0", "COUNT", "100"])
            .out
            .contains("plain")
    );
    // A prefix is no pattern.
    assert_eq!(line.ask("PUT [a]*? 1"), "OK");
    assert_eq!(run(addr, &["scan", "[a]*"]), done("[a]*?\n"));
    assert_eq!(end(client(addr).args(["scan", "*"])), done(""));
}
