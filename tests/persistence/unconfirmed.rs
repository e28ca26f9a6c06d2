//! Replies while the disk takes no changes: no reply to a command that changes pairs may tell of a state that a crash would take
//! back, also where the command finds nothing to do.
//!
//! A deletion is made in memory and refused by the disk (`ulimit -f`). Whatever is asked then rests on it.

use std::collections::BTreeSet;

use pykv::command::COMMANDS;

use crate::support::full_disk::limit_files;
use crate::support::http::Http;
use crate::support::server::{TestServer, is_skipped};

/// Requests of commands that change pairs, in a store with `there` and `other`, and without `k`.
const REQUESTS: &[&str] = &[
    "DEL k",
    "DEL k there",
    "UNLINK k",
    "DELIFEQ k v",
    "DELIFEQ there another",
    "DELEX k",
    "DELEX there IFEQ another",
    "GETDEL k",
    "GETEX k EX 10",
    "GETEX k PERSIST",
    "GETSET k v",
    "EXPIRE k 10",
    "EXPIRE there 10 XX",
    "PEXPIRE k 10",
    "EXPIREAT k 4000000000",
    "PEXPIREAT k 4000000000000",
    "PERSIST k",
    "PERSIST there",
    "RESTORE restored 0 AANvbmUGAJC+3/Sp7X2N",
    "RESTORE there 0 AANvbmUGAJC+3/Sp7X2N REPLACE",
    "PUT k v",
    "SET k v XX",
    "SET there v NX",
    "SET there v IFEQ another",
    "SET there v NX GET",
    "SETNX there v",
    "SETEX k 10 v",
    "PSETEX k 10 v",
    "MSET k v",
    "MSETNX there v k v",
    "MSETEX 1 k v EX 10",
    "MSETEX 2 there v k v NX",
    "SET there v IFDEQ 0123456789abcdef",
    "APPEND k v",
    "SETRANGE k 0 \"\"",
    "SETRANGE k 1 v",
    "SETBIT k 1 0",
    "SETBIT there 1 1",
    "BITOP AND k none",
    "BITOP NOT there other",
    "BITFIELD k",
    "BITFIELD there SET u8 0 1",
    "INCR there",
    "DECR there",
    "INCRBY there 1",
    "DECRBY there 1",
    "INCRBYFLOAT there 1",
    "RENAME k new",
    "RENAMENX k new",
    "RENAMENX there other",
    "COPY k new",
    "COPY there other",
    "COPY k new DB 1",
    "MOVE k 1",
    "DELPREFIX none",
    "EVAL \"return redis.call('DEL', KEYS[1])\" 1 k",
    "EVALSHA b0d697da25b13e49157b2c214a4033546aba2104 1 k",
    "CLEAR",
    "FLUSHDB",
    "FLUSHALL",
];

/// A server whose disk takes no more, and which has been asked to delete `k`.
fn with_refused_deletion(durability: &str) -> TestServer {
    let server = TestServer::start_with(&["--durability", durability]);
    let mut client = server.client();
    for key in ["k", "there", "other"] {
        assert_eq!(client.ask(&format!("PUT {key} word")), "OK");
    }
    let journal = server.data().join("journal-1.jsonl");
    let bytes = std::fs::metadata(journal).expect("the journal").len();
    limit_files(&server, &bytes.to_string());
    let refusal = client.ask("DEL k");
    assert!(refusal.starts_with("ERR DISK cannot write "), "{refusal}");
    // Reads go on, and show memory.
    assert_eq!(client.ask("GET k"), "NOT_FOUND");
    server
}

fn is_back_after_a_kill(server: TestServer) {
    let server = server.kill().restart();
    let mut client = server.client();
    for key in ["k", "there", "other"] {
        assert_eq!(client.ask(&format!("GET {key}")), "VALUE \"word\"");
    }
    assert_eq!(client.ask("DEL k"), "COUNT 1");
    assert_eq!(client.ask("DEL k"), "COUNT 0");
}

#[test]
fn no_command_that_changes_pairs_tells_of_what_the_disk_has_not_taken() {
    if is_skipped("prlimit") {
        return;
    }
    let asked: BTreeSet<&str> = REQUESTS
        .iter()
        .filter_map(|request| request.split(' ').next())
        .collect();
    let writes = COMMANDS.iter().filter(|command| command.is_write());
    for command in writes.filter(|command| command.name != "EXEC") {
        assert!(
            asked.contains(command.name),
            "no request of {}",
            command.name
        );
    }
    for durability in ["everysec", "always"] {
        let server = with_refused_deletion(durability);
        let mut client = server.client();
        for request in REQUESTS {
            let reply = client.ask(request);
            assert!(
                reply.starts_with("ERR DISK "),
                "{durability}: {request}: {reply}"
            );
        }
        // What is wrong with a request is no matter of the disk.
        assert!(client.ask("DEL").starts_with("ERR ARGS "));
        assert!(client.ask("INCRBY there x").starts_with("ERR ARGS "));
        // All in one packet.
        client.send_bytes(b"DEL k\nGET there\nPERSIST there\n");
        assert!(client.reply().starts_with("ERR DISK "));
        assert_eq!(client.reply(), "VALUE \"word\"");
        assert!(client.reply().starts_with("ERR DISK "));
        is_back_after_a_kill(server);
    }
}

#[test]
fn no_transaction_tells_of_what_the_disk_has_not_taken() {
    if is_skipped("prlimit") {
        return;
    }
    for durability in ["everysec", "always"] {
        let server = with_refused_deletion(durability);
        let mut client = server.client();
        for request in REQUESTS {
            if request.starts_with("DELPREFIX") {
                // It is not allowed there.
                continue;
            }
            assert_eq!(client.ask("MULTI"), "OK");
            assert_eq!(client.ask(request), "QUEUED");
            let reply = client.ask("EXEC");
            assert!(
                reply.starts_with("ERR DISK "),
                "{durability}: {request}: {reply}"
            );
        }
        // One of reads is answered.
        assert_eq!(client.ask("MULTI"), "OK");
        assert_eq!(client.ask("GET there"), "QUEUED");
        assert_eq!(client.ask_array("EXEC"), ["VALUE \"word\""]);
        is_back_after_a_kill(server);
    }
}

#[test]
fn no_http_response_tells_of_what_the_disk_has_not_taken() {
    if is_skipped("prlimit") {
        return;
    }
    let json = ["Content-Type: application/json"];
    for durability in ["everysec", "always"] {
        let server = with_refused_deletion(durability);
        let mut http = Http::connect(&server);
        for (request, headers, body) in [
            ("DELETE /api/v1/keys/k", &[][..], ""),
            ("DELETE /api/v1/keys/k", &["If-Match: *"], ""),
            ("DELETE /api/v1/keys/k", &["If-Match: \"another\""], ""),
            ("DELETE /api/v1/keys/there", &["If-Match: \"another\""], ""),
            ("DELETE /api/v1/keys?prefix=none", &[], ""),
            ("PUT /api/v1/keys/k", &["If-Match: *"], r#"{"value":"v"}"#),
            (
                "PUT /api/v1/keys/k",
                &["If-Match: \"another\""],
                r#"{"value":"v"}"#,
            ),
            (
                "PUT /api/v1/keys/there",
                &["If-None-Match: *"],
                r#"{"value":"v"}"#,
            ),
            (
                "PUT /api/v1/keys/there",
                &["If-Match: \"another\""],
                r#"{"value":"v"}"#,
            ),
            ("PATCH /api/v1/keys/k", &[], r#"{"expires_at":null}"#),
            ("PATCH /api/v1/keys/there", &[], r#"{"expires_at":null}"#),
            (
                "POST /api/v1/batch",
                &[],
                r#"{"operations":[{"op":"delete","key":"k"}]}"#,
            ),
            ("DELETE /delete/k", &[], ""),
            ("DELETE /clear", &[], ""),
            ("POST /put?key=k&value=v", &[], ""),
        ] {
            let headers = [headers, if body.is_empty() { &[] } else { &json }].concat();
            http.send(request, &headers, body.as_bytes());
            let answer = http.answer();
            let said = answer.text();
            assert_eq!(
                answer.status, 503,
                "{durability}: {request} {headers:?}: {said}"
            );
            assert!(said.contains("cannot write "), "{request}: {said}");
        }
        // Reads go on.
        assert_eq!(http.ask("GET /api/v1/keys/k").status, 404);
        assert_eq!(http.ask("GET /api/v1/keys/there").status, 200);
        is_back_after_a_kill(server);
    }
}
